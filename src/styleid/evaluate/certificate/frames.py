"""Draw frames of a video and of its original, the same ones, at random."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from styleid.errors import VideoError
from styleid.types import ImageRGB

FRAMES = 600
"""How many frames of a video are looked at; which ones is left to chance, so that they stand for all."""
_FAST = 1
"""PNG compression: the files live for minutes."""


def extract_frames(
    original: Path, output: Path, space: Path, seed: int, most: int
) -> tuple[dict[int, tuple[Path, Path | None]], int]:
    """Write the drawn frames of both videos as PNG files.

    Returns them by number, and how many frames the original has. A frame that the output lacks has no file. Raises
    VideoError where a video cannot be read or the output has frames that the original has not.
    """
    total, published = (sum(1 for _ in _frames(path)) for path in (original, output))
    if published > total:
        raise VideoError(output, f"it has {published} frames and its original {total}, so they cannot be compared")
    drawn = np.random.default_rng(seed).permutation(total)[:most]
    wanted = {int(number) for number in drawn}
    befores = _write(original, space / "originals", wanted)
    afters = _write(output, space / "outputs", wanted)
    return {number: (befores[number], afters.get(number)) for number in sorted(wanted)}, total


def _frames(path: Path) -> Iterator[ImageRGB]:
    from styleid.media.video.reader import VideoClip

    for frame in VideoClip(path).frames():
        yield frame.image_rgb


def _write(path: Path, folder: Path, wanted: set[int]) -> dict[int, Path]:
    folder.mkdir()
    written = {}
    for number, image in enumerate(_frames(path)):
        if number in wanted:
            written[number] = folder / f"{number:08d}.png"
            packed = cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, _FAST])[1]
            written[number].write_bytes(packed.tobytes())
    return written
