"""What the first pass leaves for the second: a private folder of numbers that goes when the run ends or breaks off."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped

from styleid.errors import OutputError
from styleid.media.storage.files import os_reason


class Workspace:
    """A folder that only its owner can open (mode 0700); a context that removes it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="styleid-"))  # mkdtemp makes it 0700
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def growing(self, name: str, width: int) -> Iterator[Growing]:
        """Yield a table of float32 rows that is added to row by row."""
        table = Growing(self.folder / name, width)
        try:
            yield table
        finally:
            table.close()

    def table(self, name: str, kind: np.dtype[Any], rows: int) -> Shaped[np.ndarray, " rows"]:
        """Return a table of records on the disk, all zero."""
        try:
            return np.memmap(self.folder / name, kind, "w+", shape=(max(rows, 1),))
        except OSError as error:
            raise OutputError(self.folder / name, os_reason(error)) from error

    def shelf(self, name: str) -> Shelf:
        """Return a file of byte strings, which is closed with the folder."""
        shelf = Shelf(self.folder / name)
        self._open.callback(shelf.close)
        return shelf


class Shelf:
    """Byte strings in a file, each found again by where it was put. One thread puts, any number take."""

    def __init__(self, path: Path) -> None:
        self._path, self._file, self._end = path, path.open("xb+", buffering=0), 0

    def put(self, content: bytes) -> tuple[int, int]:
        """Append a byte string; return where it is: begin and length."""
        at = self._end, len(content)
        try:
            if self._file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise OutputError(self._path, os_reason(error)) from error
        self._end += len(content)
        return at

    def take(self, begin: int, length: int) -> bytes:
        """Return what was put at a place."""
        return os.pread(self._file.fileno(), length, begin)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Growing:
    """Rows of float32 in a file, (n, width)."""

    def __init__(self, path: Path, width: int) -> None:
        self._path, self._width, self._file = path, width, path.open("wb")

    def add(self, rows: Float32[np.ndarray, "n width"]) -> None:
        """Append rows (n, width)."""
        try:
            self._file.write(np.ascontiguousarray(rows, np.float32).tobytes())
        except OSError as error:
            raise OutputError(self._path, os_reason(error)) from error

    def rows(self) -> Float32[np.ndarray, "n width"]:
        """Return all rows so far, read from the disk as they are used."""
        self._file.flush()
        if not self._path.stat().st_size:
            return np.zeros((0, self._width), np.float32)
        return np.memmap(self._path, np.float32, "r").reshape(-1, self._width)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def measurement_type(size: int, embedding: int) -> np.dtype[Any]:
    """Return the record of one face in one frame; landmarks are in pixels of its crop.

    size: how many numbers W+ has; embedding: how many an embedding has. The record's maps say where `Shelf` has them,
    begin and length.
    """
    return np.dtype(
        [
            ("landmarks", np.float32, (68, 2)),
            ("wplus", np.float32, (size,)),
            ("attributes", np.float32, (7,)),
            ("embedding", np.float32, (embedding,)),
            ("shares", np.float32, (2,)),
            ("maps", np.int64, (2,)),
            ("steady_landmarks", np.float32, (68, 2)),
            ("steady_wplus", np.float32, (size,)),
        ]
    )
