"""The bound lies above the true number as often as stated, and is not far above it."""

import numpy as np
import pytest
from scipy import stats

from styleid.evaluate.certificate.bound import Stratum, allocate, hypergeometric, upper_bound

RUNS = 1000
ANSWERS = 200


@pytest.mark.parametrize(("size", "drawn"), [(30, 7), (1461, 200), (1_000_000, 200)])
def test_probabilities_are_those_of_another_implementation(size, drawn):
    for found in (0, 1, 3):
        bad = np.unique(np.linspace(0, size, 40).astype(int))
        ours = hypergeometric(found, size, bad, drawn)
        np.testing.assert_allclose(ours, stats.hypergeom.pmf(found, size, bad, drawn), rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize(("size", "seen", "missed"), [(50, 10, 0), (50, 10, 3), (1461, 200, 0), (1461, 200, 7)])
def test_one_stratum_has_the_exact_bound_of_a_plain_sample(size, seen, missed):
    refuted = [d for d in range(missed, size + 1) if stats.hypergeom.cdf(missed, size, d, seen) <= 0.05]
    assert upper_bound([Stratum(size, seen, missed)]) == refuted[0] - 1


@pytest.mark.parametrize(
    "strata",
    [
        (Stratum(20, 5, 0), Stratum(40, 10, 0)),
        (Stratum(20, 5, 1), Stratum(40, 10, 0)),
        (Stratum(20, 5, 0), Stratum(40, 10, 2)),
        (Stratum(12, 6, 2), Stratum(30, 4, 1)),
        (Stratum(6, 2, 0), Stratum(8, 3, 1), Stratum(12, 3, 0)),
    ],
)
def test_several_strata_have_the_bound_that_trying_everything_gives(strata):
    observed = sum(one.size / one.seen * one.missed for one in strata)
    best = 0
    for held in np.ndindex(*(one.size + 1 for one in strata)):
        if any(not one.missed <= d <= one.most for one, d in zip(strata, held, strict=True)):
            continue
        chance = 0.0
        for found in np.ndindex(*(one.seen + 1 for one in strata)):
            if sum(one.size / one.seen * x for one, x in zip(strata, found, strict=True)) <= observed + 1e-6:
                odds = zip(strata, held, found, strict=True)
                chance += np.prod([stats.hypergeom.pmf(x, one.size, d, one.seen) for one, d, x in odds])
        best = max(best, sum(held)) if chance > 0.05 else best
    assert upper_bound(strata) == best


@pytest.mark.parametrize("size", [200, 201, 300, 1461, 20_000, 1_000_000])
@pytest.mark.parametrize("risky", [0.0, 0.02, 0.3])
def test_no_miss_in_200_answers_leaves_two_percent_at_most(size, risky):
    sizes = [round(size * risky), size - round(size * risky)]
    strata = [Stratum(n, drawn, 0) for n, drawn in zip(sizes, allocate(sizes, ANSWERS), strict=True)]
    assert upper_bound(strata) / size <= 0.02


@pytest.mark.parametrize("share", [0.0, 0.002, 0.01, 0.05])
@pytest.mark.parametrize("in_risky", [0.0, 0.5, 1.0])
def test_the_bound_lies_above_the_truth(share, in_risky):
    """In at least 95 % of runs, by construction; 92 % leaves room for what 1,000 runs scatter."""
    sizes, rng = [261, 1200], np.random.default_rng(round(1000 * share) + round(10 * in_risky))
    missed = round(share * sum(sizes))
    held = [round(in_risky * missed), missed - round(in_risky * missed)]
    drawn = allocate(sizes, ANSWERS)
    found = [rng.hypergeometric(bad, size - bad, n, RUNS) for bad, size, n in zip(held, sizes, drawn, strict=True)]
    bounds = [
        upper_bound([Stratum(size, n, int(x)) for size, n, x in zip(sizes, drawn, one, strict=True)])
        for one in zip(*found, strict=True)
    ]
    assert np.mean(np.array(bounds) >= missed) >= 0.92
    assert np.median(bounds) / sum(sizes) <= share + 0.04  # and it is of use


def test_known_misses_are_counted_and_the_rest_is_still_bounded():
    """Regions chosen for their risk show some of the misses; those photos leave their strata."""
    rng, size, missed = np.random.default_rng(4), 1461, 30
    above = []
    for _ in range(RUNS):
        bad = np.arange(size) < missed
        known = bad & (rng.permutation(size) < size // 2)  # whoever looked at regions saw about half of them
        drawn = rng.permutation(size) < ANSWERS
        left = drawn & ~known
        stratum = Stratum(size - int(known.sum()), int(left.sum()), int((left & bad).sum()))
        above.append(upper_bound([stratum], int(known.sum())) >= missed)
    assert np.mean(above) >= 0.92


def test_strata_that_nobody_saw_or_everybody_did():
    assert upper_bound([Stratum(10, 0, 0)]) == 10
    assert upper_bound([Stratum(10, 10, 2)], known=3) == 5
    assert upper_bound([]) == 0
    with pytest.raises(ValueError, match="must have missed <= seen"):
        Stratum(10, 3, 4)


@pytest.mark.parametrize(
    ("sizes", "wanted", "given"),
    [
        ([10, 90], 20, [2, 18]),
        ([1, 999], 10, [1, 9]),
        ([0, 50], 10, [0, 10]),
        ([3, 4], 200, [3, 4]),
        ([5, 5], 1, [1, 0]),
    ],
)
def test_photos_are_divided_by_size(sizes, wanted, given):
    assert allocate(sizes, wanted) == given
