"""Round trips with random sizes, depths, layouts, orientations, profiles and regions."""

import contextlib
import io
import zlib

import numpy as np
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from styleid.errors import ImageError
from styleid.media.audit import find_leftovers
from styleid.media.formats.parse.exif import MetadataMode
from styleid.media.formats.png import packed_rows, unpacked_rows
from styleid.media.formats.raster import stored, upright
from styleid.media.image import encode_photo, read_photo_bytes
from tests.media import samples

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
sides = st.integers(1, 40)
seeds = st.integers(0, 2**16)
PNG_KINDS = [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 2), (3, 4), (3, 8), (4, 8), (4, 16),
             (6, 8), (6, 16)]  # fmt: skip
MAGICS = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x40\0\0\0WEBPVP8 ", b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0",
          b"GIF89a", b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", b"\0\0\0\x18ftypavif", b""]  # fmt: skip


@st.composite
def png_files(draw) -> bytes:
    height, width, seed = draw(sides), draw(sides), draw(seeds)
    colour, bits = draw(st.sampled_from(PNG_KINDS))
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    array = samples.noise(height, width, channels, np.uint16 if bits == 16 else np.uint8, seed)
    if bits < 8:
        array &= (1 << bits) - 1
    chunks = []
    if draw(st.booleans()) and colour not in (0, 4):
        body = b"name of Jane\0\0" + zlib.compress(samples.rgb_profile())
        chunks.append(samples.png_chunk(b"iCCP", body))
    if draw(st.booleans()):
        chunks.append(samples.png_chunk(b"gAMA", (45455).to_bytes(4, "big")))
    if colour == 3:
        entries = 1 << bits
        chunks.append(samples.png_chunk(b"PLTE", samples.noise(entries, 1, 3, seed=seed + 1).tobytes()))
        if draw(st.booleans()):
            alphas = samples.noise(draw(st.integers(1, entries)), 1, 1, seed=seed + 2)
            chunks.append(samples.png_chunk(b"tRNS", alphas.tobytes()))
    elif colour in (0, 2) and draw(st.booleans()):
        chunks.append(samples.png_chunk(b"tRNS", np.array(array[0, 0], ">u2").tobytes()))
    if draw(st.booleans()):
        chunks.append(samples.png_chunk(b"pHYs", bytes([0, 0, 11, 19, 0, 0, 11, 19, 1])))
    if draw(st.booleans()):
        chunks.append(samples.png_chunk(b"eXIf", samples.exif(draw(st.integers(1, 8)))))
    return samples.png(array, bits, colour, *chunks)


@quick
@given(png_files(), st.sampled_from(["strip", "safe"]))
def test_png_round_trip(data: bytes, metadata: MetadataMode) -> None:
    photo = read_photo_bytes(data, "photo.png")
    out = encode_photo(photo, photo.image_rgb, np.zeros(photo.image_rgb.shape[:2], bool), metadata)
    (before, *kind, had), (after, *kind_after, has) = samples.read_png(data), samples.read_png(out)
    assert np.array_equal(before, after)
    assert kind == kind_after
    for name in (b"PLTE", b"gAMA", b"pHYs", b"tRNS"):
        assert had.get(name) == has.get(name)
    assert find_leftovers(out, metadata) == []
    assert samples.SECRET not in out
    assert read_photo_bytes(out, "photo.png").orientation == photo.orientation


@quick
@given(png_files(), seeds)
def test_png_region(data: bytes, seed: int) -> None:
    photo = read_photo_bytes(data, "photo.png")
    shape = photo.image_rgb.shape
    mask = np.random.default_rng(seed).random(shape[:2]) < 0.3
    new = samples.noise(*shape, seed=seed)
    out = encode_photo(photo, new, mask)
    before, after = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(out))
    assert before.size == after.size
    again = read_photo_bytes(out, "photo.png").seen_like(photo)  # new pixels may change the span of a dull picture
    assert np.array_equal(again[~mask], photo.image_rgb[~mask])
    eight_bit_colour = photo.raster.bits >= 8 and not photo.is_grey and photo.raster.key is None
    if eight_bit_colour:
        span = photo.raster.span  # a dull picture has fewer values between black and white
        step = 0 if span is None else 255 / (span.high - span.low) / 2 + 1
        assert np.abs(again[mask].astype(int) - new[mask]).max(initial=0) <= step
    assert find_leftovers(out, "strip") == []


@st.composite
def tiff_files(draw) -> tuple[bytes, np.ndarray]:
    """A TIFF and the samples that it holds."""
    kind = draw(st.sampled_from(["minisblack", "miniswhite", "rgb", "rgba", "separated", "grey alpha"]))
    channels = {"rgb": 3, "rgba": 4, "separated": 4, "grey alpha": 2}.get(kind, 1)
    array = samples.noise(draw(sides), draw(sides), channels, draw(st.sampled_from([np.uint8, np.uint16])), draw(seeds))
    deflate = draw(st.booleans())
    options = {"photometric": {"rgba": "rgb", "grey alpha": "minisblack"}.get(kind, kind),
               "byteorder": draw(st.sampled_from("<>")), "bigtiff": draw(st.booleans()),
               "compression": "zlib" if deflate else None, "predictor": deflate and draw(st.booleans()),
               "rowsperstrip": draw(st.integers(1, 50))}  # fmt: skip
    if kind in ("rgba", "grey alpha"):
        options["extrasamples"] = [draw(st.sampled_from(["unassalpha", "assocalpha"]))]
    given_array = array
    if channels > 1 and draw(st.booleans()):
        options["planarconfig"] = "separate"
        given_array = np.moveaxis(array, -1, 0)
    if draw(st.booleans()):
        del options["rowsperstrip"]
        options["tile"] = (16, 32)
    extra = [(274, "H", 1, draw(st.integers(1, 8)), True), (315, "s", 0, samples.SECRET.decode(), True)]
    return samples.tiff(given_array, extratags=extra, **options), array


@quick
@given(tiff_files())
def test_tiff_round_trip(made: tuple[bytes, np.ndarray]) -> None:
    data, before = made
    photo = read_photo_bytes(data, "photo.tif")
    out = encode_photo(photo, photo.image_rgb, np.zeros(photo.image_rgb.shape[:2], bool))
    after = tifffile.imread(io.BytesIO(out))
    assert before.dtype == after.dtype
    assert np.array_equal(before, after)
    assert find_leftovers(out, "strip") == []
    assert samples.SECRET not in out
    again = read_photo_bytes(out, "photo.tif")
    assert (again.orientation, again.encoding.extra) == (photo.orientation, photo.encoding.extra)
    assert np.array_equal(again.image_rgb, photo.image_rgb)


@quick
@given(sides, sides, seeds, st.sampled_from(["L", "1", "RGB", "RGBA", "P"]), st.sampled_from(["BMP", "GIF", "WEBP"]))
def test_other_lossless_round_trips(height: int, width: int, seed: int, mode: str, kind: str) -> None:
    image = Image.fromarray(samples.noise(height, width, seed=seed))
    if mode == "RGBA":
        image.putalpha(Image.fromarray(samples.noise(height, width, 1, seed=seed + 1)))
    image = image.quantize(20) if mode == "P" or kind == "GIF" else image.convert(mode)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    data = samples.pillow(image, kind, **options)
    photo = read_photo_bytes(data, "photo")
    out = encode_photo(photo, photo.image_rgb, np.zeros((height, width), bool))
    before, after = (np.asarray(Image.open(io.BytesIO(d)).convert("RGBA")) for d in (data, out))
    assert np.array_equal(before, after)
    assert find_leftovers(out, "strip") == []


@quick
@given(sides, sides, seeds, st.integers(1, 8), st.integers(5, 100), st.integers(0, 2), st.booleans(), st.booleans())
def test_jpeg_round_trip(
    height: int, width: int, seed: int, orientation: int, quality: int, sampling: int, progressive: bool, grey: bool
) -> None:
    array = samples.smooth(height, width, 1 if grey else 3, seed=seed)
    data = samples.soiled_jpeg(array, orientation, quality=quality, subsampling=sampling, progressive=progressive)
    photo = read_photo_bytes(data, "photo.jpg")
    out = encode_photo(photo, photo.image_rgb, np.zeros(photo.image_rgb.shape[:2], bool))
    again = read_photo_bytes(out, "photo.jpg")
    assert find_leftovers(out, "strip") == []
    assert samples.SECRET not in out
    assert again.encoding.tables == photo.encoding.tables
    assert again.orientation == photo.orientation == orientation
    assert again.raster.layout == photo.raster.layout
    assert np.abs(again.image_rgb.astype(int) - photo.image_rgb).mean() < 3 + max(map(max, photo.encoding.tables)) / 4


@given(sides, sides, st.integers(1, 8), st.sampled_from([1, 3]), seeds)
def test_upright_and_stored_undo_each_other(
    height: int, width: int, orientation: int, channels: int, seed: int
) -> None:
    array = samples.noise(height, width, channels, seed=seed)
    assert np.array_equal(stored(upright(array, orientation), orientation), array)
    assert np.array_equal(upright(stored(array, orientation), orientation), array)


@given(sides, sides, st.sampled_from([1, 2, 4]), seeds)
def test_packing_is_undone(height: int, width: int, bits: int, seed: int) -> None:
    array = samples.noise(height, width, 1, seed=seed) & ((1 << bits) - 1)
    assert np.array_equal(unpacked_rows(packed_rows(array, bits), bits, width), array)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(MAGICS), st.binary(max_size=200))
def test_any_bytes_are_a_photo_or_an_image_error(magic: bytes, rest: bytes) -> None:
    with contextlib.suppress(ImageError):
        read_photo_bytes(magic + rest, "photo", max_pixels=10**6)
    assert isinstance(find_leftovers(magic + rest), list)
