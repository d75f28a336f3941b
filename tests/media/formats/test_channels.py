"""Mattes are distinguished from pictures, and extra channels are made flat where faces are."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from styleid.media.formats.channels import block_means, extra_channel, hide_in_channel, holds_picture, with_alpha
from styleid.media.formats.raster import Layout, Palette, Raster, view_rgb
from tests.media import samples

PICTURE = samples.smooth(160, 200, channels=1)
ELLIPSE = cv2.ellipse(np.zeros(PICTURE.shape, np.uint8), (100, 80), (70, 60), 20, 0, 360, 255, -1)
FACE = cv2.ellipse(np.zeros(PICTURE.shape, np.uint8), (100, 80), (30, 40), 0, 0, 360, 1, -1) > 0
RAMP = np.tile(np.linspace(0, 255, 200).astype(np.uint8), (160, 1))


def with_holes():
    holes = ELLIPSE.copy()
    for centre in ((80, 70), (120, 70), (100, 100)):
        cv2.circle(holes, centre, 8, 0, -1)
    return holes


MATTES = {
    "opaque": np.full_like(PICTURE, 255),
    "half": np.full_like(PICTURE, 128),
    "hard": ELLIPSE,
    "with holes": with_holes(),
    "soft": cv2.GaussianBlur(ELLIPSE, (0, 0), 2),
    "feathered": cv2.GaussianBlur(ELLIPSE, (0, 0), 12),
    "fade": RAMP,
    "round fade": (250 * np.exp(-(np.hypot(*(np.mgrid[:160, :200] - 90)) ** 2) / 20000)).astype(np.uint8),
    "labels": (ELLIPSE // 255 * 40 + (with_holes() // 255) * 60).astype(np.uint8),
}
PICTURES = {
    "picture": PICTURE,
    "negative": 255 - PICTURE,
    "faint": 150 + PICTURE // 5,
    "noise": samples.noise(160, 200, channels=1),
    "dither": np.where(samples.noise(160, 200, channels=1) < PICTURE, 255, 0).astype(np.uint8),
}


def rgba(alpha, bits=8, **options):
    factor = 257 if bits == 16 else 1
    cube = np.dstack([samples.smooth(160, 200), alpha]).astype(np.uint16 if bits == 16 else np.uint8) * factor
    return Raster(cube, Layout.RGB_ALPHA, bits, **options)


@pytest.mark.parametrize("name", MATTES)
def test_mattes_hold_no_picture_and_stay(name):
    assert not holds_picture(MATTES[name])
    raster = rgba(MATTES[name])
    assert hide_in_channel(raster, FACE) is raster


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("bits", [8, 16])
def test_pictures_are_flat_where_a_face_is(name, bits):
    assert holds_picture(PICTURES[name])
    raster = rgba(PICTURES[name], bits)
    hidden = hide_in_channel(raster, FACE)
    assert np.ptp(hidden.samples[FACE, 3]) == 0
    assert np.array_equal(hidden.samples[~FACE], raster.samples[~FACE])
    assert np.array_equal(hidden.samples[..., :3], raster.samples[..., :3])


@pytest.mark.parametrize(("relief", "options"), [(60, {}), (20, {"known_as_alpha": False})])
def test_depth_is_flat_where_a_face_is(relief, options):
    """A picture of depth is smooth, and yet no fade: it bulges."""
    distances = np.hypot(*(np.mgrid[:160, :200] - np.array([80, 100])[:, None, None]))
    bulge = 120 + relief * np.exp(-(distances**2) / 200)
    hidden = hide_in_channel(rgba(bulge.astype(np.uint8), **options), FACE)
    assert np.ptp(hidden.samples[FACE, 3]) == 0


def test_each_face_is_judged_by_itself():
    half = np.where(np.arange(200) < 100, PICTURE, 255).astype(np.uint8)
    two = np.zeros(PICTURE.shape, bool)
    two[40:110, 15:80] = two[40:110, 120:185] = True
    raster = rgba(half)
    hidden = hide_in_channel(raster, two)
    assert np.ptp(hidden.samples[40:110, 15:80, 3]) == 0
    assert np.array_equal(hidden.samples[:, 100:], raster.samples[:, 100:])


def test_premultiplied_channels_become_opaque():
    hidden = hide_in_channel(rgba(PICTURE, premultiplied=True), FACE)
    assert (hidden.samples[FACE, 3] == 255).all()


def test_transparency_of_palettes_and_colours_becomes_a_channel():
    dots = PICTURES["dither"] // 255
    colours = Palette(np.full((2, 3), 9, np.uint8), np.array([255, 0], np.uint8))
    palette = Raster(dots, Layout.PALETTE, 1, colours)
    key = Raster(dots * 200, Layout.GREY, 8, key=(200,))
    few = Raster(dots * 3, Layout.GREY, 2, key=(3,))
    deep = Raster(dots.astype(np.uint16) * 900, Layout.GREY, 16, key=(900,))
    for raster, layout, top in ((palette, Layout.RGB_ALPHA, 255), (key, Layout.GREY_ALPHA, 255),
                                (few, Layout.GREY_ALPHA, 255), (deep, Layout.GREY_ALPHA, 65535)):  # fmt: skip
        channel = extra_channel(raster)
        assert channel is not None and np.array_equal(channel.samples, 255 - 255 * dots)
        clear = with_alpha(raster)
        assert (clear.layout, int(clear.samples[..., -1].max())) == (layout, top)
        assert np.array_equal(clear.samples[..., -1] > 0, dots == 0)
        assert np.array_equal(view_rgb(clear), view_rgb(replace(raster, key=None)))
        hidden = hide_in_channel(raster, FACE)
        assert hidden.layout is layout and np.ptp(hidden.samples[FACE, -1]) == 0


def test_colours_alone_have_no_other_channel():
    raster = Raster(samples.smooth(), Layout.RGB)
    assert extra_channel(raster) is None
    assert hide_in_channel(raster, np.ones(raster.size, bool)) is raster
    assert with_alpha(raster) is raster


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (12, 10), (200, 160)])
def test_means_of_blocks(size):
    columns, rows = size
    means = block_means(PICTURE, size)
    edges = [np.arange(n + 1) * length // n for n, length in ((rows, 160), (columns, 200))]
    expected = [
        [PICTURE[y0:y1, x0:x1].mean() for x0, x1 in zip(edges[1], edges[1][1:], strict=False)]
        for y0, y1 in zip(edges[0], edges[0][1:], strict=False)
    ]
    assert np.allclose(means, expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 64)])
def test_means_of_many_bright_pixels(size):
    """Their sum needs more than 31 bits in one block, and fewer in 64."""
    assert (block_means(np.full((3000, 3000), 255, np.uint8), size) == 255).all()


def test_a_line_of_pixels_shows_nobody():
    alpha = np.broadcast_to(np.arange(PICTURE.shape[1], dtype=np.uint8), PICTURE.shape)
    line = np.zeros(PICTURE.shape, bool)
    line[10, 21] = line[11, 20] = True
    raster = rgba(alpha)
    assert hide_in_channel(raster, line) is raster
