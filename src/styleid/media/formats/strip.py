"""Stack the frames of an animation into one tall picture, so that faces are found and replaced in every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from styleid.media.formats.raster import Samples


@dataclass(frozen=True)
class Strip:
    """Layout of the stacked frames of an animation.

    Gaps between frames keep changes around a face at the edge of a frame out of the next frame.

    Attributes:
        frame_height: Rows of a frame.
        frames: Number of frames.
    """

    frame_height: int
    frames: int

    @property
    def step(self) -> int:
        """Number of rows from the top of one frame to the top of the next."""
        return self.frame_height + max(32, self.frame_height // 4)

    @property
    def height(self) -> int:
        """Number of rows of the strip."""
        return self.step * (self.frames - 1) + self.frame_height


def joined(frames: Sequence[Samples], strip: Strip) -> Samples:
    """Stack frames into a strip; a gap repeats the last row above it, so that no colours are added.

    Args:
        frames: Frames, (frame_height, w, c) each.
        strip: Their layout.
    """
    gap = strip.step - strip.frame_height
    pieces: list[Samples] = []
    for frame in frames[:-1]:
        pieces += [frame, np.repeat(frame[-1:], gap, axis=0)]
    return np.concatenate([*pieces, frames[-1]])


def parted(samples: Samples, strip: Strip) -> list[Samples]:
    """Split a strip, (height, w, c), into its frames."""
    return [samples[top : top + strip.frame_height] for top in range(0, strip.height, strip.step)]
