"""Gaps and ends of tracks are filled alike whatever the number of threads, and reading stops early."""

import numpy as np
import pytest

from styleid import AnonymizeOptions, Anonymizer
from styleid.faces.follow import follow, followed
from styleid.faces.track import associate
from styleid.types import Faces
from styleid.video.ahead import FramePool
from styleid.video.gaps import complete
from styleid.video.scan import scan
from styleid.video.segments import LocalEngine
from styleid.video.store import Workspace
from styleid.video.tracks import tracks_of
from tests.video.scenes import HEAD, Actor, Scene, SceneClip, background, face_box

pytest.importorskip("scipy", reason="faces are given to tracks by SciPy: pip install 'styleid[video]'")
FRAMES = 60
NOBODY = AnonymizeOptions(method="none")


class Knowing:
    """A detector that returns the true boxes of a scene, except in some frames."""

    def __init__(self, scene: Scene, blind) -> None:
        self._scene, self._blind, self._frame = scene, blind, -1

    def detect(self, image_rgb) -> Faces:
        self._frame += 1
        places = [actor.path(self._frame) for actor in self._scene.actors]
        boxes = [face_box(*place) for place in places if place is not None]
        if self._blind(self._frame) or not boxes:
            return Faces.empty()
        points = [np.tile(box.reshape(2, 2).mean(0), (5, 1)) for box in boxes]
        return Faces(np.float32(boxes), np.full(len(boxes), 0.9, np.float32), np.float32(points))


@pytest.fixture(scope="module")
def clip(astronaut):
    from skimage import data

    x0, y0, x1, y1 = HEAD
    head = astronaut[y0:y1, x0:x1]
    paths = (lambda i: (60 + 3 * i, 100 + 20 * np.sin(i / 6), 50), lambda i: (250 - 2 * i, 150, 60))
    coffee = background(data.coffee())
    return SceneClip(Scene([Actor(head, path) for path in paths], FRAMES, lambda i: coffee))


def completed(clip, blind, at_once, seen=None):
    class Reading:
        info = clip.info

        def frames(self):
            for frame in clip.frames():
                if seen is not None:
                    seen.append(frame.index)
                yield frame

    with Workspace() as space, FramePool(at_once) as pool:
        found = scan(clip, Knowing(clip.scene, blind), None, 0.35, space, LocalEngine(Anonymizer(None, NOBODY)))
        rows = associate(found.candidates, 0.35, found.cuts, 25)
        return complete(Reading(), found, tracks_of(found, rows, 0.35), None, pool)


BLIND = {
    "a gap": lambda i: 20 <= i < 32,
    "both ends": lambda i: i < 10 or i >= 48,
    "a fifth": lambda i: i % 5 == 3,
}


@pytest.mark.parametrize("name", BLIND)
def test_threads_fill_what_one_thread_fills(clip, name):
    one, other = completed(clip, BLIND[name], 1), completed(clip, BLIND[name], 3)
    assert [t.first for t in one] == [t.first for t in other]
    for mine, theirs in zip(one, other, strict=True):
        assert np.array_equal(mine.boxes_xyxy, theirs.boxes_xyxy)
        assert np.array_equal(mine.landmarks_px, theirs.landmarks_px, equal_nan=True)
    assert max(t.last for t in one) >= FRAMES - 3


@pytest.mark.parametrize(("blind", "read"), [(lambda i: 20 <= i < 24, range(35)), (lambda i: False, range(0))])
def test_only_the_frames_up_to_the_last_gap_are_read(clip, blind, read):
    seen = []
    completed(clip, blind, 1, seen)
    assert seen == list(read)


def test_a_face_is_followed_frame_by_frame_as_through_all_frames(clip):
    pictures = [clip.scene.image(i)[..., 1].copy() for i in range(12)]
    box = np.float32(face_box(*clip.scene.actors[1].path(0)))
    boxes, scores = follow(pictures, box, np.zeros(2, np.float32))
    steps = followed(pictures, box, np.zeros(2, np.float32))
    for k in range(5):
        box_k, score_k = next(steps)
        assert np.array_equal(box_k, boxes[k])
        assert np.float32(score_k) == scores[k]
