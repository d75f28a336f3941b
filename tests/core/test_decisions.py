"""Decisions apply to the face that they are about, and to no other."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from styleid import Action, AnonymizeOptions, Anonymizer, Bundle, Faces
from styleid.core.decisions import FaceDecision, PhotoDecisions, match_decisions
from styleid.core.targets import FreshTargets
from styleid.errors import DecisionError
from styleid.pixel.obscure import face_ellipse
from tests.tiny_bundle import likeness, tiny_bundle

SHAPE = (400, 400, 3)
ONE, TWO = (100.0, 100.0, 140.0, 150.0), (200.0, 100.0, 240.0, 150.0)


def faces(*boxes: tuple[float, ...]) -> Faces:
    points = np.zeros((len(boxes), 5, 2), np.float32)
    return Faces(np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), 0.9, np.float32), points)


def moved(box: tuple[float, ...], x: float, y: float = 0.0) -> tuple[float, float, float, float]:
    return box[0] + x, box[1] + y, box[2] + x, box[3] + y


@pytest.mark.parametrize(
    ("found", "decided", "expected"),
    [
        ((ONE, TWO), (), (None, None)),
        ((ONE, TWO), ((TWO, "keep"),), (None, "keep")),
        ((ONE, TWO), ((TWO, "blur"), (ONE, "solid")), ("solid", "blur")),
        ((ONE,), ((moved(ONE, 10), "keep"),), ("keep",)),  # three fifths are shared
        ((ONE,), ((moved(ONE, 20), "keep"),), None),  # a third is
        ((), ((ONE, "keep"),), None),
        ((ONE,), ((ONE, "keep"), (ONE, "blur")), None),  # two about one face: which of them counts, nobody knows
        # the best pair comes first, whatever the order
        ((ONE, moved(ONE, 10)), ((moved(ONE, 6), "keep"), (moved(ONE, 10), "blur")), ("keep", "blur")),
    ],
)
def test_decisions_find_their_faces(found, decided, expected):
    decisions = PhotoDecisions(tuple(FaceDecision(box, do) for box, do in decided))
    if expected is None:
        with pytest.raises(DecisionError, match="matches no face"):
            match_decisions(faces(*found), SHAPE, decisions)
        return
    matched = match_decisions(faces(*found), SHAPE, decisions)
    assert tuple(None if one is None else one.do for one in matched.decisions) == expected


def test_added_boxes_come_last_and_whole_even_over_a_found_face():
    added = FaceDecision((95.0, 95.0, 145.0, 155.0), "blur", by="anna", at="2026-11-30")
    outside = FaceDecision((-20.0, 350.0, 30.0, 420.0), "solid")
    matched = match_decisions(faces(ONE, TWO), SHAPE, PhotoDecisions((FaceDecision(TWO, "remove"),), (added, outside)))
    assert matched.faces.boxes_xyxy.tolist() == [
        list(ONE), list(TWO), [95, 95, 145, 155], [-0.5, 350, 30, 399.5]
    ]  # fmt: skip
    assert matched.record_of(0) == {}
    assert matched.record_of(1) == {"do": "remove"}
    assert matched.record_of(2) == {"do": "blur", "by": "anna", "at": "2026-11-30", "added": True}
    assert matched.untouched == {1: Action.DISMISSED}
    assert matched.hidden == {2: "blur", 3: "solid"}
    assert not matched.measured.any()


@pytest.mark.parametrize("do", ["replace", "keep", "remove"])
def test_an_added_box_can_only_be_hidden(do):
    with pytest.raises(DecisionError, match="can only be obscured"):
        PhotoDecisions(added=(FaceDecision(ONE, do),))


def test_an_added_box_that_holds_nothing_is_refused():
    with pytest.raises(DecisionError, match="covers less than a pixel"):
        match_decisions(faces(), SHAPE, PhotoDecisions(added=(FaceDecision((500, 0, 600, 50), "blur"),)))


def test_another_face_is_another_target_and_the_same_each_time():
    draw = FreshTargets(3).z
    first, again, other, third = (draw("a.jpg", 0, 0, 8, n) for n in (0, 0, 1, 2))
    assert np.array_equal(first, FreshTargets(3).z("a.jpg", 0, 0, 8))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)
    assert not np.allclose(other, third)


@pytest.fixture(scope="module")
def crowd(astronaut) -> np.ndarray:
    """Three astronauts in a row."""
    small = cv2.resize(astronaut[:300, 60:360], (200, 200), interpolation=cv2.INTER_AREA)
    return np.concatenate([small, small[:, ::-1], small], 1)


@pytest.fixture(scope="module")
def make(tmp_path_factory) -> Callable[..., Anonymizer]:
    def of(generator: str, **options) -> Anonymizer:
        options = {"seed": 1} | options
        if generator == "none":
            return Anonymizer(None, AnonymizeOptions(method="none", **options))
        return Anonymizer(Bundle(tiny_bundle(tmp_path_factory, generator)), AnonymizeOptions(**options))

    return of


def same_in(box: tuple[float, ...], one: np.ndarray, other: np.ndarray) -> bool:
    mask = face_ellipse(np.array(box, np.float32), one.shape[:2], 1.0)
    return np.array_equal(one[mask], other[mask])


@pytest.mark.parametrize("generator", ["other", "noise", "none"])
@pytest.mark.parametrize("do", ["keep", "remove", "solid", "blur", "pixelate", "replace"])
def test_one_face_is_treated_as_decided_and_its_neighbours_as_before(make, crowd, generator, do):
    anonymizer = make(generator)
    before = anonymizer.anonymize(crowd, name="crowd")
    assert len(before.faces) == 3
    box = before.faces[1].box_xyxy
    decided = PhotoDecisions((FaceDecision(box, do, by="anna"),))
    after = anonymizer.anonymize(crowd, name="crowd", decisions=decided)
    face = after.faces[1]
    assert face.decision == {"do": do, "by": "anna"}
    assert [face.decision for face in (after.faces[0], after.faces[2])] == [{}, {}]
    for place in (0, 2):
        assert after.faces[place].action is before.faces[place].action
        assert same_in(before.faces[place].box_xyxy, before.image_rgb, after.image_rgb)
    if do in ("keep", "remove"):
        assert face.action is (Action.KEPT if do == "keep" else Action.DISMISSED)
        assert same_in(box, crowd, after.image_rgb)
    elif do == "replace":
        assert np.array_equal(after.image_rgb, before.image_rgb)
    else:
        assert (face.action, face.reason) == (Action.OBSCURED, "")
        assert face.method == do or (face.method == "solid" and generator != "none")  # as coarse as it takes
        assert likeness(crowd, after.image_rgb, box) < 0.6


def test_a_blur_that_was_decided_grows_until_the_face_is_hidden(make, crowd, monkeypatch):
    """Where the identity network still knows the face, the blur becomes a flat patch."""
    anonymizer = make("other")
    box = anonymizer.anonymize(crowd).faces[1].box_xyxy
    embed = anonymizer.bundle.embed
    monkeypatch.setattr(anonymizer.bundle, "embed", lambda crops: np.ones_like(embed(crops)))
    face = anonymizer.anonymize(crowd, decisions=PhotoDecisions((FaceDecision(box, "blur"),))).faces[1]
    assert (face.action, face.method, face.reason) == (Action.OBSCURED, "solid", "")


def test_another_face_is_asked_of_the_targets(make, crowd, monkeypatch):
    anonymizer, asked = make("other"), []
    box = anonymizer.anonymize(crowd, name="crowd").faces[1].box_xyxy
    sample = anonymizer.targets.sample

    def noted(bundle, photo, faces, attempt):
        asked.append([(face.index, face.other) for face in faces])
        return sample(bundle, photo, faces, attempt)

    class Noting(FreshTargets):
        def sample(self, bundle, photo, faces, attempt):
            return noted(bundle, photo, faces, attempt)

    anonymizer = anonymizer.with_people(targets=Noting(1))
    anonymizer.anonymize(crowd, name="crowd", decisions=PhotoDecisions((FaceDecision(box, target=2),)))
    assert asked[0] == [(0, 0), (1, 2), (2, 0)]


class KeepEverybody:
    mark = "everybody"

    def among(self, image_rgb, faces, rows):
        return {int(row): {"kept_similarity": 1.0} for row in rows}


def test_a_decision_goes_before_the_list_of_people_to_keep(make, crowd):
    anonymizer = make("other").with_people(keep=KeepEverybody())
    kept = anonymizer.anonymize(crowd)
    assert [face.action for face in kept.faces] == [Action.KEPT] * 3
    decided = PhotoDecisions(
        (FaceDecision(kept.faces[0].box_xyxy, "solid"), FaceDecision(kept.faces[1].box_xyxy, "replace"))
    )
    after = anonymizer.anonymize(crowd, decisions=decided)
    assert [face.action for face in after.faces] == [Action.OBSCURED, Action.ANONYMIZED, Action.KEPT]
    assert after.faces[2].gate == {"kept_similarity": 1.0}


def test_a_decision_about_no_face_is_refused(make, crowd):
    with pytest.raises(DecisionError, match=r"'keep' for the box \[0, 0, 9, 9\]"):
        make("none").anonymize(crowd, decisions=PhotoDecisions((FaceDecision((0, 0, 9, 9), "keep"),)))


def test_the_score_is_told(make, crowd):
    added = PhotoDecisions(added=(FaceDecision((0, 150, 40, 199), "blur"),))
    outcome = make("none").anonymize(crowd, decisions=added)
    assert [face.to_json()["score"] > 0.35 for face in outcome.faces] == [True, True, True, False]
    assert outcome.faces[3].to_json()["decision"] == {"do": "blur", "added": True}
