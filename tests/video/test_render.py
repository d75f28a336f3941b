"""Faces that fail are obscured with fades, and stay obscured between two failures that are close in time."""

import numpy as np
import pytest

from styleid import AnonymizeOptions, Anonymizer
from styleid.media.video.clip import ClipFrame
from styleid.types import Action, FaceOutcome
from styleid.video.render import Held, Renderer, hiding
from styleid.video.tracks import Track
from tests.video.scenes import SIZE, Scene, SceneClip, Taking


def shares(failing, frames, fade=4, merge=10):
    return [hiding(failing, i, fade, merge)[0] for i in frames]


def still(box):
    """Return a track of one frame without landmarks."""
    return Track(0, box[None], np.full((1, 5, 2), np.nan, np.float32), np.ones(1, np.float32))


def test_transitions_rise_and_fall():
    assert shares([10], range(4, 17)) == pytest.approx([0, 0, 0.2, 0.4, 0.6, 0.8, 1, 0.8, 0.6, 0.4, 0.2, 0, 0])


def test_faces_stay_obscured_between_close_failures():
    assert shares([10, 20], range(10, 21)) == [1.0] * 11
    assert hiding([10, 20], 14, 4, 10) == (1.0, 10)
    assert min(shares([10, 22], range(10, 23))) == 0


def test_nothing_is_obscured_without_failures():
    assert shares([], range(5)) == [0.0] * 5


@pytest.mark.parametrize(("far", "covered"), [(0, True), (150, False)])
def test_an_obscured_face_lies_over_a_new_face_next_to_it(far, covered):
    """Otherwise the overlap would flicker, because fades are drawn over new faces, too."""
    image = np.random.default_rng(1).integers(0, 255, (*SIZE[::-1], 3), np.uint8)
    clip = SceneClip(Scene([], 1, lambda i: image))
    boxes = [np.float32([60, 60, 110, 120]), np.float32([80 + far, 60, 130 + far, 120])]
    anonymizer = Anonymizer(None, AnonymizeOptions(method="none"))
    renderer = Renderer(clip, [still(box) for box in boxes], anonymizer, None, {})
    renderer.failures[0], renderer.reasons[0, 0] = [0], "too like the original"
    kinds = (Action.OBSCURED, Action.ANONYMIZED)
    outcomes = {i: FaceOutcome(tuple(map(float, b)), kinds[i], "", 1, {}, "") for i, b in enumerate(boxes)}
    frame = ClipFrame(0, 0.0, 0.04, 0, lambda i: image)
    held = Held(frame, image.copy(), np.zeros(image.shape[:2], bool), dict(enumerate(boxes)), outcomes)
    sink = Taking()
    renderer.release(held, sink, None)
    assert (np.ptp(sink.images[0][70:110, 70:100].reshape(-1, 3), 0).max() == 0) == covered
    assert np.array_equal(sink.images[0][~sink.changed[0]], image[~sink.changed[0]])
    assert [log.anonymised for log in renderer.logs] == [0, 1]
