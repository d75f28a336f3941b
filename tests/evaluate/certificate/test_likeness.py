"""Unchanged faces are distinguished from new ones, also after small changes of the file."""

import cv2
import numpy as np
import pytest

from styleid.evaluate.certificate.likeness import UNTOUCHED_FROM, likeness
from tests.evaluate.certificate.rigged import encoded_again

FACE = np.array([178, 62, 268, 176], np.float32)


def half(image: np.ndarray) -> np.ndarray:
    return cv2.resize(cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA), (512, 512))


SAME = {
    "copied": lambda image: image,
    "encoded again": encoded_again,
    "moved by a pixel": lambda image: np.roll(image, 1, 0),
    "moved and encoded": lambda image: encoded_again(np.roll(image, (1, 1), (0, 1))),
    "halved and enlarged": half,
    "darker": lambda image: (image * 0.7).astype(np.uint8),
    "grey": lambda image: np.repeat(image[..., 1:2], 3, 2),
}
OTHER = {
    "filled": lambda image: np.full_like(image, 128),
    "blurred": lambda image: cv2.GaussianBlur(image, (0, 0), 12),
    "pixelated": lambda image: np.repeat(np.repeat(image[::16, ::16], 16, 0), 16, 1),
    "upside down": lambda image: image[::-1],
    "noise": lambda image: np.random.default_rng(0).integers(0, 256, image.shape).astype(np.uint8),
}


@pytest.mark.parametrize("how", SAME)
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_what_shows_the_face_is_alike(how, scale, astronaut):
    before = cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    after = cv2.resize(SAME[how](astronaut), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    assert likeness(before, after, FACE * scale) >= UNTOUCHED_FROM


@pytest.mark.parametrize("how", OTHER)
def test_what_hides_the_face_is_not(how, astronaut):
    assert likeness(astronaut, OTHER[how](astronaut), FACE) < UNTOUCHED_FROM


def test_without_detail_pixels_decide():
    flat = np.full((80, 80, 3), 90, np.uint8)
    box = np.array([20, 20, 60, 60], np.float32)
    assert likeness(flat, flat + 2, box) == 1.0
    assert likeness(flat, flat + 9, box) == 0.0


def test_boxes_beyond_the_picture_are_compared_as_far_as_it_goes(astronaut):
    assert likeness(astronaut, astronaut, np.array([-40, -40, 60, 60], np.float32)) >= UNTOUCHED_FROM
    assert likeness(astronaut, astronaut, np.array([900, 900, 950, 950], np.float32)) == 1.0
