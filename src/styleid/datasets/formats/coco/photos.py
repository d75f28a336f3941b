"""Find the photo of each entry of COCO's files, and the photos that may lack their marks and are withheld."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from styleid.datasets.formats.coco.annotations import CocoFile, ImageEntry, Key, Marks
from styleid.datasets.hints import HOW_TO_CORRECT, Marked, faces_of
from styleid.datasets.names import Finder, NameMatch, is_plain
from styleid.datasets.plan import Named

_MOST_NAMED = 20


@dataclass
class Photos:
    """The photos of all entries. meant: by annotation file and entry. claimed: photos that an entry refers to."""

    meant: dict[tuple[str, ImageEntry], NameMatch] = field(default_factory=dict)
    claimed: set[str] = field(default_factory=set)

    def of(self, name: str, entry: ImageEntry) -> str:
        """Return the photo of an entry of an annotation file; empty if it has none."""
        return self.meant[name, entry].name

    def notes(self) -> Iterator[Named]:
        """Yield a note on each annotation file with names that are not the paths of their photos."""
        for name in dict.fromkeys(name for name, _ in self.meant):
            odd = [(e, m.name) for (n, e), m in self.meant.items() if n == name and m.name and not m.as_it_stands]
            if odd:
                entry, photo = odd[0]
                yield name, f"{len(odd)} of its names do not lead to a photo: '{entry.shown}' is taken for {photo}"


def find_photos(files: Mapping[str, CocoFile], folders: Mapping[str, Sequence[str]], finder: Finder) -> Photos:
    """Find the photo of each entry. folders: folders that a file's names may be relative to, the likeliest first."""
    photos = Photos()
    entries = [(name, entry) for name, file in files.items() for entry in file.entries()]
    for name, entry in entries:
        places = folders[name][:1] if is_plain(entry.file_name) else folders[name]
        if one := finder.at(entry.file_name, places):
            photos.meant[name, entry] = NameMatch(one, as_it_stands=is_plain(entry.file_name))
            photos.claimed.add(one)
    exact = frozenset(photos.claimed)
    for name, entry in entries:
        if (name, entry) not in photos.meant:
            meant = photos.meant[name, entry] = _look_elsewhere(entry, folders[name], finder, exact)
            photos.claimed.update([meant.name] if meant.name else [])
    return photos


def _look_elsewhere(entry: ImageEntry, folders: Sequence[str], finder: Finder, taken: frozenset[str]) -> NameMatch:
    """Find the photo of an entry whose name is no path of a photo: by that name, its URLs, or its id."""
    last = NameMatch()
    for text in (entry.file_name, *entry.urls):
        found = finder.find(text, folders[:1] if is_plain(text) else folders, taken)
        if found.name:
            return NameMatch(found.name)
        last = found if found.maybe else last
    number = str(entry.key)
    if not entry.file_name and not last.maybe and number.isdecimal():
        fits = finder.numbered(number)
        last = NameMatch(fits[0]) if len(fits) == 1 else NameMatch(maybe=fits)
    return last


def photos_to_withhold(photos: Photos, marks: Mapping[str, Marks], every: Sequence[str]) -> dict[str, str]:
    """Return the photos that must be withheld because a marked face or head may belong to them, with the reason.

    If a mark's photo is unknown, it may be any photo that no entry refers to, or that has no annotation in the file of
    the mark. every: all photos.
    """
    reasons: dict[str, str] = {}
    unmarked = {name: set(every) - photos.claimed for name in marks}
    homeless: dict[str, str] = {}
    for (name, entry), meant in photos.meant.items():
        marked = faces_of(marks[name].by_image.get(entry.key, ()))
        if meant.name and entry.key not in marks[name].reached:
            unmarked[name].add(meant.name)
        if marked and meant.maybe:
            text = _ambiguous(name, entry, marked[0], meant.maybe)
            reasons |= {photo: reasons.get(photo, text) for photo in meant.maybe}
        elif marked and not meant.name and not is_plain(entry.file_name):
            homeless[name] = f"{marked[0].where} is for an image, '{entry.shown}', that no photo is named after"
    for name, each in marks.items():
        if lost := faces_of(each.lost):
            homeless[name] = f"{lost[0].where} is for an image that {name} does not list"
    for name, text in homeless.items():
        for photo in unmarked[name]:
            reasons.setdefault(photo, f"it has no annotation, and {text}, so this may be the photo. {HOW_TO_CORRECT}")
    return reasons


def _ambiguous(name: str, entry: ImageEntry, one: Marked, maybe: Sequence[str]) -> str:
    listed = ", ".join(maybe[:3]) + (", ..." if len(maybe) > 3 else "")
    named = f"'{entry.shown}' in {name} may be any of {listed}"
    return f"{named}, and {one.where} marks a {one.kind} in it. {HOW_TO_CORRECT}"


def entries_without_photo(photos: Photos, folders: Mapping[str, Sequence[str]]) -> Iterator[Named]:
    """Yield each entry without a photo, by its name, with the reason."""
    for (name, entry), meant in photos.meant.items():
        if meant.name:
            continue
        if meant.maybe:
            yield entry.shown, f"{name} names it, and several photos may be meant: {', '.join(meant.maybe[:3])}"
        elif is_plain(entry.file_name):
            yield entry_path(folders[name][0], entry), "annotations name it, but it is not there"
        else:
            yield entry.shown, "annotations name it, but it leads out of the data set"


def entry_path(folder: str, entry: ImageEntry) -> str:
    """Return the path of an entry's photo, relative to the data set's folder."""
    return f"{folder}/{entry.file_name}" if folder not in ("", ".") else entry.file_name


def annotations_without_image(marks: Mapping[str, Marks]) -> Iterator[Named]:
    """Yield the annotations whose image_id matches no image; of many in one file, the first."""
    for name, one in marks.items():
        for index, image in one.orphans[:_MOST_NAMED]:
            yield f"annotation {index} in {name}", _orphan(image)
        if (more := len(one.orphans) - _MOST_NAMED) > 0:
            yield f"{more} further annotations in {name}", "no image has their image_id, so they reach no photo"


def _orphan(image: Key) -> str:
    return f"no image has its image_id, {image!r}, so the photo that it belongs to is unknown"
