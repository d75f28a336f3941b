"""Reading: upright pixels, notes, and refused files with the reason."""

import errno
import io
import os
import socket
import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from styleid.errors import ImageError
from styleid.media.formats.raster import Layout
from styleid.media.image import Photo, read_photo, read_photo_bytes
from tests.media import samples

pytestmark = pytest.mark.versions

RGB = samples.smooth()
GREY = samples.smooth(channels=1)
RGBA = np.dstack([RGB, samples.noise(channels=1)])
DEEP = samples.smooth(dtype=np.uint16)


def seen(data: bytes) -> np.ndarray:
    """What Pillow shows, upright, without alpha."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    return np.asarray(image.convert("RGB"))


EIGHT_BIT = {
    "jpeg": samples.pillow(RGB, "JPEG", quality=92),
    "jpeg progressive": samples.pillow(RGB, "JPEG", progressive=True),
    "jpeg grey": samples.pillow(GREY, "JPEG"),
    "jpeg rgb-coded": samples.pillow(RGB, "JPEG", keep_rgb=True),
    "png": samples.pillow(RGB, "PNG"),
    "png grey": samples.pillow(GREY, "PNG"),
    "png bilevel": samples.pillow(GREY, "PNG", "1"),
    "png palette": samples.pillow(Image.fromarray(RGB).quantize(30), "PNG"),
    "png alpha": samples.pillow(RGBA, "PNG"),
    "png grey alpha": samples.pillow(RGBA[..., 2:], "PNG"),
    "webp": samples.pillow(RGB, "WEBP"),
    "webp lossless": samples.pillow(RGB, "WEBP", lossless=True),
    "webp alpha": samples.pillow(RGBA, "WEBP", lossless=True, exact=True),
    "tiff": samples.pillow(RGB, "TIFF", compression="tiff_lzw"),
    "tiff fax": samples.pillow(GREY, "TIFF", "1", compression="group4"),
    "tiff jpeg": samples.pillow(RGB, "TIFF", compression="jpeg"),
    "bmp": samples.pillow(RGB, "BMP"),
    "bmp grey": samples.pillow(GREY, "BMP"),
    "bmp palette": samples.pillow(Image.fromarray(RGB).quantize(30), "BMP"),
    "gif": samples.pillow(Image.fromarray(RGB).quantize(30), "GIF"),
    "gif grey": samples.pillow(GREY, "GIF"),
    "gif interlaced": samples.pillow(Image.fromarray(RGB).quantize(30), "GIF", interlace=1),
    "avif": samples.pillow(RGB, "AVIF"),
    "avif grey": samples.pillow(GREY, "AVIF"),
    "avif alpha": samples.pillow(RGBA, "AVIF"),
    "heic": samples.heic(RGB),
    "heic grey": samples.heic(GREY),
    "heic alpha": samples.heic(RGBA),
    "jxl": samples.pillow(RGB, "JXL"),
    "jxl grey": samples.pillow(GREY, "JXL", quality=95),
    "jxl lossless alpha": samples.pillow(RGBA, "JXL", lossless=True),
}


@pytest.mark.parametrize("name", EIGHT_BIT)
def test_pixels_are_those_that_pillow_shows(name: str) -> None:
    photo = read_photo_bytes(EIGHT_BIT[name], "photo")
    assert photo.image_rgb.dtype == np.uint8
    assert np.array_equal(photo.image_rgb, seen(EIGHT_BIT[name]))
    assert not photo.image_rgb.flags.writeable


def exif_only(orientation: int) -> bytes:
    return samples.exif(orientation, secret=False)


ORIENTED = {
    "jpeg": lambda o: samples.pillow(RGB, "JPEG", exif=b"Exif\0\0" + exif_only(o), subsampling=0, quality=98),
    "png": lambda o: samples.pillow(RGB, "PNG", exif=exif_only(o)),
    "webp": lambda o: samples.pillow(RGB, "WEBP", exif=exif_only(o), lossless=True),
    "tiff": lambda o: samples.pillow(RGB, "TIFF", tiffinfo={274: o}),
    "avif": lambda o: samples.pillow(RGB, "AVIF", exif=exif_only(o), quality=95),
    "heic": lambda o: samples.heic(RGB, exif=b"Exif\0\0" + exif_only(o), quality=90, chroma=444),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ORIENTED)
def test_orientation_is_applied(kind: str, orientation: int) -> None:
    data = ORIENTED[kind](orientation)
    photo = read_photo_bytes(data, "photo")
    assert photo.orientation == orientation
    assert np.array_equal(photo.image_rgb, seen(data))
    assert photo.image_rgb.shape[:2] == (RGB.shape[:2] if orientation < 5 else RGB.shape[1::-1])


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_impossible_orientation_counts_as_upright(orientation: int) -> None:
    assert read_photo_bytes(ORIENTED["png"](orientation), "photo").orientation == 1


def test_a_damaged_exif_block_does_not_stop_the_picture() -> None:
    for exif in (b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\xff", b"Exif\0\0" + samples.exif(6)[:40], b"Exif\0\0" + bytes(50)):
        data = samples.with_jpeg_segments(samples.pillow(RGB, "JPEG"), samples.jpeg_segment(0xE1, exif))
        assert read_photo_bytes(data, "photo").orientation in (1, 6)


@pytest.mark.parametrize(
    ("data", "layout", "bits"),
    [
        (samples.png(samples.noise(channels=1) & 3, 2, 0), Layout.GREY, 2),
        (samples.png(samples.noise(channels=1) & 15, 4, 0), Layout.GREY, 4),
        (samples.png(samples.noise(channels=1, dtype=np.uint16), 16, 0), Layout.GREY, 16),
        (samples.png(samples.noise(channels=2, dtype=np.uint16), 16, 4), Layout.GREY_ALPHA, 16),
        (samples.opencv(DEEP, ".png"), Layout.RGB, 16),
        (samples.png(samples.noise(channels=4, dtype=np.uint16), 16, 6), Layout.RGB_ALPHA, 16),
        (samples.tiff(DEEP, photometric="rgb"), Layout.RGB, 16),
        (samples.tiff(DEEP[..., 0], photometric="minisblack", byteorder=">"), Layout.GREY, 16),
        (EIGHT_BIT["gif"], Layout.PALETTE, 8),
    ],
    ids=str,
)
def test_native_depth_is_kept(data: bytes, layout: Layout, bits: int) -> None:
    photo = read_photo_bytes(data, "photo")
    assert (photo.raster.layout, photo.raster.bits) == (layout, bits)


def test_sixteen_bits_are_rounded_to_eight() -> None:
    photo = read_photo_bytes(samples.opencv(DEEP, ".png"), "photo")
    assert np.array_equal(photo.raster.samples, DEEP)
    assert np.array_equal(photo.image_rgb, np.round(DEEP / 257).astype(np.uint8))


def test_interlaced_png_of_sixteen_bits() -> None:
    grey = samples.smooth(dtype=np.uint16, channels=1)
    whole = read_photo_bytes(interlaced(grey), "photo")
    assert np.array_equal(whole.raster.samples, grey)


def interlaced(grey: np.ndarray) -> bytes:
    """A 16-bit grey PNG in Adam7 order, unfiltered."""
    import zlib

    rows = b""
    for x0, y0, dx, dy in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        rows += b"".join(b"\0" + r.astype(">u2").tobytes() for r in grey[y0::dy, x0::dx] if len(r))
    header = struct.pack(">IIBBBBB", grey.shape[1], grey.shape[0], 16, 0, 0, 0, 1)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(samples.png_chunk(k, b) for k, b in parts)


@pytest.mark.parametrize("inverted", [False, True])
def test_tiff_white_is_zero(inverted: bool) -> None:
    data = samples.tiff(GREY, photometric="miniswhite" if inverted else "minisblack")
    assert np.array_equal(read_photo_bytes(data, "t").image_rgb[..., 0], 255 - GREY if inverted else GREY)


def test_first_picture_of_an_mpo_only() -> None:
    first, second = Image.fromarray(RGB), Image.fromarray(255 - RGB)
    out = io.BytesIO()
    first.save(out, "MPO", save_all=True, append_images=[second])
    photo = read_photo_bytes(out.getvalue(), "photo.jpg")
    assert np.array_equal(photo.image_rgb, seen(out.getvalue()))
    assert any("only the first" in note for note in photo.notes)


@pytest.mark.parametrize(
    ("kind", "suffix", "expected"),
    [("png", ".jpg", "PNG"), ("jpeg", ".png", "JPEG"), ("gif", ".bmp", "GIF"), ("webp", ".JPEG", "WebP")],
)
def test_a_misleading_suffix_is_noted(kind: str, suffix: str, expected: str) -> None:
    photo = read_photo_bytes(EIGHT_BIT[kind], f"photo{suffix}")
    assert photo.format == expected
    assert any("under the same name" in note for note in photo.notes)
    assert read_photo_bytes(EIGHT_BIT["jpeg"], "photo.JPG").notes == ()


def bmp_header(bits: int, compression: int = 0, width: int = 4, height: int = 4) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + head


def animated(kind: str) -> bytes:
    out = io.BytesIO()
    frames = [Image.fromarray(samples.smooth(seed=s)) for s in range(3)]
    frames[0].save(out, kind, save_all=True, append_images=frames[1:], duration=100)
    return out.getvalue()


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def bomb_png() -> bytes:
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + samples.png_chunk(b"IHDR", header)
        + samples.png_chunk(b"IDAT", b"x\x9c\x03\0")
        + (samples.png_chunk(b"IEND", b""))
    )


def bomb_jpeg() -> bytes:
    data = EIGHT_BIT["jpeg"]
    return patched(data, data.index(b"\xff\xc0") + 5, struct.pack(">HH", 65000, 65000))


def tiff_with(tag: int, value: int, data: bytes = EIGHT_BIT["tiff"]) -> bytes:
    """The TIFF with a tag's first value changed, or an unused tag (305, Software) renamed to it."""
    start = struct.unpack_from("<I", data, 4)[0]
    for entry in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], 12):
        if struct.unpack_from("<H", data, entry)[0] == tag:
            return patched(data, entry + 2, struct.pack("<HII", 4, 1, value))
    raise AssertionError(tag)


REFUSED = {
    "empty": (b"", "empty"),
    "text": (b"hello, this is no picture\n" * 20, "text"),
    "html": (b"<!DOCTYPE html><html>404</html>", "web page"),
    "zip": (b"PK\x03\x04" + bytes(100), "ZIP"),
    "pdf": (b"%PDF-1.7\n" + bytes(100), "PDF"),
    "zeros": (bytes(5000), "zeros"),
    "random": (b"\x93\x01" + bytes(range(100)), "begins with"),
    "mp4": (b"\0\0\0\x18ftypisom\0\0\x02\0isommp42" + bytes(50), "video"),
    "heic without pictures": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0\0\0\x0cmeta\0\0\0\0", "names no picture"),
    "raw cr3": (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom" + bytes(50), "raw"),
    "jpeg 2000": (b"\xff\x4f\xff\x51" + bytes(50), "JPEG 2000"),
    "jxl of nothing": (b"\xff\x0a" + bytes(50), "over the limit|cannot be decoded"),
    "ppm": (b"P6 2 2 255\n" + bytes(12), "PPM"),
    "gif animated": (animated("GIF"), "animated GIF of 3"),
    "apng": (animated("PNG"), "animated PNG"),
    "avif animated": (animated("AVIF"), "animated AVIF of 3"),
    "tiff pages": (animated("TIFF"), "3 pages"),
    "png bomb": (bomb_png(), "100000 x 100000"),
    "jpeg bomb": (bomb_jpeg(), "65000 x 65000"),
    "bmp bomb": (bmp_header(24, 0, 60000, 60000), "60000 x 60000"),
    "gif bomb": (b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0;", "65535 x 65535"),
    "tiff bomb": (tiff_with(256, 10_000_000), "10000000 x 37"),
    "tiff no pixels": (tiff_with(256, 0), "0 x 37 pixels"),
    "tiff compression": (tiff_with(259, 34712), "compression"),
    "tiff colour": (tiff_with(262, 8), "colour"),
    "tiff preview first": (samples.tiff(RGB, photometric="rgb", subfiletype=1), "preview"),
    "tiff raw": (samples.tiff(RGB, photometric="rgb", extratags=[(50706, "B", 4, (1, 4, 0, 0), True)]), "raw"),
    "tiff float": (samples.tiff(RGB.astype(np.float32), photometric="rgb"), "floating"),
    "tiff 32 bit": (samples.tiff(RGB.astype(np.uint32), photometric="rgb"), "32"),
    "tiff five channels": (samples.tiff(samples.noise(channels=5), photometric="rgb"), "channels"),
    "jpeg 12 bit": (patched(EIGHT_BIT["jpeg"], EIGHT_BIT["jpeg"].index(b"\xff\xc0") + 4, b"\x0c"), "12 bits"),
    "jpeg lossless": (EIGHT_BIT["jpeg"].replace(b"\xff\xc0", b"\xff\xc3"), "lossless"),
    "png bad depth": (samples.png(GREY, 8, 0).replace(b"\x08\0\0\0\0", b"\x07\0\0\0\0", 1), "depth"),
    "bmp bad depth": (bmp_header(7), "7 bits"),
    "bmp short": (bmp_header(24), "cut short"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_and_why(name: str) -> None:
    data, words = REFUSED[name]
    with pytest.raises(ImageError, match=words) as caught:
        read_photo_bytes(data, "photo.jpg")
    assert str(caught.value.path) == "photo.jpg"


def test_the_limit_is_the_callers() -> None:
    with pytest.raises(ImageError, match="53 x 37 = 0 million pixels, over the limit"):
        read_photo_bytes(EIGHT_BIT["png"], "photo.png", max_pixels=1000)
    for name, data in EIGHT_BIT.items():
        with pytest.raises(ImageError, match="over the limit"):
            read_photo_bytes(data, name, max_pixels=37 * 53 - 1)
        assert isinstance(read_photo_bytes(data, name, max_pixels=37 * 53), Photo)


def test_truncation_set_aside_by_pillow_is_not_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(ImageError, match="LOAD_TRUNCATED_IMAGES"):
        read_photo_bytes(EIGHT_BIT["jpeg"], "photo.jpg")


def test_a_one_frame_animation_is_a_still() -> None:
    still = EIGHT_BIT["webp lossless"]
    frame = bytes(6) + (52).to_bytes(3, "little") + (36).to_bytes(3, "little") + bytes(4) + still[12:]
    body = b"VP8X\x0a\0\0\0\x02\0\0\0" + (52).to_bytes(3, "little") + (36).to_bytes(3, "little")
    body += b"ANIM\x06\0\0\0" + bytes(6) + b"ANMF" + struct.pack("<I", len(frame)) + frame
    data = b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body
    photo = read_photo_bytes(data, "photo.webp")
    assert np.array_equal(photo.image_rgb, RGB)
    assert photo.notes


def test_pyramid_tiff_is_its_first_page() -> None:
    import tifffile

    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        writer.write(RGB, photometric="rgb", metadata=None)
        writer.write(RGB[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
    photo = read_photo_bytes(out.getvalue(), "photo.tif")
    assert np.array_equal(photo.image_rgb, RGB)
    assert photo.notes == ("reduced copies of the picture were left out",)


def test_gif_smaller_than_its_canvas() -> None:
    data = bytearray(EIGHT_BIT["gif"])
    data[6:10] = struct.pack("<HH", 60, 50)
    at = bytes(data).index(b",\0\0\0\0" + struct.pack("<HH", 53, 37))
    data[at + 1 : at + 5] = struct.pack("<HH", 5, 9)
    photo = read_photo_bytes(bytes(data), "photo.gif")
    assert photo.image_rgb.shape == (50, 60, 3)
    assert np.array_equal(photo.image_rgb[9:46, 5:58], seen(EIGHT_BIT["gif"]))
    assert photo.raster.palette is not None
    alphas = photo.raster.palette.alphas
    assert alphas is not None
    assert alphas[photo.raster.samples[0, 0]] == 0


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("top_down", [False, True])
def test_bmp_bitfields(bits: int, top_down: bool) -> None:
    masks = (0xF800, 0x7E0, 0x1F) if bits == 16 else (0xFF, 0xFF00, 0xFF0000)
    rows = samples.noise(4, 4, dtype=np.uint16 if bits == 16 else np.uint32, channels=1)
    head = struct.pack("<IiiHHIIiiII", 40, 4, -4 if top_down else 4, 1, bits, 3, 0, 0, 0, 0, 0) + struct.pack(
        "<3I", *masks
    )
    data = b"BM" + struct.pack("<IHHI", 0, 0, 0, 66) + head + (rows if top_down else rows[::-1]).tobytes()
    photo = read_photo_bytes(data, "photo.bmp")
    for channel, mask in enumerate(masks):
        shift = (mask & -mask).bit_length() - 1
        expected = ((rows & mask) >> shift) * 255 / (mask >> shift)
        assert np.abs(photo.image_rgb[..., channel] - expected).max() <= 0.5


def test_bmp_run_length() -> None:
    head = struct.pack("<IiiHHIIiiII", 40, 4, 2, 1, 8, 1, 0, 0, 0, 2, 0) + bytes([0, 0, 255, 0, 0, 255, 0, 0])
    data = b"BM" + struct.pack("<IHHI", 0, 0, 0, 62) + head + b"\x04\x00\0\0" + b"\x02\x01\x02\x00\0\0\0\x01"
    expected = np.array([[[0, 255, 0]] * 2 + [[255, 0, 0]] * 2, [[255, 0, 0]] * 4], np.uint8)
    assert np.array_equal(read_photo_bytes(data, "photo.bmp").image_rgb, expected)


def test_files_that_cannot_be_read(tmp_path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    cases = {
        "missing.jpg": "no such file",
        "": "is a folder",
        "loop": "a link that points to itself",
        "dangling": "does not exist",
        "pipe": "not a file",
        "x" * 300: "too long",
    }
    for name, words in cases.items():
        with pytest.raises(ImageError, match=words):
            read_photo(tmp_path / name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(ImageError, match="not a file"):
            read_photo(tmp_path / "socket")


def test_reading_without_permission(tmp_path, as_nobody) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(EIGHT_BIT["jpeg"])
    path.chmod(0)
    with as_nobody(), pytest.raises(ImageError, match="not permitted") as caught:
        read_photo(path)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EACCES


def test_a_huge_file_of_another_kind_is_not_read_whole(tmp_path) -> None:
    path = tmp_path / "film.jpg"
    with path.open("wb") as file:
        file.write(b"\0\0\0\x18ftypisom\0\0\x02\0isommp42")
        file.truncate(1 << 40)
    with pytest.raises(ImageError, match="video"):
        read_photo(path)


def test_other_libraries_take_the_read_only_array() -> None:
    image = read_photo_bytes(EIGHT_BIT["jpeg"], "photo.jpg").image_rgb
    assert cv2.resize(image, (10, 10)).shape == (10, 10, 3)
    assert Image.fromarray(image).size == (53, 37)
    with pytest.raises(ValueError, match="read-only"):
        image[0, 0] = 0


def test_a_file_is_read(tmp_path) -> None:
    path = tmp_path / "Photo.JPG"
    path.write_bytes(EIGHT_BIT["jpeg"])
    photo = read_photo(path)
    assert photo.name == str(path)
    assert np.array_equal(photo.image_rgb, seen(EIGHT_BIT["jpeg"]))


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (37, 1), (2, 3), (1, 9000), (3, 20000)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF"])
def test_odd_sizes(kind: str, size: tuple[int, int]) -> None:
    if kind == "WEBP" and max(size) > 16383:
        pytest.skip("WebP ends at 16383 pixels")
    array = samples.smooth(*size)
    data = samples.heic(array, tile_size=512) if kind == "HEIF" else samples.pillow(array, kind)
    assert np.array_equal(read_photo_bytes(data, "photo").image_rgb, seen(data))
