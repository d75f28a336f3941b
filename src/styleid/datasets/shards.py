"""Anonymise WebDataset shards: tar files of samples, whose members share a name up to the first dot."""

from __future__ import annotations

import contextlib
import io
import tarfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from styleid.core.pipeline import Anonymizer
from styleid.datasets.options import ShardOptions
from styleid.datasets.passthrough import (
    has_ending,
    is_photo_name,
    is_picture,
    named_endings,
    why_too_large,
    why_withheld,
    with_passthrough_option,
)
from styleid.datasets.run import DatasetSummary, Watch, check_places, files_in, overlap, require_no_foreign_files
from styleid.datasets.tar import ShardReader, ShardWriter, extension, is_whole, sample_key
from styleid.engine.journal import Journal
from styleid.engine.local import DAY_S, Boxes, RunOptions, Summary, do_in_order, make_executor, read_boxes, run_settings
from styleid.engine.photo import Done, Job
from styleid.engine.remote_journal import open_journal
from styleid.engine.shards import Shard
from styleid.errors import DatasetError, OptionError
from styleid.media.signing import check_signing
from styleid.media.storage.files import remove_stale
from styleid.media.storage.remote import Place
from styleid.version import __version__

_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_MANY = 1 << 20
"""Stands for the number of photos, which is unknown; larger than any executor's capacity."""


@dataclass
class _Run:
    """What all shards of a run share."""

    anonymizer: Anonymizer
    options: RunOptions
    shards: ShardOptions
    boxes: Boxes
    settings: dict[str, Any]
    journal: Journal
    summary: DatasetSummary
    done: dict[str, dict[str, Any]]

    def write(self, record: dict[str, Any], seconds: float = 0.0) -> None:
        """Append a line to the journal."""
        common = {"seconds": round(seconds, 3), "versions": {"styleid": __version__}}
        self.journal.append(common | {"settings": self.settings} | record)

    def count(self, records: Sequence[dict[str, Any]], carried: int, dropped: int) -> None:
        """Add the counts of a finished shard."""
        for record in records:
            self.summary.photos.inputs += 1
            self.summary.photos.count(record)
        self.summary.carried += carried
        self.summary.dropped += dropped


@dataclass
class _Member:
    """A member in progress.

    settled: whether its result is known. record: its journal line, if it has one. data: its new content; None if it is
    unchanged.
    """

    info: tarfile.TarInfo
    settled: bool = False
    record: dict[str, Any] | None = None
    data: bytes | None = None

    @property
    def stays(self) -> bool:
        """Whether it is written. A photo is only written with new content."""
        return self.record is None or self.data is not None


@dataclass
class _Shard:
    """A shard in progress.

    read: whether all members were read. samples: samples that are not written yet, in order. photos: journal lines of
    its photos. carried: number of other members copied. dropped: number of other members left out. error: why the
    shard is left out; empty if it is not.
    """

    name: str
    reader: ShardReader | None = None
    writer: ShardWriter | None = None
    begun: float = field(default_factory=time.perf_counter)
    read: bool = False
    samples: deque[list[_Member]] = field(default_factory=deque)
    photos: list[dict[str, Any]] = field(default_factory=list)
    carried: int = 0
    dropped: int = 0
    error: str = ""
    seen: dict[str, int] = field(default_factory=dict)

    def named(self, info: tarfile.TarInfo) -> str:
        """Return a member's name in the journal; further members of the same name get a number."""
        name = f"{self.name}/{info.name}"
        self.seen[name] = self.seen.get(name, 0) + 1
        return name if self.seen[name] == 1 else f"{name}#{self.seen[name]}"

    def close(self) -> None:
        """Close its files, and remove an unfinished output."""
        for file in (self.writer, self.reader):
            if file is not None:
                file.__exit__(None, None, None)


def process_shards(
    source: Place,
    anonymizer: Anonymizer,
    run: RunOptions,
    options: ShardOptions,
    watch: Watch | None = None,
) -> DatasetSummary:
    """Anonymise the photos in a tar shard, or in the shards of a folder, into shards of the same names in run.out.

    Members keep their order and headers. Members that are no photos are copied byte for byte if they are known to be
    harmless. Photos of several shards are processed at once, but each shard is written whole or not at all. A shard
    that is damaged or hostile is named and not written.

    Args:
        source: A shard, a folder of shards, or the URL of either.
        anonymizer: Anonymises the photos.
        run: Where the new shards are written, and how. With `run.resume`, finished shards are skipped.
        options: What happens to the members that are no photos.
        watch: Called after each shard with the number done, the number of all, and the name of the last.

    Returns:
        What was done.

    Raises:
        DatasetError: The source cannot be read.
        OptionError: The options do not fit the shards, or run.out contains other files.
        OutputError: An output cannot be written.
    """
    started = time.perf_counter()
    check_signing(run.marking)
    part = Shard.parse(run.shard)
    root, names = _find_shards(source, run.out)
    settings = run_settings(anonymizer, run)
    settings |= {"carry": sorted(options.carry), "drop_withheld": options.drop_withheld}
    own = read_boxes(options.boxes) if options.boxes is not None else {}
    if strange := [name for name in own if not any(name.startswith(f"{shard}/") for shard in names)]:
        raise OptionError("boxes", f"'{strange[0]}' is in no shard of this run. Names are shard.tar/member.jpg.")
    require_no_foreign_files(run.out, set(names))
    if run.out.is_dir():
        remove_stale(run.out, older_than_s=DAY_S if part else 0.0)
    with contextlib.closing(open_journal(run.out, part)) as journal:
        if run.resume:
            journal.require_settings(settings)
        summary = DatasetSummary(Summary())
        done = {str(record["input"]): record for record in journal.records()} if run.resume else {}
        state = _Run(anonymizer, run, options, own, settings, journal, summary, done)
        mine = [name for name in names if part is None or part.takes(name)]
        with contextlib.closing(_Stream(state, root, mine, watch)) as stream:
            do_in_order(make_executor(anonymizer, run, _MANY), stream.jobs(), stream.keep, photos=_MANY)
    summary.notes = list(summary.photos.notes)
    summary.kept_entries = 0 if options.drop_withheld else len(summary.photos.failures)
    summary.photos.seconds = time.perf_counter() - started
    summary.photos.stage_seconds = dict(anonymizer.seconds)
    return summary


def _find_shards(source: Place, out: Place) -> tuple[Place, list[str]]:
    try:
        is_folder, there = source.is_dir(), source.exists()
    except OSError as error:
        raise DatasetError(str(source), f"it cannot be read ({error.strerror or error})") from error
    if there and not is_folder:
        if overlap(source, out):
            raise OptionError("out", f"{out} holds the shard {source}. Name another folder.")
        root, names = source.parent, [source.name]
    else:
        check_places(source, out)
        root, names = source, files_in(source)
    if packed := [name for name in names if name.lower().endswith(_PACKED)]:
        raise OptionError("source", f"{packed[0]} is compressed. Unpack it first, for example with gunzip.")
    shards = [name for name in names if name.lower().endswith(".tar")]
    if not shards:
        raise OptionError("source", f"{source} is not a shard and contains none: no file name ends in .tar.")
    return root, shards


class _Stream:
    """Reads shards member by member, ahead of the photos in progress, and writes them in order."""

    def __init__(self, run: _Run, root: Place, names: Sequence[str], watch: Watch | None) -> None:
        self._run, self._root, self._names, self._watch = run, root, names, watch
        self._open: deque[_Shard] = deque()
        self._pending: dict[int, _Member] = {}
        self._begun = self._finished = 0
        self._unseen = named_endings(run.shards.carry)

    def jobs(self) -> Iterator[Job]:
        """Yield a job for each photo, shard by shard."""
        for name in self._names:
            if self._resumed(name):
                self._report_progress(name)
                continue
            shard = _Shard(name)
            self._open.append(shard)
            try:
                shard.reader = ShardReader(self._root / name)
                shard.writer = ShardWriter(self._run.options.out / name, shard.reader.comments)
                for sample in _samples(shard.reader):
                    members = [_Member(info) for info in sample]
                    for member in members:
                        if (job := self._begin(shard, shard.reader, member)) is not None:
                            yield job
                    shard.samples.append(members)
                    self._flush()
            except DatasetError as error:
                shard.error = error.reason
            shard.read = True
            self._flush()

    def keep(self, done: Sequence[Done]) -> None:
        """Take the results of jobs, and write the samples that are complete."""
        for one in done:
            member = self._pending.pop(one.number)
            member.record, member.data, member.settled = one.record, one.data, True
            for stage, seconds in one.stages.items():
                self._run.anonymizer.seconds[stage] += seconds
        self._flush()

    def close(self) -> None:
        """Close the unfinished shards and remove their outputs."""
        while self._open:
            self._open.popleft().close()

    def _begin(self, shard: _Shard, reader: ShardReader, member: _Member) -> Job | None:
        """Decide what is done with a member, or return the job that anonymises it."""
        info = member.info
        if info.isdir() or self._passes_through(info.name):
            member.settled = True
            return None
        name = shard.named(info)
        if _is_photo(reader, info):
            number, self._begun = self._begun, self._begun + 1
            self._pending[number] = member
            return Job(number, name, boxes=self._run.boxes.get(name), data=reader.read(info))
        member.settled = True
        if reason := why_too_large(info.size) or why_withheld(info.name, reader.read(info)):
            error = with_passthrough_option(reason, extension(info.name))
            member.record = {"input": name, "faces": [], "error": error}
        return None

    def _passes_through(self, name: str) -> bool:
        """Return whether the user named a member's extension, or of a member that is no photo its last part."""
        if extension(name) in self._unseen:
            return True
        return not is_photo_name(name) and has_ending(name, self._unseen)

    def _flush(self) -> None:
        """Write the samples whose results are known, in order, and finish the shards that are complete."""
        while self._open:
            shard = self._open[0]
            while shard.samples and all(member.settled for member in shard.samples[0]):
                sample = shard.samples.popleft()
                try:
                    if not shard.error:
                        self._write(shard, sample)
                except DatasetError as error:
                    shard.error = error.reason
            if shard.samples or not shard.read:
                return
            self._open.popleft()
            self._finish(shard)
            self._report_progress(shard.name)

    def _write(self, shard: _Shard, sample: Sequence[_Member]) -> None:
        """Write a sample in its order: anonymised photos, and other members unchanged."""
        assert shard.reader is not None
        assert shard.writer is not None
        for member in sample:
            if member.record is not None:
                self._run.write(member.record)
                shard.photos.append(member.record)
        stay = [member for member in sample if member.stays]
        if len(stay) < len(sample) and self._run.shards.drop_withheld:
            shard.dropped += len(stay)
            return
        for member in stay:
            info, data = member.info, member.data
            source = io.BytesIO(data) if data is not None else shard.reader.open(info) if info.isreg() else None
            shard.writer.add(info, source, info.size if data is None else len(data))
            shard.carried += data is None and info.isreg()

    def _finish(self, shard: _Shard) -> None:
        """Give a shard its name, or journal why it is left out."""
        run, seconds = self._run, time.perf_counter() - shard.begun
        if shard.error or shard.writer is None:
            shard.close()
            with contextlib.suppress(OSError):  # an earlier run may have written it from another file
                (run.options.out / shard.name).unlink()
            record = {"input": shard.name, "faces": [], "error": f"{shard.error}; the whole shard is left out"}
            run.write(record, seconds)
            run.count([record], 0, 0)
            return
        try:
            digest = shard.writer.finish()
        finally:
            shard.close()
        run.count(shard.photos, shard.carried, shard.dropped)
        record = {"input": shard.name, "faces": [], "sha256": digest, "bytes": shard.writer.bytes}
        record |= {"photos": [photo["input"] for photo in shard.photos], "boxes": _boxes_of(run.boxes, shard.name)}
        run.write(record | {"carried": shard.carried, "dropped": shard.dropped}, seconds)

    def _resumed(self, name: str) -> bool:
        """Return whether an earlier run finished a shard; if so, count it."""
        run = self._run
        done = run.done.get(name)
        if done is None or "sha256" not in done or done.get("boxes") != _boxes_of(run.boxes, name):
            return False
        if not all(member in run.done for member in done["photos"]):
            return False
        if not is_whole(run.options.out / name, done):
            return False
        records = [run.done[member] for member in done["photos"]]
        run.count(records, done["carried"], done["dropped"])
        run.summary.photos.resumed += sum("error" not in record for record in records)
        return True

    def _report_progress(self, name: str) -> None:
        self._finished += 1
        if self._watch is not None:
            self._watch(self._finished, len(self._names), name)


def _samples(reader: ShardReader) -> Iterator[list[tarfile.TarInfo]]:
    """Yield the members of each sample: consecutive members that share a key."""
    sample: list[tarfile.TarInfo] = []
    for info in reader.members():
        if sample and (info.isdir() or sample_key(info.name) != sample_key(sample[0].name)):
            yield sample
            sample = []
        sample.append(info)
    if sample:
        yield sample


def _is_photo(reader: ShardReader, info: tarfile.TarInfo) -> bool:
    """Return whether a member's name or first bytes are those of a picture."""
    return is_photo_name(info.name) or is_picture(reader.head(info))


def _boxes_of(boxes: Boxes, shard: str) -> dict[str, Any]:
    mine = {name: rows for name, rows in boxes.items() if name.startswith(f"{shard}/")}
    return {name: [[round(float(v), 2) for v in row] for row in rows] for name, rows in mine.items()}
