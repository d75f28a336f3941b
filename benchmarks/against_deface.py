"""Compare the speed and memory of styleid with those of deface's blur on the same photos.

Every run is a separate process on a fresh copy of the photos. Each round runs every command on one photo and on all
photos, in an order that changes from round to round. The runs on one photo give the start-up time.
`benchmarks/README.md` explains the result.

    python benchmarks/against_deface.py                 photos made from scikit-image's astronaut
    python benchmarks/against_deface.py FOLDER          JPEG and PNG files of a folder
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from processes import finished

# Import only the standard library: on Linux a child's peak memory starts at the memory of its parent.

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "against_deface.md"
SUFFIXES = (".jpg", ".jpeg", ".png")
PEER = "deface, blur"
_BUSY = 0.25


@dataclass(frozen=True)
class Run:
    """Figures of one process.

    Attributes:
        seconds: Wall-clock time, in seconds.
        cpu_seconds: User and system time, in seconds.
        peak_bytes: Peak resident memory, in bytes.
        faces: Number of faces by action; empty if the command does not report them.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    faces: dict[str, int]


@dataclass(frozen=True)
class Contestant:
    """A command to measure.

    Attributes:
        name: Name in the table.
        command: Returns the arguments for an input and an output folder.
        statuses: Exit statuses that count as success.
        tells: Whether the command reports its number of faces.
    """

    name: str
    command: Callable[[Path, Path], list[str]]
    statuses: tuple[int, ...] = (0,)
    tells: bool = True


@dataclass
class Result:
    """Runs of a command.

    Attributes:
        contestant: The command.
        one: Runs on one photo, one per round.
        all: Runs on all photos, one per round.
        found: Number of faces, counted separately if the command does not report it.
    """

    contestant: Contestant
    one: list[Run] = field(default_factory=list)
    all: list[Run] = field(default_factory=list)
    found: int = 0

    @property
    def faces(self) -> int:
        """Number of faces that a run on all photos treated."""
        return sum(self.all[-1].faces.values()) if self.contestant.tells else self.found


class UsageError(Exception):
    """Raised when a command exits with status 2, because it cannot run on this machine."""


def contestants(bundle: str | None) -> list[Contestant]:
    deface = [sys.executable, "-m", "deface.deface"]
    styleid = [sys.executable, "-m", "styleid", "anonymize", "--json", "--quiet"]
    blur = [*styleid, "--method", "none", "--obscure", "blur"]
    swap = [*styleid, "--seed", "0", *(["--bundle", bundle] if bundle else [])]
    return [
        Contestant(PEER, lambda source, out: [*deface, str(source)], tells=False),
        Contestant("styleid, blur only", lambda source, out: [*blur, str(source), "--out", str(out)]),
        Contestant("styleid, new faces", lambda source, out: [*swap, str(source), "--out", str(out)], statuses=(0, 3)),
    ]


def measure(contestant: Contestant, photos: Sequence[Path], work: Path) -> Run:
    """Run a command on copies of the photos, and check that it wrote every photo."""
    source, out = work / "in", work / "out"
    for folder in (source, out):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    for photo in photos:
        shutil.copy(photo, source)
    ended = finished(contestant.command(source, out))
    if ended.status == 2:
        raise UsageError(ended.stderr.strip())
    written = [path for folder in (source, out) for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
    missing = len(photos) - (len(written) - len(photos))
    if ended.status not in contestant.statuses or missing:
        raise SystemExit(
            f"{contestant.name} ended with status {ended.status} and left {missing} of {len(photos)} photos "
            f"unwritten, so there is nothing to compare:\n{ended.stderr[-2000:]}"
        )
    faces = json.loads(ended.stdout.splitlines()[-1])["faces"] if contestant.tells else {}
    return Run(ended.seconds, ended.cpu_seconds, ended.peak_bytes, faces)


def compare(photos: Sequence[Path], repeats: int, bundle: str | None, work: Path) -> tuple[list[Result], list[str]]:
    """Return the results, and notes about commands that were left out."""
    results, notes = [], []
    for contestant in contestants(bundle):
        try:
            measure(contestant, photos[:1], work)  # warm-up: compiles bytecode and fills the file cache
        except UsageError as error:
            notes.append(f"{contestant.name} was left out: {error}")
            print(notes[-1], file=sys.stderr)
        else:
            results.append(Result(contestant))
    for number in range(repeats):
        turn = number % len(results)
        for result in (*results[turn:], *results[:turn]):
            result.one.append(measure(result.contestant, photos[:1], work))
            result.all.append(measure(result.contestant, photos, work))
            done = f"{result.one[-1].seconds:.2f} s for one, {result.all[-1].seconds:.2f} s for all"
            print(f"round {number + 1} of {repeats}: {result.contestant.name}: {done}", file=sys.stderr)
    return results, notes


def net_seconds(result: Result, photos: int, few: int = 1) -> list[float]:
    """Return the seconds per photo without start-up, one per round.

    Args:
        result: Runs of a command.
        photos: Number of photos of the runs on all photos.
        few: Number of photos of the short runs.

    Returns:
        Seconds per photo; NaN if the short run took longer.
    """
    pairs = zip(result.all, result.one, strict=True)
    nets = [(whole.seconds - one.seconds) / (photos - few) for whole, one in pairs]
    return [net if net > 0 else math.nan for net in nets]


def table(results: Sequence[Result], photos: int) -> str:
    """Return two Markdown tables: whole runs, and runs without start-up."""
    peer = next(result for result in results if result.contestant.name == PEER)
    whole = [
        f"Whole runs of {photos} photos, start-up included:",
        "",
        "| | photos/s | faces treated | faces/s | CPU seconds | peak memory, MiB | photos/s over deface's |",
        "|---|---|---|---|---|---|---|",
    ]
    net = [
        "Net of start-up:",
        "",
        "| | start-up, s | ms per photo | photos/s | faces/s | photos/s over deface's |",
        "|---|---|---|---|---|---|",
    ]
    peer_net = net_seconds(peer, photos)
    for result in results:
        seconds, name, faces = [run.seconds for run in result.all], result.contestant.name, result.faces
        cells = [
            spread(photos / s for s in seconds),
            _faces(result),
            spread(faces / s for s in seconds),
            spread(run.cpu_seconds for run in result.all),
            spread((run.peak_bytes / 2**20 for run in result.all), 0),
            spread(p.seconds / s for p, s in zip(peer.all, seconds, strict=True)),
        ]
        whole.append(f"| {name} | {' | '.join(cells)} |")
        nets = net_seconds(result, photos)
        cells = [
            spread(one.seconds - n for one, n in zip(result.one, nets, strict=True)),
            spread((1000 * n for n in nets), 1),
            spread(1 / n for n in nets),
            spread(faces / photos / n for n in nets),
            spread(p / n for p, n in zip(peer_net, nets, strict=True)),
        ]
        net.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*whole, "", *net])


def spread(values: Iterable[float], digits: int = 2) -> str:
    """Return the median and the range as text, or a dash if a value is NaN."""
    numbers = list(values)
    if any(math.isnan(v) for v in numbers):
        return "-"
    low, middle, high = (f"{v:.{digits}f}" for v in (min(numbers), statistics.median(numbers), max(numbers)))
    return f"**{middle}** ({low} to {high})"


def _faces(result: Result) -> str:
    if not result.contestant.tells:
        return str(result.faces)
    actions = [f"{number} {action}" for action, number in sorted(result.all[-1].faces.items())]
    return f"{result.faces} ({', '.join(actions)})" if actions else "0"


def conditions(repeats: int, load: float) -> list[str]:
    """Return lines about the machine and versions, with a warning if the machine was busy."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("styleid", "deface", "onnxruntime", "numpy"))
    lines = [
        f"- {processor()}, {cores} cores usable, {platform.system()}, Python {platform.python_version()}; {versions}",
        f"- {repeats} rounds; each cell is the median (lowest to highest); load average before the first {load:.2f}",
    ]
    if load > _BUSY * cores:
        lines.append("- **The machine was busy with other work. Do not quote these figures; measure again.**")
    return lines


def processor() -> str:
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.is_file() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _photos(folder: Path | None, count: int, work: Path) -> tuple[list[Path], str]:
    if folder is None:
        folder = work / "made"
        made = [sys.executable, str(HERE / "photos.py"), "make", str(folder), "--photos", str(count)]
        faces = subprocess.run(made, check=True, capture_output=True, text=True).stdout.strip()
        what = f"{count} photos made from scikit-image's astronaut, with {faces} faces pasted in"
    else:
        what = f"the photos of '{folder.name}'"
    photos = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if len(photos) < 2:
        raise SystemExit(f"{folder} holds {len(photos)} JPEG or PNG files; at least 2 are needed.")
    return photos, what


def _count_for_deface(photos: Sequence[Path], work: Path) -> int:
    folder = work / "count"
    folder.mkdir()
    for photo in photos:
        shutil.copy(photo, folder)
    counting = [sys.executable, str(HERE / "photos.py"), "count", str(folder)]
    return int(subprocess.run(counting, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="photos to use instead of made ones")
    parser.add_argument("--photos", type=int, default=24, help="how many photos to make (default: 24)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default: 5)")
    parser.add_argument("--bundle", help="styleid's bundle, a name or a folder (default: styleid's own default)")
    parser.add_argument("--out", type=Path, default=RESULT, help="the Markdown file to write")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="styleid-bench-") as name:
        work = Path(name)
        photos, what = _photos(given.folder, given.photos, work)
        results, notes = compare(photos, given.repeats, given.bundle, work)
        for result in results:
            if not result.contestant.tells:
                result.found = _count_for_deface(photos, work)
    lines = ["# styleid beside deface", "", f"On {what}.", "", *conditions(given.repeats, load)]
    lines += [f"- {note}" for note in notes]
    page = "\n".join([*lines, "", table(results, len(photos)), ""])
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
