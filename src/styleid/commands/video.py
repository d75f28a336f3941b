"""styleid video: a video in, the same out with other faces."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from styleid.bundles.registry import DEFAULT
from styleid.core.options import AnonymizeOptions, PeopleOptions
from styleid.core.pipeline import Anonymizer
from styleid.engine.assignment import Assignment
from styleid.engine.decisions import read_decisions
from styleid.engine.decisions_export import with_seed
from styleid.engine.journal import to_json_line
from styleid.media.video.side_tracks import TrackOptions
from styleid.media.video.writer import EncodeOptions
from styleid.runtime import Device
from styleid.video.decided import adopt_video, require_same
from styleid.video.options import VideoOptions
from styleid.video.run import VideoSummary, anonymize_video
from styleid.video.scan import Watch

_SHOWN = 20


@dataclass(frozen=True)
class VideoCommandOptions:
    """Choose what the command uses and says.

    bundle: a built-in bundle's name, or a folder with a bundle.json.
    device: where networks run: cpu, cuda or openvino.
    decisions: JSON file of what a person decided about the tracks: keep, hide, another face (docs/decisions.md); it
        brings its seed and settings.
    export_decisions: where to write such a file about all tracks, for a person to edit.
    json: print a one-line JSON summary on standard output instead of the readable one.
    quiet: show no progress.
    """

    bundle: str = DEFAULT
    device: Device = "cpu"
    decisions: Path | None = None
    export_decisions: Path | None = None
    json: bool = False
    quiet: bool = False


def video(
    source: Path,
    options: VideoOptions,
    how: AnonymizeOptions,
    encode: EncodeOptions,
    side: TrackOptions,
    command: VideoCommandOptions,
    people: PeopleOptions | None = None,
    typed: Collection[str] = (),
) -> int:
    """Anonymise a video or a folder of frames; return the exit status.

    typed: names of the options that the user has given, which may not contradict a decisions file.
    """
    people, decided = people or PeopleOptions(), None
    decisions = read_decisions(command.decisions) if command.decisions else None
    if decisions is not None:
        how, options, people = adopt_video(decisions, how, options, people, typed)
        decided = decisions.video(source.name)
    if command.export_decisions is not None:
        how = with_seed(how)
    anonymizer = Anonymizer.from_bundle(command.bundle, how, command.device)
    assignment = Assignment(anonymizer, people, command.bundle)
    anonymizer = assignment.anonymizer
    if decisions is not None:
        require_same(decisions, anonymizer, options.marking, assignment)
    try:
        with _terminated_is_interrupted(), _progress(command.quiet or command.json) as watch:
            summary = anonymize_video(
                source,
                anonymizer,
                options,
                encode,
                side,
                assignment=assignment,
                watch=watch,
                decided=decided,
                export=command.export_decisions,
            )
    except KeyboardInterrupt:
        print(f"styleid: {source}: interrupted; nothing was written", file=sys.stderr)
        return 1
    if summary.failure:
        print(f"styleid: {source}: {summary.failure} (not written)", file=sys.stderr)
    _say_what_was_hidden(source, summary)
    if command.json:
        print(to_json_line(summary.to_json()))
    elif not summary.failure:
        print(_readable(summary, options.out))
    return summary.exit_status


def _say_what_was_hidden(source: Path, summary: VideoSummary) -> None:
    told = [
        f"styleid: {source}: track {track['track']} was obscured from {s['from_s']:.2f} to {s['to_s']:.2f} s: "
        f"{s['reason']}"
        for track in summary.record.get("tracks", [])
        for s in track["obscured_at"]
        if s["reason"]
    ]
    for line in told[:_SHOWN]:
        print(line, file=sys.stderr)
    if (more := len(told) - _SHOWN) > 0:
        print(f"styleid: ... and {more} more stretches; the journal names them all", file=sys.stderr)


def _readable(summary: VideoSummary, out: Path) -> str:
    tracks, seen = summary.record["tracks"], summary.record["video"]
    people = len({track["person"] for track in tracks})
    passed, hidden = (sum(track[name] for track in tracks) for name in ("anonymised", "obscured"))
    kept = sum(track["action"] == "kept" for track in tracks)
    lines = [
        f"{seen['frames']} frames, {seen['seconds']:.2f} s, written to {out}",
        f"{len(tracks)} tracks of {people} people: {passed} faces anonymised, {hidden} obscured"
        + (f"; {kept} tracks left as they are" if kept else "")
        if tracks
        else "no face was found",
        *summary.record["notes"],
        f"{summary.seconds:.1f} s, {summary.seconds / max(seen['frames'], 1) * 1000:.0f} ms a frame",
    ]
    if summary.page is not None:
        lines.append(f"review: {summary.page}")
    return "\n".join(lines)


@contextlib.contextmanager
def _terminated_is_interrupted() -> Iterator[None]:
    """Let a request to end be an interrupt, so that temporary files go."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[Watch | None]:
    """Show a bar for each stage on a terminal; yield what a run calls after each step, or None."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def watch(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total or None)
            bar.update(tasks[stage], completed=done, total=max(total, done) or None)

        yield watch
