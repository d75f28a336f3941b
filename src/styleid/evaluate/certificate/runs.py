"""Read a finished run: which original became which output, and what the journal says of it.

Photos of shards and frames of videos are brought into a working folder first, so that all that follows sees photos. The
folder is readable by its owner alone and removed afterwards, since it holds originals.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from styleid.engine.journal import Journal, journals
from styleid.errors import OptionError
from styleid.evaluate.certificate.frames import FRAMES, extract_frames
from styleid.evaluate.certificate.hashes import hash_file
from styleid.evaluate.certificate.workspace import private_folder
from styleid.media.formats.parse.sniff import IMAGE_SUFFIXES
from styleid.media.storage.files import walk_inputs
from styleid.types import Action

NO_JOURNAL = "holds no journal of styleid's. For what other tools made, type: styleid evaluate"


@dataclass(frozen=True)
class Item:
    """One photo of a run.

    name: its path in both trees. original, output: its files, None where there is none. record: its line in the
    journal, None where it has none. kept: boxes of faces that were left alone on purpose, where the record lists no
    faces. sha256: of the output as the journal has it, "" where it says nothing of this file alone.
    """

    name: str
    original: Path | None
    output: Path | None
    record: Mapping[str, Any] | None = None
    kept: tuple[tuple[float, float, float, float], ...] = ()
    sha256: str = ""


@dataclass
class FinishedRun:
    """Hold a run.

    kind: photos (data sets too), shards or video. items: those that were looked for, in the order of names. total: how
    many photos or frames there are, of which the items may be a random part. lists_faces: whether the journal has a box
    for every face. journal: its files. settings, versions: as the journal has them.
    """

    kind: str
    items: list[Item]
    total: int
    lists_faces: bool
    journal: tuple[Path, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)

    @property
    def is_sample(self) -> bool:
        """Whether the items are only a random part of what there is."""
        return len(self.items) < self.total

    @property
    def unit(self) -> str:
        """What is counted."""
        return "frames" if self.kind == "video" else "photos"


@contextmanager
def open_run(originals: Path, outputs: Path, seed: int = 0) -> Iterator[FinishedRun]:
    """Yield a run; raises OptionError where the two places hold none.

    originals, outputs: folders of photos, of a data set or of shards, or two videos.
    """
    if outputs.is_file() and outputs.suffix != ".tar":
        with private_folder() as space:
            yield _video(originals, outputs, space, seed)
        return
    folder = outputs if outputs.is_dir() else outputs.parent
    files = tuple(journals(folder))
    if not folder.is_dir() or not files:
        raise OptionError("outputs", f"{folder} {NO_JOURNAL if folder.is_dir() else 'does not exist.'}")
    records = {str(record["input"]): record for record in Journal(folder).records()}
    if any("photos" in record for record in records.values()):
        with private_folder() as space:
            yield _shards(originals, outputs, records, files, space)
        return
    if not originals.is_dir():
        raise OptionError("originals", f"{originals} is not a folder.")
    befores, afters = _photos_in(originals, outputs), _photos_in(outputs, originals)
    yield _run("photos", befores, afters, records, files)


def _photos_in(folder: Path, other: Path) -> dict[str, Path]:
    """Return the photos below a folder by name, without those of the other one where that lies inside."""
    barred = other if folder.resolve() in other.resolve().parents else None
    return {file.relative.as_posix(): Path(str(file.path)) for file in walk_inputs([folder], exclude=barred)}


def _run(
    kind: str,
    befores: Mapping[str, Path],
    afters: Mapping[str, Path],
    records: Mapping[str, Mapping[str, Any]],
    files: Sequence[Path],
) -> FinishedRun:
    names = sorted({*befores, *afters, *records})
    items = []
    for name in names:
        record = records.get(name)
        digest = str((record or {}).get("sha256", "")) if kind == "photos" else ""
        items.append(Item(name, befores.get(name), afters.get(name), record, sha256=digest))
    last: Mapping[str, Any] = list(records.values())[-1] if records else {}
    settings, versions = dict(last.get("settings", {})), dict(last.get("versions", {}))
    return FinishedRun(kind, items, len(items), True, tuple(files), settings, versions)


def _shards(
    originals: Path, outputs: Path, records: dict[str, dict[str, Any]], files: Sequence[Path], space: Path
) -> FinishedRun:
    """Unpack the photos of shards; their names are those of the journal, shard.tar/member.jpg."""
    shards = {name: record for name, record in records.items() if "photos" in record or name.endswith(".tar")}
    photos = {name: record for name, record in records.items() if name not in shards}
    befores: dict[str, Path] = {}
    afters: dict[str, Path] = {}
    for name in sorted(shards):
        before = originals if originals.is_file() else originals / name
        after = outputs if outputs.is_file() else outputs / name
        befores |= _unpacked(before, name, space / "originals", set(photos))
        afters |= _unpacked(after, name, space / "outputs", None)
    return _run("shards", befores, afters, photos, files)


def _unpacked(shard: Path, name: str, folder: Path, wanted: set[str] | None) -> dict[str, Path]:
    """Write the photos of a shard to files of our own names, and return them by the names that the journal has.

    wanted: which ones; None takes every member that is named like a photo.
    """
    if not shard.is_file():
        return {}
    found: dict[str, Path] = {}
    times: dict[str, int] = {}
    with tarfile.open(shard) as tar:
        for info in tar:
            if not info.isreg():
                continue
            called = f"{name}/{info.name}"
            times[called] = times.get(called, 0) + 1
            called = called if times[called] == 1 else f"{called}#{times[called]}"
            if called in wanted if wanted is not None else _is_photo(info.name):
                content = tar.extractfile(info)
                assert content is not None, "it is a regular file"
                path = folder / f"{hashlib.sha256(called.encode()).hexdigest()[:24]}{Path(info.name).suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())
                found[called] = path
    return found


def _is_photo(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def _video(original: Path, output: Path, space: Path, seed: int) -> FinishedRun:
    """Draw frames of a video and of its original at random, and write both as photos."""
    if not original.is_file():
        raise OptionError("originals", f"{original} is not a video.")
    files = tuple(journals(output.parent))
    digest = hash_file(output)
    lines = [record for record in Journal(output.parent).records() if "tracks" in record] if files else []
    told = [record for record in lines if record.get("settings", {}).get("out") == output.name]
    record = next((one for one in lines if one.get("sha256") == digest), told[-1] if told else None)
    if record is None:
        raise OptionError("outputs", f"the folder of {output} {NO_JOURNAL}")
    drawn, total = extract_frames(original, output, space, seed, FRAMES)
    items = [
        Item(f"{output.name}/frame {number}", before, after, kept=_kept_at(record, number))
        for number, (before, after) in drawn.items()
    ]
    return FinishedRun("video", items, total, False, files, record["settings"], record["versions"])


def _kept_at(record: Mapping[str, Any], frame: int) -> tuple[tuple[float, float, float, float], ...]:
    """Return where faces may be that a video's journal says were left alone in a frame."""
    found = []
    for track in record["tracks"]:
        first, last = track["frames"]
        if track["action"] in (Action.KEPT, Action.DISMISSED) and first <= frame <= last:
            x0, y0, x1, y1 = track["box_range"]
            found.append((float(x0), float(y0), float(x1), float(y1)))
    return tuple(found)
