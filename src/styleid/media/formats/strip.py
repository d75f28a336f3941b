"""Lay the frames of an animation below each other, so that all that looks at a picture looks at every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from styleid.media.formats.raster import Samples


@dataclass(frozen=True)
class Strip:
    """Say how frames lie in a strip: each of frame_height rows, and between two of them a gap.

    The gap keeps what is changed about a face at the edge of a frame out of the next one.
    """

    frame_height: int
    frames: int

    @property
    def step(self) -> int:
        """How many rows lie between the tops of two frames."""
        return self.frame_height + max(32, self.frame_height // 4)

    @property
    def height(self) -> int:
        """How many rows a strip has."""
        return self.step * (self.frames - 1) + self.frame_height


def joined(frames: Sequence[Samples], strip: Strip) -> Samples:
    """Return frames, each (h, w, c), as one strip; gaps repeat the last row above, which adds no colours."""
    gap = strip.step - strip.frame_height
    pieces: list[Samples] = []
    for frame in frames[:-1]:
        pieces += [frame, np.repeat(frame[-1:], gap, axis=0)]
    return np.concatenate([*pieces, frames[-1]])


def parted(samples: Samples, strip: Strip) -> list[Samples]:
    """Undo `joined`."""
    return [samples[top : top + strip.frame_height] for top in range(0, strip.height, strip.step)]
