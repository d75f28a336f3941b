"""Writing: same format, depth and quality, and the same pixels outside the region."""

import io
from dataclasses import replace

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from styleid.errors import ImageError
from styleid.media.audit import find_leftovers
from styleid.media.formats.raster import Layout, luma
from styleid.media.image import encode_photo, read_photo_bytes
from styleid.media.views import smoothed
from tests.media import samples
from tests.media.test_read import EIGHT_BIT, GREY, ORIENTED, RGB, RGBA, exif_only

pytestmark = pytest.mark.versions

DEEP = samples.noise(dtype=np.uint16)
DEEP_GREY = samples.noise(channels=1, dtype=np.uint16)
DEEP_RGBA = samples.noise(channels=4, dtype=np.uint16)
DEEP_PAIR = samples.noise(channels=2, dtype=np.uint16)
INDEXED = Image.fromarray(RGB).quantize(30)


def png_samples(data: bytes) -> np.ndarray:
    return samples.read_png(data)[0]


def tiff_samples(data: bytes) -> np.ndarray:
    return tifffile.imread(io.BytesIO(data))


def opencv_samples(data: bytes) -> np.ndarray:
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert found is not None
    return found


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def shown(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


LOSSLESS = {
    "png": (samples.pillow(RGB, "PNG"), png_samples),
    "png grey": (samples.pillow(GREY, "PNG"), png_samples),
    "png 1 bit": (samples.png(GREY >> 7, 1, 0), png_samples),
    "png 2 bit": (samples.png(GREY >> 6, 2, 0), png_samples),
    "png 4 bit": (samples.png(GREY >> 4, 4, 0), png_samples),
    "png grey alpha": (samples.png(RGBA[..., 2:], 8, 4), png_samples),
    "png alpha": (samples.png(RGBA, 8, 6), png_samples),
    "png 16 grey": (samples.png(DEEP_GREY, 16, 0), png_samples),
    "png 16 grey alpha": (samples.png(DEEP_PAIR, 16, 4), png_samples),
    "png 16": (samples.png(DEEP, 16, 2), png_samples),
    "png 16 alpha": (samples.png(DEEP_RGBA, 16, 6), png_samples),
    "tiff": (samples.tiff(RGB, photometric="rgb"), tiff_samples),
    "tiff lzw": (samples.pillow(RGB, "TIFF", compression="tiff_lzw"), shown),
    "tiff grey": (samples.tiff(GREY, photometric="minisblack", compression="zlib"), tiff_samples),
    "tiff white is zero": (samples.tiff(GREY, photometric="miniswhite"), tiff_samples),
    "tiff 16": (samples.tiff(DEEP, photometric="rgb", compression="zlib", predictor=True), tiff_samples),
    "tiff 16 big-endian": (samples.tiff(DEEP, photometric="rgb", byteorder=">"), tiff_samples),
    "tiff 16 big": (samples.tiff(DEEP, photometric="rgb", bigtiff=True), tiff_samples),
    "tiff 16 grey": (samples.tiff(DEEP_GREY, photometric="minisblack"), tiff_samples),
    "tiff 16 alpha": (samples.tiff(DEEP_RGBA, photometric="rgb", extrasamples=["unassalpha"]), tiff_samples),
    "tiff 16 lzw": (samples.opencv(DEEP, ".tif"), opencv_samples),
    "tiff 16 lzw alpha": (samples.opencv(DEEP_RGBA, ".tif"), opencv_samples),
    "tiff grey alpha": (
        samples.tiff(RGBA[..., 2:], photometric="minisblack", extrasamples=["unassalpha"]),
        tiff_samples,
    ),
    "tiff 1 bit": (samples.pillow(GREY, "TIFF", "1"), tiff_samples),
    "tiff cmyk": (samples.tiff(RGBA, photometric="separated"), tiff_samples),
    "tiff 16 cmyk": (samples.tiff(DEEP_RGBA, photometric="separated"), tiff_samples),
    "tiff packbits": (samples.pillow(RGB, "TIFF", compression="packbits"), tiff_samples),
    "tiff jpeg": (samples.pillow(RGB, "TIFF", compression="jpeg"), shown),
    "webp lossless": (samples.pillow(RGB, "WEBP", lossless=True), shown),
    "webp lossless alpha": (samples.pillow(RGBA, "WEBP", lossless=True, exact=True), shown),
    "bmp": (samples.pillow(RGB, "BMP"), shown),
    "bmp grey": (samples.pillow(GREY, "BMP"), shown),
    "bmp 1 bit": (samples.pillow(GREY, "BMP", "1"), shown),
    "png palette": (samples.pillow(INDEXED, "PNG"), shown),
    "png palette 4 bit": (samples.pillow(Image.fromarray(RGB).quantize(12), "PNG", bits=4), shown),
    "png palette alpha": (samples.pillow(INDEXED, "PNG", transparency=bytes(range(0, 240, 8))), shown),
    "tiff palette": (samples.pillow(INDEXED, "TIFF"), shown),
    "bmp palette": (samples.pillow(INDEXED, "BMP"), shown),
    "gif": (samples.pillow(INDEXED, "GIF"), shown),
    "jxl": (samples.pillow(RGB, "JXL", lossless=True), shown),
    "jxl grey": (samples.pillow(GREY, "JXL", lossless=True), shown),
    "jxl 16 grey": (samples.pillow(samples.smooth(channels=1, dtype=np.uint16), "JXL", lossless=True), opened),
    "jxl alpha": (samples.pillow(RGBA, "JXL", lossless=True), shown),
    "jxl grey alpha": (samples.pillow(RGBA[..., 2:], "JXL", lossless=True), shown),
    "gif transparent": (samples.pillow(INDEXED, "GIF", transparency=3), shown),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_without_a_region_is_identical(name: str) -> None:
    data, read = LOSSLESS[name]
    photo = read_photo_bytes(data, "photo")
    out = encode_photo(photo, np.zeros_like(photo.image_rgb), np.zeros(photo.image_rgb.shape[:2], bool))
    assert np.array_equal(read(out), read(data))
    assert read(out).dtype == read(data).dtype
    again = read_photo_bytes(out, "photo")
    assert (again.format, again.raster.layout, again.raster.bits) == (
        photo.format,
        photo.raster.layout,
        photo.raster.bits,
    )
    assert np.array_equal(again.raster.samples, photo.raster.samples)
    assert find_leftovers(out, "strip") == []


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_changes_the_region_only(name: str) -> None:
    data, read = LOSSLESS[name]
    photo = read_photo_bytes(data, "photo")
    mask = samples.region(photo.image_rgb.shape)
    new = samples.smooth(seed=7)
    out = encode_photo(photo, new, mask)
    before, after = read(data), read(out)
    assert np.array_equal(before[~mask], after[~mask])
    again = read_photo_bytes(out, "photo")
    if photo.raster.layout is not Layout.PALETTE:
        assert (again.raster.layout, again.raster.bits) == (photo.raster.layout, photo.raster.bits)
    if photo.raster.layout in (Layout.GREY_ALPHA, Layout.RGB_ALPHA):
        assert np.array_equal(photo.raster.samples[~mask, -1], again.raster.samples[~mask, -1])
    expected = np.repeat(luma(new)[..., None], 3, axis=2) if photo.is_grey else new
    error = np.abs(again.image_rgb.astype(int) - expected)[mask]
    if photo.raster.bits >= 8 and photo.raster.layout is not Layout.CMYK and photo.format != "GIF":
        assert error.max() == 0
    elif photo.raster.bits < 8:
        assert error.max() <= 255 / ((1 << photo.raster.bits) - 1) / 2 + 1
    else:
        changed = again.image_rgb[mask].astype(int)
        assert np.abs(changed - expected[mask]).mean() < (12 if photo.format == "GIF" else 1.5)
    assert find_leftovers(out, "strip") == []


def test_unchanged_pixels_of_a_region_keep_their_low_bits() -> None:
    photo = read_photo_bytes(samples.png(DEEP, 16, 2), "photo")
    new = photo.image_rgb.copy()
    new[10:12, 10:12] ^= 255
    out = png_samples(encode_photo(photo, new, np.ones(new.shape[:2], bool)))
    kept = np.ones(new.shape[:2], bool)
    kept[10:12, 10:12] = False
    assert np.array_equal(out[kept], DEEP[kept])
    assert np.array_equal(out[~kept], new[~kept].astype(np.uint16) * 257)


def test_what_lies_outside_comes_from_the_photo_not_from_the_image() -> None:
    for name in ("png", "jpeg", "webp", "avif", "heic", "jxl", "gif", "bmp", "tiff"):
        photo = read_photo_bytes(EIGHT_BIT[name], name)
        mask = np.zeros(photo.image_rgb.shape[:2], bool)
        out = read_photo_bytes(encode_photo(photo, np.zeros_like(photo.image_rgb), mask), name)
        assert np.abs(out.image_rgb.astype(int) - photo.image_rgb).mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ORIENTED)
def test_orientation_is_stored_the_same_way(kind: str, orientation: int) -> None:
    data = ORIENTED[kind](orientation)
    photo = read_photo_bytes(data, "photo")
    mask = samples.region(photo.image_rgb.shape)
    new = np.where(mask[..., None], 255 - photo.image_rgb, photo.image_rgb)
    out = encode_photo(photo, new, mask)
    before, after = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(out))
    assert before.size == after.size
    assert samples.orientation_of(before) == samples.orientation_of(after) == orientation
    again = read_photo_bytes(out, "photo")
    error = np.abs(again.image_rgb.astype(int) - new)
    assert error.max() == 0 if kind in ("png", "webp", "tiff") else error.mean() < 4
    assert find_leftovers(out, "strip") == []


def test_a_premultiplied_tiff_stays_so() -> None:
    alpha = np.tile(np.linspace(40, 250, RGB.shape[1]).astype(np.uint8), (len(RGB), 1))
    colours = (RGB.astype(np.uint16) * alpha[..., None] // 255).astype(np.uint8)
    data = samples.tiff(np.dstack([colours, alpha]), photometric="rgb", extrasamples=["assocalpha"])
    photo = read_photo_bytes(data, "photo")
    mask = samples.region(RGB.shape)
    out = tiff_samples(encode_photo(photo, np.full_like(RGB, 255), mask))
    assert np.array_equal(out[~mask], tiff_samples(data)[~mask])
    assert np.array_equal(out[mask][:, :3], np.repeat(alpha[mask][:, None], 3, axis=1))
    with tifffile.TiffFile(io.BytesIO(encode_photo(photo, RGB, mask))) as file:
        assert file.pages[0].extrasamples == (tifffile.EXTRASAMPLE.ASSOCALPHA,)


@pytest.mark.parametrize("bits", [8, 16])
def test_no_new_pixel_becomes_transparent_by_colour_key(bits: int) -> None:
    dtype = np.uint16 if bits == 16 else np.uint8
    array = samples.noise(dtype=dtype)
    array[0, 0] = key = (10 * (257 if bits == 16 else 1),) * 3
    chunk = samples.png_chunk(b"tRNS", np.array(key, ">u2").tobytes())
    photo = read_photo_bytes(samples.png(array, bits, 2, chunk), "photo")
    out = encode_photo(photo, np.full_like(photo.image_rgb, 10), np.ones(array.shape[:2], bool))
    found, _, _, chunks = samples.read_png(out)
    assert chunks[b"tRNS"] == np.array(key, ">u2").tobytes()
    transparent = (found == np.array(key)).all(axis=2)
    assert np.array_equal(transparent, (array == np.array(key)).all(axis=2))
    assert np.abs(found.astype(int) - key).max() <= 1


def test_a_palette_is_kept_where_nothing_changed_and_given_up_where_something_did() -> None:
    photo = read_photo_bytes(samples.pillow(INDEXED, "PNG", bits=8), "photo")
    everything = np.ones(RGB.shape[:2], bool)
    same = encode_photo(photo, photo.image_rgb, everything)
    assert Image.open(io.BytesIO(same)).mode == "P"
    assert Image.open(io.BytesIO(encode_photo(photo, 255 - photo.image_rgb, everything))).mode == "RGB"


def test_a_full_gif_palette_still_takes_new_colours() -> None:
    photo = read_photo_bytes(samples.pillow(Image.fromarray(samples.noise(90, 90)).quantize(256), "GIF"), "photo.gif")
    mask = np.zeros((90, 90), bool)
    mask[:45] = True
    new = samples.smooth(90, 90, seed=3)
    out = read_photo_bytes(encode_photo(photo, new, mask), "photo.gif")
    assert np.array_equal(out.image_rgb[~mask], photo.image_rgb[~mask])
    assert np.abs(out.image_rgb.astype(int) - new)[mask].mean() < 20


def test_a_grey_gif_stays_grey() -> None:
    photo = read_photo_bytes(EIGHT_BIT["gif grey"], "photo.gif")
    out = read_photo_bytes(encode_photo(photo, RGB, np.ones(RGB.shape[:2], bool)), "photo.gif").image_rgb
    assert (out == out[..., :1]).all()
    assert np.abs(out[..., 0].astype(int) - luma(RGB)).max() <= 2


PHOTO = samples.smooth(200, 300)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [35, 75, 92, 100])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_keeps_tables_subsampling_and_size(subsampling: int, quality: int, progressive: bool) -> None:
    data = samples.pillow(PHOTO, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive)
    photo = read_photo_bytes(data, "photo.jpg")
    out = encode_photo(photo, photo.image_rgb, np.zeros(PHOTO.shape[:2], bool))
    before, after = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(out))
    assert [after.quantization[c[3]] for c in after.layer] == [before.quantization[c[3]] for c in before.layer]
    assert [c[:3] for c in after.layer] == [c[:3] for c in before.layer]
    assert after.info.get("progressive") == before.info.get("progressive")
    assert len(out) < 1.03 * len(data)
    assert cv2.PSNR(np.asarray(after.convert("RGB")), photo.image_rgb) > 40


def test_jpeg_optimised_tables_stay_optimised() -> None:
    plain, tuned = (samples.pillow(PHOTO, "JPEG", quality=90, optimize=o) for o in (False, True))
    assert len(tuned) < len(plain)
    for data in (plain, tuned):
        photo = read_photo_bytes(data, "photo.jpg")
        out = encode_photo(photo, photo.image_rgb, np.zeros(PHOTO.shape[:2], bool))
        assert abs(len(out) - len(data)) < 0.02 * len(data)


def test_jpeg_of_the_finest_noise_fits_its_buffer(capfd: pytest.CaptureFixture[str]) -> None:
    data = samples.pillow(samples.noise(700, 700), "JPEG", qtables=[[2] * 64], subsampling=0)
    for progressive in (b"\xff\xc0", b"\xff\xc2"):
        if progressive == b"\xff\xc2":
            photo = read_photo_bytes(data, "photo.jpg")
            from dataclasses import replace

            photo = replace(photo, encoding=replace(photo.encoding, progressive=True))
            data = encode_photo(photo, photo.image_rgb, np.zeros((700, 700), bool))
        assert progressive in data
    photo = read_photo_bytes(data, "photo.jpg")
    assert b"\xff\xc2" in encode_photo(photo, photo.image_rgb, np.zeros((700, 700), bool))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("sampling", [0x41, 0x12, 0x11])
def test_jpeg_of_rarer_sampling(sampling: int) -> None:
    name = {0x41: "411", 0x12: "440", 0x11: "444"}[sampling]
    factor = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{name}")
    done, found = cv2.imencode(".jpg", PHOTO, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor])
    assert done
    photo = read_photo_bytes(found.tobytes(), "photo.jpg")
    out = encode_photo(photo, photo.image_rgb, np.zeros(PHOTO.shape[:2], bool))
    assert cv2.PSNR(read_photo_bytes(out, "photo.jpg").image_rgb, photo.image_rgb) > 40
    assert len(out) < 1.5 * len(found)


def test_jpeg_grey_and_rgb_coded_stay_so() -> None:
    for name, mode in (("jpeg grey", "L"), ("jpeg rgb-coded", "RGB")):
        photo = read_photo_bytes(EIGHT_BIT[name], "photo.jpg")
        out = Image.open(io.BytesIO(encode_photo(photo, RGB, np.ones(RGB.shape[:2], bool))))
        assert out.mode == mode
        assert ("adobe_transform" in out.info) == (name == "jpeg rgb-coded")
        expected = luma(RGB) if mode == "L" else RGB
        assert np.abs(np.asarray(out).astype(int) - expected).mean() < 8


@pytest.mark.parametrize("orientation", [1, 6])
def test_jpeg_of_three_tables(orientation: int) -> None:
    tables = [[4] * 64, [9] * 64, [17] * 64]
    data = samples.pillow(PHOTO, "JPEG", qtables=tables, exif=b"Exif\0\0" + exif_only(orientation))
    photo = read_photo_bytes(data, "photo.jpg")
    out = Image.open(io.BytesIO(encode_photo(photo, photo.image_rgb, samples.region(photo.image_rgb.shape))))
    assert [list(out.quantization[c[3]]) for c in out.layer] == tables


@pytest.mark.parametrize("quality", [10, 40, 60, 80, 90, 100])
@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
def test_webp_and_avif_keep_quality_and_size(kind: str, quality: int) -> None:
    data = samples.pillow(PHOTO, kind, quality=quality)
    photo = read_photo_bytes(data, "photo")
    out = encode_photo(photo, photo.image_rgb, np.zeros(PHOTO.shape[:2], bool))
    assert 0.6 * len(data) < len(out) < 1.15 * len(data) + 64
    again = read_photo_bytes(out, "photo")
    assert cv2.PSNR(again.image_rgb, photo.image_rgb) > cv2.PSNR(photo.image_rgb, PHOTO) - 1


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("range_", ["full", "limited"])
def test_avif_keeps_its_sampling_and_range(subsampling: str, range_: str) -> None:
    photo = read_photo_bytes(samples.pillow(PHOTO, "AVIF", subsampling=subsampling, range=range_), "photo.avif")
    out = encode_photo(photo, photo.image_rgb, np.zeros(PHOTO.shape[:2], bool))
    assert read_photo_bytes(out, "photo.avif").encoding == photo.encoding
    assert (photo.encoding.subsampling, photo.encoding.full_range) == (subsampling, range_ == "full")


def test_avif_keeps_other_colour_points() -> None:
    data = samples.pillow(PHOTO, "AVIF")
    at = data.index(b"colrnclx") + 8
    wide = data[:at] + b"\0\x0c\0\x10" + data[at + 4 :]
    photo = read_photo_bytes(wide, "photo.avif")
    assert photo.encoding.points == (12, 16)
    out = encode_photo(photo, photo.image_rgb, np.zeros(PHOTO.shape[:2], bool))
    assert read_photo_bytes(out, "photo.avif").encoding.points == (12, 16)


@pytest.mark.skipif(not cv2.haveImageWriter(".avif"), reason="this build of OpenCV cannot make the file: 4.11 can")
def test_deep_avif_is_noted() -> None:
    deep = PHOTO.astype(np.uint16) * 4
    done, found = cv2.imencode(".avif", deep, [cv2.IMWRITE_AVIF_DEPTH, 10])
    assert done
    assert any("8 bits" in note or "with 8" in note for note in read_photo_bytes(found.tobytes(), "photo.avif").notes)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_compression_is_not_given_up(kind: str) -> None:
    options = {"TIFF": {"compression": "tiff_lzw"}, "PNG": {"compress_level": 9}}.get(kind, {})
    data = samples.pillow(PHOTO, kind, **options)
    photo = read_photo_bytes(data, "photo")
    assert len(encode_photo(photo, photo.image_rgb, np.zeros(PHOTO.shape[:2], bool))) < 1.05 * len(data) + 100


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP"])
def test_density_is_kept(kind: str) -> None:
    data = samples.pillow(RGB, kind, dpi=(300, 150))
    photo = read_photo_bytes(data, "photo")
    out = Image.open(io.BytesIO(encode_photo(photo, RGB, np.zeros(RGB.shape[:2], bool))))
    assert np.allclose(tuple(map(float, out.info["dpi"])), (300, 150), atol=0.05)


def test_density_from_exif_and_pixel_aspect() -> None:
    exif = Image.Exif()
    exif[282], exif[283], exif[296] = 240.0, 240.0, 2
    data = samples.pillow(RGB, "JPEG", exif=exif)
    photo = read_photo_bytes(data, "photo.jpg")
    out = Image.open(io.BytesIO(encode_photo(photo, RGB, np.zeros(RGB.shape[:2], bool))))
    assert out.info["dpi"] == (240, 240)
    wide = data.replace(b"JFIF\0\x01\x01\0\0\x01\0\x01", b"JFIF\0\x01\x01\0\0\x02\0\x01")
    photo = read_photo_bytes(wide, "photo.jpg")
    assert b"JFIF\0\x01\x01\0\0\x02\0\x01" in encode_photo(photo, RGB, np.zeros(RGB.shape[:2], bool))


@pytest.mark.parametrize("profile", [None, samples.cmyk_profile()], ids=["plain", "profile"])
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_stays_cmyk(kind: str, profile: bytes | None) -> None:
    inks = np.asarray(Image.fromarray(PHOTO).convert("CMYK")).copy()
    inks[..., 3] = inks[..., :3].min(axis=2) // 2
    options = {"quality": 98} if kind == "JPEG" else {}
    data = samples.pillow(Image.fromarray(inks, "CMYK"), kind, icc_profile=profile, **options)
    photo = read_photo_bytes(data, "photo")
    stored = np.asarray(Image.open(io.BytesIO(data)))
    if profile is None:
        light = 255 - stored.astype(float)
        expected = light[..., :3] * light[..., 3:] / 255
        assert np.abs(photo.image_rgb - expected).max() <= 1
    else:
        srgb = ImageCms.createProfile("sRGB")
        inks_profile = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
        proof = ImageCms.profileToProfile(Image.open(io.BytesIO(data)), inks_profile, srgb,
                                          ImageCms.Intent.RELATIVE_COLORIMETRIC, "RGB", flags=flags)  # fmt: skip
        assert proof is not None
        assert np.array_equal(photo.image_rgb, np.asarray(proof))
    mask = samples.region(PHOTO.shape)
    new = np.clip(photo.image_rgb.astype(int) + 25, 30, 225).astype(np.uint8)
    out = encode_photo(photo, new, mask)
    image = Image.open(io.BytesIO(out))
    assert image.mode == "CMYK"
    assert (image.info.get("icc_profile") is None) == (profile is None)
    outside = np.abs(np.asarray(image).astype(int) - stored)[~mask]
    assert outside.max() == 0 if kind == "TIFF" else outside.mean() < 2
    again = read_photo_bytes(out, "photo").image_rgb
    assert np.abs(again.astype(int) - new)[mask].mean() < (6 if profile else 3)
    assert find_leftovers(out, "strip") == []


def test_ycck_is_read_and_noted() -> None:
    data = bytearray(samples.pillow(RGBA, "JPEG", "CMYK", quality=95))
    at = bytes(data).index(b"Adobe") + 11
    data[at] = 2
    photo = read_photo_bytes(bytes(data), "photo.jpg")
    assert "YCCK was written as plain CMYK" in photo.notes
    out = encode_photo(photo, photo.image_rgb, np.zeros(RGB.shape[:2], bool))
    assert np.abs(read_photo_bytes(out, "photo.jpg").image_rgb.astype(int) - photo.image_rgb).mean() < 2


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("image", "mask", "metadata", "words"),
    [
        (RGB[:-1], np.zeros(RGB.shape[:2], bool), "strip", "image_rgb must be"),
        (RGB.astype(np.float32), np.zeros(RGB.shape[:2], bool), "strip", "float32"),
        (RGB, np.zeros(RGB.shape, bool), "strip", "region_mask must be"),
        (RGB, np.zeros(RGB.shape[:2], np.uint8), "strip", "uint8"),
        (RGB, np.zeros(RGB.shape[:2], bool), "keep", '"strip" or "safe"'),
    ],
)
def test_wrong_arguments(image, mask, metadata, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        encode_photo(read_photo_bytes(EIGHT_BIT["png"], "photo.png"), image, mask, metadata)


def test_transparent_pixels_of_a_gif_stay_transparent() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([1, 2, 3])
    photo = read_photo_bytes(samples.pillow(image, "GIF", transparency=0), "photo.gif")
    out = encode_photo(photo, np.full((4, 4, 3), 200, np.uint8), np.ones((4, 4), bool))
    assert np.asarray(Image.open(io.BytesIO(out)).convert("RGBA"))[..., 3].max() == 0


def test_pixels_that_a_format_cannot_hold_are_an_error_with_the_files_name() -> None:
    photo = read_photo_bytes(samples.pillow(RGB, "WEBP", lossless=True), "photo.webp")
    wide = replace(photo, raster=replace(photo.raster, samples=np.zeros((1, 20_000, 3), np.uint8)))
    with pytest.raises(ImageError, match=r"photo\.webp: its new pixels cannot be encoded as WebP"):
        encode_photo(wide, photo.image_rgb, np.zeros(RGB.shape[:2], bool))


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("image", "mask", "metadata", "says"),
    [
        (RGB[1:], np.zeros(RGB.shape[:2], bool), "strip", "image_rgb must be uint8"),
        (RGB.astype(np.float32), np.zeros(RGB.shape[:2], bool), "strip", "not float32"),
        (RGB, np.zeros(RGB.shape[:2], np.uint8), "strip", "region_mask must be bool"),
        (RGB, np.zeros((3, 3), bool), "strip", "region_mask must be bool"),
        (RGB, np.zeros(RGB.shape[:2], bool), "all", 'metadata must be "strip" or "safe"'),
    ],
)
def test_arrays_that_do_not_fit_are_refused(image, mask, metadata, says) -> None:
    with pytest.raises(ValueError, match=says):
        encode_photo(read_photo_bytes(samples.pillow(RGB, "PNG"), "photo.png"), image, mask, metadata)


def test_transparency_that_draws_a_picture_cannot_be_hidden_in_a_gif() -> None:
    dots = Image.fromarray(samples.noise(64, 64, channels=1) & 1)
    dots.putpalette([200, 10, 10, 10, 10, 200])
    photo = read_photo_bytes(samples.pillow(dots, "GIF", transparency=1), "photo.gif")
    with pytest.raises(ImageError, match=r"photo\.gif: its transparent pixels may show a face, which cannot be hidden"):
        encode_photo(photo, photo.image_rgb, np.ones((64, 64), bool))


@pytest.mark.parametrize("faces", [False, True])
def test_a_screen_keeps_its_two_colours(faces: bool) -> None:
    dots = (samples.noise(64, 64, channels=1) > 100).astype(np.uint8) * 255
    photo = smoothed(read_photo_bytes(samples.pillow(dots, "PNG"), "fax.png"), 2.0)
    mask = samples.region((64, 64))
    new = np.where(mask[..., None], np.uint8(20), photo.image_rgb)
    again = read_photo_bytes(encode_photo(photo, new, mask, faces_mask=mask if faces else None), "fax.png")
    assert set(np.unique(again.image_rgb)) <= {0, 255}
    assert np.array_equal(again.image_rgb[~mask, 0], dots[~mask])
    assert again.image_rgb[mask].mean() < 60 < dots[mask].mean()
