"""Writing where a mask is true gives what NumPy's boolean indices give."""

import numpy as np
import pytest

from styleid.pixel.masked import bounds, copy_where, to_bytes


@pytest.mark.parametrize(
    ("true", "margin", "rows", "columns"),
    [
        ([(3, 4)], 0, (3, 4), (4, 5)),
        ([(3, 4), (7, 2)], 0, (3, 8), (2, 5)),
        ([(3, 4), (7, 2)], 1, (2, 9), (1, 6)),
        ([(0, 0), (9, 11)], 5, (0, 10), (0, 12)),
    ],
)
def test_bounds_hold_all_true_pixels(true, margin, rows, columns):
    mask = np.zeros((10, 12), bool)
    for place in true:
        mask[place] = True
    assert bounds(mask, margin) == (slice(*rows), slice(*columns))


def test_an_empty_mask_has_no_bounds():
    assert bounds(np.zeros((10, 12), bool)) is None
    assert bounds(np.zeros((0, 0), bool)) is None


@pytest.mark.parametrize("shape", [(40, 60), (40, 60, 3), (0, 60, 3)])
def test_a_masked_copy_into_a_part_of_an_image_is_numpys(shape):
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 255, (100, 100, *shape[2:])).astype(np.uint8)
    wanted = whole.copy()
    source, mask = rng.integers(0, 255, shape).astype(np.uint8), rng.random(shape[:2]) < 0.5
    part = slice(10, 10 + shape[0]), slice(20, 20 + shape[1])
    copy_where(whole[part], source, mask)
    wanted[part][mask] = source[mask]
    assert np.array_equal(whole, wanted)


def test_colours_are_rounded_and_clipped():
    values = np.float32([[[-3.2, 0.4, 0.6], [254.4, 254.6, 260.0]]])
    assert to_bytes(values).tolist() == [[[0, 0, 1], [254, 255, 255]]]
