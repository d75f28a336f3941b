"""Trained attackers on data with and without a relation to learn."""

import numpy as np
import pytest

from styleid.evaluate.attacks.search import Split, search
from styleid.evaluate.attacks.trained import Sides, TrainedAttack, network_attack, ridge_attack
from tests.evaluate.crowd import crowd, strangers, turned, units

SMALL = TrainedAttack(penalties=(0.01, 1.0), hidden=64, epochs=20)
ATTACKS = [ridge_attack, network_attack]


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_copier_is_found(attack):
    clear, people = crowd(120, 3, 0.05)
    found = attack(clear, clear, people, 0, SMALL)
    assert found.hits[1].value == 1.0
    assert found.gallery == 36
    assert found.hits[1].count == 72


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_a_rotation_hides_must_be_learnt(attack):
    clear, people = crowd(160, 3, 0.05)
    hidden = turned(clear)
    assert search(hidden, clear, people, Split.other_photos(people, 0)).hits[1].value < 0.05
    assert attack(clear, hidden, people, 0, SMALL).hits[1].value > 0.95


@pytest.mark.parametrize("attack", ATTACKS)
def test_strangers_are_found_by_chance(attack):
    clear, people = crowd(200, 5, 0.05)
    rates = [attack(clear, strangers(clear, seed), people, seed, SMALL).hits[1].value for seed in range(3)]
    # 3 x 240 probes among 60 people: 4 expected of each 240
    assert np.mean(rates) == pytest.approx(1 / 60, abs=0.015)


def test_the_network_learns_what_is_not_linear():
    # outputs are negated where the first coordinate is below zero, which stays to tell: no linear map undoes that
    clear, people = crowd(300, 4, 0.05)
    hidden = np.where(clear[:, :1] > 0, clear, -clear)
    hidden[:, 0] = 3 * clear[:, 0]
    hidden = units(hidden)
    assert ridge_attack(clear, hidden, people, 0).hits[1].value < 0.1
    assert network_attack(clear, hidden, people, 0).hits[1].value > 0.4


def test_sides_share_nobody_and_hold_everybody():
    _, people = crowd(100, 3, 0.05)
    sides = Sides.of(people, 0, 0.7)
    assert (sides.learn.astype(int) + sides.check + sides.attack == 1).all()
    names = [set(people[rows]) for rows in (sides.learn, sides.check, sides.attack)]
    assert [len(one) for one in names] == [56, 14, 30]
    assert not names[0] & names[1] | names[0] & names[2] | names[1] & names[2]


def test_seeds_repeat_and_few_people_are_refused():
    clear, people = crowd(120, 3, 0.8)
    rates = [ridge_attack(clear, clear, people, seed, SMALL).hits[1].value for seed in (1, 1, 2, 3)]
    assert rates[0] == rates[1]
    assert len(set(rates)) > 1
    few, names = crowd(25, 3, 0.8)
    with pytest.raises(ValueError, match="25 people are too few: 18 would be trained on"):
        ridge_attack(few, few, names, 0, SMALL)


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_not_there_is_neither_learnt_nor_found(attack):
    clear, people = crowd(120, 3, 0.05)
    half = clear.copy()
    half[np.random.default_rng(2).permutation(len(half))[: len(half) // 2]] = np.nan
    assert attack(clear, half, people, 0, SMALL).hits[1].value == pytest.approx(0.5, abs=0.2)
    nothing = np.full_like(clear, np.nan)
    assert attack(clear, nothing, people, 0, SMALL).hits[1].value == 0.0
    lost = np.ones(len(people), bool)
    assert attack(clear, nothing, people, 0, SMALL, lost).hits[1].value == 1.0
