"""What the media tests share."""

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest


@pytest.fixture
def as_nobody(tmp_path) -> Callable[[], AbstractContextManager[None]]:
    """A context in which files without permission cannot be opened, also where the tests run as root."""
    folder = tmp_path
    while os.geteuid() == 0 and folder != folder.parent and folder.stat().st_uid == 0 and folder.name:
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o055)
        folder = folder.parent

    @contextlib.contextmanager
    def drop() -> Iterator[None]:
        if os.geteuid() != 0:
            yield
            return
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)

    return drop
