"""Find the photo of each YOLO label file, in whatever folder it lies."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from styleid.datasets.names import Finder

_PHOTO_FOLDERS = ("images", "JPEGImages")
"""The folders beside which `labels/` lies: Ultralytics' and darknet's."""


@dataclass
class LabelOwners:
    """Photos and their label files.

    label_of: by photo, where its labels are, or would be. photo_of: by label file; a photo may have several. maybe: by
    label file, the photos among which its own cannot be told. orphans: label files of no photo.
    """

    label_of: dict[str, str] = field(default_factory=dict)
    photo_of: dict[str, str] = field(default_factory=dict)
    maybe: dict[str, tuple[str, ...]] = field(default_factory=dict)
    orphans: list[str] = field(default_factory=list)

    def labels_of(self) -> dict[str, list[str]]:
        """Return all label files of each photo."""
        found: dict[str, list[str]] = {photo: [label] for photo, label in self.label_of.items()}
        for label, photo in self.photo_of.items():
            if label not in found[photo]:
                found[photo].append(label)
        return found


def find_owners(
    photos: Sequence[str], texts: Collection[str], finder: Finder, is_labels: Callable[[str], bool]
) -> LabelOwners:
    """Find the photo of each label file.

    texts: all text files that may be one. finder: of the photos. is_labels: says whether a text file that lies in no
    usual place holds labels.
    """
    places = {photo: list(_places(photo)) for photo in photos}
    owners = LabelOwners({p: next((place for place in each if place in texts), each[0]) for p, each in places.items()})
    owners.photo_of = {label: photo for photo, label in owners.label_of.items()}
    usual = {place: photo for photo, each in reversed(places.items()) for place in each}
    for text in sorted(set(texts) - owners.photo_of.keys()):
        if lies_in_labels(text) or text in usual or is_labels(text):
            _find_owner(text, usual.get(text, ""), owners, finder, texts)
    return owners


def _find_owner(text: str, photo: str, owners: LabelOwners, finder: Finder, texts: Collection[str]) -> None:
    """Find the photo of a label file in an unusual place. photo: the photo beside it; empty if there is none."""
    found, depth = ((photo,), 2) if photo else finder.anywhere(text)
    if depth == 1:  # the name alone agrees: photos with labels of their own are not meant
        found = tuple(one for one in found if owners.label_of[one] not in texts)
    if len(found) == 1:
        owners.photo_of[text] = found[0]
        if owners.label_of[found[0]] not in texts:
            owners.photo_of.pop(owners.label_of[found[0]], None)
            owners.label_of[found[0]] = text
    elif found:
        owners.maybe[text] = found
    elif lies_in_labels(text):
        owners.orphans.append(text)


def lies_in_labels(name: str) -> bool:
    """Return whether a file lies in a folder of labels."""
    return "labels" in PurePosixPath(name).parts[:-1]


def _places(photo: str) -> Iterator[str]:
    """Yield the places of a photo's labels: in labels/, where new ones are written, and beside the photo."""
    path = PurePosixPath(photo).with_suffix(".txt")
    for index in reversed(range(len(path.parts) - 1)):
        if path.parts[index] in _PHOTO_FOLDERS:
            yield PurePosixPath(*path.parts[:index], "labels", *path.parts[index + 1 :]).as_posix()
            break
    yield path.as_posix()
