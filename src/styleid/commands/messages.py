"""Messages on standard error, in which the library's options have the names that a person types.

The library's errors, notes and option docstrings write an option as `name` or `name=value`, in backticks. On the
command line these are `--name` and `--name value`, or the metavar of a positional argument.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence

from styleid.errors import OptionError, StyleIDError

SHOWN = 20
"""Number of lines of one kind that are printed; the journal or the report has all."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_OPTION = re.compile(rf"`({_NAME.pattern})(?:=([^`]+))?`")


def with_flags(text: str, positional: Mapping[str, str] | None = None) -> str:
    """Replace each option in backticks by its flag.

    Args:
        text: A sentence of the library.
        positional: Metavars of the arguments that are typed without a flag, by the names of their options.

    Returns:
        The sentence with `--name` or `--name value` in place of each option. Other words in backticks stay.
    """

    def flagged(match: re.Match[str]) -> str:
        return _flag(match[1], positional or {}) + (f" {match[2]}" if match[2] else "")

    return _OPTION.sub(flagged, text)


def message(error: StyleIDError, positional: Mapping[str, str] | None = None) -> str:
    """Return an error's text for the command line, with flags in place of the names of options.

    Args:
        error: An error of the library.
        positional: As for `with_flags`.
    """
    if not isinstance(error, OptionError):
        return with_flags(str(error), positional)
    return f"{_flag(error.option, positional or {})}: {with_flags(error.reason, positional)}"


def sentence(text: str) -> str:
    """Return a text with a capital letter at its beginning and a full stop at its end."""
    return f"{text[:1].upper()}{text[1:]}."


def warn(text: str) -> None:
    """Print one line on standard error."""
    print(f"styleid: {text}", file=sys.stderr)


def warn_of_each(lines: Sequence[str], more: str, count: int | None = None) -> None:
    """Print the first lines on standard error, and how many there are besides.

    Args:
        lines: What to print.
        more: What follows "... and N more".
        count: Number of lines there would be; by default that of `lines`.
    """
    for line in lines[:SHOWN]:
        warn(line)
    if (left := (len(lines) if count is None else count) - min(len(lines), SHOWN)) > 0:
        warn(f"... and {left} more{more}")


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, such as "1 file" or "2 files"."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def _flag(name: str, positional: Mapping[str, str]) -> str:
    if name in positional or not _NAME.fullmatch(name):  # a URL that cannot be used stands in the place of a name
        return positional.get(name, name)
    return "--" + name.replace("_", "-")
