import numpy as np
import pytest

from styleid.bundles.spec import SimilarityRange
from styleid.errors import OptionError
from styleid.privacy.dial import LEVELS, privacy_level
from styleid.privacy.gate import Measured, judge
from tests.faces.test_geometry import _neutral

THRESHOLDS = {
    1e-4: SimilarityRange(-0.4, 0.5),
    1e-3: SimilarityRange(-0.3, 0.4),
    1e-2: SimilarityRange(-0.2, 0.3),
    1e-1: SimilarityRange(-0.1, 0.2),
}


def _measured(similarity: float = 1.0, *, found=True, shift=0.0, female=0.9, opening=0.0) -> Measured:
    points = _neutral() + np.float32(shift)
    points[65:68, 1] += opening
    embedding = np.float32([similarity, np.sqrt(max(0, 1 - similarity**2)), 0])
    return Measured(found, points, embedding, np.float32([30, female, 1, 0, 0, 0, 0]))


def test_names_are_the_documented_rates():
    assert dict(LEVELS) == {"low": 1e-4, "standard": 1e-3, "high": 1e-2, "max": 1e-1}
    assert privacy_level("high", THRESHOLDS).strangers == THRESHOLDS[1e-2]


def test_a_rate_between_is_interpolated_and_stricter_rates_are_stricter():
    between = privacy_level(10**-2.5, THRESHOLDS).strangers
    assert between.high == pytest.approx(0.35)
    assert between.low == pytest.approx(-0.25)
    highs = [privacy_level(p, THRESHOLDS).strangers.high for p in (1e-4, 3e-4, 1e-3, 5e-3, 1e-2, 1e-1)]
    assert highs == sorted(highs, reverse=True)


@pytest.mark.parametrize("wrong", ["huge", "", 0.5, 1e-6, "nan", -1])
def test_other_levels_are_refused(wrong):
    with pytest.raises(OptionError, match="--privacy"):
        privacy_level(wrong, THRESHOLDS)


@pytest.mark.parametrize(
    ("after", "failure"),
    [
        (_measured(0.1), None),
        (_measured(0.39), None),
        (_measured(0.41), "too like the original"),
        (_measured(1.0), "too like the original"),
        (_measured(float("nan")), "too like the original"),
        (_measured(-0.31), "suspiciously unlike the original"),
        (_measured(-1.0), "suspiciously unlike the original"),
        (_measured(0.1, found=False), "no face is found after the swap"),
        (_measured(0.1, shift=30.0), "pose or landmarks disagree"),
        (_measured(0.1, shift=float("nan")), "pose or landmarks disagree"),
    ],
)
def test_the_gate_refuses_what_it_must(after, failure):
    verdict = judge(_measured(), after, privacy_level("standard", THRESHOLDS), 0.15)
    assert verdict.failures == ((failure,) if failure else ())
    assert verdict.passed == (failure is None)


def test_drifts_are_no_failures_but_rank_lower():
    level = privacy_level("standard", THRESHOLDS)
    good = judge(_measured(), _measured(0.1), level, 0.15)
    other_sex = judge(_measured(), _measured(0.1, female=0.2), level, 0.15)
    other_mouth = judge(_measured(), _measured(0.1, opening=25), level, 0.15)
    assert other_sex.passed
    assert other_sex.drifts == ("sex",)
    assert other_mouth.drifts == ("mouth",)
    failed = judge(_measured(), _measured(0.9), level, 0.15)
    assert sorted([failed, other_sex, good], key=lambda v: v.rank) == [good, other_sex, failed]


def test_figures_hold_no_embedding():
    verdict = judge(_measured(), _measured(0.1), privacy_level("standard", THRESHOLDS), 0.15)
    assert all(isinstance(value, float) for value in verdict.figures.values())
    assert verdict.figures["distance"] == pytest.approx(np.sqrt(2 - 0.2), abs=1e-6)
