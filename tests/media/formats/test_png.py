"""An animated PNG of one frame is read as a still; other animations are refused."""

import struct

import numpy as np
import pytest

from styleid.errors import ImageError
from styleid.media.image import encode_photo, read_photo_bytes
from tests.media import samples

RGB = samples.smooth()
HEIGHT, WIDTH = RGB.shape[:2]


def control(frames):
    return samples.png_chunk(b"acTL", struct.pack(">II", frames, 0))


def frame(number=0, width=WIDTH, height=HEIGHT, x=0, y=0):
    return samples.png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, width, height, x, y, 1, 10, 0, 0))


def more(data, *chunks):
    """Put chunks between the pixels and the end."""
    end = data.rindex(samples.png_chunk(b"IEND", b""))
    return data[:end] + b"".join(chunks) + data[end:]


def test_one_frame_is_a_still():
    photo = read_photo_bytes(samples.png(RGB, 8, 2, control(1), frame()), "a.png")
    assert np.array_equal(photo.image_rgb, RGB)
    assert photo.notes == ("an animation of one frame was written as a still picture",)
    out = encode_photo(photo, RGB, np.zeros((HEIGHT, WIDTH), bool))
    assert not any(kind in out for kind in (b"acTL", b"fcTL"))


ANIMATED = {
    "two frames": more(samples.png(RGB, 8, 2, control(2), frame()), frame(1), samples.png_chunk(b"fdAT", b"\0\0\0\2x")),
    "a frame that is another picture": more(
        samples.png(RGB, 8, 2, control(1)), frame(), samples.png_chunk(b"fdAT", b"\0\0\0\1x")
    ),
    "a frame after the picture": more(samples.png(RGB, 8, 2, control(1)), frame()),
    "a part of the picture": samples.png(RGB, 8, 2, control(1), frame(width=WIDTH - 1)),
    "a frame of a wrong place": samples.png(RGB, 8, 2, control(1), frame(x=1)),
    "hidden frames": more(samples.png(RGB, 8, 2), samples.png_chunk(b"fdAT", b"\0\0\0\1x")),
    "no frame": samples.png(RGB, 8, 2, control(1)),
}


@pytest.mark.parametrize("name", ANIMATED)
def test_others_are_refused(name):
    with pytest.raises(ImageError, match="animated PNG"):
        read_photo_bytes(ANIMATED[name], "a.png")
