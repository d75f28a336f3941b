"""Anonymise live pictures with a bounded delay.

Reading, detecting, drawing and writing run at the same time. If pictures arrive faster than they can be searched, older
ones are dropped. A finished picture waits for a short time, so that a face that is detected only later can be obscured
in it; it is dropped if it would be written too late. Every face that is found is obscured, unless it got a new face
that was judged in the same picture.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from styleid.core.pipeline import Anonymizer
from styleid.engine.journal import Journal
from styleid.engine.local import bundle_settings
from styleid.errors import OptionError, VideoError
from styleid.faces.detect import FaceDetector
from styleid.media.provenance import MarkOptions
from styleid.media.video.live_address import LivePlace
from styleid.media.video.live_sink import LiveSink, live_container
from styleid.media.video.live_source import LiveFrame, LiveSource
from styleid.media.video.writer import EncodeOptions
from styleid.types import FaceOutcome
from styleid.version import __version__
from styleid.video.live_faces import LiveFaces, hidden
from styleid.video.live_options import LiveOptions
from styleid.video.live_stages import (
    Finder,
    Found,
    Held,
    LiveCounts,
    LiveOutput,
    LivePictures,
    Outlet,
    Slot,
    start_finding,
    start_reading,
)
from styleid.video.live_tracks import LiveTracks
from styleid.video.run import UNSURE_SHARE

_WAIT_S = 0.1
"""Longest wait for a picture before progress is reported again, seconds."""
_PATIENCE_S = 1.0
"""Longest wait for each thread at the end, seconds."""
_MARGIN = 0.1
"""Time that is reserved for writing a picture, seconds."""
_SHARES = (0.5, 0.95, 0.99, 1.0)
"""Quantiles of the delay in the journal."""

LiveWatch = Callable[[LiveCounts], None]
"""Called with the counts after every picture, and every 0.1 seconds without one."""


@dataclass
class LiveSummary:
    """Result of a run.

    Attributes:
        record: The journal's record.
        seconds: Duration of the run.
        failure: Why the source was lost or could not be opened, "" if it ended or the run was stopped.
    """

    record: dict[str, Any]
    seconds: float
    failure: str = ""

    @property
    def exit_status(self) -> int:
        """0 if the source ended or the run was stopped, otherwise 3.

        It is also 3 if a face was obscured although it should have got a new face.
        """
        return 3 if self.failure or self.record.get("obscured_for") else 0

    def to_json(self) -> dict[str, Any]:
        """Return the machine-readable summary."""
        record = {name: value for name, value in self.record.items() if name not in ("settings", "versions")}
        return record | {"error": self.failure, "exit_status": self.exit_status}


def process_live(
    source: LivePlace,
    out: LivePlace,
    anonymizer: Anonymizer,
    options: LiveOptions,
    encode: EncodeOptions | None = None,
    marking: MarkOptions | None = None,
    *,
    stop: threading.Event | None = None,
    watch: LiveWatch | None = None,
) -> LiveSummary:
    """Anonymise live pictures until the source ends or `stop` is set.

    A record is appended to the journal beside the output file; for a stream, in the current folder.

    Args:
        source: A camera device, a stream, or a file, which is played at its own speed.
        out: A file, which gets its name when the run ends, or a stream.
        anonymizer: Draws and judges faces.
        options: The largest delay.
        encode: How pictures are encoded.
        marking: How an output file is marked as containing generated faces.
        stop: Ends the run when it is set.
        watch: Called with the counts after every picture, and every 0.1 seconds without one.

    Returns:
        The summary. If the source is lost or cannot be opened, `failure` says why. A file that was written until the
        source was lost is complete.

    Raises:
        OptionError: If options contradict each other, or the output would overwrite the input.
        OutputError: If the output cannot be written, or its receiver is gone.
    """
    encode, marking, stop = encode or EncodeOptions(), marking or MarkOptions(), stop or threading.Event()
    live_container(out, encode, marking)
    if isinstance(source, Path) and isinstance(out, Path) and out.exists() and source.exists() and source.samefile(out):
        raise OptionError("out", f"{out} is the input and would be overwritten.")
    begun = time.monotonic()
    name = source.name if isinstance(source, Path) else str(source)
    settings = asdict(anonymizer.options) | asdict(options) | asdict(encode) | marking.settings()
    record: dict[str, Any] = {"input": name, "versions": {"styleid": __version__}}
    record["settings"] = settings | bundle_settings(anonymizer)
    journal = Journal(out.parent if isinstance(out, Path) else Path())
    try:
        made, failure = _opened(source, out, anonymizer, options, encode, marking, stop, watch)
    except VideoError as error:
        made, failure = {"error": error.reason}, error.reason
    seconds = time.monotonic() - begun
    record |= {"seconds": round(seconds, 3)} | made
    journal.append(record)
    return LiveSummary(record, seconds, failure)


def _opened(
    source: LivePlace,
    out: LivePlace,
    anonymizer: Anonymizer,
    options: LiveOptions,
    encode: EncodeOptions,
    marking: MarkOptions,
    stop: threading.Event,
    watch: LiveWatch | None,
) -> tuple[dict[str, Any], str]:
    """Open the source and the output, and run. Return the record for the journal, and the failure, "" without one."""
    run = LiveRun(anonymizer, options, source.name if isinstance(source, Path) else str(source))
    pictures = LiveSource(source)
    sink = LiveSink(out, pictures.form, encode, marking)
    try:
        failure = run.show(pictures, pictures.form.width, pictures.form.height, sink, stop, watch)
        digest = sink.finish()
    except BaseException:
        sink.abandon()
        raise
    form = pictures.form
    facts = {"codec": form.codec, "pixel_format": form.pixel_format, "size": [form.width, form.height]}
    made = {"video": facts} | run.record() | {"damaged": pictures.damaged, "notes": ["sound was left out"]}
    made |= ({"sha256": digest} if digest else {}) | ({"mark": sink.mark} if sink.mark else {})
    return made | ({"error": failure} if failure else {}), failure


class LiveRun:
    """The stages of a run.

    Attributes:
        finder: Detects faces.
        counts: What was shown so far.
    """

    def __init__(
        self,
        anonymizer: Anonymizer,
        options: LiveOptions,
        name: str,
        detector: FaceDetector | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to run; all networks run once, so that the first picture does not wait for them.

        Args:
            anonymizer: Draws and judges faces.
            options: The largest delay.
            name: Name of the source, on which a seed's targets depend.
            detector: Finds faces, including low-score ones. By default, one with the
                anonymiser's settings and a lower threshold.
            clock: Returns the time in seconds.
        """
        chosen = anonymizer.options.detector
        low = replace(chosen, threshold=chosen.threshold * UNSURE_SHARE)
        self._anonymizer, self._options, self._sure_from = anonymizer, options, chosen.threshold
        self.finder = Finder(detector or FaceDetector(low, anonymizer.device))
        self._faces, self._clock = LiveFaces(anonymizer, name, clock), clock
        self.finder.warm_up()
        self._faces.warm_up()
        self._coming: Slot[LiveFrame] = Slot(newest=True)
        self._received = self._tracks = 0
        self._done: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self.counts = LiveCounts()

    def show(
        self,
        source: LivePictures,
        width: int,
        height: int,
        sink: LiveOutput,
        stop: threading.Event | None = None,
        watch: LiveWatch | None = None,
    ) -> str:
        """Write the source's pictures to the sink until the source ends or `stop` is set.

        Args:
            source: The source.
            width: Width of its pictures in pixels.
            height: Height of its pictures in pixels.
            sink: Writes the pictures.
            stop: Ends the run when it is set; it is also set when this returns.
            watch: Called with the counts after every picture, and every 0.1 seconds without one.

        Returns:
            Why the source was lost; "" if it ended or the run was stopped.

        Raises:
            OutputError: If the sink cannot write.
        """
        stop, found = stop or threading.Event(), Slot[Found](newest=False)
        tracks, outlet = self.begin(width, height, sink)
        outlet.start()
        failure = ""
        reader = start_reading(source, self._coming, stop)
        finder = start_finding(self.finder, self._coming, found, stop)
        try:
            while not stop.is_set() and not found.ended:
                one = found.get(_WAIT_S)
                if one is not None:
                    self.step(one, tracks, outlet)
                if watch is not None:
                    watch(outlet.counts)
            found.get(0.0)
        except VideoError as error:
            failure = error.reason
        finally:
            stop.set()
            found.end()
            self._coming.end()
            outlet.finish()
            for thread in (finder, reader):
                thread.join(_PATIENCE_S)
        return failure

    def record(self) -> dict[str, Any]:
        """Return the entries of the journal: numbers of pictures and faces by what was done, and delays in seconds."""
        counts = self.counts
        return {
            "frames": {
                "received": self._received,
                "shown": counts.shown,
                "dropped": self._received - counts.shown,
                "obscured": counts.obscured,
            },
            "delay_s": {f"p{100 * share:.0f}": counts.delay_s(share) for share in _SHARES},
            "tracks": self._tracks,
            "people": self._faces.people,
            "faces": {"anonymised": self._done["anonymised"], "obscured": self._done["obscured"]},
            "obscured_for": dict(self._reasons.most_common()),
        }

    def begin(self, width: int, height: int, sink: LiveOutput) -> tuple[LiveTracks, Outlet]:
        """Return the tracks and the writer that `step` needs for pictures of a size in pixels."""
        tracks = LiveTracks(width, height, self._sure_from)
        outlet = Outlet(sink, self._options, self._clock)
        self.counts = outlet.counts
        return tracks, outlet

    def step(self, found: Found, tracks: LiveTracks, outlet: Outlet) -> None:
        """Follow, draw and judge the faces of one picture, and pass it to the writer unless it is too late."""
        frame, grey = found.frame, tracks.grey(found.image_rgb)
        self._received = max(self._received, frame.index + 1)
        seen, begun = tracks.update(grey, found.faces, frame.time_s, cut=found.cut)
        self._tracks = tracks.count
        if not found.cut:
            for track in begun:
                outlet.hide(lambda greys, track=track: tracks.backwards(track, [grey, *greys]), "solid")
        now = self._clock()
        if now - frame.arrived_s > self._options.max_delay:
            return
        until = min(now + self._options.drawing_s, frame.arrived_s + self._options.latest_s - _MARGIN)
        draft, outcomes = self._faces.anonymize(found.image_rgb, seen, frame.time_s, until)
        self._count(outcomes)
        covered = sum(map(hidden, outcomes))
        held = Held(frame, grey, draft.image_rgb, draft.changed, outlet.due_s(frame), covered, covered < len(outcomes))
        outlet.add(held)

    def _count(self, outcomes: list[FaceOutcome]) -> None:
        for outcome in outcomes:
            self._done["obscured" if hidden(outcome) else "anonymised"] += 1
            if outcome.reason:
                self._reasons[outcome.reason] += 1
