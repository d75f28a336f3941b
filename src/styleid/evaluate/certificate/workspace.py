"""Folders that hold originals for a while: readable by their owner alone, and removed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PRIVATE = 0o700


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yield a new folder with mode 0700 and remove it with all that it holds."""
    with tempfile.TemporaryDirectory(prefix="styleid-") as folder:  # it has this mode from the beginning
        yield Path(folder)


def make_private(folder: Path) -> None:
    """Make a folder of mode 0700, empty: what an earlier run left there goes."""
    remove(folder)
    folder.mkdir(mode=PRIVATE, parents=True)
    folder.chmod(PRIVATE)


def remove(folder: Path) -> None:
    """Remove a folder with all that it holds, where it is there."""
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
