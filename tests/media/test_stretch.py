"""Samples that use a small part of their range are stretched for detection and written back unchanged."""

import numpy as np
import pytest

from styleid.media.stretch import Span, find_span

RAMP = np.linspace(0, 1, 4096).reshape(64, 64)


def of(low, high, bits):
    return (low + RAMP * (high - low)).round().astype(np.uint16 if bits > 8 else np.uint8)


@pytest.mark.parametrize(
    ("samples", "bits", "low", "high"),
    [
        (of(0, 1020, 16), 16, 0, 1024),
        (of(0, 4095, 16), 16, 0, 4096),
        (of(0, 16383, 16), 16, 0, 16384),
        (of(30000, 31000, 16), 16, 29952, 31040),
        (of(65000, 65530, 16), 16, 64960, 65535),
        (np.where(RAMP > 0.9, 65535, of(0, 1000, 16)).astype(np.uint16), 16, 0, 930),
        (np.where(RAMP < 0.4, 0, of(500, 1000, 16)).astype(np.uint16), 16, 690, 1010),
        (np.dstack([of(0, 1000, 16)] * 3), 16, 0, 1024),
        (of(3, 14, 8), 8, 3, 14),
        (of(0, 250, 10), 10, 0, 256),
    ],
    ids=["10 bits", "12 bits", "14 bits", "offset", "bright", "white frame", "masked", "colours", "8 bits", "video"],
)
def test_a_small_span_is_found(samples, bits, low, high):
    span = find_span(samples, bits)
    assert span is not None
    assert abs(span.low - low) <= (high - low) / 16 and abs(span.high - high) <= (high - low) / 16
    view = span.to_8_bits(samples)
    assert view.dtype == np.uint8 and view.shape == samples.shape
    assert view.min() <= 24 and view.max() >= 220


@pytest.mark.parametrize(
    ("samples", "bits"),
    [
        (of(0, 65535, 16), 16),
        (of(0, 40000, 16), 16),
        (of(0, 255, 8), 8),
        (of(100, 140, 8), 8),
        (np.full((9, 9), 700, np.uint16), 16),
        (np.zeros((9, 9), np.uint16), 16),
        (np.where(RAMP > 0.5, 65535, 0).astype(np.uint16), 16),
    ],
    ids=["16 bits", "dark", "8 bits", "faint", "one value", "black", "two-toned"],
)
def test_a_usual_span_is_left_alone(samples, bits):
    assert find_span(samples, bits) is None


@pytest.mark.parametrize("span", [Span(0, 1023), Span(29952, 31040), Span(0, 16384)])
def test_eight_bits_come_back_where_they_were(span):
    every = np.arange(256, dtype=np.uint8)
    back = span.from_8_bits(every, np.uint16)
    assert back.dtype == np.uint16 and back[0] == span.low and back[-1] == span.high
    assert np.array_equal(span.to_8_bits(back), every)
    assert np.abs(span.to_8_bits(np.array([0, 65535], np.uint16)) - np.array([0, 255])).max() <= 0


def test_a_few_changed_pixels_leave_the_span_as_it_is():
    before = of(0, 1000, 16)
    after = before.copy()
    after[20:24, 10:50] = 500
    assert find_span(after, 16) == find_span(before, 16)
