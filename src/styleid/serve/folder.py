"""The data folder of the service: private to its owner, used by one service at a time."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from styleid.errors import OptionError
from styleid.serve.store import Store

_DATABASE = "desk.sqlite3"
_LOCK = "lock"
JOBS = "jobs"
_TEMPORARY = "tmp"


def open_folder(folder: Path) -> Path:
    """Make the folder, or check that only its owner can read it; raises OptionError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = folder.stat().st_mode
        if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
            raise OptionError("data", f"others can read {folder}, which contains originals. "
                              f"Type: chmod 700 {folder}")  # fmt: skip
        (folder / JOBS).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise OptionError("data", f"{folder} cannot be used ({error.strerror}).") from error
    return folder


def temporary_folder(folder: Path) -> Path:
    """Return the folder of a service's temporary files."""
    return folder / _TEMPORARY


def empty_temporary_folder(folder: Path) -> None:
    """Remove the temporary files that a killed service left. Call it while the folder is locked.

    Args:
        folder: The data folder.

    Raises:
        OptionError: The temporary files cannot be removed.
    """
    place = temporary_folder(folder)
    try:
        if place.exists():
            shutil.rmtree(place)
        place.mkdir(mode=0o700)
    except OSError as error:
        raise OptionError("data", f"{place} cannot be emptied ({error.strerror}).") from error


def open_store(folder: Path) -> Store:
    """Open the database in a folder of `open_folder`."""
    path = folder / _DATABASE
    path.touch(mode=0o600)
    return Store(path)


class FolderLock:
    """Lock of a folder for one service; raises OptionError if another service holds it."""

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            import fcntl
        except ImportError:  # Windows has no flock; the folder is not locked there
            return
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise OptionError("data", f"another service is using {folder}.") from error

    def release(self) -> None:
        """Release the lock."""
        os.close(self._descriptor)
