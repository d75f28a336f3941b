"""Continue the time of files whose time stamps begin anew: recordings joined end to end, as dashcams do."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

_BACK_S = Fraction(1, 10)
_AHEAD_S = Fraction(10)
"""As in FFmpeg: how far time goes back, or in transport and program streams ahead, where a new recording begins."""


class Clock:
    """Give each picture, in the order in which they are shown, a time after the one before.

    jumps: whether a leap ahead begins a new recording too, as in transport and program streams.
    shifts: what is added to the time stamps of each recording, ticks.
    """

    def __init__(self, time_base: Fraction, usual: Fraction, start: Fraction, *, jumps: bool) -> None:
        self._usual = max(1, round(usual / time_base))
        self._back, self._ahead = _BACK_S / time_base, _AHEAD_S / time_base
        self._jumps, self._first = jumps, round(start / time_base)
        self._before: int | None = None
        self._lasting = self._usual
        self.shifts = [0]

    def place(self, pts: int | None, lasting: int | None) -> int:
        """Return a picture's time. pts, lasting: its time stamp and duration in ticks, None where there is none."""
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
    """Move the packets of another track as the pictures of the same recording were moved.

    shifts_s: of the recordings, seconds, as `Clock` found them.
    """

    def __init__(self, shifts_s: Sequence[Fraction], *, jumps: bool) -> None:
        self._shifts, self._jumps = shifts_s, jumps
        self._recording, self._last = 0, None
        self._end: Fraction | None = None

    _last: Fraction | None

    def place(self, packet: Any) -> bool:
        """Move a packet in place; say whether it comes after all that came before, so that it may be written."""
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
