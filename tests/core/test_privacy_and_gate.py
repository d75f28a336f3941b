import numpy as np
import pytest

from styleid.bundles.rows import equal_rows
from styleid.bundles.steps import SwapStep, read_steps
from styleid.core.privacy import LEVELS, MOST_LEAK, privacy_level, sufficient
from styleid.errors import OptionError
from tests.core.verdicts import THRESHOLDS, measured, verdict_on


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
    with pytest.raises(OptionError, match=r"^privacy: "):
        privacy_level(wrong, THRESHOLDS)


@pytest.mark.parametrize(
    ("after", "failure"),
    [
        (measured(0.1), None),
        (measured(0.39), None),
        (measured(0.41), "too like the original"),
        (measured(1.0), "too like the original"),
        (measured(float("nan")), "too like the original"),
        (measured(-0.31), "suspiciously unlike the original"),
        (measured(-1.0), "suspiciously unlike the original"),
        (measured(0.1, found=False), "no face is found after the swap"),
        (measured(0.1, shift=30.0), "pose or landmarks disagree"),
        (measured(0.1, shift=float("nan")), "pose or landmarks disagree"),
    ],
)
def test_the_gate_refuses_what_it_must(after, failure):
    verdict = verdict_on(after)
    assert verdict.failures == ((failure,) if failure else ())
    assert verdict.passed == (failure is None)


def test_each_level_grants_the_attacker_what_is_documented():
    granted = {name: privacy_level(name, THRESHOLDS).most_leak for name in LEVELS}
    assert granted == {"low": 0.15, "standard": 0.08, "high": 0.04, "max": 0.02}
    assert privacy_level(10**-2.5, THRESHOLDS).most_leak == pytest.approx(0.06)
    assert list(MOST_LEAK) == sorted(LEVELS.values())


def test_a_face_near_the_limit_passes_and_ranks_behind_one_that_is_further_away():
    level = privacy_level("standard", THRESHOLDS)
    at_thirty_times_the_rate = THRESHOLDS[1e-2].high + np.log10(3) * (THRESHOLDS[1e-1].high - THRESHOLDS[1e-2].high)
    assert level.near_limit == pytest.approx(at_thirty_times_the_rate)
    near, far = (verdict_on(measured(s)) for s in (0.35, 0.1))
    assert near.passed and near.near_limit and not far.near_limit
    assert sorted([near, far], key=lambda v: v.rank) == [far, near]
    assert privacy_level("max", THRESHOLDS).near_limit == THRESHOLDS[1e-1].high, "nothing stricter was measured"


STEPS = (
    SwapStep((1,), 0.5, leak=0.14, passes={1e-4: 0.9, 1e-3: 0.7, 1e-2: 0.4, 1e-1: 0.1}),
    SwapStep((1,), leak=0.07, passes={1e-4: 1.0, 1e-3: 0.9, 1e-2: 0.45, 1e-1: 0.2}),
    SwapStep((1, 2), leak=0.03, passes={1e-4: 1.0, 1e-3: 0.95, 1e-2: 0.8, 1e-1: 0.4}),
    SwapStep((0, 1, 2), leak=0.01, passes={1e-4: 1.0, 1e-3: 1.0, 1e-2: 0.9, 1e-1: 0.45}),
)


@pytest.mark.parametrize(("name", "first"), [("low", 0), ("standard", 1), ("high", 2), ("max", 3)])
def test_a_level_starts_from_the_least_change_that_it_allows(name, first):
    assert sufficient(STEPS, privacy_level(name, THRESHOLDS), "b") == STEPS[first:]


def test_a_step_that_few_faces_pass_with_is_passed_over_even_where_it_does_not_leak():
    steps = (SwapStep((1,), leak=0.0, passes={1e-4: 0.4, 1e-1: 0.0}), SwapStep((1, 2), leak=0.0, passes={1e-4: 0.9}))
    assert sufficient(steps, privacy_level("low", THRESHOLDS), "b") == steps[1:]


@pytest.mark.parametrize("passes", [0.9, 0.1])
def test_no_step_that_leaks_more_than_the_level_allows_is_used_even_after_one_that_does_not(passes):
    within = SwapStep((1,), leak=0.01, passes={1e-4: passes})
    assert sufficient((within, SwapStep((1, 2), leak=0.2)), privacy_level("standard", THRESHOLDS), "b") == (within,)


def test_a_bundle_that_leaks_more_than_the_level_grants_is_refused_and_an_unmeasured_one_is_not():
    with pytest.raises(OptionError, match=r"the smallest leak of the bundle '.*' is 0\.07"):
        sufficient(STEPS[:2], privacy_level("max", THRESHOLDS), "b")
    unmeasured = (SwapStep((1,)), SwapStep((1, 2)))
    assert sufficient(unmeasured, privacy_level("max", THRESHOLDS), "b") == unmeasured


def test_steps_are_read_with_single_channels_of_a_row():
    levels = {"look": (0, 0), "shape": (1, 2)}
    (step,) = read_steps(
        [
            {
                "levels": ["shape"],
                "strength": 1.0,
                "channels": {"look": [1, 3]},
                "cover": 0.05,
                "leak": 0.1,
                "passes": {"0.001": 0.5},
            }
        ],
        levels,
        equal_rows(3, 4),
    )
    assert step == SwapStep((1, 2), 1.0, (1, 3), 0.05, 0.1, {1e-3: 0.5})
    for wrong in ({"shape": [0]}, {"look": [4]}, {"look": [-1]}, {"hair": [0]}):
        with pytest.raises(ValueError, match="level"):
            read_steps([{"levels": ["shape"], "strength": 1.0, "channels": wrong}], levels, equal_rows(3, 4))


def test_drifts_are_no_failures_but_rank_lower():
    good = verdict_on(measured(0.1))
    other_sex = verdict_on(measured(0.1, female=0.2))
    other_mouth = verdict_on(measured(0.1, opening=25))
    assert other_sex.passed
    assert other_sex.drifts == ("sex",)
    assert other_mouth.drifts == ("mouth",)
    failed = verdict_on(measured(0.9))
    assert sorted([failed, other_sex, good], key=lambda v: v.rank) == [good, other_sex, failed]
    assert [v.good for v in (good, other_sex, other_mouth, failed, verdict_on(measured(0.35)))] == [True] + [False] * 4


def test_figures_hold_no_embedding():
    verdict = verdict_on(measured(0.1))
    assert all(isinstance(value, float) for value in verdict.figures.values())
    assert verdict.figures["distance"] == pytest.approx(np.sqrt(2 - 0.2), abs=1e-6)
