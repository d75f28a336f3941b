"""The second detector finds faces in images of any size, and none in images without a face."""

import cv2
import numpy as np
import pytest

from styleid.evaluate.certificate.second_detector import second_finds


@pytest.mark.parametrize("side", [512, 2048])
def test_it_finds_a_face_in_pixels_of_the_image(side, astronaut):
    rows = second_finds(cv2.resize(astronaut, (side, side)))
    x0, y0, x1, y1 = rows[0, :4] * 512 / side
    assert 170 < x0 < 195
    assert 50 < y0 < 80
    assert 255 < x1 < 280
    assert 165 < y1 < 190
    assert (rows[:, :4] >= 0).all()
    assert (rows[:, :4] <= side).all()


def test_boxes_are_clipped_to_the_image(astronaut):
    """A face that the image's border cuts reaches beyond it."""
    cut = np.ascontiguousarray(astronaut[:, 205:])
    boxes = second_finds(cut)[:, :4]
    assert len(boxes)
    assert boxes.min() == 0
    assert (boxes[:, [0, 2]] < cut.shape[1]).all()


def test_it_finds_none_where_there_is_none():
    assert second_finds(np.full((200, 300, 3), 90, np.uint8)).shape == (0, 5)
