"""Runs mark files with new faces and record the mark in the journal; without marks, outputs are unchanged."""

import base64
import io
import json
import re
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from styleid import Action, AnonymizeOptions, Anonymizer
from styleid.cli import main
from styleid.datasets.options import ShardOptions
from styleid.datasets.shards import process_shards
from styleid.engine.journal import NAME
from styleid.engine.local import RunOptions, process_files
from styleid.engine.report import write_report
from styleid.errors import OptionError
from styleid.evaluate.side_channels import find_side_channels
from styleid.media.audit import find_leftovers
from styleid.media.image import encode_photo, read_photo
from styleid.media.provenance import PACKET, MarkOptions

KINDS = ("png", "jpg", "webp", "tif", "gif", "bmp", "avif")


@pytest.fixture(scope="module")
def photos(tmp_path_factory, astronaut) -> Path:
    """One face in a file of each format, and a file without a face."""
    folder = tmp_path_factory.mktemp("photos")
    face = Image.fromarray(astronaut[:256, 96:352]).resize((160, 160))
    for kind in KINDS:
        (face.quantize(200) if kind == "gif" else face).save(folder / f"face.{kind}")
    Image.new("RGB", (120, 100), (90, 120, 60)).save(folder / "none.png")
    return folder


@pytest.fixture(scope="module")
def usual(bundle) -> Anonymizer:
    return Anonymizer(bundle, AnonymizeOptions(seed=1))


@pytest.fixture(scope="module")
def plain() -> Anonymizer:
    return Anonymizer(None, AnonymizeOptions(method="none", seed=1))


def lines(folder: Path) -> dict[str, dict]:
    return {line["input"]: line for line in map(json.loads, (folder / NAME).read_text().splitlines())}


def marked(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name != NAME and PACKET in path.read_bytes()}


def test_new_faces_are_marked_and_journalled(photos, usual, tmp_path):
    summary = process_files([photos], usual, RunOptions(tmp_path))
    told = lines(tmp_path)
    new = {name for name, line in told.items() if any(f["action"] == "anonymised" for f in line["faces"])}
    assert len(new) >= 5
    assert summary.written == len(KINDS) + 1
    assert marked(tmp_path) == new - {"face.bmp"} == {name for name, line in told.items() if line.get("mark") == "iptc"}
    assert any("BMP cannot hold a mark" in note for note in told["face.bmp"]["notes"])
    for path in tmp_path.glob("*.[!j]*"):
        data = path.read_bytes()
        assert find_leftovers(data) == []
        rgb, source = read_photo(path).image_rgb, photos / path.name
        assert not find_side_channels(data, rgb, source.read_bytes(), read_photo(source).image_rgb).leftovers


@pytest.mark.parametrize(("mark", "expected"), [("iptc", True), ("none", False)])
def test_the_reports_pictures_are_marked_too(photos, usual, tmp_path, mark, expected):
    summary = process_files([photos / "face.jpg"], usual, RunOptions(tmp_path, marking=MarkOptions(mark=mark)))
    page = write_report(tmp_path, summary).read_text()
    (tile,) = re.findall('base64,([^"]+)', page)
    assert (PACKET in base64.b64decode(tile)) == expected


def test_without_marks_each_file_is_the_bare_encoding(photos, usual, tmp_path):
    process_files([photos], usual, RunOptions(tmp_path, marking=MarkOptions(mark="none")))
    assert marked(tmp_path) == set()
    for source in sorted(photos.iterdir()):
        photo = read_photo(source)
        outcome = usual.anonymize(photo.image_rgb, name=source.name)
        bare = encode_photo(photo, outcome.image_rgb, outcome.region_mask)
        assert (tmp_path / source.name).read_bytes() == bare, source.name
    assert all("mark" not in line and "notes" not in line for line in lines(tmp_path).values())


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("generated", set()),
        ("changed", {f"face.{k}" for k in KINDS if k != "bmp"}),
        ("all", {f"face.{k}" for k in KINDS if k != "bmp"} | {"none.png"}),
    ],
)
def test_obscured_faces_are_marked_only_on_request(photos, plain, tmp_path, scope, expected):
    process_files([photos], plain, RunOptions(tmp_path, marking=MarkOptions(mark_scope=scope)))
    assert marked(tmp_path) == expected


def test_marks_are_the_same_in_every_run_and_a_setting_to_resume_by(photos, usual, tmp_path):
    for name in ("one", "two"):
        process_files([photos], usual, RunOptions(tmp_path / name))
    for path in photos.iterdir():
        assert (tmp_path / "one" / path.name).read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    again = RunOptions(tmp_path / "one", resume=True)
    assert process_files([photos], usual, again).resumed == len(KINDS) + 1
    with pytest.raises(OptionError, match="mark"):
        process_files([photos], usual, RunOptions(tmp_path / "one", resume=True, marking=MarkOptions(mark="none")))


def test_shards_are_marked(photos, usual, tmp_path):
    with tarfile.open(tmp_path / "000.tar", "w") as tar:
        tar.add(photos / "face.png", "a.png")
    process_shards(tmp_path / "000.tar", usual, RunOptions(tmp_path / "out"), ShardOptions())
    with tarfile.open(tmp_path / "out/000.tar") as tar:
        member = tar.extractfile("a.png")
        assert member is not None
        assert PACKET in member.read()


@pytest.mark.parametrize(("mark", "expected"), [("iptc", True), ("none", False)])
def test_a_pipe_is_marked(photos, usual, tmp_path, monkeypatch, capfdbinary, mark, expected):
    assert usual.anonymize(read_photo(photos / "face.jpg").image_rgb, name="-").count(Action.ANONYMIZED) == 1
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((photos / "face.jpg").read_bytes())))
    assert main(["anonymize", "-", "--out", "-", "--seed", "1", "--mark", mark]) == 0
    written = capfdbinary.readouterr().out
    assert (PACKET in written) == expected
    assert np.asarray(Image.open(io.BytesIO(written))).shape == (160, 160, 3)
