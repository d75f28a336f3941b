"""Measure memory and time of the engine on many small files, and the time to resume after a kill.

A process anonymises the files and is killed (SIGKILL) shortly before the end; another process resumes. The benchmark
measures the engine: listing, reading and writing files, the journal and resuming. The photos are therefore tiny, and a
stub replaces the detector. `docs/scale.md` explains the result.

    python benchmarks/scale.py                      100,000 files, a few minutes
    python benchmarks/scale.py --files 5000
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "scale.json"
PICTURE = HERE.parent / "docs" / "scale.svg"
_PER_FOLDER = 1000
_SAMPLES = 200
_KILL_AT = 0.95
_SETTLED = 0.05
"""Share of the files after which memory is measured, since caches and allocators have grown by then."""

Sample = tuple[int, float, float, float]
"""Files done, wall seconds, CPU seconds, resident MiB."""


def make_files(folder: Path, count: int) -> None:
    """Write JPEG files of 64 x 48 px, 1000 in each folder."""
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise // 32 * 32).save(buffer, "JPEG")
    for number in range(count):
        path = folder / f"{number // _PER_FOLDER:05d}" / f"{number:08d}.jpg"
        if number % _PER_FOLDER == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(buffer.getvalue())


def work(source: Path, out: Path, samples: Path, resume: bool) -> None:
    """Run the engine in this process, and write samples of its progress, time and memory."""
    from styleid import AnonymizeOptions, Anonymizer
    from styleid.engine.local import RunOptions, process_files
    from styleid.types import Faces

    class StandIn:
        def detect(self, image_rgb: np.ndarray, regions_xyxy: np.ndarray | None = None) -> Faces:
            box = np.float32([[20, 14, 40, 34]])
            return Faces(box, np.ones(1, np.float32), np.full((1, 5, 2), np.nan, np.float32))

    anonymizer = Anonymizer(None, AnonymizeOptions(method="none", seed=0), detector=StandIn())
    begun, page = time.perf_counter(), os.sysconf("SC_PAGE_SIZE")
    calls = 0
    with samples.open("w") as file:

        def watch(done: int, total: int, name: str) -> None:
            nonlocal calls
            calls += 1
            if calls == 1 or done % max(1, total // _SAMPLES) == 0:
                resident = int(Path("/proc/self/statm").read_text().split()[1]) * page / 2**20
                row = (done, time.perf_counter() - begun, time.process_time(), resident)
                file.write(json.dumps(row) + "\n")
                file.flush()

        # one worker, which runs in this process, since the stub detector exists only here
        summary = process_files([source], anonymizer, RunOptions(out, resume=resume, workers=1), watch=watch)
        file.write(json.dumps([summary.written, summary.resumed, summary.seconds]) + "\n")


def run(source: Path, out: Path, work_folder: Path, kill_at: int | None) -> tuple[list[Sample], list[float]]:
    """Run the engine in a separate process.

    Args:
        source: Folder of the photos.
        out: Folder of the outputs.
        work_folder: Folder for the file of samples.
        kill_at: Number of files after which to kill the process; None resumes an earlier run to its end.

    Returns:
        The samples; and the files written, files resumed and seconds, or an empty list if the process was killed.
    """
    samples = work_folder / f"samples-{kill_at}.jsonl"
    command = [sys.executable, __file__, "--work", str(source), str(out), str(samples)]
    process = subprocess.Popen([*command, *(["--resume"] if kill_at is None else [])])
    while process.poll() is None:
        time.sleep(0.2)
        if kill_at is not None and samples.is_file() and (rows := _rows(samples)) and rows[-1][0] >= kill_at:
            process.send_signal(signal.SIGKILL)
            process.wait()
    rows = _rows(samples)
    return ([row for row in rows if len(row) == 4], rows[-1] if kill_at is None else [])


def _rows(path: Path) -> list:
    lines = path.read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines]


def judge(samples: Sequence[Sample], last: Sequence[float], resumed: Sequence[Sample], files: int) -> dict:
    """Return the figures: growth of memory, change of the time per file, and time until a resumed run starts."""
    settled = [row for row in samples if row[0] >= _SETTLED * files]
    memory = [row[3] for row in settled]
    quarter = max(2, len(settled) // 4)
    rates = {}
    for what, column in (("wall", 1), ("cpu", 2)):
        spans = (settled[:quarter], settled[-quarter:])
        rates[what] = [1000 * (s[-1][column] - s[0][column]) / (s[-1][0] - s[0][0]) for s in spans]
    return {
        "files": files,
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "load_average": round(os.getloadavg()[0], 2),
        "memory_mib": {"settled": round(memory[0], 1), "highest": round(max(memory), 1), "last": round(memory[-1], 1)},
        "memory_growth": round(max(memory) / memory[0] - 1, 4),
        "ms_per_file_first_and_last_quarter": {k: [round(v, 3) for v in pair] for k, pair in rates.items()},
        "slower_at_the_end": {k: round(b / a - 1, 4) for k, (a, b) in rates.items()},
        "killed_at": samples[-1][0],
        "resumed": last[1],
        "seconds_until_the_resumed_run_has_done_its_first_file": round(resumed[0][1], 2),
        "cpu_seconds_until_then": round(resumed[0][2], 2),
        "written_in_the_end": last[0],
    }


def draw(samples: Sequence[Sample], path: Path) -> None:
    """Plot time and memory against files done."""
    from plots import save_plots  # not at the top: the process that is measured must not load matplotlib

    def plot(title: str, column: int, colour: str) -> Callable[[Axes], None]:
        def fill(axes: Axes) -> None:
            axes.plot([row[0] for row in samples], [row[column] for row in samples], color=colour, linewidth=2)
            axes.set_ylim(0, 1.15 * max(row[column] for row in samples))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.set_title(title, loc="left", fontsize=9, fontweight="bold")
            axes.set_xlabel("files done")

        return fill

    save_plots(
        path,
        (7.2, 3.0),
        (1, 2),
        plot("CPU seconds since the start", 2, "#2a7f62"),
        plot("resident memory, MiB", 3, "#b8562f"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000, help="how many (default: 100000)")
    parser.add_argument("--out", type=Path, default=RESULT, help="the JSON file to write")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="the SVG to write")
    parser.add_argument("--work", nargs=3, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--resume", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(*given.work, given.resume)
        return
    folder = Path(tempfile.mkdtemp(prefix="styleid-scale-"))
    try:
        make_files(folder / "in", given.files)
        samples, _ = run(folder / "in", folder / "out", folder, round(_KILL_AT * given.files))
        resumed, last = run(folder / "in", folder / "out", folder, None)
    finally:
        shutil.rmtree(folder)
    result = judge(samples, last, resumed, given.files)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    draw(samples, given.picture)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
