"""No output of folders and shards contains the original face in any form that can be decoded, whatever they hold."""

from __future__ import annotations

import base64
import gzip
import io
import json
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from styleid import AnonymizeOptions, Anonymizer
from styleid.commands.anonymize import CommandOptions, anonymize
from styleid.core.options import PeopleOptions
from styleid.datasets.formats.coco.layout import Coco
from styleid.datasets.formats.voc.layout import Voc
from styleid.datasets.formats.yolo.layout import Yolo
from styleid.datasets.options import AnnotationOptions, ShardOptions
from styleid.datasets.run import process_dataset
from styleid.datasets.shards import process_shards
from styleid.engine.local import RunOptions
from tests.datasets.folders import contents, errors, write
from tests.datasets.independent_reader import Reader

SIDE = 56
SOLID = AnonymizeOptions(method="none", obscure="solid", seed=1)


@pytest.fixture(scope="module")
def small(portrait) -> Image.Image:
    return portrait.resize((64, SIDE))


@pytest.fixture(scope="module")
def reader(portrait) -> Reader:
    found = Anonymizer(None, SOLID).find(np.asarray(portrait)).boxes_xyxy[0]
    x0, y0, x1, y1 = (round(float(v)) for v in found)
    return Reader(portrait, (x0, y0, x1, y1), [(64, SIDE), (128, 112)])


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def array(image: Image.Image) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(image))
    return file.getvalue()


def zipped(image: Image.Image) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.jpg", saved(image, "JPEG"))
    return file.getvalue()


def tarred(image: Image.Image) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        info = tarfile.TarInfo("a.npy")
        info.size = len(array(image))
        tar.addfile(info, io.BytesIO(array(image)))
    return file.getvalue()


def text(image: Image.Image, between: str = " ") -> str:
    return between.join(map(str, np.asarray(image.convert("L")).ravel()))


def pgm(image: Image.Image) -> bytes:
    return f"P2\n{image.width} {image.height}\n255\n{text(image)}\n".encode()


def listed(image: Image.Image) -> bytes:
    return json.dumps({"data": np.asarray(image.convert("L")).tolist()}).encode()


def xpm(image: Image.Image) -> bytes:
    greys = np.asarray(image.convert("L")) // 8
    letters = "abcdefghijklmnopqrstuvwxyzABCDEF"
    lines = [f"{image.width} {image.height} 32 1"]
    lines += [f"{letters[i]} c #{8 * i:02x}{8 * i:02x}{8 * i:02x}" for i in range(32)]
    lines += ["".join(letters[value] for value in row) for row in greys]
    body = ",\n".join(f'"{line}"' for line in lines)
    return f"/* XPM */\nstatic char *a[] = {{\n{body}\n}};\n".encode()


def by_place(image: Image.Image) -> bytes:
    grey = np.asarray(image.convert("L"))
    return "\n".join(f"{x},{y},{grey[y, x]}" for y in range(image.height) for x in range(image.width)).encode()


FORMS: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG 2000": lambda image: saved(image, "JPEG2000"),
    "PPM": lambda image: saved(image, "PPM"),
    "TGA": lambda image: saved(image, "TGA"),
    "PCX": lambda image: saved(image, "PCX"),
    "an array": array,
    "raw pixels": lambda image: np.asarray(image).tobytes(),
    "a pickle": lambda image: pickle.dumps([saved(image, "JPEG")]),
    "a ZIP archive": zipped,
    "a tar archive": tarred,
    "a gzip file": lambda image: gzip.compress(saved(image, "PNG")),
    "words before a PNG": lambda image: b"some words\n" * 99 + saved(image, "PNG"),
    "base64": lambda image: json.dumps({"i": base64.b64encode(saved(image, "JPEG")).decode()}).encode(),
    "base64 for URLs": lambda image: json.dumps({"i": base64.urlsafe_b64encode(saved(image, "PNG")).decode()}).encode(),
    "base64 in lines": lambda image: base64.encodebytes(saved(image, "WEBP")),
    "base64 of pixels": lambda image: base64.b64encode(np.asarray(image).tobytes()),
    "hex": lambda image: saved(image, "JPEG").hex().encode(),
    "hex, bytes apart": lambda image: saved(image, "JPEG").hex(" ").encode(),
    "base85": lambda image: base64.b85encode(saved(image, "JPEG")),
    "Ascii85": lambda image: base64.a85encode(saved(image, "PNG")),
    "an SVG drawing": lambda image: b'<svg><image href="data:image/png;base64,%s"/></svg>'
    % base64.b64encode(saved(image, "PNG")),
    "PGM": pgm,
    "XPM": xpm,
    "a list": listed,
    "a cell": lambda image: f'name,pixels\na,"{text(image)}"\n'.encode(),
    "a row for each pixel": by_place,
}  # fmt: skip
HARMLESS: dict[str, str] = {
    "json": '{"id": 1, "box": [1, 2, 3, 4], "caption": "a man in a street"}',
    "txt": "0 0.5 0.5 0.1 0.1\n",
    "csv": "name,x,y\na,1,2\n",
    "xml": "<annotation><size><width>4</width></size></annotation>",
    "md": "# Readme\n",
    "cls": "7",
}
PHOTOS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}
ENDINGS = ["json", "txt", "csv", "xml", "bin", "dat", "npy", "md", "cls", "pkl", "jxl", ""]

Members = list[tuple[str, str]]

MEMBERS = st.tuples(
    st.lists(st.sampled_from(sorted(HARMLESS)), max_size=3),
    st.lists(st.sampled_from(sorted(PHOTOS)), min_size=1, max_size=2),
    st.lists(st.tuples(st.sampled_from(sorted(FORMS)), st.sampled_from(ENDINGS)), min_size=1, max_size=5),
    st.lists(st.sampled_from(["", "images/", "labels/", "annotations/", "deep/er/"]), min_size=3, max_size=3),
)


def built(drawn: tuple[list[str], list[str], list[tuple[str, str]], list[str]], large: Image.Image, small: Image.Image):
    """Return (harmless, photos, unknown), each files by their names."""
    harmless, photos, unknown, folders = drawn
    return (
        {f"{folders[0]}h{n}.{ending}": HARMLESS[ending].encode() for n, ending in enumerate(harmless)},
        {f"{folders[1]}p{n}.{ending}": saved(large, PHOTOS[ending]) for n, ending in enumerate(photos)},
        {f"{folders[2]}u{n}.{end}".rstrip("."): FORMS[form](small) for n, (form, end) in enumerate(unknown)},
    )


@pytest.mark.parametrize("form", FORMS)
def test_the_reader_finds_the_face_in_every_form(reader, small, form):
    assert reader.finds(FORMS[form](small))


def test_the_reader_finds_the_face_in_photos_and_not_where_it_is_hidden(reader, portrait):
    hidden = Anonymizer(None, SOLID).anonymize(np.asarray(portrait), name="a").image_rgb
    for kind in PHOTOS.values():
        assert reader.finds(saved(portrait, kind))
        assert not reader.finds(saved(Image.fromarray(hidden), kind))
    assert not any(reader.finds(words.encode()) for words in HARMLESS.values())


quickly = settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@quickly
@given(MEMBERS)
def test_no_face_leaves_a_folder(tmp_path_factory, reader, portrait, small, drawn):
    root = tmp_path_factory.mktemp("folder")
    harmless, photos, unknown = built(drawn, portrait, small)
    write(root / "in", {**harmless, **photos, **unknown})
    command = CommandOptions(copy_others=True, quiet=True)
    status = anonymize([root / "in"], SOLID, RunOptions(root / "out"), command, PeopleOptions())
    check(root / "out", harmless, photos, unknown, reader)
    assert status == 3
    shutil.rmtree(root)


@quickly
@given(MEMBERS, st.sampled_from([Coco, Yolo, Voc]))
def test_no_face_leaves_a_data_set(tmp_path_factory, reader, portrait, small, drawn, form):
    root = tmp_path_factory.mktemp("set")
    harmless, photos, unknown = built(drawn, portrait, small)
    record = {"images": [{"id": 1, "file_name": next(iter(photos))}], "annotations": [], "categories": []}
    harmless = {name: data for name, data in harmless.items() if not name.startswith(("annotations/", "labels/"))}
    unknown = {name: data for name, data in unknown.items() if not name.endswith(".json")}
    write(root / "in", {**harmless, **photos, **unknown, "all.json": json.dumps(record)})
    by = Anonymizer(None, SOLID)
    summary = process_dataset(root / "in", form(), by, RunOptions(root / "out"), AnnotationOptions(copy_others=True))
    check(root / "out", {}, photos, unknown, reader)
    assert summary.exit_status == (3 if unknown else 0)
    shutil.rmtree(root)


@quickly
@given(MEMBERS, st.booleans())
def test_no_face_leaves_a_shard(tmp_path_factory, reader, portrait, small, drawn, drop):
    root = tmp_path_factory.mktemp("shard")
    harmless, photos, unknown = built(drawn, portrait, small)
    (root / "in").mkdir()
    with tarfile.open(root / "in/0.tar", "w") as tar:
        for name, data in {**harmless, **photos, **unknown}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    by = Anonymizer(None, SOLID)
    summary = process_shards(root / "in", by, RunOptions(root / "out"), ShardOptions(drop_withheld=drop))
    with tarfile.open(root / "out/0.tar") as tar:
        tar.extractall(root / "unpacked", filter="data")
    assert not reader.finds((root / "out/0.tar").read_bytes())
    assert summary.exit_status == 3
    check_files(contents(root / "unpacked"), harmless, photos, unknown, reader)
    assert errors(root / "out").keys() == {f"0.tar/{name}" for name in unknown}
    shutil.rmtree(root)


def check(
    out: Path, harmless: dict[str, bytes], photos: dict[str, bytes], unknown: dict[str, bytes], reader: Reader
) -> None:
    check_files(contents(out), harmless, photos, unknown, reader)
    assert unknown.keys() <= errors(out).keys()
    assert not [path for path in out.rglob("*.jsonl") if reader.finds(path.read_bytes())]


def check_files(
    written: dict[str, bytes],
    harmless: dict[str, bytes],
    photos: dict[str, bytes],
    unknown: dict[str, bytes],
    reader: Reader,
) -> None:
    """Check that what is harmless and every photo came out, nothing unknown did, and that no file shows the face."""
    assert {**harmless, **photos}.keys() <= written.keys()
    assert {name: written[name] for name in harmless} == harmless
    assert not unknown.keys() & written.keys()
    assert [name for name, data in written.items() if reader.finds(data)] == []
