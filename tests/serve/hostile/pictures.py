"""Hostile pictures, and files that are not pictures."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable

from PIL import Image

from tests.serve.hostile.archives import zipped
from tests.serve.hostile.requests import DETECT, REFUSED, SINGLE, Case, upload

_SECRET = b"PK\x03\x04 a payload that no answer may hold"
_PAYLOAD = b"<script>alert(1)</script>"


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes, *more: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """Return a PNG with arbitrary data."""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def saved(kind: str, size: tuple[int, int] = (48, 40), **options: object) -> bytes:
    """Return a plain picture."""
    out = io.BytesIO()
    Image.new("RGB", size, (120, 80, 60)).save(out, kind, **options)
    return out.getvalue()


def tiff(width: int, height: int, *, loop: bool = False) -> bytes:
    """Return a TIFF of any size with one compressed strip, whose directories may form a loop."""
    strip = zlib.compress(bytes(4096))
    at = 8 + 2 + 9 * 12 + 4
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, at),
            (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, len(strip))]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *one) for one in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 8 if loop else 0) + strip


def iso_box(kind: bytes, data: bytes) -> bytes:
    """Return a box of an ISO file."""
    return struct.pack(">I", len(data) + 8) + kind + data


def iso(brand: bytes, codec: bytes, width: int, height: int) -> bytes:
    """Return a HEIC or AVIF file that announces a size and has almost no data."""
    ispe = iso_box(b"ispe", struct.pack(">III", 0, width, height))
    ipma = iso_box(b"ipma", struct.pack(">IIHBB", 0, 1, 1, 1, 1))
    iprp = iso_box(b"iprp", iso_box(b"ipco", ispe) + ipma)
    infe = iso_box(b"infe", struct.pack(">IHH", 2 << 24, 1, 0) + codec + b"\0")
    iinf = iso_box(b"iinf", struct.pack(">IH", 0, 1) + infe)
    pitm = iso_box(b"pitm", struct.pack(">IH", 0, 1))
    iloc = iso_box(b"iloc", struct.pack(">IBBHHHHII", 0, 0x44, 0, 1, 1, 0, 1, 400, 16))
    hdlr = iso_box(b"hdlr", struct.pack(">II", 0, 0) + b"pict" + bytes(13))
    meta = iso_box(b"meta", bytes(4) + hdlr + pitm + iloc + iinf + iprp)
    return iso_box(b"ftyp", brand + bytes(4) + brand + b"mif1") + meta + iso_box(b"mdat", bytes(64))


def huge_picture(rng: random.Random) -> Case:
    """A small file that announces, or unpacks to, more pixels than allowed."""
    side = rng.choice([2100, 30_000, 65_000])
    rows = zlib.compress(bytes(3 * 2100 * 2100 + 2100))
    vp8x = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (16_383).to_bytes(3, "little") * 2
    kinds: dict[str, Callable[[], bytes]] = {
        "png": lambda: png(side, side, rows),
        "png of bits": lambda: png(side, side, zlib.compress(bytes(side * side // 8 + side)), depth=1, colour=0),
        "tiff": lambda: tiff(side, side),
        "webp": lambda: b"RIFF" + struct.pack("<I", len(vp8x) + 4) + b"WEBP" + vp8x,
        "bmp": lambda: b"BM" + struct.pack("<IIIIiiHHIIiiII", 9999, 0, 54, 40, side, side, 1, 24, 0, 0, 1, 1, 0, 0),
        "gif": lambda: b"GIF89a" + struct.pack("<HHBBB", side, side, 0, 0, 0) + b"," + bytes(4)
        + struct.pack("<HHB", side, side, 0) + b"\x02\x02\x4c\x01\x00;",
        "jpeg": lambda: saved("JPEG").replace(struct.pack(">HH", 40, 48), struct.pack(">HH", side, side)),
        "heic": lambda: iso(b"heic", b"hvc1", side, side),
        "avif": lambda: iso(b"avif", b"av01", side, side),
    }  # fmt: skip
    name = rng.choice(list(kinds))
    path = rng.choice([SINGLE, DETECT])
    return Case(f"a huge {name} at {path}", upload(kinds[name](), "a." + name.split()[0], path, method="none"))


def packed_metadata(rng: random.Random) -> Case:
    """A small picture whose colour profile or text unpacks to a large size; it may be accepted or refused."""
    large = zlib.compress(bytes(rng.choice([20_000_000, 100_000_000])), 9)
    chunk = rng.choice([
        png_chunk(b"iCCP", b"x\0\0" + large),
        png_chunk(b"zTXt", b"Comment\0\0" + large),
        png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + large),
    ])  # fmt: skip
    picture = png(8, 8, zlib.compress((b"\0" + bytes(24)) * 8), chunk)
    return Case("packed metadata", upload(picture, "a.png", SINGLE, method="none"), REFUSED | {200})


def broken_picture(rng: random.Random) -> Case:
    """A picture that is truncated or altered; it is accepted if it is readable."""
    kind = rng.choice(["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF"])
    data = bytearray(saved(kind))
    if rng.random() < 0.5:
        data = data[: rng.randrange(8, len(data))]
    else:
        for _ in range(rng.randint(1, 12)):
            data[rng.randrange(4, len(data))] = rng.randrange(256)
    name = "a." + rng.choice(["jpg", "png", kind.lower()])
    case = upload(bytes(data), name, rng.choice([SINGLE, DETECT]), method="none")
    return Case(f"a broken {kind}", case, REFUSED | {200})


def no_picture(rng: random.Random) -> Case:
    """Other data under the name of a picture."""
    data = rng.choice([
        b"", b"\0" * 5000, b"hello", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7\n", b"MZ" + bytes(300),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9999999 9999999\n", b"8BPS" + bytes(100), b"\x7fELF" + bytes(99),
        b"\xff\xd8\xff\xe0broken", b"GIF89a", b"RIFF\xff\xff\xff\xffWEBP", b"II*\0\xff\xff\xff\xff",
        tiff(8, 8, loop=True)[:60],
        iso(b"heic", b"hvc1", 64, 64), iso(b"crx ", b"hvc1", 64, 64), rng.randbytes(2000), b"P6 99999 99999 255\n",
        b"\0\0\0\x0cJXL \r\n\x87\n" + rng.randbytes(40), b"\xff\x0a" + rng.randbytes(60),
    ])  # fmt: skip
    name = rng.choice(["a.jpg", "a.png", "a.tif", "a.heic", "a", "a.exe", "ä ö.webp"])
    return Case(f"no picture: {data[:8]!r}", upload(data, name, rng.choice([SINGLE, DETECT]), method="none"))


def polyglot(rng: random.Random) -> Case:
    """A picture that is valid in another format, too; it is accepted, and the output has only the picture."""
    kind = rng.choice(["PNG", "JPEG", "GIF", "BMP", "WEBP"])
    hidden = rng.choice([_SECRET + bytes(40), _PAYLOAD, zipped(("a.txt", _SECRET), how=zipfile.ZIP_STORED)])
    data = saved(kind) + hidden
    if kind == "JPEG" and rng.random() < 0.5:
        data = saved(kind)[:2] + b"\xff\xfe" + struct.pack(">H", len(hidden) + 2) + hidden + saved(kind)[2:]
    case = upload(data, f"a.{kind.lower()}", SINGLE, method="none")
    return Case(f"a polyglot {kind}", case, REFUSED | {200}, absent=(_SECRET, _PAYLOAD))
