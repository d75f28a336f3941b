"""Pages in a real browser: the audit page saves and loads answers, and axe-core finds nothing in any page.

`make test-web` installs what this needs and runs it. STYLEID_CHROMIUM names the browser, by default chromium on the
PATH.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from styleid import AnonymizeOptions, Anonymizer
from styleid.engine.local import RunOptions, process_files
from styleid.engine.report import write_report
from styleid.evaluate.certificate.audit_page import ANSWERS_KIND
from styleid.evaluate.certificate.sample import ANSWERS
from styleid.reports.pages import render

pytestmark = pytest.mark.web

KINDS = [{"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
         for scheme in ("light", "dark") for width in (400, 1200)]  # fmt: skip


@pytest.fixture
def audit(tmp_path) -> Path:
    questions = [{"number": n, "photo": f"{n}.jpg", "kind": "a near miss" if n == 2 else ""} for n in range(3)]
    data = {"sample": "abc", "kind": ANSWERS_KIND, "answers": list(ANSWERS), "questions": questions}
    for n in range(3):
        for side in ("before", "after"):
            Image.new("RGB", (300, 200), (80, 60 * n, 90)).save(tmp_path / f"{n}-{side}.jpg")
    path = tmp_path / "index.html"
    path.write_bytes(render("audit.html.jinja", data=data, answers=ANSWERS))
    return path


def opened(browser: Any, path: Path, **kind: Any) -> tuple[Any, list[str]]:
    """Open a page; return it with a list to which errors are added."""
    page, errors = browser.new_page(**kind), []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("requestfailed", lambda request: errors.append(request.url))
    page.goto(path.as_uri())
    return page, errors


def test_the_audit_page_takes_saves_and_loads_answers(browser, audit, tmp_path):
    page, errors = opened(browser, audit)
    page.keyboard.press("1")
    page.keyboard.press("3")
    assert "Question 3 of 3: is a face inside the orange frame (a near miss) untouched?" in page.text_content("#ask")
    assert page.text_content("#left") == "2 of 3 answered."
    page.fill("#by", "an editor 1")
    with page.expect_download() as download:
        page.click("#save")
    saved = tmp_path / "answers.json"
    download.value.save_as(saved)
    record = json.loads(saved.read_text())
    assert record["answers"] == {"0": ANSWERS[0], "1": ANSWERS[2]}
    assert (record["kind"], record["sample"], record["by"]) == (ANSWERS_KIND, "abc", "an editor 1")

    other, more = opened(browser, audit)
    other.set_input_files("#load", saved)
    other.wait_for_function("document.getElementById('left').textContent === '2 of 3 answered.'")
    assert "Question 3 of 3" in other.text_content("#ask")
    assert other.input_value("#by") == "an editor 1"
    assert errors == more == []


def test_axe_finds_nothing(browser, audit, astronaut, tmp_path):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="these tests need axe: make test-web")
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(astronaut).save(folder / "a.png")
    (folder / "broken.jpg").write_bytes(b"")
    anonymizer = Anonymizer(None, AnonymizeOptions(method="none"))
    run = write_report(tmp_path / "out", process_files([folder], anonymizer, RunOptions(tmp_path / "out")))
    for path in (audit, Path(run)):
        for kind in KINDS:
            page, errors = opened(browser, path, **kind)
            found = [(one["id"], one["nodes"][0]["html"]) for one in axe.Axe().run(page).response["violations"]]
            assert found == errors == []
            assert page.evaluate("document.documentElement.scrollWidth") <= kind["viewport"]["width"]
            page.close()
