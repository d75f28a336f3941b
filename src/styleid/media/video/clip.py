"""What a clip is, wherever its pictures come from: a video file or a folder of frames.

Convention
----------
`ClipFrame.image_rgb` is uint8 (h, w, 3), **upright** (the display matrix or EXIF orientation applied). Times are
seconds from the clip's beginning. A clip may be gone through again and again, always from its first frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from jaxtyping import Shaped

from styleid.types import ImageRGB, MaskArray


@dataclass(frozen=True)
class Turn:
    """How a stored picture becomes upright: mirrored left to right, then turned by quarters against the clock."""

    quarters: int = 0
    mirrored: bool = False

    @property
    def sideways(self) -> bool:
        """Whether width and height change places."""
        return self.quarters % 2 == 1

    def upright(self, stored: Shaped[np.ndarray, "h w *channels"]) -> Shaped[np.ndarray, "h_up w_up *channels"]:
        """Return a stored picture upright."""
        return np.ascontiguousarray(np.rot90(stored[:, ::-1] if self.mirrored else stored, self.quarters))

    def stored(self, upright: Shaped[np.ndarray, "h_up w_up *channels"]) -> Shaped[np.ndarray, "h w *channels"]:
        """Return an upright picture as it is stored."""
        turned = np.rot90(upright, -self.quarters)
        return np.ascontiguousarray(turned[:, ::-1] if self.mirrored else turned)


@dataclass(frozen=True)
class ClipInfo:
    """Describe a clip.

    name: for messages and for the journal. width, height: upright, pixels. rate: frames a second on average. frames:
    how many are announced, 0 where nothing is. facts: what the journal says of the source. notes: what a user should
    know.
    """

    name: str
    width: int
    height: int
    rate: Fraction
    frames: int = 0
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    notes: tuple[str, ...] = ()


@dataclass
class ClipFrame:
    """Hold one picture of a clip.

    time_s, duration_s: when it is shown and for how long. native: as it was decoded. hidden: which pixels the file
    hides and must stay black whatever is drawn there, bool (h, w), upright, or None. to_views: gives what else a viewer
    may show of `native`.
    """

    index: int
    time_s: float
    duration_s: float
    native: Any
    to_rgb: Callable[[Any], ImageRGB]
    hidden: MaskArray | None = None
    to_views: Callable[[Any], list[tuple[ImageRGB, float]]] | None = None

    @cached_property
    def image_rgb(self) -> ImageRGB:
        """The upright picture, converted when it is first asked for."""
        return self.to_rgb(self.native)

    def further_views(self) -> list[tuple[ImageRGB, float]]:
        """Return other pictures in which a person may see faces, upright, and their size as a share of the frame's."""
        return [] if self.to_views is None else self.to_views(self.native)


class Clip(Protocol):
    """Give a clip's frames."""

    info: ClipInfo

    def frames(self) -> Iterator[ClipFrame]:
        """Yield every frame from the first; raises VideoError where one cannot be read."""
        ...


class ClipSink(Protocol):
    """Take a clip's frames and write them whole or not at all.

    notes: what a user should know of the output. mark: after `finish`, what it is marked with, "" where it is not.
    """

    notes: tuple[str, ...]
    mark: str

    def write(
        self, frame: ClipFrame, image_rgb: ImageRGB | None, changed: MaskArray | None, *, generated: bool = False
    ) -> None:
        """Write a frame; image_rgb, upright, counts where changed, bool (h, w), is true, the source elsewhere.

        generated: whether a new face shows in it.
        """
        ...

    def finish(self) -> str:
        """Finish the output, give it its name, and return the SHA-256 of what was written."""
        ...

    def abandon(self) -> None:
        """Remove what was written so far; does nothing after `finish`."""
        ...
