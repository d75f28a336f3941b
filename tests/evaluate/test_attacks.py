"""Attacks whose success is known beforehand: a perfect leak, none at all, one that must be learnt."""

import numpy as np
import pytest

from styleid.evaluate.attacks import RidgeAttack, ridge_rank_one, search_other_photos

DIMENSIONS = 32
SMALL = RidgeAttack(train_people=80, penalties=(0.01, 1.0))


def photos(people: int, each: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return unit embeddings of people with several photos each, and whose they are.

    spread: of a person's photos about their mean; the means are spread by 1.
    """
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((people, 1, DIMENSIONS))
    x = (centres + spread * rng.standard_normal((people, each, DIMENSIONS))).reshape(-1, DIMENSIONS)
    return x / np.linalg.norm(x, axis=1, keepdims=True), np.repeat(np.arange(people), each)


def turned(embeddings: np.ndarray) -> np.ndarray:
    """Hide embeddings behind a rotation, which keeps everything for who knows it."""
    rotation = np.linalg.qr(np.random.default_rng(9).standard_normal((DIMENSIONS, DIMENSIONS)))[0]
    return embeddings @ rotation


def strangers(embeddings: np.ndarray) -> np.ndarray:
    x = np.random.default_rng(5).standard_normal(embeddings.shape)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_perfect_leak_is_found() -> None:
    clear, people = photos(120, 3, 0.05)
    assert search_other_photos(clear, clear, people, seed=0) == 1.0
    assert ridge_rank_one(clear, clear, people, 0, SMALL) == 1.0


def test_strangers_are_found_by_chance() -> None:
    clear, people = photos(200, 6, 0.05)
    hidden = strangers(clear)
    # 1000 probes among 200 people, then 600 among 120: 5 expected either way
    assert search_other_photos(hidden, clear, people, seed=0) < 0.02
    assert ridge_rank_one(hidden, clear, people, 0, SMALL) < 0.03


def test_what_a_rotation_hides_must_be_learnt() -> None:
    clear, people = photos(160, 3, 0.05)
    hidden = turned(clear)
    assert search_other_photos(hidden, clear, people, seed=0) < 0.05
    assert ridge_rank_one(hidden, clear, people, 0, SMALL) > 0.95


def test_the_very_original_is_never_in_the_gallery() -> None:
    # photos that share nothing but their own row: whoever finds them has looked at the original
    clear, people = photos(200, 3, 100.0)
    assert search_other_photos(clear, clear, people, seed=0) < 0.03


def test_unembedded_faces_stay_in_the_denominator() -> None:
    clear, people = photos(120, 3, 0.05)
    hidden = clear.copy()
    hidden[np.random.default_rng(2).permutation(len(hidden))[: len(hidden) // 2]] = np.nan
    assert search_other_photos(hidden, clear, people, seed=0) == pytest.approx(0.5, abs=0.1)
    assert ridge_rank_one(hidden, clear, people, 0, SMALL) == pytest.approx(0.5, abs=0.2)
    assert search_other_photos(np.full_like(clear, np.nan), clear, people, seed=0) == 0.0


def test_people_with_one_photo_fill_the_gallery_only() -> None:
    clear, people = photos(6, 3, 0.01)
    alone = np.arange(9, len(people))
    people[alone] = 100 + alone
    missed = clear.copy()
    missed[alone] = np.nan
    assert search_other_photos(missed, clear, people, seed=0) == 1.0


def test_seeds_repeat_and_few_people_are_refused() -> None:
    clear, people = photos(120, 3, 0.8)
    rates = {seed: ridge_rank_one(clear, clear, people, seed, SMALL) for seed in (1, 2, 3)}
    assert rates[1] == ridge_rank_one(clear, clear, people, 1, SMALL)
    assert len(set(rates.values())) > 1
    with pytest.raises(ValueError, match="120 people are too few to train on 350"):
        ridge_rank_one(clear, clear, people, 0)
