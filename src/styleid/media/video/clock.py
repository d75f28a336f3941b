"""Make time stamps continuous in files of joined recordings, such as those of dashcams, whose time stamps restart."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

_BACK_S = Fraction(1, 10)
_AHEAD_S = Fraction(10)
"""Steps of time that start a new recording, as in FFmpeg: back, or in transport and program streams ahead."""


class Clock:
    """Assigns each picture, in display order, a time after the previous one.

    Attributes:
        shifts: Ticks that are added to the time stamps of each recording.
    """

    def __init__(self, time_base: Fraction, usual: Fraction, start: Fraction, *, jumps: bool) -> None:
        """Start a clock.

        Args:
            time_base: Seconds per tick.
            usual: Usual duration of a picture in seconds.
            start: Time of the first picture in seconds, if it has no time stamp.
            jumps: Whether a step ahead also starts a new recording, as in transport and program streams.
        """
        self._usual = max(1, round(usual / time_base))
        self._back, self._ahead = _BACK_S / time_base, _AHEAD_S / time_base
        self._jumps, self._first = jumps, round(start / time_base)
        self._before: int | None = None
        self._lasting = self._usual
        self.shifts = [0]

    def place(self, pts: int | None, lasting: int | None) -> int:
        """Return the time of the next picture in ticks.

        Args:
            pts: Its time stamp in ticks, None if it has none.
            lasting: Its duration in ticks, None if unknown.
        """
        placed = self._placed(pts)
        self._before = placed
        self._lasting = lasting if lasting and 0 < lasting <= self._ahead else self._usual
        return placed

    def _placed(self, pts: int | None) -> int:
        if self._before is None:
            return self._first if pts is None else pts
        expected = self._before + self._lasting
        if pts is None:
            return expected
        at = pts + self.shifts[-1]
        if at <= self._before - self._back or (self._jumps and at - expected > self._ahead):
            self.shifts.append(expected - pts)
            return expected
        return max(at, self._before + 1)


class SideClock:
    """Shifts the packets of another track by the same times as the pictures of the same recording."""

    def __init__(self, shifts_s: Sequence[Fraction], *, jumps: bool) -> None:
        """Start a clock.

        Args:
            shifts_s: Shifts of the recordings in seconds, from `Clock.shifts`.
            jumps: See `Clock`.
        """
        self._shifts, self._jumps = shifts_s, jumps
        self._recording, self._last = 0, None
        self._end: Fraction | None = None

    _last: Fraction | None

    def place(self, packet: Any) -> bool:
        """Shift the times of a packet in place; return whether it follows the packets before it and may be written."""
        stamp = packet.dts if packet.dts is not None else packet.pts
        if stamp is None:
            return True
        at = stamp * packet.time_base
        if self._last is not None and self._begins_anew(at - self._last):
            self._recording = min(self._recording + 1, len(self._shifts) - 1)
        self._last = at
        ticks = round(self._shifts[self._recording] / packet.time_base)
        packet.pts, packet.dts = (None if t is None else t + ticks for t in (packet.pts, packet.dts))
        begin = (stamp + ticks) * packet.time_base
        if self._end is not None and begin < self._end and self._recording:
            return False
        self._end = begin + (packet.duration or 0) * packet.time_base
        return True

    def _begins_anew(self, step: Fraction) -> bool:
        return step < -_BACK_S or (self._jumps and step > _AHEAD_S)
