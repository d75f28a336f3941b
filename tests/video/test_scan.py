"""Faces that a person sees only in another view of a frame are found there."""

from fractions import Fraction

import numpy as np

from styleid.media.video.clip import ClipFrame, ClipInfo
from styleid.types import Faces
from styleid.video.scan import scan
from styleid.video.store import Workspace

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
        found = scan(BrightClip(), SeesBright(), None, 0.35, space)
    assert found.candidates.frames.tolist() == [1]
    assert found.candidates.boxes_xyxy.tolist() == [[20.5, 20.5, 40.5, 50.5]]
