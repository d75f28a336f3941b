"""Transparency in a layer of H.265 is noticed wherever a stream declares it."""

import pytest

from styleid.media.video.hevc import declares_alpha, header_declares_alpha

ALPHA = bytes([39 << 1, 1, 165, 4, 0, 255, 0, 128, 128])
OTHER = bytes([39 << 1, 1, 5, 4, 165, 4, 0, 255, 128])
SLICE = bytes([1 << 1, 1, 165, 4, 0, 255, 0, 128, 128])
LONG = bytes([39 << 1, 1, 255, 10, 255, 1]) + bytes(256) + b"\xa5\x04\x00\xff\x00\x80\x80"


def record(*units: bytes, width: int = 4) -> bytes:
    """Return a configuration record of MP4 with one list of units."""
    listed = b"".join(len(unit).to_bytes(2, "big") + unit for unit in units)
    head = bytes([1, *[0] * 20, 0xFC | width - 1, 1])
    return head + b"\x27" + len(units).to_bytes(2, "big") + listed


def sized(*units: bytes, width: int = 4) -> bytes:
    return b"".join(len(unit).to_bytes(width, "big") + unit for unit in units)


def started(*units: bytes) -> bytes:
    return b"".join(b"\0\0\1" + unit for unit in units)


@pytest.mark.parametrize(
    ("units", "told"), [((SLICE, ALPHA), True), ((OTHER, SLICE), False), ((), False), ((LONG,), True)]
)
def test_units_are_read_in_every_form(units, told):
    assert declares_alpha(started(*units), b"") is told
    assert header_declares_alpha(started(*units)) is told
    assert header_declares_alpha(record(*units)) is told
    for width in (1, 2, 4):
        short = [unit for unit in units if len(unit) < 256 or width > 1]
        assert declares_alpha(sized(*short, width=width), record(width=width)) is (told and bool(short))


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"\0\0\1", started(ALPHA[:3]), sized(ALPHA)[:6], started(b"\x4e\x01\xff\xff\xff\xff")]
)
def test_what_is_cut_short_tells_nothing(data):
    assert not declares_alpha(data, b"")
    assert not declares_alpha(data, record())
    assert not header_declares_alpha(record(ALPHA)[:23])
