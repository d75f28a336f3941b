"""Draw the same random frames of a video and of its original."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from styleid.errors import VideoError
from styleid.types import ImageRGB

FRAMES = 600
"""Number of frames of a video that are examined. They are drawn at random, so that they represent all."""
_FAST = 1
"""PNG compression level; low, because the files are removed after minutes."""


def extract_frames(
    original: Path, output: Path, space: Path, seed: int, most: int
) -> tuple[dict[int, tuple[Path, Path | None]], int]:
    """Draw frames of both videos and write them as PNG files.

    Args:
        original: The original video.
        output: The anonymised video.
        space: Folder to write to.
        seed: Seed of the draw.
        most: Maximum number of frames.

    Returns:
        The files of each drawn frame by its number, and the number of all frames of the original. If the output lacks
        a frame, its file is None.

    Raises:
        VideoError: A video cannot be read, or the output has more frames than the original.
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
