"""The interface through which a run works on the frames of a clip, and its reference in this process.

A run has three stages that run networks on every frame: finding, measuring and drawing faces. An engine decides where
they run: `LocalEngine` reads the whole clip as one segment, in the threads of this process; `RayEngine` (`cluster.py`)
gives segments to the actors of a Ray cluster. Everything else (tracks, targets, smoothing, writing) happens in one
place. What is to be done with a frame is a request, made where the tracks are known, so a segment needs nothing but its
frames, its requests and the networks. All engines call the same functions on the same pictures, in the same batches,
so their results are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from styleid.core.pipeline import Anonymizer
from styleid.media.video.clip import Clip, ClipFrame
from styleid.video.ahead import ONE_BY_ONE, FramePool
from styleid.video.drawing import Drawn, DrawRequest, draw_faces
from styleid.video.measuring import MeasuredFace, MeasureRequest, measure_faces
from styleid.video.scan import Look, Looks


class Engine(Protocol):
    """Runs the stages of a run that work on every frame.

    Attributes:
        pool: Threads of this process for work that is not divided by frames.
    """

    pool: FramePool

    def looks(self, clip: Clip, looks: Looks) -> Iterator[Look]:
        """Find and embed faces; yield the result for each frame of a clip, in order.

        It is called before the other methods, and reads the clip completely.

        Raises:
            VideoError: A frame cannot be read.
        """
        ...

    def measured(
        self, clip: Clip, requests: Callable[[int], MeasureRequest | None]
    ) -> Iterator[tuple[int, list[MeasuredFace]]]:
        """Measure faces; yield the number of each frame and its faces, in order.

        Args:
            clip: The clip.
            requests: Returns what is to be measured in a frame, by its number; None for nothing.

        Raises:
            VideoError: A frame cannot be read.
        """
        ...

    def drawn(
        self, clip: Clip, requests: Callable[[int], DrawRequest | None]
    ) -> Iterator[tuple[ClipFrame, Drawn | None]]:
        """Draw and judge faces; yield each frame with the result, in order.

        Args:
            clip: The clip.
            requests: Returns what is to be drawn in a frame, by its number; None for nothing.

        Raises:
            VideoError: A frame cannot be read.
        """
        ...


class LocalEngine:
    """The reference: all frames in the threads of this process; see `Engine`."""

    def __init__(self, anonymizer: Anonymizer, pool: FramePool = ONE_BY_ONE) -> None:
        """Choose who works.

        Args:
            anonymizer: Measures, draws and judges faces.
            pool: Runs the work on frames.
        """
        self._anonymizer, self.pool = anonymizer, pool

    def looks(self, clip: Clip, looks: Looks) -> Iterator[Look]:
        """Find and embed faces; see `Engine.looks`."""
        return looks.at(clip.frames(), self.pool)

    def measured(
        self, clip: Clip, requests: Callable[[int], MeasureRequest | None]
    ) -> Iterator[tuple[int, list[MeasuredFace]]]:
        """Measure faces; see `Engine.measured`."""

        def work(frame: ClipFrame) -> tuple[int, list[MeasuredFace]]:
            request = requests(frame.index)
            return frame.index, [] if request is None else measure_faces(self._anonymizer, frame, request)

        return self.pool.in_order(work, clip.frames())

    def drawn(
        self, clip: Clip, requests: Callable[[int], DrawRequest | None]
    ) -> Iterator[tuple[ClipFrame, Drawn | None]]:
        """Draw and judge faces; see `Engine.drawn`."""

        def work(frame: ClipFrame) -> tuple[ClipFrame, Drawn | None]:
            request = requests(frame.index)
            return frame, None if request is None else draw_faces(self._anonymizer, frame, request)

        return self.pool.in_order(work, clip.frames())
