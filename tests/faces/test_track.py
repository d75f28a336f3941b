"""Detections become tracks."""

import numpy as np
import pytest

from styleid.faces.follow import SEEN_FROM, fill_gap, follow, hermite
from styleid.faces.smooth import smooth
from styleid.faces.track import Candidates, associate, best_pairs, overlap

pytestmark = pytest.mark.versions

pytest.importorskip("scipy", reason="faces are given to tracks by SciPy: pip install 'styleid[video]'")


def candidates(rows) -> Candidates:
    """rows: (frame, x, y, side, score, who); people's embeddings are the unit vectors of 8 dimensions."""
    rows = sorted(rows, key=lambda r: r[0])
    boxes = np.float32([[x - s / 2, y - s / 2, x + s / 2, y + s / 2] for _, x, y, s, *_ in rows])
    known = np.float32([np.eye(8)[w] if w is not None else np.full(8, np.nan) for *_, w in rows])
    points = np.zeros((len(rows), 5, 2), np.float32)
    return Candidates(np.array([r[0] for r in rows]), boxes, np.float32([r[4] for r in rows]), points, known)


def tracks(rows, cuts=(), gap=25):
    c = candidates(rows)
    return [[int(c.frames[r]) for r in track] for track in associate(c, 0.35, cuts, gap)], c


def walk(frames, x, speed, who=0, score=0.9, y=100, side=40):
    return [(i, x + speed * i, y, side, score, who) for i in frames]


def test_one_face_is_one_track_over_gaps_up_to_the_limit():
    found, _ = tracks(walk([*range(10), *range(30, 40)], 50, 4))
    assert found == [[*range(10), *range(30, 40)]]
    found, _ = tracks(walk([*range(10), *range(45, 50)], 50, 4))
    assert found == [list(range(10)), list(range(45, 50))]


def test_cuts_end_tracks():
    found, _ = tracks(walk(range(20), 100, 0), cuts=(8,))
    assert found == [list(range(8)), list(range(8, 20))]


def test_unsure_detections_continue_a_track_forwards_and_backwards_and_begin_none():
    rows = walk(range(3, 10), 100, 2) + walk([0, 1, 2, 10, 11], 100, 2, None, 0.2)
    rows += walk(range(5), 300, 0, None, 0.2)
    found, _c = tracks(rows)
    assert found == [list(range(12))]


def test_people_who_cross_keep_their_tracks():
    rows = walk(range(40), 20, 6, 0) + walk(range(40), 260, -6, 1)
    c = candidates(rows)
    for track in associate(c, 0.35, (), 25):
        assert len({int(c.embeddings[row].argmax()) for row in track}) == 1
        assert len(track) == 40


def test_random_misses_do_not_break_a_track():
    seen = np.random.default_rng(2).random(100) > 0.2
    rows = [r for r in walk(range(100), 20, 3) if seen[r[0]]]
    found, _ = tracks(rows)
    assert len(found) == 1


def test_overlap_is_intersection_over_union():
    boxes = np.float32([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]])
    assert overlap(boxes[:1], boxes)[0] == pytest.approx([1, 1 / 3, 0])


@pytest.fixture(scope="module")
def moving():
    """Grey pictures with a speckled patch of 30 px that moves along a curve, and its boxes."""
    rng = np.random.default_rng(3)
    ground, patch = rng.integers(90, 110, (150, 240)).astype(np.uint8), rng.integers(0, 255, (30, 30)).astype(np.uint8)
    pictures, boxes = [], []
    for i in range(20):
        x, y = round(30 + 7 * i), round(60 + 30 * np.sin(i / 4))
        picture = ground.copy()
        picture[y : y + 30, x : x + 30] = patch
        pictures.append(picture)
        boxes.append([x, y, x + 30, y + 30])
    return pictures, np.float32(boxes)


def test_a_patch_is_followed_and_lost_where_it_is_gone(moving):
    pictures, boxes = moving
    found, scores = follow(pictures, boxes[0], np.zeros(2, np.float32))
    assert np.abs(found - boxes[1:]).max() < 2
    assert scores.min() > 0.9
    empty = np.full_like(pictures[0], 100)
    _, scores = follow([pictures[0], empty, empty], boxes[0], np.zeros(2, np.float32))
    assert (scores < SEEN_FROM).all()


def test_a_gap_is_filled_along_the_path_and_smoothly_where_nothing_is_seen(moving):
    pictures, boxes = moving
    speeds = boxes[1, :2] - boxes[0, :2], boxes[-1, :2] - boxes[-2, :2]
    assert np.abs(fill_gap(pictures, boxes[0], boxes[-1], speeds) - boxes[1:-1]).max() < 2
    blank = [pictures[0], *[np.full_like(pictures[0], 100)] * 3, pictures[4]]
    filled = fill_gap(blank, boxes[0], boxes[4], speeds)
    assert len(filled) == 3
    assert (np.diff(filled[:, 0]) > 0).all()
    assert hermite(boxes[0], boxes[1], np.zeros(4), np.zeros(4), 0).shape == (0, 4)


def test_smoothing_calms_noise_and_shifts_nothing():
    times = np.arange(80) / 25
    rng = np.random.default_rng(0)
    path = np.stack([40 * times**2, 100 - 30 * times], 1)
    noisy = path + rng.normal(0, 1, path.shape)
    calm = smooth(times, noisy, np.ones(80), 2 / 25)
    assert np.abs(np.diff(calm - path, axis=0)).mean() < 0.45 * np.abs(np.diff(noisy - path, axis=0)).mean()
    even = smooth(times, path, np.ones(80), 2 / 25)
    assert np.abs(even - path)[8:-8].max() < 0.1
    wave = np.sin(2 * np.pi * times)[:, None]
    lag = [np.abs(np.roll(smooth(times, wave, np.ones(80), 2 / 25), k) - wave)[10:-10].mean() for k in (-1, 0, 1)]
    assert lag[1] == min(lag)


def test_smoothing_goes_over_what_is_missing_or_not_trusted():
    times = np.arange(30) / 25
    values = np.ones((30, 2)) * times[:, None]
    values[10], trust = np.nan, np.ones(30)
    values[20], trust[20] = 50, 0
    made = smooth(times, values, trust, 2 / 25)
    assert np.abs(made - times[:, None])[3:-3].max() < 0.1


def test_pairs_that_stand_in_nobodys_way_are_those_of_the_assignment():
    from scipy.optimize import linear_sum_assignment

    rng = np.random.default_rng(2)
    for count in range(60):
        worth = np.zeros((1 + count % 5, 1 + count % 4))
        for row, column in zip(rng.permutation(len(worth)), rng.permutation(worth.shape[1]), strict=False):
            worth[row, column] = rng.random() * (rng.random() < 0.7)
        quick, best = (
            {(int(i), int(j)) for i, j in zip(*pairs, strict=True) if worth[i, j] > 0}
            for pairs in (best_pairs(worth), linear_sum_assignment(-worth))
        )
        assert quick == best
