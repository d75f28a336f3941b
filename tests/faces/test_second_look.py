"""The second look at unsure detections."""

import numpy as np
import pytest

from styleid.faces import second_look
from styleid.faces.detect import DetectorOptions, FaceDetector
from styleid.faces.second_look import SIDE_PX, View, Weights, as_score, central_score, evidence_of, floor, view_of
from styleid.types import Faces

BOX = np.array([181.0, 62.0, 269.0, 173.0])
"""The astronaut's face."""


@pytest.fixture(scope="module")
def detector():
    return FaceDetector(DetectorOptions(detector="standard"))


def one_face(centre: float, side: float, score: float = 0.8) -> Faces:
    box = [[centre - side / 2, centre - side / 2, centre + side / 2, centre + side / 2]]
    return Faces(np.array(box), np.array([score]), np.zeros((1, 5, 2)))


@pytest.mark.parametrize("factor", [0.25, 1, 4])
@pytest.mark.parametrize("view", [View(), View(40), View(90, True, True)])
def test_a_place_is_shown_at_one_size(detector, astronaut, factor, view):
    import cv2

    image = cv2.resize(astronaut, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    shown = view_of(image, BOX * factor, view)
    assert shown.shape == (SIDE_PX, SIDE_PX, 3)
    (seen,) = detector.look_at_all(shown[None], 0.3)
    assert central_score(seen, view) > 0.5


@pytest.mark.parametrize(
    "box", [[-50, -50, -10, -10], [500, 500, 530, 540], [600, 20, 640, 60], [10, 10, 10, 10], [0, 0, 512, 512]]
)
def test_places_at_and_past_the_border_have_a_view(astronaut, box):
    assert view_of(astronaut, np.array(box, np.float64), View()).shape == (SIDE_PX, SIDE_PX, 3)


@pytest.mark.parametrize(
    ("centre", "side", "expected"), [(96, 60, 0.8), (110, 60, 0.8), (120, 60, 0), (96, 25, 0), (96, 130, 0)]
)
def test_only_a_face_in_the_middle_of_the_right_size_counts(centre, side, expected):
    assert central_score(one_face(centre, side), View(60)) == pytest.approx(expected)


def test_no_face_scores_nothing():
    assert central_score(Faces.empty(), View(60)) == 0


def test_stretching_uses_the_whole_range_and_bears_a_plain_view():
    dim = (np.arange(64 * 64 * 3).reshape(64, 64, 3) % 30 + 20).astype(np.uint8)
    assert np.ptp(second_look.stretched(dim)) == 255
    assert np.ptp(second_look.stretched(np.full((64, 64, 3), 9, np.uint8))) == 0


@pytest.mark.parametrize("threshold", [0.01, 0.1225, 0.35, 0.9])
def test_the_floor_lies_under_the_threshold_and_rises_with_it(threshold):
    assert 0 < floor(threshold) <= threshold
    assert floor(threshold) <= floor(min(0.99, threshold + 0.05))


def test_evidence_and_scores_are_one_scale():
    scores = np.array([0.001, 0.2, 0.35, 0.8, 1.0])
    evidence = evidence_of(scores)
    assert np.allclose(as_score(evidence), scores, atol=1e-4)
    assert evidence[2] == pytest.approx(0)


@pytest.mark.parametrize("threshold", [0.1, 0.35, 0.7])
def test_doubtful_finds_stay_below_sure_ones_in_their_order(threshold):
    evidence = np.array([-3.0, 0.0, 0.5, 2.0, 4.0])
    below = second_look.below_sure(evidence, threshold)
    assert below[:2].tolist() == [-3, 0]
    assert (np.diff(below) > 0).all()
    assert as_score(below).max() < max(second_look.SURE, threshold)


def test_weights_are_zero_at_the_bar():
    assert Weights((2.0, 1.0), 0.5, 3.5).weigh(np.array([[1.0, 1.0], [0.0, 0.0]])) == pytest.approx([0, -3])


@pytest.mark.parametrize(("thorough", "figures"), [(False, 2), (True, 4)])
def test_a_face_weighs_more_than_a_wall(detector, astronaut, thorough, figures):
    look = second_look.SecondLook(detector.look_at_all, detector.yunet)
    boxes = np.stack([BOX, [400, 20, 480, 110]])
    faces = Faces(boxes, np.array([0.3, 0.3]), np.zeros((2, 5, 2)))
    scores = np.full((2, 2 if thorough else 1), 0.3)
    seen = look.at(astronaut, faces, scores, thorough=thorough)
    assert seen.shape == (2, figures)
    weights = second_look.THOROUGH if thorough else second_look.STANDARD
    face, wall = weights.weigh(seen)
    assert face > 0 > wall


def test_no_place_has_no_figure(detector, astronaut):
    look = second_look.SecondLook(detector.look_at_all, detector.yunet)
    assert look.at(astronaut, Faces.empty(), np.zeros((0, 1)), thorough=False).shape == (0, 2)
    assert look.at(astronaut, Faces.empty(), np.zeros((0, 2)), thorough=True).shape == (0, 4)
