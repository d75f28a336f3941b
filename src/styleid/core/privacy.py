"""The privacy dial: a name or a false-match rate, in the bundle's own thresholds.

`privacy=p` means: the anonymised face may not match its original at the threshold that accepts a share p of
strangers. A larger p is stricter. A distance does not bound what an attacker reads who has learnt from other people's
anonymised faces, so each level also says how much more than the surroundings such an attacker may find.
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
"""By how much a trained attacker's rank-1 among 150 people may exceed its context floor, by false-match rate."""
_STRICTER = 30.0
_ENOUGH_PASS = 0.5


@dataclass(frozen=True)
class PrivacyLevel:
    """A level of the dial.

    fmr: false-match rate. strangers: the similarities that strangers have at that rate. close: the similarity above
    which a face that passes is too near to the limit to be taken without looking for a better one: the bound at thirty
    times the rate. most_leak: how much more than the surroundings a trained attacker may find, 0 to 1.
    """

    name: str
    fmr: float
    strangers: SimilarityRange
    close: float
    most_leak: float


def privacy_level(wanted: str | float, thresholds: Mapping[float, SimilarityRange]) -> PrivacyLevel:
    """Return the level for a name (low, standard, high, max) or a false-match rate within the bundle's range.

    Between the bundle's rates, bounds are interpolated over the rate's logarithm. Raises OptionError outside.
    """
    fmr = LEVELS.get(str(wanted))
    if fmr is None:
        try:
            fmr = float(wanted)
        except ValueError:
            raise OptionError("privacy", f"'{wanted}' is neither {', '.join(LEVELS)} nor a number.") from None
    rates = sorted(thresholds)
    if not rates[0] <= fmr <= rates[-1]:
        measured = f"{rates[0]:g} to {rates[-1]:g}"
        raise OptionError("privacy", f"{fmr:g} lies outside what the bundle was measured for, {measured}.")
    at, grid = np.log10(fmr), np.log10(rates)

    def between(values: Sequence[float], where: float = at, known: Sequence[float] | np.ndarray = grid) -> float:
        return float(np.interp(where, known, values))

    highs = [thresholds[r].high for r in rates]
    strangers = SimilarityRange(between([thresholds[r].low for r in rates]), between(highs))
    most_leak = between(list(MOST_LEAK.values()), known=np.log10(list(MOST_LEAK)))
    return PrivacyLevel(str(wanted), fmr, strangers, between(highs, at + np.log10(_STRICTER)), most_leak)


def sufficient(steps: Sequence[SwapStep], level: PrivacyLevel, bundle: str) -> tuple[SwapStep, ...]:
    """Return a bundle's steps from the least change on that the level allows.

    A step does not do where a trained attacker finds more than the level grants him, or where most faces would not pass
    at the first attempt. Steps that were not measured are taken to do. Raises OptionError where too much leaks in all.
    """
    private = [k for k, step in enumerate(steps) if step.leak is None or step.leak <= level.most_leak]
    if not private:
        least = min(step.leak for step in steps if step.leak is not None)
        raise OptionError(
            "privacy",
            f"{level.name} grants a trained attacker {level.most_leak:.2f} more than the surroundings tell, and in the "
            f"bundle '{bundle}' he finds at least {least:.2f} more. Take a lower level, or `method=none`.",
        )
    for start in private:
        if _typical_share(steps[start], level) >= _ENOUGH_PASS:
            return tuple(steps[start:])
    return tuple(steps[private[-1] :])


def _typical_share(step: SwapStep, level: PrivacyLevel) -> float:
    """Return the share of faces that pass the level's distance at the first attempt, 1 where it was not measured."""
    rates = sorted(step.passes)
    if not rates:
        return 1.0
    shares = [step.passes[rate] for rate in rates]
    grid: np.ndarray = np.log10(np.array(rates))
    return float(np.interp(float(np.log10(level.fmr)), grid, shares))
