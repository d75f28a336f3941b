"""Griffe extension: show this repository's `name: text` lines in docstrings as tables of arguments or attributes.

The docstrings of option classes double as the command line's help, so they list fields as `name: what it is.` in plain
paragraphs. The documentation shows them as Google-style sections.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import griffe

_INDENT = "    "


class FieldSections(griffe.Extension):
    """Rewrite docstrings while griffe loads the package."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Turn the lines about a class's fields into a section of attributes."""
        names = [name for name, member in cls.members.items() if member.is_attribute and not name.startswith("_")]
        _rewrite(cls, names, "Attributes")

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Turn the lines about a function's parameters into a section of arguments."""
        _rewrite(func, [parameter.name for parameter in func.parameters if parameter.name != "self"], "Args")


def _rewrite(documented: griffe.Class | griffe.Function, names: Sequence[str], title: str) -> None:
    if documented.docstring is not None:
        documented.docstring.value = sectioned(documented.docstring.value, names, title)


def sectioned(text: str, names: Sequence[str], title: str) -> str:
    """Move `name: text` parts of a docstring into a section.

    Args:
        text: the docstring.
        names: the parameters or fields that it may describe.
        title: the section's title, `Args` or `Attributes`.

    Returns:
        The docstring with the section at its end, or the text itself if it describes none of the names.
    """
    if not names or re.search(r"^(Args|Attributes):$", text, re.MULTILINE):
        return text
    label = "|".join(map(re.escape, names))
    list_of = rf"(?:{label})(?:, (?:{label}))*"
    kept, found = [], []
    for paragraph in re.split(r"\n\s*\n", text):
        if paragraph.lstrip().startswith(">>>"):
            kept.append(paragraph)
            continue
        lead, *parts = re.split(rf"(?:^|(?<=[.;])\s+|(?<=\n))({list_of}): ", paragraph.strip("\n"))
        kept.append(lead.strip("\n"))
        for name, body in zip(parts[::2], parts[1::2], strict=True):
            described, raises, rest = body.partition("\nRaises ")
            found += [(one, " ".join(described.split())) for one in name.split(", ")]
            kept.append("Raises " + rest if raises else "")
    if not found:
        return text
    section = f"{title}:\n" + "\n".join(f"{_INDENT}{name}: {body}" for name, body in found)
    return "\n\n".join([*filter(str.strip, kept), section])
