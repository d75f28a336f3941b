"""A private temporary folder that holds measurements between the two passes. It is removed when the run ends."""

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
    """A temporary folder that only its owner can read. Leaving the context removes it.

    Attributes:
        folder: The folder, mode 0700.
    """

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
        """Yield a table of float32 rows to which rows are appended; see `Growing`."""
        table = Growing(self.folder / name, width)
        try:
            yield table
        finally:
            table.close()

    def table(self, name: str, kind: np.dtype[Any], rows: int) -> Shaped[np.ndarray, " rows"]:
        """Return a table of records on disk, filled with zeros.

        Args:
            name: Name of its file.
            kind: Type of a record.
            rows: Number of records; the table has at least one.

        Raises:
            OutputError: If the file cannot be created.
        """
        try:
            return np.memmap(self.folder / name, kind, "w+", shape=(max(rows, 1),))
        except OSError as error:
            raise OutputError(self.folder / name, os_reason(error)) from error

    def shelf(self, name: str) -> Shelf:
        """Create a file of byte strings. It is closed with the folder."""
        shelf = Shelf(self.folder / name)
        self._open.callback(shelf.close)
        return shelf


class Shelf:
    """Byte strings in a file. One thread may write while any number of threads read."""

    def __init__(self, path: Path) -> None:
        self._path, self._file, self._end = path, path.open("xb+", buffering=0), 0

    def put(self, content: bytes) -> tuple[int, int]:
        """Append a byte string.

        Returns:
            Its offset and length.

        Raises:
            OutputError: If it cannot be written.
        """
        at = self._end, len(content)
        try:
            if self._file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise OutputError(self._path, os_reason(error)) from error
        self._end += len(content)
        return at

    def take(self, begin: int, length: int) -> bytes:
        """Return the byte string at an offset with a length."""
        return os.pread(self._file.fileno(), length, begin)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Growing:
    """A file of float32 rows, (n, width)."""

    def __init__(self, path: Path, width: int) -> None:
        self._path, self._width, self._file = path, width, path.open("wb")

    def add(self, rows: Float32[np.ndarray, "n width"]) -> None:
        """Append rows, (n, width).

        Raises:
            OutputError: If they cannot be written.
        """
        try:
            self._file.write(np.ascontiguousarray(rows, np.float32).tobytes())
        except OSError as error:
            raise OutputError(self._path, os_reason(error)) from error

    def rows(self) -> Float32[np.ndarray, "n width"]:
        """Return all rows, memory-mapped."""
        self._file.flush()
        if not self._path.stat().st_size:
            return np.zeros((0, self._width), np.float32)
        return np.memmap(self._path, np.float32, "r").reshape(-1, self._width)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def measurement_type(size: int, embedding: int) -> np.dtype[Any]:
    """Return the record type of one face in one frame.

    Landmarks are in pixels of the face's crop. `maps` is the offset and length of the face's maps in a `Shelf`.

    Args:
        size: Length of W+.
        embedding: Length of an embedding.
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
