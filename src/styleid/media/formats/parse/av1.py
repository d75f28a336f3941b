"""Read the base quantiser of an AV1 still picture from its frame header (AV1 specification, sections 5.5 and 5.9).

AVIF does not store the encoder's quality, but encoders derive the base quantiser index, 0 to 255, from it. Only key
frames of still pictures are parsed, and only up to that index.
"""

from __future__ import annotations

from dataclasses import dataclass

from styleid.media.formats.parse.bits import BitReader, UnsupportedStreamError

_SEQUENCE, _FRAME_HEADER, _FRAME = 1, 3, 6
_SELECT = 2


@dataclass(frozen=True)
class _Sequence:
    """Fields of a sequence header on which the layout of the frame header depends."""

    reduced: bool
    width_bits: int
    height_bits: int
    width: int
    height: int
    has_frame_ids: bool
    id_bits: int
    large_blocks: bool
    order_bits: int
    screen_tools: int
    integer_mv: int
    superres: bool


def base_quantiser(stream: bytes) -> int | None:
    """Return base_q_idx of a stream's first frame, 0 to 255, None if it cannot be read."""
    try:
        sequence = None
        for kind, body in _units(stream):
            if kind == _SEQUENCE:
                sequence = _sequence(BitReader(body))
            elif kind in (_FRAME_HEADER, _FRAME) and sequence is not None:
                return _frame_quantiser(BitReader(body), sequence)
    except UnsupportedStreamError:
        pass
    return None


def _units(stream: bytes) -> list[tuple[int, bytes]]:
    """Split a stream into its open bitstream units as (type, first 4,096 bytes of the body), at most 16."""
    units: list[tuple[int, bytes]] = []
    position = 0
    while position < len(stream) and len(units) < 16:
        header = stream[position]
        position += 2 if header & 4 else 1
        size = len(stream) - position
        if header & 2:
            size = shift = 0
            while True:
                if position >= len(stream) or shift > 28:
                    raise UnsupportedStreamError
                byte = stream[position]
                position += 1
                size |= (byte & 0x7F) << shift
                shift += 7
                if not byte & 0x80:
                    break
        units.append((header >> 3 & 15, stream[position : position + min(size, 4096)]))
        position += size
    return units


def _sequence(bits: BitReader) -> _Sequence:
    bits.take(3 + 1)
    reduced = bool(bits.take())
    if reduced:
        bits.take(5)
    else:
        if bits.take():
            raise UnsupportedStreamError
        delays = bits.take()
        for _ in range(bits.take(5) + 1):
            bits.take(12)
            if bits.take(5) > 7:
                bits.take()
            if delays and bits.take():
                bits.take(4)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    width, height = bits.take(width_bits) + 1, bits.take(height_bits) + 1
    has_ids, id_bits = False, 0
    if not reduced and bits.take():
        has_ids = True
        delta = bits.take(4) + 2
        id_bits = bits.take(3) + delta + 1
    large_blocks = bool(bits.take())
    bits.take(2)
    order_bits, tools, integer_mv = 0, _SELECT, _SELECT
    if not reduced:
        bits.take(4)
        ordered = bits.take()
        if ordered:
            bits.take(2)
        tools = _SELECT if bits.take() else bits.take()
        if tools:
            integer_mv = _SELECT if bits.take() else bits.take()
        order_bits = bits.take(3) + 1 if ordered else 0
    superres = bool(bits.take())
    return _Sequence(reduced, width_bits, height_bits, width, height, has_ids, id_bits, large_blocks, order_bits, tools,
                     integer_mv, superres)  # fmt: skip


def _frame_quantiser(bits: BitReader, sequence: _Sequence) -> int:
    if not sequence.reduced:
        shown_before, kind, shown = bits.take(), bits.take(2), bits.take()
        if shown_before or kind or not shown:
            raise UnsupportedStreamError
    fixed_cdf = bits.take()
    tools = bits.take() if sequence.screen_tools == _SELECT else sequence.screen_tools
    if tools and sequence.integer_mv == _SELECT:
        bits.take()
    bits.take(sequence.id_bits if sequence.has_frame_ids else 0)
    width, height = sequence.width, sequence.height
    overridden = not sequence.reduced and bits.take()
    bits.take(sequence.order_bits)
    if overridden:
        width, height = bits.take(sequence.width_bits) + 1, bits.take(sequence.height_bits) + 1
    scaled = False
    if sequence.superres and bits.take():
        denominator = bits.take(3) + 9
        scaled, width = True, (width * 8 + denominator // 2) // denominator
    if bits.take():
        bits.take(32)
    if tools and not scaled:
        bits.take()
    if not sequence.reduced and not fixed_cdf:
        bits.take()
    _skip_tiles(bits, sequence, width, height)
    return bits.take(8)


def _skip_tiles(bits: BitReader, sequence: _Sequence, width: int, height: int) -> None:
    """Skip the layout of the tiles (tile_info)."""
    shift = 5 if sequence.large_blocks else 4
    columns, rows = (-(-2 * ((side + 7) >> 3) // (1 << shift)) for side in (width, height))
    widest, largest = 4096 >> (shift + 2), (4096 * 2304) >> (2 * shift + 4)
    if not bits.take():
        raise UnsupportedStreamError
    column_log2 = _log2(widest, columns)
    least = max(column_log2, _log2(largest, rows * columns))
    while column_log2 < _log2(1, min(columns, 64)) and bits.take():
        column_log2 += 1
    row_log2 = max(least - column_log2, 0)
    while row_log2 < _log2(1, min(rows, 64)) and bits.take():
        row_log2 += 1
    if column_log2 or row_log2:
        bits.take(column_log2 + row_log2 + 2)


def _log2(block: int, target: int) -> int:
    """Return the least k with block * 2**k >= target."""
    return max(0, (-(-target // block) - 1).bit_length())
