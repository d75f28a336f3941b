"""Rare H.265 headers, built bit by bit."""

import struct

import pytest

from styleid.media.formats.parse.bits import BitReader, UnsupportedStreamError
from styleid.media.formats.parse.hevc import StillCoding, foreign_units, still_coding


def ue(value: int) -> str:
    code = f"{value + 1:b}"
    return "0" * (len(code) - 1) + code


def se(value: int) -> str:
    return ue(2 * value - 1 if value > 0 else -2 * value)


def unit(kind: int, bits: str) -> bytes:
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    body = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return bytes([kind << 1, 1]) + body.replace(b"\0\0", b"\0\0\3")


def sequence(*, chroma: int = 1, separate: str = "", window: bool = False, lists: str = "0", sao: str = "1") -> bytes:
    profile = "0" * 96
    bits = "0000" + "000" + "1" + profile + ue(0) + ue(chroma) + separate + ue(64) + ue(64)
    bits += "1" + ue(0) * 4 if window else "0"
    return unit(33, bits + ue(0) * 3 + "1" + ue(0) * 9 + lists + "0" + sao)


def picture(
    *, output: str = "0", extra: int = 0, quantiser: int = 30, deltas: bool = False, bypass: str = "0"
) -> bytes:
    bits = ue(0) * 2 + "0" + output + f"{extra:03b}" + "00" + ue(0) * 2 + se(quantiser - 26) + "00"
    bits += "1" + ue(1) if deltas else "0"
    return unit(34, bits + se(0) * 2 + "000" + bypass)


def config(*units: bytes) -> bytes:
    record = b"\1" + bytes(20) + b"\3" + bytes([len(units)])
    return record + b"".join(bytes([one[0] >> 1]) + struct.pack(">HH", 1, len(one)) + one for one in units)


def coded(bits: str, kind: int = 19) -> bytes:
    body = unit(kind, bits)
    return struct.pack(">I", len(body)) + body


HEAD = "10" + ue(0)
SLICE = HEAD + ue(2)
LISTS = "11" + ("0" + ue(0)) * 6 + ("1" + se(1) * 64) * 6 + ("1" + se(4) + se(1) * 64) * 8

TOLD = {
    "plain": (sequence(), picture(), SLICE + "11" + se(-5), StillCoding(25, False)),
    "no filter": (sequence(sao="0"), picture(), SLICE + se(4), StillCoding(34, False)),
    "grey": (sequence(chroma=0), picture(), SLICE + "1" + se(3), StillCoding(33, False)),
    "separate planes": (sequence(chroma=3, separate="1"), picture(), SLICE + "001" + se(1), StillCoding(31, False)),
    "a window": (sequence(window=True), picture(deltas=True), SLICE + "11" + se(0), StillCoding(30, False)),
    "an output flag": (sequence(), picture(output="1", extra=2), HEAD + "00" + ue(2) + "1" + "11" + se(2),
                       StillCoding(32, False)),
    "lists by default": (sequence(lists="10"), picture(), SLICE + "11" + se(1), StillCoding(31, False)),
    "lists": (sequence(lists=LISTS), picture(), SLICE + "11" + se(1), StillCoding(31, False)),
    "lossless": (sequence(), picture(bypass="1"), SLICE + "11" + se(0), StillCoding(30, True)),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
def test_the_quantiser_is_found(name: str) -> None:
    sps, pps, bits, expected = TOLD[name]
    assert still_coding(config(sps, pps), coded(bits)) == expected


UNTOLD = {
    "a film": (config(sequence(), picture()), coded(HEAD + ue(1) + "11" + se(0))),
    "a picture that refers to others": (config(sequence(), picture()), coded(SLICE + "11" + se(0), kind=1)),
    "layers": (config(unit(33, "0000" + "001" + "1" * 200), picture()), coded(SLICE)),
    "an endless number": (config(unit(33, "0" * 300), picture()), coded(SLICE)),
    "no parameters": (config(sequence()), coded(SLICE)),
    "no slice": (config(sequence(), picture()), coded("1", kind=39)),
}


@pytest.mark.parametrize("name", UNTOLD)
def test_what_cannot_be_told_is_none(name: str) -> None:
    assert still_coding(*UNTOLD[name]) is None


def test_messages_are_foreign() -> None:
    record = config(sequence(), picture())
    assert foreign_units(record, coded(SLICE)) == []
    assert foreign_units(config(sequence(), unit(39, "1")), coded(SLICE) + coded("1", kind=40)) == [39, 40]
    assert foreign_units(b"", coded(SLICE)) == [-1]


def test_bits_end_where_they_end() -> None:
    with pytest.raises(UnsupportedStreamError):
        BitReader(b"\0").take(9)
    assert BitReader(b"").take(0) == 0
