import cv2
import numpy as np
import pytest

from styleid.faces.align import CropTemplate, invert, transform_points
from styleid.faces.geometry import with_forehead
from styleid.pixel.composite import NewFace, composite
from styleid.pixel.obscure import OBSCURINGS, face_ellipse, obscure_face
from styleid.pixel.regions import class_probability, face_hull
from styleid.pixel.warp import border_anchors, outline_displacement, thin_plate
from tests.faces.test_geometry import neutral_face

SIZE = 160
IDENTITY = np.float32([[1, 0, 0], [0, 1, 0]])


def shifted_landmarks(scale: float = 0.6, shift: tuple[float, float] = (20, 10)) -> np.ndarray:
    return (neutral_face() * scale + np.float32(shift)).astype(np.float32)


def _new_face(**changes) -> NewFace:
    rng = np.random.default_rng(0)
    source = cv2.GaussianBlur(rng.uniform(0, 255, (SIZE, SIZE, 3)).astype(np.float32), (0, 0), 3)
    values = {
        "generated": source[::-1].copy(),
        "source": source,
        "generated_landmarks": shifted_landmarks(),
        "source_landmarks": shifted_landmarks(),
        "bare": np.ones((SIZE, SIZE), np.float32),
        "glasses": np.zeros((SIZE, SIZE), np.float32),
    }
    return NewFace(**values | changes)


@pytest.mark.parametrize("how", OBSCURINGS)
def test_obscuring_changes_only_what_it_says(how):
    image = np.random.default_rng(0).integers(0, 255, (200, 300, 3)).astype(np.uint8)
    before = image.copy()
    mask = obscure_face(image, np.float32([100, 50, 160, 130]), how)
    assert np.array_equal(image[~mask], before[~mask])
    assert (image[mask] != before[mask]).mean() > 0.9
    assert mask[50:130, 105:155].all()


@pytest.mark.parametrize("box", [(-50, -50, 20, 20), (290, 190, 400, 300), (0, 0, 300, 200), (10, 10, 10, 10)])
def test_boxes_at_the_border_are_obscured_as_far_as_they_go(box):
    image = np.random.default_rng(0).integers(0, 255, (200, 300, 3)).astype(np.uint8)
    mask = obscure_face(image, np.float32(box), "pixelate")
    assert mask.shape == (200, 300)
    assert face_ellipse(np.float32(box), (200, 300)).sum() == mask.sum()


def test_stronger_blur_keeps_less():
    image = np.zeros((100, 100, 3), np.uint8)
    image[:, 50:] = 255
    spread = []
    for strength in (1, 2, 4):
        copy = image.copy()
        mask = obscure_face(copy, np.float32([20, 20, 80, 80]), "blur", strength)
        spread.append(copy[mask].std())
    assert spread == sorted(spread, reverse=True)


def test_class_probabilities_sum_to_one():
    logits = np.random.default_rng(0).normal(size=(2, 19, 10, 10)).astype(np.float32) * 3
    parts = [class_probability(logits, (k,), 40) for k in range(19)]
    assert np.allclose(np.sum(parts, axis=0), 1, atol=1e-5)


def test_hull_is_soft_at_its_outline_and_zero_at_the_border():
    hull = face_hull(shifted_landmarks(), SIZE)
    assert hull.max() > 0.99
    assert hull[0].max() == hull[-1].max() == 0
    assert np.abs(np.diff(hull, axis=1)).max() < 0.5


def test_thin_plate_passes_through_its_knots_when_not_stiff():
    rng = np.random.default_rng(0)
    knots = rng.uniform(0, 100, (12, 2))
    values = rng.normal(size=(12, 2))
    assert np.abs(thin_plate(knots, values, knots) - values).max() < 0.3


def test_outline_moves_and_the_border_stays():
    source, wider = shifted_landmarks()[:17], shifted_landmarks()[:17].copy()
    wider[:, 0] += np.linspace(-6, 6, 17).astype(np.float32)
    field = outline_displacement(source, wider, SIZE, 20)
    assert np.abs(field[[0, -1]]).max() == 0
    assert np.abs(field[:, [0, -1]]).max() == 0
    at = field[np.round(wider[4, 1]).astype(int), np.round(wider[4, 0]).astype(int)]
    assert np.allclose(at, (source - wider)[4], atol=1.5)
    limited = outline_displacement(source, wider + 50, SIZE, 5)
    assert np.linalg.norm(limited, axis=-1).max() < 7


def test_anchors_go_round():
    points = border_anchors(100, 4)
    assert len(points) == 12
    assert set(np.unique(points[:, 0])) == {0, 33, 66, 99}


def test_nothing_changes_outside_the_composite():
    photo = np.random.default_rng(1).integers(0, 255, (300, 300, 3)).astype(np.uint8)
    matrix = np.float32([[0.9, 0.1, -20], [-0.1, 0.9, 5]])
    before = photo.copy()
    mask = composite(photo, _new_face(), matrix)
    assert mask.any()
    assert np.array_equal(photo[~mask], before[~mask])
    quad = transform_points(np.float32([[0, 0], [SIZE, 0], [SIZE, SIZE], [0, SIZE]]), invert(matrix))
    ys, xs = np.nonzero(mask)
    assert xs.min() >= quad[:, 0].min() - 1
    assert ys.max() <= quad[:, 1].max() + 1


def test_a_hidden_face_is_left_to_what_hides_it():
    photo = np.full((SIZE, SIZE, 3), 100, np.uint8)
    face = _new_face(bare=np.zeros((SIZE, SIZE), np.float32))
    assert not composite(photo, face, IDENTITY).any()


def test_colours_meet_at_the_border():
    """A face that is brighter all over joins its photo without a step."""
    flat = np.full((SIZE, SIZE, 3), 100, np.float32)
    photo = flat.astype(np.uint8)
    composite(photo, _new_face(source=flat, generated=flat + 40), IDENTITY)
    assert np.abs(photo.astype(int) - 100).max() <= 12


def test_a_disc_over_the_photo_does_not_make_the_new_face_soft():
    texture = np.random.default_rng(2).normal(128, 20, (SIZE, SIZE, 3)).astype(np.float32)
    original = texture.clip(0, 255).astype(np.uint8)
    covered = np.full_like(original, 128)
    usual, soft, sharp = original.copy(), covered.copy(), covered.copy()
    face = _new_face(source=texture, generated=texture[::-1].copy())
    composite(usual, face, IDENTITY)
    composite(soft, face, IDENTITY)
    composite(sharp, face, IDENTITY, original)
    middle = slice(SIZE // 2 - 15, SIZE // 2 + 15)
    assert soft[middle, middle].std() < 0.2 * usual[middle, middle].std()
    assert np.abs(sharp[middle, middle].astype(int) - usual[middle, middle]).max() <= 1


def test_glasses_stay_before_the_new_face():
    source = np.full((SIZE, SIZE, 3), 150, np.float32)
    glasses = np.zeros((SIZE, SIZE), np.float32)
    for part in (slice(36, 42), slice(42, 48)):
        centre = tuple(int(x) for x in shifted_landmarks()[part].mean(0))
        cv2.ellipse(glasses, centre, (21, 15), 0, 0, 360, 1, -1)
        cv2.ellipse(source, centre, (21, 15), 0, 0, 360, (10,) * 3, 3)  # a dark frame round clear lenses
    photo = source.astype(np.uint8)
    face = _new_face(source=source, generated=np.full_like(source, 150), bare=1 - glasses, glasses=glasses)
    composite(photo, face, IDENTITY)
    assert photo[64 + 12 : 64 + 18, 50].min() < 80
    assert photo[60:68, 44:56].min() > 120


def test_a_beard_on_the_rim_does_not_tint_the_face():
    """Where the rim's skin agrees, what differs there (a white beard) tells no colour."""
    skin = np.full((SIZE, SIZE, 3), (150, 110, 90), np.float32)
    bearded = skin.copy()
    points = shifted_landmarks()
    bearded[int(points[4, 1]) :] = 240  # from the cheeks down
    photos = []
    for source in (skin, bearded):
        photo = source.astype(np.uint8)
        composite(photo, _new_face(source=source, generated=skin.copy()), IDENTITY)
        photos.append(photo[int(points[27:31, 1].mean()), int(points[30, 0])].astype(int))
    assert np.abs(photos[0] - photos[1]).max() <= 10


def test_a_fringe_that_may_be_face_does_not_tint_the_face():
    skin = np.full((SIZE, SIZE, 3), (200, 150, 120), np.float32)
    points, photos = shifted_landmarks(), []
    for top in (0, int(points[30, 1])):
        source, bare = skin.copy(), np.ones((SIZE, SIZE), np.float32)
        source[:top], bare[:top] = (140, 110, 90), 0.9  # lit by a shade that is not the skin's
        photo = source.astype(np.uint8)
        face = _new_face(source=source, generated=skin.copy(), bare=bare)
        composite(photo, face, IDENTITY)
        photos.append(photo[int(points[33, 1]), int(points[33, 0])].astype(int))
    assert np.abs(photos[0] - photos[1]).max() <= 8


def test_a_covering_face_lies_over_what_hides_it_and_beyond_its_outline():
    areas = []
    for cover in (None, 0.0, 0.1):
        photo = np.full((SIZE, SIZE, 3), 100, np.uint8)
        face = _new_face(bare=np.zeros((SIZE, SIZE), np.float32), cover=cover)
        areas.append(int(composite(photo, face, IDENTITY).sum()))
    hull = int((face_hull(shifted_landmarks(), SIZE) > 0.5).sum())
    assert areas[0] == 0
    assert hull <= areas[1] < areas[2]


def test_a_face_reaches_a_little_beyond_its_outline_but_not_over_what_lies_before_it():
    """A hand over the chin stays, inside the outline and beyond it."""
    photo = np.full((SIZE, SIZE, 3), 100, np.uint8)
    points, bare = shifted_landmarks(), np.ones((SIZE, SIZE), np.float32)
    chin, cheek = points[8].round().astype(int), points[2].round().astype(int)
    bare[chin[1] - 12 :, chin[0] - 40 : chin[0] + 40] = 0
    bare *= face_hull(points, SIZE) > 0.5
    changed = composite(photo, _new_face(bare=bare), IDENTITY)
    assert changed[cheek[1], cheek[0] - 3]
    assert not changed[chin[1] - 4 : chin[1] + 4, chin[0] - 5 : chin[0] + 5].any()


def test_light_from_one_side_is_carried_over():
    across = np.linspace(60, 180, SIZE, dtype=np.float32)
    source = np.repeat(np.repeat(across[None, :, None], SIZE, 0), 3, 2)
    photo = source.astype(np.uint8)
    face = _new_face(source=source, generated=np.full_like(source, 120))
    composite(photo, face, IDENTITY)
    left, nose, right = (shifted_landmarks()[k].round().astype(int) for k in (2, 30, 14))
    assert photo[nose[1], left[0] + 12].mean() + 20 < photo[nose[1], right[0] - 12].mean()


def test_a_crop_outside_the_photo_changes_nothing():
    photo = np.full((50, 50, 3), 9, np.uint8)
    assert not composite(photo, _new_face(), np.float32([[1, 0, 5000], [0, 1, 0]])).any()
    assert CropTemplate.tight(8).size_px == 8


def test_a_forehead_fades_into_the_photo_without_a_line():
    """A new face whose forehead is darker and ends higher than the old one's, on a photo that shows skin all over."""
    skin = np.full((SIZE, SIZE, 3), (200, 150, 120), np.float32)
    dark = skin.copy()
    points = shifted_landmarks()
    dark[: int(points[27, 1])] *= 0.7
    photo = skin.astype(np.uint8)
    taller = (points - points.mean(0)) * 1.05 + points.mean(0)
    composite(photo, _new_face(source=skin, generated=dark, generated_landmarks=taller), IDENTITY)
    column = photo[: int(points[27, 1]) - 10, int(points[27, 0]), 0].astype(int)
    assert np.ptp(column) >= 40
    assert np.abs(np.diff(column)).max() <= 5


def test_what_is_not_of_the_skins_colour_is_seen_whole():
    skin = np.full((SIZE, SIZE, 3), (200, 150, 120), np.float32)
    paint = np.full((SIZE, SIZE, 3), (20, 220, 20), np.float32)
    paint[:, np.arange(SIZE) // 12 % 2 == 1] = (220, 20, 220)
    points = shifted_landmarks()
    photo = skin.astype(np.uint8)
    composite(photo, _new_face(source=skin, generated=paint), IDENTITY)
    row = photo[int(with_forehead(points)[68:, 1].mean()) + 3, int(points[19, 0]) : int(points[24, 0])]
    assert np.abs(row - skin[0, 0]).max(1).mean() > 60


def test_teeth_do_not_take_the_colour_that_skin_lacks():
    skin = np.full((SIZE, SIZE, 3), (200, 150, 120), np.float32)
    redder = np.full((SIZE, SIZE, 3), (230, 120, 90), np.float32)
    points = shifted_landmarks()
    mouth = tuple(slice(int(v) - 12, int(v) + 12) for v in points[48:60].mean(0)[::-1])
    redder[mouth] = 220
    photo = skin.astype(np.uint8)
    composite(photo, _new_face(source=skin, generated=redder), IDENTITY)
    teeth = photo[mouth][10:-10, 10:-10].reshape(-1, 3).mean(0)
    cheek = photo[mouth[0].start, int(points[3, 0]) + 12].astype(float)
    assert np.ptp(teeth) <= 8
    assert np.abs(cheek - skin[0, 0]).max() <= 15
