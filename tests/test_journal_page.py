"""The page on the journal lists the fields that the code writes, and its commands list what failed."""

import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from styleid import AnonymizeOptions, Anonymizer
from styleid.cli import main
from styleid.core.decisions import FaceDecision
from styleid.engine.assignment import Assignment
from styleid.engine.journal import NAME
from styleid.types import Action, FaceOutcome

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/journal.md").read_text(encoding="utf-8")
NONE = ["--method", "none", "--quiet"]
BROKEN = b"\xff\xd8\xff broken"


def documented(table: str) -> set[str]:
    """Return the names in the first column of one of the page's tables."""
    (rows,) = re.findall(rf"<!-- fields: {table} -->\n(.*?)<!-- end of fields -->", PAGE, re.DOTALL)
    cells = [line.split("|")[1] for line in rows.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / NAME).read_text(encoding="utf-8").splitlines()]


def fields(records: Iterable[Mapping[str, Any]]) -> set[str]:
    return set().union(*records)


def save(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def portrait(astronaut) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(astronaut[:320, 60:380])).resize((160, 160))


@pytest.fixture(scope="module")
def photos(portrait, tmp_path_factory) -> Path:
    """A folder with a photo, one under a wrong suffix, an animation, and a file that cannot be read."""
    from tests.media import further_parts as parts

    folder = tmp_path_factory.mktemp("photos")
    portrait.save(folder / "a.jpg")
    portrait.save(folder / "wrong.png", "JPEG")
    portrait.save(folder / "moves.webp", save_all=True, append_images=[portrait.rotate(3)], duration=40)
    save(folder / "motion.jpg", parts.motion_photo(np.asarray(portrait), b"\0\0\0\x18ftypmp42" + bytes(64)))
    save(folder / "broken.jpg", BROKEN)
    return folder


def run(*given: object) -> None:
    assert main([str(one) for one in given]) in (0, 3)


def lines_of_photos(photos: Path, tmp_path: Path) -> list[dict[str, Any]]:
    """Run twice over photos, the second time with decisions, boxes and a mark for every output."""
    first, second, decisions = tmp_path / "first", tmp_path / "second", tmp_path / "d.json"
    run("anonymize", photos, "--out", first, *NONE, "--export-decisions", decisions)
    edited = json.loads(decisions.read_text())
    edited["photos"]["a.jpg"]["approved"] = True
    decisions.write_text(json.dumps(edited))
    boxes = save(tmp_path / "boxes.json", json.dumps({"a.jpg": [[2, 2, 20, 20]]}).encode())
    mark = ["--mark-scope", "all"]
    run("anonymize", photos, "--out", second, *NONE, "--export-decisions", tmp_path / "e.json", "--boxes", boxes)
    run("anonymize", photos, "--out", tmp_path / "third", *NONE, "--decisions", decisions)
    run("anonymize", photos, "--out", tmp_path / "fourth", *NONE, *mark)
    return [line for name in ("first", "second", "third", "fourth") for line in lines(tmp_path / name)]


def lines_of_a_data_set(portrait: Image.Image, tmp_path: Path) -> list[dict[str, Any]]:
    """Run twice over a data set whose annotation file cannot be copied the first time."""
    root, out = tmp_path / "coco", tmp_path / "coco-out"
    (root / "images").mkdir(parents=True)
    portrait.save(root / "images/a.jpg")
    record = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 160, "height": 160}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [40, 20, 80, 90]}],
        "categories": [{"id": 1, "name": "face"}],
    }
    notes = save(root / "annotations/notes.txt", b"data:image/png;base64," + b"iVBORw0KGgo" * 40)
    save(root / "annotations/a.json", json.dumps(record).encode())
    run("dataset", "coco", root, out, *NONE, "--boxes", "from-annotations")
    notes.write_bytes(b"text")
    run("dataset", "coco", root, out, *NONE, "--boxes", "from-annotations", "--resume")
    return lines(out)


def test_the_fields_of_photos(photos, portrait, tmp_path):
    records = lines_of_photos(photos, tmp_path) + lines_of_a_data_set(portrait, tmp_path)
    groups = cast("Assignment", SimpleNamespace(_groups=SimpleNamespace(plan="hash")))
    assert fields([*records, Assignment.plan(groups)]) == documented("photo")


def test_the_fields_of_faces(bundle, photos):
    decision = FaceDecision((0.0, 0.0, 9.0, 9.0), do="blur").to_json()
    face = FaceOutcome((0.0, 0.0, 9.0, 9.0), Action.OBSCURED, "solid", 4, {}, "why", (1, 5), 0.5, decision)
    assert set(face.to_json()) == documented("face")
    anonymizer = Anonymizer(bundle, AnonymizeOptions(seed=7))
    (face,) = anonymizer.anonymize(np.asarray(Image.open(photos / "a.jpg"))).faces
    assert set(face.gate) | {"kept_similarity", "kept_from"} == documented("gate")


def test_the_fields_of_shards(photos, tmp_path):
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards/000.tar", "w") as shard:
        shard.add(photos / "a.jpg", "a.jpg")
        info = tarfile.TarInfo("a.txt")
        info.size = 4
        shard.addfile(info, BytesIO(b"text"))
    run("dataset", "shards", tmp_path / "shards", tmp_path / "out", *NONE)
    photo, shard_line = lines(tmp_path / "out")
    assert photo["input"] == "000.tar/a.jpg"
    assert fields([photo]) <= documented("photo")
    assert fields([shard_line]) == documented("shard") - {"error"}


@pytest.fixture
def clip(portrait, tmp_path) -> Path:
    clips = pytest.importorskip("tests.media.clips", reason="videos need PyAV: pip install 'styleid[video]'")
    pictures = [np.roll(np.asarray(portrait), 2 * k, 1) for k in range(4)]
    return save(tmp_path / "clip.mp4", clips.encode(pictures))


def test_the_fields_of_videos(clip, tmp_path):
    pytest.importorskip("scipy", reason="faces are given to tracks by SciPy: pip install 'styleid[video]'")
    out, decisions = tmp_path / "out", tmp_path / "d.json"
    out.mkdir()
    run("video", clip, "--out", out / "a.mp4", *NONE, "--mark-scope", "all", "--export-decisions", decisions)
    edited = json.loads(decisions.read_text())
    (video,) = edited["videos"].values()
    video["approved"] = True
    video["tracks"]["tracks"][0]["do"] = "blur"
    decisions.write_text(json.dumps(edited))
    run("video", clip, "--out", out / "a.mp4", *NONE, "--mark-scope", "all", "--decisions", decisions)
    run("video", save(tmp_path / "broken.mp4", b"broken"), "--out", out / "b.mp4", *NONE)
    records = lines(out)
    assert fields(records) == documented("video")
    assert fields(track for record in records for track in record.get("tracks", [])) == documented("track")


def test_the_fields_of_live_pictures(clip, tmp_path):
    pytest.importorskip("scipy", reason="faces are given to tracks by SciPy: pip install 'styleid[video]'")
    out = tmp_path / "out"
    out.mkdir()
    run("video", clip, "--out", out / "a.mp4", "--live", *NONE, "--mark-scope", "all")
    run("video", save(tmp_path / "broken.mp4", b"broken"), "--out", out / "b.mp4", "--live", *NONE)
    assert fields(lines(out)) == documented("live")


def test_the_commands_list_what_failed(tmp_path):
    if missing := [name for name in ("jq", "awk") if shutil.which(name) is None]:
        pytest.skip(f"needs {missing[0]}")
    ours = tmp_path / "anonymised"
    first = [{"input": "a", "error": "cut\tshort", "faces": []}, {"input": "b", "error": "gone", "faces": []},
             {"input": "c", "faces": [{"reason": "no new face"}, {}]}]  # fmt: skip
    save(ours / NAME, "".join(json.dumps(line) + "\n" for line in first).encode() + b'{"input": "d", "err')
    save(ours / "styleid-journal-1-of-2.jsonl", b'{"input": "a", "faces": []}\n')
    os.utime(ours / NAME, (1e9, 1e9))
    shown = re.findall(r"^    (awk .*?@tsv')$", PAGE, re.MULTILINE | re.DOTALL)
    found = [
        subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
        for command in shown
    ]
    assert [one.stdout for one in found] == ["b\tgone\n", "c\tno new face\n"]
