"""Files beside photos are copied only if they are known to be harmless.

Cases: copy-others-foreign-files, coco-annotations-folder, shard-foreign-members, unread-picture-kinds, yolo-npy-cache.
"""

import base64
import io
import json
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from styleid.media.image import read_photo_bytes
from tests.media import further_parts
from tests.media.test_live_photo import IDENTIFIER, movie

NONE = ("--method", "none")


def saved(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def photoshop(image: Image.Image) -> bytes:
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, image.height, image.width, 8, 3)
    return head + bytes(14) + np.asarray(image).transpose(2, 0, 1).tobytes()


def array(image: Image.Image) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(image))
    return file.getvalue()


def parquet(image: Image.Image) -> bytes:
    arrow, table = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file = io.BytesIO()
    table.write_table(arrow.table({"image": [saved(image, "JPEG")]}), file)
    return file.getvalue()


def foreign(head: Image.Image) -> dict[str, bytes]:
    """Return files that show a head in forms that are not read, by their endings."""
    small = head.resize((128, 150))
    jpeg = saved(small, "JPEG")
    return {
        "ppm": saved(small, "PPM"),
        "jp2": saved(small, "JPEG2000"),
        "tga": saved(small, "TGA"),
        "psd": photoshop(small),
        "npy": array(small),
        "bin": pickle.dumps([jpeg]),
        "parquet": parquet(small),
        "json": json.dumps({"image": base64.urlsafe_b64encode(jpeg).decode()}).encode(),
        "csv": "\n".join(",".join(map(str, row)) for row in np.asarray(small.convert("L"))).encode(),
    }


@pytest.fixture(scope="module")
def files(head) -> dict[str, bytes]:
    return foreign(head)


def pack(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {info.name: file.read() for info in tar if (file := tar.extractfile(info)) is not None}


def place(folder: Path, contents: dict[str, bytes]) -> Path:
    for name, data in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def test_copy_others_leaves_foreign_files(head, files, styleid, tmp_path):
    folder = place(tmp_path / "in", {"photo.png": saved(head, "PNG"), "notes.txt": b"by somebody"})
    place(folder, {f"a.{ending}": data for ending, data in files.items()})
    result = styleid("anonymize", folder, *NONE, "--copy-others")
    assert (result.status, result.files.keys()) == (3, {"photo.png", "notes.txt"})
    assert result.errors.keys() == {f"a.{ending}" for ending in files}


def test_an_annotations_folder_is_no_way_out(head, files, styleid, tmp_path):
    record = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [], "categories": []}
    folder = place(
        tmp_path / "in", {"images/a.png": saved(head, "PNG"), "annotations/x.json": json.dumps(record).encode()}
    )
    place(folder, {f"annotations/b.{ending}": data for ending, data in files.items() if ending != "json"})
    result = styleid("dataset", "coco", folder, *NONE)
    assert (result.status, result.files.keys()) == (3, {"images/a.png", "annotations/x.json"})
    assert result.errors.keys() == {f"annotations/b.{ending}" for ending in files if ending != "json"}


def test_shards_keep_foreign_members_back_unless_named(head, files, styleid, tmp_path):
    content = {"000.png": saved(head, "PNG"), "000.cls": b"1"}
    content |= {f"{number:03}.{ending}": data for number, (ending, data) in enumerate(files.items(), 1)}
    pack(tmp_path / "in/0.tar", content)
    result = styleid("dataset", "shards", tmp_path / "in", *NONE)
    out = members(result.files["0.tar"])
    assert (result.status, out.keys()) == (3, {"000.png", "000.cls"})
    assert result.errors.keys() == {f"0.tar/{name}" for name in content.keys() - out.keys()}
    carried = styleid("dataset", "shards", tmp_path / "in", *NONE, "--carry", *files, out=tmp_path / "all")
    assert (carried.status, members(carried.files["0.tar"]).keys()) == (0, content.keys())


@pytest.mark.parametrize("arguments", [(), ("--copy-others",)])
def test_unread_kinds_in_a_folder_are_counted_and_named(head, files, styleid, tmp_path, arguments):
    folder = place(tmp_path / "in", {"read.jpg": saved(head, "JPEG"), "b.jp2": files["jp2"], "c.ppm": files["ppm"]})
    result = styleid("anonymize", folder, *NONE, *arguments)
    assert (result.status, result.files.keys(), result.errors.keys()) == (3, {"read.jpg"}, {"b.jp2", "c.ppm"})
    assert "2 files of kinds that are not read: 1 JPEG 2000 picture (.jp2), 1 PPM picture (.ppm)" in result.stderr
    result = styleid("anonymize", folder, *NONE, *arguments, "--resume", "--carry", "jp2", "ppm")
    assert (result.status, result.files.keys()) == (0, {"read.jpg", "b.jp2", "c.ppm"})


def yolo(head: Image.Image) -> dict[str, bytes]:
    return {
        "data.yaml": b"path: .\ntrain: images/train\nnames:\n  0: face\n",
        "images/train/a.png": saved(head, "PNG"),
        "images/train/a.npy": array(head),
        "labels/train/a.txt": b"0 0.5 0.4 0.35 0.4\n",
    }


def test_caches_beside_images_stay(head, styleid, tmp_path):
    folder = place(tmp_path / "in", yolo(head))
    kept = {"data.yaml", "images/train/a.png", "labels/train/a.txt"}
    result = styleid("dataset", "yolo", folder, *NONE, "--copy-others")
    assert (result.status, result.files.keys(), result.errors.keys()) == (3, kept, {"images/train/a.npy"})
    result = styleid("dataset", "yolo", folder, *NONE, out=tmp_path / "plain")
    assert (result.status, result.files.keys()) == (0, kept)
    assert "images/train/a.npy: note: left out: it has the name of a photo beside it" in result.stderr


def test_unread_kinds_in_a_data_set_are_counted_and_named(head, files, styleid, tmp_path):
    folder = place(
        tmp_path / "in", {**yolo(head), "images/train/b.jp2": files["jp2"], "images/train/c.psd": files["psd"]}
    )
    result = styleid("dataset", "yolo", folder, *NONE)
    assert (result.status, result.errors.keys()) == (3, {"images/train/b.jp2", "images/train/c.psd"})
    assert (
        "2 files of kinds that are not read: 1 JPEG 2000 picture (.jp2), 1 Photoshop document (.psd)" in result.stderr
    )


def live_photo(head: Image.Image, ending: str, stem: str = "IMG_1") -> dict[str, bytes]:
    """Return a Live Photo, a picture and the film that names the same identifier."""
    picture = further_parts.apple_photo(np.asarray(head), IDENTIFIER, heic=ending == "HEIC")
    return {f"{stem}.{ending}": picture, f"{stem}.MOV": movie()}


@pytest.mark.parametrize("ending", ["HEIC", "JPG"])
@pytest.mark.parametrize("form", ["coco", "yolo", "voc"])
def test_the_film_of_a_live_photo_in_a_data_set_stays(head, styleid, tmp_path, form, ending):
    record = {"images": [{"id": 1, "file_name": f"IMG_1.{ending}"}], "annotations": [], "categories": []}
    photos = {"coco": "images", "yolo": "images/train", "voc": "JPEGImages"}[form]
    labels = {
        "coco": {"annotations/x.json": json.dumps(record).encode()},
        "yolo": {"data.yaml": b"names: [face]\n", "labels/train/IMG_1.txt": b""},
        "voc": {"Annotations/IMG_1.xml": b"<annotation><filename>IMG_1</filename></annotation>"},
    }[form]
    folder = place(tmp_path / "in", labels)
    place(folder / photos, live_photo(head, ending))
    kept = {f"{photos}/IMG_1.{ending}", *labels}
    result = styleid("dataset", form, folder, *NONE)
    assert (result.status, result.files.keys()) == (0, kept)
    assert "1 file of kinds that are not read: 1 MP4 or QuickTime video (.mov)" in result.stderr
    assert IDENTIFIER.encode() not in b"".join(result.files.values())
    result = styleid("dataset", form, folder, *NONE, "--copy-others", out=tmp_path / "others")
    assert (result.status, result.files.keys(), result.errors.keys()) == (3, kept, {f"{photos}/IMG_1.MOV"})


def test_the_film_of_a_live_photo_in_a_shard_is_withheld(head, styleid, tmp_path):
    pack(tmp_path / "in/0.tar", live_photo(head, "HEIC", "000"))
    result = styleid("dataset", "shards", tmp_path / "in", *NONE)
    assert (result.status, members(result.files["0.tar"]).keys()) == (3, {"000.HEIC"})
    assert result.errors.keys() == {"0.tar/000.MOV"}


def require_anonymised(before: bytes, after: bytes) -> None:
    """Require that the face in the middle of a JPEG XL, which the extra jxl reads, is covered."""
    old, new = (read_photo_bytes(data, "a.jxl").image_rgb.astype(int) for data in (before, after))
    height, width = old.shape[:2]
    middle = np.abs(new - old)[height // 3 : height * 2 // 3, width // 3 : width * 2 // 3]
    assert np.median(middle) > 15


@pytest.mark.shared
def test_the_case_of_copy_others(case: Callable[[str], Path], styleid):
    folder = case("copy-others-foreign-files") / "in"
    result = styleid("anonymize", folder, *NONE, "--copy-others")
    assert (result.status, result.files.keys(), len(result.errors)) == (3, {"photo.png", "a.jxl"}, 7)
    require_anonymised((folder / "a.jxl").read_bytes(), result.files["a.jxl"])


@pytest.mark.shared
def test_the_case_of_an_annotations_folder(case, styleid):
    folder = case("coco-annotations-folder") / "in"
    result = styleid("dataset", "coco", folder, *NONE)
    written = {"images/a.png", "annotations/instances.json", "annotations/a.jxl"}
    assert (result.status, result.files.keys()) == (3, written)
    require_anonymised((folder / "annotations/a.jxl").read_bytes(), result.files["annotations/a.jxl"])


@pytest.mark.shared
def test_the_case_of_foreign_members(case, styleid):
    folder = case("shard-foreign-members")
    result = styleid("dataset", "shards", folder, *NONE)
    before = members((folder / "000000.tar").read_bytes())
    after = members(result.files["000000.tar"])
    assert (result.status, after.keys()) == (3, {"000.png", "002.jxl"})
    assert after["000.png"] != before["000.png"]
    require_anonymised(before["002.jxl"], after["002.jxl"])
    assert len(result.errors) == 9


@pytest.mark.shared
def test_the_case_of_unread_kinds(case, styleid, tmp_path):
    folder = case("unread-picture-kinds")
    result = styleid("dataset", "shards", folder, *NONE)
    assert (result.status, members(result.files["shard-000.tar"]).keys()) == (3, {"s1.cls", "s2.cls"})
    for name, more in (("plain", ()), ("others", ("--copy-others",))):
        result = styleid("anonymize", folder / "folder", *NONE, *more, out=tmp_path / name)
        assert (result.status, result.files.keys(), len(result.errors)) == (3, {"read.jpg"}, 2)


@pytest.mark.shared
def test_the_case_of_a_cache(case, styleid):
    result = styleid("dataset", "yolo", case("yolo-npy-cache") / "in", *NONE, "--copy-others")
    assert (result.status, result.errors.keys()) == (3, {"images/train/a.npy"})
    assert not [name for name in result.files if name.endswith(".npy")]
