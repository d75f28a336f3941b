"""The additional searches: tiles, rotations, and merging of detections."""

import cv2
import numpy as np
import pytest

from styleid.faces.detect import DetectorOptions, FaceDetector
from styleid.faces.further import apart, further_places, in_tiles, merged, tilted
from styleid.types import Faces

FACE = np.array([181.0, 62.0, 269.0, 173.0])


@pytest.fixture(scope="module")
def detector():
    return FaceDetector(DetectorOptions(detector="thorough"))


def faces_at(*boxes_and_scores: tuple[float, float]) -> Faces:
    rows = [[x, 0, x + 10, 10] for x, _ in boxes_and_scores]
    scores = np.array([score for _, score in boxes_and_scores])
    return Faces(np.array(rows, np.float64).reshape(-1, 4), scores, np.zeros((len(rows), 5, 2)))


def test_finds_of_one_face_are_joined_with_both_scores():
    found, scores = merged(faces_at((0, 0.3), (50, 0.6)), faces_at((1, 0.4)), faces_at((2, 0.9), (100, 0.4)))
    assert found.boxes_xyxy[:, 0].tolist() == [50, 0, 100]
    assert np.allclose(scores, [[0.6, 0], [0.3, 0.9], [0, 0.4]])


@pytest.mark.parametrize("one_sees", [True, False])
def test_one_detector_alone_is_enough(one_sees):
    none, one = faces_at(), faces_at((0, 0.5))
    found, scores = merged(*((one, none, none) if one_sees else (none, none, one)))
    assert len(found) == 1
    assert np.allclose(scores, [[0.5, 0]] if one_sees else [[0, 0.5]])


def test_nothing_joins_to_nothing():
    found, scores = merged(Faces.empty(), Faces.empty(), Faces.empty())
    assert len(found) == 0
    assert scores.shape == (0, 2)


def test_tiles_show_a_face_once_in_its_place(detector, astronaut):
    canvas = np.full((1200, 2200, 3), 90, np.uint8)
    canvas[300:812, 700:1212] = astronaut  # across the border of two tiles
    seen = in_tiles(canvas, detector.yunet.look, 1.0, 0.6)
    assert len(seen) == 1
    assert np.abs(seen.boxes_xyxy[0] - FACE - np.array([700, 300, 700, 300])).max() < 15


@pytest.mark.parametrize("degrees", [60.0, -60.0])
def test_a_tilted_face_is_seen_in_its_place(detector, astronaut, degrees):
    centre = FACE.reshape(2, 2).mean(0)
    matrix = cv2.getRotationMatrix2D(tuple(centre.tolist()), -degrees, 1.0)
    turned = cv2.warpAffine(astronaut, matrix, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    seen = tilted(turned, detector.yunet.look, degrees)
    best = seen[int(np.argmax(seen.scores))]
    assert best.scores[0] > 0.7
    assert np.abs(best.boxes_xyxy[0].reshape(2, 2).mean(0) - centre).max() < 12
    assert np.abs(best.landmarks_px[0, 2] - (matrix[:, :2] @ [228, 124] + matrix[:, 2])).max() < 20


def test_in_the_dark_the_contrast_is_stretched(detector, astronaut):
    dark = (astronaut * 0.04).astype(np.uint8)
    found, scores = further_places(dark, Faces.empty(), detector.look, detector.yunet.look)
    centres = found.boxes_xyxy.reshape(-1, 2, 2).mean(1)
    near = np.abs(centres - FACE.reshape(2, 2).mean(0)).max(1) < 15
    assert scores[near, 0].max() > 0.5


@pytest.mark.parametrize(
    ("worse", "stays"),
    [([2, 2, 10, 10], False), ([0, 0, 2.5, 2.5], True), ([-1, -1, 12, 12], False), ([8, 0, 18, 10], True)],
)
def test_parts_of_a_better_face_are_left_out_but_small_faces_within_it_stay(worse, stays):
    boxes = np.array([[0, 0, 10, 10], worse], np.float64)
    kept = apart(Faces(boxes, np.array([0.9, 0.5]), np.zeros((2, 5, 2))))
    assert kept.boxes_xyxy.tolist() == boxes[: 1 + stays].tolist()
