"""The privacy dial: a name or a false-match rate, in the bundle's own thresholds.

`--privacy p` means: the anonymised face may not match its original at the threshold that accepts a share p of
strangers. A larger p is stricter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from styleid.bundles.spec import SimilarityRange
from styleid.errors import OptionError

LEVELS: Mapping[str, float] = {"low": 1e-4, "standard": 1e-3, "high": 1e-2, "max": 1e-1}


@dataclass(frozen=True)
class PrivacyLevel:
    """A level of the dial. fmr: false-match rate; strangers: the similarities that strangers have at that rate."""

    name: str
    fmr: float
    strangers: SimilarityRange


def privacy_level(wanted: str | float, thresholds: Mapping[float, SimilarityRange]) -> PrivacyLevel:
    """Return the level for a name (low, standard, high, max) or a false-match rate within the bundle's range.

    Between the bundle's rates, bounds are interpolated over the rate's logarithm. Raises OptionError outside.
    """
    fmr = LEVELS.get(str(wanted))
    if fmr is None:
        try:
            fmr = float(wanted)
        except ValueError:
            raise OptionError("--privacy", f"'{wanted}' is neither {', '.join(LEVELS)} nor a number.") from None
    rates = sorted(thresholds)
    if not rates[0] <= fmr <= rates[-1]:
        measured = f"{rates[0]:g} to {rates[-1]:g}"
        raise OptionError("--privacy", f"{fmr:g} lies outside what the bundle was measured for, {measured}.")
    at, grid = np.log10(fmr), np.log10(rates)
    low = float(np.interp(at, grid, [thresholds[r].low for r in rates]))
    high = float(np.interp(at, grid, [thresholds[r].high for r in rates]))
    return PrivacyLevel(str(wanted), fmr, SimilarityRange(low, high))
