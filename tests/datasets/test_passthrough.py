"""Only files that are known to be harmless are copied unchanged."""

import base64
import gzip
import io
import json
import pickle
import sqlite3
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from styleid.datasets.passthrough import (
    MOST_BYTES,
    face_in_map,
    has_ending,
    is_label_map,
    is_panoptic,
    named_endings,
    why_too_large,
    why_withheld,
)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_pictures_are_known_whatever_their_name(portrait, kind):
    data = encoded(portrait, kind)
    assert "it is a picture" in why_withheld("a.txt", data)
    text = b'{"imageData": "' + base64.b64encode(data) + b'"}'
    assert why_withheld("a.json", text)
    assert why_withheld("a.json", text.replace(b"/", b"\\/"))


@pytest.mark.parametrize("kind", ["PPM", "JPEG2000", "TGA", "SGI", "PCX", "EPS", "ICO", "DDS"])
def test_pictures_of_kinds_that_are_not_read_are_withheld(portrait, kind):
    data = encoded(portrait, kind)
    assert why_withheld("a.txt", data)
    assert why_withheld("a", data)


def databases(portrait: Image.Image) -> dict[str, bytes]:
    jpeg = encoded(portrait, "JPEG")
    archive, tar, array = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.jpg", jpeg)
    with tarfile.open(fileobj=tar, mode="w") as file:
        info = tarfile.TarInfo("a.jpg")
        info.size = len(jpeg)
        file.addfile(info, io.BytesIO(jpeg))
    np.save(array, np.asarray(portrait))
    memory = sqlite3.connect(":memory:")
    memory.execute("create table t (x blob)")
    memory.execute("insert into t values (?)", (jpeg,))
    memory.commit()
    database = memory.serialize()
    memory.close()
    return {
        "a pickle": pickle.dumps([jpeg]),
        "an old pickle": pickle.dumps([jpeg], protocol=0),
        "an array": array.getvalue(),
        "raw pixels": np.asarray(portrait).tobytes(),
        "a ZIP archive": archive.getvalue(),
        "a tar archive": tar.getvalue(),
        "a gzip file": gzip.compress(jpeg),
        "a database": database,
        "an MP4 video": b"\0\0\0\x18ftypmp42",
        "an AVI video": b"RIFF\0\0\0\0AVI LIST",
        "a transport stream": (b"G" + bytes(187)) * 3,
        "a Windows Media file": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
        "text before a JPEG": b"some text\n" * 99 + jpeg,
    }


def test_containers_are_withheld_under_every_name(portrait):
    for kind, data in databases(portrait).items():
        for name in ("a.txt", "a.json", "a.cls", "README", "a.bin"):
            assert why_withheld(name, data), kind


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.json", b'{"annotations": [[1, 2]]}'),
        ("a.txt", b"0 0.5 0.5 0.1 0.1\n"),
        ("a.xml", b"<annotation/>"),
        ("a.dat", b""),
        ("README", b"by somebody"),
        ("A.JSON", b'{"counts": "PPYo1i0d;9E;F6M1O2O/9j0000000000000"}'),
        ("a.cls", b"7"),
    ],
)
def test_text_of_known_forms_is_carried(name, data):
    assert why_withheld(name, data) == ""


@pytest.mark.parametrize("name", ["a.obj", "a.svg", "a.dat", "a.html", "a.ply", "a.json.bak"])
def test_text_of_other_forms_is_withheld(name):
    assert "not known to be harmless" in why_withheld(name, b"some text")


def test_endings_are_named_with_or_without_their_dot():
    endings = named_endings(("seg.png,.NPY", "jxl", " "))
    assert endings == {"seg.png", "npy", "jxl"}
    names = ("a.seg.png", "a.png", "x/b.npy", "npy", "A.JXL")
    assert [name for name in names if has_ending(name, endings)] == ["a.seg.png", "x/b.npy", "A.JXL"]


def test_what_is_too_large_is_withheld():
    assert why_too_large(MOST_BYTES) == ""
    assert "larger than 64 MiB" in why_too_large(MOST_BYTES + 1)


def test_panoptic_maps_show_their_segments_and_nothing_else(meadow):
    ids = np.zeros((40, 60), np.uint32)
    ids[5:20, 5:30], ids[25:, :] = 70_000, 257
    rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
    data = encoded(Image.fromarray(rgb))
    assert is_panoptic(data, {70_000, 257})
    assert is_panoptic(data, {70_000, 257, 9})
    assert not is_panoptic(data, {70_000})
    assert not is_panoptic(encoded(meadow), {70_000, 257})
    assert not is_panoptic(data[:50], {70_000, 257})
    assert not is_panoptic(encoded(Image.fromarray(rgb), "BMP"), {70_000, 257})


def labels_of(size: tuple[int, int] = (60, 40)) -> Image.Image:
    labels = Image.new("P", size)
    labels.putpalette([0, 0, 0, 128, 0, 0])
    labels.paste(1, (5, 5, 30, 30))
    labels.paste(255, (30, 5, 31, 30))
    return labels


def test_label_maps_are_flat_and_plain(portrait):
    labels = labels_of()
    assert is_label_map(encoded(labels))
    assert is_label_map(encoded(labels.convert("L")))
    assert not is_label_map(encoded(labels.convert("RGB")))
    assert not is_label_map(encoded(labels, "GIF"))
    for photo in (portrait.convert("L"), portrait.quantize(64), portrait.quantize(16), portrait.convert("1")):
        assert not is_label_map(encoded(photo))
    comment = PngImagePlugin.PngInfo()
    comment.add_text("Author", "somebody")
    assert not is_label_map(encoded(labels, pnginfo=comment))


def enlarged(image: Image.Image) -> Image.Image:
    """Return a picture of few greys whose pixels are blocks, so that it is as flat as a label map."""
    return image.quantize(12, dither=Image.Dither.NONE).resize((128 * 8, 112 * 8), Image.Resampling.NEAREST)


def shuffled(image: Image.Image) -> Image.Image:
    """Return a picture whose values are dark and in another order, but whose palette shows it as it was."""
    order = np.random.default_rng(0).permutation(12)
    palette = np.reshape(image.getpalette()[:36], (12, 3))
    other = Image.fromarray(order[np.asarray(image)].astype(np.uint8), "P")
    other.putpalette(palette[np.argsort(order)].ravel().tolist())
    return other


def dark(image: Image.Image) -> Image.Image:
    greys = np.asarray(image.convert("L"))
    return Image.fromarray(np.unique(greys, return_inverse=True)[1].reshape(greys.shape).astype(np.uint8))


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize("change", [enlarged, lambda i: shuffled(enlarged(i)), lambda i: dark(enlarged(i))])
def test_label_maps_that_show_a_face_are_not_believed(portrait, plain, change):
    data = encoded(change(portrait))
    assert is_label_map(data)
    assert "a face is found in it" in face_in_map(data, lambda view: len(plain.find(view)) > 0)
    assert face_in_map(encoded(labels_of()), lambda view: len(plain.find(view)) > 0) == ""
    assert "cannot be decoded" in face_in_map(data[:99], lambda view: False)


def test_json_is_looked_at_as_a_whole(portrait):
    record = {"a": list(range(9)), "imageData": None}
    assert why_withheld("a.json", json.dumps(record).encode()) == ""
    record["imageData"] = base64.b64encode(encoded(portrait, "JPEG")).decode()
    assert "base64" in why_withheld("a.json", json.dumps(record).encode())
