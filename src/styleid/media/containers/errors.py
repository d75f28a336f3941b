"""Errors for files that cannot be decoded."""

from __future__ import annotations


class BadFileError(Exception):
    """A file cannot be decoded or encoded. The message is the reason, without the file's name."""


class CutShortError(BadFileError):
    """A file ends before its structure does."""

    def __init__(self, where: str) -> None:
        super().__init__(f"the file is cut short: it ends inside {where}. Fetch or copy it again")


def check_tail(stream: bytes) -> None:
    """Raise `CutShortError` if a compressed stream ends with 1,024 zeros.

    No encoder writes that, but interrupted downloads leave it.
    """
    if len(stream) > 1024 and not stream[-1024:].strip(b"\0"):
        raise CutShortError("its pixels: the rest is zeros")


class TooManyPixelsError(BadFileError):
    """A picture has more pixels than the limit."""
