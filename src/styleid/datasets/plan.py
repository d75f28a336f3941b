"""The parts of a data set, and the protocol of a format of annotations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np

from styleid.datasets.frames import stored_size, to_edges, to_stored
from styleid.datasets.options import AnnotationOptions
from styleid.datasets.passthrough import is_label_map
from styleid.engine.journal import is_journal
from styleid.engine.report import NAME as REPORT
from styleid.errors import DatasetError
from styleid.media.formats.parse.sniff import IMAGE_SUFFIXES
from styleid.media.storage.files import InputFile
from styleid.types import FloatArray

Named = tuple[str, str]


@dataclass(frozen=True)
class Plan:
    """The files of a data set by what is done with them; names are relative to its folder.

    photos: to anonymise. annotations: to copy, or to rewrite if something changes. masks: label maps to copy. others:
    all other files. created: annotation files that are new if faces are added. absent: (name, reason) of photos that
    annotations name and that do not exist, or of annotations without a photo. notes: (name, text) for the user.
    """

    photos: tuple[InputFile, ...]
    annotations: tuple[str, ...]
    masks: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    created: tuple[str, ...] = ()
    absent: tuple[Named, ...] = ()
    notes: tuple[Named, ...] = ()


@dataclass(frozen=True)
class FoundFaces:
    """The faces found in one photo. boxes: (n, 4), edges, upright. frame: what the journal says boxes refer to."""

    boxes: FloatArray
    size_wh: tuple[int, int]
    orientation: int
    frame: str

    def in_frame(self, home: str) -> tuple[FloatArray, tuple[int, int]]:
        """Return the boxes in the frame of the annotations, clipped to the photo, and that frame's size.

        home: stored or upright, the frame to take if it is unsure.
        """
        width, height = self.size_wh
        inside = np.clip(self.boxes, 0, [width, height, width, height])
        inside = inside[(inside[:, 2:] > inside[:, :2]).all(1)]
        if (home if self.frame == "unsure" else self.frame) == "upright":
            return inside, self.size_wh
        stored = stored_size(width, height, self.orientation)
        return to_stored(inside, stored, self.orientation), stored


@dataclass(frozen=True)
class Changes:
    """Changes for the annotations. faces: faces to add, by photo. gone: photos whose entries are removed."""

    faces: Mapping[str, FoundFaces] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()


class Format(Protocol):
    """A format of annotations in a folder. `plan` is called once, before the other methods."""

    def plan(self, root: Path, options: AnnotationOptions) -> Plan:
        """Read a data set and return its parts; raises DatasetError or OptionError if it cannot be handled."""
        ...

    def rewrite(self, name: str, data: bytes, changes: Changes) -> bytes | None:
        """Return the new content of an annotation file or label map; None if it is to be left out.

        The same data is returned if nothing changes.
        """
        ...

    def created(self, changes: Changes) -> Iterator[tuple[str, bytes]]:
        """Yield the name and content of annotation files that are new."""
        ...


def found_faces(record: Mapping[str, object]) -> FoundFaces | None:
    """Return the faces in a journal line; None if the photo was withheld or the line is not of a data set's run."""
    frame, faces = record.get("frame"), record.get("faces")
    if not isinstance(frame, dict) or not isinstance(faces, list) or "sha256" not in record:
        return None
    boxes = np.array([face["box"] for face in faces], np.float64).reshape(-1, 4)
    width, height = frame["size"]
    if "frames" in record:  # an animation, whose frames are stacked: annotations are about the first
        boxes = boxes[(boxes[:, 1] + boxes[:, 3]) / 2 < height]
    return FoundFaces(to_edges(boxes), (width, height), int(frame["orientation"]), str(frame["boxes"]))


def walk_files(root: Path) -> list[str]:
    """List all files in a folder and its subfolders, sorted, except hidden files and styleid's own.

    Links to folders are followed; each real folder is listed once, by its real path if it lies in the folder. Pipes and
    the like are left out, unless they are named like photos: reading those reports them.

    Raises:
        DatasetError: A folder cannot be listed, so that photos in it would be missed.
    """
    names: list[str] = []
    seen: set[Path] = set()
    pending, linked = [root], []
    while pending or linked:
        folder = pending.pop() if pending else linked.pop(0)
        real = folder.resolve()
        if real in seen:
            continue
        seen.add(real)
        for path in _visible(folder):
            if path.is_dir():
                (linked if path.is_symlink() else pending).append(path)
            elif path.is_file() or path.suffix.lower() in IMAGE_SUFFIXES or not path.exists():
                names.append(path.relative_to(root).as_posix())
    return sorted(name for name in names if name != REPORT and not is_journal(name))


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DatasetError(folder, f"this folder cannot be listed ({error.strerror}), so photos in it would be missed"
                           ) from error  # fmt: skip


def leads_out(name: str) -> bool:
    """Return whether a relative name in an annotation leads out of the folder that it is relative to."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\0" in name or not path.parts or Path(name).is_absolute()


def below(name: str, folder: str) -> bool:
    """Return whether a file lies in a folder; both are relative to the data set."""
    return folder in ("", ".") or name.startswith(folder.rstrip("/") + "/")


def read_or_nothing(path: Path) -> bytes:
    """Return a file's bytes, empty if it cannot be read; copying it later reports that."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def split_masks(root: Path, candidates: Sequence[str]) -> tuple[list[str], list[Named]]:
    """Return the label maps among files, and notes on the others, which are treated as photos."""
    masks, notes = [], []
    for name in candidates:
        if is_label_map(read_or_nothing(root / name)):
            masks.append(name)
        else:
            notes.append((name, "is among the label maps but is no label map: treated as a photo"))
    return masks, notes
