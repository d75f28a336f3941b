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
    """Rewrites docstrings while griffe loads the package."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Convert the lines about a class's fields to a section of attributes."""
        names = [name for name, member in cls.members.items() if member.is_attribute and not name.startswith("_")]
        _rewrite(cls, names, "Attributes")

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Convert the lines about a function's parameters to a section of arguments."""
        _rewrite(func, [parameter.name for parameter in func.parameters if parameter.name != "self"], "Args")


def _rewrite(documented: griffe.Class | griffe.Function, names: Sequence[str], title: str) -> None:
    if documented.docstring is not None:
        documented.docstring.value = sectioned(documented.docstring.value, names, title)


def sectioned(text: str, names: Sequence[str], title: str) -> str:
    """Move `name: text` parts and examples of a docstring into sections.

    Args:
        text: the docstring.
        names: the parameters or fields that it may describe.
        title: the title of their section, `Args` or `Attributes`.

    Returns:
        The docstring with its sections at the end. A docstring that has Google-style sections stays as it is.
    """
    if re.search(r"^(Args|Attributes|Returns|Examples):$", text, re.MULTILINE):
        return text
    kept, examples, found = [], [], []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        if paragraph.lstrip().startswith(">>>"):
            examples.append(paragraph)
            continue
        lead, fields, rest = _fields(paragraph, names)
        found += fields
        kept += [part for part in (lead, rest) if part]
    sections = [_section(title, [f"{name}: {body}" for name, body in found]) if found else ""]
    sections += [_section("Examples", "\n\n".join(examples).splitlines()) if examples else ""]
    return "\n\n".join(filter(None, [*kept, *sections]))


def _fields(paragraph: str, names: Sequence[str]) -> tuple[str, list[tuple[str, str]], str]:
    """Split a paragraph into the text before its fields, the fields, and the text on errors after them."""
    if not names:
        return paragraph, [], ""
    label = "|".join(map(re.escape, names))
    lead, *parts = re.split(rf"(?:^|(?<=[.;])\s+|(?<=\n))((?:{label})(?:, (?:{label}))*): ", paragraph)
    found, rest = [], ""
    for group, body in zip(parts[::2], parts[1::2], strict=True):
        described, raises, after = body.partition("\nRaises ")
        rest = (raises + after).strip() or rest
        found += [(name, " ".join(described.split())) for name in group.split(", ")]
    return lead.strip(), found, rest


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"{title}:", *(_INDENT + line for line in lines)])
