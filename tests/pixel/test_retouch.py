"""Retouching removes artificial faults, and leaves a face without faults nearly unchanged."""

import cv2
import numpy as np
import pytest

from styleid.pixel import guides, retouch
from styleid.pixel.retouch import lit_alike, retouched, toned, within_light, without_frames, without_stray_lines
from tests.lab.synthetic import layout

SIZE = 128
FACE = (layout(np.random.default_rng(0)) * 104 + 12).astype(np.float32)
SKIN = np.float32([190, 150, 130])
LIT = np.full((SIZE, SIZE, 3), SKIN, np.float32)
REGION = guides.blurred(guides.filled(FACE, SIZE).astype(np.float32), 0.8)
GREYS = np.random.default_rng(0).uniform(20, 230, (900, 1)).astype(np.float32)


def maps(context: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Return what a generator was told of skin in even light; context: colours (k, 3) of the surroundings."""
    around = np.zeros((3, SIZE, SIZE), np.float32)
    outside = np.argwhere(REGION <= guides.CUT_FROM)
    colours = np.random.default_rng(1).uniform(20, 230, (len(outside), 3)) if context is None else context
    rows, columns = outside[: len(colours)].T
    around[:, rows, columns] = (colours[: len(outside)].T / 127.5 - 1).astype(np.float32)
    light = (LIT.transpose(2, 0, 1) / 127.5 - 1) * REGION
    return {"context": around, "region": REGION[None], "light": light.astype(np.float32)}


def drawn() -> np.ndarray:
    """Return a face of even skin with dark eyes, brows and lips."""
    image = LIT.copy()
    for first, last in retouch.PARTS:
        cv2.fillConvexPoly(image, cv2.convexHull(FACE[first:last].round().astype(np.int32)), (90.0, 60.0, 50.0))
    return image


def test_a_face_without_faults_stays() -> None:
    image = drawn()
    after = retouched(image, maps(), FACE)
    assert after.dtype == np.float32
    assert after.shape == image.shape
    inside = REGION > 0.9
    assert np.abs(after - image)[inside].mean() < 4


@pytest.mark.parametrize("dark", [True, False])
def test_a_thin_line_along_the_jaw_goes(dark: bool) -> None:
    jaw = ((FACE[2:15] - FACE.mean(0)) * 0.95 + FACE.mean(0)).round().astype(np.int32)
    image, line = LIT.copy(), np.zeros((SIZE, SIZE), np.uint8)
    cv2.polylines(line, [jaw], False, 1, 2)
    image[line > 0] = 30 if dark else 250
    after = without_stray_lines(image, REGION, FACE, LIT)
    assert np.abs(after - SKIN)[line > 0].mean() < 0.2 * np.abs(image - SKIN)[line > 0].mean()


def test_lines_of_the_features_stay() -> None:
    image = LIT.copy()
    cv2.polylines(image, [FACE[48:60].round().astype(np.int32)], True, (90.0, 40.0, 40.0), 1)
    lips = guides.filled(FACE[48:60], SIZE)
    after = without_stray_lines(image, REGION, FACE, LIT)
    assert np.abs(after - image)[lips].max() < 1


@pytest.mark.parametrize("colour", [[60, 140, 80], [80, 150, 150], [40, 90, 110]], ids=["green", "cyan", "blue-green"])
def test_colours_that_no_skin_has_are_brought_back(colour: list[float]) -> None:
    image = np.full((SIZE, SIZE, 3), colour, np.float32)
    after = within_light(image, LIT)
    assert np.allclose(after.mean(2), image.mean(2), atol=0.5)
    green, red = (3 * after[..., k] - after.sum(2) for k in (1, 0))
    assert green.max() / 2 <= retouch.GREENER + 0.5
    assert red.min() / 2 >= -retouch.LESS_RED - 0.5


def test_green_light_may_make_green_skin() -> None:
    lit = np.full((SIZE, SIZE, 3), [120, 190, 120], np.float32)
    assert np.allclose(within_light(0.7 * lit, lit), 0.7 * lit, atol=0.01)


@pytest.mark.parametrize("tone", [[1, 1, 1], [1.1, 1.0, 0.8]], ids=["grey", "sepia"])
def test_a_photo_of_one_tone_gets_a_face_of_that_tone(tone: list[float]) -> None:
    image = np.random.default_rng(2).uniform(20, 230, (SIZE, SIZE, 3)).astype(np.float32)
    after = toned(image, GREYS * np.float32(tone), 150 * np.float32(tone))
    assert np.allclose(after / np.float32(tone), (after / np.float32(tone))[..., :1], rtol=0.02, atol=1)


@pytest.mark.parametrize(
    "context",
    [GREYS * 1 + np.random.default_rng(3).normal(0, 20, (900, 3)), np.full((900, 3), 120), GREYS[:50].repeat(3, 1)],
    ids=["coloured", "flat", "little is seen"],
)
def test_a_photo_that_may_have_colours_keeps_the_faces_colours(context: np.ndarray) -> None:
    image = drawn()
    assert np.array_equal(toned(image, context.astype(np.float32), np.float32([150, 150, 150])), image)


def test_a_face_in_colours_before_grey_things_keeps_them() -> None:
    image = drawn()
    assert np.array_equal(toned(image, GREYS.repeat(3, 1), SKIN), image)


def test_the_coarse_colour_follows_the_light() -> None:
    image = drawn() * np.float32([0.8, 1.0, 1.2])
    after = lit_alike(image, REGION, FACE, LIT)
    features = [guides.filled(FACE[first:last], SIZE) for first, last in retouch.PARTS]
    skin = (REGION > 0.9) & ~np.any(features, 0)
    before, then = (
        np.abs((one / one.mean(2, keepdims=True) - SKIN / SKIN.mean())[skin]).mean() for one in (image, after)
    )
    assert then < 0.3 * before


def test_what_is_no_face_is_not_made_one() -> None:
    noise = np.random.default_rng(4).uniform(0, 255, (SIZE, SIZE, 3)).astype(np.float32)
    assert np.array_equal(retouched(noise, maps(), FACE), noise)


def test_a_face_that_is_hidden_whole_stays_as_it_was_drawn() -> None:
    hidden = {name: np.zeros_like(one) for name, one in maps().items()}
    assert np.array_equal(retouched(drawn(), hidden, FACE), drawn())


def test_skin_drawn_over_hair_where_frames_were_becomes_hair() -> None:
    hair = np.float32([60, 40, 30])
    told = maps(np.tile(hair, (SIZE * SIZE, 1)))
    frames, region = np.zeros((SIZE, SIZE), bool), REGION.copy()
    x, y = FACE[16].astype(int)
    frames[y - 3 : y + 4, x + 2 : x + 14] = True
    frames &= REGION <= guides.CUT_FROM
    region[frames] = 1
    told["context"][:, frames] = 0
    after = without_frames(LIT.copy(), frames, told["context"], region)
    inner = cv2.erode(frames.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert inner.any()
    assert np.abs(after[inner] - hair).max() < 6
    assert np.abs(after - LIT)[REGION > 0.99].max() < 1


def test_a_face_without_glasses_keeps_every_pixel() -> None:
    image = drawn()
    assert without_frames(image, np.zeros((SIZE, SIZE), bool), maps()["context"], REGION) is image
