"""Read videos with PyAV (FFmpeg's libraries): frames upright in RGB, times, and what is needed to write them again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from styleid.errors import MissingDependencyError, VideoError
from styleid.media.video.clip import ClipFrame, ClipInfo, Turn
from styleid.media.video.planes import PixelColours

MAX_FRAME_PIXELS = 8192 * 8192
"""The largest frame that is decoded: 8K is 33 million pixels; a file that announces more is refused unread."""
_SHORT_BY_S = 1.0
_LONGEST_LAST_S = 10.0
_LEAST_RATE, _MOST_RATE = Fraction(1, 10), Fraction(1000)


def import_av() -> Any:
    """Return PyAV; raises MissingDependencyError with the line that installs it."""
    try:
        import av
        import av.logging
    except ImportError as error:
        raise MissingDependencyError("PyAV, which reads and writes videos,", "'styleid[video]'") from error
    av.logging.restore_default_callback()  # its own takes the interpreter lock from decoding threads, and can hang
    av.logging.set_libav_level(av.logging.PANIC)  # what matters comes back as an exception
    return av


@dataclass(frozen=True)
class VideoFacts:
    """What writing the video again needs.

    time_base: of the frames' times. start: of the container, seconds. matrix: the display matrix as stored, nine
    integers, or None. bit_rate: of the pictures, bits a second, 0 where unknown. tracks: (kind, codec) of all streams.
    """

    codec: str
    pixel_format: str
    width: int
    height: int
    colours: PixelColours
    time_base: Fraction
    start: Fraction
    sample_aspect: Fraction
    matrix: tuple[int, ...] | None
    bit_rate: int
    tracks: tuple[tuple[str, str], ...]
    chapters: int


class VideoClip:
    """A video file's first picture track; raises VideoError where it has none that can be decoded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._av = import_av()
        with self._reported(), self.open() as container:
            stream = self._stream(container)
            first = next(self._decoded(container, stream), None)
            if first is None:
                raise VideoError(path, "no picture can be decoded: the file is damaged, cut short, or holds none")
            self.facts = _facts(path, container, stream, first)
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            frames, length = stream.frames, float(container.duration or 0) / 1e6
            self.stream_index: int = stream.index
        self._turn = _turn(self.facts.matrix)
        self._rate = Fraction(min(max(rate, _LEAST_RATE), _MOST_RATE))
        size = (self.facts.width, self.facts.height)
        width, height = size[::-1] if self._turn.sideways else size
        told = {"codec": self.facts.codec, "pixel_format": self.facts.pixel_format, "size": [width, height]}
        self.info = ClipInfo(path.name, width, height, self._rate, frames or round(length * self._rate), told)

    def open(self) -> Any:
        """Open the container anew."""
        return self._av.open(str(self.path), metadata_errors="replace")

    @property
    def turn(self) -> Turn:
        """How its pictures become upright."""
        return self._turn

    def frames(self) -> Iterator[ClipFrame]:
        """Yield every frame; raises VideoError where the file is damaged or ends before the time that it announces."""
        with self._reported(), self.open() as container:
            stream = self._stream(container)
            waiting: ClipFrame | None = None
            for index, native in enumerate(self._decoded(container, stream)):
                self._check(native)
                native.pts = _next_pts(native, waiting, self.facts, self._rate)
                time = float(native.pts * self.facts.time_base - self.facts.start)
                if waiting is not None:
                    waiting.duration_s = time - waiting.time_s
                    yield waiting
                waiting = ClipFrame(index, time, 0.0, native, self._upright)
            if waiting is not None:
                waiting.duration_s = self._last_duration(stream, waiting)
                self._check_end(container, waiting.time_s + waiting.duration_s)
                yield waiting

    def _last_duration(self, stream: Any, last: ClipFrame) -> float:
        """Return how long the last frame is shown: until its track's end, where the file names one that makes sense."""
        usual = float((last.native.duration or 0) * self.facts.time_base) or float(1 / self._rate)
        if stream.duration is None or stream.start_time is None:
            return usual
        left = float((stream.start_time + stream.duration - last.native.pts) * self.facts.time_base)
        return left if 0 < left <= _LONGEST_LAST_S else usual

    def _upright(self, native: Any) -> np.ndarray:
        return self._turn.upright(self.facts.colours.to_rgb(native))

    def _stream(self, container: Any) -> Any:
        streams = [s for s in container.streams.video if "ATTACHED_PIC" not in str(s.disposition).upper()]
        if not streams:
            raise VideoError(self.path, "it holds no moving picture")
        stream = streams[0]
        if stream.codec_context is None:
            raise VideoError(self.path, "its pictures are in a codec that this build of PyAV cannot decode. "
                             "Convert it to H.264, H.265, VP9 or AV1 first")  # fmt: skip
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > MAX_FRAME_PIXELS:
            raise VideoError(self.path, f"it announces frames of {width} x {height} = {width * height / 1e6:,.0f} "
                             f"million pixels, over the limit of {MAX_FRAME_PIXELS / 1e6:,.0f} million")  # fmt: skip
        stream.thread_type = "AUTO"
        stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
        return stream

    def _decoded(self, container: Any, stream: Any) -> Iterator[Any]:
        for native in container.decode(stream):
            if native.is_corrupt:
                raise VideoError(self.path, "a frame is damaged: the file is incomplete or was altered")
            yield native

    def _check(self, native: Any) -> None:
        if (native.width, native.height) != (self.facts.width, self.facts.height):
            raise VideoError(self.path, f"its pictures change size midway, from {self.facts.width} x "
                             f"{self.facts.height} to {native.width} x {native.height}. Convert it first")  # fmt: skip

    def _check_end(self, container: Any, end_s: float) -> None:
        """Raise VideoError where the pictures end well before the container does, and no other track goes on."""
        announced = float(container.duration or 0) / 1e6
        if end_s >= announced - _SHORT_BY_S:
            return
        reached = end_s
        with self.open() as again:
            for packet in again.demux():
                if packet.pts is not None and packet.time_base is not None:
                    span = (packet.pts + (packet.duration or 0)) * packet.time_base - self.facts.start
                    reached = max(reached, float(span))
        if reached < announced - _SHORT_BY_S:
            raise VideoError(
                self.path, f"it announces {announced:.1f} s and ends after {reached:.1f} s: it is cut short"
            )

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        """Turn what PyAV raises into a VideoError."""
        try:
            yield
        except self._av.error.DecoderNotFoundError as error:
            raise VideoError(self.path, "its pictures are in a codec that this build of PyAV cannot decode") from error
        except FileNotFoundError as error:
            raise VideoError(self.path, "it does not exist") from error
        except IsADirectoryError as error:
            raise VideoError(self.path, "it is a folder: name the pattern of its frames with --frames") from error
        except PermissionError as error:
            raise VideoError(self.path, "it may not be read: check the file's mode") from error
        except (self._av.error.FFmpegError, OSError, EOFError) as error:
            raise VideoError(
                self.path, f"it is damaged, cut short, or no video that can be read here ({error})"
            ) from error


def _facts(path: Path, container: Any, stream: Any, first: Any) -> VideoFacts:
    context = stream.codec_context
    bits = context.bit_rate or 0
    seconds = float(container.duration or 0) / 1e6
    if not bits and seconds > 0:
        others = sum(s.codec_context.bit_rate or 0 for s in container.streams.audio if s.codec_context)
        bits = max(int(path.stat().st_size * 8 / seconds) - others, 0)
    matrix = next((bytes(side) for side in first.side_data if "DISPLAYMATRIX" in str(side.type)), None)
    tracks = tuple((s.type, s.codec_context.name if s.codec_context else "") for s in container.streams)
    return VideoFacts(
        codec=context.codec.canonical_name if hasattr(context.codec, "canonical_name") else context.codec.name,
        pixel_format=first.format.name,
        width=first.width,
        height=first.height,
        colours=PixelColours.of(first),
        time_base=Fraction(stream.time_base),
        start=Fraction(container.start_time or 0, 1_000_000),
        sample_aspect=Fraction(stream.sample_aspect_ratio or 0),
        matrix=tuple(np.frombuffer(matrix, np.int32).tolist()) if matrix and len(matrix) == 36 else None,
        bit_rate=bits,
        tracks=tracks,
        chapters=len(container.chapters()),
    )


def _next_pts(native: Any, before: ClipFrame | None, facts: VideoFacts, rate: Fraction) -> int:
    """Return a frame's time stamp, made up where the file has none, and always after the one before."""
    step = max(1, round(1 / (rate * facts.time_base)))
    if before is None:
        return native.pts if native.pts is not None else round(facts.start / facts.time_base)
    if native.pts is None:
        return before.native.pts + step
    return max(native.pts, before.native.pts + 1)


def _turn(matrix: tuple[int, ...] | None) -> Turn:
    """Read a display matrix, in FFmpeg's layout; one that is no quarter turn leaves the picture as stored."""
    if matrix is None:
        return Turn()
    wanted = np.sign(np.array([[matrix[0], matrix[3]], [matrix[1], matrix[4]]])) * (
        np.abs(np.array([[matrix[0], matrix[3]], [matrix[1], matrix[4]]])) > 1 << 15
    )
    quarter, mirror = np.array([[0, 1], [-1, 0]]), np.diag([-1, 1])
    for mirrored in (False, True):
        for quarters in range(4):
            made = np.linalg.matrix_power(quarter, quarters) @ (mirror if mirrored else np.eye(2, dtype=int))
            if np.array_equal(made, wanted):
                return Turn(quarters, mirrored)
    return Turn()
