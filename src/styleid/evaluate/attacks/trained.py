"""Attack A2: attackers who train on pairs of original and anonymised photos of other people.

A ridge regression, and a small network on top of it, learn to turn the embedding of an anonymised face into that of its
original. The attacker has the tool and photos of other people.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from styleid.evaluate.attacks.search import Search, Split, search

FloatArray = np.ndarray[Any, Any]
Recover = Callable[[FloatArray], FloatArray]
FEWEST_LEARNT, FEWEST_ATTACKED = 20, 10


@dataclass(frozen=True)
class TrainedAttack:
    """Settings of the trained attackers.

    Attributes:
        train_share: Share of the people that the attacker learns from; the others are attacked.
        penalties: Ridge penalties to choose from.
        hidden: Units of the hidden layer of the network.
        epochs: Epochs of its training.
        rate: Learning rate at the start.
        temperature: Temperature of the InfoNCE loss.
    """

    train_share: float = 0.7
    penalties: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0)
    hidden: int = 256
    epochs: int = 60
    rate: float = 5e-3
    temperature: float = 0.1


@dataclass(frozen=True)
class Sides:
    """A division of faces by person, each bool (n,): people to learn from, to choose settings on, and to attack."""

    learn: FloatArray
    check: FloatArray
    attack: FloatArray

    @classmethod
    def of(cls, people: FloatArray, seed: int, train_share: float) -> Sides:
        """Divide at random; raises ValueError if a part would have too few people."""
        names = np.unique(people)
        learnt = round(train_share * len(names))
        if learnt < FEWEST_LEARNT or len(names) - learnt < FEWEST_ATTACKED:
            wanted = f"{FEWEST_LEARNT} to train on and {FEWEST_ATTACKED} to attack"
            raise ValueError(f"{len(names)} people are too few: {learnt} would be trained on; {wanted} are needed.")
        order = np.random.default_rng(seed).permutation(names)
        inner = learnt * 4 // 5
        return cls(*(np.isin(people, part) for part in (order[:inner], order[inner:learnt], order[learnt:])))


def ridge_attack(
    clear: FloatArray,
    anonymized: FloatArray,
    people: FloatArray,
    seed: int,
    settings: TrainedAttack | None = None,
    lost: FloatArray | None = None,
) -> Search:
    """Apply a ridge regression to anonymised embeddings, and search the originals with the result.

    The gallery has one original of each attacked person, but not that of the probe.

    Args:
        clear: Embeddings of the originals, (n, d).
        anonymized: Embeddings of the outputs, (n, d).
        people: The person of each row, (n,).
        seed: Seed of the division and the gallery.
        settings: Settings of the attacker.
        lost: Which faces were published but could not be measured, (n,) bool.
    """
    settings = settings or TrainedAttack()
    sides = Sides.of(people, seed, settings.train_share)
    return _attacked(learn_ridge(clear, anonymized, people, sides, seed, settings), clear, anonymized, people, sides,
                     seed, lost)  # fmt: skip


def network_attack(
    clear: FloatArray,
    anonymized: FloatArray,
    people: FloatArray,
    seed: int,
    settings: TrainedAttack | None = None,
    lost: FloatArray | None = None,
) -> Search:
    """Like `ridge_attack`, with a small network on top of the regression, trained with the InfoNCE loss."""
    settings = settings or TrainedAttack()
    sides = Sides.of(people, seed, settings.train_share)
    linear = learn_ridge(clear, anonymized, people, sides, seed, settings)
    recover = learn_network(linear, clear, anonymized, people, sides, seed, settings)
    return _attacked(recover, clear, anonymized, people, sides, seed, lost)


def learn_ridge(
    clear: FloatArray, anonymized: FloatArray, people: FloatArray, sides: Sides, seed: int, settings: TrainedAttack
) -> Recover:
    """Learn a linear map from anonymised to original embeddings.

    The penalty and the aim (the embedding of the original, or the mean of its person) are chosen on `sides.check`.
    """
    usable = _usable(clear, anonymized)
    if (usable & (sides.learn | sides.check)).sum() < FEWEST_LEARNT:
        return lambda probes: np.full_like(probes, np.nan)
    aims = (clear, _person_means(clear, people, usable))

    def learnt(aim: FloatArray, penalty: float, rows: FloatArray) -> Recover:
        return _ridge(anonymized[rows & usable], aim[rows & usable], penalty)

    def checked(choice: tuple[int, float]) -> float:
        recover = learnt(aims[choice[0]], choice[1], sides.learn)
        return _rate(recover, clear, anonymized, people, sides.check, seed)

    choices = [(aim, penalty) for aim in range(len(aims)) for penalty in settings.penalties]
    aim, penalty = max(choices, key=checked)
    return learnt(aims[aim], penalty, sides.learn | sides.check)


def learn_network(
    linear: Recover,
    clear: FloatArray,
    anonymized: FloatArray,
    people: FloatArray,
    sides: Sides,
    seed: int,
    settings: TrainedAttack,
) -> Recover:
    """Learn a network with a hidden layer that is added to a linear map.

    Every fifth epoch is tried on `sides.check`, and the best is kept, or the linear map alone if it is better.
    """
    usable = _usable(clear, anonymized)
    rows = np.nonzero(sides.learn & usable)[0]
    if len(rows) < FEWEST_LEARNT:
        return linear
    rng, base = np.random.default_rng(seed), linear
    network = _Network.fresh(clear.shape[1], settings.hidden, rng)
    best, found = base, _rate(base, clear, anonymized, people, sides.check, seed)
    x, aim = anonymized.astype(np.float32), clear.astype(np.float32)
    started = base(anonymized).astype(np.float32)
    _, whose = np.unique(people, return_inverse=True)
    photos = [rows[whose[rows] == person] for person in range(whose.max() + 1)]
    for epoch in range(settings.epochs):
        order = rng.permutation(rows)
        for batch in np.array_split(order, max(1, len(order) // 128)):
            own = [photos[person] for person in whose[batch]]
            aims = [one[int(draw * len(one))] for one, draw in zip(own, rng.random(len(own)), strict=True)]
            network.step(x[batch], started[batch], aim[aims], whose[batch], settings, epoch)
        if epoch % 5 == 4:
            recover = network.frozen(base)
            rate = _rate(recover, clear, anonymized, people, sides.check, seed)
            if rate > found:
                best, found = recover, rate
    return best


class _Network:
    """unit(start + W2 relu(W1 x + b1)), trained by Adam with the InfoNCE loss against the originals of the batch."""

    def __init__(self, weights: list[FloatArray]) -> None:
        self.weights = weights
        self.moments = [[np.zeros_like(w), np.zeros_like(w)] for w in weights]
        self.steps = 0

    @classmethod
    def fresh(cls, width: int, hidden: int, rng: np.random.Generator) -> _Network:
        first = 0.7 * rng.standard_normal((width, hidden)).astype(np.float32)
        return cls([first, np.zeros(hidden, np.float32), np.zeros((hidden, width), np.float32)])

    def step(
        self,
        x: FloatArray,
        start: FloatArray,
        aims: FloatArray,
        people: FloatArray,
        settings: TrainedAttack,
        epoch: int,
    ) -> None:
        w1, b1, w2 = self.weights
        before = x @ w1 + b1
        active = np.maximum(before, 0)
        raw = start + active @ w2
        length = np.linalg.norm(raw, axis=1, keepdims=True).clip(1e-6)
        out = raw / length
        scores = out @ aims.T / settings.temperature
        scores -= scores.max(1, keepdims=True)
        chance = np.exp(scores)
        chance /= chance.sum(1, keepdims=True)
        mated = (people[:, None] == people[None, :]).astype(np.float32)
        pull = (chance - mated / mated.sum(1, keepdims=True)) @ aims / settings.temperature / len(x)
        d_raw = (pull - (pull * out).sum(1, keepdims=True) * out) / length
        d_active = (d_raw @ w2.T) * (before > 0)
        gradients = [x.T @ d_active, d_active.sum(0), active.T @ d_raw]
        rate = settings.rate * 0.5 * (1 + math.cos(math.pi * epoch / settings.epochs))
        self._adam(gradients, rate)

    def _adam(self, gradients: list[FloatArray], rate: float) -> None:
        self.steps += 1
        for weight, moment, gradient in zip(self.weights, self.moments, gradients, strict=True):
            moment[0] += 0.1 * (gradient - moment[0])
            moment[1] += 0.001 * (gradient**2 - moment[1])
            first, second = moment[0] / (1 - 0.9**self.steps), moment[1] / (1 - 0.999**self.steps)
            weight[...] -= rate * (first / (np.sqrt(second) + 1e-8) + 1e-3 * weight)

    def frozen(self, base: Recover) -> Recover:
        w1, b1, w2 = (weight.copy() for weight in self.weights)
        return lambda probes: _units(base(probes) + np.maximum(probes @ w1 + b1, 0) @ w2)


def _attacked(
    recover: Recover,
    clear: FloatArray,
    anonymized: FloatArray,
    people: FloatArray,
    sides: Sides,
    seed: int,
    lost: FloatArray | None,
) -> Search:
    rows = sides.attack
    split = Split.other_photos(people[rows], seed)
    return search(recover(anonymized[rows]), clear[rows], people[rows], split, None if lost is None else lost[rows])


def _rate(
    recover: Recover, clear: FloatArray, anonymized: FloatArray, people: FloatArray, rows: FloatArray, seed: int
) -> float:
    split = Split.other_photos(people[rows], seed)
    value = search(recover(anonymized[rows]), clear[rows], people[rows], split).hits[1].value
    return value if np.isfinite(value) else 0.0


def _usable(clear: FloatArray, anonymized: FloatArray) -> FloatArray:
    return np.asarray(np.isfinite(anonymized).all(1) & np.isfinite(clear).all(1))


def _person_means(clear: FloatArray, people: FloatArray, usable: FloatArray) -> FloatArray:
    means = clear.copy()
    for name in np.unique(people[usable]):
        rows = usable & (people == name)
        means[rows] = _units(clear[rows].mean(0, keepdims=True))
    return means


def _ridge(inputs: FloatArray, outputs: FloatArray, penalty: float) -> Recover:
    centre, offset = inputs.mean(0), outputs.mean(0)
    x, y = (inputs - centre).astype(np.float64), (outputs - offset).astype(np.float64)
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
    return lambda probes: _units((probes - centre) @ weights + offset)


def _units(rows: FloatArray) -> FloatArray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
