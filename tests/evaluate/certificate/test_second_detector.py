"""A second detector sees faces where it is installed, and nothing where it is not."""

import importlib.metadata

import cv2
import numpy as np
import pytest

from styleid.evaluate.certificate import second_detector
from styleid.evaluate.certificate.second_detector import has_second_detector, second_finds


@pytest.mark.skipif(not has_second_detector(), reason="needs the extra eval and an OpenCV that opens YuNet's file")
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


def test_it_finds_none_where_there_is_none():
    assert second_finds(np.full((200, 300, 3), 90, np.uint8)).shape == (0, 5)


def test_without_the_package_it_finds_nothing(monkeypatch, astronaut):
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(second_detector.importlib.metadata, "distribution", missing)
    second_detector.forget()
    try:
        assert not has_second_detector()
        assert second_finds(astronaut).shape == (0, 5)
    finally:
        monkeypatch.undo()
        second_detector.forget()
