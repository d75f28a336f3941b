"""styleid dataset: replace the faces in data sets and tar shards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from styleid.api.datasets import FormatName, anonymize_dataset, anonymize_shards
from styleid.bundles.registry import DEFAULT
from styleid.commands.messages import counted, warn, warn_of_each, with_flags
from styleid.commands.progress import progress
from styleid.core.options import AnonymizeOptions
from styleid.datasets.options import AnnotationOptions, CocoOptions, ShardOptions
from styleid.datasets.passthrough import list_unread
from styleid.datasets.run import DatasetSummary
from styleid.engine.journal import to_json_line
from styleid.engine.local import RunOptions
from styleid.media.storage.remote import Place
from styleid.runtime import Device
from styleid.types import Action

_FORMATS: dict[FormatName, str] = {"coco": "COCO", "yolo": "YOLO", "voc": "Pascal VOC"}


@dataclass(frozen=True)
class DatasetCommandOptions:
    """Choose what the command uses and prints.

    bundle: name of a built-in bundle, or a folder with a bundle.json.
    device: where networks run: cpu, cuda, tensorrt or coreml.
    json: print a summary as one line of JSON on standard output.
    quiet: show no progress bar.
    """

    bundle: str = DEFAULT
    device: Device = "cpu"
    json: bool = False
    quiet: bool = False


def dataset(
    source: Path,
    form: FormatName,
    how: AnonymizeOptions,
    run: RunOptions,
    annotations: AnnotationOptions,
    command: DatasetCommandOptions,
    coco: CocoOptions | None = None,
) -> int:
    """Anonymise a data set in a folder; print what was done and return the exit status."""
    with progress(command.quiet or command.json) as watch:
        summary = anonymize_dataset(
            source,
            form,
            run,
            how,
            annotations=annotations,
            coco=coco,
            bundle=command.bundle,
            device=command.device,
            watch=watch,
        )
    if not summary.carried + summary.changed + summary.dropped:
        warn(f"{source}: note: no {_FORMATS[form]} annotations were found. Are they in another format?")
    return _print(summary, run.out, command)


def shards(
    source: Place, how: AnonymizeOptions, run: RunOptions, options: ShardOptions, command: DatasetCommandOptions
) -> int:
    """Anonymise tar shards; print what was done and return the exit status."""
    with progress(command.quiet or command.json) as watch:
        summary = anonymize_shards(
            source, run, how, shards=options, bundle=command.bundle, device=command.device, watch=watch
        )
    return _print(summary, run.out, command)


def _print(summary: DatasetSummary, out: Place, command: DatasetCommandOptions) -> int:
    _list("not written", summary.photos.failures)
    _list("a face was obscured", summary.photos.fallbacks)
    _list("its moving part was left out", summary.photos.left_out)
    _list("note", summary.notes)
    if unread := list_unread(summary.unread):
        warn(unread)
    print(to_json_line(summary.to_json()) if command.json else _readable(summary, out))
    return summary.exit_status


def _list(what: str, named: list[tuple[str, str]]) -> None:
    lines = [f"{name}: {what}: {with_flags(reason)}" for name, reason in named]
    warn_of_each(lines, f" ({what}); the journal names them all")


def _readable(summary: DatasetSummary, out: Place) -> str:
    photos = summary.photos
    parts = [f"{photos.faces[action]} {action}" for action in Action if photos.faces[action]]
    lines = [
        f"{photos.written} of {counted(photos.inputs, 'photo')} written to {out}"
        + (f" ({photos.resumed} of them earlier)" if photos.resumed else ""),
        f"faces: {', '.join(parts) or 'none found'}"
        + (f"; {counted(photos.without_faces, 'photo')} without a face" if photos.without_faces else ""),
        f"annotations and label maps: {summary.carried} copied byte for byte, {summary.changed} changed, "
        f"{summary.dropped} left out",
        f"{photos.seconds:.1f} s",
    ]
    if summary.left:
        other = counted(summary.left, "other file")
        lines.append(f"{other}, neither photo nor annotation, not copied (--copy-others copies harmless text)")
    if photos.failed:
        lines.append(f"{counted(photos.failed, 'file')} not written, as named above")
    if summary.kept_entries:
        lines.append("annotations keep their entries of photos that were not written (--drop-withheld removes them)")
    return "\n".join(lines)
