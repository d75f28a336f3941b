"""Write live pictures to a file or a stream with little delay."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import Any

from styleid.errors import OptionError, OutputError
from styleid.media.provenance import SOURCE_TYPE, MarkOptions
from styleid.media.storage.files import os_reason
from styleid.media.video.audit import find_leftovers
from styleid.media.video.encoders import (
    HARDWARE_FORMAT,
    encoder_name,
    hardware_settings,
    require_encoder,
    usual_bit_rate,
)
from styleid.media.video.live_address import LiveAddress, LivePlace
from styleid.media.video.live_source import LiveFormat, LiveFrame
from styleid.media.video.marks import MATROSKA_TAG, mark_file, untag_matroska
from styleid.media.video.part_file import PartFile
from styleid.media.video.planes import fresh_copy, repaint
from styleid.media.video.pyav import import_av
from styleid.media.video.writer import EncodeOptions, container_of, pixel_format_for
from styleid.types import ImageRGB, MaskArray

_TICKS = 90_000
"""Ticks per second, as in transport streams."""
_FAST = {
    "h264": {"preset": "veryfast", "tune": "zerolatency"},
    "h265": {"preset": "ultrafast", "tune": "zerolatency", "x265-params": "log-level=none"},
    "ffv1": {"level": "3", "slicecrc": "1", "g": "1"},
}
_CRF = {"h264": "20", "h265": "22"}
_KEY_EVERY_S = 2
"""Longest interval between key frames, so that a viewer who joins a stream waits at most this long for a picture."""
_SEND_TIMEOUT_S = 10.0
_OF_RGB = 0


class LiveSink:
    """A writer of live pictures. A file gets its name when it is complete; a stream is sent at once.

    Attributes:
        mark: The mark of generated content that a file has, "" for none; valid after `finish`.
    """

    def __init__(self, out: LivePlace, form: LiveFormat, encode: EncodeOptions, marking: MarkOptions) -> None:
        self._out, self._form, self._av, self._marking, self.mark = out, form, import_av(), marking, ""
        self.format = live_container(out, encode, marking)
        self._file = PartFile(out) if isinstance(out, Path) else None
        self._last_tick = -1
        self._generated = self._changed = False
        try:
            with self._reported():
                self._open(encode)
        except BaseException:
            self.abandon()
            raise

    _container: Any = None

    def _open(self, encode: EncodeOptions) -> None:
        options = {"fflags": "+bitexact", "flush_packets": "1"}
        if isinstance(self._out, LiveAddress):
            options |= {"protocol_whitelist": self._out.protocols}
            if self.format == "rtsp":
                options |= {"rtsp_transport": "tcp"}
            self._container = self._av.open(
                self._out.text, "w", format=self.format, container_options=options, timeout=_SEND_TIMEOUT_S
            )
        else:
            self._container = self._av.open(self._file, "w", format=self.format, container_options=options)
        self._stream = self._video_stream(encode)
        if self.format == "matroska" and self._marking.mark != "none":
            self._container.metadata[MATROSKA_TAG] = SOURCE_TYPE
        self._container.start_encoding()

    def _video_stream(self, encode: EncodeOptions) -> Any:
        form = self._form
        name = encoder_name(encode.codec, encode.encoder)
        stream = self._container.add_stream(name, rate=form.rate, options=_settings(encode))
        self._pixels = _pixel_format(form, encode)
        stream.width, stream.height, stream.pix_fmt = form.width, form.height, self._pixels
        context, colours = stream.codec_context, form.colours
        stream.time_base = context.time_base = Fraction(1, _TICKS)
        if encode.encoder != "software" and encode.quality == "source":
            context.bit_rate = usual_bit_rate(form.width, form.height, form.rate)
        context.gop_size = max(1, round(_KEY_EVERY_S * form.rate))
        context.colorspace = colours.coded_matrix if colours.matrix == _OF_RGB else colours.matrix
        context.color_primaries, context.color_trc = colours.primaries, colours.transfer
        context.color_range = 2 if colours.full_range else 1
        if form.sample_aspect and not form.turn.sideways:
            context.sample_aspect_ratio = form.sample_aspect
        return stream

    def write(
        self, frame: LiveFrame, image_rgb: ImageRGB | None, changed: MaskArray | None, *, generated: bool
    ) -> None:
        """Encode a picture and send it.

        Args:
            frame: The picture as received.
            image_rgb: uint8 (h, w, 3), the new picture; used where `changed` is true. None keeps the received one.
            changed: bool (h, w), where the picture changed; None for nowhere.
            generated: Whether the picture shows a new face.

        Raises:
            OutputError: It cannot be written, or the receiver has closed the connection.
        """
        self._generated, self._changed = self._generated or generated, self._changed or changed is not None
        colours, form = self._form.colours, self._form
        if form.turn.quarters or form.turn.mirrored:
            native = colours.from_rgb(frame.image_rgb, self._pixels, self._av)
        else:
            native = fresh_copy(colours.in_format(frame.native, self._pixels), self._av)
        if image_rgb is not None and changed is not None:
            repaint(native, image_rgb, changed, colours, self._av)
        self._last_tick = max(self._last_tick + 1, round(frame.time_s * _TICKS))
        native.pts, native.time_base = self._last_tick, Fraction(1, _TICKS)
        context = self._stream.codec_context
        native.colorspace, native.color_range = context.colorspace, context.color_range
        with self._reported():
            self._container.mux(self._stream.encode(native))

    def finish(self) -> str:
        """Complete the output, and return the SHA-256 of a file in hex, "" for a stream.

        Raises:
            OutputError: It cannot be written, or the file contains anything that is not allowed.
        """
        with self._reported():
            self._container.mux(self._stream.encode(None))
            self._container.close()
            if self._file is None:
                return ""
            self._set_mark(self._file.path)
            if what := find_leftovers(self._file.path, self._av):
                raise OutputError(str(self._out), f"it would contain {what}. Please report this as a bug")
            return self._file.publish()

    def _set_mark(self, path: Path) -> None:
        """Mark the finished file, or remove the tag that was written before its faces were known."""
        wanted = self._marking.applies(generated=self._generated, changed=self._changed)
        self.mark = self._marking.mark if wanted else ""
        if self.format == "matroska" and self._marking.mark != "none" and not wanted:
            untag_matroska(path)
        elif self.format != "matroska" and wanted:
            mark_file(path, self.format)

    def abandon(self) -> None:
        """Close the output and remove an unfinished file; has no effect on a file after `finish`."""
        if self._file is not None:
            self._file.broken = True
        with contextlib.suppress(Exception):
            self._container.close()
        if self._file is not None:
            self._file.remove()

    @contextlib.contextmanager
    def _reported(self) -> Generator[None, None, None]:
        """Turn errors of PyAV into OutputError."""
        try:
            yield
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            reason = f"it cannot be written ({getattr(error, 'strerror', None) or type(error).__name__})"
            if self._file is not None and self._file.error is not None:
                reason = os_reason(self._file.error).replace(" with `resume`", "")
            raise OutputError(str(self._out), reason) from error


def live_container(out: LivePlace, encode: EncodeOptions, marking: MarkOptions) -> str:
    """Return FFmpeg's name of the container for an output.

    Args:
        out: A file or a stream.
        encode: Codec, quality and encoder.
        marking: The mark of generated content.

    Raises:
        OptionError: Codec or mark cannot be used with this output.
    """
    if marking.mark == "c2pa":
        raise OptionError("mark", "c2pa can only sign a finished file, not live pictures. Use iptc or none.")
    if isinstance(out, Path):
        return container_of(out, encode)
    if encode.codec == "ffv1":
        raise OptionError("codec", "ffv1 cannot be sent as a stream. Choose h264 or h265.")
    require_encoder(encode.codec, encode.encoder, encode.quality)
    return out.container


def _settings(encode: EncodeOptions) -> dict[str, str]:
    """Return the options of the encoder: as fast, and with as little delay, as it can be."""
    if encode.encoder != "software":
        return hardware_settings(encode.encoder, encode.quality, live=True)
    usual = _CRF.get(encode.codec)
    quality = {} if usual is None else {"crf": usual if encode.quality == "source" else encode.quality}
    return _FAST[encode.codec] | quality


def _pixel_format(form: LiveFormat, encode: EncodeOptions) -> str:
    """Return 8 bits and 4:2:0 if possible, which all players support; for ffv1 the format nearest to the source's."""
    if encode.codec == "ffv1":
        return pixel_format_for(form.pixel_format, "ffv1", (form.width, form.height)).replace("gbrp", "yuv444p")
    if encode.encoder != "software":
        return HARDWARE_FORMAT
    return "yuv444p" if form.width % 2 or form.height % 2 else "yuv420p"
