"""Which person a detected face belongs to, and which pixels are filled."""

import numpy as np
import pytest

from styleid.evaluate.originals import match_people, overlaps, skin_tone
from styleid.evaluate.protocol import Named
from styleid.types import Faces

SHAPE = (100, 200, 3)


def found(*boxes: tuple[float, ...]) -> Faces:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    points = np.repeat(array.reshape(-1, 2, 2).mean(1)[:, None], 5, 1) + np.arange(5)[:, None]
    return Faces(array, np.ones(len(array)), points)


def test_overlaps_are_intersections_over_unions():
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], np.float32)
    assert overlaps(boxes, boxes[0]).tolist() == pytest.approx([1.0, 1 / 3, 0.0])


def test_a_person_without_a_box_is_the_face_in_the_middle():
    faces = found((0, 0, 20, 20), (90, 40, 110, 60), (150, 10, 170, 30))
    _, people, seen, unfound = match_people(faces, (Named("ann"),), SHAPE)
    assert people == ["", "ann", ""]
    assert (seen, unfound) == ([True] * 3, [])


def test_a_person_without_any_face_is_unfound():
    faces, people, _, unfound = match_people(found(), (Named("ann"),), SHAPE)
    assert (len(faces), people, unfound) == (0, [], ["ann"])


def test_named_boxes_take_the_face_that_they_overlap_and_missed_ones_become_faces():
    named = (Named("ann", (91, 41, 111, 61)), Named("ben", (150, 60, 190, 100)))
    faces, people, seen, unfound = match_people(found((0, 0, 20, 20), (90, 40, 110, 60)), named, SHAPE)
    assert people == ["", "ann", "ben"]
    assert (seen, unfound) == ([True, True, False], [])
    points = faces.landmarks_px[2]
    assert np.isfinite(points).all()
    assert ((points > [150, 60]) & (points < [190, 100])).all()
    assert points[0, 0] < points[1, 0]
    assert points[0, 1] < points[2, 1] < points[3, 1]


def test_two_people_do_not_share_a_face():
    named = (Named("ann", (0, 0, 20, 20)), Named("ben", (1, 1, 21, 21)))
    _, people, seen, _ = match_people(found((0, 0, 20, 20)), named, SHAPE)
    assert (people, seen) == (["ann", "ben"], [True, False])


def test_lighter_skin_has_the_larger_angle():
    everywhere = np.ones((20, 20), bool)
    light, dark = (np.full((20, 20, 3), colour, np.uint8) for colour in ((240, 210, 190), (90, 60, 45)))
    assert skin_tone(light, everywhere) > 41
    assert skin_tone(dark, everywhere) < -30
    assert np.isnan(skin_tone(light, ~everywhere))
