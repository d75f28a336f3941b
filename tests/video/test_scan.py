"""Faces are found in all views of a frame; small faces are found at key frames and near their last position."""

from fractions import Fraction

import numpy as np
import pytest

from styleid import AnonymizeOptions, Anonymizer
from styleid.faces.detect import DetectorOptions, FaceDetector
from styleid.media.video.clip import ClipFrame, ClipInfo
from styleid.types import Faces
from styleid.video.ahead import ONE_BY_ONE, FramePool
from styleid.video.scan import scan
from styleid.video.segments import LocalEngine
from styleid.video.store import Workspace
from tests.video.scenes import HEAD, Actor, Scene, SceneClip, background

DARK, BRIGHT = np.zeros((80, 100, 3), np.uint8), np.full((80, 100, 3), 200, np.uint8)


class BrightClip:
    """Two dark frames; the second has a bright view of half its size."""

    info = ClipInfo("clip", 100, 80, Fraction(10), 2)

    def frames(self):
        yield ClipFrame(0, 0.0, 0.1, DARK, lambda native: native)
        yield ClipFrame(1, 0.1, 0.1, DARK, lambda native: native, to_views=lambda _: [(BRIGHT[::2, ::2], 0.5)])


class SeesBright:
    def detect(self, image_rgb):
        if image_rgb.max() < 100:
            return Faces.empty()
        points = np.array([[[12, 14], [18, 14], [15, 18], [12, 22], [18, 22]]], np.float32)
        return Faces(np.array([[10, 10, 20, 25]], np.float32), np.array([0.9], np.float32), points)


def test_a_face_in_a_view_is_a_face_of_the_frame():
    with Workspace() as space:
        found = scan(BrightClip(), SeesBright(), None, 0.35, space, local(ONE_BY_ONE))
    assert found.candidates.frames.tolist() == [1]
    assert found.candidates.boxes_xyxy.tolist() == [[20.5, 20.5, 40.5, 50.5]]


WIDE = (1920, 1080)


def small_faces(astronaut, frames):
    """Return a scene with a large head and small ones that only tiles show. One appears between key frames."""
    from skimage import data

    x0, y0, x1, y1 = HEAD
    head, moon = astronaut[y0:y1, x0:x1], background(np.stack([data.moon()] * 3, -1), WIDE)
    paths = (
        lambda i: (300 + 2 * i, 300, 150),
        lambda i: (950 + i, 400, 42),
        lambda i: (1500 - 3 * i, 700 + 2 * i, 42),
        lambda i: (1150, 400, 42) if i >= 7 else None,
    )
    return Scene([Actor(head, path) for path in paths], frames, lambda i: moon, size=WIDE)


def local(pool: FramePool) -> LocalEngine:
    return LocalEngine(Anonymizer(None, AnonymizeOptions(method="none")), pool)


class Counting(FaceDetector):
    """A detector that records in which frames it searched everywhere."""

    def __init__(self, scene):
        super().__init__(DetectorOptions(0.12))
        self.scene, self.everywhere = scene, []

    def look_closer(self, image_rgb, glanced, near=None):
        if near is None:
            self.everywhere += [i for i in range(self.scene.frames) if self.scene.image(i) is image_rgb]
        return super().look_closer(image_rgb, glanced, near)


@pytest.fixture(scope="module")
def wide(astronaut):
    return small_faces(astronaut, 14)


def test_small_faces_are_found_between_key_frames(wide):
    detector = Counting(wide)
    with Workspace() as space, FramePool(2) as pool:
        found = scan(SceneClip(wide), detector, None, 0.35, space, local(pool)).candidates
    assert len(detector.everywhere) < 7
    middles = found.boxes_xyxy.reshape(-1, 2, 2).mean(1)
    missed = []
    for i in range(wide.frames):
        for box, _ in wide.visible(i):
            apart = np.linalg.norm(middles[found.frames == i] - box.reshape(2, 2).mean(0), axis=1)
            if apart.min(initial=np.inf) > 10:
                missed.append((i, box.round().tolist()))
    late = next(i for i in sorted(detector.everywhere) if i >= 7)
    assert [i for i, _ in missed] == list(range(7, late))  # until the next key frame; `complete` fills these
    assert late - 7 < 5


def test_results_do_not_depend_on_the_number_of_threads(wide, bundle):
    made = []
    for at_once in (1, 3):
        with Workspace() as space, FramePool(at_once) as pool:
            found = scan(SceneClip(wide), FaceDetector(DetectorOptions(0.12)), bundle, 0.35, space, local(pool))
            known = np.array(found.candidates.embeddings)
        made.append((found, known))
    (one, ones), (other, others) = made
    for name in ("frames", "boxes_xyxy", "scores", "landmarks_px"):
        assert np.array_equal(getattr(one.candidates, name), getattr(other.candidates, name))
    assert np.array_equal(ones, others, equal_nan=True)
    assert one.cuts == other.cuts == ()


def test_an_error_of_the_detector_ends_the_scan(wide):
    class Failing(Counting):
        def look_closer(self, image_rgb, glanced, near=None):
            raise RuntimeError("out of memory")

    with Workspace() as space, FramePool(2) as pool, pytest.raises(RuntimeError, match="out of memory"):
        scan(SceneClip(wide), Failing(wide), None, 0.35, space, local(pool))
