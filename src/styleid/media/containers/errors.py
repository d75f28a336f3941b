"""Errors of files whose bytes cannot be used."""

from __future__ import annotations


class BadFileError(Exception):
    """A file's bytes cannot be used; the message is the reason, without the file's name."""


class CutShortError(BadFileError):
    """The bytes end before the structure does."""

    def __init__(self, where: str) -> None:
        super().__init__(f"the file is cut short: it ends inside {where}. Fetch or copy it again")


def check_tail(stream: bytes) -> None:
    """Raise where a compressed stream ends in a kilobyte of zeros: no coder writes that, broken downloads do."""
    if len(stream) > 1024 and not stream[-1024:].strip(b"\0"):
        raise CutShortError("its pixels: the rest is zeros")


class TooManyPixelsError(BadFileError):
    """A picture's header announces more pixels than are allowed."""
