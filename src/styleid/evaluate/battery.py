"""Run the attacks on the faces of one tool, with every recogniser and both alignments, each beside its floor.

The floor is the same attack on the same photos with the faces filled. It shows what the surroundings alone reveal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from styleid.evaluate.attacks.linkage import linkage
from styleid.evaluate.attacks.search import Search, Split, accepted_itself, accepted_others, negation, search
from styleid.evaluate.attacks.trained import Sides, TrainedAttack, network_attack, ridge_attack
from styleid.evaluate.statistics import Estimate, Sums, estimate
from styleid.evaluate.verification import impostor_similarities, threshold_at_fmr

FloatArray = np.ndarray[Any, Any]
FMRS = (1e-2, 1e-3, 1e-4)
OTHERS = "other photos"
ITSELF = "same photo"
_MOST_COMPARED = 5000


@dataclass(frozen=True)
class Figure:
    """One result of an attack.

    Attributes:
        attack: A0 to A5.
        name: What is measured, such as "rank-1".
        recogniser: Name of the recogniser.
        alignment: How faces were aligned, see `styleid.evaluate.outputs.ALIGNMENTS`.
        estimate: The result.
        chance: The result of guessing.
        floor: The result with the faces filled; None if it was not measured.
    """

    attack: str
    name: str
    recogniser: str
    alignment: str
    estimate: Estimate
    chance: float
    floor: Estimate | None = None

    @property
    def beyond_chance(self) -> float:
        """(value - chance) / (1 - chance), which is comparable between galleries of different sizes."""
        return (self.estimate.value - self.chance) / (1 - self.chance)

    def to_json(self) -> dict[str, Any]:
        """Return values for JSON."""
        who = {"attack": self.attack, "name": self.name, "recogniser": self.recogniser, "alignment": self.alignment}
        chance = None if np.isnan(self.chance) else round(self.chance, 6)
        floor = None if self.floor is None else self.floor.to_json()
        return who | self.estimate.to_json() | {"chance": chance, "floor": floor}


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of one recogniser.

    values: similarity by false-match rate. pairs: number of pairs of strangers they are computed from. missing: which
    rates have no threshold, and why.
    """

    values: Mapping[float, float]
    pairs: int
    missing: tuple[str, ...] = ()

    @classmethod
    def of(cls, clear: FloatArray, people: FloatArray) -> Thresholds:
        """Compute thresholds from all pairs of clear photos, (n, d), of different people, (n,)."""
        rows = np.arange(len(clear))
        if len(rows) > _MOST_COMPARED:
            rows = np.random.default_rng(0).choice(rows, _MOST_COMPARED, replace=False)
        impostors = impostor_similarities(clear[rows], people[rows])
        values, missing = {}, []
        for fmr in FMRS:
            try:
                values[fmr] = threshold_at_fmr(impostors, fmr)
            except ValueError as error:
                missing.append(str(error))
        return cls(values, len(impostors), tuple(missing))

    @property
    def usual(self) -> tuple[float, float] | None:
        """The false-match rate 1e-3, or else 1e-2, with its threshold; None if neither has one."""
        for fmr in (1e-3, 1e-2):
            if fmr in self.values:
                return fmr, self.values[fmr]
        return None


@dataclass(frozen=True)
class Case:
    """The embeddings of one tool's faces by one recogniser.

    Attributes:
        clear: Embeddings of the originals, (n, d).
        shown: Embeddings of the outputs, (n, d).
        labels: The person of each face, (n,).
        named: Whether the protocol names the person, (n,) bool. Other faces are only compared with themselves.
        lost: Whether the face was published but could not be measured, (n,) bool.
        thresholds: Thresholds of the recogniser.
    """

    clear: FloatArray
    shown: FloatArray
    labels: FloatArray
    named: FloatArray
    lost: FloatArray
    thresholds: Thresholds

    def only_named(self) -> Case:
        """Return the case with the named faces only."""
        rows = self.named
        clear, shown, lost = self.clear[rows], self.shown[rows], self.lost[rows]
        return Case(clear, shown, self.labels[rows], rows[rows], lost, self.thresholds)


Measured = dict[tuple[str, str], tuple[Sums, float]]
"""Results of attacks: sums and chance, by attack and name."""


@dataclass(frozen=True)
class Battery:
    """A set of attacks. attacks: their names. seeds: number of galleries and trainings. trained: settings of A2."""

    attacks: tuple[str, ...]
    seeds: int = 3
    trained: TrainedAttack = field(default_factory=TrainedAttack)

    def run(self, case: Case) -> Measured:
        """Run the attacks on one case."""
        found: Measured = {}
        several = case.only_named()
        names, counts = np.unique(several.labels, return_counts=True)
        for attack, work in _ATTACKS.items():
            if attack not in self.attacks:
                continue
            if attack == "A0s":
                found |= dict(work(self, case)) if len(case.labels) else {}
            elif (counts > 1).any() and len(names) > 1:
                found |= dict(work(self, several))
        return found

    def not_measured(self, labels: FloatArray) -> list[str]:
        """Return which attacks cannot run, and why. labels: the person of each named face, (n,)."""
        names, counts = np.unique(labels, return_counts=True)
        problems = []
        if not (counts > 1).any() or len(names) < 2:
            asked = ", ".join(a for a in ("A0", "A1", "A2", "A4", "A5") if a in self.attacks)
            if asked:
                problems.append(f"{asked}: needs several photos of a person, and more than one person.")
        elif "A2" in self.attacks:
            try:
                Sides.of(labels, 0, self.trained.train_share)
            except ValueError as error:
                problems.append(f"A2: {error}")
        return problems


Finding = tuple[tuple[str, str], tuple[Sums, float]]


def figures(found: Measured, floor: Measured | None, recogniser: str, alignment: str) -> list[Figure]:
    """Return the results of attacks as figures with their floors."""
    floors = {} if floor is None else {key: estimate(sums) for key, (sums, _) in floor.items()}
    return [
        Figure(attack, name, recogniser, alignment, estimate(sums), chance, floors.get((attack, name)))
        for (attack, name), (sums, chance) in found.items()
    ]


def worst(all_figures: list[Figure]) -> dict[tuple[str, str], Figure]:
    """Return the worst figure for privacy over all recognisers and alignments, by attack and name."""
    found: dict[tuple[str, str], Figure] = {}
    for figure in all_figures:
        key = (figure.attack, figure.name)
        if key not in found or figure.estimate.value > found[key].estimate.value:
            found[key] = figure
    return found


def _naive(battery: Battery, case: Case) -> Iterator[Finding]:
    yield from _ranks("A0", battery, lambda seed: _searched(case, case.clear, Split.other_photos(case.labels, seed)))
    for fmr, threshold in case.thresholds.values.items():
        sums = accepted_others(case.shown, case.clear, case.labels, threshold, case.lost)
        yield ("A0", f"accepted, FMR {fmr:g}"), (sums, fmr)


def _same_photo(battery: Battery, case: Case) -> Iterator[Finding]:
    yield from _ranks("A0s", battery, lambda seed: _searched(case, case.clear, Split.same_photo(case.labels, seed)))
    for fmr, threshold in case.thresholds.values.items():
        sums = accepted_itself(case.shown, case.clear, case.labels, threshold, case.lost)
        yield ("A0s", f"accepted, FMR {fmr:g}"), (sums, fmr)


def _parrot(battery: Battery, case: Case) -> Iterator[Finding]:
    yield from _ranks("A1", battery, lambda seed: _searched(case, case.shown, Split.other_photos(case.labels, seed)))
    for fmr, threshold in case.thresholds.values.items():
        sums = accepted_others(case.shown, case.shown, case.labels, threshold, case.lost)
        yield ("A1", f"accepted, FMR {fmr:g}"), (sums, fmr)


def _trained(battery: Battery, case: Case) -> Iterator[Finding]:
    if battery.not_measured(case.labels):
        return
    for name, attack in (("ridge", ridge_attack), ("network", network_attack)):

        def attacked(seed: int, attack: Callable[..., Search] = attack) -> Search:
            return attack(case.clear, case.shown, case.labels, seed, battery.trained, case.lost)

        yield from _ranks("A2", battery, attacked, f", {name}")


def _linked(battery: Battery, case: Case) -> Iterator[Finding]:
    del battery
    usual = case.thresholds.usual
    found = linkage(case.shown, case.labels, usual[1] if usual else np.inf, case.lost)
    yield ("A4", "linkage AUC"), (found.auc, 0.5)
    if usual:
        yield ("A4", f"strangers taken for one, FMR {usual[0]:g}"), (found.strangers_accepted, usual[0])


def _negated(battery: Battery, case: Case) -> Iterator[Finding]:
    for name, split in ((OTHERS, Split.other_photos), (ITSELF, Split.same_photo)):

        def attacked(seed: int, split: Callable[..., Split] = split) -> Search:
            return negation(case.shown, case.clear, case.labels, split(case.labels, seed), case.lost)

        yield from _ranks("A5", battery, attacked, f", {name}")


def _searched(case: Case, gallery: FloatArray, split: Split) -> Search:
    return search(case.shown, gallery, case.labels, split, case.lost)


def _ranks(attack: str, battery: Battery, run: Callable[[int], Search], suffix: str = "") -> Iterator[Finding]:
    found = Search.merged(run(seed) for seed in range(battery.seeds))
    for rank, sums in found.hits.items():
        yield (attack, f"rank-{rank}{suffix}"), (sums, found.chance(rank))


_ATTACKS: dict[str, Callable[[Battery, Case], Iterator[Finding]]] = {
    "A0": _naive,
    "A0s": _same_photo,
    "A1": _parrot,
    "A2": _trained,
    "A4": _linked,
    "A5": _negated,
}
