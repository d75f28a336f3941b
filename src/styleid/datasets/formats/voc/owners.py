"""Find the photos of Pascal VOC's annotations, by their path or their content."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from styleid.datasets.names import Finder

MASKS = ("SegmentationClass", "SegmentationObject")
_PHOTO_FOLDERS = ("JPEGImages", "images")


@dataclass
class AnnotationOwners:
    """Annotations, label maps and their photos.

    photos_of: by file; the first is its photo, the others are photos that it may refer to, too. maybe: by annotation,
    the candidates if its photo is ambiguous.
    """

    photos_of: dict[str, tuple[str, ...]] = field(default_factory=dict)
    maybe: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def first(self, name: str) -> str:
        """Return the photo of a file; empty if it has none."""
        return next(iter(self.photos_of.get(name, ())), "")


def find_owners(
    named: Mapping[str, Sequence[str]], masks: Sequence[str], photos: Sequence[str], root: str
) -> AnnotationOwners:
    """Find the photos of annotations and label maps.

    named: by annotation, the names that it gives for its photo, the longest first. root: path of the data set.
    """
    finder = Finder(photos, root)
    by_stem: dict[str, list[str]] = defaultdict(list)
    for photo in photos:
        by_stem[PurePosixPath(photo).with_suffix("").as_posix()].append(photo)
    beside = {name: _beside(name, by_stem) for name in (*named, *masks)}
    taken = {photo for name in named for photo in beside[name]}
    owners = AnnotationOwners({name: found for name, found in beside.items() if found})
    for name, names in named.items():
        folders = [PurePosixPath(photo).parent.as_posix() for photo in beside[name]] or [*_folders(name)]
        if beside[name]:
            others = (finder.at(text, folders) for text in names)
            more = [photo for photo in dict.fromkeys(others) if photo]
            kept = [photo for photo in more if photo in beside[name] or photo not in taken]
            first = [photo for photo in kept if photo in beside[name]]
            owners.photos_of[name] = tuple(dict.fromkeys([*first, *beside[name], *kept]))
        elif found := _elsewhere(name, names, folders, finder, taken):
            (owners.photos_of if len(found) == 1 else owners.maybe)[name] = found
    return owners


def _beside(name: str, by_stem: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the photos with a file's own name, in JPEGImages beside its folder, or beside the file."""
    path = PurePosixPath(name).with_suffix("")
    places = [path]
    for index in reversed(range(len(path.parts) - 1)):
        if path.parts[index] in ("Annotations", *MASKS):
            places += [PurePosixPath(*path.parts[:index], f, *path.parts[index + 1 :]) for f in _PHOTO_FOLDERS]
    return next((tuple(by_stem[place.as_posix()]) for place in places if place.as_posix() in by_stem), ())


def _folders(name: str) -> Iterator[str]:
    """Yield the folders that an annotation's names may be relative to."""
    for folder in PurePosixPath(name).parents:
        yield from (folder.as_posix(), *((folder / photos).as_posix() for photos in _PHOTO_FOLDERS))


def _elsewhere(
    name: str, names: Sequence[str], folders: Sequence[str], finder: Finder, taken: set[str]
) -> tuple[str, ...]:
    """Return the photos that an annotation may refer to, by the names in it or by its own name."""
    for text in names:
        meant = finder.find(text, folders, taken)
        if found := (meant.name,) if meant.name else meant.maybe:
            return found
    found, depth = finder.anywhere(name)
    return found if depth > 1 else tuple(photo for photo in found if photo not in taken)
