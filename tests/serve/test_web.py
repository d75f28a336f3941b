"""The page in a real browser: all steps from dropping photos to the download, and accessibility by axe-core.

`make test-web` installs the dependencies and runs the tests. STYLEID_CHROMIUM names the browser, by default chromium on
the PATH; STYLEID_SCREENSHOTS names a folder for a screenshot of each step.
"""

import hashlib
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from styleid.cli import main
from styleid.engine.journal import NAME
from tests.serve.conftest import FRAMES, ROOT

pytestmark = pytest.mark.web

WITHIN_MS = 300_000
"""A wait ends when the page has come so far, whatever the load; this only ends a test that hangs."""
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    """Return the address of a service in a separate process."""
    data = tmp_path_factory.mktemp("desk") / "data"
    command = [sys.executable, "-m", "styleid", "serve", "--port", "0", "--data", str(data)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    yield process.stdout.readline().split(" on ")[1].split()[0]
    process.terminate()
    process.communicate(timeout=60)


@pytest.fixture
def page(browser, address) -> Iterator[Any]:
    """Return a page of the service; errors in its log fail the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB", accept_downloads=True)
    one = context.new_page()
    one.set_default_timeout(WITHIN_MS)
    errors: list[str] = []
    one.on("pageerror", lambda error: errors.append(str(error)))
    one.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    one.on(
        "request", lambda request: None if request.url.startswith((address, "blob:")) else errors.append(request.url)
    )
    one.goto(address)
    yield one
    context.close()
    assert errors == []


@pytest.fixture(scope="module")
def photos(tmp_path_factory, astronaut) -> Path:
    """Return twelve photos: one person in different sizes and places, and one photo without a person."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(11):
        left = 40 + 8 * number
        crop = Image.fromarray(np.ascontiguousarray(astronaut[: 300 + 4 * number, left : left + 320]))
        crop.save(folder / f"photo-{number:02d}.jpg", quality=92)
    Image.new("RGB", (320, 240), (90, 120, 60)).save(folder / "photo-11.png")
    return folder


def look(page: Any, name: str) -> None:
    """Save a screenshot of a step if STYLEID_SCREENSHOTS is set."""
    if folder := os.environ.get("STYLEID_SCREENSHOTS"):
        page.wait_for_timeout(400)
        page.screenshot(path=Path(folder) / f"{name}.png")


def faults(page: Any) -> list[str]:
    """Return the serious and critical findings of axe-core."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is missing: make test-web")
    found = axe.Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in found if one["impact"] in SERIOUS]


def until(page: Any, expression: str, argument: object = None) -> None:
    """Wait until an expression is true. `wait_for_function` needs eval, which the page's policy forbids."""
    last = time.monotonic() + WITHIN_MS / 1000
    while not page.evaluate(expression, argument):
        assert time.monotonic() < last, expression
        page.wait_for_timeout(50)


@contextmanager
def saved(page: Any) -> Iterator[None]:
    """Wait until the decisions of the with block are applied, as the page counts them."""
    count = "Number(document.getElementById('main').dataset.saves ?? 0)"
    before = page.evaluate(count)
    yield
    until(page, f"(before) => {count} > before", before)


def saves_as(page: Any, text: str, path: Path) -> Path:
    """Click on an element that downloads a file, and return the file's path."""
    with page.expect_download() as got:
        page.click(f"text={text}")
    got.value.save_as(path)
    return path


def drop(page: Any, files: list[Path]) -> None:
    """Drop files on the page, as with the mouse."""
    data = [[path.name, list(path.read_bytes())] for path in files]
    transfer = page.evaluate_handle(
        """(files) => {
            const transfer = new DataTransfer();
            for (const [name, bytes] of files) transfer.items.add(new File([new Uint8Array(bytes)], name));
            return transfer;
        }""",
        data,
    )
    page.dispatch_event(".drop", "drop", {"dataTransfer": transfer})


def test_all_steps_from_dropping_files_to_the_download(page, photos, clip, tmp_path) -> None:
    page.wait_for_selector(".drop")
    look(page, "1-start")
    assert faults(page) == []
    drop(page, [*sorted(photos.iterdir()), clip])
    page.wait_for_selector("progress")
    look(page, "2-progress")
    page.wait_for_selector(".state.done")
    page.wait_for_selector("[aria-labelledby=photos] li:nth-child(12)")
    until(page, "document.querySelector('a.photo video')?.readyState >= 1")
    look(page, "3-grid")
    assert faults(page) == []
    job = page.url

    page.click("a.photo:has-text('photo-03.jpg')")
    page.wait_for_selector(".boxes .box")
    look(page, "4-photo")
    assert faults(page) == []
    with saved(page):
        page.select_option("#person-0", "keep")
    page.wait_for_selector(".faces li:first-child .help:has-text('now: kept')")

    page.goto(job)
    page.click("a.photo:has-text('photo-11.png')")
    page.wait_for_selector(".boxes")
    page.click("#draw")
    frame = page.locator(".boxes").bounding_box()
    x, y = frame["x"] + frame["width"] / 4, frame["y"] + frame["height"] / 4
    with saved(page):
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 120, y + 140, steps=4)
        page.mouse.up()
    page.wait_for_selector(".faces li")
    with saved(page):
        page.focus(".boxes .box")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
    with saved(page):
        page.click("#approve")
    look(page, "5-hidden")

    decide_about_tracks(page, job)
    page.click("text=Back to the job")
    with saved(page):
        page.click("#approve-all")
    page.wait_for_selector("[aria-labelledby=photos] li:nth-child(12) .tag")
    page.wait_for_selector("[aria-labelledby=videos] .tag")
    decisions = saves_as(page, "Decisions file", tmp_path / "decisions.json")
    archive = saves_as(page, "Download ZIP", tmp_path / "out.zip")
    record = json.loads(decisions.read_text())
    assert record["photos"]["photo-11.png"]["add"][0]["by"] == "local"
    (added,) = [one for one in record["videos"][clip.name]["tracks"]["tracks"] if "keys" in one]
    (first, *start), (last, *end) = added["keys"]
    assert (first, last, added["do"], added["by"]) == (0, FRAMES - 1, "blur", "local")
    assert (end[0] > start[0], end[1], end[2] - end[0] > start[2] - start[0]) == (True, start[1], True)
    assert all(one["approved"]["by"] == "local" for one in (*record["photos"].values(), *record["videos"].values()))
    is_what_the_command_line_makes(archive, decisions, photos, clip, tmp_path / "out")


def decide_about_tracks(page: Any, job: str) -> None:
    """Play the video, keep one track and choose another new face for a person, with the keyboard."""
    page.goto(job)
    page.click("a.photo:has-text('clip.mp4')")
    page.wait_for_selector(".track")
    until(page, "[...document.querySelectorAll('.players video')].every((one) => one.readyState >= 2)")
    until(page, "[...document.querySelectorAll('.strips img')].every((one) => one.naturalWidth > 0)")
    look(page, "6-video")
    assert faults(page) == []
    page.evaluate("document.querySelector('.players video').play()")
    until(page, "[...document.querySelectorAll('.players video')].every((one) => one.currentTime > 0)")
    page.focus("#do-1")
    with saved(page):
        page.select_option("#do-1", "keep")
    page.wait_for_selector("#track-1 .track-do:has-text('now: kept')")
    assert page.evaluate("document.activeElement.id") == "do-1", "the focus stays"
    with saved(page):
        page.select_option("#do-2", "another")
    page.wait_for_selector("#track-2 .track-do:has-text('by local')")
    hide_a_missed_face(page)
    look(page, "7-tracks")


def hide_a_missed_face(page: Any) -> None:
    """Add a box on the first and last frame of a video with the keyboard, to obscure the face between them."""
    until(page, "document.querySelector('.players video').readyState >= 2")
    page.focus("#approve")
    page.keyboard.press("n")
    assert page.evaluate("document.activeElement.matches('.film .box')"), "the box has the focus"
    assert page.is_disabled("#missed-save"), "one place says nothing of where the face goes"
    page.keyboard.press("ArrowDown")
    page.focus("#missed-time")
    page.keyboard.press("End")
    until(page, "document.querySelector('.players video').currentTime > 0.2")
    until(page, "!document.querySelector('.players video').seeking")
    page.focus(".film .box")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    look(page, "7-missed")
    assert faults(page) == []
    page.focus("#missed-save")
    with saved(page):
        page.keyboard.press("Enter")
    page.wait_for_selector("#track-3 >> text=Remove this track")


def is_what_the_command_line_makes(archive: Path, decisions: Path, photos: Path, clip: Path, out: Path) -> None:
    """Compare each photo and the video in a ZIP with the command line's output for the exported decisions."""
    given = ["anonymize", str(photos), "--out", str(out), "--decisions", str(decisions), "--quiet"]
    assert main(given) in (0, 3)
    film = out / "videos" / clip.name
    film.parent.mkdir()
    assert main(["video", str(clip), "--out", str(film), "--decisions", str(decisions), "--quiet"]) in (0, 3)
    members = zipfile.ZipFile(io.BytesIO(archive.read_bytes()))
    for name in (*sorted(path.name for path in photos.iterdir()), f"videos/{clip.name}"):
        assert hashlib.sha256(members.read(name)).digest() == hashlib.sha256((out / name).read_bytes()).digest(), name
    assert {NAME, f"videos/{NAME}", "styleid-report.html"} <= set(members.namelist())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_readable_in_both_schemes_and_languages_on_a_tablet_at_twice_the_size(page, scheme) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 410, "height": 590})  # a tablet at 200 %
    page.wait_for_selector(".drop")
    page.select_option("#language", "de")
    page.wait_for_selector("h1:has-text('Fotos')")
    assert page.get_attribute("html", "lang") == "de"
    assert faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth + 1"), "nothing lies beside the screen"
    page.click("ul.jobs a >> nth=0")
    page.wait_for_selector(".grid a.photo")
    assert faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth + 1")
    job = page.url
    for kind, shown in (("photos", ".boxes"), ("videos", ".track")):
        page.goto(job)
        page.click(f"[aria-labelledby={kind}] a.photo >> nth=0")
        page.wait_for_selector(shown)
        if kind == "videos":
            until(page, "document.querySelector('.players video').readyState >= 2")
            page.click("#draw")
            page.wait_for_selector("text=Gesicht verdecken")
        look(page, f"8-tablet-{scheme}-{kind}")
        assert faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth + 1")
    page.select_option("#language", "en")


def test_everything_is_reached_by_the_keyboard(page) -> None:
    page.wait_for_selector(".drop")
    seen = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.id || document.activeElement.textContent.slice(0, 20)"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none" or page.evaluate("document.activeElement === document.body")
    assert {"language", "Choose files", "Choose a folder", "Settings"} <= seen
    page.click("ul.jobs a >> nth=0")
    page.click("[aria-labelledby=photos] a.photo >> nth=1")
    page.wait_for_selector(".boxes")
    first = page.inner_text("#photo-name")
    page.focus("#approve")
    page.keyboard.press("ArrowRight")
    until(page, "(name) => document.getElementById('photo-name')?.textContent !== name", first)
    assert page.inner_text("#photo-name") != first
