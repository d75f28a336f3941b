"""Encoders of FFmpeg: software encoders and those of graphics hardware."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal, get_args

from styleid.errors import OptionError
from styleid.media.video.pyav import import_av

Codec = Literal["h264", "h265", "ffv1"]
Encoder = Literal["software", "nvenc", "vaapi", "videotoolbox"]
CODECS: tuple[Codec, ...] = get_args(Codec)
ENCODERS: tuple[Encoder, ...] = get_args(Encoder)
HARDWARE_FORMAT = "yuv420p"
"""Pixel format that all hardware encoders accept."""
_SOFTWARE: dict[Codec, str] = {"h264": "libx264", "h265": "libx265", "ffv1": "ffv1"}
_PREFIXES: dict[Codec, str] = {"h264": "h264", "h265": "hevc"}
_QUALITY: dict[Encoder, str] = {"nvenc": "cq", "vaapi": "qp"}
"""Name of the option for constant quality; VideoToolbox does not have it on all machines."""
_LIVE: dict[Encoder, dict[str, str]] = {
    "nvenc": {"preset": "p1", "tune": "ull", "delay": "0", "zerolatency": "1"},
    "vaapi": {"async_depth": "1"},
    "videotoolbox": {"realtime": "1", "prio_speed": "1"},
}
_TRIED_SIDE_PX = 256
_BITS_A_PIXEL = 0.1


def encoder_name(codec: Codec, encoder: Encoder) -> str:
    """Return FFmpeg's name of an encoder."""
    return _SOFTWARE[codec] if encoder == "software" else f"{_PREFIXES[codec]}_{encoder}"


def require_encoder(codec: Codec, encoder: Encoder, quality: str) -> None:
    """Check that a hardware encoder supports codec and quality and works on this machine.

    Args:
        codec: The codec to write.
        encoder: The encoder; "software" is not checked.
        quality: 'source', or a number for constant quality.

    Raises:
        OptionError: It does not.
        MissingDependencyError: PyAV is not installed.
    """
    if encoder == "software":
        return
    if codec not in _PREFIXES:
        raise OptionError("encoder", f"{encoder} does not write {codec}. Choose `codec=h264` or `codec=h265`.")
    if quality != "source" and encoder not in _QUALITY:
        raise OptionError("quality", f"{encoder} has no constant quality; use 'source', not '{quality}'.")
    av, name = import_av(), encoder_name(codec, encoder)
    if name not in av.codecs_available:
        raise OptionError("encoder", f"the FFmpeg that PyAV is linked to has no {name}. Use `encoder=software`, or "
                          "install a PyAV that is built against an FFmpeg with it.")  # fmt: skip
    context = av.CodecContext.create(name, "w")
    context.width = context.height = _TRIED_SIDE_PX
    context.pix_fmt, context.time_base = HARDWARE_FORMAT, Fraction(1, 25)
    try:
        context.open()
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OptionError("encoder", f"{name} cannot be opened: its hardware or driver is missing, or PyAV cannot use "
                          f"it ({reason}). Use `encoder=software`.") from error  # fmt: skip


def hardware_settings(encoder: Encoder, quality: str, *, live: bool = False) -> dict[str, str]:
    """Return FFmpeg's options for a hardware encoder.

    Args:
        encoder: The hardware encoder.
        quality: 'source' to aim at a bit rate, or a number for constant quality.
        live: Whether pictures are live, so that the delay must be small.
    """
    chosen = {"rc": "vbr"} if encoder == "nvenc" else {}
    if quality != "source":
        chosen[_QUALITY[encoder]] = quality
    return chosen | (_LIVE[encoder] if live else {})


def usual_bit_rate(width: int, height: int, rate: Fraction) -> int:
    """Return the bit rate, in bits per second, for a video whose source has an unknown bit rate."""
    return round(_BITS_A_PIXEL * width * height * rate)
