"""Compare the speed of `styleid video` with deface's blur and with another commit on the same clips.

    python benchmarks/video_speed.py --bundle aam128 [--other TREE] [--seconds 10] [--rounds 5] [--clips crowd walk]

TREE is another checkout (`git worktree add TREE COMMIT`). Every run is a separate process; the order of the commands
changes from round to round. Frames per second include start-up. benchmarks/video_clips.py makes the clips. The result
is printed and written to benchmarks/results/video_speed.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from against_deface import conditions, spread
from processes import finished

# Import only the standard library: on Linux a child's peak memory starts at the memory of its parent.

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "video_speed.md"
NAMES = ("example", "1080p", "crowd", "walk")
OURS, OTHER, PEER = "styleid", "styleid, other tree", "deface, blur"


@dataclass(frozen=True)
class Run:
    """Figures of one process.

    Attributes:
        frames: Number of frames of the clip.
        seconds: Wall-clock time, in seconds.
        cpu_seconds: User and system time, in seconds.
        peak_bytes: Peak resident memory, in bytes.
        stages: Seconds by stage; empty if the command does not report them.
    """

    frames: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Frames per second of the whole run."""
        return self.frames / self.seconds


def run(command: list[str], source_tree: Path | None, frames: int, statuses: Sequence[int]) -> Run:
    """Run a command, and return its figures.

    Args:
        command: Program and arguments.
        source_tree: Checkout whose package the command imports; None for a command without a report.
        frames: Number of frames, if the command does not report it.
        statuses: Exit statuses that count as success.
    """
    env = dict(os.environ) if source_tree is None else os.environ | {"PYTHONPATH": str(source_tree.resolve() / "src")}
    ended = finished(command, env)
    if ended.status not in statuses:
        raise SystemExit(f"{' '.join(command)} ended with status {ended.status}:\n{ended.stderr[-2000:]}")
    told = json.loads(ended.stdout.splitlines()[-1]) if source_tree is not None else {}
    stages = told.get("stage_seconds", {})
    return Run(told.get("frames", frames), ended.seconds, ended.cpu_seconds, ended.peak_bytes, stages)


def measure(clip: Path, work: Path, given: argparse.Namespace) -> dict[str, list[Run]]:
    """Run all commands on a clip, one after the other in each round."""
    out, frames = work / "out.mp4", given.seconds * 25
    bundle = ["--bundle", given.bundle] if given.bundle else []
    styleid = [sys.executable, "-m", "styleid", "video", str(clip), "--out", str(out), "--seed", "0", *bundle]
    styleid += ["--json", "--quiet"]
    deface = [sys.executable, "-m", "deface.deface", str(clip), "-o", str(out)]
    contestants: dict[str, tuple[list[str], Path | None, tuple[int, ...]]] = {
        OURS: ([*styleid, "--detector", "fast"], HERE.parent, (0, 3))  # the detector of older trees
    }
    if given.other:
        contestants[OTHER] = styleid, given.other, (0, 3)
    if not given.no_deface:
        contestants[PEER] = deface, None, (0,)
    runs: dict[str, list[Run]] = {name: [] for name in contestants}
    order = list(contestants.items())
    for number in range(given.rounds):
        turn = number % len(order)
        for name, (command, tree, statuses) in (*order[turn:], *order[:turn]):
            out.unlink(missing_ok=True)
            runs[name].append(run(command, tree, round(frames), statuses))
            one = runs[name][-1]
            print(f"{clip.stem}, round {number + 1}: {name}: {one.rate:.2f} frames/s, {one.cpu_seconds:.1f} s of CPU, "
                  f"{one.peak_bytes / 2**20:.0f} MiB", file=sys.stderr)  # fmt: skip
            if not out.is_file():
                raise SystemExit(f"{name} wrote nothing.")
    return runs


def table(results: dict[str, dict[str, list[Run]]]) -> list[str]:
    """Return the lines of a Markdown table of all clips, and of one of stages."""
    lines = ["| clip | | frames/s | CPU seconds | peak memory, MiB | styleid's frames/s over this |"]
    lines.append("|---|---|---|---|---|---|")
    for clip, runs in results.items():
        ours = runs[OURS]
        for name, own in runs.items():
            ratio = spread(a.rate / b.rate for a, b in zip(ours, own, strict=True))
            cells = [spread(r.rate for r in own), spread((r.cpu_seconds for r in own), 1)]
            cells += [spread((r.peak_bytes / 2**20 for r in own), 0), "" if name == OURS else ratio]
            lines.append(f"| {clip} | {name} | {' | '.join(cells)} |")
    stages = ["", "Milliseconds a frame by stage, median:", "", "| clip | | stages |", "|---|---|---|"]
    for clip, runs in results.items():
        for name, own in runs.items():
            if own[0].stages:
                told = {s: statistics.median(r.stages.get(s, 0.0) for r in own) for s in own[0].stages}
                each = ", ".join(f"{s} {1000 * v / own[0].frames:.1f}" for s, v in told.items())
                stages.append(f"| {clip} | {name} | {each} |")
    return [*lines, *stages]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", type=Path, help="another checkout to compare with")
    parser.add_argument("--bundle", help="of all trees (default: each tree's own default)")
    parser.add_argument("--seconds", type=float, default=10, help="of each clip (default: 10)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clips", nargs="*", choices=NAMES, default=NAMES)
    parser.add_argument("--folder", type=Path, help="where clips lie that were made before, and are kept")
    parser.add_argument("--no-deface", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULT, help="the Markdown file to write")
    given = parser.parse_args()
    load, results = os.getloadavg()[0], {}
    with tempfile.TemporaryDirectory(prefix="styleid-bench-") as name:
        work, folder = Path(name), given.folder or Path(name)
        making = [sys.executable, str(HERE / "video_clips.py"), str(folder), "--seconds", str(given.seconds)]
        made = subprocess.run([*making, "--clips", *given.clips], check=True, capture_output=True, text=True)
        for clip, path in zip(given.clips, made.stdout.split(), strict=True):
            results[clip] = measure(Path(path), work, given)
    page = "\n".join([*table(results), "", *conditions(given.rounds, load), ""])
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
