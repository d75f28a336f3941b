"""Inputs of generators that fill in faces, and the composite with the photo."""

from dataclasses import replace

import numpy as np
import pytest

from styleid.pixel import guides
from styleid.pixel.fill import FilledFace, Surroundings, fill_in, resized_points
from styleid.pixel.guides import Part
from styleid.pixel.obscure import ellipses_in_crop
from tests.lab.synthetic import layout

SIZE = 160
FACE = (layout(np.random.default_rng(0)) * 130 + 15).astype(np.float32)
IDENTITY = np.float32([[1, 0, 0], [0, 1, 0]])


def surroundings(
    crop: np.ndarray | None = None, others: np.ndarray | None = None, before: np.ndarray | None = None
) -> Surroundings:
    if crop is None:
        crop = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3)).astype(np.uint8)
    parts = np.zeros((SIZE, SIZE), np.uint8)
    parts[guides.filled(FACE, SIZE)] = Part.FACE
    if others is None:
        others = np.zeros((SIZE, SIZE), bool)
    if before is None:
        before = np.zeros((SIZE, SIZE), bool)
    return Surroundings(crop, parts[::2, ::2].copy(), FACE, others, before)


def region_of(side: int = 128) -> np.ndarray:
    return surroundings().maps(FACE, side, 3)["region"][0]


@pytest.mark.parametrize("side", [64, 128, 256])
def test_maps_have_the_generators_side_and_known_ranges(side):
    maps = surroundings().maps(FACE, side, 3)
    shapes = {name: one.shape for name, one in maps.items()}
    square = (side, side)
    assert shapes == {
        "context": (3, *square),
        "region": (1, *square),
        "lines": (2, *square),
        "glasses": (1, *square),
        "light": (3, *square),
    }
    for name, low in (("context", -1), ("region", 0), ("lines", 0), ("glasses", 0), ("light", -1)):
        assert maps[name].dtype == np.float32
        assert low <= maps[name].min() <= maps[name].max() <= 1


def test_no_pixel_of_the_region_reaches_the_context():
    seen = surroundings()
    before = seen.maps(FACE + 3, 128, 3)
    covered = np.zeros((SIZE, SIZE), np.uint8)
    covered[guides.filled(FACE, SIZE)] = 1
    other = seen.crop.copy()
    other[covered > 0] = other[covered > 0][::-1]  # another face, of the same colours
    after = replace(seen, crop=other).maps(FACE + 3, 128, 3)
    assert np.array_equal(before["context"], after["context"])
    assert np.abs(before["context"]).max(0)[before["region"][0] > guides.CUT_FROM].max() == 0


def test_light_is_as_coarse_as_asked():
    dark = np.full((SIZE, SIZE, 3), 40, np.uint8)
    dark[:, SIZE // 2 :] = 200
    maps = {cells: surroundings(dark).maps(FACE, 128, cells) for cells in (1, 4)}
    inside = maps[1]["region"][0] > 0.99
    spread = {cells: float(np.ptp(one["light"][0][inside])) for cells, one in maps.items()}
    assert spread[1] < 0.01
    assert spread[4] > 0.8


def test_other_peoples_faces_are_cut_out_of_the_context():
    others = ellipses_in_crop(np.float32([[0, 0, 40, 40]]), IDENTITY, SIZE)
    assert others[20, 20]
    assert not others[80, 80]
    maps = surroundings(others=others).maps(FACE, 128, 3)
    assert np.abs(maps["context"][:, 16, 16]).max() == 0
    assert np.abs(maps["context"][:, 5, 120]).max() > 0


def test_nothing_is_drawn_over_a_face_that_is_nearer() -> None:
    nearer = ellipses_in_crop(np.float32([[90, 40, 190, 160]]), IDENTITY, SIZE, 1.0)
    maps = surroundings(others=nearer, before=nearer).maps(FACE, SIZE, 3)
    assert maps["region"][0][nearer].max() == 0
    assert np.abs(maps["context"][:, nearer]).max() == 0
    assert maps["region"][0].max() > 0.9


def test_no_box_covers_nothing():
    assert not ellipses_in_crop(np.zeros((0, 4), np.float32), IDENTITY, SIZE).any()


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.5], ids=["small", "as large as the crop", "large"])
def test_a_filled_face_changes_what_the_mask_says_and_the_region_alone(scale):
    rng = np.random.default_rng(1)
    photo = rng.integers(90, 110, (450, 440, 3)).astype(np.uint8)
    before = photo.copy()
    matrix = np.float32([[1 / scale, 0, -30 / scale], [0, 1 / scale, -20 / scale]])
    region = region_of()
    changed = fill_in(photo, FilledFace(np.full((128, 128, 3), 250, np.float32), region), matrix, SIZE)
    assert np.array_equal(photo[~changed], before[~changed])
    centre = FACE[30] * scale + [30, 20]
    x, y = centre.round().astype(int)
    assert photo[y, x].min() > 235
    share = changed.sum() / (SIZE * scale) ** 2
    assert region.mean() * 0.9 < share < region.mean() * 1.3


def test_a_face_beside_the_photo_changes_nothing():
    photo = np.zeros((50, 50, 3), np.uint8)
    matrix = np.float32([[1, 0, 1000], [0, 1, 0]])
    face = FilledFace(np.full((128, 128, 3), 250, np.float32), region_of())
    assert not fill_in(photo, face, matrix, SIZE).any()
    assert not photo.any()


def test_sharpness_follows_the_photo_as_it_was():
    rng = np.random.default_rng(2)
    noise = rng.uniform(0, 255, (128, 128, 3)).astype(np.float32)
    smooth = np.full((SIZE, SIZE, 3), 120, np.uint8)
    rough = rng.integers(0, 255, (SIZE, SIZE, 3)).astype(np.uint8)
    spread = {}
    for name, like in (("smooth", smooth), ("rough", rough)):
        photo = smooth.copy()
        fill_in(photo, FilledFace(noise, region_of()), IDENTITY, SIZE, like)
        x, y = FACE[30].astype(int)
        spread[name] = float(photo[y - 10 : y + 10, x - 10 : x + 10].std())
    assert spread["smooth"] < spread["rough"] / 2


def test_points_are_resized_about_pixel_centres():
    corners = np.float32([[-0.5, -0.5], [159.5, 159.5]])
    assert np.allclose(resized_points(corners, 160, 128), [[-0.5, -0.5], [127.5, 127.5]])
