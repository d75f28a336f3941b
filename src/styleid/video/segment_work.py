"""Segments of a clip, and the work on them in another process: the same functions as in `segments.LocalEngine`."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from styleid.core.pipeline import Anonymizer
from styleid.faces.detect import DetectorOptions
from styleid.media.video.clip import ClipFrame
from styleid.media.video.pieces import FrameMark
from styleid.types import FaceOutcome, Faces, ImageRGB
from styleid.video.drawing import Drawn, DrawRequest, draw_faces
from styleid.video.measuring import MeasuredFace, MeasureRequest, measure_faces
from styleid.video.scan import Look, Looks

_LONGEST, _SHORTEST = 48, 8
"""Largest number of frames of a segment, and least number where there are many actors."""
_EACH = 3
"""Number of segments per actor at which segments become shorter, so that all actors have work until the end."""

NO_THUMB: ImageRGB = np.zeros((0, 0, 3), np.uint8)
"""Stands for the thumbnail of a frame that needs none."""

Work = Callable[[Anonymizer, Iterator[ClipFrame], Sequence[Any]], Sequence[Any]]
"""Works on a segment: takes an anonymiser, the frames and their requests, and returns a result for each frame."""


@dataclass(frozen=True, eq=False)
class Segment:
    """Consecutive frames of a clip.

    Attributes:
        first: Number of the first frame.
        marks: Marks of the n frames.
        requests: What is to be done with each of them, n items, None for nothing.
    """

    first: int
    marks: Sequence[FrameMark]
    requests: Sequence[Any]


def segments_of(frames: Iterable[tuple[FrameMark, bool, Any]], stated: int, actors: int) -> Iterator[Segment]:
    """Divide a clip into segments, which begin at key pictures of the file where that is possible.

    Args:
        frames: Mark of each frame, whether a segment may begin at it, and its request.
        stated: Number of frames that the file states, 0 if unknown.
        actors: Number of actors.
    """
    longest = min(_LONGEST, max(_SHORTEST, stated // (_EACH * actors))) if stated else _LONGEST
    first, marks, requests = 0, list[FrameMark](), list[Any]()
    for mark, may_begin, request in frames:
        enough = longest // 2 if mark.key else longest
        if may_begin and marks and len(marks) >= enough:
            yield Segment(first, marks, requests)
            first, marks, requests = first + len(marks), [], []
        marks.append(mark)
        requests.append(request)
    if marks:
        yield Segment(first, marks, requests)


@dataclass(frozen=True)
class LookSetup:
    """What another process needs to make the same `Looks`; see there."""

    detector: DetectorOptions
    sure_from: float
    rate: float
    width: int

    def make(self, anonymizer: Anonymizer) -> Looks:
        """Make it with an anonymiser's networks."""
        bundle = anonymizer.bundle if self.width else None
        return Looks(anonymizer.detector.with_options(self.detector), self.sure_from, self.rate, bundle, self.width)


def glance_segment(
    setup: LookSetup, anonymizer: Anonymizer, frames: Iterator[ClipFrame], requests: Sequence[Any]
) -> list[tuple[Faces, ImageRGB, bool]]:
    """Search frames as a whole; return the faces, the thumbnail and whether there are other views, for each frame."""
    looks = setup.make(anonymizer)
    glances = map(looks.glance, frames)
    return [(look.glanced, look.thumb, look.has_views) for look in glances]


def finish_segment(
    setup: LookSetup,
    anonymizer: Anonymizer,
    frames: Iterator[ClipFrame],
    requests: Sequence[tuple[Faces, bool, bool]],
) -> list[tuple[Faces, Float[np.ndarray, "n width"]]]:
    """Search frames for small faces, and embed faces; the first frame must be a key frame.

    Args:
        setup: How to look.
        anonymizer: Has the networks.
        frames: The frames.
        requests: For each frame, the faces found in it as a whole, whether it has other views, and whether it is a key
            frame.

    Returns:
        The faces of each frame, and their embeddings.
    """
    looks, key = setup.make(anonymizer), None
    made: list[tuple[Faces, Float[np.ndarray, "n width"]]] = []
    for frame, (glanced, has_views, is_key) in zip(frames, requests, strict=True):
        look = Look(frame, glanced, NO_THUMB, has_views, key=is_key)
        if not is_key:
            assert key is not None
            look.near = key.found
        else:
            key = look
        looks.finish(look)
        frame.forget_rgb()
        made.append((look.found.result(), look.embeddings))
    return made


def measure_segment(
    anonymizer: Anonymizer, frames: Iterator[ClipFrame], requests: Sequence[MeasureRequest | None]
) -> list[list[MeasuredFace] | None]:
    """Measure the faces of frames; None for a frame without a request."""
    pairs = zip(frames, requests, strict=True)
    return [None if request is None else measure_faces(anonymizer, frame, request) for frame, request in pairs]


@dataclass(frozen=True, eq=False)
class PackedDrawn:
    """A `Drawn` without the pixels that did not change.

    Attributes:
        pixels: Changed pixels, (k, 3).
        changed: Where they are: a compressed bit for each pixel of the frame.
        outcomes: See `Drawn`.
    """

    pixels: UInt8[np.ndarray, "k 3"]
    changed: bytes
    outcomes: dict[int, FaceOutcome]


def draw_segment(
    anonymizer: Anonymizer, frames: Iterator[ClipFrame], requests: Sequence[DrawRequest | None]
) -> list[PackedDrawn | None]:
    """Draw and judge the faces of frames; None for a frame without a request."""
    pairs = zip(frames, requests, strict=True)
    return [None if request is None else _packed(draw_faces(anonymizer, frame, request)) for frame, request in pairs]


def _packed(drawn: Drawn) -> PackedDrawn:
    changed = zlib.compress(np.packbits(drawn.changed).tobytes(), 1)
    return PackedDrawn(drawn.image_rgb[drawn.changed], changed, drawn.outcomes)


def unpacked(packed: PackedDrawn, frame: ClipFrame) -> Drawn:
    """Put the changed pixels onto a frame.

    Args:
        packed: What changed.
        frame: The frame that was drawn on.
    """
    image = frame.image_rgb.copy()
    frame.forget_rgb()
    height, width = image.shape[:2]
    bits = np.frombuffer(zlib.decompress(packed.changed), np.uint8)
    changed = np.unpackbits(bits, count=height * width).reshape(height, width).astype(bool)
    image[changed] = packed.pixels
    return Drawn(image, changed, packed.outcomes)
