"""Plots become SVG that fits into a page: no outside names, no shared identifiers, the page's colours."""

import re
import sys
from xml.etree import ElementTree

import pytest

from styleid.errors import MissingDependencyError
from styleid.reports.plots import INK, SERIES, figure, printable, to_svg

pytest.importorskip("matplotlib", reason="plots need matplotlib: pip install 'styleid[eval]'")
pytestmark = pytest.mark.versions


def drawn(name: str, text: str = "a") -> str:
    with figure(3, 2) as one:
        plot = one.add_subplot()
        plot.plot([0, 1], [0, 1], "o", color=SERIES[1], label=text)
        plot.text(0.5, 0.5, text, color=INK)
        plot.legend()
        return str(to_svg(one, name, f"plot of {text}"))


def ids(svg: str) -> set[str]:
    return set(re.findall(r' id="([^"]*)"', svg))


def test_a_plot_can_stand_in_a_page():
    svg = drawn("one")
    root = ElementTree.fromstring(svg)
    assert root.tag == "svg"
    assert root.attrib.keys() == {"viewBox", "role", "aria-label"}
    assert not re.search(r"https?:|xmlns|<style|<metadata|<\?xml", svg)
    assert "var(--ink)" in svg
    assert "var(--series-1)" in svg
    assert not re.search(r"#0000\d\d", svg)


def test_identifiers_are_those_that_are_used_and_differ_between_plots():
    one, other = drawn("one"), drawn("other")
    assert ids(one)
    assert ids(one) == set(re.findall(r'(?:href="|url\()#([^")]*)', one))
    assert not ids(one) & ids(other)


def test_a_plot_is_the_same_each_time():
    assert drawn("one") == drawn("one")


@pytest.mark.parametrize("text", ["$x_1$ \\alpha", "<b>&\"'", "人物", "a\x01b\udc80", "line\nbreak"])
def test_any_name_can_be_drawn(text):
    root = ElementTree.fromstring(drawn(text, printable(text)))
    assert printable(text) in [element.text for element in root.iter("text")]
    assert root.attrib["aria-label"] == f"plot of {printable(text)}"


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'styleid\[eval\]'"), figure(1, 1):
        pass
