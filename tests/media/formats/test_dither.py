"""New pixels in pictures of few colours use these colours and have the right tone."""

import cv2
import numpy as np
import pytest

from styleid.media.formats.dither import repaint_dithered
from styleid.media.formats.raster import Layout, Palette, Raster, view_rgb
from tests.media import samples

SHAPE = (96, 120)
MASK = np.zeros(SHAPE, bool)
MASK[20:80, 30:100] = True
NONE = np.zeros(SHAPE, bool)
CHECKS = np.indices(SHAPE).sum(0) // 2 % 2
NEW = np.repeat(np.tile(np.linspace(20, 235, 120).astype(np.uint8), (96, 1))[..., None], 3, axis=2)


def checks(low, high, dtype=np.uint8):
    return np.where(CHECKS, high, low).astype(dtype)


RASTERS = {
    "1 bit": Raster(checks(0, 1), Layout.GREY, 1),
    "2 bits": Raster(checks(0, 3), Layout.GREY, 2),
    "8 bits": Raster(checks(0, 255), Layout.GREY),
    "16 bits": Raster(checks(0, 65535, np.uint16), Layout.GREY, 16),
    "palette": Raster(checks(1, 0), Layout.PALETTE, 1, Palette(np.array([[255, 255, 255], [0, 0, 0]], np.uint8))),
    "colours": Raster(np.dstack([checks(0, 255)] * 3), Layout.RGB),
    "alpha": Raster(np.dstack([checks(0, 255), samples.noise(*SHAPE, channels=1)]), Layout.GREY_ALPHA),
}


@pytest.mark.parametrize("name", RASTERS)
def test_tones_come_out_in_the_colours_at_hand(name):
    raster = RASTERS[name]
    seen = view_rgb(raster)
    old = cv2.GaussianBlur(seen, (0, 0), 3)
    after = repaint_dithered(raster, old, NEW, MASK, MASK)
    assert after is not None and (after.layout, after.bits) == (raster.layout, raster.bits)
    new = view_rgb(after)
    assert np.isin(new, np.unique(seen)).all()
    assert np.array_equal(after.samples[~MASK], raster.samples[~MASK])
    if raster.layout is Layout.GREY_ALPHA:
        assert np.array_equal(after.samples[..., 1], raster.samples[..., 1])
    tones = cv2.blur(new, (15, 15))[35:65, 45:85].astype(int)
    assert np.abs(tones - NEW[35:65, 45:85]).mean() < 12


def test_what_differs_slightly_stays_unless_it_lies_in_a_face():
    raster = RASTERS["1 bit"]
    old = np.full((*SHAPE, 3), 128, np.uint8)
    slight = old + 3
    assert repaint_dithered(raster, old, slight, MASK, NONE) is raster
    after = repaint_dithered(raster, old, slight, MASK, MASK)
    assert after is not None and (after.samples[MASK] != raster.samples[MASK]).any()


@pytest.mark.parametrize(
    "raster",
    [
        Raster(samples.smooth(*SHAPE, channels=1), Layout.GREY),
        Raster(np.full(SHAPE, 7, np.uint8), Layout.GREY),
        Raster(np.zeros((*SHAPE, 4), np.uint8), Layout.CMYK),
        Raster(checks(0, 255), Layout.GREY, key=(0,)),
        Raster(samples.smooth(*SHAPE), Layout.RGB),
    ],
    ids=["many levels", "one level", "inks", "transparent colour", "many colours"],
)
def test_others_are_painted_as_usual(raster):
    assert repaint_dithered(raster, NEW, 255 - NEW, MASK, MASK) is None
