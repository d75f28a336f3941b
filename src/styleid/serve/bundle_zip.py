"""Write a folder as a ZIP while it is sent, so that nothing is written to the disk for it."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from styleid.media.storage.remote import TEMPORARY

_CHUNK = 1 << 20
_TIME = (1980, 1, 1, 0, 0, 0)
"""The time of every member: when a photo was anonymised is nobody's business."""


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
    """What a ZIP is written to: it can only be written on."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, data: Any) -> int:
        self._bytes += data
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> bytes:
        """Return what was written since the last time."""
        taken = bytes(self._bytes)
        self._bytes.clear()
        return taken
