"""Searches with known results: full leak, chance, exact negation, partial leak."""

import numpy as np
import pytest

from styleid.evaluate.attacks.search import (
    RANKS,
    Search,
    Split,
    accepted_itself,
    accepted_others,
    matches_itself,
    negation,
    rank_hits,
    search,
)
from tests.evaluate.crowd import crowd, leaking, strangers

SPLITS = {"other photos": Split.other_photos, "same photo": Split.same_photo}


def found(probes, clear, people, split="other photos", seeds=range(5), work=search, **more) -> float:
    parts = [work(probes, clear, people, SPLITS[split](people, seed), **more) for seed in seeds]
    return Search.merged(parts).hits[1].value


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("work", [search, negation])
def test_a_copier_leaks_everything(split, work):
    clear, people = crowd(100, 3, 0.05)
    assert found(clear, clear, people, split, work=work) == 1.0


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("work", [search, negation])
def test_strangers_are_found_by_chance(split, work):
    clear, people = crowd(100, 4, 0.05)
    rates = [found(strangers(clear, seed), clear, people, split, work=work) for seed in range(8)]
    # 8 sets x 5 galleries x 100 or 300 probes at 1 / 100; negation chooses its m on other people
    assert np.mean(rates) == pytest.approx(0.01, abs=0.006)


def test_chance_is_the_rank_over_the_gallery():
    clear, people = crowd(40, 2, 0.05)
    one = search(clear, clear, people, Split.other_photos(people, 0))
    assert [one.chance(rank) for rank in RANKS] == [1 / 40, 5 / 40]
    assert one.gallery == 40


@pytest.mark.parametrize("split", SPLITS)
def test_a_negator_hides_from_cosine_and_not_from_negation(split):
    clear, people = crowd(100, 3, 0.05)
    assert found(-clear, clear, people, split) < 0.03
    assert found(-clear, clear, people, split, work=negation) == 1.0


@pytest.mark.parametrize("m", [-0.5, 0.0, 0.5])
def test_a_fixed_similarity_is_found_by_negation(m):
    # every output has exactly the similarity m to its original: cosine ranks it anywhere
    clear, people = crowd(100, 2, 0.0)
    rng = np.random.default_rng(1)
    aside = rng.standard_normal(clear.shape)
    aside -= (aside * clear).sum(1, keepdims=True) * clear
    shown = m * clear + np.sqrt(1 - m**2) * aside / np.linalg.norm(aside, axis=1, keepdims=True)
    # |cos - m| is 0 for the original alone; strangers come as near as 1 / (100 sqrt(32)) only now and then
    assert found(shown, clear, people, work=negation) > 0.9


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_a_partial_leak_is_found_in_its_share(share):
    clear, people = crowd(150, 4, 0.05)
    shown = leaking(clear, share)
    # a copy is always found, a stranger by chance
    assert found(shown, clear, people) == pytest.approx(share + (1 - share) / 150, abs=0.03)
    itself = accepted_itself(shown, clear, people, 0.9)
    assert itself.value == pytest.approx(share)
    assert itself.count == len(people)


def test_the_very_original_is_never_in_the_gallery_of_other_photos():
    # photos that share nothing but their own row: whoever finds them has looked at the original
    clear, people = crowd(200, 3, 100.0)
    assert found(clear, clear, people) < 0.03
    assert found(clear, clear, people, "same photo") == 1.0


def test_what_is_not_there_is_not_found_and_counted():
    clear, people = crowd(100, 3, 0.05)
    shown = clear.copy()
    shown[::2] = np.nan
    assert found(shown, clear, people) == pytest.approx(0.5, abs=0.07)
    assert found(np.full_like(clear, np.nan), clear, people) == 0.0
    one = search(shown, clear, people, Split.other_photos(people, 0))
    assert one.hits[1].count == 200
    assert accepted_itself(shown, clear, people, 0.9).value == pytest.approx(0.5)
    assert not matches_itself(shown, clear, -2.0)[::2].any()


def test_what_is_lost_is_found():
    clear, people = crowd(100, 3, 0.05)
    lost = np.arange(len(people)) % 3 == 0
    nothing = np.full_like(clear, np.nan)
    split = Split.same_photo(people, 1)
    one = search(nothing, clear, people, split, lost)
    assert one.hits[1].totals.sum() == lost[split.probes].sum()
    assert accepted_itself(nothing, clear, people, 0.9, lost).value == pytest.approx(1 / 3)
    assert accepted_others(nothing, clear, people, 0.9, lost).value == pytest.approx(1 / 3)


def test_people_with_one_photo_fill_the_gallery_only():
    _, people = crowd(6, 3, 0.01)
    people = people.astype("U8")
    people[9:] = [f"alone{i}" for i in range(9)]
    split = Split.other_photos(people, 0)
    assert set(people[split.probes]) == {"p0000", "p0001", "p0002"}
    assert len(split.gallery) == 12


def test_ties_count_as_a_guess():
    scores = np.zeros((2, 4))
    mated = np.array([[True, False, False, False], [False, False, False, False]])
    assert rank_hits(scores, mated, 1).tolist() == [0.25, 0.0]
    assert rank_hits(scores, mated, 2).tolist() == [0.5, 0.0]
    assert rank_hits(np.array([[3.0, 2.0, 1.0]]), np.array([[False, True, False]]), 1).tolist() == [0.0]
    assert rank_hits(np.array([[3.0, 2.0, 1.0]]), np.array([[False, True, False]]), 2).tolist() == [1.0]


def test_accepted_others_is_the_share_of_mated_photos():
    clear = np.array([[1, 0], [0.8, 0.6], [0, 1], [0, -1]], np.float32)
    people = np.array(["a", "a", "a", "b"])
    sums = accepted_others(clear, clear, people, 0.5)
    # a1-a2 .8, a1-a3 0, a2-a3 .6: one, two and one of two accepted; b has no other photo
    assert sums.people.tolist() == ["a"]
    assert sums.totals.tolist() == [0.5 + 1.0 + 0.5]
    assert sums.counts.tolist() == [3]
