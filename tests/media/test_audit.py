"""Only allowed metadata is written, and the audit finds everything else."""

import io
import struct
import subprocess
import sys
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from styleid.errors import ImageError
from styleid.media.audit import find_leftovers
from styleid.media.formats.parse.exif import EXPOSURE_TAGS, MetadataMode, is_exposure
from styleid.media.formats.parse.ifd import Field
from styleid.media.image import encode_photo, read_photo_bytes
from tests.media import samples
from tests.media.boxes import box, heif, iinf, iloc, infe, iprp, iref, pitm
from tests.media.samples import SECRET
from tests.media.test_read import EIGHT_BIT, GREY, RGB, RGBA

pytestmark = pytest.mark.versions

INDEXED = Image.fromarray(RGB).quantize(30)
PROFILE = samples.rgb_profile()

SOILED = {
    "jpeg": (samples.soiled_jpeg(RGB, 6), ["GPS", "maker's note", "thumbnail", "XMP", "comment", "after the picture",
             "Photoshop 3.0", "Make", "FPXR", "serial", "DateTimeOriginal"]),
    "jpeg grey": (samples.soiled_jpeg(GREY, 3), ["GPS"]),
    "jpeg progressive": (samples.soiled_jpeg(RGB, 8, progressive=True), ["GPS"]),
    "jpeg profile": (samples.pillow(RGB, "JPEG", icc_profile=PROFILE, comment=SECRET),
                     ["cprt", "device", "PrVt", "creator"]),
    "png": (samples.soiled_png(samples.pillow(RGB, "PNG", icc_profile=PROFILE), 5),
            ["tEXt", "zTXt", "iTXt", "tIME", "prVt", "GPS", "after the picture", "dmnd"]),
    "png palette": (samples.soiled_png(samples.pillow(INDEXED, "PNG")), ["tEXt"]),
    "png 16": (samples.soiled_png(samples.png(RGB.astype(np.uint16) * 257, 16, 2), 7), ["tEXt"]),
    "webp": (samples.soiled_webp(samples.pillow(RGB, "WEBP"), 6), ["GPS", "XMP", "priv", "after the picture"]),
    "webp lossless alpha": (samples.soiled_webp(samples.pillow(RGBA, "WEBP", lossless=True)), ["GPS", "XMP"]),
    "tiff": (samples.soiled_tiff(RGB, 6, photometric="rgb"), ["Artist", "XMP", "IPTC", "Photoshop", "ImageDescription",
             "65000", "DateTime", "outside any tag"]),
    "tiff profile": (samples.tiff(RGB, photometric="rgb", iccprofile=PROFILE), ["colour profile"]),
    "tiff 16 grey": (samples.soiled_tiff(GREY.astype(np.uint16), photometric="minisblack"), ["Artist"]),
    "gif": (samples.soiled_gif(samples.pillow(INDEXED, "GIF")), ["comment", "XMP", "after the picture"]),
    "bmp": (samples.soiled_bmp(samples.pillow(RGB, "BMP")), ["outside header and pixels"]),
    "avif": (samples.pillow(RGB, "AVIF", exif=samples.exif(6), xmp=samples.XMP, icc_profile=PROFILE),
             ["GPS", "XMP", "colour profile", "serial"]),
    "heic": (samples.heic(RGB, exif=b"Exif\0\0" + samples.exif(6), xmp=samples.XMP, icc_profile=PROFILE,
                          thumbnails=[16]), ["GPS", "XMP", "colour profile", "serial", "thumbnail"]),
    "jxl": (samples.pillow(RGB, "JXL", exif=samples.exif(6), xmp=samples.XMP), ["GPS", "XMP", "serial"]),
    "jxl lossless": (samples.pillow(RGBA, "JXL", lossless=True, exif=samples.exif(3)), ["GPS"]),
    "heic 10 bits": (samples.heic(RGB.astype(np.uint16) * 257, exif=b"Exif\0\0" + samples.exif(3)), ["GPS"]),
}  # fmt: skip


def carries_secret(data: bytes) -> bool:
    """Tell whether the secret is in the bytes, as ASCII or UTF-16, or a date of the samples is."""
    text = SECRET.decode()
    forms = [SECRET, text.encode("utf-16-le"), text.encode("utf-16-be"), b"2024:05:06", SECRET[:12]]
    return any(form in data for form in forms)


@pytest.mark.parametrize("name", SOILED)
def test_leftovers_are_found_in_soiled_files(name: str) -> None:
    data, words = SOILED[name]
    found = "\n".join(find_leftovers(data))
    assert [w for w in words if w not in found] == [], found


@pytest.mark.parametrize("metadata", ["strip", "safe"])
@pytest.mark.parametrize("painted", [False, True])
@pytest.mark.parametrize("name", SOILED)
def test_nothing_of_it_is_written(name: str, painted: bool, metadata: MetadataMode) -> None:
    data, _ = SOILED[name]
    photo = read_photo_bytes(data, "photo")
    mask = samples.region(photo.image_rgb.shape) & painted
    out = encode_photo(photo, 255 - photo.image_rgb, mask, metadata)
    assert not carries_secret(out)
    assert find_leftovers(out, metadata) == []
    image = Image.open(io.BytesIO(out))
    assert samples.orientation_of(image) == photo.orientation
    image.load()
    assert not {"xmp", "comment", "photoshop", "Author", "Comment", "XML:com.adobe.xmp"} & set(image.info)
    if photo.format != "JPEG XL":  # whose decoder always tells one
        assert ("icc_profile" in image.info) == (photo.icc_profile is not None)


EXPOSED = {
    "jpeg": lambda e: samples.pillow(RGB, "JPEG", exif=b"Exif\0\0" + e),
    "png": lambda e: samples.pillow(RGB, "PNG", exif=e),
    "webp": lambda e: samples.pillow(RGB, "WEBP", exif=e),
    "avif": lambda e: samples.pillow(RGB, "AVIF", exif=e),
    "heic": lambda e: samples.heic(RGB, exif=b"Exif\0\0" + e),
    "tiff": lambda e: samples.pillow(RGB, "TIFF", exif=load(e)),
}


def load(block: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.load(block)
    exif.get_ifd(34665)
    return exif


@pytest.mark.parametrize("kind", EXPOSED)
def test_safe_keeps_exposure_and_nothing_else(kind: str) -> None:
    photo = read_photo_bytes(EXPOSED[kind](samples.exif(3, secret=kind != "tiff")), "photo")
    out = encode_photo(photo, photo.image_rgb, np.zeros(RGB.shape[:2], bool), "safe")
    exif = Image.open(io.BytesIO(out)).getexif()
    details = {int(k): float(v) for k, v in exif.get_ifd(34665).items()}
    assert details == pytest.approx({33434: 0.004, 33437: 2.8, 34855: 200, 37386: 50, 40961: 1})
    assert not dict(exif.get_ifd(34853))
    assert find_leftovers(out, "safe") == []
    assert find_leftovers(out, "strip") != []
    plain = encode_photo(photo, photo.image_rgb, np.zeros(RGB.shape[:2], bool), "strip")
    assert not Image.open(io.BytesIO(plain)).getexif().get_ifd(34665)


def test_exposure_fields_of_a_wrong_type_are_not_kept() -> None:
    assert is_exposure(Field(34855, 3, (100,)))
    assert not is_exposure(Field(34855, 3, (100, 200)))
    assert not is_exposure(Field(34855, 2, b"Jane"))
    assert not is_exposure(Field(37500, 7, b"note"))
    assert all(name and kinds for name, kinds in EXPOSURE_TAGS.values())


def test_clean_files_of_other_programs_are_clean() -> None:
    for name, data in EIGHT_BIT.items():
        assert find_leftovers(data) == [], name


def test_strip_is_stricter_than_safe() -> None:
    data = samples.pillow(RGB, "JPEG", exif=b"Exif\0\0" + samples.exif(6, secret=False))
    assert find_leftovers(data) == find_leftovers(data, "safe") == []
    assert find_leftovers(data, "strip") == ["EXIF tag 34665 (exposure details)"]


def test_bytes_hidden_in_an_exif_block_are_found() -> None:
    block = samples.exif(6, secret=False) + SECRET
    data = samples.pillow(RGB, "JPEG", exif=b"Exif\0\0" + block)
    assert find_leftovers(data) == [f"EXIF: {len(SECRET)} bytes outside any tag"]


@pytest.mark.parametrize(
    ("segment", "words"),
    [
        (samples.jpeg_segment(0xFE, b"by Jane"), "JPEG comment: 'by Jane'"),
        (samples.jpeg_segment(0xEE, b"Adobe\0\0\0\0\0\0\x01" + SECRET), "APP14"),
        (samples.jpeg_segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\x01\x01abc"), "thumbnail"),
        (samples.jpeg_segment(0xE2, b"MPF\0" + bytes(20)), "APP2 'MPF' (further pictures)"),
        (samples.jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0x"), "APP1 'http://ns.adobe.com/xap/1.0/'"),
        (samples.jpeg_segment(0xE1, b"Exif\0\0junk"), "cannot be read"),
        (samples.jpeg_segment(0xF0, SECRET), "0xF0"),
    ],
)
def test_jpeg_segments_are_named(segment: bytes, words: str) -> None:
    found = find_leftovers(samples.with_jpeg_segments(EIGHT_BIT["jpeg"], segment))
    assert len(found) == 1
    assert words in found[0]


def test_avif_and_heif_parts_are_named() -> None:
    data = samples.pillow(RGB, "AVIF", xmp=samples.XMP)
    assert "mime item (XMP)" in find_leftovers(data)
    renamed = samples.pillow(RGB, "AVIF").replace(b"Color", b"Janes")
    assert find_leftovers(renamed) == ["item named 'Janes'"]
    assert find_leftovers(samples.pillow(RGB, "AVIF") + b"\0\0\0\x10free" + SECRET[:8]) != []
    assert find_leftovers(samples.pillow(RGB, "AVIF") + b"\0\0\0\x10free" + bytes(8)) == []
    uuid = struct.pack(">I4s", 8 + len(SECRET), b"uuid") + SECRET
    assert find_leftovers(samples.pillow(RGB, "AVIF") + uuid) == ["box 'uuid'"]


def iccp(body: bytes) -> bytes:
    return samples.png(GREY, 8, 0, samples.png_chunk(b"iCCP", body))


def bmp(size: int, mark: bytes = b"") -> bytes:
    """Return a bitmap of one pixel with a header of a size; mark: its colour space."""
    info = struct.pack("<IiiHHIIiiII", size, 1, 1, 1, 24, 0, 0, 0, 0, 0, 0).ljust(size, b"\0")[:size]
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + size) + info[:56] + mark + info[56 + len(mark) :] + bytes(4)


def avif(*entries: bytes, links: bytes = b"", properties: bytes = b"", place: bytes = b"") -> bytes:
    """Return an AVIF without pixels: one picture, number 1, and further items."""
    data = heif(pitm(1), iinf(infe(1, b"av01"), *entries), links, properties)
    if not place:
        return data
    where = iloc(0, struct.pack(">HHHII", 2, 0, 1, 0, len(place)))
    at = len(heif(pitm(1), iinf(infe(1, b"av01"), *entries), links, properties, where)) + 8
    where = iloc(0, struct.pack(">HHHII", 2, 0, 1, at, len(place)))
    return heif(pitm(1), iinf(infe(1, b"av01"), *entries), links, properties, where, behind=box(b"mdat", place))


AUX = iprp(box(b"ipma", struct.pack(">IHBB", 1, 2, 1, 1), 0, 0), box(b"auxC", b"urn:mpeg:mpegB:cicp:depth\0", 0, 0))
ALPHA = iprp(
    box(b"ipma", struct.pack(">IHBB", 1, 2, 1, 1), 0, 0),
    box(b"auxC", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0", 0, 0),
)
EXIF = samples.exif(6, secret=False)

RARE = {
    "png, profile's name": (iccp(b"Jane's screen\0\0" + zlib.compress(b"x")), "PNG colour profile's name: \"Jane's s"),
    "png, profile": (iccp(b"icc\0\0no stream"), "colour profile that cannot be read"),
    "bmp, old": (bmp(12), "BMP with an old header, which cannot be checked"),
    "tiff, empty": (b"II*\0" + bytes(4), "TIFF without a page"),
    "bmp, profile": (bmp(124, b"DEBM"), "BMP colour profile"),
    "bmp, linked profile": (bmp(124, b"KNIL"), "BMP colour profile"),
    "gif, frames": (
        samples.pillow(INDEXED, "GIF", save_all=True, append_images=[INDEXED.rotate(90)]),
        "GIF: 1 further picture",
    ),
    "avif, picture": (avif(infe(2, b"av01")), "a further picture"),
    "avif, thumbnail": (avif(infe(2, b"av01"), links=iref((b"thmb", 2, (1,)))), "thumbnail"),
    "avif, depth": (
        avif(infe(2, b"av01"), links=iref((b"auxl", 2, (1,))), properties=AUX),
        "auxiliary picture 'urn:mpeg:mpegB:cicp:depth'",
    ),
    "avif, unnamed auxiliary": (avif(infe(2, b"av01"), links=iref((b"auxl", 2, (1,)))), "auxiliary picture ''"),
    "avif, part": (avif(infe(2, b"priv")), "item of kind 'priv'"),
    "avif, text": (avif(infe(2, b"mime", b"note")), "XMP or other text"),
    "avif, property": (
        avif(properties=iprp(box(b"ipma", bytes(4), 0, 0), box(b"udes", b"by Jane"))),
        "property 'udes'",
    ),
    "avif, meta box": (heif(pitm(1), iinf(infe(1, b"av01")), box(b"xml ", b"Jane", 0, 0)), "meta box 'xml '"),
    "avif, handler": (
        heif(box(b"hdlr", bytes(20) + b"Jane\0", 0, 0), pitm(1), iinf(infe(1, b"av01"))),
        "handler's name: 'Jane",
    ),
    "avif, before exif": (
        avif(infe(2, b"Exif"), place=struct.pack(">I", 4) + b"Jane" + EXIF),
        "bytes before the EXIF: 'Jane'",
    ),
}


@pytest.mark.parametrize("name", RARE)
def test_rare_places_are_looked_at(name: str) -> None:
    data, line = RARE[name]
    assert any(one.startswith(line) for one in find_leftovers(data)), find_leftovers(data)


@pytest.mark.parametrize(
    "data",
    [
        avif(),
        avif(infe(2, b"av01"), links=iref((b"auxl", 2, (1,))), properties=ALPHA),
        avif(infe(2, b"Exif"), place=struct.pack(">I", 6) + b"Exif\0\0" + EXIF),
        avif(infe(2, b"Exif"), place=struct.pack(">I", 0) + EXIF),
        heif(pitm(1), iinf(infe(1, b"grid"), infe(2, b"av01")), iref((b"dimg", 1, (2,)))),
    ],
    ids=["one picture", "alpha", "EXIF", "EXIF without its prefix", "tiles"],
)
def test_parts_that_may_be_there_are_not_named(data: bytes) -> None:
    assert find_leftovers(data) == []


@pytest.mark.parametrize(
    "data", [b"", b"text", b"PK\x03\x04" + bytes(50), EIGHT_BIT["jpeg"][:100], EIGHT_BIT["png"][:80]]
)
def test_unreadable_files_say_so(data: bytes) -> None:
    found = find_leftovers(data)
    assert len(found) == 1
    assert found[0].startswith("not readable")


def test_a_second_tiff_page_is_found() -> None:
    pages = [Image.fromarray(RGB), Image.fromarray(RGB)]
    out = io.BytesIO()
    pages[0].save(out, "TIFF", save_all=True, append_images=pages[1:])
    assert "TIFF page 2" in find_leftovers(out.getvalue())


def test_dropped_parts_are_noted() -> None:
    assert any("after the picture" in n for n in read_photo_bytes(SOILED["jpeg"][0], "p.jpg").notes)
    assert any("after the picture" in n for n in read_photo_bytes(SOILED["png"][0], "p.png").notes)


def test_an_output_that_would_leak_is_withheld() -> None:
    photo = read_photo_bytes(EIGHT_BIT["png"], "photo.png")
    spoiled = replace(photo, kept=replace(photo.kept, icc_profile=PROFILE))
    with pytest.raises(ImageError, match="the output would contain disallowed metadata: colour profile"):
        encode_photo(spoiled, photo.image_rgb, np.zeros(RGB.shape[:2], bool))


def test_the_audit_reaches_no_writer():
    """It must not share a fault with what it checks: it imports parsers and texts only."""
    code = "import sys, styleid.media.audit; print(*sorted(m for m in sys.modules if m.startswith('styleid.media.')))"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    modules = ("audit", "jpeg_audit", "leftovers", "containers", "counts", "formats.parse", "provenance")
    allowed = tuple(f"styleid.media.{name}" for name in modules)
    assert [name for name in printed if not name.startswith(allowed) and name != "styleid.media.formats"] == []
