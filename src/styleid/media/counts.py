"""Counts in messages, in the singular or the plural."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, such as "1 byte" or "1,200 bytes".

    Args:
        number: How many.
        noun: The noun in the singular.
        plural: Its plural; empty adds an s to the singular.
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
