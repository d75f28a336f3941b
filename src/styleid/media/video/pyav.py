"""Import PyAV, an optional dependency, and set it up."""

from __future__ import annotations

from typing import Any

from styleid.errors import MissingDependencyError


def import_av() -> Any:
    """Return PyAV; raises MissingDependencyError with the line that installs it."""
    try:
        import av
        import av.logging
    except ImportError as error:
        raise MissingDependencyError("PyAV, which reads and writes videos,", "'styleid[video]'") from error
    av.logging.restore_default_callback()  # its own takes the interpreter lock from decoding threads, and can hang
    av.logging.set_libav_level(av.logging.PANIC)  # what matters comes back as an exception
    return av
