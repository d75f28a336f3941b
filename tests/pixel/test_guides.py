"""The maps that guide a generator: region and lines."""

import numpy as np
import pytest

from styleid.faces.geometry import with_forehead
from styleid.pixel import guides
from styleid.pixel.guides import Part
from tests.lab.synthetic import layout

SIZE = 128
FACE = layout(np.random.default_rng(0)) * 104 + 12
NARROW = (FACE - FACE.mean(0)) * [0.8, 1] + FACE.mean(0)


def labels() -> np.ndarray:
    """Return a label map at half the side: the face's hull, and what is below it."""
    parts = np.zeros((SIZE, SIZE), np.uint8)
    parts[guides.filled(with_forehead(FACE), SIZE)] = Part.FACE
    return parts[::2, ::2].copy()


def at(region: np.ndarray, point: np.ndarray) -> float:
    x, y = point.round().astype(int)
    return float(region[y, x])


@pytest.mark.parametrize(("old", "new"), [(FACE, NARROW), (NARROW, FACE), (FACE, FACE)])
def test_the_region_covers_the_old_face_and_the_new(old: np.ndarray, new: np.ndarray) -> None:
    region = guides.face_region(labels(), old, new, SIZE)
    assert region.dtype == np.float32
    assert 0 <= region.min() <= region.max() <= 1
    inset = FACE.mean(0) + (FACE[[1, 4, 8, 12, 15]] - FACE.mean(0)) * 0.92
    assert min(at(region, point) for point in inset) > 0.9
    assert region[2, 2] == 0


@pytest.mark.parametrize(
    ("part", "where", "covered"),
    [
        (Part.HAIR, 19, False),
        (Part.HAIR, 8, True),
        (Part.OTHER, 30, False),
        (Part.GLASSES, 40, True),
    ],
    ids=["hair on the brow stays", "a beard goes", "a hand on the nose stays", "glasses go"],
)
def test_what_lies_before_the_face_stays_but_glasses_and_beards(part: Part, where: int, covered: bool) -> None:
    parts = labels()
    x, y = (FACE[where] / 2).round().astype(int)
    parts[y - 4 : y + 5, x - 4 : x + 5] = part
    region = guides.face_region(parts, FACE, FACE, SIZE)
    assert (at(region, FACE[where]) > 0.9) == covered


def test_frames_and_beards_are_covered_beyond_the_outline() -> None:
    parts, plain = labels(), guides.face_region(labels(), FACE, FACE, SIZE)
    ear, below = FACE[0] + [-3, 0], FACE[8] + [0, 5]
    x, y = (ear / 2).round().astype(int)
    parts[y - 1 : y + 2, x - 1 : x + 8] = Part.GLASSES
    x, y = (below / 2).round().astype(int)
    parts[y - 4 : y + 2, x - 4 : x + 5] = Part.HAIR
    region = guides.face_region(parts, FACE, FACE, SIZE)
    for point in (ear, below):
        assert at(plain, point) < 0.5 < at(region, point)


def test_a_thing_before_the_face_stays_up_to_the_outline() -> None:
    parts = labels()
    x, y = (FACE[4] / 2).round().astype(int)
    parts[y - 4 : y + 4, : x + 14] = Part.OTHER  # an arm that comes in from the left
    region = guides.face_region(parts, FACE, FACE, SIZE)
    assert max(at(region, FACE[4] + [inward, 0]) for inward in range(0, 24, 4)) < 0.1
    parts = labels()
    parts[y - 4 : y + 4, : x + 2] = Part.OTHER  # a label map that is a little too narrow
    assert at(guides.face_region(parts, FACE, FACE, SIZE), FACE[4] + [3, 0]) > 0.7


def test_specks_of_hair_do_not_pierce_the_face() -> None:
    parts = labels()
    x, y = (FACE[27] / 2).round().astype(int)
    parts[y, x] = Part.HAIR
    assert at(guides.face_region(parts, FACE, FACE, SIZE), FACE[27]) > 0.9


def test_lines_follow_the_new_face_and_the_outline_ends_with_the_region() -> None:
    region = guides.face_region(labels(), FACE, FACE, SIZE)
    lines = guides.draw_lines(FACE, region)
    assert lines.shape == (2, SIZE, SIZE)
    assert at(lines[1], FACE[48]) > 0.5
    assert at(lines[0], FACE[48]) == 0
    assert at(lines[0], FACE[30]) > 0.3
    assert at(lines[1], FACE[30]) == 0
    assert at(lines[0], FACE[8]) > 0.1
    assert guides.draw_lines(FACE, np.zeros_like(region))[0][:, :20].max() == 0  # no face there, no jaw


def test_small_features_and_glasses() -> None:
    fine = guides.fine_features(FACE, SIZE)
    assert at(fine, FACE[36:42].mean(0)) > at(fine, FACE[30]) == 0
    parts = labels()
    parts[10:14, 10:50] = Part.GLASSES
    region = guides.face_region(parts, FACE, FACE, SIZE)
    worn = guides.glasses_map(parts, region)
    assert worn.max() > 0.9
    assert (worn <= region).all()


def test_a_mouth_wide_open_is_no_thing_before_the_face() -> None:
    parts = labels()
    x, y = FACE[[62, 66]].mean(0).round().astype(int) // 2
    parts[y - 2 : y + 3, x - 4 : x + 5] = Part.OTHER
    assert at(guides.face_region(parts, FACE, FACE, SIZE), FACE[[62, 66]].mean(0)) > 0.9


@pytest.mark.parametrize(("side", "covered"), [(3, True), (9, False)], ids=["a strand of hair", "a hand"])
def test_small_things_on_the_face_are_drawn_over(side: int, covered: bool) -> None:
    parts = labels()
    cheek = FACE[[2, 31]].mean(0)
    x, y = (cheek / 2).round().astype(int)
    parts[y - side // 2 : y + side // 2 + 1, x - side // 2 : x + side // 2 + 1] = Part.HAIR
    assert (at(guides.face_region(parts, FACE, FACE, SIZE), cheek) > 0.9) == covered


def test_temples_of_glasses_are_covered() -> None:
    parts, beyond = labels(), FACE[0] + (FACE[0] - FACE[36]) * 0.1
    plain = guides.face_region(parts, FACE, FACE, SIZE)
    x, y = (FACE[27] / 2).round().astype(int)
    parts[y - 3 : y + 4, x - 12 : x + 13] = Part.GLASSES
    assert at(plain, beyond) < 0.5 < at(guides.face_region(parts, FACE, FACE, SIZE), beyond)


def test_frames_beside_the_face_lie_in_its_region_but_not_on_it() -> None:
    parts, beyond = labels(), FACE[0] + (FACE[0] - FACE[36]) * 0.1
    assert not guides.frames_beside(parts, FACE, FACE, SIZE).any()
    plain = guides.face_region(parts, FACE, FACE, SIZE)
    x, y = (FACE[27] / 2).round().astype(int)
    parts[y - 3 : y + 4, x - 12 : x + 13] = Part.GLASSES
    frames = guides.frames_beside(parts, FACE, FACE, SIZE)
    assert at(frames, beyond)
    assert not at(frames, FACE[27])
    assert not (frames & (plain > 0.9)).any()


def test_the_face_fades_into_a_forehead_that_goes_on() -> None:
    parts = labels()
    region = guides.face_region(parts, FACE, FACE, SIZE)
    assert np.array_equal(guides.opacity(parts, FACE, region), region)
    brow, top = FACE[19:25].mean(0), float(with_forehead(FACE)[:, 1].min())
    parts[: round(top / 2) + 2, 16:48] = Part.FACE
    faded = guides.opacity(parts, FACE, region)
    below_rim = np.array([brow[0], top + 4])
    assert at(faded, below_rim) < 0.7 * at(region, below_rim)
    assert at(faded, FACE[30]) == at(region, FACE[30])
