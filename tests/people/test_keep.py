"""A face is left alone only where it is surely a kept person's; everything doubtful is hidden."""

import numpy as np
import pytest

from styleid import Action, AnonymizeOptions, Anonymizer
from styleid.bundles.spec import SimilarityRange
from styleid.faces.views import embed_faces
from styleid.people.keep import MARGIN, Keep, keep_threshold
from tests.tiny_bundle import likeness

RATES = {rate: SimilarityRange(-0.5, high) for rate, high in ((1e-2, 0.4), (1e-3, 0.5), (1e-4, 0.6))}


def at(similarity: float) -> np.ndarray:
    """Return a unit vector so like the first axis, and not at all like the second."""
    return np.float32([similarity, 0, np.sqrt(1 - similarity**2)])


@pytest.fixture
def two(bundle) -> Keep:
    """Two kept people, on the first two axes."""
    return Keep(bundle, {"one": np.float32([[1, 0, 0]]), "two": np.float32([[0, 1, 0]])}, "")


def test_more_kept_people_ask_for_more():
    asked = [keep_threshold(RATES, n) for n in (1, 10, 100)]
    assert asked == pytest.approx([0.6, 0.7, 0.8])
    assert keep_threshold({1e-3: SimilarityRange(-0.5, 0.5)}, 1) == 0.5
    assert keep_threshold({1e-3: SimilarityRange(-0.5, 0.5)}, 10) > 0.5


def test_only_sure_faces_are_kept(two, bundle):
    asked = two.threshold
    strictest = min(bundle.spec.thresholds)
    assert asked > bundle.spec.thresholds[strictest].high
    sure, doubtful = two.match(np.stack([at(asked + 0.01)]))[0], two.match(np.stack([at(asked - 0.01)]))[0]
    assert (sure.person, sure.sure) == (0, True)
    assert (doubtful.person, doubtful.sure) == (0, False)
    assert two.match(np.stack([at(asked + 0.1)]))[0].similarity == pytest.approx(asked + 0.1)


def test_a_face_between_two_kept_people_is_hidden(two):
    between = np.float32([[0.75, 0.75 - MARGIN + 0.02, 0]])
    clear = np.float32([[0.75, 0.75 - MARGIN - 0.02, 0]])
    assert [two.match(face)[0].sure for face in (between, clear)] == [False, True]


def test_of_two_faces_that_are_one_kept_person_both_are_hidden(two):
    faces = np.stack([at(0.95), at(0.9), np.float32([0, 1, 0])])
    assert [(m.person, m.sure) for m in two.match(faces)] == [(0, False), (0, False), (1, True)]


def test_several_photos_of_a_person_count_by_their_mean_direction(bundle):
    keep = Keep(bundle, {"one": np.float32([[1, 0, 0], [0, 1, 0]])}, "")
    assert keep.match(np.float32([[1, 0, 0]]))[0].similarity == pytest.approx(0.5**0.5)
    assert keep.match(np.float32([[1, 1, 0]]) / np.float32(2**0.5))[0].similarity == pytest.approx(1)


def test_what_lies_over_a_kept_face_wins(astronaut, bundle):
    look = Anonymizer(bundle, AnonymizeOptions(method="none"))
    faces = look.find(astronaut)
    own = embed_faces(bundle, astronaut, faces.landmarks_px[:1])
    look = look.with_people(keep=Keep(bundle, {"eve": own}, ""))
    x0, y0, _, y1 = faces.boxes_xyxy[0]
    left = np.float32([[x0 - 60, y0, x0 + 20, y1]])
    alone, beside = look.anonymize(astronaut), look.anonymize(astronaut, boxes_xyxy=left)
    assert np.array_equal(alone.image_rgb, astronaut)
    assert not alone.region_mask.any()
    assert [face.action for face in beside.faces] == [Action.KEPT, Action.OBSCURED]
    assert np.array_equal(beside.image_rgb[~beside.region_mask], astronaut[~beside.region_mask])
    assert beside.region_mask[int(y0 + y1) // 2, int(x0) + 10]
    assert likeness(astronaut, beside.image_rgb, left[0]) < 0.35
