"""Make the clips that benchmarks/video_speed.py times: `python benchmarks/video_clips.py FOLDER [--seconds 10]`.

A bundle's generator renders the faces, over pictures from scikit-image. The frames depend only on the bundle.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import skimage.data

from styleid.bundles.bundle import Bundle
from styleid.bundles.registry import load_bundle
from styleid.core.rendering import render
from styleid.media.video.pyav import import_av
from styleid.media.video.reader import VideoClip
from styleid.types import ImageRGB

EXAMPLE = Path(__file__).parent.parent / "examples" / "people.mp4"
NAMES = ("example", "1080p", "crowd", "walk")
_RATE, _POSES, _NOISE = 25, 50, 2.5
_CROWD = 20


def make(name: str, folder: Path, seconds: float) -> Path:
    """Write a clip of at least this number of seconds, unless it exists, and return its path."""
    path = folder / f"{name}-{seconds:g}s.mp4"
    if not path.exists():
        frames = int(np.ceil(seconds * _RATE))
        if name == "example":
            pictures, size = _looped(frames), (640, 360)
        else:
            bundle = load_bundle("aam128")
            maker, size = {
                "1080p": (_two_people, (1920, 1080)),
                "crowd": (_crowd, (1280, 720)),
                "walk": (_walk, (1280, 720)),
            }[name]
            pictures = maker(bundle, frames, size)
        _write(path, pictures, size)
    return path


def _write(path: Path, pictures: Iterator[ImageRGB], size: tuple[int, int]) -> None:
    av, part = import_av(), path.with_suffix(".part.mp4")
    with av.open(str(part), "w") as out:
        stream = out.add_stream("libx264", rate=_RATE, options={"crf": "18", "preset": "veryfast"})
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        for i, image in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, _RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    part.rename(path)


def _looped(frames: int) -> Iterator[ImageRGB]:
    """Yield this number of frames of the example video, which is repeated."""
    images = [frame.image_rgb for frame in VideoClip(EXAMPLE).frames()]
    for i in range(frames):
        yield images[i % len(images)]


def _two_people(bundle: Bundle, frames: int, size: tuple[int, int]) -> Iterator[ImageRGB]:
    """Yield frames of two people who turn, speak and move; faces of about 200 px."""
    wall = cv2.GaussianBlur(cv2.resize(skimage.data.coffee(), size), (0, 0), 4)
    people = [(_poses(bundle, 3, 1.0), 620, 520, 360), (_poses(bundle, 11, 0.0), 1330, 480, 335)]
    noise = _Noise(size)
    for i in range(frames):
        image = wall.copy()
        for k, (poses, x, y, side) in enumerate(people):
            centre = x + 220 * np.sin(i / 37), y + 12 * np.sin(i / 6 + k)
            _put(image, poses[i % _POSES], centre, side)
        yield noise.over(image)


def _crowd(bundle: Bundle, frames: int, size: tuple[int, int]) -> Iterator[ImageRGB]:
    """Yield frames of twenty people in four rows with small movements; faces of 45 to 70 px."""
    hall = cv2.GaussianBlur(cv2.resize(skimage.data.coffee(), size), (0, 0), 5)
    everybody = [_poses(bundle, 100 + k, float(k % 2)) for k in range(_CROWD)]
    noise = _Noise(size)
    for i in range(frames):
        image = hall.copy()
        for k, poses in enumerate(everybody):
            row, column = divmod(k, 5)
            x = 150 + 240 * column + 40 * (row % 2) + 6 * np.sin(i / 11 + k)
            y = 100 + 165 * row + 3 * np.sin(i / 7 + 2 * k)
            _put(image, poses[(i + 7 * k) % _POSES], (x, y), 82 + 12 * row)
        yield noise.over(image)


def _walk(bundle: Bundle, frames: int, size: tuple[int, int]) -> Iterator[ImageRGB]:
    """Yield frames of a shaky camera that approaches two people, whose faces grow from about 50 to 160 px."""
    street = cv2.resize(skimage.data.rocket(), (size[0] * 2, size[1] * 2), interpolation=cv2.INTER_CUBIC)
    people = [(_poses(bundle, 21, 1.0), -180, 30), (_poses(bundle, 35, 0.0), 210, -10)]
    noise = _Noise(size)
    for i in range(frames):
        near = 1 + 1.6 * (i % 250) / 250
        shake = np.array([9 * np.sin(i / 3.1) + 5 * np.sin(i / 1.7), 7 * np.sin(i / 2.3) + 6 * abs(np.sin(i / 6))])
        turn = np.radians(1.2 * np.sin(i / 9))
        zoom = 0.75 * near
        matrix = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        middle = np.array(size) / 2 + shake
        shift = middle - matrix @ np.array(size, float)
        image = cv2.warpAffine(street, np.column_stack([matrix, shift]), size, borderMode=cv2.BORDER_REFLECT)
        for k, (poses, x, y) in enumerate(people):
            centre = middle + matrix / zoom @ np.array([x, y]) * near
            _put(image, poses[(i + 11 * k) % _POSES], (float(centre[0]), float(centre[1])), round(95 * near))
        yield noise.over(image)


def _poses(bundle: Bundle, seed: int, female: float) -> list[ImageRGB]:
    """Return a loop of pictures of a generated person who turns the head and speaks."""
    spec = bundle.spec
    z = np.random.default_rng(seed).standard_normal((1, spec.z)).astype(np.float32)
    attributes = np.array([[35, female, 1, 0, 0, 0, 0]], np.float32)
    wplus = np.repeat(bundle.sample(z, attributes, np.zeros((1, spec.size), np.float32)), _POSES, 0)
    angle = np.arange(_POSES) * 2 * np.pi / _POSES
    head, _, mouth, *_ = spec.rows
    wplus[:, head.first] += 1.2 * np.sin(angle + seed)
    wplus[:, head.first + 1] += 0.8 * np.sin(2 * angle + seed)
    wplus[:, mouth.first] += 1.5 * np.sin(5 * angle + seed)
    wplus[:, mouth.first + 1] += np.sin(3 * angle)
    return [image.astype(np.uint8) for image in render(bundle, wplus)[0]]


def _put(image: ImageRGB, face: ImageRGB, centre: tuple[float, float], side: int) -> None:
    """Paste the crop of a face into an image, in place, with a soft border."""
    large = cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    opacity = np.zeros((side, side), np.float32)
    cv2.ellipse(opacity, (side // 2, side // 2), (int(side * 0.42), int(side * 0.48)), 0, 0, 360, 1, -1)
    opacity = cv2.GaussianBlur(opacity, (0, 0), side / 60)
    low = np.floor(np.array(centre) - side / 2).astype(int)
    x0, y0 = np.maximum(low, 0)
    x1, y1 = np.minimum(low + side + 1, image.shape[1::-1])
    if x1 <= x0 or y1 <= y0:
        return
    part = image[y0:y1, x0:x1]
    shift = np.array(centre) - side / 2 - (x0, y0)
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    there = cv2.warpAffine(opacity, matrix, part.shape[1::-1])[..., None]
    part[:] = (part * (1 - there) + cv2.warpAffine(large, matrix, part.shape[1::-1]) * there).astype(np.uint8)


class _Noise:
    """Camera noise: one field of noise, shifted at random in each frame."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._rng = np.random.default_rng(0)
        self._field = self._rng.normal(0, _NOISE, (size[1], size[0], 3)).astype(np.float32)

    def over(self, image: ImageRGB) -> ImageRGB:
        """Return an image with noise."""
        down, right = self._rng.integers(0, self._field.shape[:2])
        noisy = image + np.roll(self._field, (int(down), int(right)), (0, 1))
        return noisy.clip(0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clips", nargs="*", choices=NAMES, default=NAMES)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    for name in given.clips:
        print(make(name, given.folder, given.seconds))


if __name__ == "__main__":
    main()
