"""Counts in messages, in the singular or the plural."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as "1 byte" or "1,200 bytes"; the plural takes an s."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
