"""Which attacks run on which faces, and which figure is the worst."""

import numpy as np
import pytest

from styleid.evaluate.battery import Battery, Case, Figure, Thresholds, figures, worst
from styleid.evaluate.statistics import Estimate
from tests.evaluate.crowd import crowd, strangers

ALL = ("A0", "A0s", "A1", "A2", "A4", "A5")


def case(clear, shown, people, named=None) -> Case:
    named = np.ones(len(people), bool) if named is None else named
    return Case(clear, shown, people, named, np.zeros(len(people), bool), Thresholds.of(clear, people))


def test_thresholds_are_placed_where_pairs_suffice_and_else_named():
    clear, people = crowd(100, 3, 0.3)
    placed = Thresholds.of(clear, people)
    assert placed.pairs == 300 * 299 // 2 - 100 * 3
    assert set(placed.values) == {1e-2, 1e-3}
    assert placed.usual == (1e-3, placed.values[1e-3])
    assert len(placed.missing) == 1
    assert Thresholds.of(clear[:9], people[:9]).usual is None


def test_every_attack_finds_a_copier_and_none_a_stranger():
    clear, people = crowd(100, 3, 0.05)
    battery = Battery(ALL, seeds=1)
    leak, fresh = (battery.run(case(clear, shown, people)) for shown in (clear, strangers(clear)))
    assert {attack for attack, _ in leak} == set(ALL)
    assert leak.keys() == fresh.keys()
    for (attack, name), (sums, chance) in leak.items():
        if name.startswith(("rank", "linkage")):
            assert sums.value > 0.99
            assert fresh[attack, name][0].value == pytest.approx(chance, abs=0.06 if "rank-5" not in name else 0.12)
        elif name.startswith("accepted"):
            assert sums.value > 0.99
            assert fresh[attack, name][0].value < 0.05


def test_unnamed_faces_are_compared_with_themselves_only():
    clear, people = crowd(40, 3, 0.05)
    named = np.arange(len(people)) < 60
    found = Battery(("A0", "A0s"), seeds=1).run(case(clear, clear, people, named))
    assert found["A0s", "accepted, FMR 0.01"][0].count == 120
    assert found["A0", "accepted, FMR 0.01"][0].count == 60


def test_what_cannot_be_run_is_said():
    battery = Battery(ALL)
    alone = np.array([f"p{i}" for i in range(50)])
    assert "several photos of a person" in battery.not_measured(alone)[0]
    assert "A2: 20 people are too few" in battery.not_measured(np.repeat(alone[:20], 2))[0]
    assert battery.not_measured(np.repeat(alone, 2)) == []
    assert Battery(("A0s",)).not_measured(alone) == []
    clear, people = crowd(20, 2, 0.1)
    assert not [key for key in battery.run(case(clear, clear, people)) if key[0] == "A2"]


def test_the_worst_figure_counts():
    def figure(value: float, recogniser: str) -> Figure:
        return Figure("A0", "rank-1", recogniser, "own", Estimate(value, 0, 1, 9, 9), 0.1)

    found = worst([figure(0.2, "a"), figure(0.5, "b"), figure(0.3, "c")])
    assert found["A0", "rank-1"].recogniser == "b"


def test_galleries_of_different_sizes_are_compared_beyond_their_chance():
    def figure(value: float, chance: float) -> Figure:
        return Figure("A2", "rank-1, ridge", "r", "own", Estimate(value, 0, 1, 9, 9), chance)

    assert figure(0.1, 0.1).beyond_chance == 0
    assert figure(1.0, 0.1).beyond_chance == 1
    assert figure(0.2, 0.01).beyond_chance > figure(0.25, 0.1).beyond_chance


def test_floors_stand_beside_their_own_attack():
    clear, people = crowd(60, 3, 0.05)
    battery = Battery(("A0", "A4"), seeds=1)
    leak, floor = battery.run(case(clear, clear, people)), battery.run(case(clear, strangers(clear), people))
    for one in figures(leak, floor, "r", "own"):
        assert one.floor is not None
        assert one.floor.value == floor[one.attack, one.name][0].value
