"""Metrics in the text format of Prometheus."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_HELP = {
    "styleid_requests_total": ("counter", "Answers, by method and status."),
    "styleid_photos_total": ("counter", "Photos that were handled, by result."),
    "styleid_faces_total": ("counter", "Faces that were handled, by what became of them."),
    "styleid_photo_seconds_total": ("counter", "Seconds spent on photos."),
    "styleid_jobs": ("gauge", "Jobs, by state."),
    "styleid_uptime_seconds": ("gauge", "Seconds since the service began."),
}


class Metrics:
    """Counters of the service, safe to use from several threads."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._began = time.monotonic()

    def add(self, name: str, value: float = 1, **labels: object) -> None:
        """Add to a counter.

        Args:
            name: Name of the metric, one of `_HELP`; others are not shown.
            value: What to add.
            **labels: Labels of the counter and their values.
        """
        shown = ",".join(f'{key}="{text}"' for key, text in labels.items())
        with self._lock:
            self._counts[f"{name}{{{shown}}}" if shown else name] += value  # type: ignore[assignment]

    def text(self, gauges: Mapping[str, float] | None = None) -> str:
        """Return all metrics as text.

        Args:
            gauges: Current values of gauges, by name with labels, such as `styleid_jobs{state="done"}`.

        Returns:
            Lines of the Prometheus text format.
        """
        with self._lock:
            values: dict[str, float] = dict(self._counts)
        values |= gauges or {}
        values["styleid_uptime_seconds"] = round(time.monotonic() - self._began, 3)
        lines: list[str] = []
        for name, (kind, text) in _HELP.items():
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
            lines += [f"{key} {value:g}" for key, value in sorted(values.items()) if key.partition("{")[0] == name]
        return "\n".join(lines) + "\n"
