"""Attacks on anonymised faces, from embeddings to figures: naive (A0), and trained on other people (A2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from styleid.evaluate.verification import rank_one

FloatArray = np.ndarray[Any, Any]


@dataclass(frozen=True)
class RidgeAttack:
    """Settings of the trained linear attacker.

    train_people: how many people's pairs (original, anonymised) the attacker learns from. penalties: ridge penalties,
    chosen by held-out people among those it learns from.
    """

    train_people: int = 350
    penalties: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0)


def ridge_rank_one(
    clear: FloatArray, anonymized: FloatArray, people: FloatArray, seed: int, settings: RidgeAttack | None = None
) -> float:
    """Return the rank-1 rate of an attacker who learns to undo the anonymisation on other people (A2).

    A ridge regression from anonymised to clear embeddings is learnt on `train_people` people. For everybody else it
    maps each anonymised face back and searches a gallery of clear photos, one of each person, never the probe's own.
    clear, anonymized: (n, d) unit embeddings of the same photos, row by row; NaN where a face could not be embedded
    (it counts as not found by the attacker and stays in the denominator). people: (n,) labels.
    """
    settings = settings or RidgeAttack()
    names = np.unique(people)
    if len(names) <= settings.train_people + 10:
        raise ValueError(f"{len(names)} people are too few to train on {settings.train_people} and attack the rest.")
    order = np.random.default_rng(seed).permutation(names)
    learn, attack = np.isin(people, order[: settings.train_people]), np.isin(people, order[settings.train_people :])
    inner = np.isin(people, order[: settings.train_people * 4 // 5])
    usable = np.isfinite(anonymized).all(1) & np.isfinite(clear).all(1)

    def attack_with(penalty: float, train: FloatArray, test: FloatArray) -> float:
        recovered = _ridge(anonymized[train & usable], clear[train & usable], penalty)(anonymized[test])
        return search_other_photos(recovered, clear[test], people[test], seed)

    best = max(settings.penalties, key=lambda penalty: attack_with(penalty, inner, learn & ~inner))
    return attack_with(best, learn, attack)


def search_other_photos(probes: FloatArray, clear: FloatArray, people: FloatArray, seed: int) -> float:
    """Return rank-1 of probes against one clear photo per person, never the probe's own original (A0).

    Only people with two photos or more are probed; the gallery holds everybody.
    """
    rng = np.random.default_rng(seed)
    rows = np.arange(len(people))
    gallery = np.array([rng.choice(rows[people == name]) for name in np.unique(people)])
    names, counts = np.unique(people, return_counts=True)
    several = np.isin(people, names[counts > 1])
    probed = several & ~np.isin(rows, gallery)
    return float(rank_one(probes[probed], people[probed], clear[gallery], people[gallery]).mean())


def _ridge(inputs: FloatArray, outputs: FloatArray, penalty: float) -> Any:
    centre, offset = inputs.mean(0), outputs.mean(0)
    x, y = inputs - centre, outputs - offset
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)

    def recover(probes: FloatArray) -> FloatArray:
        recovered = (probes - centre) @ weights + offset
        return recovered / np.maximum(np.linalg.norm(recovered, axis=1, keepdims=True), 1e-9)

    return recover
