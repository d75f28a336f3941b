"""Clips and their frames, whether they come from a video file or a folder of frames.

Convention
----------
`ClipFrame.image_rgb` is uint8 (h, w, 3), **upright** (display matrix or EXIF orientation applied). Times are seconds
from the beginning of the clip. A clip can be read any number of times, always from its first frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, Protocol

import cv2
import numpy as np
from jaxtyping import Shaped, UInt8

from styleid.types import ImageRGB, MaskArray


@dataclass(frozen=True)
class Turn:
    """How a stored picture is made upright: mirrored left to right, then rotated by quarter turns counterclockwise."""

    quarters: int = 0
    mirrored: bool = False

    @property
    def sideways(self) -> bool:
        """Whether width and height are swapped."""
        return self.quarters % 2 == 1

    def upright(self, stored: Shaped[np.ndarray, "h w *channels"]) -> Shaped[np.ndarray, "h_up w_up *channels"]:
        """Rotate and mirror a stored picture so that it is upright."""
        return np.ascontiguousarray(np.rot90(stored[:, ::-1] if self.mirrored else stored, self.quarters))

    def stored(self, upright: Shaped[np.ndarray, "h_up w_up *channels"]) -> Shaped[np.ndarray, "h w *channels"]:
        """Rotate and mirror an upright picture back to how it is stored."""
        turned = np.rot90(upright, -self.quarters)
        return np.ascontiguousarray(turned[:, ::-1] if self.mirrored else turned)


@dataclass(frozen=True)
class ClipInfo:
    """Description of a clip.

    Attributes:
        name: Name for messages and the journal.
        width: Width of the upright pictures in pixels.
        height: Height of the upright pictures in pixels.
        rate: Average number of frames per second.
        frames: Number of frames that the file states, 0 if unknown.
        facts: Facts about the source for the journal.
        notes: What the user should know about the source; complete after all frames have been read.
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
    """One picture of a clip.

    Attributes:
        index: Number of the frame, from 0.
        time_s: Time at which it is shown.
        duration_s: How long it is shown, in seconds.
        native: The picture as decoded.
        to_rgb: Converts `native` to `image_rgb`.
        hidden: bool (h, w), upright, pixels that the file hides, which must be black in the output; None for none.
        to_views: Converts `native` to the pictures that `further_views` returns.
        stamp: Time stamp in the file, before times were made continuous; None if there is none.
        key: Whether decoding can begin at this picture.
        to_grey: Converts `native` to `grey`; None for the grey values of `image_rgb`.
    """

    index: int
    time_s: float
    duration_s: float
    native: Any
    to_rgb: Callable[[Any], ImageRGB]
    hidden: MaskArray | None = None
    to_views: Callable[[Any], list[tuple[ImageRGB, float]]] | None = None
    stamp: int | None = None
    key: bool = False
    to_grey: Callable[[Any], UInt8[np.ndarray, "h w"]] | None = None

    @cached_property
    def image_rgb(self) -> ImageRGB:
        """Upright picture, uint8 (h, w, 3); converted when it is first read."""
        return self.to_rgb(self.native)

    @property
    def grey(self) -> UInt8[np.ndarray, "h w"]:
        """Upright picture in grey, uint8 (h, w); only differences of its values have a meaning."""
        if self.to_grey is None:
            return np.asarray(cv2.cvtColor(self.image_rgb, cv2.COLOR_RGB2GRAY), np.uint8)
        return self.to_grey(self.native)

    def forget_rgb(self) -> None:
        """Free the converted picture, which takes twice the memory of the native one."""
        self.__dict__.pop("image_rgb", None)

    def further_views(self) -> list[tuple[ImageRGB, float]]:
        """Return other views of the frame that may show faces: upright pictures, and their relative sizes."""
        return [] if self.to_views is None else self.to_views(self.native)


class Clip(Protocol):
    """A source of frames that can be read repeatedly."""

    info: ClipInfo

    def frames(self) -> Iterator[ClipFrame]:
        """Yield all frames from the first.

        Raises:
            VideoError: A frame cannot be read.
        """
        ...


class ClipSink(Protocol):
    """A writer of a clip's frames. The output gets its name only when it is complete.

    Attributes:
        notes: What the user should know about the output.
        mark: The mark of generated content that the output has, "" for none; valid after `finish`.
    """

    notes: tuple[str, ...]
    mark: str

    def write(
        self, frame: ClipFrame, image_rgb: ImageRGB | None, changed: MaskArray | None, *, generated: bool = False
    ) -> None:
        """Write a frame.

        Args:
            frame: The frame of the source.
            image_rgb: uint8 (h, w, 3), upright, the new picture; used where `changed` is true. None keeps the source.
            changed: bool (h, w), upright, where the picture changed; None for nowhere.
            generated: Whether the frame shows a new face.
        """
        ...

    def finish(self) -> str:
        """Complete the output, give it its name, and return the SHA-256 of its content in hex."""
        ...

    def abandon(self) -> None:
        """Remove the unfinished output; has no effect after `finish`."""
        ...
