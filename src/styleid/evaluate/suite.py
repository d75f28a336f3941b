"""Evaluate folders of anonymised photos: analyse originals and outputs, run the attacks, measure the utility."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from styleid.bundles.registry import DEFAULT
from styleid.errors import OptionError, require_paths
from styleid.evaluate.baselines import PASTED, patches_for, read_names
from styleid.evaluate.battery import Battery, Case, Measured, Thresholds, figures
from styleid.evaluate.end_to_end import fates, recognised_by_any, recognised_when_filled
from styleid.evaluate.instruments import Context, Setup
from styleid.evaluate.outputs import ALIGNMENTS, OutputTask, Status
from styleid.evaluate.protocol import pair_outputs, read_originals
from styleid.evaluate.realism import realism
from styleid.evaluate.reversal import reversal
from styleid.evaluate.statistics import Estimate, Sums, estimate
from styleid.evaluate.survey import Surveyor, Watch
from styleid.evaluate.table import FaceTable, ToolTable
from styleid.evaluate.utility import utility
from styleid.evaluate.verdict import Verdict
from styleid.runtime import cpu_threads

ATTACKS = ("A0", "A0s", "A1", "A2", "A3", "A4", "A5", "A6", "A7")


@dataclass(frozen=True)
class EvaluateOptions:
    """Choose how the outputs of tools are evaluated.

    out: folder for the report (JSON, Parquet, HTML).
    identities: who is shown: folders (each folder of photos is one person), none, or a CSV file with the columns file
        and person, and x0, y0, x1, y1 if a photo shows several people.
    attacks: attacks to run, of A0, A0s, A1, A2, A3, A4, A5, A6, A7, separated by commas.
    recognisers: recognisers that attack, separated by commas: gate (the identity network of the bundle), dlib, sface,
        insightface, uniface, or .onnx files with a card beside them. auto takes all that are installed.
    context: what a recogniser sees: tight (the face alone), crop (the crop it was trained on), or photo (the crop and
        a small picture of the whole photo).
    baselines: baselines to compare with, separated by commas: none, solid, pixelate8, pixelate16, blur5, blur15,
        blur30, eye-bar, ksame-pixel, ksame-eigen, swap, or all.
    bundle: bundle whose parser and attribute network measure the utility.
    seeds: how many galleries are drawn and how many times attackers are trained, 1 or more.
    workers: number of processes; 0 means one for each core.
    cache: file that stores embeddings between runs. They are biometric data. Without it, none are stored.
    pictures: pictures of the faces that are most similar to their originals: outputs, pairs (with the originals), or
        none.
    """

    out: Path
    identities: str = "folders"
    attacks: str = "A0,A0s,A1,A2,A4,A5,A6,A7"
    recognisers: str = "auto"
    context: Context = "crop"
    baselines: str = "none,solid"
    bundle: str = DEFAULT
    seeds: int = 3
    workers: int = 0
    cache: Path | None = None
    pictures: Literal["outputs", "pairs", "none"] = "outputs"

    def __post_init__(self) -> None:
        require_paths(out=self.out, cache=self.cache)
        for attack in self.chosen_attacks:
            if attack not in ATTACKS:
                raise OptionError("attacks", f"'{attack}' is unknown; choose from {', '.join(ATTACKS)}.")
        if self.seeds < 1:
            raise OptionError("seeds", f"must be 1 or more, not {self.seeds}.")
        if self.workers < 0:
            raise OptionError("workers", f"must be 0 or more, not {self.workers}.")
        read_names(self.baselines)

    @property
    def chosen_attacks(self) -> tuple[str, ...]:
        """The attacks to run, without repetitions."""
        return tuple(dict.fromkeys(part.strip() for part in self.attacks.split(",") if part.strip()))


@dataclass
class Evaluation:
    """The results of an evaluation.

    Attributes:
        options: The options it was made with.
        table: The faces of the originals.
        recognisers: Name, fingerprint and `in_gate` of each recogniser.
        thresholds: Thresholds by recogniser.
        verdicts: The results for each tool and each baseline.
        not_measured: What could not be measured, and why.
        seconds: Duration of each step.
        exposed_floor: Share of faces that are recognised with every face filled, the floor of A6.
        exposed_at: Highest false-match rate of the thresholds of A6. With n recognisers, a stranger is accepted up to
            n times as often, because one recogniser is enough.
    """

    options: EvaluateOptions
    table: FaceTable
    recognisers: list[dict[str, Any]]
    thresholds: dict[str, Thresholds]
    verdicts: list[Verdict]
    not_measured: list[str]
    seconds: dict[str, float]
    exposed_floor: Estimate | None = None
    exposed_at: float | None = None

    @property
    def judged(self) -> list[Verdict]:
        """The results for folders that were given, without baselines."""
        return [verdict for verdict in self.verdicts if not verdict.table.is_baseline]

    @property
    def exit_status(self) -> int:
        """0 if every file could be read and compared; 3 if some were unreadable or missing."""
        bad = any(seen.error for seen in self.table.seen)
        return 3 if bad or any(r.status != Status.MEASURED for v in self.judged for r in v.table.results) else 0


def evaluate(
    originals: Path, tools: Mapping[str, Path], options: EvaluateOptions, watch: Watch | None = None
) -> Evaluation:
    """Evaluate folders of anonymised photos against the folder of their originals.

    Files that cannot be read are counted and named in the results.

    Args:
        originals: Folder of the original photos.
        tools: Folders of anonymised photos, by the name of the tool.
        options: What is measured, and how.
        watch: Called with the number of photos of a pass that are done, the number of all, and a line about the last.

    Raises:
        OptionError: Folders or options cannot work.
        BundleError: The bundle cannot be used.
        MissingDependencyError: A recogniser that was asked for is not installed.
    """
    files = read_originals(originals, options.identities)
    pairings = {name: pair_outputs(files, folder) for name, folder in tools.items()}
    baselines = read_names(options.baselines)
    clock, seconds = time.perf_counter(), {}
    keep = bool(set(PASTED) & set(baselines)) or "A3" in options.chosen_attacks
    with _cache_file(options.cache) as cache:
        setup = Setup(cache, options.bundle, options.recognisers, options.context, keep)
        with Surveyor(setup, options.workers or cpu_threads(), watch) as surveyor:
            seen = surveyor.originals(files)
            seconds["originals"], clock = time.perf_counter() - clock, time.perf_counter()
            table = FaceTable(seen)
            looked = []
            for name, pairing in pairings.items():
                tasks = [OutputTask(one, pairing.outputs.get(one.original.name)) for one in seen]
                looked.append(ToolTable(name, surveyor.outputs(tasks, name), pairing.strays))
                seconds[name], clock = time.perf_counter() - clock, time.perf_counter()
            for name in baselines:
                looked.append(ToolTable(name, surveyor.outputs(_tasks(name, table), name), is_baseline=True))
                seconds[f"baseline {name}"], clock = time.perf_counter() - clock, time.perf_counter()
            evaluation = _judge(table, looked, surveyor, options, seconds)
            seconds["attacks and measures"] = time.perf_counter() - clock
    return evaluation


def _tasks(name: str, table: FaceTable) -> list[OutputTask]:
    """Return one task per original for a baseline, with the faces to paste if it pastes any."""
    if name not in PASTED:
        return [OutputTask(one, baseline=name) for one in table.seen]
    crops = [subject.crop for subject in table.subjects]
    assert all(crop is not None for crop in crops)
    patches = patches_for(name, np.stack([crop for crop in crops if crop is not None]), list(table.labels))
    ends = np.cumsum([len(one.subjects) for one in table.seen])
    return [
        OutputTask(one, baseline=name, patches=patches[end - len(one.subjects) : end])
        for one, end in zip(table.seen, ends, strict=True)
    ]


def _judge(
    table: FaceTable,
    tools: Sequence[ToolTable],
    surveyor: Surveyor,
    options: EvaluateOptions,
    seconds: dict[str, float],
) -> Evaluation:
    recognisers, thresholds, problems = surveyor.tools.recognisers, {}, []
    battery = Battery(options.chosen_attacks, options.seeds)
    if table.subjects:
        problems += battery.not_measured(table.labels[table.named])
    several = table.named if len(np.unique(table.labels[table.named])) > 1 else np.ones(len(table.subjects), bool)
    floors: dict[str, Measured] = {}
    verdicts = [Verdict(tool) for tool in tools]
    for recogniser in recognisers if table.subjects else []:
        clear, filled = (table.embeddings(recogniser.name, view) for view in ("clear", "filled"))
        thresholds[recogniser.name] = Thresholds.of(clear[several], table.labels[several])
        problems += [f"{recogniser.name}: {why}" for why in thresholds[recogniser.name].missing]
        none_lost = np.zeros(len(clear), bool)
        case = Case(clear, filled, table.labels, table.named, none_lost, thresholds[recogniser.name])
        floors[recogniser.name] = battery.run(case)
        for verdict in verdicts:
            before: tuple[np.ndarray[Any, Any], Measured] | None = None
            for alignment in ALIGNMENTS:
                shown = verdict.table.embeddings(recogniser.name, alignment, clear.shape[1])
                case = Case(clear, shown, table.labels, table.named, verdict.table.lost, thresholds[recogniser.name])
                same = before is not None and np.array_equal(before[0], shown, equal_nan=True)
                found = before[1] if same and before is not None else battery.run(case)
                before = (shown, found)
                verdict.figures += figures(found, floors[recogniser.name], recogniser.name, alignment)
            original = verdict.table.embeddings(recogniser.name, "original", clear.shape[1])
            if distances := realism(clear, original, table.labels):
                verdict.variety[recogniser.name] = distances
    usual = {name: one.usual[1] for name, one in thresholds.items() if one.usual is not None}
    if not usual and table.subjects:
        problems.append(
            "A6 cannot tell which faces are recognised, because no threshold could be placed. Unchanged faces count."
        )
    floor = estimate(Sums.of(recognised_when_filled(table, usual), table.labels)) if usual else None
    for verdict in verdicts:
        _measure(table, verdict, usual)
    if "A3" in options.chosen_attacks and table.subjects:
        problems += reversal(table, verdicts, surveyor.tools)
    problems += _few_recognisers(recognisers)
    described = [{"name": r.name, "fingerprint": r.fingerprint, "in_gate": r.in_gate} for r in recognisers]
    rates = [one.usual[0] for one in thresholds.values() if one.usual is not None]
    return Evaluation(
        options, table, described, thresholds, verdicts, problems, seconds, floor, max(rates, default=None)
    )


def _measure(table: FaceTable, verdict: Verdict, thresholds: dict[str, float]) -> None:
    """Add the outcome of each face, the utility, and both by group."""
    tool = verdict.table
    if not table.subjects:
        return
    verdict.fates = fates(table, tool, recognised_by_any(table, tool, thresholds, ALIGNMENTS))
    exposed = np.array([fate.is_exposed for fate in verdict.fates], np.float64)
    verdict.exposed = estimate(Sums.of(exposed, table.labels))
    verdict.kept = utility(table, tool)
    for kind, names in table.groups.items():
        verdict.groups[kind] = {}
        for name in np.unique(names):
            rows = names == name
            exposure = {"exposed (A6)": estimate(Sums.of(exposed[rows], table.labels[rows]))}
            verdict.groups[kind][str(name)] = exposure | utility(table, tool, rows)


def _few_recognisers(recognisers: Sequence[Any]) -> list[str]:
    problems = []
    if len(recognisers) < 3:
        names = ", ".join(r.name for r in recognisers)
        problems.append(f"fewer than three recognisers attacked ({names}); use three or more.")
    if all(r.in_gate for r in recognisers):
        problems.append("no recogniser is independent of styleid's gate. Type: pip install 'styleid[eval]'")
    return problems


@contextmanager
def _cache_file(wanted: Path | None) -> Any:
    """Yield the path of the user's cache, or of a temporary one."""
    if wanted is not None:
        yield wanted
        return
    with tempfile.TemporaryDirectory(prefix="styleid-") as folder:
        yield Path(folder) / "cache.sqlite"
