"""Draw matplotlib figures as SVG that stands in a page and uses the page's colours and font."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from styleid.errors import MissingDependencyError

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

INK, SOFT, LINE, GOOD = "#000001", "#000002", "#000003", "#000004"
SERIES = ("#000011", "#000012", "#000013", "#000014")
"""Placeholders that matplotlib accepts as colours. `to_svg` puts the page's colours in their place."""
_VARIABLES = {INK: "ink", SOFT: "soft", LINE: "line", GOOD: "good-back"} | {
    colour: f"series-{index}" for index, colour in enumerate(SERIES)
}
_SETTINGS: Any = {
    "svg.fonttype": "none",  # text stays text, so that it can be read aloud, searched and copied
    "text.parse_math": False,  # a "$" in the name of a folder is no formula
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "grid.color": LINE,
    "legend.frameon": False,
}


@contextmanager
def figure(width_in: float, height_in: float) -> Iterator[Figure]:
    """Yield a new figure in the style of the pages, without axes.

    Args:
        width_in: Width of the figure in inches.
        height_in: Height of the figure in inches.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib, which draws plots,", "'styleid[eval]'") from error
    with mpl.rc_context(_SETTINGS):
        yield Figure((width_in, height_in), layout="constrained")


def printable(text: str) -> str:
    """Return a text with its unprintable characters escaped: XML cannot hold some of them."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def to_svg(drawn: Figure, name: str, description: str) -> Markup:
    """Return a figure as an SVG element.

    Call it inside the block of `figure` that made the figure, because the settings apply when it is drawn. Texts in it
    must be printable.

    Args:
        drawn: The figure.
        name: A name that no other plot on the page has. It makes the identifiers in the SVG unique.
        description: What the plot shows, for readers who do not see it.
    """
    import matplotlib as mpl
    from markupsafe import Markup

    packed = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": printable(name)}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser draws the text, with its own fonts
        drawn.savefig(packed, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    root = ElementTree.fromstring(packed.getvalue())
    _tidy(root)
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": description}
    text = ElementTree.tostring(root, encoding="unicode")
    for placeholder, variable in _VARIABLES.items():
        text = text.replace(placeholder, f"var(--{variable})")
    return Markup(text)


def _tidy(root: ElementTree.Element) -> None:
    """Remove what a page must not have: namespaces, a style for the whole page, and identifiers that other plots use.

    Identifiers that the SVG refers to contain a hash and stay.
    """
    text = ElementTree.tostring(root, encoding="unicode")
    for element in list(root.iter()):
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        if f"#{element.get('id')}" not in text:
            element.attrib.pop("id", None)
        for child in list(element):
            if child.tag.endswith(("}style", "}metadata")):
                element.remove(child)
        if not (element.text or "").strip():
            element.text = None
        element.tail = None
