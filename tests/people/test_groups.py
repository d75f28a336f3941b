"""Every group has at least k people, everybody is in one, and groups are reproducible."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from styleid import AnonymizeOptions, Anonymizer
from styleid.core.attempt import FaceProgress
from styleid.errors import OptionError
from styleid.people.groups import GroupTargets, group_people, person_features
from styleid.people.targets import mark_of
from tests.people.sightings import sighting


def attributes(draw: np.random.Generator, count: int) -> np.ndarray:
    tones = draw.dirichlet(np.ones(5), count)
    return np.concatenate([draw.uniform(1, 90, (count, 1)), draw.random((count, 1)), tones], 1).astype(np.float32)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 80), st.integers(1, 12), st.booleans())
def test_no_group_is_below_k_and_everybody_is_in_one(seed, count, k, alike):
    draw = np.random.default_rng(seed)
    features = person_features(attributes(draw, count))
    if alike:
        features[:] = features[:1]
    if 0 < count < k:
        with pytest.raises(ValueError, match=f"k must be from 1 to the number of people, {count}, not"):
            group_people(features, k)
        return
    groups = group_people(features, k)
    assert len(groups) == count
    sizes = np.bincount(groups) if count else np.zeros(0, int)
    assert (sizes >= k).all()
    assert (sizes < 2 * k).all()
    assert group_people(features.copy(), k) == groups


def test_people_who_are_alike_share_a_group():
    draw = np.random.default_rng(5)
    men, women = attributes(draw, 12), attributes(draw, 12)
    men[:, 1], women[:, 1] = 0.1, 0.9
    mixed = np.concatenate([men, women])[order := draw.permutation(24)]
    groups = np.array(group_people(person_features(mixed), 4))
    for group in range(6):
        assert len({bool(i < 12) for i in order[groups == group]}) == 1


def test_k_of_nobody_is_no_error_and_k_of_nothing_is():
    assert group_people(np.zeros((0, 7)), 5) == []
    with pytest.raises(ValueError, match="not 0"):
        group_people(np.zeros((3, 7)), 0)


@pytest.fixture
def make(bundle):
    """Make the targets of groups of k."""
    method = Anonymizer(bundle, AnonymizeOptions()).method

    def of(k: int, seed: int = 1) -> GroupTargets:
        return GroupTargets(bundle, method, k, seed)

    return of


@pytest.fixture
def crowd(bundle):
    """Two faces of one person, a face each of three others: a woman of the first one's age and two old men."""
    people = [(0, 30.0, 0.9), (1, 30.0, 0.9), (2, 80.0, 0.1), (3, 81.0, 0.1)]
    return [
        sighting(bundle, person, age_years=age, female=female, photo=f"{photo}{person}.png")
        for person, age, female in people
        for photo in ("ab" if person == 0 else "a")
    ]


def test_each_group_shares_one_target(make, crowd, bundle):
    targets = make(2)
    targets.assign(crowd)
    given_to = [targets.given_to(one.mark) for one in crowd]
    assert [one.targets.shape for one in given_to] == [(1, bundle.spec.size)] * 5
    women, men = given_to[:3], given_to[3:]
    assert [{one.group for one in half} for half in (women, men)] in ([{(1, 2)}, {(2, 2)}], [{(2, 2)}, {(1, 2)}])
    for half in (women, men):
        assert all(np.array_equal(one.targets, half[0].targets) for one in half)
    assert not np.array_equal(women[0].targets, men[0].targets)


def test_the_plan_tells_who_is_with_whom(make, crowd):
    plans = []
    for k, seed, seen in ((2, 1, crowd), (2, 2, crowd[::-1]), (4, 1, crowd)):
        targets = make(k, seed)
        assert targets.plan == ""
        targets.assign(seen)
        plans.append(targets.plan)
    assert [len(plan) for plan in plans] == [16, 16, 16]
    assert plans[0] != plans[2]


def test_fewer_people_than_k_are_refused_before_any_is_given_a_target(make, crowd):
    targets = make(5)
    with pytest.raises(OptionError, match=r"^targets: k=5 needs at least 5 people, and this run shows only 4\."):
        targets.assign(crowd)
    assert targets.given_to(crowd[0].mark) is None


def test_nobody_needs_no_group(make):
    targets = make(5)
    targets.assign([])
    assert targets.plan == ""


def test_a_group_that_too_few_people_passed_with_gets_its_target_no_more(make, crowd, sources):
    targets = make(2)
    targets.assign(crowd)
    first, second = (targets.given_to(crowd[k].mark).group[0] for k in (0, 4))

    def told(*groups: int | None) -> dict:
        return {"faces": [{"group": {"number": group}} if group else {"action": "obscured"} for group in groups]}

    records = {"a0.png": told(first), "b0.png": told(first), "a1.png": told(None), "empty.png": {}}
    records |= {"a2.png": told(second), "a3.png": told(second)}
    assert targets.short(records) == {first: {"a0.png", "b0.png"}}, "two photos of one person are one person"
    assert targets.short(records | {"a1.png": told(first)}) == {}
    targets.withdraw(first)
    targets.give([mark_of(sources[0])], targets.given_to(crowd[0].mark))
    targets.give([mark_of(sources[1])], targets.given_to(crowd[4].mark))
    progress = [FaceProgress(source) for source in sources]
    targets.admit(progress)
    assert [one.group for one in progress] == [(first, 2), (second, 2), None]
    assert [one.refusal for one in progress] == [
        "fewer than 2 people of its group could get their new face",
        "",
        "the face was not found in the first pass, which assigned the targets",
    ]
