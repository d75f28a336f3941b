"""WebDataset shards: tar files of samples, whose members share a name up to the first dot."""

from __future__ import annotations

import contextlib
import hashlib
import io
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import styleid
from styleid.datasets.carry import hidden_picture, is_picture
from styleid.datasets.options import ShardOptions
from styleid.datasets.plan import walk_files
from styleid.datasets.run import DatasetSummary, Watch, check_places, refuse_strangers
from styleid.datasets.tar import ShardReader, ShardWriter, extension, file_digest, sample_key
from styleid.engine.journal import Journal
from styleid.engine.local import Boxes, RunOptions, Summary, read_boxes, run_settings
from styleid.engine.photo import anonymize_photo
from styleid.errors import DatasetError, ImageError, OptionError
from styleid.media.files import remove_stale
from styleid.media.image import read_photo_bytes
from styleid.media.sniff import IMAGE_SUFFIXES
from styleid.pipeline import Anonymizer

_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_LOOKED_THROUGH = 64 << 20
"""Members up to this size are searched for pictures in base64; of larger ones only the beginning is looked at."""


@dataclass
class _Run:
    """What stays the same over all shards."""

    anonymizer: Anonymizer
    options: RunOptions
    shards: ShardOptions
    boxes: Boxes
    settings: dict[str, Any]
    journal: Journal
    summary: DatasetSummary
    done: dict[str, dict[str, Any]]

    def write(self, record: dict[str, Any], seconds: float = 0.0) -> None:
        """Append to the journal."""
        common = {"seconds": round(seconds, 3), "versions": {"styleid": styleid.__version__}}
        self.journal.append(common | {"settings": self.settings} | record)


@dataclass
class _Shard:
    """One shard on its way. photos: journal lines of its photos. carried, dropped: how many other members were."""

    name: str
    reader: ShardReader
    writer: ShardWriter
    photos: list[dict[str, Any]] = field(default_factory=list)
    carried: int = 0
    dropped: int = 0
    seen: dict[str, int] = field(default_factory=dict)

    def named(self, info: tarfile.TarInfo) -> str:
        """Return what the journal calls a member; members of one name are told apart."""
        name = f"{self.name}/{info.name}"
        self.seen[name] = self.seen.get(name, 0) + 1
        return name if self.seen[name] == 1 else f"{name}#{self.seen[name]}"


def anonymize_shards(
    source: Path,
    anonymizer: Anonymizer,
    run: RunOptions,
    options: ShardOptions,
    watch: Watch | None = None,
) -> DatasetSummary:
    """Anonymise the photos in a tar shard, or in the shards of a folder, into shards of the same names in run.folder.

    Members keep their order and their headers; what is no photo is carried byte for byte. A shard is written whole or
    not at all, and `resume` takes it up from the first that is not finished. Raises OptionError and OutputError as
    `anonymize_files` does; a shard that is damaged or hostile is named and not written.
    """
    started = time.perf_counter()
    root, names = _find_shards(source, run.folder)
    settings = run_settings(anonymizer, run)
    settings |= {"carry": sorted(options.carry), "drop_withheld": options.drop_withheld}
    own = read_boxes(options.boxes) if options.boxes is not None else {}
    if strange := [name for name in own if not any(name.startswith(f"{shard}/") for shard in names)]:
        raise OptionError("--boxes", f"'{strange[0]}' is in no shard of this run. Names are shard.tar/member.jpg.")
    refuse_strangers(run.folder, set(names))
    if run.folder.is_dir():
        remove_stale(run.folder)
    journal = Journal(run.folder)
    if run.resume:
        journal.require_settings(settings)
    summary = DatasetSummary(Summary())
    done = {str(record["input"]): record for record in journal.records()} if run.resume else {}
    state = _Run(anonymizer, run, options, own, settings, journal, summary, done)
    for index, name in enumerate(names):
        if not _resumed(state, name):
            _shard(state, root / name, name)
        if watch is not None:
            watch(index + 1, len(names), name)
    summary.notes = list(summary.photos.notes)
    summary.kept_entries = 0 if options.drop_withheld else len(summary.photos.failures)
    summary.photos.seconds = time.perf_counter() - started
    summary.photos.stage_seconds = dict(anonymizer.seconds)
    return summary


def _find_shards(source: Path, out: Path) -> tuple[Path, list[str]]:
    if source.is_file():
        here, there = source.resolve(), out.resolve()
        if here.parent == there or there in here.parents:
            raise OptionError("OUT", f"{out} holds the shard {source}. Name another folder.")
        root, names = source.parent, [source.name]
    else:
        check_places(source, out)
        root, names = source, walk_files(source)
    if packed := [name for name in names if name.lower().endswith(_PACKED)]:
        raise OptionError("IN", f"{packed[0]} is compressed, which is not read. Unpack it first, say with gunzip.")
    shards = [name for name in names if name.lower().endswith(".tar")]
    if not shards:
        raise OptionError("IN", f"{source} is no shard and holds none: no file is named .tar.")
    return root, shards


def _resumed(run: _Run, name: str) -> bool:
    """Count a shard that an earlier run finished; say whether it did."""
    done, path = run.done.get(name), run.options.folder / name
    if done is None or "sha256" not in done or done.get("boxes") != _boxes_of(run.boxes, name):
        return False
    if not all(member in run.done for member in done["photos"]):
        return False
    with contextlib.suppress(OSError):
        if file_digest(path) == done["sha256"]:
            records = [run.done[member] for member in done["photos"]]
            _count(run.summary, records, done["carried"], done["dropped"])
            run.summary.photos.resumed += sum("error" not in record for record in records)
            return True
    return False


def _count(summary: DatasetSummary, records: Sequence[dict[str, Any]], carried: int, dropped: int) -> None:
    """Add a finished shard."""
    for record in records:
        summary.photos.inputs += 1
        summary.photos.count(record)
    summary.carried += carried
    summary.dropped += dropped


def _shard(run: _Run, path: Path, name: str) -> None:
    """Write one shard, or name why not."""
    begun = time.perf_counter()
    try:
        with ShardReader(path) as reader, ShardWriter(run.options.folder / name, reader.comments) as writer:
            shard = _Shard(name, reader, writer)
            for sample in _samples(reader):
                _sample(run, shard, sample)
            digest = writer.finish()
    except DatasetError as error:
        with contextlib.suppress(OSError):  # what an earlier run wrote was made from another file
            (run.options.folder / name).unlink()
        record = {"input": name, "faces": [], "error": f"{error.reason}; the whole shard is left out"}
        run.write(record, time.perf_counter() - begun)
        _count(run.summary, [record], 0, 0)
        return
    _count(run.summary, shard.photos, shard.carried, shard.dropped)
    record = {"input": name, "faces": [], "sha256": digest, "photos": [photo["input"] for photo in shard.photos]}
    record |= {"carried": shard.carried, "dropped": shard.dropped, "boxes": _boxes_of(run.boxes, name)}
    run.write(record, time.perf_counter() - begun)


def _samples(reader: ShardReader) -> Iterator[list[tarfile.TarInfo]]:
    """Yield the members of each sample: those in a row that share a key."""
    sample: list[tarfile.TarInfo] = []
    for info in reader.members():
        if sample and (info.isdir() or sample_key(info.name) != sample_key(sample[0].name)):
            yield sample
            sample = []
        sample.append(info)
    if sample:
        yield sample


def _sample(run: _Run, shard: _Shard, sample: Sequence[tarfile.TarInfo]) -> None:
    """Write a sample: its photos anonymised, the rest as it was, in order."""
    made = [(info, *_member(run, shard, info)) for info in sample]
    stay = [(info, data) for info, here, data in made if here]
    if len(stay) < len(made) and run.shards.drop_withheld:
        shard.dropped += len(stay)
        return
    for info, data in stay:
        source = io.BytesIO(data) if data is not None else shard.reader.open(info) if info.isreg() else None
        shard.writer.add(info, source, info.size if data is None else len(data))
        shard.carried += data is None and info.isreg()


def _member(run: _Run, shard: _Shard, info: tarfile.TarInfo) -> tuple[bool, bytes | None]:
    """Say whether a member stays, and with what content: None as it is."""
    if info.isdir() or extension(info.name) in _carried(run.shards):
        return True, None
    reader, name, begun, data = shard.reader, shard.named(info), time.perf_counter(), None
    record: dict[str, Any]
    if _is_photo(reader, info):
        try:
            photo = read_photo_bytes(reader.read(info), name)
            data, record = anonymize_photo(name, photo, run.anonymizer, run.options, boxes=run.boxes.get(name))
            record |= {"sha256": hashlib.sha256(data).hexdigest()}
        except ImageError as error:
            record = {"faces": [], "error": error.reason}
    else:
        reason = hidden_picture(reader.read(info) if info.size <= _LOOKED_THROUGH else reader.head(info))
        if not reason:
            return True, None
        advice = f"--carry {extension(info.name) or 'EXTENSION'} carries it all the same"
        record = {"faces": [], "error": f"{reason}. {advice}"}
    record = {"input": name} | record
    run.write(record, time.perf_counter() - begun)
    shard.photos.append(record)
    return "error" not in record, data


def _is_photo(reader: ShardReader, info: tarfile.TarInfo) -> bool:
    """Say whether a member is named or begins like a picture."""
    last = "." + extension(info.name).rpartition(".")[2]
    return last in IMAGE_SUFFIXES or is_picture(reader.head(info))


def _carried(options: ShardOptions) -> set[str]:
    return {word.strip().lstrip(".").lower() for given in options.carry for word in given.split(",")}


def _boxes_of(boxes: Boxes, shard: str) -> dict[str, Any]:
    mine = {name: rows for name, rows in boxes.items() if name.startswith(f"{shard}/")}
    return {name: [[round(float(v), 2) for v in row] for row in rows] for name, rows in mine.items()}
