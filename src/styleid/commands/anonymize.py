"""styleid anonymize: photos and folders in, the same without the people."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from styleid.bundles.registry import DEFAULT
from styleid.commands.progress import progress
from styleid.core.options import AnonymizeOptions, PeopleOptions
from styleid.core.pipeline import Anonymizer
from styleid.datasets.copy_others import Other, OtherOptions, find_others, treat_others
from styleid.datasets.passthrough import has_ending, list_unread, named_endings
from styleid.engine.assignment import Assignment
from styleid.engine.decided_settings import adopt_run
from styleid.engine.decisions import read_decisions
from styleid.engine.decisions_export import with_seed
from styleid.engine.finding import find_faces
from styleid.engine.journal import to_json_line
from styleid.engine.local import Boxes, RunOptions, Summary, anonymize_files, read_boxes
from styleid.engine.moving import obscured_reasons, recorded
from styleid.engine.photo import encode_outcome, in_every_frame, move
from styleid.engine.report import write_report
from styleid.engine.shards import Shard
from styleid.errors import ImageError, OptionError
from styleid.media.image import read_photo_bytes
from styleid.media.signing import check_signing
from styleid.media.storage.remote import Place
from styleid.runtime import Device
from styleid.types import Action
from styleid.video.moving import anonymize_moving

_SHOWN = 20
_STILL = "its moving part was left out"
STDIN = Path("-")


@dataclass(frozen=True)
class CommandOptions:
    """Choose what the command uses and says.

    bundle: a built-in bundle's name, or a folder with a bundle.json.
    device: where networks run: cpu, cuda or openvino.
    boxes: JSON file of further face boxes, {"name.jpg": [[x0, y0, x1, y1], ...]} in pixels of the upright photo.
    copy_others: also copy the files in the folders that are no photos and are known to be harmless: text without a
        picture in it, which may still name people.
    carry: endings, such as jxl mp4, of files in the folders that are copied byte for byte; what they show is not looked
        at.
    decisions: JSON file of what a person decided about the faces: keep, hide, another face, boxes to add or to leave
        alone (docs/decisions.md); it brings its seed and settings.
    export_decisions: where to write such a file about all faces of this run, for a person to edit.
    report: also write styleid-report.html, a page of results without originals.
    json: print a one-line JSON summary on standard output instead of the readable one.
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
    """Anonymise files and folders; return the exit status.

    typed: names of the options that the user has given, which may not contradict a decisions file.
    """
    people = people or PeopleOptions()
    decisions = read_decisions(command.decisions) if command.decisions else None
    if decisions is not None:
        how, run, people = adopt_run(decisions, how, run, people, typed)
    if command.export_decisions is not None:
        how = with_seed(how)
    run = replace(run, anonymize_video=anonymize_moving, live_photos=True)
    anonymizer = Anonymizer.from_bundle(command.bundle, how, command.device)
    assignment = Assignment(anonymizer, people, command.bundle)
    anonymizer = assignment.anonymizer
    boxes = read_boxes(command.boxes) if command.boxes else None
    if STDIN in (*inputs, run.out):
        if assignment.groups:
            raise OptionError("--targets", "one photo from standard input cannot be grouped with others.")
        if decisions is not None or command.export_decisions is not None:
            raise OptionError("--decisions", "one photo from standard input has no name that decisions could be about. "
                              "Name its file.")  # fmt: skip
        return _pipe(inputs, anonymizer, run, boxes)
    how_others, part = OtherOptions(command.copy_others, named_endings(command.carry)), Shard.parse(run.shard)
    _require_here(inputs, run.out, how_others)
    others = find_others(inputs, run.out, how_others, part)
    with progress(command.quiet or command.json) as watch:
        summary = anonymize_files(
            inputs, anonymizer, run, boxes, watch, assignment, decisions, command.export_decisions
        )
    others = [one for one in others if not _is_partner(one, summary, how_others)]
    unread = list_unread(treat_others(others, run.out, summary, how_others, part))
    page = write_report(run.out, summary) if command.report else None
    for name, reason in summary.failures:
        print(f"styleid: {name}: {reason} (not written)", file=sys.stderr)
    if (more := summary.failed - len(summary.failures)) > 0:
        print(f"styleid: ... and {more} more inputs that were not written; the journal names them all", file=sys.stderr)
    for name, reason in summary.fallbacks[:_SHOWN]:
        print(f"styleid: {name}: a face was obscured: {reason}", file=sys.stderr)
    if (more := summary.fell_back - _SHOWN) > 0:
        print(f"styleid: ... and {more} more faces; the journal names them all", file=sys.stderr)
    say_what_does_not_move(summary)
    if unread:
        print(f"styleid: {unread}", file=sys.stderr)
    if command.json:
        print(to_json_line(summary.to_json()))
    else:
        print(_readable(summary, run.out, page))
    return summary.exit_status


def say_what_does_not_move(summary: Summary) -> None:
    """Name on standard error the photos whose moving part was left out."""
    for name, reason in summary.left_out[:_SHOWN]:
        print(f"styleid: {name}: {_STILL}: {reason}", file=sys.stderr)
    if (more := summary.unmoving - _SHOWN) > 0:
        print(f"styleid: ... and {more} more moving parts; the journal names them all", file=sys.stderr)


def _is_partner(file: Other, summary: Summary, how: OtherOptions) -> bool:
    """Say whether a file is the video of a Live Photo, of which the photo's line in the journal tells."""
    written = summary.partners.get(file.name)
    return written is not None and (written or not has_ending(file.name, how.carry))


def _require_here(inputs: Sequence[Place], out: Place, options: OtherOptions) -> None:
    """Raise OptionError where files are to be copied from or to URLs."""
    here = all(isinstance(one, Path) for one in (*inputs, out))
    if not here and (options.copy or options.carry):
        raise OptionError("--copy-others", "files are copied between folders of this machine only, not from or to "
                          "URLs.")  # fmt: skip


def _pipe(inputs: Sequence[Place], anonymizer: Anonymizer, run: RunOptions, boxes: Boxes | None) -> int:
    """Read one photo from standard input and write it to standard output."""
    if list(inputs) != [STDIN] or run.out != STDIN:
        raise OptionError("INPUT", "'-' reads one photo from standard input and goes with --out - alone.")
    if boxes and set(boxes) != {"-"}:
        raise OptionError("--boxes", "the photo from standard input is named '-'.")
    check_signing(run.marking)
    try:
        photo = read_photo_bytes(sys.stdin.buffer.read(), "standard input")
        given = in_every_frame(boxes["-"], photo) if boxes else None
        found = find_faces(photo, anonymizer, given)
        own, targets = recorded(anonymizer)
        photo, outcome = found.photo, found.anonymized(own, "-", given)
        if run.require_faces and not outcome.faces:
            raise ImageError("standard input", "no face was found, and --require-faces asks for one")
        photo, moved = move(photo, "-", anonymizer, targets.taken(), run)
        encoded = encode_outcome(photo, outcome, run, generated=moved is not None and moved.is_generated_inside)
    except ImageError as error:
        print(f"styleid: {error} (not written)", file=sys.stderr)
        return 3
    for note in encoded.notes:
        print(f"styleid: standard input: {note}", file=sys.stderr)
    record = {} if moved is None else {"moving": moved.record}
    if "left_out" in record.get("moving", {}):
        print(f"styleid: standard input: {_STILL}: {record['moving']['left_out']}", file=sys.stderr)
    sys.stdout.buffer.write(encoded.data)
    sys.stdout.buffer.flush()
    fallbacks = [face.reason for face in outcome.faces if face.reason] + obscured_reasons(record)
    for reason in fallbacks:
        print(f"styleid: standard input: a face was obscured: {reason}", file=sys.stderr)
    return 3 if fallbacks else 0


def _readable(summary: Summary, out: Place, page: Place | None) -> str:
    faces = summary.faces
    parts = [f"{faces[action]} {action}" for action in Action if faces[action]]
    rate = summary.written / summary.seconds if summary.seconds else float(np.inf)
    lines = [
        f"{summary.written} of {summary.inputs} files written to {out}"
        + (f" ({summary.resumed} of them earlier)" if summary.resumed else ""),
        f"faces: {', '.join(parts) or 'none found'}"
        + (f"; {summary.without_faces} files without a face" if summary.without_faces else ""),
        f"{summary.seconds:.1f} s, {rate:.1f} files a second",
    ]
    if summary.failed:
        lines.append(f"{summary.failed} files could not be handled and were not copied; each is named above")
    if page is not None:
        lines.append(f"report: {page}")
    return "\n".join(lines)
