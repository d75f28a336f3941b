"""styleid evaluate: attack anonymised photos, and measure what they are still good for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from styleid.commands.messages import counted, warn_of_each, with_flags
from styleid.commands.progress import progress
from styleid.engine.journal import to_json_line
from styleid.evaluate.folders import evaluate_folders
from styleid.evaluate.suite import EvaluateOptions, Evaluation
from styleid.evaluate.utility import SCORE
from styleid.evaluate.verdict import Verdict


@dataclass(frozen=True)
class EvaluateCommandOptions:
    """Choose what the command prints.

    json: print the whole report as one line of JSON on standard output.
    quiet: show no progress bar.
    """

    json: bool = False
    quiet: bool = False


def evaluate(
    originals: Path, folders: Sequence[Path], options: EvaluateOptions, command: EvaluateCommandOptions
) -> int:
    """Evaluate anonymised folders and write the report; print the verdicts and return the exit status."""
    with progress(command.quiet or command.json) as watch:
        report = evaluate_folders(originals, folders, options, watch)
    _warn_of_failures(report.evaluation)
    print(to_json_line(report.record) if command.json else _readable(report.evaluation, report.pages))
    return report.exit_status


def _warn_of_failures(evaluation: Evaluation) -> None:
    failures = [(seen.original.name, seen.error) for seen in evaluation.table.seen if seen.error]
    for verdict in evaluation.judged:
        failures += [
            (f"{verdict.table.name}: {result.name}", f"{result.status}{': ' + result.error if result.error else ''}")
            for result in verdict.table.results
            if result.status != "measured" and result.name not in dict(failures)
        ]
    lines = [f"{name}: {with_flags(why)}" for name, why in failures]
    warn_of_each(lines, " files; the report names them all")


def _readable(evaluation: Evaluation, pages: Sequence[Path]) -> str:
    table = evaluation.table
    lines = [f"{counted(len(table.seen), 'original')}, {counted(len(table.subjects), 'face')}", *_people(evaluation)]
    if (floor := evaluation.exposed_floor) is not None:
        lines.append(f"with every face filled, {floor.value:.3f} of them are still recognised, by their surroundings")
    for verdict in evaluation.verdicts:
        lines += _summary(verdict)
    lines += [f"not measured: {with_flags(why)}" for why in evaluation.not_measured]
    lines.append("report: " + ", ".join(str(page) for page in pages))
    return "\n".join(lines)


def _people(evaluation: Evaluation) -> list[str]:
    """Return a warning that folders were taken for people, which is wrong for folders such as `holiday`."""
    people = {subject.person for subject in evaluation.table.subjects if subject.person}
    if evaluation.options.identities != "folders" or not people:
        return []
    each = f"{counted(len(people), 'folder')} of photos, each taken for one person"
    return [f"{each}. If that is wrong, give --identities none, or a CSV file of people"]


def _summary(verdict: Verdict) -> list[str]:
    lines = [f"{verdict.table.name}{' (baseline)' if verdict.table.is_baseline else ''}"]
    if (found := verdict.strongest) is not None:
        one, floor = found.estimate, found.floor
        beside = "" if floor is None else f", with the face filled {floor.value:.3f}"
        lines.append(
            f"  strongest attack: {found.attack} {found.name}, {found.recogniser}: recognises {one.value:.3f} "
            f"({one.low:.3f} to {one.high:.3f}) of {one.count}; chance {found.chance:.3f}{beside}"
        )
    if (exposed := verdict.exposed) is not None:
        share = f"{exposed.value:.3f} ({exposed.low:.3f} to {exposed.high:.3f})"
        lines.append(f"  exposed faces: {share} of {exposed.count}")
    sides = [result.side for result in verdict.table.results if result.side is not None]
    if sides:
        lines.append(f"  files that reveal more than the picture: {sum(s.may_identify for s in sides)} of {len(sides)}")
    if (score := verdict.kept.get(SCORE)) is not None:
        lines.append(f"  {SCORE}: {score.value:.3f} ({score.low:.3f} to {score.high:.3f})")
    return lines
