"""Send a folder as a ZIP without writing the ZIP to the disk."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from styleid.media.storage.remote import TEMPORARY

_CHUNK = 1 << 20
_TIME = (1980, 1, 1, 0, 0, 0)
"""The time of every member, so that it does not reveal when a photo was anonymised."""


def zip_chunks(folder: Path) -> Iterator[bytes]:
    """Yield the bytes of a ZIP of all files of a folder, in the order of their names, not compressed."""
    pipe = _Pipe()
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not TEMPORARY.fullmatch(path.name))
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[arg-type]
        for path in paths:
            member = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _TIME)
            member.external_attr = 0o600 << 16
            with path.open("rb") as source, archive.open(member, "w", force_zip64=True) as target:
                while chunk := source.read(_CHUNK):
                    target.write(chunk)
                    yield pipe.take()
    yield pipe.take()


class _Pipe:
    """A write-only file without seeking, to which the ZIP is written."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, data: Any) -> int:
        self._bytes += data
        return len(data)

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""

    def take(self) -> bytes:
        """Return the bytes written since the last call."""
        taken = bytes(self._bytes)
        self._bytes.clear()
        return taken
