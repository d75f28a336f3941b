"""YuNet."""

import numpy as np
import pytest

from styleid.faces.parts import suppress_overlaps
from styleid.faces.yunet import WEIGHTS, YuNet
from styleid.runtime import limited_threads

pytestmark = pytest.mark.versions

EYES = np.array([[203, 101], [246, 104]])


@pytest.fixture(scope="module")
def yunet():
    return YuNet()


def test_the_astronaut_is_seen_with_her_eyes(yunet, astronaut):
    faces = suppress_overlaps(yunet.look(astronaut, 0.7))
    assert len(faces) == 1
    assert faces.scores[0] > 0.85
    assert np.abs(faces.landmarks_px[0, :2] - EYES).max() < 6


def test_each_face_is_seen_at_several_places(yunet, astronaut):
    assert len(yunet.look(astronaut, 0.5)) > 3


@pytest.mark.parametrize("shape", [(1, 1), (5, 200), (130, 71)])
def test_nothing_is_seen_in_grey(yunet, shape):
    assert len(yunet.look(np.full((*shape, 3), 128, np.uint8), 0.5)) == 0


def test_views_together_give_what_each_gives(yunet, astronaut):
    views = np.stack([astronaut[:256, 64:320], astronaut[:256, 64:320][:, ::-1]])
    together = yunet.look_at_all(views, 0.3)
    for view, seen in zip(views, together, strict=True):
        alone = yunet.look(np.ascontiguousarray(view), 0.3)
        assert np.allclose(seen.boxes_xyxy, alone.boxes_xyxy, atol=1e-3)
        assert np.allclose(seen.scores, alone.scores, atol=1e-5)


def test_one_thread_gives_what_several_give(yunet, astronaut):
    several = yunet.look(astronaut, 0.3)
    with limited_threads(1):
        one = YuNet().look(astronaut, 0.3)
    assert np.array_equal(several.boxes_xyxy, one.boxes_xyxy)
    assert np.array_equal(several.scores, one.scores)


def test_the_file_is_small():
    assert WEIGHTS.stat().st_size < 300_000
