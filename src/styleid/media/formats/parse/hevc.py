"""Read the quantiser of an H.265 still picture from its headers (Rec. ITU-T H.265, section 7.3).

HEIC does not store the encoder's quality, but the quantiser of the first slice depends on it. Only the syntax of intra
pictures is parsed.
"""

from __future__ import annotations

from dataclasses import dataclass

from styleid.media.containers.hevc import configured_units, is_configuration, sized_units, unescaped, unit_kind
from styleid.media.formats.parse.bits import BitReader, UnsupportedStreamError

VIDEO_PARAMETERS, SEQUENCE_PARAMETERS, PICTURE_PARAMETERS = 32, 33, 34
SLICES = frozenset({*range(10), *range(16, 22)})
_IDR = (19, 20)
_PROFILE_BITS = 88 + 8
_INTRA = 2


@dataclass(frozen=True)
class StillCoding:
    """How a picture was quantised.

    Attributes:
        quantiser: Quantiser of the first slice; 0 to 51 for 8 bits.
        lossless: Whether the picture parameters allow lossless blocks, as lossless encoders set them.
    """

    quantiser: int
    lossless: bool


@dataclass(frozen=True)
class _Sequence:
    separate_planes: bool
    chroma: int
    sao: bool


@dataclass(frozen=True)
class _Picture:
    output_flag: bool
    extra_bits: int
    first_quantiser: int
    bypasses: bool


def still_coding(config: bytes, stream: bytes) -> StillCoding | None:
    """Return how a picture was quantised, None if this cannot be read.

    Args:
        config: The configuration record (property hvcC).
        stream: The picture's data.
    """
    if not is_configuration(config):
        return None
    try:
        held = {unit_kind(unit): BitReader(unescaped(unit)) for unit in configured_units(config)}
        sequence, picture = _sequence(held[SEQUENCE_PARAMETERS]), _picture(held[PICTURE_PARAMETERS])
        unit = next(unit for unit in sized_units(stream, config) if unit_kind(unit) in SLICES)
        change = _slice_change(BitReader(unescaped(unit[:64])), unit_kind(unit), sequence, picture)
        return StillCoding(picture.first_quantiser + change, picture.bypasses)
    except (UnsupportedStreamError, KeyError, StopIteration):
        return None


def foreign_units(config: bytes, stream: bytes) -> list[int]:
    """Return the types of NAL units that are neither parameter sets nor slices; they can contain any data.

    Args:
        config: The configuration record (property hvcC). If it cannot be read, the result is [-1].
        stream: The picture's data.
    """
    if not is_configuration(config):
        return [-1]
    parameters = {VIDEO_PARAMETERS, SEQUENCE_PARAMETERS, PICTURE_PARAMETERS}
    kinds = {unit_kind(unit) for unit in configured_units(config)} - parameters
    return sorted(kinds | ({unit_kind(unit) for unit in sized_units(stream, config)} - SLICES))


def _sequence(bits: BitReader) -> _Sequence:
    bits.take(4)
    if bits.take(3):
        raise UnsupportedStreamError
    bits.take(1 + _PROFILE_BITS)
    bits.golomb()
    chroma = bits.golomb()
    separate = chroma == 3 and bool(bits.take())
    bits.skip_golombs(2)
    if bits.take():
        bits.skip_golombs(4)
    bits.skip_golombs(3)
    bits.take()
    bits.skip_golombs(3 + 6)
    if bits.take() and bits.take():
        _skip_scaling_lists(bits)
    bits.take()
    return _Sequence(separate, chroma, bool(bits.take()))


def _skip_scaling_lists(bits: BitReader) -> None:
    for size in range(4):
        for _ in range(2 if size == 3 else 6):
            if not bits.take():
                bits.golomb()
            else:
                bits.skip_golombs((size > 1) + min(64, 16 << 2 * size))


def _picture(bits: BitReader) -> _Picture:
    bits.skip_golombs(2)
    bits.take()
    output_flag, extra_bits = bool(bits.take()), bits.take(3)
    bits.take(2)
    bits.skip_golombs(2)
    first_quantiser = 26 + bits.signed_golomb()
    bits.take(2)
    if bits.take():
        bits.golomb()
    bits.skip_golombs(2)
    bits.take(3)
    return _Picture(output_flag, extra_bits, first_quantiser, bool(bits.take()))


def _slice_change(bits: BitReader, kind: int, sequence: _Sequence, picture: _Picture) -> int:
    """Return the difference between the quantiser of the first slice and the initial quantiser (slice_qp_delta)."""
    if not bits.take() or kind not in _IDR:
        raise UnsupportedStreamError
    bits.take()
    bits.golomb()
    bits.take(picture.extra_bits)
    if bits.golomb() != _INTRA:
        raise UnsupportedStreamError
    bits.take(picture.output_flag + 2 * sequence.separate_planes)
    if sequence.sao:
        bits.take(1 if sequence.separate_planes or not sequence.chroma else 2)
    return bits.signed_golomb()
