"""Render pages from the Jinja2 templates in `templates/`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from styleid.version import __version__

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_BACKTICKS = re.compile("`([^`]*)`")


def render(template: str, **values: Any) -> bytes:
    """Return a page as UTF-8.

    Args:
        template: File name of a template in the folder `templates`, such as "run.html".
        **values: What the template uses. Every text is escaped, except `Markup`.

    Returns:
        The page. Characters that UTF-8 cannot encode, which file names may contain, are escaped with backslashes.

    Raises:
        jinja2.UndefinedError: The template uses a value that is missing.
    """
    page = _environment().get_template(template).render(version=__version__, **values)
    return page.encode(errors="backslashreplace")


def counted(number: int, singular: str) -> str:
    """Return a number with its noun, such as "1 file" or "2 files"."""
    return f"{number} {singular}{'' if number == 1 else 's'}"


def interval(estimate: Mapping[str, Any] | None) -> str:
    """Return "0.500 (0.400 to 0.600)" for an estimate's value, low and high; "-" if it was not measured."""
    if estimate is None or estimate["value"] is None:
        return "-"
    return f"{number(estimate['value'])} ({number(estimate['low'])} to {number(estimate['high'])})"


def number(value: float | None) -> str:
    """Return a number with three decimals; "-" if it was not measured."""
    return "-" if value is None else f"{value:.3f}"


def plain(value: Any) -> str:
    """Return a setting as a text for people. An empty text stands for the bundle's choice."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {plain(one)}" for name, one in value.items())
    return "none" if value is None else str(value) or "default"


def code(text: str) -> Markup:
    """Return a sentence as HTML. What stands in backticks, as names of options do, becomes code."""
    from markupsafe import Markup, escape

    return Markup(_BACKTICKS.sub(r"<code>\1</code>", str(escape(text))))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("styleid.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"code": code, "counted": counted, "interval": interval, "number": number}
    return environment
