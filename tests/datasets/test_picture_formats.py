"""Data sets, shards and folders whose photos are in formats that extras read."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image, ImageSequence

from styleid.cli import main
from styleid.datasets.plan import found_faces
from styleid.media.audit import find_leftovers
from styleid.media.image import read_photo, read_photo_bytes
from tests.datasets.folders import errors, write
from tests.media import samples

NONE = ("--method", "none", "--seed", "1", "--quiet")
FORMATS = {
    "heic": lambda array: samples.heic(array, exif=b"Exif\0\0" + samples.exif(6), thumbnails=[64]),
    "jxl": lambda array: samples.pillow(array, "JXL", exif=samples.exif(6)),
}
"""Files of arrays (h, w, 3), turned by a quarter in the formats that can be."""


@pytest.fixture(params=FORMATS)
def turned(request, portrait) -> tuple[str, bytes]:
    """The ending and the bytes of a portrait that is stored lying on its side."""
    return request.param, FORMATS[request.param](np.ascontiguousarray(np.rot90(np.asarray(portrait))))


def require_hidden(before: bytes, after: bytes) -> None:
    """Require that a part of the picture is covered, the rest as it was, and nothing beside the pixels."""
    old, new = (read_photo_bytes(data, "a") for data in (before, after))
    assert (old.format, old.orientation, old.image_rgb.shape) == (new.format, new.orientation, new.image_rgb.shape)
    changes = np.abs(old.image_rgb.astype(int) - new.image_rgb).mean(axis=2)
    assert (changes > 30).mean() > 0.03
    assert np.median(changes) < 6
    assert find_leftovers(after, "strip") == []


def test_folders(turned, tmp_path) -> None:
    ending, data = turned
    write(tmp_path / "in", {f"a.{ending}": data})
    assert main(["anonymize", str(tmp_path / "in"), "--out", str(tmp_path / "out"), *NONE]) == 0
    require_hidden(data, (tmp_path / f"out/a.{ending}").read_bytes())


def test_coco_and_yolo(turned, tmp_path) -> None:
    ending, data = turned
    height, width = read_photo_bytes(data, "a").image_rgb.shape[:2]
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 50, 60], "area": 3000, "iscrowd": 0}
    labels = {"images": [{"id": 1, "file_name": f"a.{ending}", "width": width, "height": height}],
              "annotations": [box], "categories": [{"id": 1, "name": "face"}]}  # fmt: skip
    write(tmp_path / "coco", {f"images/a.{ending}": data, "annotations/instances.json": json.dumps(labels)})
    write(
        tmp_path / "yolo",
        {f"images/a.{ending}": data, "labels/a.txt": "0 .2 .2 .1 .1\n", "data.yaml": "names: [face]\n"},
    )
    for form in ("coco", "yolo"):
        command = ["dataset", form, str(tmp_path / form), str(tmp_path / f"{form}-out"), *NONE]
        assert main([*command, "--boxes", "from-annotations"]) == 0
        require_hidden(data, (tmp_path / f"{form}-out/images/a.{ending}").read_bytes())
        marked = np.abs(read_photo(tmp_path / f"{form}-out/images/a.{ending}").image_rgb[30:40, 30:40].astype(int)
                        - read_photo_bytes(data, "a").image_rgb[30:40, 30:40])  # fmt: skip
        assert form == "yolo" or marked.mean() > 10


def test_shards(turned, tmp_path) -> None:
    ending, data = turned
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in/a.tar", "w") as tar:
        for name, body in ((f"1.{ending}", data), ("1.txt", b"a caption\n")):
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    assert main(["dataset", "shards", str(tmp_path / "in"), str(tmp_path / "out"), *NONE]) == 0
    with tarfile.open(tmp_path / "out/a.tar") as tar:
        assert tar.getnames() == [f"1.{ending}", "1.txt"]
        require_hidden(data, tar.extractfile(f"1.{ending}").read())


def frames_of(data: bytes) -> list[np.ndarray]:
    return [np.asarray(one.convert("RGB")).astype(int) for one in ImageSequence.Iterator(Image.open(io.BytesIO(data)))]


def test_every_frame_of_an_animation(portrait, meadow, tmp_path, capsys) -> None:
    """A face in two of three frames is covered there, and a mark covers its place in all of them."""
    frames = [portrait, meadow.resize(portrait.size), portrait.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    out = io.BytesIO()
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:], duration=[40, 80, 120], lossless=True)
    data = out.getvalue()
    labels = {"images": [{"id": 1, "file_name": "a.webp", "width": 128, "height": 112}], "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 70, 24, 30], "area": 720, "iscrowd": 0}],
        "categories": [{"id": 1, "name": "face"}]}  # fmt: skip
    write(tmp_path / "in", {"images/a.webp": data, "annotations/instances.json": json.dumps(labels)})
    assert main(["anonymize", str(tmp_path / "in/images"), "--out", str(tmp_path / "plain"), *NONE]) == 0
    assert (
        main(["dataset", "coco", str(tmp_path / "in"), str(tmp_path / "out"), *NONE, "--boxes", "from-annotations"])
        == 0
    )
    before, plain, marked = (frames_of(one) for one in (
        data, (tmp_path / "plain/a.webp").read_bytes(), (tmp_path / "out/images/a.webp").read_bytes()))  # fmt: skip
    changes = [np.abs(new - old).max(axis=2) for old, new in zip(before, plain, strict=True)]
    assert [bool((change > 30).mean() > 0.03) for change in changes] == [True, False, True]
    assert not changes[1].any()
    for old, new in zip(before, marked, strict=True):
        assert np.abs(new - old).max(axis=2)[75:95, 12:28].any(axis=1).all()
    told = [json.loads(line) for line in (tmp_path / "out/styleid-journal.jsonl").read_text().splitlines()]
    (line,) = (one for one in told if one["input"].endswith("a.webp"))
    assert len(line["faces"]) > 3
    found = found_faces(line)
    assert found is not None
    assert 0 < len(found.boxes) < len(line["faces"])
    assert found.boxes[:, 3].max() <= 112
    record = json.loads((tmp_path / "plain/styleid-journal.jsonl").read_text())
    assert record["frames"] == {"count": 3, "height": 112, "step": 144}


def test_boxes_of_a_turned_animation_are_refused(portrait, meadow, tmp_path) -> None:
    out = io.BytesIO()
    portrait.save(
        out, "WEBP", save_all=True, append_images=[meadow.resize(portrait.size)], exif=samples.exif(6, secret=False)
    )
    write(tmp_path / "in", {"a.webp": out.getvalue(), "boxes.json": json.dumps({"a.webp": [[10, 10, 40, 40]]})})
    command = ["anonymize", str(tmp_path / "in/a.webp"), "--out", str(tmp_path / "out"), *NONE]
    assert main([*command, "--boxes", str(tmp_path / "in/boxes.json")]) == 3
    assert "boxes cannot be used. Rotate its pixels first" in errors(tmp_path / "out")["a.webp"]
    assert not (tmp_path / "out/a.webp").exists()
