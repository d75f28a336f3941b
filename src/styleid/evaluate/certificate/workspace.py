"""Temporary folders for originals, which only the owner can read."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PRIVATE = 0o700


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yield a new folder with mode 0700, and remove it with its content afterwards."""
    with tempfile.TemporaryDirectory(prefix="styleid-") as folder:  # created with mode 0700
        yield Path(folder)


def make_private(folder: Path) -> None:
    """Make an empty folder with mode 0700. What an earlier run left there is removed."""
    remove(folder)
    folder.mkdir(mode=PRIVATE, parents=True)
    folder.chmod(PRIVATE)


def remove(folder: Path) -> None:
    """Remove a folder with its content, if it exists."""
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
