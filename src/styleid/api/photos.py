"""Anonymise photos: files and folders, or one photo in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from styleid.api.setup import assign
from styleid.bundles.registry import DEFAULT
from styleid.core.options import AnonymizeOptions, PeopleOptions
from styleid.datasets.copy_others import Other, OtherFileOptions, copy_other_files, find_others
from styleid.datasets.passthrough import has_ending, named_endings
from styleid.engine.decided_settings import adopt_run
from styleid.engine.decisions import read_decisions
from styleid.engine.decisions_export import with_seed
from styleid.engine.finding import find_faces
from styleid.engine.local import Boxes, RunOptions, process_files, read_boxes
from styleid.engine.moving import obscured_reasons, recorded
from styleid.engine.photo import anonymize_moving_part, encode_outcome, in_every_frame
from styleid.engine.report import write_report
from styleid.engine.shards import Shard
from styleid.engine.summary import Summary
from styleid.errors import ImageError, OptionError, require_paths
from styleid.media.image import read_photo_bytes
from styleid.media.signing import check_signing
from styleid.media.storage.remote import Place
from styleid.runtime import Device
from styleid.types import FloatArray, Outcome
from styleid.video.moving import anonymize_moving

Watch = Callable[[int, int, str], None]


def anonymize_files(
    inputs: Sequence[Place],
    run: RunOptions,
    options: AnonymizeOptions | None = None,
    people: PeopleOptions | None = None,
    *,
    bundle: str | Path = DEFAULT,
    device: Device = "cpu",
    boxes: Boxes | Path | None = None,
    decisions: Path | None = None,
    fixed: Collection[str] = (),
    export_decisions: Path | None = None,
    copy_others: bool = False,
    carry: Collection[str] = (),
    report: bool = False,
    watch: Watch | None = None,
) -> Summary:
    """Anonymise photos in files and folders, as `styleid anonymize` does.

    Folders are searched with their subfolders, and `run.out` mirrors them. The videos of motion photos and Live Photos
    are anonymised, too. An input that cannot be handled is named in the summary and in the journal, and not written;
    the run goes on.

    Args:
        inputs: Files, folders, URLs of either, or one list of files (`@LIST`).
        run: Where the run writes, and how. `anonymize_video` and `live_photos` are set by this function.
        options: How faces are anonymised.
        people: Who gets which face, and who is kept.
        bundle: Name of a built-in bundle, or a folder with a `bundle.json`.
        device: Where networks run: cpu, cuda, tensorrt or coreml.
        boxes: Further face boxes: (n, 4), x0 y0 x1 y1, in pixels of the upright photo, by the name of the photo
            relative to its input folder; or a JSON file of them.
        decisions: JSON file of what a person decided about the faces. Its seed and settings replace those of `run`,
            `options` and `people`.
        fixed: Names of the options whose values the decisions file must not contradict.
        export_decisions: Where to write a decisions file that lists all faces of the run.
        copy_others: Also copy the files in the folders that are no photos and are known to be harmless.
        carry: Endings, such as psd, of files that are copied byte for byte without a check.
        report: Also write `styleid-report.html`.
        watch: Called after each input with the number of inputs done, the number of all, and the name of the last.

    Returns:
        Counts and names of what was written, obscured and withheld. `exit_status` is that of the command.

    Raises:
        OptionError: Inputs or options cannot work. Nothing was written.
        BundleError: The bundle cannot be used.
        KeyFileError: The key of `people` cannot be used.
        PeopleFileError: The people file of the key cannot be used.
        ImageError: A photo of a person to keep cannot be used.
        OutputError: An output cannot be written. What was written before stays, and `run.resume` continues from there.

    Examples:
        >>> from pathlib import Path
        >>> from styleid import AnonymizeOptions, RunOptions, anonymize_files
        >>> summary = anonymize_files([Path("photos")], RunOptions(Path("anonymised")), AnonymizeOptions(seed=7))
        >>> summary.written, dict(summary.faces)
        (1, {'anonymised': 4})
    """
    _require_list(inputs)
    options, people = options or AnonymizeOptions(), people or PeopleOptions()
    read = read_decisions(decisions) if decisions is not None else None
    if read is not None:
        options, run, people = adopt_run(read, options, run, people, fixed)
    if export_decisions is not None:
        options = with_seed(options)
    run = replace(run, anonymize_video=anonymize_moving, live_photos=True)
    assignment = assign(options, people, bundle, device)
    own = read_boxes(boxes) if isinstance(boxes, Path) else boxes
    how_others, part = OtherFileOptions(copy_others, named_endings(carry)), Shard.parse(run.shard)
    _require_here(inputs, run.out, how_others)
    others = find_others(inputs, run.out, how_others, part)
    summary = process_files(inputs, assignment.anonymizer, run, own, watch, assignment, read, export_decisions)
    others = [one for one in others if not _is_partner(one, summary, how_others)]
    summary.unread = copy_other_files(others, run.out, summary, how_others, part)
    summary.report = write_report(run.out, summary) if report else None
    return summary


def _require_list(inputs: Sequence[Place]) -> None:
    if isinstance(inputs, (str, Path)):
        raise OptionError("inputs", f"a list is needed, also for one folder: [pathlib.Path({str(inputs)!r})].")
    for one in inputs:
        require_paths(inputs=one)


def _is_partner(file: Other, summary: Summary, how: OtherFileOptions) -> bool:
    """Return whether a file is the video of a Live Photo, which the journal reports with its photo."""
    written = summary.partners.get(file.name)
    return written is not None and (written or not has_ending(file.name, how.carry))


def _require_here(inputs: Sequence[Place], out: Place, options: OtherFileOptions) -> None:
    here = all(isinstance(one, Path) for one in (*inputs, out))
    if not here and (options.copy or options.carry):
        raise OptionError("copy_others", "files are copied between folders of this machine only, not from or to URLs.")


@dataclass(frozen=True)
class AnonymizedFile:
    """One photo, anonymised in memory.

    data: The new file. outcome: Its faces. notes: What a user should know. left_out: Why its video was left out, ""
    where it was not. obscured: Why faces were obscured although the method draws new ones, one reason each.
    """

    data: bytes = field(repr=False)
    outcome: Outcome
    notes: tuple[str, ...] = ()
    left_out: str = ""
    obscured: tuple[str, ...] = ()


def anonymize_bytes(
    data: bytes,
    options: AnonymizeOptions | None = None,
    people: PeopleOptions | None = None,
    *,
    run: RunOptions | None = None,
    bundle: str | Path = DEFAULT,
    device: Device = "cpu",
    boxes: FloatArray | None = None,
    name: str = "-",
) -> AnonymizedFile:
    """Anonymise the bytes of one photo, as `styleid anonymize - --out -` does.

    Args:
        data: A photo file of any format that is read.
        options: How faces are anonymised.
        people: Who gets which face, and who is kept. Groups of k cannot be made from one photo.
        run: How the file is written: `metadata`, `marking`, `require_faces` and `max_pixels` count.
        bundle: Name of a built-in bundle, or a folder with a `bundle.json`.
        device: Where networks run: cpu, cuda, tensorrt or coreml.
        boxes: Further face boxes, (n, 4), x0 y0 x1 y1, in pixels of the upright photo.
        name: Name of the photo, on which a seed's targets depend.

    Returns:
        The new file, in the format of the old one, and what was done.

    Raises:
        ImageError: The photo cannot be handled; nothing of it may be passed on.
        OptionError: The options cannot work.
        BundleError: The bundle cannot be used.
        KeyFileError: The key of `people` cannot be used.
        PeopleFileError: The people file of the key cannot be used.

    Examples:
        >>> from pathlib import Path
        >>> from styleid import AnonymizeOptions, anonymize_bytes
        >>> photo = anonymize_bytes(Path("photos/group.jpg").read_bytes(), AnonymizeOptions(method="none"))
        >>> Path("obscured.jpg").write_bytes(photo.data) > 0
        True
        >>> [str(face.action) for face in photo.outcome.faces]
        ['obscured', 'obscured', 'obscured', 'obscured']
    """
    options, people = options or AnonymizeOptions(), people or PeopleOptions()
    if people.k is not None:
        raise OptionError("targets", "one photo cannot be grouped with others.")
    run = replace(run or RunOptions(Path("-")), anonymize_video=anonymize_moving)
    anonymizer = assign(options, people, bundle, device).anonymizer
    check_signing(run.marking)
    photo = read_photo_bytes(data, name, max_pixels=run.max_pixels)
    given = None if boxes is None else in_every_frame(boxes, photo)
    found = find_faces(photo, anonymizer, given)
    own, targets = recorded(anonymizer)
    photo, outcome = found.photo, found.anonymized(own, name, given)
    if run.require_faces and not outcome.faces:
        raise ImageError(name, "no face was found, and `require_faces` is set")
    photo, moved = anonymize_moving_part(photo, name, anonymizer, targets.taken(), run)
    encoded = encode_outcome(photo, outcome, run, generated=moved is not None and moved.is_generated_inside)
    record = {} if moved is None else {"moving": moved.record}
    reasons = [face.reason for face in outcome.faces if face.reason] + obscured_reasons(record)
    left_out = str(record.get("moving", {}).get("left_out", ""))
    return AnonymizedFile(encoded.data, outcome, tuple(encoded.notes), left_out, tuple(reasons))
