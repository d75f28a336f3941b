"""Read a finished run: its originals, its outputs and its journal.

Photos of shards and frames of videos are first extracted into a working folder, so that the other modules only handle
photos. Only the owner can read the folder, and it is removed afterwards, because it contains originals.
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

NO_JOURNAL = "has no journal of styleid. For outputs of other tools, type: styleid evaluate"


@dataclass(frozen=True)
class Item:
    """One photo of a run.

    Attributes:
        name: Its path in both trees.
        original: Its original; None if there is none.
        output: Its output; None if there is none.
        record: Its line in the journal; None if it has none.
        kept: Boxes of faces that were left unchanged on purpose, if the record lists no faces.
        sha256: Of the output, from the journal; "" if the journal has none for this file.
    """

    name: str
    original: Path | None
    output: Path | None
    record: Mapping[str, Any] | None = None
    kept: tuple[tuple[float, float, float, float], ...] = ()
    sha256: str = ""


@dataclass
class FinishedRun:
    """A finished run.

    Attributes:
        kind: photos (also data sets), shards or video.
        items: Its photos or frames, in the order of their names.
        total: Number of all photos or frames. The items can be a random part of them.
        lists_faces: Whether the journal has a box for every face.
        journal: Files of the journal.
        settings: Settings in the journal.
        versions: Versions in the journal.
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
        """Whether the items are a random part of all photos or frames."""
        return len(self.items) < self.total

    @property
    def unit(self) -> str:
        """What is counted: photos or frames."""
        return "frames" if self.kind == "video" else "photos"


@contextmanager
def open_run(originals: Path, outputs: Path, seed: int = 0) -> Iterator[FinishedRun]:
    """Yield a run, inside which its extracted files exist.

    Args:
        originals: Folder of photos, of a data set or of shards, or a video.
        outputs: The outputs.
        seed: Seed of the random frames of a video.

    Raises:
        OptionError: The two places contain no run.
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
    """Return the photos below a folder by name, without those of the other folder if it lies inside."""
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
    """Extract the photos of shards. Their names are those of the journal, shard.tar/member.jpg."""
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
    """Extract the photos of a shard to files with generated names; return the files by the names of the journal.

    wanted: names of the photos to extract; None extracts every member with the suffix of a photo.
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
    """Extract random frames of a video and of its original."""
    if not original.is_file():
        raise OptionError("originals", f"{original} is not a video.")
    files = tuple(journals(output.parent))
    digest = hash_file(output)
    lines = [record for record in Journal(output.parent).records() if "tracks" in record] if files else []
    named = [record for record in lines if record.get("settings", {}).get("out") == output.name]
    record = next((one for one in lines if one.get("sha256") == digest), named[-1] if named else None)
    if record is None:
        raise OptionError("outputs", f"the folder of {output} {NO_JOURNAL}")
    drawn, total = extract_frames(original, output, space, seed, FRAMES)
    items = [
        Item(f"{output.name}/frame {number}", before, after, kept=_kept_at(record, number))
        for number, (before, after) in drawn.items()
    ]
    return FinishedRun("video", items, total, False, files, record["settings"], record["versions"])


def _kept_at(record: Mapping[str, Any], frame: int) -> tuple[tuple[float, float, float, float], ...]:
    """Return the boxes of tracks that were left unchanged on purpose in a frame of a video."""
    found = []
    for track in record["tracks"]:
        first, last = track["frames"]
        if track["action"] in (Action.KEPT, Action.DISMISSED) and first <= frame <= last:
            x0, y0, x1, y1 = track["box_range"]
            found.append((float(x0), float(y0), float(x1), float(y1)))
    return tuple(found)
