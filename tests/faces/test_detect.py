from dataclasses import replace

import cv2
import numpy as np
import pytest

from styleid.faces.detect import DETECTORS, DetectorOptions, FaceDetector, suppress_overlaps, views_of
from styleid.runtime import open_session
from styleid.types import Faces

pytestmark = pytest.mark.versions

ASTRONAUT_EYES = np.array([[203, 101], [246, 104]])


@pytest.fixture(scope="module", params=["fast", "standard"])
def detector(request):
    return FaceDetector(DetectorOptions(detector=request.param))


def test_the_astronaut_is_found(detector, astronaut):
    faces = detector.detect(astronaut)
    assert len(faces) == 1
    assert faces.scores[0] > 0.8
    assert np.abs(faces.landmarks_px[0, :2] - ASTRONAUT_EYES).max() < 4


@pytest.mark.parametrize("factor", [0.15, 0.5, 3, 7])
def test_faces_of_all_sizes_are_found_in_place(detector, astronaut, factor):
    side = round(512 * factor)
    image = cv2.resize(astronaut, (side, side), interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    faces = detector.detect(image)
    assert (faces.scores > 0.5).sum() == 1
    eyes = (ASTRONAUT_EYES + 0.5) * factor - 0.5
    assert np.abs(faces.landmarks_px[0, :2] - eyes).max() < 5 * factor + 1


def test_a_small_face_in_a_large_photo_is_found(detector, astronaut):
    image = np.full((3000, 4000, 3), 90, np.uint8)
    small = cv2.resize(astronaut, (128, 128), interpolation=cv2.INTER_AREA)  # the face is 22 px wide
    image[2000:2128, 955:1083] = small  # across the border of two tiles
    image[100:228, 3800:3928] = small
    faces = detector.detect(image)
    centres = faces.boxes_xyxy.reshape(-1, 2, 2).mean(1)
    for corner in ((955, 2000), (3800, 100)):
        expected = np.add(corner, [56, 29])
        assert np.linalg.norm(centres - expected, axis=1).min() < 6


def test_nothing_is_found_where_nothing_is(detector):
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3)).astype(np.uint8)
    for image in (np.zeros((1, 1, 3), np.uint8), np.zeros((5, 2000, 3), np.uint8), noise):
        assert len(detector.detect(image)) == 0


def test_overlaps_keep_the_best():
    boxes = np.float32([[0, 0, 10, 10], [1, 1, 11, 11], [50, 50, 60, 60]])
    faces = Faces(boxes, np.float32([0.5, 0.9, 0.7]), np.zeros((3, 5, 2)))
    kept = suppress_overlaps(faces)
    assert np.allclose(kept.scores, [0.9, 0.7])


@pytest.mark.parametrize("wrong", [{"threshold": 0}, {"threshold": 1.5}, {"min_face_px": 3}, {"detector": "best"}])
@pytest.mark.usefixtures("unchecked_types")
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ValueError):
        DetectorOptions(**wrong)


def test_a_masked_face_is_found_by_those_who_look_again(astronaut):
    image = astronaut.copy()
    cv2.fillPoly(
        image, [np.array([[182, 118], [225, 108], [268, 120], [262, 160], [226, 180], [190, 160]])], (60, 90, 120)
    )
    image = cv2.resize(image, (102, 102), interpolation=cv2.INTER_AREA)
    found = {name: len(FaceDetector(DetectorOptions(detector=name)).detect(image)) for name in DETECTORS}
    assert found["fast"] <= found["standard"] <= found["thorough"] == 1


@pytest.mark.parametrize("factor", [0.15, 0.5, 1.5])
def test_a_thorough_look_finds_faces_of_all_sizes_in_place(astronaut, factor):
    side = round(512 * factor)
    image = cv2.resize(astronaut, (side, side), interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    faces = FaceDetector(DetectorOptions(detector="thorough")).detect(image)
    eyes = (ASTRONAUT_EYES + 0.5) * factor - 0.5
    assert np.abs(faces.landmarks_px[0, :2] - eyes).max() < 5 * factor + 1


@pytest.mark.parametrize("threshold", [0.1, 0.35, 0.6])
@pytest.mark.parametrize("name", ["standard", "thorough"])
def test_all_finds_pass_the_threshold_best_first(astronaut, name, threshold):
    faces = FaceDetector(DetectorOptions(threshold, detector=name)).detect(astronaut[::2, ::2].copy())
    assert (faces.scores > threshold).all()
    assert (np.diff(faces.scores) <= 0).all()


def test_parts_that_are_asked_for_are_looked_at_again(astronaut):
    image = np.full((700, 700, 3), 90, np.uint8)
    image[300:340, 300:340] = cv2.resize(astronaut, (40, 40), interpolation=cv2.INTER_AREA)
    region = np.array([[290.0, 290.0, 350.0, 350.0]], np.float32)
    found = FaceDetector(DetectorOptions(detector="standard")).detect(image, region)
    assert len(found) == 1


@pytest.fixture(scope="module")
def large(astronaut):
    """A picture with a large face, and a small one that only tiles show."""
    image = np.full((1080, 1920, 3), 90, np.uint8)
    image[200:712, 300:812] = astronaut
    image[600:728, 1400:1528] = cv2.resize(astronaut, (128, 128), interpolation=cv2.INTER_AREA)
    return image


def centres(faces):
    return sorted(faces.boxes_xyxy.reshape(-1, 2, 2).mean(1).round().tolist())


def test_a_glance_and_a_closer_look_find_what_detecting_finds(detector, large):
    glanced = detector.glance(large)
    closer, whole = detector.look_closer(large, glanced), detector.detect(large)
    fast = detector.options.detector == "fast"
    assert len(closer) == len(whole) == 2
    moved = np.subtract(*(faces.boxes_xyxy[faces.boxes_xyxy[:, 0].argsort()] for faces in (closer, whole)))
    assert np.abs(moved).max() < (0.05 * whole.min_sides_px.max() if fast else 1e-6)  # the glance has 8 bits
    assert (glanced.scores > detector.options.threshold).sum() == (1 if fast else 2)


def test_a_closer_look_leaves_faint_faces_out_and_looks_again_where_in_doubt(large, monkeypatch):
    detector = FaceDetector()
    glanced, looked = detector.glance(large), []
    monkeypatch.setattr(FaceDetector, "look", lambda self, view, threshold: looked.append(view.shape) or Faces.empty())
    clear = replace(glanced, scores=np.full(len(glanced), 0.9, np.float32))
    nowhere = glanced[np.zeros(len(glanced), bool)]
    tiles = len(list(views_of(1080, 1920, 16.0))) - 1
    for score, found, looks in ((0.9, 1, tiles), (0.4, 1, 1 + tiles), (0.1, 0, 1 + tiles)):
        faces = replace(clear[:1], scores=np.array([score], np.float32))
        assert len(detector.look_closer(large, faces)) == found
        assert len(looked) == looks
        assert len(detector.look_closer(large, faces, nowhere)) == found
        assert len(looked) == looks
        looked.clear()


def test_a_small_face_is_found_again_near_where_it_was(large):
    detector = FaceDetector()
    known = detector.detect(large)
    moved = np.roll(large, (9, 15), (0, 1))
    found = detector.look_closer(moved, detector.glance(moved), known)
    assert np.abs(np.subtract(centres(found), centres(known)) - (15, 9)).max() <= 3
    nowhere = known[np.zeros(len(known), bool)]
    assert len(detector.look_closer(moved, detector.glance(moved), nowhere)) == 1


def test_detectors_with_other_options_share_the_network(astronaut, monkeypatch):
    opened = []
    monkeypatch.setattr(
        "styleid.faces.detect.open_session", lambda *given: opened.append(given) or open_session(*given)
    )
    detector = FaceDetector()
    other = detector.with_options(DetectorOptions(0.05))
    assert len(other.detect(astronaut)) >= len(detector.detect(astronaut)) == 1
    assert len(opened) == 1
