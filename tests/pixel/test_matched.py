"""Composites by label maps, compared with upstream's bytes and scikit-image's histograms."""

from pathlib import Path

import numpy as np
import pytest
from skimage.exposure import match_histograms

from styleid.pixel.matched import MatchedFace, matched, matched_composite, region_mask, soft_mask
from styleid.pixel.scale import at_photo_scale, scaled_matrix
from tests.faces.test_geometry import neutral_face

NOWHERE = np.zeros((68, 2), np.float32)
"""Landmarks of a new face that no outline bounds."""


def labels_of_a_face(side: int) -> np.ndarray:
    y, x = np.mgrid[0:side, 0:side] / side
    labels = np.where((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.09, 1, 13).astype(np.uint8)
    labels[int(0.55 * side) : int(0.62 * side), int(0.4 * side) : int(0.6 * side)] = 11
    labels[int(0.4 * side) : int(0.45 * side), int(0.35 * side) : int(0.45 * side)] = 4
    return labels


@pytest.mark.shared
@pytest.mark.parametrize("region", ["full", "inner"])
def test_upstream_bytes(region: str, shared: Path) -> None:
    golden = np.load(shared / "interop" / "golden" / "pixel_composite.npz")
    assert np.array_equal(region_mask(golden["labels"], region), golden[f"mask_{region}"])
    found = matched_composite(golden["original"], golden["generated"], golden["labels"], region)
    assert np.array_equal(found, golden[region])


def test_histograms_are_matched_as_scikit_image_does() -> None:
    rng = np.random.default_rng(0)
    original, generated = (
        rng.normal(m, s, (64, 64, 3)).clip(0, 255).astype(np.uint8) for m, s in ((90, 20), (160, 40))
    )
    full = region_mask(labels_of_a_face(64), "full")
    inside = full[..., None] > 0
    wanted = match_histograms(np.where(inside, generated, 0), np.where(inside, original, 0), channel_axis=-1)
    assert np.array_equal(matched(generated, original, full), np.where(inside, wanted, generated))


@pytest.mark.parametrize("region", ["full", "inner"])
def test_radii_scale_with_the_crop(region: str) -> None:
    small, large = (region_mask(labels_of_a_face(side), region) > 0 for side in (256, 1024))
    assert abs(small.mean() - large.mean()) < 0.01
    assert (small != large[::4, ::4]).mean() < 0.02


def test_a_crop_of_256_px_gets_upstreams_composite() -> None:
    rng = np.random.default_rng(1)
    original = rng.integers(0, 255, (256, 256, 3)).astype(np.uint8)
    generated = rng.integers(0, 255, (256, 256, 3)).astype(np.uint8)
    labels, photo, same = labels_of_a_face(256), original.copy(), np.float32([[1, 0, 0], [0, 1, 0]])
    changed = MatchedFace(original, labels, "inner", 256).put(photo, generated.astype(np.float32), same, NOWHERE)
    assert np.array_equal(photo, matched_composite(original, generated, labels, "inner"))
    assert np.array_equal(changed, soft_mask(region_mask(labels, "inner")) > 0)


@pytest.mark.parametrize("region", ["full", "inner"])
@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
def test_only_the_region_changes_at_the_photos_resolution(region: str, scale: float) -> None:
    rng = np.random.default_rng(2)
    side = 256
    photo = rng.integers(60, 90, (300, 320, 3)).astype(np.uint8)
    matrix = np.float32([[scale, 0, 128 - 160 * scale], [0, scale, 150 - 150 * scale]])
    crop = np.full((side, side, 3), 75, np.uint8)
    generated = np.broadcast_to(np.float32([200, 90, 20]), (side, side, 3))
    before = photo.copy()
    changed = MatchedFace(crop, labels_of_a_face(side), region).put(photo, generated, matrix, NOWHERE)
    assert np.array_equal(photo[~changed], before[~changed])
    assert changed[150, 160]  # on the lips
    assert abs(int(photo[150, 160, 0]) - 75) <= 2  # the colour of the original's region
    assert 0 < changed.mean() < 1


def test_an_outlined_face_ends_where_its_landmarks_do() -> None:
    side, same = 200, np.float32([[1, 0, 0], [0, 1, 0]])
    photo = np.full((side, side, 3), 90, np.uint8)
    generated = np.broadcast_to(np.float32([200, 90, 20]), (side, side, 3))
    labels, landmarks = np.ones((side, side), np.uint8), neutral_face() * 0.5 + 50
    whole, bounded = (MatchedFace(photo, labels, "full", outlined=outlined) for outlined in (False, True))
    everywhere = whole.put(photo.copy(), generated, same, landmarks)
    within = bounded.put(photo.copy(), generated, same, landmarks)
    assert everywhere.all()
    x0, y0 = landmarks.min(0)
    x1, y1 = landmarks.max(0)
    ys, xs = np.nonzero(within)
    assert within[round(y0 + y1) // 2, round(x0 + x1) // 2]
    assert xs.min() > x0 - 10
    assert xs.max() < x1 + 10
    assert ys.max() < y1 + 10


def test_labels_without_a_face_change_nothing() -> None:
    photo = np.random.default_rng(3).integers(0, 255, (50, 50, 3)).astype(np.uint8)
    before, crop = photo.copy(), np.zeros((64, 64, 3), np.uint8)
    face = MatchedFace(crop, np.full((64, 64), 13, np.uint8), "full")
    same = np.float32([[1, 0, 0], [0, 1, 0]])
    assert not face.put(photo, np.zeros((64, 64, 3), np.float32), same, NOWHERE).any()
    assert np.array_equal(photo, before)
    away = np.float32([[1, 0, -500], [0, 1, -500]])
    assert not face.put(photo, np.zeros((64, 64, 3), np.float32), away, NOWHERE).any()


def test_crops_finer_than_the_photo_are_averaged_down() -> None:
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Face:
        image: np.ndarray
        points: np.ndarray
        nothing: None = None

    x = np.arange(640, dtype=np.float32)
    face = Face(np.repeat(np.tile(x, (640, 1))[..., None], 3, 2), np.float32([[0, 0], [639, 320]]))
    matrix = np.float32([[3, 0, 10], [0, 3, 20]])
    small, moved = at_photo_scale(face, 640, matrix)
    assert small.image.shape == (213, 213, 3)
    assert small.nothing is None
    place = np.array([50.0, 60.0, 1.0])
    at_large, at_small = (matrix @ place), (moved @ place)
    assert small.image[100, round(at_small[0]), 0] == pytest.approx(at_large[0], abs=3)
    assert small.points[1] == pytest.approx((face.points[1] + 0.5) * 213 / 640 - 0.5)
    assert np.allclose(scaled_matrix(matrix, 213 / 640), moved)
    same, unmoved = at_photo_scale(face, 640, matrix / 3)
    assert same is face
    assert unmoved is not moved
