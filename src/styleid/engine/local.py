"""Anonymise files on this machine, one after the other, reading one ahead."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

import styleid
from styleid.bundles.bundle import bundle_hash
from styleid.engine.casting import Casting
from styleid.engine.journal import Journal
from styleid.errors import ImageError, OptionError
from styleid.media.files import InputFile, remove_stale, walk_inputs, write_atomic
from styleid.media.image import Photo, encode_photo, read_photo
from styleid.options import AnonymizeOptions
from styleid.pipeline import Anonymizer, boxes_inside
from styleid.types import FloatArray, Outcome

Boxes = Mapping[str, FloatArray]


@dataclass(frozen=True)
class RunOptions:
    """Choose where a run writes and how.

    out: folder for the anonymised files and the journal; inputs' folders are mirrored in it.
    metadata: strip keeps only orientation, density and colour profile; safe also technical exposure fields.
    resume: skip inputs that the journal names as done and whose output is still what was written.
    require_faces: treat a photo without any face as an error and do not write it.
    """

    out: Path
    metadata: Literal["strip", "safe"] = "strip"
    resume: bool = False
    require_faces: bool = False


@dataclass
class Summary:
    """Count what became of a run's inputs and faces. failures: (input, reason) of inputs that were not written."""

    inputs: int = 0
    written: int = 0
    resumed: int = 0
    without_faces: int = 0
    faces: Counter[str] = field(default_factory=Counter)
    fallbacks: list[tuple[str, str]] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    stage_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def exit_status(self) -> int:
        """0 where all was written as asked; 3 where a face was obscured against the asked method or a file withheld."""
        return 3 if self.failures or self.fallbacks else 0

    def count(self, record: Mapping[str, Any]) -> None:
        """Add one journal line."""
        name = str(record["input"])
        if "error" in record:
            self.failures.append((name, str(record["error"])))
            return
        self.written += 1
        self.without_faces += not record["faces"]
        for face in record["faces"]:
            self.faces[face["action"]] += 1
            if "reason" in face:
                self.fallbacks.append((name, str(face["reason"])))
        self.notes += [(name, note) for note in record.get("notes", [])]

    def recount(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Count anew, where some lines have taken the place of others."""
        self.written = self.without_faces = 0
        self.faces, self.fallbacks, self.failures, self.notes = Counter(), [], [], []
        for record in records:
            self.count(record)

    def to_json(self) -> dict[str, Any]:
        """Return the machine-readable summary."""
        return {
            "inputs": self.inputs,
            "written": self.written,
            "resumed": self.resumed,
            "without_faces": self.without_faces,
            "faces": dict(self.faces),
            "obscured_against_method": len(self.fallbacks),
            "failures": [{"input": name, "error": reason} for name, reason in self.failures],
            "seconds": round(self.seconds, 3),
            "stage_seconds": {stage: round(seconds, 3) for stage, seconds in self.stage_seconds.items()},
            "exit_status": self.exit_status,
        }


def anonymize_files(
    inputs: Sequence[Path],
    anonymizer: Anonymizer,
    options: RunOptions,
    boxes: Boxes | None = None,
    watch: Callable[[int, int, str], None] | None = None,
    casting: Casting | None = None,
) -> Summary:
    """Anonymise files and folders into options.out and return what became of them.

    boxes: further face boxes by relative name, (n, 4) pixels of the upright image. watch: called with how many inputs
    are done, how many there are, and the name of the last. Unreadable inputs are named, counted and not copied; the run
    goes on. Raises OutputError where the output cannot be written (a full disk, say): what was written stays whole; and
    OptionError where boxes are given for a name that is no input, since a face would be left as it is.
    """
    started = time.perf_counter()
    files = walk_inputs(inputs, exclude=options.out)
    own = {name: rows for name, rows in (boxes or {}).items() if len(rows)}
    if unknown := sorted(own.keys() - {file.relative.as_posix() for file in files}):
        raise OptionError("--boxes", f"'{unknown[0]}' is no input of this run. Names are relative to the input folder.")
    summary = Summary(inputs=len(files))
    settings = run_settings(anonymizer, options) | (casting.settings() if casting else {})
    if options.out.is_dir():
        remove_stale(options.out)
    journal = Journal(options.out)
    if options.resume:
        journal.require_settings(settings)
    todo: list[InputFile] = []
    resumed: list[Mapping[str, Any]] = []
    for file in files:
        name = file.relative.as_posix()
        done = journal.finished(name, options.out / file.relative, settings) if options.resume else None
        if done is None or done.get("own_boxes", []) != _rows(own.get(name)):
            todo.append(file)
        else:
            summary.resumed += 1
            summary.count(done)
            resumed.append(done)
    if casting is not None:
        casting.look_at(files if casting.groups else todo, _read_ahead, own, watch)
        casting.require_plan(resumed)

    def work(some: Sequence[InputFile]) -> None:
        for file, photo, reading_s in _read_ahead(some):
            name = file.relative.as_posix()
            begun = time.perf_counter() - reading_s
            try:
                record = _anonymize_one(name, file, photo, anonymizer, options, boxes=own.get(name))
            except ImageError as error:
                record = {"faces": [], "error": error.reason}
            seconds = round(time.perf_counter() - begun, 3)
            record = {"input": name, "seconds": seconds, "versions": _versions(), "settings": settings} | record
            journal.append(record | (casting.plan() if casting else {}))
            summary.count(record)
            if watch is not None:
                watch(min(summary.written + len(summary.failures), len(files)), len(files), name)

    work(todo)
    while casting is not None and (again := casting.short(journal.among(_names(files)))):
        work([file for file in files if file.relative.as_posix() in again])
        summary.recount(journal.among(_names(files)).values())
    summary.seconds = time.perf_counter() - started
    summary.stage_seconds = dict(anonymizer.seconds)
    return summary


def _anonymize_one(
    name: str,
    file: InputFile,
    photo: Photo | ImageError,
    anonymizer: Anonymizer,
    options: RunOptions,
    *,
    boxes: FloatArray | None,
) -> dict[str, Any]:
    if isinstance(photo, ImageError):
        raise photo
    if boxes is not None:
        try:
            boxes_inside(boxes, photo.image_rgb.shape)
        except ValueError as error:
            raise ImageError(file.path, str(error)) from error
    outcome: Outcome = anonymizer.anonymize(photo.image_rgb, name=name, boxes_xyxy=boxes)
    if options.require_faces and not outcome.faces:
        raise ImageError(file.path, "no face was found, and --require-faces asks for one")
    encoded = encode_photo(photo, outcome.image_rgb, outcome.region_mask, options.metadata)
    digest = write_atomic(options.out / file.relative, encoded)
    record: dict[str, Any] = {"sha256": digest, "faces": [face.to_json() for face in outcome.faces]}
    if boxes is not None:
        record["own_boxes"] = _rows(boxes)
    if photo.notes:
        record["notes"] = list(photo.notes)
    return record


def _read_ahead(files: Sequence[InputFile]) -> Iterator[tuple[InputFile, Photo | ImageError, float]]:
    """Yield each file with its photo, or the error that reading it raised, and the seconds that reading took."""

    def read(file: InputFile) -> tuple[Photo | ImageError, float]:
        begun = time.perf_counter()
        try:
            photo: Photo | ImageError = read_photo(file.path)
        except ImageError as error:
            photo = error
        return photo, time.perf_counter() - begun

    with ThreadPoolExecutor(1, "styleid-reader") as pool:
        coming = pool.submit(read, files[0]) if files else None
        for index, file in enumerate(files):
            assert coming is not None
            photo, seconds = coming.result()
            coming = pool.submit(read, files[index + 1]) if index + 1 < len(files) else None
            yield file, photo, seconds


def run_settings(anonymizer: Anonymizer, options: RunOptions) -> dict[str, Any]:
    """Return what an output depends on besides its input, for the journal and for resuming."""
    chosen: AnonymizeOptions = anonymizer.options
    return asdict(chosen) | {"metadata": options.metadata} | bundle_settings(anonymizer)


def bundle_settings(anonymizer: Anonymizer) -> dict[str, Any]:
    """Return the bundle's name and hash, nothing where none is at work."""
    if anonymizer.options.method == "none":
        return {}
    return {"bundle": anonymizer.bundle.spec.name, "bundle_sha256": bundle_hash(anonymizer.bundle.folder)}


def read_boxes(path: Path) -> dict[str, FloatArray]:
    """Read own boxes: a JSON object of relative names, each with a list of [x0, y0, x1, y1] in pixels, upright."""
    import json

    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): np.asarray(rows, np.float32).reshape(-1, 4) for name, rows in record.items()}
    except OSError as error:
        raise OptionError("--boxes", f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, AttributeError, TypeError) as error:
        raise OptionError(
            "--boxes", f'{path} must hold JSON such as {{"street/1.jpg": [[10, 20, 60, 90]]}}: {error}'
        ) from error


def _names(files: Sequence[InputFile]) -> list[str]:
    return [file.relative.as_posix() for file in files]


def _rows(boxes: FloatArray | None) -> list[list[float]]:
    return [] if boxes is None else [[round(float(v), 2) for v in row] for row in boxes]


def _versions() -> dict[str, str]:
    return {"styleid": styleid.__version__}
