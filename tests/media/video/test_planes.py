"""Changed areas are converted one by one, as the whole picture would be; grey pictures need no conversion."""

import cv2
import numpy as np
import pytest

from styleid.media.video.planes import PixelColours, planes_of, repaint

av = pytest.importorskip("av", reason="videos are read with PyAV: pip install 'styleid[video]'")
WIDTH, HEIGHT = 250, 186


def a_frame(pixels: str, seed: int = 0):
    picture = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    return av.VideoFrame.from_ndarray(cv2.GaussianBlur(picture, (0, 0), 2), "rgb24").reformat(format=pixels)


def ellipses(*places) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for x, y, across, down in places:
        cv2.ellipse(mask, (x, y), (across, down), 0, 0, 360, 1, -1)
    return mask > 0


MASKS = {
    "nothing": ellipses(),
    "two apart": ellipses((50, 60, 20, 30), (200, 90, 17, 21)),
    "two that touch": ellipses((50, 60, 20, 30), (75, 90, 20, 30)),
    "the border": ellipses((0, 0, 30, 30), (WIDTH - 1, HEIGHT - 1, 9, 9)),
    "one inside the rectangle of another": np.pad(
        np.eye(150, dtype=bool), ((10, HEIGHT - 160), (10, WIDTH - 160))
    ) | ellipses((130, 40, 5, 5)),
    "everything": np.ones((HEIGHT, WIDTH), bool),
}  # fmt: skip


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "gbrp"])
@pytest.mark.parametrize("name", MASKS)
def test_areas_are_repainted_as_in_a_conversion_of_the_whole_picture(name, pixels):
    changed, frame, before = MASKS[name], a_frame(pixels), a_frame(pixels)
    new = np.asarray(cv2.flip(a_frame("rgb24", 1).to_ndarray(), 1), np.uint8)
    colours = PixelColours.of(frame)
    whole = colours.from_rgb(new, pixels, av)
    repaint(frame, new, changed, colours, av)
    for mine, old, wanted in zip(*(planes_of(one) for one in (frame, before, whole)), strict=True):
        fy, fx = -(-HEIGHT // mine.shape[0]), -(-WIDTH // mine.shape[1])
        padded = np.pad(changed, ((0, -HEIGHT % fy), (0, -WIDTH % fx)))
        blocks = padded.reshape(padded.shape[0] // fy, fy, padded.shape[1] // fx, fx).any((1, 3))
        assert np.array_equal(mine[~blocks], old[~blocks])
        assert np.abs(mine[blocks].astype(int) - wanted[blocks]).max(initial=0) <= (0 if name != "the border" else 1)


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p", "gray", "nv12", "yuyv422", "yuv420p10le", "gbrp", "rgb24"])
def test_grey_pictures_show_what_rgb_shows(pixels):
    frame = a_frame(pixels)
    colours = PixelColours.of(frame)
    grey, wanted = colours.to_grey(frame), cv2.cvtColor(colours.to_rgb(frame), cv2.COLOR_RGB2GRAY)
    assert grey.shape == (HEIGHT, WIDTH)
    assert grey.dtype == np.uint8
    assert np.corrcoef(grey.ravel(), wanted.ravel())[0, 1] > 0.99
