"""Privacy levels: the limits that a level sets, in a bundle's thresholds.

A level is a false-match rate. The new face must not match its original at the threshold that accepts this share of
strangers, so a higher rate is stricter. A similarity limit does not bound what an attacker can learn from other
people's anonymised faces; therefore each level also limits the measured leak of the swap steps that it uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from styleid.bundles.spec import SimilarityRange
from styleid.bundles.steps import SwapStep
from styleid.errors import OptionError

LEVELS: Mapping[str, float] = {"low": 1e-4, "standard": 1e-3, "high": 1e-2, "max": 1e-1}
MOST_LEAK: Mapping[float, float] = {1e-4: 0.15, 1e-3: 0.08, 1e-2: 0.04, 1e-1: 0.02}
"""Largest leak by false-match rate: how much a trained attacker's rank-1 among 150 people may exceed the floor."""
_STRICTER = 30.0
"""A face that would fail at this multiple of the level's false-match rate counts as near the limit. The multiple is
smaller where it would exceed the bundle's largest rate; a level at that rate has no margin."""
_ENOUGH_PASS = 0.5
"""Least share of faces that must pass a level's first step at the first attempt."""


@dataclass(frozen=True)
class PrivacyLevel:
    """The limits of one privacy level.

    name: the name or number by which the level was chosen.
    fmr: false-match rate.
    strangers: range of the similarities of strangers at this rate; the new face's similarity must lie in it.
    near_limit: similarity above which a face that passes is tried again, because another recogniser may accept it; the
        threshold at thirty times the rate, but at most at the bundle's largest rate.
    most_leak: largest leak of a swap step, 0 to 1.
    """

    name: str
    fmr: float
    strangers: SimilarityRange
    near_limit: float
    most_leak: float


def privacy_level(wanted: str | float, thresholds: Mapping[float, SimilarityRange]) -> PrivacyLevel:
    """Return the limits of a level. Between a bundle's rates they are interpolated over the rate's logarithm.

    Args:
        wanted: low, standard, high, max, or a false-match rate.
        thresholds: The bundle's similarity ranges of strangers by false-match rate.

    Returns:
        The level.

    Raises:
        OptionError: If the name is unknown, or the rate lies outside those of thresholds.
    """
    fmr = LEVELS.get(str(wanted))
    if fmr is None:
        try:
            fmr = float(wanted)
        except ValueError:
            raise OptionError("privacy", f"'{wanted}' is unknown; choose {', '.join(LEVELS)}, or a number.") from None
    rates = sorted(thresholds)
    if not rates[0] <= fmr <= rates[-1]:
        measured = f"{rates[0]:g} to {rates[-1]:g}"
        raise OptionError("privacy", f"the false-match rate must be in the bundle's range, {measured}, not {fmr:g}.")
    at, grid = np.log10(fmr), np.log10(rates)

    def between(values: Sequence[float], where: float = at, known: Sequence[float] | np.ndarray = grid) -> float:
        return float(np.interp(where, known, values))

    highs = [thresholds[r].high for r in rates]
    strangers = SimilarityRange(between([thresholds[r].low for r in rates]), between(highs))
    most_leak = between(list(MOST_LEAK.values()), known=np.log10(list(MOST_LEAK)))
    return PrivacyLevel(str(wanted), fmr, strangers, between(highs, at + np.log10(_STRICTER)), most_leak)


def sufficient(steps: Sequence[SwapStep], level: PrivacyLevel, bundle: str) -> tuple[SwapStep, ...]:
    """Return the swap steps that a level uses.

    Only steps whose leak is within the level's limit are used. The first one is the first of these with which at least
    half of all faces pass the similarity limit at the first attempt; later ones follow. If no step passes enough faces,
    the last one is used. A step without measurements counts as sufficient.

    Args:
        steps: The bundle's steps, from the smallest change to the largest.
        level: The privacy level.
        bundle: The bundle's name, for the error.

    Returns:
        The steps, from the smallest change to the largest.

    Raises:
        OptionError: If the leak of every step exceeds the level's limit.
    """
    private = [step for step in steps if step.leak is None or step.leak <= level.most_leak]
    if not private:
        least = min(step.leak for step in steps if step.leak is not None)
        raise OptionError(
            "privacy",
            f"the level {level.name} allows a leak of {level.most_leak:.2f} (a trained attacker's rank-1 above the "
            f"floor), and the smallest leak of the bundle '{bundle}' is {least:.2f}. Choose a lower level, or "
            "`method=none`.",
        )
    for start, step in enumerate(private):
        if _typical_share(step, level) >= _ENOUGH_PASS:
            return tuple(private[start:])
    return (private[-1],)


def _typical_share(step: SwapStep, level: PrivacyLevel) -> float:
    """Return the share of faces within the level's similarity limit at the first attempt; 1 without measurements."""
    rates = sorted(step.passes)
    if not rates:
        return 1.0
    shares = [step.passes[rate] for rate in rates]
    grid: np.ndarray = np.log10(np.array(rates))
    return float(np.interp(float(np.log10(level.fmr)), grid, shares))
