"""Read videos with PyAV (FFmpeg): upright RGB frames, their times, and the facts needed to write the video again."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from styleid.errors import VideoError
from styleid.media.containers.errors import BadFileError
from styleid.media.video.clip import ClipFrame, ClipInfo, Turn
from styleid.media.video.clock import Clock
from styleid.media.video.headers import read_headers
from styleid.media.video.levels import StretchedColours, frame_span, stretch_clip, stretched
from styleid.media.video.planes import PixelColours
from styleid.media.video.pyav import import_av
from styleid.media.video.visible import Visible
from styleid.types import ImageRGB, MaskArray

MAX_FRAME_PIXELS = 8192 * 8192
"""Limit for the size of a frame: twice that of 8K. A file whose header states more is refused before decoding."""
_SHORT_BY_S = 1.0
_LONGEST_LAST_S = 10.0
_LOOK_PACKETS = 500
_TIME_MAY_JUMP = 0x200
"""FFmpeg's flag AVFMT_TS_DISCONT, set for transport and program streams."""
_STILLS = 0x400 | 0x800 | 0x100000
"""FFmpeg's disposition flags of attached pictures, thumbnails and stills."""
_FILES_ONLY = {"protocol_whitelist": "file"}
"""Keeps FFmpeg from opening addresses that a file names."""
LISTS = ("hls", "dash", "concat", "imf", "sdp")
_LEAST_RATE, _MOST_RATE = Fraction(1, 10), Fraction(1000)


@dataclass(frozen=True)
class VideoFacts:
    """Facts about a video that are needed to write it again.

    Attributes:
        codec: FFmpeg's name of the codec.
        pixel_format: FFmpeg's name of the pixel format, after transparency was removed.
        width: Width of a frame as stored, after the crop.
        height: Height of a frame as stored, after the crop.
        colours: The colour space.
        time_base: Seconds per tick of the frames' times.
        start: Start time of the container in seconds.
        sample_aspect: Aspect ratio of a pixel, 0 if unknown.
        matrix: The display matrix as stored, nine integers, None if there is none.
        bit_rate: Bit rate of the pictures in bits per second, 0 if unknown.
        tracks: Type and codec of all streams.
        chapters: Number of chapters.
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
    """The video track of a file as a player shows it.

    It is the default track of the file, never a thumbnail. Transparent parts are black, and parts outside the
    container's crop are removed.
    """

    def __init__(self, path: Path) -> None:
        """Read the headers, decode the first frame, and check whether the samples use a small part of their range.

        Raises:
            VideoError: The file cannot be read, has no video track that can be decoded, or hides parts of its picture
                in a way that is not supported.
            MissingDependencyError: PyAV is not installed.
        """
        self.path = path
        self._av = import_av()
        with self._reported():
            self.stream_index: int = self._chosen()
            with self.open() as container:
                self._read_headers(container)
        with self._reported(), self.open() as container:
            stream, visible = self._stream(container), self._visible(container)
            first = next(self._decoded(container, stream, visible), None)
            if first is None:
                raise VideoError(path, "no picture can be decoded: the file is damaged, cut short or contains none")
            self.facts = _facts(path, container, stream, *first[:2])
            self._stored_size = first[0].width, first[0].height
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            frames, length = stream.frames, float(container.duration or 0) / 1e6
            self.jumps = bool(container.format.flags & _TIME_MAY_JUMP)
        with self._reported(), self.open() as container:
            decoded = self._decoded(container, self._stream(container), self._visible(container))
            colours = stretch_clip(self.facts.colours, (native for _, native, _ in decoded))
            self.facts = replace(self.facts, colours=colours)
        self._turn = turn_of(self.facts.matrix)
        self._rate = Fraction(min(max(rate, _LEAST_RATE), _MOST_RATE))
        size = (self.facts.width, self.facts.height)
        width, height = size[::-1] if self._turn.sideways else size
        source = {"codec": self.facts.codec, "pixel_format": self.facts.pixel_format, "size": [width, height]}
        self.info = ClipInfo(path.name, width, height, self._rate, frames or round(length * self._rate), source)
        self._shifts_s: tuple[Fraction, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs to read the same pictures, without reading the headers again."""
        return {name: value for name, value in self.__dict__.items() if name != "_av"} | {"path": self.path.absolute()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._av = import_av()

    def open(self) -> Any:
        """Open the file with PyAV; the caller closes it."""
        return self._av.open(str(self.path), metadata_errors="replace", options=_FILES_ONLY)

    @property
    def turn(self) -> Turn:
        """How stored pictures are made upright."""
        return self._turn

    @property
    def shifts_s(self) -> tuple[Fraction, ...]:
        """Seconds that are added to the time stamps of each recording in the file; reads the file if needed."""
        if not self._shifts_s:
            for _ in self.frames():
                pass
        return self._shifts_s

    def frames(self) -> Iterator[ClipFrame]:
        """Yield all frames.

        Raises:
            VideoError: The file is damaged, ends before its stated duration, changes the size of its pictures, or is
                transparent throughout.
        """
        with self._reported(), self.open() as container:
            stream, visible = self._stream(container), self._visible(container)
            clock = Clock(self.facts.time_base, 1 / self._rate, self.facts.start, jumps=self.jumps)
            waiting: ClipFrame | None = None
            for index, (raw, native, hidden) in enumerate(self._decoded(container, stream, visible)):
                self._check(raw)
                stamp, key = raw.pts, bool(raw.key_frame)
                native.pts = clock.place(stamp, raw.duration)
                time = float(native.pts * self.facts.time_base - self.facts.start)
                if waiting is not None:
                    waiting.duration_s = time - waiting.time_s
                    yield waiting
                covered = None if hidden is None else self._turn.upright(hidden)
                waiting = ClipFrame(
                    index, time, 0.0, native, self._upright, covered, self._views, stamp, key, self._grey
                )
            if waiting is not None:
                waiting.duration_s = self._last_duration(stream, waiting, joined=len(clock.shifts) > 1)
                self._check_end(container, waiting.time_s + waiting.duration_s)
                yield waiting
            if not visible.shown:
                raise VideoError(self.path, "all of its pictures are transparent. Remove their alpha channel first")
            self._shifts_s = tuple(shift * self.facts.time_base for shift in clock.shifts)
            self.info = replace(self.info, notes=self._notes(visible))

    def pictures(self, from_stamp: int | None, threads: int = 0) -> Iterator[ClipFrame]:
        """Yield pictures as `frames` does, but without numbers and times, and without checking that the file is whole.

        Args:
            from_stamp: Time stamp of a picture; reading begins at a key picture that the file lists before it. None
                for the beginning of the file.
            threads: Number of threads that decode; 0 lets FFmpeg decide.

        Raises:
            VideoError: The file cannot be read.
        """
        with self._reported(), self.open() as container:
            stream, visible = self._stream(container), self._visible(container)
            stream.codec_context.thread_count = threads
            if from_stamp is not None:
                container.seek(from_stamp, stream=stream)
            for raw, native, hidden in self._decoded(container, stream, visible):
                covered = None if hidden is None else self._turn.upright(hidden)
                yield ClipFrame(0, 0.0, 0.0, native, self._upright, covered, self._views, raw.pts, bool(raw.key_frame))

    def _notes(self, visible: Visible) -> tuple[str, ...]:
        """Return what the user should know about the clip, after it was read to its end."""
        notes: list[str] = []
        if isinstance(self.facts.colours, StretchedColours):
            notes.append("its samples use a small part of their range: faces were searched in stretched pictures")
        if visible.filled:
            notes.append("transparent parts were filled with black")
        if (self.facts.width, self.facts.height) != self._stored_size:
            notes.append("the parts that the file crops were left out")
        if len(self._shifts_s) > 1:
            notes.append(f"it consists of {len(self._shifts_s)} joined recordings: their times were made continuous")
        return tuple(notes)

    def _last_duration(self, stream: Any, last: ClipFrame, *, joined: bool) -> float:
        """Return how long the last frame is shown: until the end of the track, if the file states a plausible one."""
        usual = float((last.native.duration or 0) * self.facts.time_base) or float(1 / self._rate)
        if joined or stream.duration is None or stream.start_time is None:
            return usual
        ends = (stream.start_time + stream.duration, stream.duration)  # fragmented MP4 counts from zero
        left = [float((end - last.native.pts) * self.facts.time_base) for end in ends]
        return min((one for one in left if 0 < one <= _LONGEST_LAST_S), key=lambda one: abs(one - usual), default=usual)

    def _upright(self, native: Any) -> ImageRGB:
        return self._turn.upright(self.facts.colours.to_rgb(native))

    def _grey(self, native: Any) -> UInt8[np.ndarray, "h w"]:
        return self._turn.upright(self.facts.colours.to_grey(native))

    def _views(self, native: Any) -> list[tuple[ImageRGB, float]]:
        """Return a stretched copy of a frame that uses a small part of its range, unless the whole clip does."""
        colours = self.facts.colours
        span = None if isinstance(colours, StretchedColours) else frame_span(colours, native)
        return [] if span is None else [(self._turn.upright(stretched(colours, native, span)), 1.0)]

    def _chosen(self) -> int:
        """Return the index of the track that players show."""
        with self.open() as container:
            if container.format.name in LISTS:
                raise VideoError(self.path, "it is a list of other files, which is not supported. Join them into one "
                                 "file first")  # fmt: skip
            streams = [s for s in container.streams.video if not s.disposition & self._av.stream.Disposition(_STILLS)]
            if not streams:
                raise VideoError(self.path, "it contains no video track")
            default = [s for s in streams if s.disposition & self._av.stream.Disposition.default] or streams
            if len(default) == 1:
                return default[0].index
            moving = _first_that_moves(container, default)
            return (moving or default[0]).index

    def _read_headers(self, container: Any) -> None:
        """Read the headers that PyAV does not provide; refuse files that hide parts in an unsupported way."""
        headers = read_headers(self.path, container.format.name)
        stream = container.streams[self.stream_index]
        own = [s for s in container.streams.video if not s.disposition & self._av.stream.Disposition.attached_pic]
        self._aperture = headers.aperture(stream.id, own.index(stream), len(own))
        if headers.unread:
            raise VideoError(self.path, f"{headers.unread} hides parts of its picture, which is not supported. "
                             "Convert it first, and check what the new file shows")  # fmt: skip
        if not headers.whole:
            raise VideoError(self.path, "it is cut short: it is shorter than its header says")
        self._ends_at = headers.ends_at

    def _visible(self, container: Any) -> Visible:
        context = container.streams[self.stream_index].codec_context
        header = (context.extradata if context is not None else None) or b""
        return Visible(_codec_name(context), header, self._aperture, self._av)

    def _stream(self, container: Any) -> Any:
        stream = container.streams[self.stream_index]
        if stream.codec_context is None:
            raise VideoError(self.path, "its pictures are in a codec that this build of PyAV cannot decode. "
                             "Convert it to H.264, H.265, VP9 or AV1 first")  # fmt: skip
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > MAX_FRAME_PIXELS:
            raise VideoError(self.path, f"its header states frames of {width} x {height} = {width * height / 1e6:,.0f} "
                             f"million pixels, over the limit of {MAX_FRAME_PIXELS / 1e6:,.0f} million")  # fmt: skip
        stream.thread_type = "AUTO"
        stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
        # Without this flag, FFmpeg may show up to 31 columns that the stream crops on the left, to be faster.
        stream.codec_context.flags |= self._av.codec.context.Flags.unaligned
        return stream

    def _decoded(self, container: Any, stream: Any, visible: Visible) -> Iterator[tuple[Any, Any, MaskArray | None]]:
        """Yield each decoded picture, its visible part, and the mask of its hidden pixels."""
        times: list[int] = []  # of packets with decoding times only, which come in another order than pictures
        decoding_times = container.format.name == "avi"
        for packet in container.demux(stream):
            visible.look(packet)
            if packet.size and packet.dts is not None and (decoding_times or packet.pts is None):
                heapq.heappush(times, packet.dts if packet.pts is None else packet.pts)
            for native in packet.decode():
                if native.is_corrupt:
                    raise VideoError(self.path, "a frame is damaged: the file is incomplete or was modified")
                if times:
                    native.pts = heapq.heappop(times)
                yield native, *visible.of(native)

    def _check(self, native: Any) -> None:
        if (native.width, native.height) != self._stored_size:
            width, height = self._stored_size
            raise VideoError(self.path, f"the size of its pictures changes from {width} x {height} to {native.width} x "
                             f"{native.height}. Convert it to one size first")  # fmt: skip

    def _check_end(self, container: Any, end_s: float) -> None:
        """Raise VideoError if the pictures end well before the stated duration and no other track is longer."""
        announced = float(container.duration or 0) / 1e6
        start = Fraction(0) if self._ends_at and self.facts.start > 0 else self.facts.start
        reached = end_s + float(self.facts.start - start)
        if reached >= announced - _SHORT_BY_S:
            return
        with self.open() as again:
            for packet in again.demux():
                if packet.pts is not None and packet.time_base is not None:
                    span = (packet.pts + (packet.duration or 0)) * packet.time_base - start
                    reached = max(reached, float(span))
        if reached < announced - _SHORT_BY_S:
            raise VideoError(
                self.path, f"it is cut short: it ends after {reached:.1f} s, but its header states {announced:.1f} s"
            )

    @contextlib.contextmanager
    def _reported(self) -> Generator[None, None, None]:
        """Turn errors of PyAV into VideoError."""
        try:
            yield
        except BadFileError as error:
            raise VideoError(self.path, str(error)) from error
        except self._av.error.DecoderNotFoundError as error:
            raise VideoError(self.path, "its pictures are in a codec that this build of PyAV cannot decode") from error
        except FileNotFoundError as error:
            raise VideoError(self.path, "it does not exist") from error
        except IsADirectoryError as error:
            raise VideoError(self.path, "it is a folder: name the pattern of its frames with `frames`") from error
        except PermissionError as error:
            raise VideoError(self.path, "reading it is not permitted. Check the file's mode") from error
        except (self._av.error.FFmpegError, OSError, EOFError) as error:
            raise VideoError(
                self.path, f"it is damaged, cut short, or not a video of a supported kind ({error})"
            ) from error


def _facts(path: Path, container: Any, stream: Any, raw: Any, first: Any) -> VideoFacts:
    context = stream.codec_context
    bits = context.bit_rate or 0
    seconds = float(container.duration or 0) / 1e6
    if not bits and seconds > 0:
        others = sum(s.codec_context.bit_rate or 0 for s in container.streams.audio if s.codec_context)
        bits = max(int(path.stat().st_size * 8 / seconds) - others, 0)
    tracks = tuple((s.type, s.codec_context.name if s.codec_context else "") for s in container.streams)
    return VideoFacts(
        codec=_codec_name(context),
        pixel_format=first.format.name,
        width=first.width,
        height=first.height,
        colours=PixelColours.of(raw),
        time_base=Fraction(stream.time_base),
        start=Fraction(container.start_time or 0, 1_000_000),
        sample_aspect=Fraction(stream.sample_aspect_ratio or 0),
        matrix=display_matrix(raw),
        bit_rate=bits,
        tracks=tracks,
        chapters=len(container.chapters()),
    )


def display_matrix(raw: Any) -> tuple[int, ...] | None:
    """Return the display matrix of a decoded picture as stored, nine integers, None if it has none."""
    matrix = next((bytes(side) for side in raw.side_data if "DISPLAYMATRIX" in str(side.type)), None)
    return tuple(np.frombuffer(matrix, np.int32).tolist()) if matrix and len(matrix) == 36 else None


def _codec_name(context: Any) -> str:
    return getattr(context.codec, "canonical_name", context.codec.name) if context is not None else ""


def _first_that_moves(container: Any, streams: Sequence[Any]) -> Any:
    """Return the first track with more than one picture near the beginning of the file, None if there is none."""
    seen = dict.fromkeys((s.index for s in streams), 0)
    for _, packet in zip(range(_LOOK_PACKETS), container.demux(streams), strict=False):
        seen[packet.stream.index] += bool(packet.size)
    return next((s for s in streams if seen[s.index] > 1), None)


def turn_of(matrix: tuple[int, ...] | None) -> Turn:
    """Return the rotation and mirroring of a display matrix in FFmpeg's layout.

    A matrix that is no combination of quarter turns and mirroring is ignored, like None.
    """
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
