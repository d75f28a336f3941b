"""styleid evaluate: judge what any tool made of a folder of photos."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from styleid.commands.progress import progress
from styleid.engine.journal import to_json_line
from styleid.errors import OptionError
from styleid.evaluate.record import to_json
from styleid.evaluate.report import write_report
from styleid.evaluate.suite import EvaluateOptions, Evaluation, evaluate
from styleid.evaluate.utility import SCORE
from styleid.evaluate.verdict import Verdict

_SHOWN = 20


@dataclass(frozen=True)
class EvaluateCommandOptions:
    """Choose what the command says.

    json: print the whole report as one line of JSON on standard output instead of the readable verdict.
    quiet: show no progress bar.
    """

    json: bool = False
    quiet: bool = False


def evaluate_folders(
    originals: Path, folders: Sequence[Path], options: EvaluateOptions, command: EvaluateCommandOptions
) -> int:
    """Judge one or more anonymised folders against their originals, write the report; return the exit status."""
    with progress(command.quiet or command.json) as watch:
        evaluation = evaluate(originals, _names(folders, originals, options.out), options, watch)
    record = to_json(evaluation)
    pages = write_report(evaluation, record, options.out)
    _name_failures(evaluation)
    print(to_json_line(record) if command.json else _readable(evaluation, pages))
    return evaluation.exit_status


def _names(folders: Sequence[Path], originals: Path, out: Path) -> dict[str, Path]:
    """Return the folders by the shortest names that tell them apart."""
    names: dict[str, Path] = {}
    for folder in folders:
        resolved = folder.resolve()
        if resolved in (path.resolve() for path in names.values()):
            raise OptionError("--compare", f"{folder} is given twice.")
        if out.resolve() in (resolved, originals.resolve()):
            raise OptionError("--out", f"{out} holds photos to be judged; name another folder for the report.")
        parts, length = resolved.parts, 1
        while (name := "/".join(parts[-length:])) in names and length < len(parts):
            length += 1
        names[name] = folder
    return names


def _name_failures(evaluation: Evaluation) -> None:
    failures = [(seen.original.name, seen.error) for seen in evaluation.table.seen if seen.error]
    for verdict in evaluation.judged:
        failures += [
            (f"{verdict.table.name}: {result.name}", f"{result.status}{': ' + result.error if result.error else ''}")
            for result in verdict.table.results
            if result.status != "measured" and result.name not in dict(failures)
        ]
    for name, why in failures[:_SHOWN]:
        print(f"styleid: {name}: {why}", file=sys.stderr)
    if (more := len(failures) - _SHOWN) > 0:
        print(f"styleid: ... and {more} more files; the report names them all", file=sys.stderr)


def _readable(evaluation: Evaluation, pages: Sequence[Path]) -> str:
    table = evaluation.table
    lines = [f"{len(table.seen)} originals, {len(table.subjects)} faces"]
    if (floor := evaluation.exposed_floor) is not None:
        lines.append(f"with every face filled, {floor.value:.3f} of them are recognised by their surroundings alone")
    for verdict in evaluation.verdicts:
        lines += _summary(verdict)
    lines += [f"not measured: {why}" for why in evaluation.not_measured]
    lines.append("report: " + ", ".join(str(page) for page in pages))
    return "\n".join(lines)


def _summary(verdict: Verdict) -> list[str]:
    lines = [f"{verdict.table.name}{' (baseline)' if verdict.table.is_baseline else ''}"]
    if (found := verdict.strongest) is not None:
        one, floor = found.estimate, found.floor
        beside = "" if floor is None else f", with the face filled {floor.value:.3f}"
        lines.append(
            f"  strongest attack: {found.attack} {found.name}, {found.recogniser}: finds {one.value:.3f} "
            f"({one.low:.3f} to {one.high:.3f}) of {one.count}; chance {found.chance:.3f}{beside}"
        )
    if (exposed := verdict.exposed) is not None:
        share = f"{exposed.value:.3f} ({exposed.low:.3f} to {exposed.high:.3f})"
        lines.append(f"  faces exposed end to end: {share} of {exposed.count}")
    sides = [result.side for result in verdict.table.results if result.side is not None]
    if sides:
        lines.append(f"  files that tell more than their picture: {sum(s.tells for s in sides)} of {len(sides)}")
    if (score := verdict.kept.get(SCORE)) is not None:
        lines.append(f"  {SCORE}: {score.value:.3f} ({score.low:.3f} to {score.high:.3f})")
    return lines
