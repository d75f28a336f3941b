"""A file that gets its name only when it is complete."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

from styleid.errors import OutputError
from styleid.media.storage.files import os_reason


class PartFile:
    """A file that is written under a temporary name and renamed when it is complete.

    Attributes:
        path: The temporary file.
        error: The first error of writing, None if there was none.
        broken: If set, further data is silently discarded.
    """

    def __init__(self, out: Path) -> None:
        self._out, self.error, self.broken = out, None, False
        self.path = out.parent / f".styleid-{secrets.token_hex(8)}.part"
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("xb", buffering=0)
        except OSError as error:
            raise OutputError(out, os_reason(error)) from error

    error: OSError | None

    def write(self, data: bytes) -> int:
        """Write all of the data; return its length."""
        if self.broken:
            return len(data)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        except OSError as error:
            self.error = error
            raise
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to an offset and return it; some containers write their header at the end."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the offset in the file."""
        return self._file.tell()

    def publish(self) -> str:
        """Flush the file to the disk, give it its name, and return its SHA-256 in hex.

        Raises:
            OSError: It cannot be written.
        """
        if self.error is not None:
            raise self.error
        try:
            os.fsync(self._file.fileno())
            self._file.close()
            with self.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            self.path.replace(self._out)
        except OSError as error:
            self.error = error
            raise
        return digest

    def remove(self) -> None:
        """Remove the temporary file, if it still exists."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self.path.unlink()
