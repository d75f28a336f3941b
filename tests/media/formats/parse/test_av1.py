"""The base quantiser of AV1 stills, from streams that are put together bit by bit (AV1 specification, 5.5 and 5.9)."""

import pytest

from styleid.media.formats.parse.av1 import base_quantiser

QUANTISER = 173
SEQUENCE, FRAME_HEADER, FRAME, PADDING = 1, 3, 6, 15


def bits(*fields: tuple[int, int]) -> bytes:
    """Pack (value, count) fields, the highest bit first, and fill the last byte."""
    text = "".join(f"{value:0{count}b}" for value, count in fields if count)
    text += "0" * (-len(text) % 8)
    return int("1" + text, 2).to_bytes(len(text) // 8 + 1, "big")[1:]


def unit(kind: int, body: bytes, *, sized: bool = True, extended: bool = False) -> bytes:
    """Return an open bitstream unit; sizes take two bytes of seven bits each."""
    head = bytes([kind << 3 | extended << 2 | sized << 1]) + bytes(extended)
    return head + (bytes([len(body) & 0x7F | 0x80, len(body) >> 7]) if sized else b"") + body


def size_fields(width: int, height: int) -> list[tuple[int, int]]:
    return [(15, 4), (15, 4), (width - 1, 16), (height - 1, 16)]


def reduced_sequence(width: int = 64, height: int = 64, *, large_blocks: int = 0, superres: int = 0) -> bytes:
    return bits((0, 3), (1, 1), (1, 1), (0, 5), *size_fields(width, height), (large_blocks, 1), (0, 2), (superres, 1))


def full_sequence(
    points=((0, 8, False),), *, timing=0, delays=0, ids=None, order_bits=0, tools=None, integer_mv=None, superres=0
) -> bytes:
    """Return a sequence header that is not reduced; None lets frames choose."""
    fields = [(0, 3), (1, 1), (0, 1), (timing, 1), (delays, 1), (len(points) - 1, 5)]
    for idc, level, delayed in points:
        fields += [(idc, 12), (level, 5)] + [(0, 1)] * (level > 7)
        fields += [(delayed, 1), *([(9, 4)] if delayed else [])] if delays else []
    fields += [*size_fields(64, 64), (ids is not None, 1)]
    fields += [] if ids is None else [(ids[0], 4), (ids[1], 3)]
    fields += [(0, 1), (0, 2), (0, 4), (order_bits > 0, 1)] + [(0, 2)] * (order_bits > 0)
    fields += [(1, 1)] if tools is None else [(0, 1), (tools, 1)]
    if tools != 0:
        fields += [(1, 1)] if integer_mv is None else [(0, 1), (integer_mv, 1)]
    fields += [(order_bits - 1, 3)] if order_bits else []
    return bits(*fields, (superres, 1))


def stream(sequence: bytes, *frame: tuple[int, int], kind: int = FRAME) -> bytes:
    return unit(2, b"") + unit(SEQUENCE, sequence) + unit(kind, bits(*frame, (QUANTISER, 8), (0, 64)))


ONE_TILE = [(1, 1)]
SHOWN = [(0, 1), (0, 2), (1, 1)]

STREAMS = {
    "reduced": stream(reduced_sequence(), (0, 1), (0, 1), (0, 1), *ONE_TILE),
    "a header alone": stream(reduced_sequence(), (0, 1), (0, 1), (0, 1), *ONE_TILE, kind=FRAME_HEADER),
    "screen tools": stream(reduced_sequence(), (0, 1), (1, 1), (0, 1), (0, 1), (0, 1), *ONE_TILE),
    "another size to show": stream(reduced_sequence(), (0, 1), (0, 1), (1, 1), (0, 32), *ONE_TILE),
    "no superres in use": stream(reduced_sequence(superres=1), (0, 1), (0, 1), (0, 1), (0, 1), *ONE_TILE),
    # at 9/16 of its width a picture of 4500 px needs one column less, and screen tools no copies within the picture
    "superres": stream(
        reduced_sequence(4500, 64, superres=1),
        *[(0, 1), (1, 1), (0, 1), (1, 1), (7, 3), (0, 1)],
        *[(1, 1), (0, 1)],
    ),
    "two columns asked for": stream(
        reduced_sequence(256, 64), (0, 1), (0, 1), (0, 1), (1, 1), (1, 1), (0, 1), (0, 1 + 2)
    ),
    "all columns and rows": stream(
        reduced_sequence(128, 256), (0, 1), (0, 1), (0, 1), (1, 1), (1, 1), (1, 1), (1, 1), (0, 3 + 2)
    ),
    "columns that must be": stream(
        reduced_sequence(5000, 64, large_blocks=1), (0, 1), (0, 1), (0, 1), (1, 1), (0, 1), (0, 1 + 2)
    ),
    "rows that must be": stream(
        reduced_sequence(4096, 4096), (0, 1), (0, 1), (0, 1), (1, 1), (0, 1), (0, 1), (0, 1 + 2)
    ),
    "full": stream(full_sequence(), *SHOWN, (0, 1), (0, 1), (0, 1), (0, 1), (0, 1), *ONE_TILE),
    "fixed statistics": stream(full_sequence(), *SHOWN, (1, 1), (0, 1), (0, 1), (0, 1), *ONE_TILE),
    "several operating points": stream(
        full_sequence(((1, 5, True), (0, 9, False)), delays=1),
        *[*SHOWN, (0, 1), (0, 1), (0, 1), (0, 1), (0, 1), *ONE_TILE],
    ),
    "frame numbers and order": stream(
        full_sequence(ids=(3, 2), order_bits=7),
        *[*SHOWN, (0, 1), (0, 1), (0, 3 + 2 + 3), (0, 1), (0, 7), (0, 1), (0, 1), *ONE_TILE],
    ),
    "another size": stream(
        full_sequence(), *SHOWN, (1, 1), (0, 1), (1, 1), (127, 16), (63, 16), (0, 1), (1, 1), (0, 1)
    ),
    "tools always": stream(
        full_sequence(tools=1, integer_mv=1), *SHOWN, (0, 1), (0, 1), (0, 1), (0, 1), (0, 1), *ONE_TILE
    ),
    "tools always, vectors chosen": stream(
        full_sequence(tools=1), *SHOWN, (0, 1), (1, 1), (0, 1), (0, 1), (0, 1), (0, 1), *ONE_TILE
    ),
    "tools never": stream(full_sequence(tools=0), *SHOWN, (0, 1), (0, 1), (0, 1), (0, 1), *ONE_TILE),
    "the last unit without size": unit(SEQUENCE, reduced_sequence())
    + unit(FRAME, bits((0, 1), (0, 1), (0, 1), *ONE_TILE, (QUANTISER, 8), (0, 8)), sized=False),
    "layers": unit(SEQUENCE, reduced_sequence(), extended=True)
    + unit(FRAME, bits((0, 1), (0, 1), (0, 1), *ONE_TILE, (QUANTISER, 8), (0, 8)), extended=True),
}


@pytest.mark.parametrize("name", STREAMS)
def test_the_quantiser_is_found(name: str) -> None:
    assert base_quantiser(STREAMS[name]) == QUANTISER


NOT_TOLD = {
    "nothing": b"",
    "no frame": unit(SEQUENCE, reduced_sequence()),
    "a frame before its sequence": unit(FRAME, bits((0, 64))),
    "padding": unit(PADDING, bytes(300)) * 3,
    "a size without end": b"\x0a" + b"\xff" * 9,
    "a size that is cut": b"\x0a\xff",
    "a sequence that is cut": unit(SEQUENCE, b"\x18"),
    "a frame that is cut": unit(SEQUENCE, reduced_sequence()) + unit(FRAME, b""),
    "timing": stream(full_sequence(timing=1), (0, 64)),
    "a frame shown before": stream(full_sequence(), (1, 1), (0, 63)),
    "no key frame": stream(full_sequence(), (0, 1), (1, 2), (1, 1), (0, 60)),
    "a hidden frame": stream(full_sequence(), (0, 1), (0, 2), (0, 1), (0, 60)),
    "tiles of different sizes": stream(reduced_sequence(), (0, 1), (0, 1), (0, 1), (0, 1)),
}


@pytest.mark.parametrize("name", NOT_TOLD)
def test_what_stills_do_not_use_yields_no_quantiser(name: str) -> None:
    assert base_quantiser(NOT_TOLD[name]) is None
