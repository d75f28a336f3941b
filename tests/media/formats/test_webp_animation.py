"""Animated WebP: all frames are read, and written with their durations."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageSequence

from styleid.errors import ImageError
from styleid.media.audit import find_leftovers
from styleid.media.formats.strip import Strip, joined, parted
from styleid.media.image import encode_photo, read_photo_bytes
from styleid.media.provenance import PACKET
from tests.media import samples

FRAMES = [samples.smooth(60, 90, seed=seed) for seed in range(4)]
TIMES = [70, 1000, 5, 250]


def animation(frames=FRAMES, **options) -> bytes:
    images = [Image.fromarray(frame) for frame in frames]
    out = io.BytesIO()
    more = {"duration": TIMES[: len(frames)], "loop": 3, "background": (10, 20, 30, 255), "lossless": True} | options
    images[0].save(out, "WEBP", save_all=True, append_images=images[1:], **more)
    return out.getvalue()


def shown(data: bytes) -> list[np.ndarray]:
    return [np.asarray(frame.convert("RGBA")) for frame in ImageSequence.Iterator(Image.open(io.BytesIO(data)))]


def times(data: bytes) -> list[int]:
    found, image = [], Image.open(io.BytesIO(data))
    for number in range(image.n_frames):
        image.seek(number)
        image.load()
        found.append(image.info["duration"])
    return found


def square(size: int, at: int) -> np.ndarray:
    frame = np.zeros((60, 90, 4), np.uint8)
    frame[at : at + size, at : at + size] = (200, 30, at, 255)
    return frame


ANIMATIONS = {
    "lossless": animation(),
    "lossy": animation(lossless=False, quality=80),
    "alpha": animation([square(20, at) for at in (0, 10, 20, 30)]),
    "small changes": animation([np.where(np.arange(90)[:, None] < 9 * n, FRAMES[1], FRAMES[0]) for n in range(4)]),
    "mixed": animation(allow_mixed=True, lossless=False, quality=60),
}


@pytest.mark.parametrize("name", ANIMATIONS)
def test_frames_times_and_loop_are_kept(name: str) -> None:
    data = ANIMATIONS[name]
    photo = read_photo_bytes(data, "a.webp")
    assert photo.format == "WebP"
    assert photo.strip is not None
    assert photo.strip.frames == len(times(data))
    out = encode_photo(photo, photo.image_rgb, np.zeros(photo.image_rgb.shape[:2], bool))
    assert times(out) == times(data)
    before, after = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(out))
    assert {key: after.info[key] for key in ("loop", "background")} == {
        key: before.info[key] for key in ("loop", "background")}  # fmt: skip
    if name in ("lossless", "alpha", "small changes"):
        for old, new in zip(shown(data), shown(out), strict=True):
            opaque = old[..., 3] > 0
            assert np.array_equal(old[opaque], new[opaque])
            assert np.array_equal(old[..., 3], new[..., 3])
    assert find_leftovers(out, "strip") == []
    again = read_photo_bytes(out, "a.webp")
    assert np.abs(again.image_rgb.astype(int) - photo.image_rgb).mean() < 4


def test_new_pixels_come_into_their_frame_alone() -> None:
    photo = read_photo_bytes(ANIMATIONS["lossless"], "a.webp")
    assert photo.strip is not None
    mask = np.zeros(photo.image_rgb.shape[:2], bool)
    top = 2 * photo.strip.step
    mask[top + 10 : top + 75, 20:40] = True  # reaches into the gap
    out = encode_photo(photo, 255 - photo.image_rgb, mask, marked=True)
    assert out.count(PACKET) == 1
    assert find_leftovers(out, "strip") == []
    for number, (old, new) in enumerate(zip(shown(ANIMATIONS["lossless"]), shown(out), strict=True)):
        where = mask[number * photo.strip.step :][:60]
        assert where.any() == (number == 2)
        assert np.array_equal(old[~where], new[~where])
        assert np.array_equal(255 - old[where][:, :3], new[where][:, :3])


def test_metadata_of_animations_is_left_out() -> None:
    data = animation(exif=samples.exif(6), xmp=samples.XMP, icc_profile=samples.rgb_profile())
    assert any("GPS" in line for line in find_leftovers(data))
    photo = read_photo_bytes(data, "a.webp")
    assert photo.orientation == 6
    assert photo.image_rgb.shape[0] == 90
    out = encode_photo(photo, photo.image_rgb, np.zeros(photo.image_rgb.shape[:2], bool), "safe")
    assert find_leftovers(out) == []
    assert samples.SECRET not in out
    image = Image.open(io.BytesIO(out))
    assert image.getexif()[274] == 6
    assert image.getexif().get_ifd(34665)[34855] == 200
    assert image.info["icc_profile"]
    assert image.n_frames == 4


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack("<4sI", kind, len(body)) + body + b"\0" * (len(body) & 1)


def test_what_lies_in_a_frame_beside_its_picture_is_found() -> None:
    data = ANIMATIONS["lossless"]
    at = data.index(b"ANMF")
    size = struct.unpack_from("<I", data, at + 4)[0]
    secret = chunk(b"JANE", b"SECRET-1")
    spoiled = data[: at + 4] + struct.pack("<I", size + len(secret)) + data[at + 8 : at + 8 + size] + secret
    spoiled += data[at + 8 + size :]
    spoiled = spoiled[:4] + struct.pack("<I", len(spoiled) - 8) + spoiled[8:]
    assert find_leftovers(data) == []
    assert find_leftovers(spoiled) == ["WebP chunk 'JANE' in a frame"]


def test_one_frame_on_a_part_of_its_canvas_is_an_animation() -> None:
    still = samples.pillow(FRAMES[0], "WEBP", lossless=True)
    head = b"\x02\0\0" + bytes(3) + (89).to_bytes(3, "little") + (59).to_bytes(3, "little") + b"\x64\0\0\0"
    size = (99).to_bytes(3, "little") + (59).to_bytes(3, "little")
    body = chunk(b"VP8X", b"\x12\0\0\0" + size) + chunk(b"ANIM", bytes(6)) + chunk(b"ANMF", head + still[12:])
    data = b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body
    photo = read_photo_bytes(data, "a.webp")
    assert photo.image_rgb.shape == (60, 100, 3)
    assert np.array_equal(photo.image_rgb[:, 4:94], FRAMES[0])
    out = encode_photo(photo, photo.image_rgb, np.zeros((60, 100), bool))
    assert np.array_equal(shown(out)[0], shown(data)[0])


REFUSED = {
    "no header": (ANIMATIONS["lossless"].replace(b"ANIM", b"ANIX"), "no header"),
    "no picture": (ANIMATIONS["lossless"].replace(b"VP8L", b"VP8Y"), "a frame holds no picture"),
    "cut short": (ANIMATIONS["lossless"][:-300], "cut short"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_damaged_animations_are_refused(name: str) -> None:
    data, says = REFUSED[name]
    with pytest.raises(ImageError, match=says):
        read_photo_bytes(data, "a.webp")


def test_large_animations_are_refused() -> None:
    with pytest.raises(ImageError, match="over the limit"):
        read_photo_bytes(ANIMATIONS["lossless"], "a.webp", max_pixels=4 * 60 * 90)
    long = animation([np.full((900, 2, 3), shade, np.uint8) for shade in range(250)], duration=10)
    with pytest.raises(ImageError, match="250 frames, which together are more than 200,000 pixels high"):
        read_photo_bytes(long, "a.webp")


def test_a_strip_comes_apart_as_it_was_joined() -> None:
    strip = Strip(60, 4)
    assert (strip.step, strip.height) == (92, 336)
    whole = joined(FRAMES, strip)
    assert whole.shape == (336, 90, 3)
    for before, after in zip(FRAMES, parted(whole, strip), strict=True):
        assert np.array_equal(before, after)
    assert np.array_equal(whole[60:92], np.repeat(FRAMES[0][-1:], 32, axis=0))
    assert np.array_equal(joined(FRAMES[:1], Strip(60, 1)), FRAMES[0])
