"""Under one key a person has the same targets in every run; another key gives others."""

import numpy as np
import pytest

from styleid import AnonymizeOptions, Anonymizer
from styleid.core.attempt import FaceProgress
from styleid.people.key_file import SecretKey, new_key
from styleid.people.pseudonyms import TARGETS, ConsistentTargets
from tests.people.sightings import sighting


@pytest.fixture
def key(tmp_path) -> SecretKey:
    return new_key(tmp_path / "a.key")


@pytest.fixture
def make(bundle, key):
    """Open the targets of a key as a new run does."""
    method = Anonymizer(bundle, AnonymizeOptions()).method

    def of(secret: SecretKey = key) -> ConsistentTargets:
        return ConsistentTargets(bundle, method, secret)

    return of


def test_a_person_keeps_targets_from_run_to_run(make, bundle, tmp_path):
    first, again, other = sighting(bundle, 0), sighting(bundle, 0, photo="b.png"), sighting(bundle, 1)
    one, stranger = make(), make(new_key(tmp_path / "b.key"))
    one.assign([first, other])
    given = [one.given_to(face.mark).targets for face in (first, other)]
    assert [own.shape for own in given] == [(TARGETS, bundle.spec.size)] * 2
    assert not np.array_equal(*given)
    two = make()
    two.assign([again])
    assert np.array_equal(two.given_to(again.mark).targets, given[0])
    stranger.assign([first])
    assert not np.array_equal(stranger.given_to(first.mark).targets, given[0])


def test_the_journal_can_tell_keys_apart_and_nothing_else(make, tmp_path, key):
    targets = make()
    targets.assign([])
    marks = [targets.run_mark(), make().run_mark(), make(new_key(tmp_path / "b.key")).run_mark()]
    assert marks[0] == marks[1] != marks[2]
    assert all(len(mark) == 16 for mark in marks)
    assert marks[0] not in key.secret.hex()


def test_faces_that_no_first_pass_met_are_met_when_they_are_admitted(make, bundle, astronaut):
    anonymizer = Anonymizer(bundle, AnonymizeOptions())
    photo = np.ascontiguousarray(astronaut[:260, 96:352])
    (source,) = anonymizer.analyse(photo, anonymizer.find(photo), np.array([0]))
    targets = make()
    assert targets.given(source) is None
    for _ in range(2):
        progress = FaceProgress(source)
        targets.admit([progress])
        assert (progress.refusal, progress.group) == ("", None)
    assert len(targets.given(source).targets) == TARGETS
    assert np.array_equal(targets.sample(bundle, "a.png", [progress], 0)[0], targets.given(source).targets[0])


def test_who_was_seen_before_is_not_met_again(make, bundle, key):
    make().assign([sighting(bundle, 0)])
    path = key.path.with_name("a.key.people")
    before = path.read_bytes()
    targets = make()
    targets.assign([sighting(bundle, 0)])
    assert path.read_bytes() == before
