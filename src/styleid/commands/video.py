"""styleid video: replace the faces in a video."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from styleid.api.videos import anonymize_video
from styleid.bundles.registry import DEFAULT
from styleid.commands.messages import counted, warn, warn_of_each, with_flags
from styleid.core.options import AnonymizeOptions, PeopleOptions
from styleid.engine.journal import to_json_line
from styleid.media.video.side_tracks import TrackOptions
from styleid.media.video.writer import EncodeOptions
from styleid.runtime import Device
from styleid.video.options import EngineOptions, VideoOptions
from styleid.video.run import VideoSummary
from styleid.video.scan import Watch


@dataclass(frozen=True)
class VideoCommandOptions:
    """Choose what the command uses and prints.

    bundle: name of a built-in bundle, or a folder with a bundle.json.
    device: where networks run: cpu, cuda, tensorrt or coreml.
    decisions: JSON file of what a person decided about the tracks: keep, hide, another face (docs/decisions.md). Its
        seed and settings replace the defaults.
    export_decisions: where to write such a file about all tracks, for a person to edit.
    json: print a summary as one line of JSON on standard output.
    quiet: show no progress bar.
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
    where: EngineOptions | None = None,
) -> int:
    """Anonymise a video or a folder of frames; print what was done and return the exit status.

    typed: names of the options that the user has typed, which a decisions file must not contradict. where: where
    networks look at the frames.
    """
    try:
        with _terminated_is_interrupted(), _progress(command.quiet or command.json) as watch:
            summary = anonymize_video(
                source,
                options,
                how,
                people,
                encode=encode,
                side_tracks=side,
                bundle=command.bundle,
                device=command.device,
                decisions=command.decisions,
                fixed=typed,
                export_decisions=command.export_decisions,
                where=where,
                watch=watch,
            )
    except KeyboardInterrupt:
        warn(f"{source}: interrupted; nothing was written")
        return 1
    if summary.failure:
        warn(f"{source}: {with_flags(summary.failure)} (not written)")
    _warn_of_hidden(source, summary)
    if command.json:
        print(to_json_line(summary.to_json()))
    elif not summary.failure:
        print(_readable(summary, options.out))
    return summary.exit_status


def _warn_of_hidden(source: Path, summary: VideoSummary) -> None:
    lines = [
        f"{source}: track {track['track']} was obscured from {s['from_s']:.2f} to {s['to_s']:.2f} s: "
        f"{with_flags(s['reason'])}"
        for track in summary.record.get("tracks", [])
        for s in track["obscured_at"]
        if s["reason"]
    ]
    warn_of_each(lines, " stretches; the journal names them all")


def _readable(summary: VideoSummary, out: Path) -> str:
    tracks, seen = summary.record["tracks"], summary.record["video"]
    people = len({track["person"] for track in tracks})
    passed, hidden = (sum(track[name] for track in tracks) for name in ("anonymised", "obscured"))
    kept = sum(track["action"] == "kept" for track in tracks)
    lines = [
        f"{counted(seen['frames'], 'frame')}, {seen['seconds']:.2f} s, written to {out}",
        f"{counted(len(tracks), 'track')} of {counted(people, 'person', 'people')}: "
        f"{counted(passed, 'face')} anonymised, {hidden} obscured"
        + (f"; {counted(kept, 'track')} kept as in the original" if kept else "")
        if tracks
        else "no face was found",
        *map(with_flags, summary.record["notes"]),
        f"{summary.seconds:.1f} s, {summary.seconds / max(seen['frames'], 1) * 1000:.0f} ms per frame",
    ]
    if summary.page is not None:
        lines.append(f"review: {summary.page}")
    return "\n".join(lines)


@contextlib.contextmanager
def _terminated_is_interrupted() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, so that temporary files are removed."""
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
    """Show a bar for each stage on a terminal.

    Yields:
        What a run calls after each step, or None where there is no terminal.
    """
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
