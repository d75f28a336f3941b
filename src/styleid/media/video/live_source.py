"""Read live pictures from a camera, a stream, or a file that is played at its own speed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from styleid.errors import VideoError
from styleid.media.video.clip import Turn
from styleid.media.video.clock import Clock
from styleid.media.video.live_address import LiveAddress, LivePlace
from styleid.media.video.planes import PixelColours
from styleid.media.video.pyav import import_av
from styleid.media.video.reader import LISTS, MAX_FRAME_PIXELS, display_matrix, turn_of
from styleid.types import ImageRGB

TIMEOUT_S = 10.0
"""Seconds without data after which a source counts as lost."""
_PROBE = {"analyzeduration": "1000000", "flags": "low_delay"}
_LEAST_RATE, _MOST_RATE = Fraction(1), Fraction(240)
_USUAL_RATE = Fraction(25)


@dataclass(frozen=True)
class LiveFormat:
    """Format of a live source, from its first picture.

    Attributes:
        codec: FFmpeg's name of the codec.
        pixel_format: FFmpeg's name of the pixel format.
        width: Width of the upright pictures in pixels.
        height: Height of the upright pictures in pixels.
        rate: Frames per second.
        colours: The colour space.
        turn: How stored pictures are made upright.
        sample_aspect: Aspect ratio of a pixel, 0 if unknown.
    """

    codec: str
    pixel_format: str
    width: int
    height: int
    rate: Fraction
    colours: PixelColours
    turn: Turn
    sample_aspect: Fraction


@dataclass
class LiveFrame:
    """One received picture.

    Attributes:
        index: Number of the picture, from 0.
        arrived_s: Time of arrival on the clock of `time.monotonic`.
        time_s: Time in the source, from 0, in seconds.
        native: The picture as decoded.
        form: The format of the source.
    """

    index: int
    arrived_s: float
    time_s: float
    native: Any
    form: LiveFormat

    @cached_property
    def image_rgb(self) -> ImageRGB:
        """Upright picture, uint8 (h, w, 3); converted when it is first read."""
        return self.form.turn.upright(self.form.colours.to_rgb(self.native))


class LiveSource:
    """A source of live pictures.

    Attributes:
        damaged: Number of pictures so far that could not be decoded.
        form: Format of the source.
    """

    def __init__(self, place: LivePlace) -> None:
        """Open a source and decode its first picture.

        Raises:
            VideoError: It cannot be opened, sends nothing, or has no picture.
            MissingDependencyError: PyAV is not installed.
        """
        self._av, self._place, self.damaged = import_av(), place, 0
        self._paced = isinstance(place, Path) and place.is_file()
        with self._reported():
            self._container = self._opened()
            if not self._container.streams.video:
                raise self._error("it contains no video track")
            self._stream = self._container.streams.video[0]
            self._pictures = self._decoded()
            first = next(self._pictures, None)
        if first is None:
            raise self._error("it ended before its first picture")
        self._first = first
        self.form = self._format_of(first)

    def frames(self) -> Iterator[LiveFrame]:
        """Yield pictures until the source ends; those of a file are yielded at the times at which they are shown.

        Raises:
            VideoError: The connection is lost, or the size of the pictures changes.
        """
        base = Fraction(self._stream.time_base)
        clock = Clock(base, 1 / self.form.rate, Fraction(0), jumps=True)
        size, begun, start = (self._first.width, self._first.height), time.monotonic(), None
        with self._reported():
            for index, native in enumerate(self._all()):
                if (native.width, native.height) != size:
                    raise self._error(f"its pictures change size, from {size[0]} x {size[1]} to {native.width} x "
                                      f"{native.height}. Start again for the new size")  # fmt: skip
                placed = clock.place(native.pts, native.duration)
                start = placed if start is None else start
                shown_s = float((placed - start) * base)
                if self._paced:
                    time.sleep(max(0.0, begun + shown_s - time.monotonic()))
                yield LiveFrame(index, time.monotonic(), shown_s, native, self.form)

    def close(self) -> None:
        """Close the source; no thread may be reading from it."""
        with contextlib.suppress(Exception):
            self._container.close()

    def _opened(self) -> Any:
        place, options = self._place, {"format_whitelist": self._formats()}
        if isinstance(place, LiveAddress):
            options |= _PROBE | {"protocol_whitelist": place.protocols}
            if place.scheme.startswith("rtsp"):
                options |= {"rtsp_flags": "prefer_tcp"}
        elif not place.is_char_device():
            options |= {"protocol_whitelist": "file"}
        device = "v4l2" if isinstance(place, Path) and place.is_char_device() else None
        text = place.text if isinstance(place, LiveAddress) else str(place)
        return self._av.open(text, format=device, options=options, timeout=(TIMEOUT_S, TIMEOUT_S))

    def _formats(self) -> str:
        """Return the formats that FFmpeg may recognise: all but lists, which name other files and addresses."""
        return ",".join(sorted(set(self._av.formats_available) - set(LISTS)))

    def _decoded(self) -> Iterator[Any]:
        """Yield decoded pictures; damaged ones are counted and left out."""
        context = self._stream.codec_context
        if context is None:
            raise self._error("its pictures are in a codec that this build of PyAV cannot decode")
        if context.width * context.height > MAX_FRAME_PIXELS:
            raise self._error(f"its header states pictures of {context.width} x {context.height}, over the limit of "
                              f"{MAX_FRAME_PIXELS / 1e6:,.0f} million pixels")  # fmt: skip
        context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
        context.thread_type = "SLICE"  # frame threads would each delay one frame
        for packet in self._container.demux(self._stream):
            try:
                pictures = packet.decode()
            except self._av.error.InvalidDataError:
                self.damaged += 1
                continue
            for native in pictures:
                if native.is_corrupt:
                    self.damaged += 1
                else:
                    yield native

    def _all(self) -> Iterator[Any]:
        yield self._first
        yield from self._pictures

    def _format_of(self, native: Any) -> LiveFormat:
        stream, turn = self._stream, turn_of(display_matrix(native))
        size = (native.height, native.width) if turn.sideways else (native.width, native.height)
        rate = Fraction(stream.average_rate or stream.guessed_rate or _USUAL_RATE)
        return LiveFormat(
            codec=stream.codec_context.codec.canonical_name,
            pixel_format=native.format.name,
            width=size[0],
            height=size[1],
            rate=min(max(rate, _LEAST_RATE), _MOST_RATE),
            colours=PixelColours.of(native),
            turn=turn,
            sample_aspect=Fraction(stream.sample_aspect_ratio or 0),
        )

    def _error(self, reason: str) -> VideoError:
        return VideoError(str(self._place), reason)

    @contextlib.contextmanager
    def _reported(self) -> Generator[None, None, None]:
        """Turn errors of PyAV into VideoError."""
        try:
            yield
        except FileNotFoundError as error:
            raise self._error("it does not exist") from error
        except PermissionError as error:
            raise self._error("reading it is not permitted. Check its mode and its group") from error
        except self._av.error.ArgumentError as error:
            raise self._error("it is not a video of a supported kind. Lists of other addresses, such as those of HLS "
                              "and DASH, are not supported: name the stream itself") from error  # fmt: skip
        except self._av.error.ExitError as error:
            raise self._error(f"it sent nothing for {TIMEOUT_S:.0f} seconds") from error
        except self._av.error.ProtocolNotFoundError as error:
            raise self._error("this build of PyAV has no support for this kind of address") from error
        except (self._av.error.FFmpegError, OSError, EOFError, ValueError) as error:
            raise self._error(f"it cannot be opened or read ({_reason(error)})") from error


def _reason(error: BaseException) -> str:
    """Return FFmpeg's message without the address, which may contain a password."""
    return str(getattr(error, "strerror", None) or type(error).__name__)
