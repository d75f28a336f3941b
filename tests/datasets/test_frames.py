"""Boxes are transformed like pixels."""

import numpy as np
import pytest

from styleid.datasets.frames import stored_size, to_centres, to_edges, to_stored, to_upright
from styleid.media.formats.raster import upright


def painted(size_wh: tuple[int, int], box) -> np.ndarray:
    image = np.zeros((size_wh[1], size_wh[0]), np.uint8)
    x0, y0, x1, y1 = (int(v) for v in box)
    image[y0:y1, x0:x1] = 1
    return image


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_move_as_pixels_do(orientation):
    size, box = (9, 6), np.array([[1, 2, 4, 3]])
    turned = upright(painted(size, box[0]), orientation)
    moved = to_upright(box, size, orientation)
    assert stored_size(*size, orientation) == (turned.shape[1], turned.shape[0])
    np.testing.assert_array_equal(painted((turned.shape[1], turned.shape[0]), moved[0]), turned)
    np.testing.assert_array_equal(to_stored(moved, size, orientation), box)


def test_edges_and_centres():
    whole = np.array([[0.0, 0, 8, 6]])
    np.testing.assert_array_equal(to_centres(whole), [[-0.5, -0.5, 7.5, 5.5]])
    np.testing.assert_array_equal(to_edges(to_centres(whole)), whole)
