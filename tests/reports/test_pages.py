"""Pages escape what they are given, refuse to leave anything out, and load no package before they are written."""

import subprocess
import sys

import pytest
from jinja2 import UndefinedError

from styleid.reports.pages import counted, interval, number, render

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
