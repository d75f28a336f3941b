"""Rasters hold samples that fit their layout, and CMYK is converted also without a colour engine."""

import sys

import numpy as np
import pytest

from styleid.media.formats.raster import Layout, Palette, Raster, repaint, view_rgb
from tests.media import samples

PALETTE = Palette(np.zeros((2, 3), np.uint8))


@pytest.mark.parametrize(
    ("shape", "kind", "layout", "bits", "palette", "says"),
    [
        ((2, 2), np.uint8, Layout.RGB, 8, None, r"A RGB raster of 8 bits cannot hold \(2, 2\) of uint8"),
        ((2, 2, 3), np.uint8, Layout.RGB_ALPHA, 8, None, "A RGB and alpha raster of 8 bits cannot hold"),
        ((2, 2), np.uint8, Layout.GREY, 16, None, "A grey raster of 16 bits cannot hold"),
        ((2, 2), np.uint16, Layout.GREY, 8, None, "A grey raster of 8 bits cannot hold"),
        ((2, 2), np.uint8, Layout.PALETTE, 8, None, "must have a palette if and only if its layout is palette"),
        ((2, 2), np.uint8, Layout.GREY, 8, PALETTE, "must have a palette if and only if its layout is palette"),
    ],
)
def test_samples_that_do_not_fit_are_refused(shape, kind, layout, bits, palette, says) -> None:
    with pytest.raises(ValueError, match=says):
        Raster(np.zeros(shape, kind), layout, bits, palette)


@pytest.mark.parametrize("missing", ["engine", "meaning", "none"])
def test_without_a_profile_that_serves_inks_are_light_taken_away(monkeypatch, missing: str) -> None:
    profile = {"engine": samples.cmyk_profile() + b"\0\0\0\0", "meaning": b"no profile", "none": None}[missing]
    if missing == "engine":
        monkeypatch.delattr("PIL.ImageCms", raising=False)
        monkeypatch.setitem(sys.modules, "PIL.ImageCms", None)
    raster = Raster(samples.noise(channels=4), Layout.CMYK)
    inks = raster.samples.astype(float) / 255
    light = 255 * (1 - inks[..., :3]) * (1 - inks[..., 3:])
    assert np.abs(view_rgb(raster, profile) - light).max() <= 0.5
    new = samples.smooth(seed=5)
    painted = repaint(raster, view_rgb(raster, profile), new, np.ones(new.shape[:2], bool), profile)
    assert np.abs(view_rgb(painted, profile).astype(int) - new).max() <= 2


def test_a_tall_picture_is_painted_band_by_band() -> None:
    old = samples.smooth(700, 20)
    mask = np.zeros((700, 20), bool)
    mask[600:650, 4:9] = True
    raster = Raster(old.copy(), Layout.RGB)
    out = repaint(raster, old, 255 - old, mask)
    assert np.array_equal(out.samples, np.where(mask[..., None], 255 - old, old))
    assert repaint(raster, old, old.copy(), mask) is raster
