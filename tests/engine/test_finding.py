"""Faces are found in every view of a file, and no channel of the output shows one."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from styleid import AnonymizeOptions, Anonymizer
from styleid.engine.finding import find_faces
from styleid.engine.options import RunOptions
from styleid.engine.photo import anonymize_photo
from styleid.errors import ImageError
from styleid.faces.detect import FaceDetector
from styleid.media.formats.channels import extra_channel
from styleid.media.formats.raster import Layout, upright
from styleid.media.image import read_photo_bytes
from tests.media import samples

FACE = (90, 65, 168, 170)
"""A box inside the face, x0, y0, x1, y1."""


def _with_alpha(colours, alpha, bits=8):
    cube = np.dstack([colours, alpha])
    return samples.png(cube, bits, {2: 4, 4: 6}[cube.shape[2]])


def _extra(colours, extra, kind="unspecified", **options):
    grey = colours.ndim == 2
    photometric = "minisblack" if grey else "rgb"
    return samples.tiff(np.dstack([colours, extra]), photometric=photometric, extrasamples=[kind], **options)


def _palette(indices, colours, alphas, bits):
    chunks = [samples.png_chunk(b"PLTE", np.array(colours, np.uint8).tobytes())]
    chunks += [] if alphas is None else [samples.png_chunk(b"tRNS", np.array(alphas, np.uint8).tobytes())]
    return samples.png(indices, bits, 3, *chunks)


def _gif(indices, colours, **options):
    image = Image.fromarray(indices, "P")
    image.putpalette([*colours, *[0] * (768 - len(colours))])
    return samples.pillow(image, "GIF", **options)


def _bmp(cube):
    """A BMP whose header does not say what the fourth byte is."""
    rows = cube[::-1][:, :, [2, 1, 0, 3]].tobytes()
    sizes = struct.pack("<IiiHHIIiiII", 40, cube.shape[1], cube.shape[0], 1, 32, 0, len(rows), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54) + sizes + rows


def _ordered(grey, side):
    """Dither by Bayer's matrix of 4 x 4 or 8 x 8."""
    matrix = np.zeros((1, 1))
    while len(matrix) < side:
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    height, width = grey.shape
    tiled = np.tile((matrix + 0.5) / side**2 * 255, (height // side + 1, width // side + 1))
    return (grey > tiled[:height, :width]).astype(np.uint8)


def _screen(grey, period):
    """A printer's screen of round dots at 45 degrees."""
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]] * np.sqrt(0.5) * 2 * np.pi / period
    dots = (np.cos(x + y) * np.cos(x - y) + 1) / 2
    return (grey / 255 > 0.05 + 0.9 * dots).astype(np.uint8)


def _diffused(grey):
    return np.asarray(Image.fromarray(grey).convert("1")).astype(np.uint8)


@pytest.fixture(scope="module")
def inputs(astronaut):
    """Files of a head, by what they are: those that show the face beside the colours, those that show it in them."""
    head = np.ascontiguousarray(astronaut[:300, 96:352])
    grey = cv2.cvtColor(head, cv2.COLOR_RGB2GRAY)
    black, white, negative = np.zeros_like(grey), np.full_like(grey, 255), 255 - grey
    deep, large = grey.astype(np.uint16), cv2.resize(grey, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    nothing = np.zeros_like(head)
    beside = {
        "grey and alpha, black": _with_alpha(black, negative),
        "grey and alpha, white": _with_alpha(white, grey),
        "alpha, grey": _with_alpha(nothing + 128, grey),
        "alpha, white, inverted": _with_alpha(nothing + 255, negative),
        "alpha, faint": _with_alpha(nothing, 200 + negative // 5),
        "alpha, dithered": _with_alpha(nothing, _diffused(negative) * 255),
        "alpha of 16 bits": _with_alpha(deep * 0, 257 * negative.astype(np.uint16), 16),
        "alpha of 10 bits in 16": _with_alpha(deep * 0, 4 * negative.astype(np.uint16), 16),
        "palette's alphas": _palette(grey, np.zeros((256, 3)), 255 - np.arange(256), 8),
        "palette's alphas, dithered": _palette(_diffused(grey), np.zeros((2, 3)), [255, 0], 1),
        "transparent colour, dithered": samples.png(
            np.dstack([black, black, 1 - _diffused(grey)]), 8, 2, samples.png_chunk(b"tRNS", bytes(6))
        ),
        "webp": samples.pillow(np.dstack([nothing, negative]), "WEBP", lossless=True, exact=True),
        "lossy webp": samples.pillow(np.dstack([nothing, negative]), "WEBP", quality=90, exact=True),
        "avif": samples.pillow(np.dstack([nothing, negative]), "AVIF", quality=90),
        "premultiplied": _extra(nothing, negative, "assocalpha"),
        "near infrared alone": _extra(nothing, grey),
        "grey and unspecified": _extra(black + 90, grey),
    }
    both = {
        "alpha too": _with_alpha(head, grey),
        "near infrared": _extra(head, grey),
        "near infrared of 10 bits": _extra(257 * head.astype(np.uint16), 4 * deep),
        "near infrared, turned": _extra(np.rot90(head), np.rot90(grey), extratags=[(274, 3, 1, 6, True)]),
        "depth": _with_alpha(head, cv2.GaussianBlur(grey, (0, 0), 8)),
        "bmp's fourth byte": _bmp(np.dstack([head, grey])),
    }
    faint = {
        "10 bits": samples.png(4 * deep, 16, 0),
        "10 bits, bright": samples.png(30000 + 4 * deep, 16, 0),
        "10 bits in a white frame": samples.png(np.pad(4 * deep, 3, constant_values=65535), 16, 0),
        "8 bits in 16": samples.png(deep, 16, 0),
        "12 bits": samples.png(16 * deep, 16, 0),
        "14 bits, colours": samples.tiff(64 * head.astype(np.uint16), photometric="rgb"),
        "10 bits with alpha": _with_alpha(4 * deep, np.full_like(deep, 1023), 16),
        "10 bits, inks": samples.tiff(
            np.dstack([4 * (255 - head.astype(np.uint16)), deep * 0]), photometric="separated"
        ),
        "premultiplied, faint": _extra(head // 25, black + 11, "assocalpha"),
        "4 bits in 8": samples.png(grey // 16, 8, 0),
    }
    dots = {
        "Bayer 4": samples.png(_ordered(large, 4), 1, 0),
        "Bayer 8": samples.png(_ordered(grey, 8), 1, 0),
        "Bayer 8, bmp": samples.pillow(_ordered(large, 8).astype(bool), "BMP"),
        "diffused": samples.png(_diffused(grey), 1, 0),
        "fax": samples.pillow(_diffused(grey).astype(bool), "TIFF", compression="group4"),
        "screen": samples.png(_screen(large, 8), 1, 0),
        "screen of 5 px": samples.png(_screen(large, 5), 1, 0),
        "two colours": _palette(_ordered(large, 4), [[20, 10, 60], [250, 240, 200]], None, 1),
        "gif": _gif(_ordered(large, 4), [20, 10, 60, 250, 240, 200]),
        "eight colours": samples.pillow(
            np.dstack([255 * _ordered(np.ascontiguousarray(head[..., i]), 4) for i in range(3)]), "PNG"
        ),
    }
    printed = {
        "screen as jpeg": samples.pillow(255 * _screen(large, 8), "JPEG", quality=80),
        "Bayer 4 as jpeg": samples.pillow(255 * _ordered(large, 4), "JPEG", quality=80),
    }
    return {"beside": beside, "both": both, "faint": faint, "dots": dots, "printed": printed}


@pytest.fixture(scope="module")
def hiding() -> Anonymizer:
    return Anonymizer(None, AnonymizeOptions(method="none"))


def written(data, anonymizer, name="photo"):
    """Anonymise a file; return what it was, what it became, and the journal's line."""
    photo = read_photo_bytes(data, name)
    encoded, record = anonymize_photo(name, photo, anonymizer, RunOptions(out=Path("-")))
    return photo, read_photo_bytes(encoded, name), record


def beside(photo):
    channel = extra_channel(photo.raster)
    return None if channel is None else upright(channel.grey(), photo.orientation)


def in_face(picture, scale=1.0):
    x0, y0, x1, y1 = (round(v * scale) for v in FACE)
    return picture[y0:y1, x0:x1].astype(int)


def flat(picture):
    return np.unique(picture, return_counts=True)[1].max() > 0.95 * picture.size


def one_face_about(record, scale=1.0):
    (face,) = record["faces"]
    x0, y0, x1, y1 = face["box"]
    centre = ((x0 + x1) / 2 / scale, (y0 + y1) / 2 / scale)
    assert np.abs(np.subtract(centre, (129, 117))).max() < 20
    return face


def test_a_face_beside_the_colours_is_hidden(inputs, hiding):
    for name, data in inputs["beside"].items():
        photo, after, record = written(data, hiding)
        one_face_about(record)
        assert flat(in_face(beside(after))), name
        assert np.abs(in_face(beside(after)) - in_face(beside(photo))).mean() > 5, name
        assert any("was flattened where faces are" in note for note in record["notes"]), name
        assert not len(FaceDetector().detect(np.dstack([beside(after)] * 3))), name


def test_its_reason_is_told(inputs, bundle):
    data = inputs["beside"]["grey and alpha, black"]
    _, _, record = written(data, Anonymizer(bundle, AnonymizeOptions(seed=1)))
    face = one_face_about(record)
    assert (face["action"], face["reason"]) == ("obscured", "it shows in the alpha channel only")


def test_a_gif_that_cannot_hide_it_is_withheld(astronaut, hiding):
    grey = cv2.cvtColor(np.ascontiguousarray(astronaut[:300, 96:352]), cv2.COLOR_RGB2GRAY)
    data = _gif(_diffused(grey), [0] * 6, transparency=1)
    with pytest.raises(ImageError, match=r"its transparent pixels may show a face.*Save it as PNG"):
        written(data, hiding)


def test_further_channels_are_flat_where_the_colours_show_a_face(inputs, hiding):
    for name, data in inputs["both"].items():
        photo, after, record = written(data, hiding)
        one_face_about(record)
        assert flat(in_face(beside(after))), name
        assert np.abs(in_face(beside(after)) - in_face(beside(photo))).mean() > 5, name
        assert np.array_equal(beside(after)[:30], beside(photo)[:30]), name
        assert np.array_equal(after.image_rgb[:30], photo.image_rgb[:30]), name


def test_several_further_channels_are_refused(astronaut, hiding):
    cube = np.dstack([astronaut[:300, 96:352]] * 2)[..., :5]
    data = samples.tiff(np.ascontiguousarray(cube), photometric="rgb", extrasamples=["unspecified"] * 2)
    with pytest.raises(ImageError, match="5 channels"):
        written(data, hiding)


@pytest.mark.parametrize("soft_px", [0, 1, 4, 12])
def test_mattes_stay_as_they_are(astronaut, hiding, soft_px):
    head = np.ascontiguousarray(astronaut[:300, 96:352])
    matte = cv2.ellipse(np.zeros(head.shape[:2], np.uint8), (128, 170), (95, 150), 0, 0, 360, 255, -1)
    matte = cv2.GaussianBlur(matte, (0, 0), soft_px) if soft_px else matte
    photo = read_photo_bytes(_with_alpha(head, matte), "photo")
    assert find_faces(photo, hiding).faces is None
    _, after, record = written(_with_alpha(head, matte), hiding)
    one_face_about(record)
    assert np.array_equal(beside(after), matte)
    assert "notes" not in record


def test_a_fade_stays_as_it_is(astronaut, hiding):
    head = np.ascontiguousarray(astronaut[:300, 96:352])
    fade = np.tile(np.linspace(255, 30, len(head)).astype(np.uint8)[:, None], (1, head.shape[1]))
    _, after, record = written(_with_alpha(head, fade), hiding)
    one_face_about(record)
    assert np.array_equal(beside(after), fade)


def test_samples_of_a_low_range_show_their_face(inputs, bundle):
    anonymizer = Anonymizer(bundle, AnonymizeOptions(seed=1))
    for name, data in inputs["faint"].items():
        photo, after, record = written(data, anonymizer)
        assert one_face_about(record)["action"] == "anonymised", name
        assert (after.raster.layout, after.raster.bits) == (photo.raster.layout, photo.raster.bits), name
        span = photo.raster.span
        if span is not None:
            assert after.raster.span is not None, name
            low, high = after.raster.span.low, after.raster.span.high
            assert span.low <= low < high <= span.high, name  # the brightest spot may have been in the old face
            assert high - low > 0.9 * (span.high - span.low), name
        assert np.array_equal(after.raster.samples[:30], photo.raster.samples[:30]), name
        assert np.abs(in_face(after.image_rgb) - in_face(photo.image_rgb)).mean() > 8, name


def test_dots_show_their_face_and_stay_dots(inputs, bundle):
    anonymizer = Anonymizer(bundle, AnonymizeOptions(seed=1))
    for name, data in inputs["dots"].items():
        photo, after, record = written(data, anonymizer)
        scale = photo.image_rgb.shape[1] / 256
        assert one_face_about(record, scale)["action"] == "anonymised", name
        assert (after.raster.layout, after.raster.bits) == (photo.raster.layout, photo.raster.bits), name
        before, new = (np.unique(one.image_rgb.reshape(-1, 3), axis=0) for one in (photo, after))
        assert {tuple(c) for c in new} <= {tuple(c) for c in before}, name
        assert (in_face(after.image_rgb, scale) != in_face(photo.image_rgb, scale)).mean() > 0.1, name
        assert np.array_equal(after.image_rgb[:20], photo.image_rgb[:20]), name
        assert 0 < in_face(after.image_rgb, scale).mean() < 255, name


def test_dots_in_a_jpeg_show_their_face(inputs, bundle):
    anonymizer = Anonymizer(bundle, AnonymizeOptions(seed=1))
    for name, data in inputs["printed"].items():
        photo, after, record = written(data, anonymizer)
        one_face_about(record, photo.image_rgb.shape[1] / 256)
        assert after.raster.layout is Layout.GREY, name


def test_a_photo_is_looked_at_once(astronaut, hiding):
    data = samples.pillow(np.ascontiguousarray(astronaut), "PNG")
    assert find_faces(read_photo_bytes(data, "photo"), hiding).faces is None


def test_own_boxes_join_what_was_found(inputs, hiding):
    photo = read_photo_bytes(inputs["dots"]["diffused"], "photo")
    found = find_faces(photo, hiding, np.array([[5.0, 5.0, 40.0, 40.0], [85.0, 58.0, 173.0, 177.0]]))
    assert len(found.faces) == 2
    assert found.photo.dithered


def test_own_boxes_alone_hide_dots(hiding):
    rows = np.tile(np.kron(np.eye(2, dtype=np.uint8), np.ones((2, 2), np.uint8)), (30, 30))
    photo = read_photo_bytes(samples.png(rows, 1, 0), "photo")
    found = find_faces(photo, hiding, np.array([[20.0, 20.0, 60.0, 60.0]]))
    outcome = found.anonymized(hiding, "photo")
    assert found.photo.dithered and len(outcome.faces) == 1
    data, record = anonymize_photo(
        "photo", photo, hiding, RunOptions(out=Path("-")), boxes=np.array([[20.0, 20, 60, 60]])
    )
    after = read_photo_bytes(data, "photo")
    assert (after.raster.bits, len(record["faces"])) == (1, 1)
    assert (after.image_rgb[30:50, 30:50] != photo.image_rgb[30:50, 30:50]).any()
