"""Thresholds, acceptance rates and ranks on embeddings with known results."""

import numpy as np
import pytest

from styleid.evaluate.verification import (
    best_mated_similarity,
    impostor_similarities,
    rank_one,
    similarity_to_distance,
    threshold_at_fmr,
)

NAN = float("nan")


def directions(*degrees: float) -> np.ndarray:
    """Unit vectors of the plane; NaN gives a face that could not be embedded."""
    angle = np.deg2rad(np.array(degrees, np.float32))
    return np.stack([np.cos(angle), np.sin(angle)], 1)


@pytest.mark.parametrize(
    ("similarity", "distance"), [(1.0, 0.0), (0.5, 1.0), (0.0, 2**0.5), (-1.0, 2.0), (1.0000001, 0.0)]
)
def test_distance_of_unit_vectors(similarity: float, distance: float) -> None:
    assert similarity_to_distance(np.array([similarity])) == pytest.approx([distance], abs=1e-6)


def test_impostors_are_pairs_of_different_people_once_each() -> None:
    embeddings, people = directions(0, 10, 90, 180, NAN), np.array([1, 1, 2, 3, 4])
    found = impostor_similarities(embeddings, people)
    # 1-2 (twice), 1-3 (twice), 2-3; neither the mated pair nor what could not be embedded
    wanted = np.cos(np.deg2rad([90, 80, 180, 170, 90]))
    assert np.sort(found) == pytest.approx(np.sort(wanted), abs=1e-6)


@pytest.mark.parametrize("fmr", [1e-1, 1e-2, 1e-3])
def test_threshold_accepts_the_share_that_it_names(fmr: float) -> None:
    impostors = np.random.default_rng(0).permutation(np.linspace(-1, 1, 100_000))
    threshold = threshold_at_fmr(impostors, fmr)
    assert (impostors >= threshold).mean() == pytest.approx(fmr, abs=2e-5)


@pytest.mark.parametrize(("pairs", "fmr"), [(29_000, 1e-3), (299, 0.1), (0, 0.5)])
def test_too_few_impostors_place_no_threshold(pairs: int, fmr: float) -> None:
    with pytest.raises(ValueError, match=f"{pairs} impostor pairs"):
        threshold_at_fmr(np.zeros(pairs), fmr)
    assert threshold_at_fmr(np.zeros(round(30 / fmr)), fmr) == 0


def test_best_mated_similarity_leaves_the_very_original_out() -> None:
    gallery, people = directions(0, 20, 60, 90, 200), np.array(["a", "a", "a", "b", "c"])
    # the first probe is its own original, the fourth and the fifth have no other photo
    every = best_mated_similarity(gallery, people, gallery, people, exclude_same_row=False)
    other = best_mated_similarity(gallery, people, gallery, people, exclude_same_row=True)
    assert every == pytest.approx(np.ones(5), abs=1e-6)
    assert other[:3] == pytest.approx(np.cos(np.deg2rad([20, 20, 40])), abs=1e-6)
    assert np.isnan(other[3:]).all()


def test_what_cannot_be_embedded_matches_nothing_and_is_counted() -> None:
    probes, gallery, people = directions(NAN, 20, 60), directions(0, 20, NAN), np.array([1, 1, 2])
    best = best_mated_similarity(probes, people, gallery, people, exclude_same_row=False)
    assert best[0] == -np.inf
    assert best[1] == pytest.approx(1)
    assert best[2] == -np.inf
    assert (best >= -1).mean() == pytest.approx(1 / 3)
    assert rank_one(probes, people, gallery, people).tolist() == [0, 1, 0]


def test_rank_one_is_the_nearest_of_the_gallery() -> None:
    gallery, names = directions(0, 90, 180), np.array(["a", "b", "c"])
    probes, people = directions(10, 80, 50, 170, 170), np.array(["a", "b", "a", "c", "a"])
    assert rank_one(probes, people, gallery, names).tolist() == [1, 1, 0, 1, 0]
    # nobody of the gallery could be embedded: the first of equals must not count as found
    assert rank_one(probes, people, directions(NAN, NAN, NAN), names).tolist() == [0] * 5
