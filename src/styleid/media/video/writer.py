"""Write videos with PyAV, with the times, colour space, depth, orientation and about the bit rate of the source."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2

from styleid.errors import OptionError, OutputError, VideoError
from styleid.media.provenance import SOURCE_TYPE, MarkOptions
from styleid.media.signing import SIGNED_FORMATS, SigningError, sign_file
from styleid.media.storage.files import os_reason
from styleid.media.video.audit import find_leftovers
from styleid.media.video.clip import ClipFrame
from styleid.media.video.encoders import (
    CODECS,
    ENCODERS,
    HARDWARE_FORMAT,
    Codec,
    Encoder,
    encoder_name,
    hardware_settings,
    require_encoder,
    usual_bit_rate,
)
from styleid.media.video.marks import MATROSKA_TAG, mark_file, says_generated, untag_matroska
from styleid.media.video.part_file import PartFile
from styleid.media.video.planes import blacken, fresh_copy, repaint
from styleid.media.video.pyav import import_av
from styleid.media.video.reader import VideoClip
from styleid.media.video.side_tracks import SideTracks, TrackOptions
from styleid.types import ImageRGB, MaskArray

_CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
_CARRIES = {"mp4": ("h264", "h265"), "mov": ("h264", "h265"), "matroska": ("h264", "h265", "ffv1")}
_PACKED = {("ffv1", "gbrp"): "bgr0"}
"""Pixel formats that an encoder accepts instead of a planar format, with the same samples."""
_OF_RGB, _UNKNOWN_MATRIX = 0, 2
"""Matrix coefficients of RGB and unspecified ones, as in ITU-T H.273."""
_DEEPEST = {"h264": 10, "h265": 12, "ffv1": 16}
_WORTH = {
    "hevc": 1.5,
    "h265": 1.5,
    "vp9": 1.4,
    "libvpx-vp9": 1.4,
    "av1": 1.7,
    "libdav1d": 1.7,
    "mpeg2video": 0.6,
    "h264": 1.0,
}
"""Approximate number of H.264 bits with the same quality as one bit of a codec."""
_CRF = {"h264": 17, "h265": 19}
_AVX_512 = 13
"""OpenCV's number of this processor feature; its names are not available in Python."""
_WITHOUT_AVX512 = "asm=MMX2,SSE2Fast,SSSE3,SSE4.2,AVX,FMA3,BMI2,AVX2"
"""Processor features for x264, without AVX-512: with it, results of x264's macroblock tree vary between runs."""


@dataclass(frozen=True)
class EncodeOptions:
    """Options for the encoding of a video.

    codec: h264, h265, or ffv1, which is lossless and keeps pixels outside the faces unchanged.
    quality: source aims at the quality of the source's bit rate; a number from 0 to 51 is a constant quality, such as
        18, where lower is better. ffv1 ignores it.
    encoder: software, or hardware that encodes h264 or h265: nvenc (NVIDIA), vaapi (Intel and AMD on Linux) or
        videotoolbox (macOS). The bytes of the output depend on the hardware.
    """

    codec: Codec = "h264"
    quality: str = "source"
    encoder: Encoder = "software"

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise OptionError("codec", f"'{self.codec}' is unknown; choose one of {', '.join(CODECS)}.")
        if self.encoder not in ENCODERS:
            raise OptionError("encoder", f"'{self.encoder}' is unknown; choose one of {', '.join(ENCODERS)}.")
        if self.quality != "source" and not (self.quality.isdigit() and int(self.quality) <= 51):
            raise OptionError("quality", f"'{self.quality}' is neither 'source' nor a whole number from 0 to 51.")


def container_of(out: Path, encode: EncodeOptions) -> str:
    """Return FFmpeg's name of the container that a file's suffix stands for.

    Args:
        out: The output file.
        encode: Codec, quality and encoder.

    Raises:
        OptionError: No container that can be written has this suffix, it cannot store the codec, or the encoder does
            not work on this machine.
    """
    codec = encode.codec
    container = _CONTAINERS.get(out.suffix.lower())
    if container is None:
        raise OptionError("out", f"{out} must have one of the suffixes {', '.join(_CONTAINERS)}.")
    if codec not in _CARRIES[container]:
        raise OptionError("codec", f"{codec} cannot be stored in {out.suffix}. Give the output the suffix .mkv.")
    require_encoder(codec, encode.encoder, encode.quality)
    return container


class VideoSink:
    """A writer of a clip's frames, under a temporary name until the file is complete; see `ClipSink`."""

    def __init__(
        self,
        clip: VideoClip,
        out: Path,
        encode: EncodeOptions,
        tracks: TrackOptions,
        marking: MarkOptions | None = None,
    ) -> None:
        """Open the output.

        Args:
            clip: The source.
            out: The output file; its suffix decides the container.
            encode: Codec, quality and encoder.
            tracks: What to keep besides the pictures.
            marking: The mark of generated content; None writes none.

        Raises:
            OptionError: The suffix does not fit the codec, or the encoder does not work on this machine.
            OutputError: The file cannot be created or encoded.
        """
        container = container_of(out, encode)
        self._clip, self._out, self._av = clip, out, import_av()
        self._file = PartFile(out)
        self._durations: dict[int, int] = {}
        self._last: Any = None  # a packet is written when the next one is there
        self._delay = self._end = 0
        self._marking, self.mark = marking or MarkOptions(mark="none"), ""
        self._generated, self._changed = says_generated(clip.path), False
        try:
            with self._reported():
                self._open(container, encode, tracks)
        except BaseException:
            self._file.remove()
            raise

    def _open(self, container: str, encode: EncodeOptions, tracks: TrackOptions) -> None:
        facts = self._clip.facts
        options = {"fflags": "+bitexact", "max_interleave_delta": "0"}
        self._container = self._av.open(self._file, "w", format=container, container_options=options)
        size = facts.width, facts.height
        software = encode.encoder == "software"
        self._format = pixel_format_for(facts.pixel_format, encode.codec, size) if software else HARDWARE_FORMAT
        self._coded_format = _PACKED.get((encode.codec, self._format), self._format)
        self._stream = self._video_stream(encode)
        self.side = SideTracks(self._clip, self._container, container, tracks)
        if container == "matroska" and self._marking.mark != "none":
            self._container.metadata[MATROSKA_TAG] = SOURCE_TYPE
        self.notes = (*self.side.notes, *self._format_notes())

    def _video_stream(self, encode: EncodeOptions) -> Any:
        facts, rate = self._clip.facts, self._clip.info.rate
        stream = self._container.add_stream(
            encoder_name(encode.codec, encode.encoder), rate=rate, options=_settings(encode, facts)
        )
        context = stream.codec_context
        stream.width, stream.height, stream.pix_fmt = facts.width, facts.height, self._coded_format
        stream.time_base = context.time_base = facts.time_base
        colours = facts.colours
        context.colorspace, context.color_primaries = colours.matrix, colours.primaries
        context.color_trc, context.color_range = colours.transfer, 2 if colours.full_range else 1
        if colours.matrix == _OF_RGB and not _is_rgb(self._coded_format):
            context.colorspace = colours.coded_matrix if _is_rgb(facts.pixel_format) else _UNKNOWN_MATRIX
        if facts.sample_aspect:
            context.sample_aspect_ratio = facts.sample_aspect
        if facts.matrix is not None:
            stream.set_display_matrix(facts.matrix)
        if (rate_wanted := _bit_rate(encode, facts)) is not None:
            context.bit_rate = rate_wanted
        elif encode.encoder != "software" and encode.quality == "source":
            context.bit_rate = usual_bit_rate(facts.width, facts.height, rate)
        return stream

    def _format_notes(self) -> tuple[str, ...]:
        given = self._clip.facts.pixel_format
        same = given.replace("yuvj", "yuv") == self._format
        return () if same else (f"pixels are stored as {given} and are written as {self._format}",)

    def write(
        self, frame: ClipFrame, image_rgb: ImageRGB | None, changed: MaskArray | None, *, generated: bool = False
    ) -> None:
        """Encode a frame; see `ClipSink.write`."""
        self._generated, self._changed = self._generated or generated, self._changed or changed is not None
        clip, colours = self._clip, self._clip.facts.colours
        native = fresh_copy(colours.in_format(frame.native, self._format), self._av)
        if image_rgb is not None and changed is not None:
            repaint(native, clip.turn.stored(image_rgb), clip.turn.stored(changed), colours, self._av)
        if frame.hidden is not None:
            blacken(native, clip.turn.stored(frame.hidden), full_range=colours.full_range)
        if self._coded_format != self._format:
            native = native.reformat(format=self._coded_format)
        base, start = clip.facts.time_base, clip.facts.start
        native.pts = frame.native.pts - round(start / base)
        native.time_base = base
        native.colorspace, native.color_range = (
            self._stream.codec_context.colorspace,
            self._stream.codec_context.color_range,
        )
        self._durations[native.pts] = max(1, round(Fraction(frame.duration_s).limit_denominator(10**9) / base))
        with self._reported():
            self.side.until(frame.time_s)
            self._mux(self._stream.encode(native))

    def _mux(self, packets: Any) -> None:
        for packet in packets:
            lasting = self._durations.pop(packet.pts, packet.duration or 0)
            packet.duration = lasting
            self._end = max(self._end, packet.pts + lasting)
            if self._last is None:
                self._delay = packet.pts - packet.dts
            else:
                self._container.mux(self._last)
            self._last = packet

    def _mux_last(self) -> None:
        """Write the last packet; in MP4, its duration, counted from its decoding time, defines the end of the track."""
        if self._last is None:
            return
        if self._container.format.name in ("mp4", "mov"):
            self._last.duration = max(1, self._end - self._last.dts - self._delay)
        self._container.mux(self._last)
        self._last = None

    def finish(self) -> str:
        """Complete the file, mark and check it, give it its name, and return its SHA-256 in hex.

        Raises:
            OutputError: It cannot be written or signed, or it contains anything that is not allowed.
        """
        with self._reported():
            self._mux(self._stream.encode(None))
            self._mux_last()
            self.side.until(float("inf"))
            self._container.close()
            self.side.close()
            self._set_mark(self._container.format.name)
            if what := find_leftovers(self._file.path, self._av):
                raise OutputError(self._out, f"it would contain {what}. Please report this as a bug")
            return self._file.publish()

    def _set_mark(self, container: str) -> None:
        """Mark the finished file, or remove the tag that was written before its faces were known."""
        wanted = self._marking.applies(generated=self._generated, changed=self._changed)
        self.mark = self._marking.mark if wanted else ""
        if container == "matroska" and self._marking.mark != "none" and not wanted:
            untag_matroska(self._file.path)
        elif container != "matroska" and wanted:
            mark_file(self._file.path, container)
        if self.mark == "c2pa":
            self._sign(container)

    def _sign(self, container: str) -> None:
        """Replace the finished file by a signed copy, if its container can hold a manifest."""
        if container not in SIGNED_FORMATS:
            self.mark = "iptc"
            self.notes = (*self.notes, "Matroska cannot hold a C2PA manifest: the file is only marked by a tag")
            return
        signed = PartFile(self._out)
        whole, self._file = self._file, signed  # if anything fails from here on, both files are removed
        try:
            sign_file(whole.path, signed.path, container, self._marking)
        except SigningError as error:
            raise OutputError(self._out, f"it cannot be signed ({error})") from error
        finally:
            whole.remove()

    def abandon(self) -> None:
        """Remove the unfinished file."""
        with contextlib.suppress(Exception):
            self.side.close()
        self._file.broken = True
        with contextlib.suppress(Exception):
            self._container.close()
        self._file.remove()

    @contextlib.contextmanager
    def _reported(self) -> Generator[None, None, None]:
        try:
            yield
        except (OutputError, VideoError):
            raise
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            reason = f"it cannot be encoded ({error})"
            if self._file.error is not None:
                reason = os_reason(self._file.error).replace(
                    " with `resume`", ""
                )  # a video is done whole or not at all
            raise OutputError(self._out, reason) from error


def _is_rgb(pixel_format: str) -> bool:
    """Return whether a pixel format stores RGB or a palette of RGB."""
    return any(order in pixel_format for order in ("rgb", "gbr", "bgr", "pal8"))


def pixel_format_for(given: str, codec: Codec, size: tuple[int, int]) -> str:
    """Return the pixel format nearest to that of the source that the encoder accepts.

    Args:
        given: FFmpeg's name of the source's pixel format.
        codec: The codec to write.
        size: Width and height; H.264 and H.265 need even sides for subsampled chroma.
    """
    av = import_av()
    fmt = av.VideoFormat(given)
    bits = max(c.bits for c in fmt.components) if fmt.components else 8
    deepest = min(_DEEPEST[codec], 16 if bits > 12 else 12 if bits > 10 else 10)
    deep = "" if bits <= 8 else f"{deepest}le"
    if fmt.is_rgb or given == "pal8":
        return f"gbrp{deep}" if codec == "ffv1" else f"yuv444p{deep}"
    if len(fmt.components) <= 2:  # grey, and perhaps alpha
        return f"gray{deep}" if codec == "ffv1" else f"yuv420p{deep}"
    across, down = 8 // fmt.chroma_width(8), 8 // fmt.chroma_height(8)
    odd = (size[0] % 2 and across > 1) or (size[1] % 2 and down > 1)
    if codec != "ffv1" and odd:  # these encoders only accept whole chroma samples
        return f"yuv444p{deep}"
    kind = {(1, 1): "444", (2, 1): "422", (2, 2): "420"}.get((across, down), "444")
    return f"yuv{kind}p{deep}"


def _settings(encode: EncodeOptions, facts: Any) -> Mapping[str, str]:
    options: dict[str, str] = {}
    if encode.encoder != "software":
        return hardware_settings(encode.encoder, encode.quality)
    if encode.codec == "ffv1":
        return {"level": "3", "slicecrc": "1", "g": "1"}
    if encode.codec == "h265":
        options["x265-params"] = "log-level=none"
    elif cv2.checkHardwareSupport(_AVX_512):
        options["x264-params"] = _WITHOUT_AVX512
    options["preset"] = "faster" if encode.codec == "h264" else "fast"  # medium takes twice as long and is no better
    if encode.quality != "source":
        options["crf"] = encode.quality
    elif _bit_rate(encode, facts) is None:
        options["crf"] = str(_CRF[encode.codec])
    return options


def _bit_rate(encode: EncodeOptions, facts: Any) -> int | None:
    """Return the bit rate to aim at, None for a constant quality, also if the source's codec or rate is unknown."""
    worth = _WORTH.get(facts.codec)
    if encode.codec == "ffv1" or encode.quality != "source" or worth is None or not facts.bit_rate:
        return None
    return max(50_000, round(facts.bit_rate * worth / (1.5 if encode.codec == "h265" else 1.0)))
