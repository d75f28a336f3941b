import numpy as np
import pytest

from styleid import AnonymizedFile
from styleid.types import Action, FaceOutcome, Faces, Outcome

pytestmark = pytest.mark.versions


def _faces(n: int) -> Faces:
    rng = np.random.default_rng(n)
    low = rng.uniform(0, 50, (n, 2))
    return Faces(np.concatenate([low, low + 20], 1), rng.uniform(size=n), rng.uniform(0, 70, (n, 5, 2)))


@pytest.mark.parametrize(
    ("boxes", "scores", "landmarks"),
    [((2, 4), (3,), (2, 5, 2)), ((2, 5), (2,), (2, 5, 2)), ((2, 4), (2,), (2, 10))],
)
@pytest.mark.usefixtures("unchecked_types")
def test_wrong_shapes_are_refused(boxes, scores, landmarks):
    with pytest.raises(ValueError, match="must have shape"):
        Faces(np.zeros(boxes), np.zeros(scores), np.zeros(landmarks))


def test_selection_and_joining_keep_rows_together():
    faces = _faces(5)
    parts = Faces.concatenate([faces[:2], faces[[2]], faces[np.array([False, False, False, True, True])]])
    assert np.array_equal(parts.boxes_xyxy, faces.boxes_xyxy)
    assert np.array_equal(parts.landmarks_px, faces.landmarks_px)
    assert len(faces[3]) == 1
    assert len(Faces.concatenate([])) == 0


def test_moving_there_and_back_is_nothing():
    faces = _faces(3)
    there = faces.moved(2.5, (10, -4))
    back = there.moved(1 / 2.5, (0, 0))
    assert np.allclose(np.diff(back.landmarks_px, axis=1), np.diff(faces.landmarks_px, axis=1), atol=1e-4)
    assert np.allclose(back.min_sides_px, faces.min_sides_px, atol=1e-4)


def test_pixel_centres_stay_centres_when_scaled():
    point = Faces(np.zeros((1, 4)), np.ones(1), np.full((1, 5, 2), 0.0)).moved(4, (0, 0)).landmarks_px[0, 0]
    assert np.allclose(point, 1.5)  # the centre of the first pixel becomes the centre of the first 4 x 4 block


def test_journal_form_is_rounded_and_without_empty_reason():
    record = FaceOutcome((1.234, 2, 3, 4), Action.ANONYMIZED, "latent", 2, {"distance": 1.23456}).to_json()
    assert record == {
        "box": [1.2, 2.0, 3.0, 4.0],
        "action": "anonymised",
        "method": "latent",
        "tries": 2,
        "gate": {"distance": 1.23},
    }


def test_outcomes_are_short_as_texts():
    pixels = np.zeros((2000, 2000, 3), np.uint8)
    outcome = Outcome(pixels, (), np.zeros((2000, 2000), bool))
    assert repr(outcome) == "Outcome(faces=())"
    assert "data" not in repr(AnonymizedFile(bytes(1000), outcome))
