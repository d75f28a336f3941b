"""Pictures written as text are found in every form; annotations, lists and prose pass."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import quopri
import random
import uuid
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data as sample

from styleid.media.text import find_picture, plain_text


@pytest.fixture(scope="module")
def face(astronaut) -> Image.Image:
    return Image.fromarray(astronaut[:300, 96:352]).crop((70, 40, 200, 190))


def why(text: str | bytes) -> str:
    """Say why a text is not carried."""
    plain = plain_text(text.encode() if isinstance(text, str) else text)
    return "it is no plain text" if plain is None else find_picture(plain)


def encoded(image: Image.Image, kind: str, side: int, **options) -> bytes:
    file = io.BytesIO()
    image.resize((side, side)).save(file, kind, **options)
    return file.getvalue()


def wrapped(text: bytes, width: int) -> bytes:
    return b"\n".join(text[at : at + width] for at in range(0, len(text), width))


PICTURES: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG": lambda face: encoded(face, "JPEG", 48),
    "small JPEG": lambda face: encoded(face, "JPEG", 28, quality=30),
    "WebP": lambda face: encoded(face, "WEBP", 36, quality=40),
    "PNG": lambda face: encoded(face.convert("L"), "PNG", 28),
    "GIF": lambda face: encoded(face, "GIF", 32),
    "BMP": lambda face: encoded(face, "BMP", 24),
    "raw": lambda face: np.asarray(face.convert("L").resize((32, 32))).tobytes(),
    "deflated": lambda face: zlib.compress(np.asarray(face.convert("L").resize((32, 32))).tobytes()),
}
ALPHABETS: dict[str, Callable[[bytes], bytes]] = {
    "base64": base64.b64encode,
    "base64 for URLs": base64.urlsafe_b64encode,
    "base85": base64.b85encode,
    "Ascii85": base64.a85encode,
    "base32": base64.b32encode,
    "hex": binascii.hexlify,
}
WRITTEN: dict[str, Callable[[bytes], str | bytes]] = {
    "JSON": lambda text: json.dumps({"image": text.decode()}),
    "lines of 76": lambda text: wrapped(text, 76),
    "lines of 60": lambda text: wrapped(text, 60),
    "a list of strings": lambda text: json.dumps([text[at : at + 32].decode() for at in range(0, len(text), 32)]),
    "an indented list": lambda text: json.dumps([t.decode() for t in wrapped(text, 20).split()], indent=2),
    "XML": lambda text: b"<a><b>" + text.replace(b"&", b"&amp;").replace(b"<", b"&lt;") + b"</b></a>",
    "YAML": lambda text: b"picture: !!binary |\n  " + wrapped(text, 70).replace(b"\n", b"\n  "),
    "short groups": lambda text: b" ".join(split(text, 5)),
    "lines with numbers": lambda text: "\n".join(f"{i},{t.decode()}" for i, t in enumerate(split(text, 60))),
    "objects": lambda text: "\n".join(json.dumps({"i": i, "part": t.decode()}) for i, t in enumerate(split(text, 60))),
    "lines of a mail": lambda text: b"> " + b"\n> ".join(split(text, 60)),
    "XMP": lambda text: b"<i>" + b"&#xA;".join(split(text, 76)) + b"</i>",
    "escapes": lambda text: "".join(chr(c) if chr(c).isalnum() else f"\\u{c:04x}" for c in text),
}
OTHERWISE: dict[str, Callable[[bytes], str | bytes]] = {
    "hex, bytes apart": lambda data: data.hex(" "),
    "hex with colons": lambda data: data.hex(":"),
    "hex with dashes": lambda data: data.hex("-"),
    "hex in strings": lambda data: json.dumps([f"{byte:02x}" for byte in data]),
    "hex in fours": lambda data: data.hex(" ", 2),
    "an array in C": lambda data: ", ".join(f"0x{byte:02x}" for byte in data),
    "a literal in Python": repr,
    "characters of a JSON string": lambda data: json.dumps(data.decode("latin-1")),
    "Latin characters in UTF-8": lambda data: json.dumps(data.decode("latin-1"), ensure_ascii=False),
    "quoted-printable": quopri.encodestring,
    "percent-encoding": lambda data: "".join(f"%{byte:02X}" for byte in data),
    "a list of numbers": lambda data: json.dumps(list(data)),
    "signed numbers": lambda data: json.dumps(np.frombuffer(data, np.int8).tolist()),
    "a number on each line": lambda data: "\n".join(map(str, data)),
    "uuencode": lambda data: b"begin 644 a\n" + b"".join(binascii.b2a_uu(p) for p in split(data)) + b"`\nend\n",
    "a hex dump": lambda data: "".join(f"{at:08x}: {p.hex(' ', 2)}  ...\n" for at, p in enumerate(split(data, 16))),
}


def split(data: bytes, size: int = 45) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_encoded_pictures_are_found_however_they_are_laid_out(face, kind, alphabet):
    text = ALPHABETS[alphabet](PICTURES[kind](face))
    assert [name for name, write in WRITTEN.items() if not why(write(text))] == []
    assert [
        name for name, write in WRITTEN.items() if not why(b"some words before\n" * 30 + to_bytes(write(text)))
    ] == []


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "deflated"])
def test_other_alphabets_of_64_characters_are_found(face, kind):
    text = base64.b64encode(PICTURES[kind](face)).translate(bytes.maketrans(b"Aabc", b".,:~"))
    assert why(json.dumps({"image": text.decode()}))


def to_bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_are_found_in_other_forms_of_bytes(face, kind):
    data = PICTURES[kind](face)
    assert [name for name, write in OTHERWISE.items() if not why(write(data))] == []


def rows(table: np.ndarray, between: str = ",") -> str:
    return "\n".join(between.join(map(str, row)) for row in table)


def places(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    y, x = np.mgrid[:height, :width]
    return np.concatenate([x[..., None], y[..., None], np.atleast_3d(pixels)], -1).reshape(height * width, -1)


def in_lines(values: np.ndarray, width: int) -> str:
    return "\n".join(" ".join(map(str, values[at : at + width])) for at in range(0, len(values), width))


NUMBERS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], str]] = {
    "a cell of pixels": lambda g, rgb, bits: f'emotion,pixels,Usage\n3,"{" ".join(map(str, g.ravel()))}",Training\n',
    "a column for each pixel": lambda g, rgb, bits: (
        "label,"
        + ",".join(f"p{i}" for i in range(g.size))
        + "".join(f"\n{i},{','.join(map(str, g.ravel()))}" for i in range(3))
    ),
    "a table": lambda g, rgb, bits: rows(g),
    "a table of floats": lambda g, rgb, bits: rows(g / 255, " "),
    "a row for each pixel": lambda g, rgb, bits: "x,y,value\n" + rows(places(g)),
    "a row for each coloured pixel": lambda g, rgb, bits: "x y r g b\n" + rows(places(rgb), " "),
    "a number on each line": lambda g, rgb, bits: in_lines(g.ravel(), 1),
    "lines of 17": lambda g, rgb, bits: in_lines(g.ravel(), 17),
    "lines of 8": lambda g, rgb, bits: in_lines(g.ravel(), 8),
    "a list": lambda g, rgb, bits: json.dumps(g.ravel().tolist()),
    "lists of lists": lambda g, rgb, bits: json.dumps(g.tolist()),
    "indented lists": lambda g, rgb, bits: json.dumps({"data": g.tolist()}, indent=1),
    "lists of colours": lambda g, rgb, bits: json.dumps(rgb.tolist()),
    "normalised floats": lambda g, rgb, bits: json.dumps((g / 127.5 - 1).round(4).tolist()),
    "channels first": lambda g, rgb, bits: json.dumps(rgb.transpose(2, 0, 1).ravel().tolist()),
    "strings": lambda g, rgb, bits: json.dumps([str(value) for value in g.ravel()]),
    "keys": lambda g, rgb, bits: json.dumps({str(i): int(value) for i, value in enumerate(g.ravel())}),
    "objects": lambda g, rgb, bits: json.dumps(
        [{"r": int(r), "g": int(v), "b": int(b)} for r, v, b in rgb.reshape(-1, 3)]
    ),
    "colours in hex": lambda g, rgb, bits: json.dumps([f"#{r:02x}{v:02x}{b:02x}" for r, v, b in rgb.reshape(-1, 3)]),
    "a polygon's name": lambda g, rgb, bits: json.dumps({"segmentation": [g.ravel().tolist()]}),
    "polygons' names": lambda g, rgb, bits: json.dumps({"segmentation": (g / 255).tolist()}),
    "YOLO's form": lambda g, rgb, bits: "0 " + " ".join(f"{value / 255:.4f}" for value in g.ravel()),
    "three digits each": lambda g, rgb, bits: "\n".join("".join(f"{value:03d}" for value in row) for row in g),
    "slashes": lambda g, rgb, bits: "/".join(map(str, g.ravel())),
    "lengths": lambda g, rgb, bits: " ".join(f"{value}px" for value in g.ravel()),
    "CSS colours": lambda g, rgb, bits: ", ".join(f"rgb({r}, {v}, {b})" for r, v, b in rgb.reshape(-1, 3)),
    "objects with keys": lambda g, rgb, bits: json.dumps(
        [{"index": i, "brightness": float(value)} for i, value in enumerate(g.ravel() / 255)]
    ),
    "elements": lambda g, rgb, bits: "<i>" + "".join(f"<px>{value}</px>" for value in g.ravel()) + "</i>",
    "attributes": lambda g, rgb, bits: "<i>" + "\n".join(f'<px v="{value}"/>' for value in g.ravel()) + "</i>",
    "rows of XML": lambda g, rgb, bits: "".join(f"<row>{' '.join(map(str, row))}</row>" for row in g),
    "rows with names": lambda g, rgb, bits: "\n".join(f"r{i},{','.join(map(str, row))}" for i, row in enumerate(g)),
    "rows with quotes": lambda g, rgb, bits: (
        "name;x\n" + "\n".join(f'"r{i}";' + ";".join(f'"{value}"' for value in row) for i, row in enumerate(g))
    ),
    "named pixels": lambda g, rgb, bits: "\n".join(f"p{i},{i % 9},{value}" for i, value in enumerate(g.ravel())),
    "lines of JSON": lambda g, rgb, bits: "\n".join(json.dumps({"i": i, "v": r.tolist()}) for i, r in enumerate(g)),
    "keyed rows": lambda g, rgb, bits: json.dumps({f"row{i}": row.tolist() for i, row in enumerate(g)}),
    "XML": lambda g, rgb, bits: f"<pixels>{' '.join(map(str, g.ravel()))}</pixels>",
    "decimal commas": lambda g, rgb, bits: rows((g / 255).round(3), ";").replace(".", ","),
    "decimal commas in columns": lambda g, rgb, bits: "x\ty\tz\n" + rows(places(g), "\t").replace(".", ","),
    "LIBSVM": lambda g, rgb, bits: "+1 " + " ".join(f"{i}:{value / 255:.3f}" for i, value in enumerate(g.ravel(), 1)),
    "rows of LIBSVM": lambda g, rgb, bits: "\n".join(
        f"{k} " + " ".join(f"{i}:{value}" for i, value in enumerate(row, 1)) for k, row in enumerate(g)
    ),
    "a digit for each pixel": lambda g, rgb, bits: rows(g // 26, ""),
    "bits": lambda g, rgb, bits: json.dumps(bits.tolist()),
    "a table of bits": lambda g, rgb, bits: rows(bits, " "),
    "lines of bits": lambda g, rgb, bits: rows(bits, ""),
    "PGM": lambda g, rgb, bits: f"P2\n# made by hand\n{g.shape[1]} {g.shape[0]}\n255\n" + in_lines(g.ravel(), 17),
    "PPM": lambda g, rgb, bits: json.dumps(f"P3\n{g.shape[1]} {g.shape[0]}\n255\n" + in_lines(rgb.ravel(), 15)),
}


@pytest.mark.parametrize("side", [24, 48, 64])
@pytest.mark.parametrize("form", NUMBERS)
def test_pixels_as_numbers_are_found(face, form, side):
    small = face.resize((side, side))
    bits = np.asarray(face.resize((2 * side, 2 * side)).convert("1")).astype(int)
    pixels = np.asarray(small.convert("L")), np.asarray(small), bits
    assert why(NUMBERS[form](*pixels))


@pytest.mark.parametrize(
    "text",
    [
        '<svg xmlns="http://www.w3.org/2000/svg"><image href="a.jpg"/></svg>',
        '<?xml version="1.0"?>\n<svg:svg xmlns:svg="http://www.w3.org/2000/svg"/>',
        "/* XPM */\nstatic char *a[] = {\n" + '"2 2 2 1",\n"a c #000000",\n"b c #ffffff",\n"ab",\n"ba"};',
        "! XPM2\n2 2 2 1\n",
        "#define a_width 16\n#define a_height 16\nstatic unsigned char a_bits[] = {0x00};",
        "P1\n2 2\n0 1 1 0\n",
        "%!PS-Adobe-3.0 EPSF-3.0\n",
        "%PDF-1.7\n",
        "{\\rtf1{\\pict}}",
        "see ![](data:image/png;base64,)",
        "data:image/svg+xml,%3Csvg%3E",
        "=ybegin line=128 size=100 name=a.jpg",
    ],
)
def test_forms_that_show_something_are_known(text):
    assert why(text)


def outline(rng: np.random.Generator, points: int) -> list[float]:
    angles = np.sort(rng.random(points)) * 2 * np.pi
    radii = 50 + 9 * rng.random(points)
    return np.stack([300 + radii * np.cos(angles), 200 + radii * np.sin(angles)], -1).round(2).ravel().tolist()


def compressed(mask: np.ndarray) -> str:
    """Write a mask as pycocotools does."""
    flat = mask.astype(np.uint8).T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], edges, [len(flat)]])).tolist()
    runs = runs if flat[0] == 0 else [0, *runs]
    text = ""
    for place, run in enumerate(runs):
        value = run - runs[place - 2] if place > 2 else run
        more = True
        while more:
            bits, value = value & 31, value >> 5
            more = value != -(bits >> 4)
            text += chr(bits + 32 * more + 48)
    return text


def masks(rng: np.random.Generator) -> str:
    blob = cv2.GaussianBlur(rng.random((480, 640)), (0, 0), 25)
    mask = blob > np.quantile(blob, 0.6)
    flat = mask.T.ravel()
    runs = np.diff(np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1, [flat.size]])).tolist()
    runs = runs if not flat[0] else [0, *runs]
    size = list(mask.shape)
    return json.dumps([{"segmentation": {"size": size, "counts": compressed(mask)}, "area": 3},
                       {"segmentation": {"counts": runs, "size": size}, "bbox": [1, 2, 3, 4]}])  # fmt: skip


def landmarks(rng: np.random.Generator) -> str:
    shape = rng.normal(0, 5, (98, 2)).cumsum(0) + 100
    faces = shape * rng.uniform(0.5, 2, (300, 1, 1)) + rng.uniform(0, 200, (300, 1, 2))
    return rows(faces.reshape(300, -1).round(2), " ")


def horse() -> list[float]:
    contours, _ = cv2.findContours((~sample.horse()).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return max(contours, key=len).astype(float).ravel().tolist()


def detections(rng: np.random.Generator) -> str:
    corner, size = rng.integers(0, 400, (2000, 2)), rng.integers(5, 200, (2000, 2))
    return rows(np.concatenate([np.arange(2000)[:, None], corner, size, rng.integers(0, 80, (2000, 1))], 1))


def tracks(rng: np.random.Generator) -> str:
    lines = []
    for person in range(1, 30):
        length = int(rng.integers(20, 90))
        path = np.cumsum(rng.normal(0, 3, (length, 4)), 0) + rng.uniform(100, 800, 4)
        lines += [f"{frame + 1},{person},{','.join(f'{v:.1f}' for v in box)},1,1,0.9" for frame, box in enumerate(path)]
    return "\n".join(lines)


def history(rng: np.random.Generator) -> str:
    epochs = np.arange(300)[:, None]
    curves = np.exp(-epochs / rng.uniform(30, 90, 14)) * rng.uniform(0.5, 3, 14) + rng.normal(0, 0.01, (300, 14))
    return "epoch,loss\n" + rows(np.concatenate([epochs, curves], 1).round(5))


HARMLESS: dict[str, Callable[[np.random.Generator], str]] = {
    "COCO": lambda rng: json.dumps(
        {
            "images": [
                {
                    "id": i,
                    "file_name": f"{i:012d}.jpg",
                    "width": 640,
                    "height": 480,
                    "date_captured": "2013-11-14 17:02:52",
                    "flickr_url": f"http://farm3.staticflickr.com/2567/{i * 7919:010d}_e8bf2d0f3b_z.jpg",
                }
                for i in range(300)
            ],
            "annotations": [
                {
                    "id": i,
                    "segmentation": [outline(rng, int(rng.integers(4, 400)))],
                    "bbox": [1.5, 2.5, 30.0, 9.0],
                    "iscrowd": 0,
                }
                for i in range(200)
            ],
        }
    ),
    "masks": masks,
    "an outline of a horse": lambda rng: json.dumps({"segmentation": [horse()]}),
    "an indented outline": lambda rng: json.dumps({"polygon": np.reshape(horse(), (-1, 2)).tolist()}, indent=2),
    "objects as points": lambda rng: json.dumps(
        {"points": [{"x": x, "y": y} for x, y in np.reshape(horse(), (-1, 2))]}
    ),
    "YOLO's outlines": lambda rng: "".join(
        f"{i} {' '.join(f'{v / 640:.6f}' for v in outline(rng, 300))}\n" for i in range(9)
    ),
    "YOLO's boxes": lambda rng: rows(
        np.concatenate([rng.integers(0, 9, (400, 1)), rng.random((400, 4)).round(6)], 1), " "
    ),
    "keypoints": lambda rng: json.dumps(
        [{"keypoints": rng.integers(0, 640, 51).tolist(), "face_kpts": rng.uniform(0, 640, 204).tolist()}]
    ),
    "landmarks": landmarks,
    "attributes": lambda rng: rows(np.where(rng.random((600, 40)) < np.linspace(0.1, 0.9, 40), 1, -1), " "),
    "one-hot labels": lambda rng: rows(np.eye(20, dtype=int)[rng.integers(0, 20, 500)]),
    "detections": detections,
    "tracks": tracks,
    "a history of losses": history,
    "ids": lambda rng: json.dumps({"train": rng.permutation(5000).tolist(), "val": list(range(5000, 6000))}),
    "names": lambda rng: "\n".join(f"2007_{i:06d}" for i in range(3000)),
    "long names": lambda rng: "\n".join(
        f"train/aachen/aachen_{i:06d}_{i * 7 % 1000:06d}_leftImg8bit" for i in range(500)
    ),
    "UUIDs": lambda rng: json.dumps([str(uuid.UUID(int=random.Random(i).getrandbits(128))) for i in range(300)]),
    "digests": lambda rng: "\n".join(hashlib.sha256(b"%d" % i).hexdigest() for i in range(300)),
    "checksums": lambda rng: "\n".join(f"{hashlib.md5(b'%d' % i).hexdigest()}  images/{i}.jpg" for i in range(300)),
    "signed URLs": lambda rng: "\n".join(
        f"https://b.s3.amazonaws.com/p/{i}.jpg?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260101"
        f"%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Date=20260101T000000Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host"
        f"&X-Amz-Signature={hashlib.sha256(b'%d' % i).hexdigest()}"
        for i in range(50)
    ),
    "names in URLs": lambda rng: "https://zh.wikipedia.org/wiki/%E5%8C%97%E4%BA%AC%E5%B8%82\n" * 40,
    "XML without spaces": lambda rng: (
        "<a>"
        + "".join(
            f"<object><name>person</name><bndbox><xmin>{i}</xmin><ymin>{i}</ymin></bndbox></object>" for i in range(200)
        )
        + "</a>"
    ),
    "Chinese": lambda rng: "一个戴帽子的男人站在街上，看着远处的山。" * 60,
    "a table in Markdown": lambda rng: "| a | b |\n|---|---|\n" + "| `x=(1)` | [b](c.md#d) |\n" * 80,
    "cameras in turn": lambda rng: json.dumps(
        [
            {"id": i, "width": (1920, 1280, 800, 640, 320, 900)[i % 6], "height": (1080, 720, 600)[i % 3]}
            for i in range(900)
        ]
    ),
    "hours of days": lambda rng: "\n".join(
        f"s{i},{10 * np.sin(i * np.pi / 12) + rng.normal():.2f},{i % 24}" for i in range(2000)
    ),
    "exponents": lambda rng: "\n".join(" ".join(f"{value:.7e}" for value in row) for row in rng.random((60, 9))),
    "a wheel's record": lambda rng: "\n".join(
        f"a/b{i}.py,sha256={base64.urlsafe_b64encode(hashlib.sha256(b'%d' % i).digest()).decode()[:-1]},{i}"
        for i in range(300)
    ),
    "attributes with names": lambda rng: "\n".join(
        f"{i:06d}.jpg " + " ".join(map(str, row))
        for i, row in enumerate(np.where(rng.random((600, 40)) < np.linspace(0.1, 0.9, 40), 1, -1))
    ),
    "keypoints of persons": lambda rng: json.dumps(
        [{"joints": (rng.integers(0, 640, 51) * (rng.random(51) > 0.3)).tolist(), "id": i} for i in range(200)]
    ),
    "times of frames": lambda rng: json.dumps({"times": np.cumsum(rng.uniform(0.03, 0.04, 900)).round(4).tolist()}),
    "ids of videos": lambda rng: "\n".join(base64.urlsafe_b64encode(rng.bytes(8)).decode()[:11] for _ in range(500)),
    "names of files": lambda rng: "\n".join(f"{i:012d}" for i in rng.integers(0, 600_000, 500)),
    "numbers of 24 digits": lambda rng: "\n".join("".join(map(str, rng.integers(0, 10, 24))) for _ in range(400)),
    "a German table": lambda rng: (
        "Name;Größe;Gewicht\n"
        + "\n".join(
            f"Person {i};{rng.normal(1.7, 0.1):.2f};{rng.normal(70, 9):.1f}".replace(".", ",") for i in range(300)
        )
    ),
    "sparse features": lambda rng: "\n".join(
        "1 " + " ".join(f"{i}:{rng.normal():.4f}" for i in sorted(rng.choice(500, 20, replace=False)))
        for _ in range(60)
    ),
    "a log": lambda rng: "\n".join(f"12:{i // 60:02d}:{i % 60:02d} INFO loss: {rng.random():.4f}" for i in range(600)),
    "a diagram": lambda rng: ("+" + "-" * 30 + "+\n|" + " " * 30 + "|\n") * 20,
    "a rule": lambda rng: "=" * 400 + "\nLicence\n" + "-" * 400,
    "Windows' paths": lambda rng: "\n".join(f"C:\\data\\001\\{i:03d}.jpg" for i in range(200)),
    "JSON with German words": lambda rng: json.dumps(["Größe, Straße, Überführung"] * 100),
    "a licence": lambda rng: "Permission is hereby granted, free of charge, to any person obtaining a copy. " * 40,
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_annotations_lists_and_prose_are_let_through(kind):
    assert why(HARMLESS[kind](np.random.default_rng(1))) == ""


def test_masks_that_are_halftones_are_found(face):
    bits = np.asarray(face.resize((200, 230)).convert("1"))
    text = json.dumps({"segmentation": {"size": list(bits.shape), "counts": compressed(bits)}})
    assert why(text)
    area = np.zeros((230, 200), bool)
    area[20:200, 30:170] = True
    other = json.dumps({"segmentation": {"size": [230, 200], "counts": compressed(area)}})
    assert why(other) == ""
    assert why(other.replace("230, 200", "230, 199").replace('"counts": "', '"counts": "' + "0O1N" * 80))


PIECES = [
    "{",
    '"counts":',
    '"size": [',
    "1e999 ",
    "#abcdef",
    "0x1 ",
    "\\u0041",
    "&#10;",
    "%41",
    "<a>",
    "</a>",
    "P2 3 3 ",
    "rgb(",
]
CHINESE = '<?xml version="1.0" encoding="GB2312"?><a>人</a>'


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xef\xbb\xbfplain", b"plain"),
        ("größer".encode("utf-16"), "größer".encode()),
        (CHINESE.encode("gb2312"), CHINESE.encode()),
        (b"", b""),
        (b"a\0b", None),
        ("größer".encode("latin-1"), None),
        (b'<?xml version="1.0" encoding="rot13"?>\xff', None),
        (b"\x1b[0m", None),
    ],
)
def test_what_counts_as_plain_text(data, text):
    assert plain_text(data) == text


def test_drawings_in_characters_are_found(face):
    bits = (
        np.asarray(face.resize((96, 112)).convert("1")).reshape(28, 4, 48, 2).transpose(0, 2, 3, 1).reshape(28, 48, 8)
    )
    dots = "\n".join("".join(chr(0x2800 + int(np.packbits(cell)[0])) for cell in row) for row in bits)
    assert why(dots)
    greys = np.asarray(face.convert("L").resize((64, 32))) // 64
    assert why("\n".join("".join(" ░▒▓"[value] for value in row) for row in greys))
    assert why("\n".join("".join("⬛🟫🟨⬜"[value] for value in row) for row in greys))
    assert why("\n".join("".join(" .:-=+*#%@"[value * 10 // 256] for value in row)
                         for row in np.asarray(face.convert("L").resize((100, 50))).astype(int)))  # fmt: skip
    assert why("\n".join(f"{done}%|{'█' * done}| {done}/100" for done in range(100))) == ""


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(
        st.one_of(st.text(max_size=20), st.from_regex(r"[-+0-9eE., \[\]]{1,30}"), st.sampled_from(PIECES)), max_size=60
    ),
    st.integers(1, 40),
)
def test_no_text_breaks_the_search(parts, times):
    text = plain_text("".join(parts).encode() * times)
    assert text is None or isinstance(find_picture(text), str)


def test_a_picture_at_the_end_of_a_long_text_is_found(face, monkeypatch):
    import styleid.media.text.search as module

    monkeypatch.setattr(module, "PIECE", 1 << 12)
    lines = "".join(f'{{"id": {i}, "box": [1, 2, 3, 4]}}\n' for i in range(2000))
    assert why(lines) == ""
    assert why(lines + json.dumps({"image": base64.b64encode(encoded(face, "JPEG", 48)).decode()}))
    assert why(lines.replace("\n", "").replace("}", " ").replace("{", " ") + "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAUD")
