"""The suite: look at originals and outputs, attack, measure what is kept, and gather one record of everything."""

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
from styleid.errors import OptionError
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
    """Choose how a tool's output is judged.

    out: folder for the report (JSON, Parquet, HTML).
    identities: who is shown: folders (each folder of photos is one person), none, or a CSV file with the columns file
        and person, and x0, y0, x1, y1 where a photo has several people.
    attacks: which attacks to run, of A0, A0s, A1, A2, A3, A4, A5, A6, A7.
    recognisers: who attacks: gate (the bundle's own network), dlib, sface, insightface, uniface, files that end in
        .onnx with a card beside them; auto is all that is installed.
    context: what a recogniser sees: tight (the face alone), crop (as it was trained), or photo (the crop and a small
        picture of everything).
    baselines: what to stand beside: none, solid, pixelate8, pixelate16, blur5, blur15, blur30, eye-bar, ksame-pixel,
        ksame-eigen, swap; all is every one.
    bundle: whose parser and attribute network measure what was kept.
    seeds: how often galleries are drawn and attackers trained.
    workers: processes; 0 takes as many as there are cores.
    cache: file that keeps embeddings between runs. They are biometric data, so without it nothing is kept.
    pictures: what the page shows of the worst faces: outputs, pairs (originals too), or none.
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
        for attack in self.chosen_attacks:
            if attack not in ATTACKS:
                raise OptionError("attacks", f"'{attack}' is unknown; choose of {', '.join(ATTACKS)}.")
        if self.seeds < 1:
            raise OptionError("seeds", f"{self.seeds} leaves no gallery to draw.")
        if self.workers < 0:
            raise OptionError("workers", f"{self.workers} is no number of processes.")
        read_names(self.baselines)

    @property
    def chosen_attacks(self) -> tuple[str, ...]:
        """The attacks to run, each once."""
        return tuple(dict.fromkeys(part.strip() for part in self.attacks.split(",") if part.strip()))


@dataclass
class Evaluation:
    """Hold everything that a report says.

    exposed_floor: the share of faces recognised by their surroundings alone, the floor of A6. exposed_at: the
    false-match rate at which one recogniser decides there; with several, strangers are taken for the original up to
    that many times as often.
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
        """The verdicts on folders that were given, not on baselines."""
        return [verdict for verdict in self.verdicts if not verdict.table.is_baseline]

    @property
    def exit_status(self) -> int:
        """0 where every file could be read and compared; 3 where some were unreadable or missing."""
        bad = any(seen.error for seen in self.table.seen)
        return 3 if bad or any(r.status != Status.MEASURED for v in self.judged for r in v.table.results) else 0


def evaluate(
    originals: Path, tools: Mapping[str, Path], options: EvaluateOptions, watch: Watch | None = None
) -> Evaluation:
    """Judge folders of anonymised photos, by name, against the folder of their originals.

    watch: called with how many photos of a pass are done, how many there are, and a line about the last. Raises
    OptionError where inputs or options cannot work. Files that cannot be read are counted and named, never skipped.
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
    """Return one task per original for a baseline, with the faces to paste where it pastes some."""
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
        problems.append("A6 cannot say who is recognised: no threshold could be placed; unchanged faces still count.")
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
    """Add what became of each face, what was kept, and both by group."""
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
        problems.append(f"only {len(recognisers)} recognisers attacked ({names}); three or more are wanted.")
    if all(r.in_gate for r in recognisers):
        problems.append("no recogniser is independent of styleid's gate: pip install 'styleid[eval]' brings one.")
    return problems


@contextmanager
def _cache_file(wanted: Path | None) -> Any:
    """Yield the cache's path: the user's, or one that is removed afterwards."""
    if wanted is not None:
        yield wanted
        return
    with tempfile.TemporaryDirectory(prefix="styleid-") as folder:
        yield Path(folder) / "cache.sqlite"
