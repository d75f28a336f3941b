"""Frames of glasses are drawn completely, in their own colours, or not at all."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from styleid.pixel.glasses import FaceMaps, are_dark, draw_glasses_of_original
from tests.pixel.test_pixels import SIZE, shifted_landmarks

SKIN, DARK, NEW = 150.0, 10.0, 190.0
EYES = ((50, 64), (110, 64))
AXES = (21, 15)


def ring(centre: tuple[int, int], thickness: int = 3, filled: bool = False) -> np.ndarray:
    """Return a lens's rim or all of it, bool (s, s)."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    return cv2.ellipse(mask, centre, AXES, 0, 0, 360, 1, -1 if filled else thickness) > 0


def whole(face: np.ndarray, eye: tuple[int, int]) -> float:
    """Return in which share of all directions from an eye a dark line is crossed near a lens's outline."""
    angles, reach = np.radians(np.arange(0, 360, 5))[:, None], np.linspace(0.5, 1.15, 60)
    x, y = eye[0] + AXES[0] * reach * np.cos(angles), eye[1] + AXES[1] * reach * np.sin(angles)
    return float((face[y.round().astype(int), x.round().astype(int)].mean(2) < 100).any(1).mean())


def worn(eyes=EYES, rim: float = DARK) -> tuple[np.ndarray, FaceMaps]:
    """Return a source (s, s, 3) that wears glasses, and what it shows."""
    source, glasses = np.full((SIZE, SIZE, 3), SKIN, np.float32), np.zeros((SIZE, SIZE), np.float32)
    for eye in EYES:
        source[ring(eye)] = rim
    for eye in eyes:
        glasses[ring(eye, filled=True)] = 1
    cv2.line(source, (71, 60), (89, 60), (rim,) * 3, 3)
    return source, FaceMaps(1 - glasses, glasses)


def wear(source: np.ndarray, shows: FaceMaps, shift: float = 0.0) -> np.ndarray:
    new = np.full_like(source, NEW)
    return draw_glasses_of_original(
        new, shifted_landmarks() + np.float32([0, shift]), source, shifted_landmarks(), shows
    )


def test_a_line_runs_round_both_lenses_and_over_the_nose():
    face = wear(*worn())
    for eye in EYES:
        assert whole(face, eye) > 0.97
        assert face[eye[1] - 4 : eye[1] + 4, eye[0] - 8 : eye[0] + 8].min() > NEW - 10
    assert face[56:66, 80].min() < 100
    assert face[100:].min() == NEW


def test_brows_do_not_break_it():
    source, shows = worn()
    brows = np.zeros((SIZE, SIZE), np.uint8)
    for start in (17, 22):
        points = shifted_landmarks()[start : start + 5].round().astype(np.int32)
        cv2.polylines(brows, [points], isClosed=False, color=1, thickness=7)
    shows.glasses[brows > 0] = 0
    face = wear(source, shows)
    for eye in EYES:
        assert whole(face, eye) > 0.97


def test_it_keeps_its_colour():
    source, shows = worn()
    for eye in EYES:
        source[ring(eye)] = (20, 30, 120)
    face = wear(source, shows)
    line = face[ring(EYES[0])]
    drawn = line[line[:, 0] < 60]
    assert len(drawn) > 20
    assert (drawn[:, 2] > drawn[:, 0] + 50).all()


def test_it_goes_where_the_new_eyes_are():
    still, moved = (wear(*worn(), shift).min(2) < 100 for shift in (0.0, 6.0))
    agree = (np.roll(still, 6, 0) & moved).sum() / max((np.roll(still, 6, 0) | moved).sum(), 1)
    assert agree > 0.9


def test_a_lens_that_is_missed_is_like_the_other():
    face = wear(*worn(eyes=EYES[:1]))
    for eye in EYES:
        assert whole(face, eye) > 0.97


@pytest.mark.parametrize("what", ["no rims", "a quarter of the rims", "no glasses", "a speck"])
def test_nothing_is_drawn_where_no_frame_is_seen_whole(what):
    source, shows = worn(rim=SKIN if what == "no rims" else DARK)
    if what == "a quarter of the rims":
        source[:, EYES[0][0] :] = SKIN
    elif what == "no glasses":
        shows.glasses[:] = 0
    elif what == "a speck":
        shows.glasses[:] = 0
        shows.glasses[62:66, 46:54] = 1
    assert (wear(source, shows) == NEW).all()


def test_dark_lenses_are_known():
    source, shows = worn()
    assert not are_dark(source, shows)
    for eye in EYES:
        source[ring(eye, filled=True)] = 20
    assert are_dark(source, shows)
    assert not are_dark(source, FaceMaps(shows.bare, shows.glasses * 0))


@given(seed=st.integers(0, 10_000), spread=st.floats(0.02, 1.5), shift=st.floats(-120, 120))
@settings(max_examples=40, deadline=None)
def test_any_landmarks_and_masks_give_a_face(seed, spread, shift):
    rng = np.random.default_rng(seed)
    points = (shifted_landmarks() - SIZE / 2) * spread + SIZE / 2 + shift + rng.normal(0, 3, (68, 2))
    glasses = cv2.GaussianBlur(rng.uniform(-1, 2, (SIZE, SIZE)), (0, 0), rng.uniform(1, 12)).clip(0, 1)
    source = rng.uniform(0, 255, (SIZE, SIZE, 3)).astype(np.float32)
    shows = FaceMaps((1 - glasses).astype(np.float32), glasses.astype(np.float32))
    face = draw_glasses_of_original(
        np.full_like(source, NEW), points.astype(np.float32), source, points.astype(np.float32), shows
    )
    assert face.shape == source.shape
    assert np.isfinite(face).all()
