"""styleid dataset: data sets in, the same out without the people."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from styleid.bundles.registry import DEFAULT
from styleid.commands.progress import Watch, progress
from styleid.core.options import AnonymizeOptions
from styleid.core.pipeline import Anonymizer
from styleid.datasets.formats.coco.layout import Coco
from styleid.datasets.formats.voc.layout import Voc
from styleid.datasets.formats.yolo.layout import Yolo
from styleid.datasets.options import AnnotationOptions, CocoOptions, ShardOptions
from styleid.datasets.passthrough import list_unread
from styleid.datasets.plan import Format
from styleid.datasets.run import DatasetSummary, anonymize_dataset
from styleid.datasets.shards import anonymize_shards
from styleid.engine.journal import to_json_line
from styleid.engine.local import RunOptions
from styleid.media.storage.remote import Place
from styleid.runtime import Device
from styleid.types import Action
from styleid.video.moving import anonymize_moving

_SHOWN = 20


@dataclass(frozen=True)
class DatasetCommandOptions:
    """Choose what the command uses and says.

    bundle: a built-in bundle's name, or a folder with a bundle.json.
    device: where networks run: cpu, cuda or openvino.
    json: print a one-line JSON summary on standard output instead of the readable one.
    quiet: show no progress bar.
    """

    bundle: str = DEFAULT
    device: Device = "cpu"
    json: bool = False
    quiet: bool = False


def make_format(name: str, coco: CocoOptions) -> Format:
    """Return the format of data sets in a folder: coco, yolo or voc."""
    formats: dict[str, Callable[[], Format]] = {"coco": lambda: Coco(coco), "yolo": Yolo, "voc": Voc}
    return formats[name]()


def dataset(
    source: Path,
    form: Format,
    how: AnonymizeOptions,
    run: RunOptions,
    options: AnnotationOptions,
    command: DatasetCommandOptions,
) -> int:
    """Anonymise a data set in a folder; return the exit status."""
    run = replace(run, anonymize_video=anonymize_moving)
    anonymizer = Anonymizer.from_bundle(command.bundle, how, command.device)
    return _told(lambda watch: anonymize_dataset(source, form, anonymizer, run, options, watch), run.folder, command)


def shards(
    source: Place, how: AnonymizeOptions, run: RunOptions, options: ShardOptions, command: DatasetCommandOptions
) -> int:
    """Anonymise tar shards; return the exit status."""
    run = replace(run, anonymize_video=anonymize_moving)
    anonymizer = Anonymizer.from_bundle(command.bundle, how, command.device)
    return _told(lambda watch: anonymize_shards(source, anonymizer, run, options, watch), run.out, command)


def _told(work: Callable[[Watch | None], DatasetSummary], out: Place, command: DatasetCommandOptions) -> int:
    with progress(command.quiet or command.json) as watch:
        summary = work(watch)
    _list("not written", summary.photos.failures)
    _list("a face was obscured", summary.photos.fallbacks)
    _list("its moving part was left out", summary.photos.left_out)
    _list("note", summary.notes)
    if unread := list_unread(summary.unread):
        print(f"styleid: {unread}", file=sys.stderr)
    print(to_json_line(summary.to_json()) if command.json else _readable(summary, out))
    return summary.exit_status


def _list(what: str, named: list[tuple[str, str]]) -> None:
    for name, reason in named[:_SHOWN]:
        print(f"styleid: {name}: {what}: {reason}", file=sys.stderr)
    if (more := len(named) - _SHOWN) > 0:
        print(f"styleid: ... and {more} more ({what}); the journal names them all", file=sys.stderr)


def _readable(summary: DatasetSummary, out: Place) -> str:
    photos: Any = summary.photos
    parts = [f"{photos.faces[action]} {action}" for action in Action if photos.faces[action]]
    lines = [
        f"{photos.written} of {photos.inputs} photos written to {out}"
        + (f" ({photos.resumed} of them earlier)" if photos.resumed else ""),
        f"faces: {', '.join(parts) or 'none found'}"
        + (f"; {photos.without_faces} photos without a face" if photos.without_faces else ""),
        f"annotations and label maps: {summary.carried} carried byte for byte, {summary.changed} changed, "
        f"{summary.dropped} left out",
        f"{photos.seconds:.1f} s",
    ]
    if summary.left:
        lines.append(f"{summary.left} files are neither photos nor annotations and were not copied (--copy-others)")
    if photos.failures:
        lines.append(f"{len(photos.failures)} things could not be handled and are missing; each is named above")
    if summary.kept_entries:
        lines.append("entries of photos that are missing stay in the annotations (--drop-withheld takes them out)")
    return "\n".join(lines)
