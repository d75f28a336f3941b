"""What a data set consists of, and what a format must know to carry it through."""

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
    """Say what becomes of each file of a data set; names are relative to its folder.

    photos: to anonymise. annotations: to carry, or to write anew where something changes. masks: label maps, carried.
    others: neither. created: annotation files that added faces may bring about. absent: (name, reason) of photos that
    annotations name and that are not there, or of annotations without a photo. notes: (name, text) for the user.
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
    """The faces that were found in one photo. boxes: (n, 4) by edges, upright. frame: the journal's entry."""

    boxes: FloatArray
    size_wh: tuple[int, int]
    orientation: int
    frame: str

    def in_frame(self, home: str) -> tuple[FloatArray, tuple[int, int]]:
        """Return the boxes as the annotations mean them, cut off at the photo's borders, and the size they refer to.

        home: what boxes refer to where nothing decides it.
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
    """What a run did that annotations may have to tell. faces: by photo, for add_faces. gone: photos to drop."""

    faces: Mapping[str, FoundFaces] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()


class Format(Protocol):
    """A way to keep annotations in a folder. `plan` is called once, before anything else."""

    def plan(self, root: Path, options: AnnotationOptions) -> Plan:
        """Read a data set; raises DatasetError or OptionError where it cannot be carried through."""
        ...

    def rewrite(self, name: str, data: bytes, changes: Changes) -> bytes | None:
        """Return what an annotation file or label map must hold after the changes; None where it goes altogether.

        Data itself is returned where nothing changes.
        """
        ...

    def created(self, changes: Changes) -> Iterator[tuple[str, bytes]]:
        """Yield annotation files that the changes bring about."""
        ...


def found_faces(record: Mapping[str, object]) -> FoundFaces | None:
    """Return what a journal line tells of a photo's faces; None where it was withheld or made without a data set."""
    frame, faces = record.get("frame"), record.get("faces")
    if not isinstance(frame, dict) or not isinstance(faces, list) or "sha256" not in record:
        return None
    boxes = np.array([face["box"] for face in faces], np.float64).reshape(-1, 4)
    width, height = frame["size"]
    if "frames" in record:  # an animation, whose frames lie below each other: annotations tell of the first
        boxes = boxes[(boxes[:, 1] + boxes[:, 3]) / 2 < height]
    return FoundFaces(to_edges(boxes), (width, height), int(frame["orientation"]), str(frame["boxes"]))


def walk_files(root: Path) -> list[str]:
    """List all files below a folder, sorted, hidden ones and what styleid itself writes left out.

    Links to folders are followed, each real folder once and by its real path where one leads there. Pipes and the like
    are left out, but those that are named like photos, so that reading them reports them. Raises DatasetError where a
    folder cannot be listed, since photos in it would be missed.
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
    """Say whether a relative name in an annotation leaves the folder that it is relative to."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\0" in name or not path.parts or Path(name).is_absolute()


def below(name: str, folder: str) -> bool:
    """Say whether a file lies in a folder; both relative to the data set."""
    return folder in ("", ".") or name.startswith(folder.rstrip("/") + "/")


def read_or_nothing(path: Path) -> bytes:
    """Return a file's bytes, none where it cannot be read: what carries it later says so."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def split_masks(root: Path, candidates: Sequence[str]) -> tuple[list[str], list[Named]]:
    """Return which files are label maps, and notes on the rest, which are treated as photos."""
    masks, notes = [], []
    for name in candidates:
        if is_label_map(read_or_nothing(root / name)):
            masks.append(name)
        else:
            notes.append((name, "lies with the label maps, but is none: treated as a photo"))
    return masks, notes
