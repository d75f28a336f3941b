"""A person's attempts: larger swap steps of the own target first, then the next target."""

import numpy as np
import pytest

from styleid import AnonymizeOptions, Anonymizer
from styleid.core.attempt import FaceProgress
from styleid.core.gate import TOO_ALIKE, GateVerdict
from styleid.core.targets import FreshTargets
from styleid.people.pseudonyms import linking_threshold
from styleid.people.targets import AssignedTargets, PersonTargets, best_targets, clearest, mark_of, sightings_of
from tests.core.verdicts import measured, verdict_on

POSE = "pose or landmarks disagree"
NO_FACE = "what is found does not look like a face"


def verdict(*failures: str, drifts: tuple[str, ...] = ()) -> GateVerdict:
    similarity, shift, female = TOO_ALIKE in failures, POSE in failures, "sex" not in drifts
    one = verdict_on(
        measured(
            0.9 if similarity else 0.1,
            shift=30.0 if shift else 0.0,
            female=0.9 if female else 0.1,
            shares=(0.5, 0.5) if NO_FACE in failures else (1.0, 1.0),
        )
    )
    assert (set(one.failures), one.drifts) == (set(failures), drifts)
    return one


@pytest.mark.parametrize(
    ("targets", "failing", "tried"),
    [
        (3, [()], [(0, 0)]),
        (3, [(TOO_ALIKE,), ()], [(0, 0), (0, 1)]),
        (3, [(TOO_ALIKE,)] * 9, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]),
        (3, [(POSE,)] * 9, [(0, 0), (1, 0), (2, 0), (2, 1)]),
        (3, [(NO_FACE,)] * 9, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]),
        (3, [(NO_FACE, POSE), (NO_FACE,), ()], [(0, 0), (1, 0), (1, 1)]),
        (2, [(POSE,), (TOO_ALIKE,), (POSE, TOO_ALIKE)], [(0, 0), (1, 0), (1, 1)]),
        (1, [(POSE,)] * 9, [(0, 0), (0, 1)]),
    ],
)
def test_tries_take_more_of_a_target_before_they_take_the_next(targets, failing, tried, sources):
    face = FaceProgress(sources[0], tries=2)
    giver = AssignedTargets()
    giver.give([mark_of(face.source)], PersonTargets(np.zeros((targets, 4), np.float32)))
    seen = []
    for failures in failing:
        seen.append((face.target, face.step))
        if not giver.plan_next(face, verdict(*failures), 2):
            break
    assert seen == tried


def test_a_face_that_passed_goes_on_only_with_fresh_targets(sources):
    face = FaceProgress(sources[0], tries=2)
    giver = AssignedTargets()
    giver.give([mark_of(face.source)], PersonTargets(np.zeros((3, 4), np.float32)))
    assert not giver.plan_next(face, verdict(drifts=("sex",)), 2)
    assert FreshTargets(1).plan_next(face, verdict(drifts=("sex",)), 2)
    assert not FreshTargets(1).plan_next(face, verdict(), 2)
    assert FreshTargets(1).plan_next(face, verdict(TOO_ALIKE), 2)
    assert face.step == 1
    face.tries = 3
    assert not FreshTargets(1).plan_next(face, verdict(drifts=("sex",)), 2), "a drift that lasts is accepted"
    assert FreshTargets(1).plan_next(face, verdict(TOO_ALIKE), 2)


def test_marks_tell_faces_apart_and_know_them_again(sources, astronaut, bundle):
    marks = [mark_of(source) for source in sources]
    assert len(set(marks)) == len(marks)
    image = np.ascontiguousarray(astronaut[:260, 96:352])
    anonymizer = Anonymizer(bundle, AnonymizeOptions())
    assert mark_of(anonymizer.analyse(image, anonymizer.find(image), np.array([0]))[0]) == marks[0]


def test_sightings_know_a_face_and_its_mirror_image_for_one(sources, bundle):
    seen = sightings_of(bundle, "a.png", sources)
    assert [s.photo for s in seen] == ["a.png"] * 3
    assert np.linalg.norm([s.embedding for s in seen], axis=1) == pytest.approx(1, abs=1e-5)
    alone = float(sources[0].observation.embedding @ sources[1].observation.embedding)
    assert float(seen[0].embedding @ seen[1].embedding) > alone
    assert clearest(seen, bundle.spec.resolution)[-1] is seen[2]


def test_the_best_target_stays_alike_and_is_a_stranger(sources, bundle):
    method = Anonymizer(bundle, AnonymizeOptions()).method
    seen = sightings_of(bundle, "", sources)
    own = seen[0].wplus  # somebody who is like herself is no target
    draw = np.random.default_rng(2).standard_normal((3, bundle.spec.z)).astype(np.float32)
    attributes, wplus = (np.repeat(one[None], 3, 0) for one in (seen[0].attributes, own))
    candidates = np.concatenate([own[None], bundle.sample(draw, attributes, wplus)])
    ordered = best_targets(bundle, method, candidates, seen, seen[0].embedding[None])
    assert sorted(map(bytes, ordered)) == sorted(map(bytes, candidates))
    assert not np.array_equal(ordered[0], own)
    assert np.array_equal(ordered, best_targets(bundle, method, candidates, seen, seen[0].embedding[None]))


def test_more_faces_are_linked_more_strictly(bundle):
    asked = [linking_threshold(bundle, n) for n in (0, 10, 150, 1000, 10_000, 10**9)]
    assert asked == sorted(asked)
    assert asked[0] == asked[2] == pytest.approx(bundle.spec.thresholds[1e-2].high)
    assert asked[2] < asked[3] < asked[4]
    assert asked[-1] == pytest.approx(bundle.spec.thresholds[1e-4].high)
