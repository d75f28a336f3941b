"""The journal of a run whose output folder is at a URL. Object stores cannot append, so it is written in parts.

Lines are collected on this machine and uploaded every twenty seconds as `styleid-journal.part-000001.jsonl` and so on;
at the end, they are joined to one `styleid-journal.jsonl`. If a run is killed, the last lines are lost, and `resume`
repeats their photos. An output counts as complete if a listing shows its size: stores list complete objects only, and
reading all outputs again would take as long as the run.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import tempfile
import time
import weakref
from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from styleid.engine.journal import NAMES, Journal, key_of, to_json_line
from styleid.engine.shards import Shard
from styleid.errors import OutputError
from styleid.media.storage.files import InputFile, write_atomic
from styleid.media.storage.remote import Place, RemotePath

_EVERY_S = 20.0
_ATTEMPTS = 10


def open_journal(folder: Place, shard: Shard | None = None) -> Journal:
    """Return the journal of an output folder, here or at a URL."""
    return RemoteJournal(folder, shard) if isinstance(folder, RemotePath) else Journal(folder, shard)


class RemoteJournal(Journal):
    """The journal of an output folder at a URL. every_s: seconds between uploads."""

    def __init__(self, folder: RemotePath, shard: Shard | None = None, every_s: float = _EVERY_S) -> None:
        here = Path(tempfile.mkdtemp(prefix="styleid-journal-"))
        weakref.finalize(self, shutil.rmtree, here, ignore_errors=True)
        super().__init__(here, shard)
        self.remote, self._every_s = folder, every_s
        self._parts: list[str] = []
        self._unsent: list[str] = []
        self._outputs: _Listing | None = None
        self._has_others = False
        self._fetch(others=False)
        self._sent_at = time.monotonic()

    @property
    def shown(self) -> str:
        """The URL of the journal, for messages."""
        return str(self.remote / self.path.name)

    def append(self, *records: Mapping[str, Any]) -> None:
        """Add one line for each record, and upload a part if it is time; raises OutputError if that fails."""
        super().append(*records)
        self._unsent += [to_json_line(record) + "\n" for record in records]
        if time.monotonic() - self._sent_at >= self._every_s:
            self._send()

    def close(self) -> None:
        """Upload the whole journal and remove its parts; raises OutputError if that fails."""
        if self._unsent or self._parts:
            try:
                (self.remote / self.path.name).upload(self.path)
            except OSError as error:
                raise OutputError(self.shown, f"it cannot be written ({error.strerror})") from error
            for name in self._parts:
                with contextlib.suppress(OSError):  # a part that remains repeats lines of the journal
                    (self.remote / name).unlink()
        self._parts, self._unsent = [], []

    def _send(self) -> None:
        last = max((int(match[2]) for part in self._parts if (match := NAMES.fullmatch(part))), default=0)
        name = f"{self.path.stem}.part-{last + 1:06d}.jsonl"
        write_atomic(self.remote / name, "".join(self._unsent).encode())
        self._parts.append(name)
        self._unsent = []
        self._sent_at = time.monotonic()

    def _journals(self) -> list[Path]:
        if not self._has_others:
            self._fetch(others=True)
            self._has_others = True
        return super()._journals()

    def _fetch(self, *, others: bool) -> None:
        """Download the journal of this run, or those of the other shards."""
        for _ in range(_ATTEMPTS):
            try:
                self._copy(others)
                return
            except FileNotFoundError:  # another machine has just joined the parts of its journal
                continue
            except OSError as error:
                raise OutputError(str(self.remote), f"its journal cannot be read ({error.strerror})") from error
        raise OutputError(str(self.remote), "its journals changed each time they were read. Try again")

    def _copy(self, others: bool) -> None:
        """Download journals and append their parts."""
        found: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self.remote.names(), key=lambda name: (name.partition(".")[0], ".part-" in name, name)):
            if (match := NAMES.fullmatch(name)) and (match[1] != self.path.stem) == others:
                found[match[1]].append(name)
        for order, (stem, names) in enumerate(found.items()):
            path = self.folder / f"{stem}.jsonl"
            with path.open("wb") as file:
                for name in names:
                    with (self.remote / name).open() as source:
                        shutil.copyfileobj(source, file)
            os.utime(path, (order, order))  # older than what this run appends
        if not others:
            self._parts = [name for name in found[self.path.stem] if ".part-" in name]

    def _whole(self, file: InputFile, lines: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
        size, _ = self._listing.of(file.relative.as_posix())
        return next((one for one in lines if one.get("bytes") == size), None)

    def _is_newer(self, file: InputFile) -> bool:
        modified = file.modified
        if isinstance(file.path, Path):
            try:
                modified = file.path.stat().st_mtime
            except OSError:
                return True
        return modified > self._listing.of(file.relative.as_posix())[1]

    @property
    def _listing(self) -> _Listing:
        if self._outputs is None:
            self._outputs = _Listing(self.remote)
        return self._outputs


class _Listing:
    """The size and the time of every file below a folder, in 24 bytes each."""

    def __init__(self, folder: RemotePath) -> None:
        keys, sizes, times = array("Q"), array("q"), array("d")
        try:
            for entry in folder.walk():
                keys.append(key_of(entry.name))
                sizes.append(entry.size)
                times.append(entry.modified)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise OutputError(str(folder), f"it cannot be listed ({error.strerror})") from error
        order = np.argsort(np.frombuffer(keys, np.uint64), kind="stable")
        self._keys = np.frombuffer(keys, np.uint64)[order]
        self._sizes, self._times = np.frombuffer(sizes, np.int64)[order], np.frombuffer(times, np.float64)[order]

    def of(self, name: str) -> tuple[int, float]:
        """Return the size of a file in bytes and its time in seconds; -1 and NaN if there is none."""
        key = np.uint64(key_of(name))
        at = int(np.searchsorted(self._keys, key))
        if at == len(self._keys) or self._keys[at] != key:
            return -1, math.nan
        return int(self._sizes[at]), float(self._times[at])
