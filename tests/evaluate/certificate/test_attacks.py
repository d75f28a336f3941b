"""The choice of faces to attack, the source of thresholds, and attacks with known results."""

from dataclasses import dataclass

import numpy as np
import pytest

from styleid.evaluate.battery import Battery
from styleid.evaluate.certificate.attacks import (
    FROM_BUNDLE,
    FROM_MAKER,
    FROM_RUN,
    VIEWS,
    Target,
    attack,
    choose_targets,
    thresholds_of,
)
from styleid.evaluate.certificate.examine import ExaminedFace, ExaminedPhoto
from styleid.evaluate.outputs import Status
from styleid.evaluate.protocol import Named
from tests.evaluate.crowd import crowd, strangers, turned

POINTS = np.zeros((5, 2), np.float32)


@dataclass(frozen=True)
class Judge:
    """A recogniser by name alone."""

    name: str
    in_gate: bool = False


def look(name: str, *actions: str) -> ExaminedPhoto:
    boxes = [np.array([60 * k, 0, 60 * k + 50, 50], np.float32) for k in range(len(actions))]
    faces = [ExaminedFace(box, POINTS, action, 0.9) for box, action in zip(boxes, actions, strict=True)]
    return ExaminedPhoto(name, Status.MEASURED, faces=faces)


def test_faces_that_were_left_on_purpose_are_not_attacked():
    targets, every = choose_targets([look("a", "anonymised", "kept", "dismissed", "")], {}, 10, 0)
    assert every == 2
    assert [(one.face, one.label, one.named) for one in targets] == [(0, "a#0", False), (3, "a#3", False)]


def test_names_go_to_the_faces_that_they_mean():
    named = {"a": (Named("mary", (60, 0, 110, 50)),)}
    targets, _ = choose_targets([look("a", "anonymised", "anonymised")], named, 10, 0)
    assert [one.label for one in targets] == ["a#0", "mary"]


def test_whole_people_are_drawn_the_named_ones_first():
    looks = [look(f"p{person}/{photo}", "anonymised") for person in range(10) for photo in range(3)]
    looks += [look(f"nobody{k}", "anonymised") for k in range(50)]
    people = {one.name: (Named(one.name[:2]),) for one in looks if one.name.startswith("p")}
    targets, every = choose_targets(looks, people, 20, 0)
    assert (every, len(targets)) == (80, 20)
    labels = [one.label for one in targets if one.named]
    assert len(labels) == 18
    assert {labels.count(label) for label in labels} == {3}
    assert targets == choose_targets(looks, people, 20, 0)[0]
    assert targets != choose_targets(looks, people, 20, 1)[0]


def test_thresholds_come_from_the_run_where_strangers_are_known(bundle):
    clear, labels = crowd(60, 2, 0.3)
    for judge in (Judge("gate", in_gate=True), Judge("dlib"), Judge("other")):
        placed, source = thresholds_of(judge, clear, labels, np.ones(len(labels), bool), bundle.spec)
        assert source == FROM_RUN
        assert 1e-2 in placed.values
        assert placed.pairs == 120 * 118 // 2


@pytest.mark.parametrize(
    ("judge", "source", "rate", "similarity"),
    [
        (Judge("dlib"), FROM_MAKER, 1e-2, 0.915),
        (Judge("sface"), FROM_MAKER, 1e-3, 0.363),
        (Judge("other"), "", None, 0),
    ],
)
def test_without_names_the_makers_thresholds_are_taken(judge, source, rate, similarity, bundle):
    clear, labels = crowd(60, 2, 0.3)
    placed, said = thresholds_of(judge, clear, labels, np.zeros(len(labels), bool), bundle.spec)
    assert said == source
    assert dict(placed.values) == ({} if rate is None else {rate: similarity})
    assert bool(placed.missing) == (rate is None)


def test_without_names_the_bundle_tells_for_its_own_network(bundle):
    clear, labels = crowd(10, 2, 0.3)
    placed, source = thresholds_of(Judge("gate", in_gate=True), clear, labels, np.zeros(20, bool), bundle.spec)
    assert source == FROM_BUNDLE
    assert dict(placed.values) == {rate: one.high for rate, one in bundle.spec.thresholds.items()}


@pytest.mark.parametrize(("shown", "least", "most"), [("copied", 0.9, 1.0), ("strangers", 0.0, 0.1)])
def test_attacks_find_what_is_known_to_be_there(shown, least, most, bundle):
    clear, labels = crowd(60, 2, 0.3)
    outputs = clear if shown == "copied" else strangers(clear)
    embeddings = [
        dict(zip((("dlib", view) for view in VIEWS), rows, strict=True))
        for rows in zip(clear, strangers(clear, 8), outputs, strict=True)
    ]
    targets = [Target(f"{k}.jpg", 0, label, True, False) for k, label in enumerate(labels)]
    found = attack(targets, embeddings, [Judge("dlib")], bundle.spec, Battery(("A0", "A0s", "A1", "A4", "A5")))
    rank_one = next(one for one in found.figures if (one.attack, one.name) == ("A0", "rank-1"))
    assert least <= rank_one.estimate.value <= most
    assert rank_one.floor.value <= 0.1
    assert rank_one.chance == pytest.approx(1 / 60)
    assert (found.faces, found.people) == (120, 60)


def test_an_attacker_who_learns_finds_what_a_naive_one_does_not(bundle):
    """A rotation hides everybody from who does not know it; from pairs of other people it can be learnt."""
    clear, labels = crowd(60, 2, 0.3)
    embeddings = [
        dict(zip((("dlib", view) for view in VIEWS), rows, strict=True))
        for rows in zip(clear, strangers(clear, 8), turned(clear), strict=True)
    ]
    targets = [Target(f"{k}.jpg", 0, label, True, False) for k, label in enumerate(labels)]
    found = attack(targets, embeddings, [Judge("dlib")], bundle.spec, Battery(("A0", "A2")))
    values = {(one.attack, one.name): one.estimate.value for one in found.figures}
    floors = {(one.attack, one.name): one.floor.value for one in found.figures}
    assert values["A0", "rank-1"] < 0.1
    for learner in ("ridge", "network"):
        assert values["A2", f"rank-1, {learner}"] > 0.6
        assert floors["A2", f"rank-1, {learner}"] < 0.2
    assert all(problem.startswith("dlib: 7080 impostor pairs") for problem in found.problems)


def test_too_few_people_to_learn_from_are_told(bundle):
    clear, labels = crowd(20, 2, 0.3)
    embeddings = [{("dlib", view): row for view in VIEWS} for row in clear]
    targets = [Target(f"{k}.jpg", 0, label, True, False) for k, label in enumerate(labels)]
    found = attack(targets, embeddings, [Judge("dlib")], bundle.spec, Battery(("A0", "A2")))
    assert {one.attack for one in found.figures} == {"A0"}
    assert found.problems[0].startswith("A2: 20 people are too few")


def test_what_cannot_be_compared_counts_as_found_and_what_is_withheld_does_not(bundle):
    clear, labels = crowd(60, 2, 0.3)
    hidden = [
        dict(zip((("dlib", view) for view in VIEWS[:2]), rows, strict=True)) for rows in zip(clear, clear, strict=True)
    ]
    for lost, value in ((True, 1.0), (False, 0.0)):
        targets = [Target(f"{k}.jpg", 0, label, True, lost) for k, label in enumerate(labels)]
        found = attack(targets, hidden, [Judge("dlib")], bundle.spec, Battery(("A0", "A0s")))
        assert {one.estimate.value for one in found.figures if one.name == "rank-1"} == {value}


def test_a_run_without_a_face_is_told():
    found = attack([], [], [Judge("dlib")], None, Battery(("A0",)))
    assert found.problems == ["there is no face to attack."]
    assert found.figures == []
