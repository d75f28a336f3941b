"""Options of a run over live pictures."""

from __future__ import annotations

from dataclasses import dataclass

from styleid.errors import OptionError


@dataclass(frozen=True)
class LiveOptions:
    """Choose how live pictures are processed.

    live: process pictures as they arrive from a camera (/dev/video0), a stream (rtsp://...) or a file that is played at
        its own speed. A face that cannot be judged in time is obscured.
    max_delay: with `live`, maximum time in seconds from the arrival of a picture until it is written, 0.2 to 60. A
        picture that would take longer is dropped.
    """

    live: bool = False
    max_delay: float = 1.0

    def __post_init__(self) -> None:
        if not 0.2 <= self.max_delay <= 60:
            raise OptionError("max_delay", f"{self.max_delay} does not lie between 0.2 and 60 seconds.")

    @property
    def hold_s(self) -> float:
        """Time that a finished picture waits, so that a face that is detected later can be obscured in it, seconds."""
        return 0.25 * self.max_delay

    @property
    def drawing_s(self) -> float:
        """Time limit for drawing the new faces of one picture, seconds. Faces that do not fit are obscured."""
        return 0.25 * self.max_delay

    @property
    def latest_s(self) -> float:
        """Age at which a finished picture is written without further waiting, seconds."""
        return 0.85 * self.max_delay
