"""The journal of a run: one JSON line per input, in the order of the inputs, on the disk before the run continues.

It has the outcome of every face, and never an embedding or a crop. Each shard of a run has its own journal, so that
several machines can write into one folder; all journals of a folder are read. Of each line, 16 bytes are kept in
memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from styleid.engine.shards import Shard
from styleid.errors import OptionError, OutputError
from styleid.media.storage.files import InputFile

NAME = "styleid-journal.jsonl"
_OF_SHARDS = "styleid-journal-*-of-*.jsonl"
NAMES = re.compile(r"(styleid-journal(?:-\d+-of-\d+)?)(?:\.part-(\d+))?\.jsonl")
"""Names of journals: the stem, which a journal shares with its parts, and the number of a part."""
_OFFSET_BITS = 44
_READ_BYTES = 4096


class _Files:
    """Reads lines of files by their offsets. The files stay open, because a run may read millions of lines."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self._open: dict[int, int] = {}

    def line(self, place: int) -> dict[str, Any]:
        """Return the line at a place."""
        number, offset = place >> _OFFSET_BITS, place & ((1 << _OFFSET_BITS) - 1)
        if number not in self._open:
            self._open[number] = os.open(self.paths[number], os.O_RDONLY | getattr(os, "O_BINARY", 0))
        os.lseek(self._open[number], offset, os.SEEK_SET)
        text = b""
        while b"\n" not in text and (part := os.read(self._open[number], _READ_BYTES)):
            text += part
        record = _parsed(text.partition(b"\n")[0])
        assert record is not None, "a journal was changed while it was read"
        return record

    def __del__(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)


class _Index(NamedTuple):
    """Where the lines of each input are. keys: (n,) sorted hashes of names. places: file and offset, oldest first."""

    files: _Files
    keys: np.ndarray
    places: np.ndarray
    settings: list[Mapping[str, Any]]


class Journal:
    """The journal of an output folder, to append to, and the lines of all journals of the folder.

    Lines are indexed when they are first asked for. Lines that are appended later are not in the index.
    """

    def __init__(self, folder: Path, shard: Shard | None = None) -> None:
        self.folder = folder
        self.path = folder / (NAME if shard is None else f"styleid-journal-{shard.suffix}.jsonl")
        self._known: _Index | None = None

    @property
    def shown(self) -> str:
        """The path or URL of the journal, for messages."""
        return str(self.path)

    def append(self, *records: Mapping[str, Any]) -> None:
        """Append one line for each record and flush them to the disk; raises OutputError if that fails."""
        if not records:
            return
        lines = "".join(to_json_line(record) + "\n" for record in records)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                if file.tell() and not _ends_with_newline(self.path):
                    file.write(b"\n")  # a killed run left half a line; it stays, and is ignored
                file.write(lines.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(self.path, error.strerror or str(error)) from error

    def finished(self, file: InputFile, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the line of an input whose output is complete, or None.

        The output must be the one of the line, made with these settings, and not older than the input. The last line
        of the input in each journal is considered.
        """
        lines = [one for one in self._lines_of(file.relative.as_posix()) if one.get("settings") == settings]
        whole = self._whole(file, [one for one in lines if "sha256" in one])
        return whole if whole is not None and not self._is_newer(file) else None

    def close(self) -> None:
        """Write what is not written yet."""

    def _whole(self, file: InputFile, lines: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
        """Return the line that has the hash of the output, or None."""
        if not lines:
            return None
        try:
            found = hashlib.sha256((self.folder / file.relative).read_bytes()).hexdigest()
        except OSError:
            return None
        return next((one for one in lines if one["sha256"] == found), None)

    def _is_newer(self, file: InputFile) -> bool:
        """Return whether an input is newer than its output, and so may be another picture of the same name."""
        try:
            output = (self.folder / file.relative).stat()
            if isinstance(file.path, Path):
                return file.path.stat().st_mtime_ns > output.st_mtime_ns
        except OSError:
            return True
        return file.modified > output.st_mtime

    def require_settings(self, settings: Mapping[str, Any]) -> None:
        """Raise OptionError if a line of the journals has other settings than this run."""
        for other in self._index.settings:
            if other != settings:
                changed = sorted(k for k in {*other, *settings} if other.get(k) != settings.get(k))
                raise OptionError(
                    "resume",
                    f"{self.shown} was made with other settings ({', '.join(changed)}). "
                    "Repeat the command with the same ones, or choose another `out`.",
                )

    def records(self) -> list[dict[str, Any]]:
        """Return the last line of each input, in the order in which inputs first appeared; all in memory."""
        lines: dict[str, dict[str, Any]] = {}
        for path in self._journals():
            for _, record in _read(path):
                lines[str(record["input"])] = record
        return list(lines.values())

    def among(self, names: Collection[str]) -> dict[str, dict[str, Any]]:
        """Return the last line of each of the named inputs that has one. Reads the journals again."""
        return {name: record for record in self.records() if (name := str(record["input"])) in names}

    def latest(self) -> Iterator[dict[str, Any]]:
        """Yield the last line of each input, in the order of the journals."""
        index = self._index
        last = np.ones(len(index.keys), bool)
        last[:-1] = index.keys[1:] != index.keys[:-1]
        for place in np.sort(index.places[last]):
            yield index.files.line(int(place))

    @property
    def _index(self) -> _Index:
        if self._known is None:
            self._known = _make_index(self._journals())
        return self._known

    def _journals(self) -> list[Path]:
        """Return all journals of the folder, the last modified one last."""
        return journals(self.folder)

    def _lines_of(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the last line of an input in each journal, the last modified journal first."""
        index, key = self._index, np.uint64(key_of(name))  # with a Python int, numpy would convert the whole array
        first, end = np.searchsorted(index.keys, key, "left"), np.searchsorted(index.keys, key, "right")
        seen: set[int] = set()
        for place in map(int, index.places[first:end][::-1]):
            record = index.files.line(place)
            if record["input"] == name and place >> _OFFSET_BITS not in seen:
                seen.add(place >> _OFFSET_BITS)
                yield record


def is_journal(name: str) -> bool:
    """Return whether a file name is that of a journal, of a part of one, or of the journal of a shard."""
    return NAMES.fullmatch(name) is not None


def journals(folder: Path) -> list[Path]:
    """Return the journals of a folder, including those of shards, the last modified one last."""
    found = [path for path in (folder / NAME, *folder.glob(_OF_SHARDS)) if path.is_file()]
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))


def to_json_line(record: Mapping[str, Any]) -> str:
    """Return a record as one line of JSON; characters are escaped if a file name is not valid UTF-8."""
    line = json.dumps(record, ensure_ascii=False, sort_keys=True)
    return line if _is_unicode(line) else json.dumps(record, sort_keys=True)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _make_index(files: list[Path]) -> _Index:
    keys, places, settings = array("Q"), array("Q"), []
    for number, path in enumerate(files):
        for offset, record in _read(path):
            keys.append(key_of(str(record["input"])))
            places.append(number << _OFFSET_BITS | offset)
            if (own := record.get("settings")) is not None and own not in settings:
                settings.append(own)
    order = np.argsort(np.frombuffer(keys, np.uint64), kind="stable")
    return _Index(
        _Files(files), np.frombuffer(keys, np.uint64)[order], np.frombuffer(places, np.uint64)[order], settings
    )


def key_of(name: str) -> int:
    """Return a hash of a name, 64 bits. Two names may share it, so callers must compare the names."""
    return int.from_bytes(hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest(), "big")


def _read(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each complete line of a journal with its offset."""
    offset = 0
    with path.open("rb") as file:
        for line in file:
            if (record := _parsed(line)) is not None:
                yield offset, record
            offset += len(line)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line.decode(errors="replace"))
    except json.JSONDecodeError:
        return None  # half a line of a killed run; its input is repeated
    return record if isinstance(record, dict) and "input" in record else None


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
