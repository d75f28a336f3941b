"""styleid anonymize: replace the faces in photos."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from styleid.api.photos import anonymize_bytes, anonymize_files
from styleid.bundles.registry import DEFAULT
from styleid.commands.messages import counted, warn, warn_of_each, with_flags
from styleid.commands.progress import progress
from styleid.core.options import AnonymizeOptions, PeopleOptions
from styleid.datasets.passthrough import list_unread
from styleid.engine.journal import to_json_line
from styleid.engine.local import Boxes, RunOptions, Summary, read_boxes
from styleid.errors import ImageError, OptionError
from styleid.media.storage.remote import Place
from styleid.runtime import Device
from styleid.types import Action

_STILL = "its moving part was left out"
STDIN = Path("-")


@dataclass(frozen=True)
class CommandOptions:
    """Choose what the command uses and prints.

    bundle: name of a built-in bundle, or a folder with a bundle.json.
    device: where networks run: cpu, cuda, tensorrt or coreml.
    boxes: JSON file of further face boxes, {"name.jpg": [[x0, y0, x1, y1], ...]} in pixels of the upright photo.
    copy_others: also copy the files in the folders that are no photos and are known to be harmless: text without a
        picture in it, which may still name people.
    carry: endings, such as psd mp4, of files in the folders that are copied byte for byte, without a check of what they
        show.
    decisions: JSON file of what a person decided about the faces: keep, hide, another face, boxes to add or to leave
        alone (docs/decisions.md). Its seed and settings replace the defaults.
    export_decisions: where to write such a file about all faces of this run, for a person to edit.
    report: also write styleid-report.html, a page of results without originals.
    json: print a summary as one line of JSON on standard output.
    quiet: show no progress bar.
    """

    bundle: str = DEFAULT
    device: Device = "cpu"
    boxes: Path | None = None
    decisions: Path | None = None
    export_decisions: Path | None = None
    copy_others: bool = False
    carry: tuple[str, ...] = ()
    report: bool = False
    json: bool = False
    quiet: bool = False


def anonymize(
    inputs: Sequence[Place],
    how: AnonymizeOptions,
    run: RunOptions,
    command: CommandOptions,
    people: PeopleOptions | None = None,
    typed: Collection[str] = (),
) -> int:
    """Anonymise files and folders, or standard input; print what was done and return the exit status.

    typed: names of the options that the user has typed, which a decisions file must not contradict.
    """
    boxes = read_boxes(command.boxes) if command.boxes else None
    if STDIN in (*inputs, run.out):
        _require_pipe(inputs, run, command, boxes)
        return _pipe(how, run, command, people, boxes)
    with progress(command.quiet or command.json) as watch:
        summary = anonymize_files(
            inputs,
            run,
            how,
            people,
            bundle=command.bundle,
            device=command.device,
            boxes=boxes,
            decisions=command.decisions,
            fixed=typed,
            export_decisions=command.export_decisions,
            copy_others=command.copy_others,
            carry=command.carry,
            report=command.report,
            watch=watch,
        )
    _warn(summary)
    print(to_json_line(summary.to_json()) if command.json else _readable(summary, run.out))
    return summary.exit_status


def _require_pipe(inputs: Sequence[Place], run: RunOptions, command: CommandOptions, boxes: Boxes | None) -> None:
    if command.decisions is not None or command.export_decisions is not None:
        raise OptionError("decisions", "a photo from standard input has no name for decisions. Name its file.")
    if list(inputs) != [STDIN] or run.out != STDIN:
        raise OptionError("inputs", "'-' reads one photo from standard input and goes with `out=-` alone.")
    if boxes and set(boxes) != {"-"}:
        raise OptionError("boxes", "the photo from standard input is named '-'.")


def _pipe(
    how: AnonymizeOptions, run: RunOptions, command: CommandOptions, people: PeopleOptions | None, boxes: Boxes | None
) -> int:
    """Read one photo from standard input and write it to standard output."""
    try:
        done = anonymize_bytes(
            sys.stdin.buffer.read(),
            how,
            people,
            run=run,
            bundle=command.bundle,
            device=command.device,
            boxes=boxes["-"] if boxes else None,
        )
    except ImageError as error:
        where = "standard input" if str(error.path) == "-" else error.path
        warn(f"{where}: {with_flags(error.reason)} (not written)")
        return 3
    for note in done.notes:
        warn(f"standard input: {with_flags(note)}")
    if done.left_out:
        warn(f"standard input: {_STILL}: {with_flags(done.left_out)}")
    sys.stdout.buffer.write(done.data)
    sys.stdout.buffer.flush()
    for reason in done.obscured:
        warn(f"standard input: a face was obscured: {with_flags(reason)}")
    return 3 if done.obscured else 0


def _warn(summary: Summary) -> None:
    for name, reason in summary.failures:
        warn(f"{name}: {with_flags(reason)} (not written)")
    if (more := summary.failed - len(summary.failures)) > 0:
        warn(f"... and {more} more inputs that were not written; the journal names them all")
    hidden = [f"{name}: a face was obscured: {with_flags(reason)}" for name, reason in summary.fallbacks]
    warn_of_each(hidden, " faces; the journal names them all", summary.fell_back)
    still = [f"{name}: {_STILL}: {with_flags(reason)}" for name, reason in summary.left_out]
    warn_of_each(still, " moving parts; the journal names them all", summary.unmoving)
    if unread := list_unread(summary.unread):
        warn(unread)


def _readable(summary: Summary, out: Place) -> str:
    faces = summary.faces
    parts = [f"{faces[action]} {action}" for action in Action if faces[action]]
    lines = [
        f"{summary.written} of {counted(summary.inputs, 'file')} written to {out}"
        + (f" ({summary.resumed} of them earlier)" if summary.resumed else ""),
        f"faces: {', '.join(parts) or 'none found'}"
        + (f"; {counted(summary.without_faces, 'file')} without a face" if summary.without_faces else ""),
        f"{summary.seconds:.1f} s, {summary.written / max(summary.seconds, 1e-9):.1f} files per second",
    ]
    if summary.failed:
        lines.append(f"{counted(summary.failed, 'file')} not written, as named above")
    if summary.report is not None:
        lines.append(f"report: {summary.report}")
    return "\n".join(lines)
