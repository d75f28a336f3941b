"""Read the quantiser of an H.265 still picture from its headers (Rec. ITU-T H.265, section 7.3).

HEIC stores no quality, but the first slice's quantiser follows from it. Only what intra pictures have is parsed.
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
    """Say how a picture was quantised. quantiser: of the first slice, for 8 bits 0 to 51. lossless: whether it was."""

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
    """Return how a picture was quantised, None where it cannot be told.

    config: the record of its hvcC property. stream: its bytes.
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
    """Return the kinds of units that are neither parameters nor slices: messages, which may hold anything.

    config, stream: see `still_coding`. A record that cannot be read counts as kind -1.
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
    """Return by how much a picture's first slice changes the quantiser."""
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
