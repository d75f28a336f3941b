"""Evaluate folders of anonymised photos and write the report: what `styleid evaluate` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from styleid.errors import OptionError, require_paths
from styleid.evaluate.record import to_json
from styleid.evaluate.report import write_report
from styleid.evaluate.suite import EvaluateOptions, Evaluation, evaluate
from styleid.evaluate.survey import Watch


@dataclass(frozen=True)
class EvaluationReport:
    """An evaluation and the files that were written.

    evaluation: Verdicts and tables. record: Every figure, as in `evaluation.json`. pages: The files of the report.
    """

    evaluation: Evaluation
    record: Mapping[str, Any]
    pages: tuple[Path, ...]

    @property
    def exit_status(self) -> int:
        """0 if every file could be read and compared; 3 if some were unreadable or missing."""
        return self.evaluation.exit_status


def evaluate_folders(
    originals: Path, anonymized: Sequence[Path], options: EvaluateOptions, watch: Watch | None = None
) -> EvaluationReport:
    """Attack anonymised photos, measure what they are still good for, and write a report, as `styleid evaluate` does.

    Args:
        originals: Folder of the original photos.
        anonymized: Folders of the same photos, anonymised, one for each tool. They are named by the end of their path.
        options: Where the report is written, which attacks are made, and by which recognisers.
        watch: Called after each photo with the number of photos done, the number of all, and a line about the last.

    Returns:
        The evaluation and the files of the report. `exit_status` is that of the command.

    Raises:
        OptionError: Folders or options cannot work.
        BundleError: The bundle cannot be used.
        MissingDependencyError: A recogniser that was asked for is not installed.
        OutputError: The report cannot be written.

    Examples:
        >>> from pathlib import Path
        >>> from styleid import EvaluateOptions, evaluate_folders
        >>> options = EvaluateOptions(Path("report"), attacks="A1", recognisers="gate")
        >>> report = evaluate_folders(Path("photos"), [Path("anonymised")], options)
        >>> [page.name for page in report.pages][:2]
        ['evaluation.json', 'evaluation.html']
    """
    require_paths(originals=originals, anonymized=anonymized)
    evaluation = evaluate(originals, _names(anonymized, originals, options.out), options, watch)
    record = to_json(evaluation)
    return EvaluationReport(evaluation, record, tuple(write_report(evaluation, record, options.out)))


def _names(folders: Sequence[Path], originals: Path, out: Path) -> dict[str, Path]:
    """Return the folders by the shortest ends of their paths that differ."""
    names: dict[str, Path] = {}
    for folder in folders:
        resolved = folder.resolve()
        if resolved in (path.resolve() for path in names.values()):
            raise OptionError("anonymized", f"{folder} is given twice.")
        if out.resolve() in (resolved, originals.resolve()):
            raise OptionError("out", f"{out} contains photos that are evaluated. Name another folder for the report.")
        parts, length = resolved.parts, 1
        while (name := "/".join(parts[-length:])) in names and length < len(parts):
            length += 1
        names[name] = folder
    return names
