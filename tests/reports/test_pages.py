"""Pages escape their values, fail on missing ones, and need no package until they are written."""

import subprocess
import sys

import pytest
from jinja2 import UndefinedError

from styleid.reports.pages import code, counted, interval, number, plain, render

pytestmark = pytest.mark.versions


def test_texts_are_escaped():
    data = {"sample": "</script><b>", "kind": "'", "answers": ["a"], "questions": []}
    page = render("audit.html.jinja", data=data, answers=["<b>yes</b>", "\udc80"]).decode()
    assert "&lt;b&gt;yes&lt;/b&gt;" in page
    assert "\\udc80" in page
    assert "<b>yes" not in page
    assert page.count("</script>") == 1


def test_a_missing_value_is_an_error():
    with pytest.raises(UndefinedError, match="answers"):
        render("audit.html.jinja", data={})


@pytest.mark.parametrize(("count", "text"), [(0, "0 files"), (1, "1 file"), (2, "2 files")])
def test_numbers_agree_with_their_nouns(count, text):
    assert counted(count, "file") == text


def test_estimates_are_shown_with_their_interval():
    assert interval({"value": 0.5, "low": 0.25, "high": None}) == "0.500 (0.250 to -)"
    assert interval({"value": None, "low": None, "high": None}) == interval(None) == number(None) == "-"


def test_nothing_is_loaded_before_a_page_is_written():
    code = (
        "import sys, styleid.engine.report, styleid.evaluate.report, styleid.evaluate.certificate.pages;"
        "sys.exit(bool({'jinja2', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "none"), ("", "default"), (0, "0"), (False, "False"), ({"a": None, "b": {"c": 1.5}}, "a: none, b: c: 1.5")],
)
def test_settings_are_texts_for_people(value, text):
    assert plain(value) == text


def test_words_in_backticks_become_code():
    assert code("give `a` and <b>`c`") == "give <code>a</code> and &lt;b&gt;<code>c</code>"
