"""Faces are cut out where their boxes say."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from styleid.reports.tiles import cut_face, jpeg_url, to_jpeg


@pytest.mark.parametrize(
    ("box", "margin", "inside"),
    [
        ((20, 30, 60, 70), 0.0, (20, 30, 60, 70)),
        ((20, 30, 60, 50), 0.0, (20, 20, 60, 60)),  # the longer side decides
        ((40, 40, 60, 60), 0.5, (30, 30, 70, 70)),
    ],
)
def test_a_tile_is_the_square_around_the_box(box, margin, inside):
    image = np.random.default_rng(0).integers(0, 255, (100, 100, 3), np.uint8)
    x0, y0, x1, y1 = inside
    tile = cut_face(image, np.array(box, np.float64), x1 - x0, margin)
    assert np.array_equal(tile, image[y0:y1, x0:x1])


def test_outside_the_image_is_black():
    tile = cut_face(np.full((50, 50, 3), 200, np.uint8), np.array([-20.0, 0, 20, 40]), 40, 0.0)
    assert (tile[:, :19] == 0).all()
    assert (tile[:, 21:] == 200).all()


def test_a_box_without_size_is_cut():
    tile = cut_face(np.zeros((9, 9, 3), np.uint8), np.array([4.0, 4, 4, 4]), 8, 0.3)
    assert tile.shape == (8, 8, 3)


def test_a_url_holds_the_jpeg_in_rgb():
    image = np.zeros((16, 16, 3), np.uint8)
    image[..., 0] = 250
    head, _, data = jpeg_url(to_jpeg(image, 95)).partition(",")
    assert head == "data:image/jpeg;base64"
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert seen[8, 8, 0] > 230
    assert seen[8, 8, 1:].max() < 20
