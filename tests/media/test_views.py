"""The views of a photo besides its colours; most photos have none."""

import cv2
import numpy as np
import pytest

from styleid.media.image import read_photo_bytes
from styleid.media.views import count_levels, further_views, is_screened, smoothed
from tests.media import samples

SMOOTH = samples.smooth(200, 240)
GREY = SMOOTH[..., 0]


def rgb(grey):
    return np.repeat(grey[..., None], 3, axis=2)


def ordered(grey, period):
    """Dither by dots that grow from the middle of cells."""
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]] * 2 * np.pi / period
    return ((grey / 255 > ((np.cos(x) + np.cos(y)) / 4 + 0.5) * 0.9 + 0.05) * 255).astype(np.uint8)


def matte(soft_px=0):
    shape = cv2.circle(np.zeros(GREY.shape, np.uint8), (120, 100), 80, 255, -1)
    return cv2.GaussianBlur(shape, (0, 0), soft_px) if soft_px else shape


def views_of(data):
    return list(further_views(read_photo_bytes(data, "photo")))


def places(data):
    return [(view.where, view.smoothing_px) for view in views_of(data)]


@pytest.mark.parametrize(
    "data",
    [
        samples.pillow(SMOOTH, "PNG"),
        samples.pillow(SMOOTH, "JPEG"),
        samples.pillow(GREY, "TIFF"),
        samples.pillow(np.full_like(SMOOTH, 90), "PNG"),
        samples.pillow(np.dstack([SMOOTH, np.full_like(GREY, 255)]), "PNG"),
        samples.pillow(np.dstack([SMOOTH, np.full_like(GREY, 100)]), "PNG"),
        samples.pillow(np.dstack([SMOOTH, matte()]), "PNG"),
        samples.pillow(np.dstack([SMOOTH, matte(2)]), "WEBP", lossless=True),
        samples.pillow(np.dstack([SMOOTH, matte(20)]), "PNG"),
        samples.png(SMOOTH.astype(np.uint16) * 257, 16, 2),
        samples.png(np.zeros((1, 1), np.uint8), 8, 0),
        samples.png(np.zeros((1, 90), np.uint8) + np.arange(90, dtype=np.uint8), 8, 0),
        samples.pillow(np.dstack([SMOOTH, matte()])[:1], "PNG"),
    ],
    ids=["png", "jpeg", "grey", "one colour", "opaque", "half transparent", "matte", "soft matte", "very soft matte",
         "16 bits", "1 x 1", "one row", "one row with alpha"],
)  # fmt: skip
def test_usual_photos_show_nothing_else(data):
    assert views_of(data) == []


def test_a_low_range_is_seen_stretched_and_as_it_is():
    photo = read_photo_bytes(samples.png(SMOOTH.astype(np.uint16) * 4, 16, 2), "photo")
    (plain,) = further_views(photo)
    assert plain.image_rgb.max() <= 4
    assert np.abs(photo.image_rgb.astype(int) - SMOOTH).max() <= 20
    assert (plain.where, plain.smoothing_px, plain.scale) == ("", 0.0, 1.0)


@pytest.mark.parametrize("period", [2, 4, 8, 12])
def test_dots_are_seen_from_afar(period):
    data = samples.png(ordered(GREY, period) // 255, 1, 0)
    views = views_of(data)
    assert [view.smoothing_px for view in views] == [1, 2, 4, 8]
    assert {view.where for view in views} == {""}
    height, width = GREY.shape
    for view in views:
        assert view.image_rgb.shape == (height * view.scale, width * view.scale, 3)
    coarse = cv2.resize(views[-1].image_rgb[..., 0], (12, 10), interpolation=cv2.INTER_AREA).astype(float)
    meant = cv2.resize(GREY, (12, 10), interpolation=cv2.INTER_AREA).astype(float)
    assert np.corrcoef(coarse.ravel(), meant.ravel())[0, 1] > 0.85


def test_a_picture_beside_the_colours_is_seen_each_way():
    black = np.zeros_like(SMOOTH)
    views = views_of(samples.pillow(np.dstack([black, GREY]), "PNG"))
    white, dark, own, negative = (view.image_rgb for view in views)
    assert {view.where for view in views} == {"the alpha channel"}
    assert np.array_equal(white, rgb(255 - GREY)) and not dark.any()
    assert np.array_equal(own, rgb(GREY)) and np.array_equal(negative, rgb(255 - GREY))


def test_premultiplied_colours_are_divided():
    alpha = np.full_like(GREY, 25)
    faint = (SMOOTH.astype(np.uint16) * 25 // 255).astype(np.uint8)
    data = samples.tiff(np.dstack([faint, alpha]), photometric="rgb", extrasamples=["assocalpha"])
    divided = [view for view in views_of(data) if not view.smoothing_px][-1].image_rgb.astype(int)
    assert np.abs(divided - SMOOTH).max() <= 255 / 25 + 1


def test_an_unspecified_channel_is_named_so():
    data = samples.tiff(np.dstack([SMOOTH, GREY]), photometric="rgb", extrasamples=["unspecified"])
    assert {where for where, _ in places(data)} == {"the extra channel"}


def test_a_dithered_channel_is_seen_from_afar_too():
    found = places(samples.pillow(np.dstack([np.zeros_like(SMOOTH), ordered(GREY, 4)]), "PNG"))
    assert ("the alpha channel", 2.0) in found and ("the alpha channel", 0.0) in found


@pytest.mark.parametrize(
    ("picture", "screened"),
    [
        (SMOOTH, False),
        (samples.noise(200, 240), True),
        (rgb(ordered(GREY, 4)), True),
        (rgb(ordered(GREY, 12)), True),
        (rgb(cv2.GaussianBlur(ordered(GREY, 4), (0, 0), 0.7)), True),
        (rgb(GREY // 32 * 32), True),
        (np.full_like(SMOOTH, 3), False),
        (SMOOTH[:1, :1], False),
    ],
    ids=["photo", "noise", "fine dots", "coarse dots", "blurred dots", "few levels", "one colour", "one pixel"],
)
def test_screens_are_told_from_photos(picture, screened):
    assert is_screened(np.ascontiguousarray(picture)) is screened


def test_from_afar_a_photo_is_smooth_and_dithered_again():
    photo = read_photo_bytes(samples.png(ordered(GREY, 4) // 255, 1, 0), "photo")
    afar = smoothed(photo, 4.0)
    assert (photo.dithered, afar.dithered) == (False, True)
    assert count_levels(photo.image_rgb) == 2 < count_levels(afar.image_rgb)
    assert afar.raster is photo.raster
