"""Find long runs of given characters in large texts."""

from __future__ import annotations

from collections.abc import Iterator

Alphabet = bytes


def alphabet(characters: bytes) -> Alphabet:
    """Return a table for `bytes.translate` that maps the given characters to 1 and all others to 0."""
    among = set(characters)
    return bytes(code in among for code in range(256))


def long_runs(text: bytes, among: Alphabet, least: int) -> Iterator[tuple[int, int]]:
    """Yield (begin, end) of each long run of characters.

    Args:
        text: The text to search.
        among: Table of the characters; see `alphabet`.
        least: Minimum length of a run.
    """
    flags, wanted = text.translate(among), b"\1" * least
    begin = flags.find(wanted)
    while begin >= 0:
        end = flags.find(b"\0", begin)
        end = len(text) if end < 0 else end
        yield begin, end
        begin = flags.find(wanted, end)
