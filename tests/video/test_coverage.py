"""No frame shows a visible face unchanged, whatever the detector misses, in scenes with known face positions."""

from pathlib import Path

import numpy as np
import pytest

from styleid import AnonymizeOptions, Anonymizer, Faces
from styleid.faces.detect import DetectorOptions, FaceDetector
from styleid.video.options import VideoOptions
from styleid.video.render import Renderer
from styleid.video.run import UNSURE_SHARE, first_pass
from styleid.video.store import Workspace
from tests.video.scenes import HEAD, Actor, Missing, Scene, SceneClip, Taking, background

pytest.importorskip("scipy", reason="faces are given to tracks by SciPy: pip install 'styleid[video]'")
FRAMES = 70


def head_of(astronaut: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = HEAD
    return astronaut[y0:y1, x0:x1]


@pytest.fixture(scope="module")
def scenes(astronaut):
    from skimage import data

    head, wood, moon = head_of(astronaut), background(data.coffee()), background(np.stack([data.moon()] * 3, -1))
    mirrored = head[:, ::-1]

    def swinging(i):
        return 160 + 90 * np.sin(i / 9), 110 + 25 * np.cos(i / 7), 62 + 14 * np.sin(i / 20)

    def passing(i):
        return -60 + 6.2 * i, 120.0, 66.0

    def small(i):
        return 60 + 0.8 * i, 190.0, 24.0

    return {
        "swinging behind a pole": Scene(
            [Actor(head, swinging)], FRAMES, lambda i: wood, lambda i: [(175, 0, 205, 240)]
        ),
        "in, through and out": Scene([Actor(head, passing), Actor(mirrored, small)], FRAMES, lambda i: moon),
        "cut and blur": Scene(
            [
                Actor(
                    head,
                    lambda i: (90 + i, 100, 64) if i < 35 else (240 - 1.5 * i, 120, 70),
                    lambda i: 2.5 * (i % 20 > 14),
                ),
                Actor(mirrored, lambda i: None if i < 35 else (250, 110, 58)),
            ],
            FRAMES,
            lambda i: wood if i < 35 else 255 - moon,
        ),
    }


def misses(kind: str):
    drawn = np.random.default_rng(5).random(10_000) < 0.2
    return {
        "nothing": lambda i: False,
        "15 frames in a row": lambda i: i < 15 or 30 <= i < 45 or i >= FRAMES - 15,
        "a fifth at random": lambda i: bool(drawn[i]),
    }[kind]


class Forgetting(FaceDetector):
    """The detector as videos use it, which glances and looks closer, but finds nothing in some frames.

    Frames must be given in order, by one thread.
    """

    def __init__(self, options: DetectorOptions, blind) -> None:
        super().__init__(options)
        self._blind, self._frame = blind, -1

    def glance(self, image_rgb):
        self._frame += 1
        return Faces.empty() if self._blind(self._frame) else super().glance(image_rgb)

    def look_closer(self, image_rgb, glanced, near=None):
        return Faces.empty() if self._blind(self._frame) else super().look_closer(image_rgb, glanced, near)


DETECTORS = {
    "float32 in every frame": lambda options, blind: Missing(FaceDetector(options), blind),
    "8 bits between key frames": Forgetting,
}


@pytest.mark.parametrize("missed", ["nothing", "15 frames in a row", "a fifth at random"])
@pytest.mark.parametrize("name", ["swinging behind a pole", "in, through and out", "cut and blur"])
@pytest.mark.parametrize("kind", DETECTORS)
def test_no_visible_face_is_left_untouched(scenes, kind, name, missed):
    scene, options = scenes[name], AnonymizeOptions(method="none")
    clip, anonymizer, sink = SceneClip(scene), Anonymizer(None, options), Taking()
    low = DetectorOptions(options.detector.threshold * UNSURE_SHARE)
    with Workspace() as space:
        _, tracks, measured, assigned = first_pass(
            clip, anonymizer, VideoOptions(Path("out.mp4")), DETECTORS[kind](low, misses(missed)), space
        )
        Renderer(clip, tracks, anonymizer, measured, assigned).run(sink)
    assert len(sink.changed) == FRAMES
    faces, uncovered = 0, []
    for i, changed in enumerate(sink.changed):
        for box, mask in scene.visible(i):
            faces += 1
            if changed[mask].mean() < 0.75:
                uncovered.append((i, box.round().tolist(), round(float(changed[mask].mean()), 2)))
        untouched = ~changed
        assert np.array_equal(sink.images[i][untouched], scene.image(i)[untouched])
    assert faces > 40
    assert uncovered == []
    assert np.mean([changed.mean() for changed in sink.changed]) < 0.25  # most of the picture is unchanged


def test_cuts_are_found_where_they_are(scenes):
    from styleid.video.scan import CutFinder

    for name, cuts in (("cut and blur", [35]), ("swinging behind a pole", [])):
        finder, scene = CutFinder(), scenes[name]
        assert [i for i in range(FRAMES) if finder.is_cut(scene.image(i))] == cuts
