"""Anonymise the photos of data sets and of tar shards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from styleid.bundles.registry import DEFAULT
from styleid.core.options import AnonymizeOptions
from styleid.core.pipeline import Anonymizer
from styleid.datasets.formats.coco.layout import Coco
from styleid.datasets.formats.voc.layout import Voc
from styleid.datasets.formats.yolo.layout import Yolo
from styleid.datasets.options import AnnotationOptions, CocoOptions, ShardOptions
from styleid.datasets.plan import Format
from styleid.datasets.run import DatasetSummary, process_dataset
from styleid.datasets.shards import process_shards
from styleid.engine.options import RunOptions
from styleid.errors import OptionError, require_paths
from styleid.media.storage.remote import Place
from styleid.runtime import Device
from styleid.video.moving import anonymize_moving

Watch = Callable[[int, int, str], None]
FormatName = Literal["coco", "yolo", "voc"]


def anonymize_dataset(
    source: Path,
    form: FormatName,
    run: RunOptions,
    options: AnonymizeOptions | None = None,
    *,
    annotations: AnnotationOptions | None = None,
    coco: CocoOptions | None = None,
    bundle: str | Path = DEFAULT,
    device: Device = "cpu",
    watch: Watch | None = None,
) -> DatasetSummary:
    """Anonymise a data set in a folder, as `styleid dataset` does, and carry its annotations through.

    Photos keep their names and sizes. Annotations and label maps are copied byte for byte, unless `annotations` asks
    for a change. Files that are neither are left out, unless `annotations` asks for them.

    Args:
        source: The data set's folder.
        form: Format of the annotations: coco, yolo or voc.
        run: Where the new data set is written, and how. `run.out` must be a folder of this machine, empty or of an
            earlier run.
        options: How faces are anonymised.
        annotations: What annotations are used for, and how they change.
        coco: Where a COCO data set keeps its annotations and photos.
        bundle: Name of a built-in bundle, or a folder with a `bundle.json`.
        device: Where networks run: cpu, cuda, tensorrt or coreml.
        watch: Called after each photo with the number of photos done, the number of all, and the name of the last.

    Returns:
        Counts and names of what was written, changed and withheld. `exit_status` is that of the command.

    Raises:
        DatasetError: The data set cannot be read.
        OptionError: The options do not fit the data set, or `run.out` holds other files.
        BundleError: The bundle cannot be used.
        OutputError: An output cannot be written. `run.resume` continues from there.

    Examples:
        >>> from pathlib import Path
        >>> from styleid import AnonymizeOptions, RunOptions, anonymize_dataset
        >>> run = RunOptions(Path("coco-anonymised"))
        >>> summary = anonymize_dataset(Path("coco"), "coco", run, AnonymizeOptions(seed=7))
        >>> summary.photos.written, summary.carried
        (1, 1)
    """
    require_paths(source=source)
    forms: dict[str, Callable[[], Format]] = {"coco": lambda: Coco(coco or CocoOptions()), "yolo": Yolo, "voc": Voc}
    if form not in forms:
        raise OptionError("form", f"'{form}' is unknown; choose one of {', '.join(forms)}.")
    anonymizer = Anonymizer.from_bundle(str(bundle), options, device)
    run = replace(run, anonymize_video=anonymize_moving)
    return process_dataset(source, forms[form](), anonymizer, run, annotations or AnnotationOptions(), watch)


def anonymize_shards(
    source: Place,
    run: RunOptions,
    options: AnonymizeOptions | None = None,
    *,
    shards: ShardOptions | None = None,
    bundle: str | Path = DEFAULT,
    device: Device = "cpu",
    watch: Watch | None = None,
) -> DatasetSummary:
    """Anonymise the photos in WebDataset's tar shards, as `styleid dataset shards` does.

    Args:
        source: A folder of shards, one shard, or the URL of either.
        run: Where the new shards are written, and how.
        options: How faces are anonymised.
        shards: What happens to the members that are no photos.
        bundle: Name of a built-in bundle, or a folder with a `bundle.json`.
        device: Where networks run: cpu, cuda, tensorrt or coreml.
        watch: Called after each shard with the number of shards done, the number of all, and the name of the last.

    Returns:
        Counts and names of what was written and withheld. `exit_status` is that of the command.

    Raises:
        DatasetError: The folder cannot be read.
        OptionError: The options do not fit the shards, or `run.out` holds other files.
        BundleError: The bundle cannot be used.
        OutputError: An output cannot be written. `run.resume` continues with the first shard that is not finished.

    Examples:
        >>> from pathlib import Path
        >>> from styleid import AnonymizeOptions, RunOptions, anonymize_shards
        >>> summary = anonymize_shards(Path("shards"), RunOptions(Path("new-shards")), AnonymizeOptions(seed=7))
        >>> summary.photos.written
        1
    """
    anonymizer = Anonymizer.from_bundle(str(bundle), options, device)
    run = replace(run, anonymize_video=anonymize_moving)
    return process_shards(source, anonymizer, run, shards or ShardOptions(), watch)
