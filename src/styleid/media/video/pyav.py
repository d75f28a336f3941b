"""Import PyAV, an optional dependency, and set it up."""

from __future__ import annotations

from typing import Any

from styleid.errors import MissingDependencyError


def import_av() -> Any:
    """Import PyAV and return it.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import av
        import av.logging
    except ImportError as error:
        raise MissingDependencyError("PyAV, which reads and writes videos,", "'styleid[video]'") from error
    av.logging.restore_default_callback()  # PyAV's takes the interpreter lock in decoding threads and can hang
    av.logging.set_libav_level(av.logging.PANIC)  # errors are raised as exceptions anyway
    return av
