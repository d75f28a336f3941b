"""The report shows outputs only, and loads nothing from elsewhere."""

import base64
import hashlib
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from styleid import AnonymizeOptions, Anonymizer, Bundle
from styleid.engine import report
from styleid.engine.journal import Journal
from styleid.engine.local import RunOptions, Summary, process_files
from styleid.engine.report import write_report
from styleid.media.image import read_photo
from tests.tiny_bundle import tiny_bundle

ODD = '<img src=x onerror=alert(1)>&"quoted" \'.png'
TILE = re.compile(r'src="data:image/jpeg;base64,([A-Za-z0-9+/=]+)"')


@pytest.fixture
def photos(tmp_path, astronaut) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    small = Image.fromarray(astronaut[:256, 96:352])
    for index, name in enumerate(("a.png", ODD, "c.jpg")):
        small.resize((160 + 32 * index,) * 2, Image.Resampling.LANCZOS).save(folder / name)
    (folder / "<b>cut</b>.png".replace("/", "_")).write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def _run(photos: Path, out: Path, anonymizer: Anonymizer, **options) -> Summary:
    return process_files([photos], anonymizer, RunOptions(out, **options))


def _tiles(page: str) -> list[np.ndarray]:
    return [_decoded(base64.b64decode(data)) for data in TILE.findall(page)]


def _decoded(jpeg: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def _tile_of(image_rgb: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """Return what the page would show of an image."""
    return _decoded(report.cut_tile(image_rgb, {"box": box}))


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a[30:-30, 30:-30].astype(float) - b[30:-30, 30:-30]).mean())


@pytest.mark.parametrize("generator", ["other", "copy", None])
def test_the_page_shows_outputs_and_no_original(photos, tmp_path, tmp_path_factory, generator):
    out = tmp_path / "out"
    if generator is None:
        anonymizer = Anonymizer(None, AnonymizeOptions(method="none", seed=1))
    else:
        anonymizer = Anonymizer(Bundle(tiny_bundle(tmp_path_factory, generator)), AnonymizeOptions(seed=1, tries=1))
    summary = _run(photos, out, anonymizer)
    path = write_report(out, summary)
    assert path == out / report.NAME
    page = path.read_text(encoding="utf-8")
    tiles = _tiles(page)
    assert len(tiles) == page.count('<figure class="face"') == page.count("<img ") == 3
    shown = re.findall(r'<figure class="face" title="(.*?): ', page)
    for original in photos.glob("*"):
        content = original.read_bytes()
        assert hashlib.sha256(content).hexdigest() not in page
        assert base64.b64encode(content[:60]).decode().rstrip("=")[:70] not in page
    for name, tile in zip(["a.png", "c.jpg", ODD], sorted_by_name(tiles, shown), strict=True):
        box = anonymizer.detector.detect(read_photo(photos / name).image_rgb).boxes_xyxy[0]
        before, after = (_tile_of(read_photo(folder / name).image_rgb, box) for folder in (photos, out))
        assert _difference(tile, after) < 2
        assert _difference(tile, before) > 4


def sorted_by_name(tiles: list[np.ndarray], shown: list[str]) -> list[np.ndarray]:
    """Return the tiles of a.png, c.jpg and the odd one, whatever the order of the page."""
    assert len(tiles) == len(shown) == 3
    rank = {"a.png": 0, "c.jpg": 1}
    order = sorted(range(3), key=lambda k: rank.get(shown[k], 2))
    return [tiles[k] for k in order]


def test_the_page_needs_nothing_else_and_runs_nothing(photos, tmp_path, tmp_path_factory):
    out = tmp_path / "out"
    anonymizer = Anonymizer(Bundle(tiny_bundle(tmp_path_factory, "copy")), AnonymizeOptions(seed=1, tries=1))
    page = write_report(out, _run(photos, out, anonymizer)).read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert re.search(r"https?:|<script|<link|<iframe|@import|url\(|<base", page) is None
    assert all(source.startswith("data:image/jpeg;base64,") for source in re.findall(r'\bsrc="([^"]*)', page))
    assert re.search(r"<[^>]+\son[a-z]+=", re.sub(r'"[^"]*"', '""', page)) is None
    assert ODD not in page
    assert "&lt;img src=x onerror=alert(1)&gt;&amp;&#34;quoted&#34;" in page
    assert "<b>cut" not in page
    assert "&lt;b&gt;cut&lt;_b&gt;.png" in page
    assert "too like the original" in page
    assert "Identity distance of each face" in page
    assert "3 of 4" in page
    assert str(tmp_path) not in page


def test_an_output_that_became_an_original_is_not_shown(photos, tmp_path):
    out = tmp_path / "out"
    anonymizer = Anonymizer(None, AnonymizeOptions(method="none", seed=1))
    summary = _run(photos, out, anonymizer)
    shutil.copy(photos / "a.png", out / "a.png")
    (out / "c.jpg").unlink()
    page = write_report(out, summary).read_text(encoding="utf-8")
    assert len(_tiles(page)) == 1
    assert "The first 1 of 3 faces" in page


def test_a_long_run_shows_its_first_faces(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "MOST_FACES", 2)
    out = tmp_path / "out"
    summary = _run(photos, out, Anonymizer(None, AnonymizeOptions(method="none", seed=1)))
    page = write_report(out, summary).read_text(encoding="utf-8")
    assert len(_tiles(page)) == 2
    assert "The first 2 of 3 faces" in page


def test_a_run_without_anything_has_a_page(tmp_path):
    (tmp_path / "in").mkdir()
    out = tmp_path / "out"
    summary = _run(tmp_path / "in", out, Anonymizer(None, AnonymizeOptions(method="none")))
    assert "0 of 0" in write_report(out, summary).read_text(encoding="utf-8")


def test_files_without_a_face_are_listed(tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    odd = "c#1 é.png"
    for name in ("a.png", odd, ODD.replace("/", "_")):
        Image.new("RGB", (64, 64), (90, 120, 60)).save(folder / name)
    summary = _run(folder, out, Anonymizer(None, AnonymizeOptions(method="none", seed=1)))
    page = write_report(out, summary).read_text(encoding="utf-8")
    assert page.count("<li><a href=") == 3
    assert '<a href="c%231%20%C3%A9.png">c#1 é.png</a>' in page
    assert ODD not in page
    assert "check that it shows nobody" in page


def test_names_that_are_no_text_are_listed_too(tmp_path):
    line = {"input": "\udcff.png", "sha256": "0" * 64, "faces": [], "settings": {"seed": None, "units": ""}}
    journal = Journal(tmp_path)
    journal.append(line)
    journal.close()
    page = write_report(tmp_path, Summary(inputs=1, written=1, without_faces=1)).read_text(encoding="utf-8")
    assert '<a href="%FF.png">' in page
    assert '<th scope="row">seed</th><td>none</td>' in page
    assert '<th scope="row">units</th><td>default</td>' in page
