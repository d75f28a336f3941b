"""Anonymise live pictures with a bounded delay: read, find, follow, draw and judge, and write, as stages that overlap.

A picture that comes while the one before is looked at waits, and gives way to a newer one. A finished picture waits a
little, so that a face that is found after it can be hidden in it, and is written unless it is late by then. No face is
shown that was not drawn anew and judged in its very picture; every other face is obscured.
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
_PATIENCE_S = 1.0
_MARGIN = 0.1
_SHARES = (0.5, 0.95, 0.99, 1.0)

Told = Callable[[LiveCounts], None]
"""Called now and then with what was shown so far."""


@dataclass
class LiveSummary:
    """What came of a run.

    record: the journal's line. failure: why it ended, "" where the source ended or somebody ended it.
    """

    record: dict[str, Any]
    seconds: float
    failure: str = ""

    @property
    def exit_status(self) -> int:
        """0 where the source ended or was ended; 3 where it was lost, or a face was obscured against the method."""
        return 3 if self.failure or self.record.get("obscured_for") else 0

    def to_json(self) -> dict[str, Any]:
        """Return the machine-readable summary."""
        told = {name: value for name, value in self.record.items() if name not in ("settings", "versions")}
        return told | {"error": self.failure, "exit_status": self.exit_status}


def process_live(
    source: LivePlace,
    out: LivePlace,
    anonymizer: Anonymizer,
    options: LiveOptions,
    encode: EncodeOptions | None = None,
    marking: MarkOptions | None = None,
    *,
    stop: threading.Event | None = None,
    told: Told | None = None,
) -> LiveSummary:
    """Anonymise live pictures until the source ends or `stop` is set.

    A journal line is written beside a file, or for a stream in the current folder.

    Args:
        source: A camera device, a stream, or a file, which is played at its own speed.
        out: A file, which gets its name when the run ends, or a stream.
        anonymizer: What draws and judges faces.
        options: The delay that is allowed.
        encode: How pictures are encoded.
        marking: How a file says that it holds generated faces.
        stop: Ends the run when it is set.
        told: Called about ten times a second.

    Returns:
        What was shown, dropped and obscured. If the source cannot be opened or is lost, the failure says so; what was
        written until then is complete.

    Raises:
        OptionError: Options do not fit each other.
        OutputError: The output cannot be written, or its receiver is gone.
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
        made, failure = _opened(source, out, anonymizer, options, encode, marking, stop, told)
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
    told: Told | None,
) -> tuple[dict[str, Any], str]:
    """Open both ends and run; return what the journal says and why the run ended early, "" where it did not."""
    run = LiveRun(anonymizer, options, source.name if isinstance(source, Path) else str(source))
    pictures = LiveSource(source)
    sink = LiveSink(out, pictures.form, encode, marking)
    try:
        failure = run.show(pictures, pictures.form.width, pictures.form.height, sink, stop, told)
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
    """Run the stages. name: of the source, which a seed's targets depend on.

    detector: sees faces, unsure ones included; by default CenterFace at a low threshold.
    """

    def __init__(
        self,
        anonymizer: Anonymizer,
        options: LiveOptions,
        name: str,
        detector: FaceDetector | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
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
        told: Told | None = None,
    ) -> str:
        """Write the source's pictures into the sink until it ends or `stop` is set.

        Returns:
            Why the source was lost, "" where it ended or was stopped.

        Raises:
            OutputError: The sink cannot write.
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
                if told is not None:
                    told(outlet.counts)
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
        """Return what the journal says: pictures and faces by what was done with them, and delays in seconds."""
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
        """Return what `step` needs for pictures of a size, which go into a sink."""
        tracks = LiveTracks(width, height, self._sure_from)
        outlet = Outlet(sink, self._options, self._clock)
        self.counts = outlet.counts
        return tracks, outlet

    def step(self, found: Found, tracks: LiveTracks, outlet: Outlet) -> None:
        """Follow, draw and judge the faces of one picture, and hand it on."""
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
