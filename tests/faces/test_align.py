import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleid.faces.align import CropTemplate, fit_similarity, invert, scale_of, transform_points, warp_to

pytestmark = pytest.mark.versions


def _similarity(angle: float, scale: float, dx: float, dy: float) -> np.ndarray:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, dx], [s, c, dy]], np.float32)


@given(st.floats(-3, 3), st.floats(0.1, 10), st.floats(-500, 500), st.floats(-500, 500))
def test_a_similarity_is_found_again(angle, scale, dx, dy):
    points = np.array(CropTemplate.tight(100).points_px, np.float32)
    matrix = _similarity(angle, scale, dx, dy)
    found = fit_similarity(points, transform_points(points, matrix))
    assert np.allclose(found, matrix, atol=2e-3 * max(1, scale, abs(dx), abs(dy)))
    assert np.allclose(transform_points(transform_points(points, matrix), invert(matrix)), points, atol=0.05)
    assert scale_of(matrix) == pytest.approx(scale, rel=1e-4)


def test_fit_agrees_with_opencv():
    rng = np.random.default_rng(0)
    for _ in range(20):
        points, onto = rng.normal(size=(2, 5, 2)).astype(np.float32) * 30
        ours = fit_similarity(points, onto)
        theirs = cv2.estimateAffinePartial2D(points, onto, method=cv2.LMEDS, maxIters=5000)[0]
        error = np.linalg.norm(transform_points(points, ours) - onto)
        assert error <= np.linalg.norm(transform_points(points, theirs) - onto) + 1e-3


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((5, 2), np.nan)])
def test_impossible_landmarks_are_refused(points):
    with pytest.raises(ValueError):
        CropTemplate.arcface112().matrix(points.astype(np.float32))


def test_a_crop_of_a_large_face_is_averaged_not_aliased():
    checks = np.indices((1600, 1600)).sum(0) % 2 * 255
    image = np.repeat(checks[..., None], 3, 2).astype(np.uint8)
    crop = warp_to(image, np.float32([[0.1, 0, 0], [0, 0.1, 0]]), 160)
    assert np.abs(crop[8:-8, 8:-8].astype(int) - 127).max() <= 2


def test_averaging_down_keeps_places():
    y, x = np.mgrid[0:900, 0:900].astype(np.float32)
    image = np.stack([x, y, x + y], -1) / 1800 * 255
    matrix = _similarity(0.3, 0.2, 20, 5)
    crop = warp_to(image, matrix, 128)
    place = transform_points(np.float32([[64, 64]]), invert(matrix))[0]
    assert np.allclose(crop[64, 64, :2], place / 1800 * 255, atol=0.3)


def test_beyond_the_border_pixels_are_reflected():
    image = np.tile(np.arange(50, dtype=np.uint8)[None, :, None], (50, 1, 3))
    crop = warp_to(image, np.float32([[1, 0, 10], [0, 1, 0]]), 50)
    assert np.array_equal(crop[0, :10, 0], np.arange(10, 0, -1))
