"""Measure the service's speed and memory under load, beside those of the command line and the library.

One service in a separate process receives in each round:

- single photos (`POST /v1/anonymize`) from all clients at the same time;
- the same photos as one job, timed from the upload until it is done;
- single photos one after the other, each also anonymised by the library in this process.

The command line anonymises the same photos in each round; its time is that of the run without start-up. Memory is the
resident memory of the idle service before the first upload and after each round. The first round is a warm-up.

    python benchmarks/serve_load.py                     1,000 uploads side by side, as many in a row
    python benchmarks/serve_load.py FOLDER --uploads 200 --record
    python benchmarks/serve_load.py FOLDER --alone      errors and memory only

Every error response except 429 (too many requests wait) ends the benchmark with status 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from serve_process import Desk, make_portraits, work_folder

from styleid import AnonymizeOptions, Anonymizer
from styleid.engine.options import RunOptions
from styleid.engine.photo import anonymize_photo
from styleid.media.image import read_photo_bytes
from styleid.serve.client import Client, ServiceError

RESULT = Path(__file__).resolve().parent / "results" / "serve_load.json"
SUFFIXES = (".jpg", ".jpeg", ".png")
SEED = 7
_IDLE_S = 1.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="photos; made from scikit-image's astronaut without it")
    parser.add_argument("--uploads", type=int, default=1000, help="side by side, and as many in a row")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--method", default="latent", help="none is fast, where memory and errors are the question")
    parser.add_argument("--alone", action="store_true", help="do not run the command line and the library")
    parser.add_argument("--work", type=Path, help="a folder to work in; it stays")
    parser.add_argument("--record", action="store_true", help=f"write {RESULT.name}")
    args = parser.parse_args()
    with work_folder(args.work) as work:
        each = max(args.clients, args.uploads // args.rounds)
        photos = photos_for(args.folder, each, work)
        result = measure(photos, args.rounds, args.clients, args.method, work, compare=not args.alone)
    result |= {"cores": len(os.sched_getaffinity(0)), "processor": platform.processor() or platform.machine()}
    print(json.dumps(result, indent=2))
    if args.record:
        RESULT.write_text(json.dumps(result, indent=2) + "\n")


def photos_for(folder: Path | None, count: int, work: Path) -> list[Path]:
    """Write this number of photos under different names, and return their paths."""
    if folder is None:
        return make_portraits(work / "photos", count)
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise SystemExit(f"{folder} holds no JPEG or PNG file.")
    (work / "photos").mkdir()
    for number, path in enumerate(islice(cycle(found), count)):
        (work / "photos" / f"{number:04d}{path.suffix.lower()}").write_bytes(path.read_bytes())
    return sorted((work / "photos").iterdir())


def measure(
    photos: Sequence[Path], rounds: int, clients: int, method: str, work: Path, *, compare: bool = True
) -> dict[str, Any]:
    """Run all rounds on one service, and return the figures.

    Args:
        photos: Photos of a round.
        rounds: Number of rounds after the warm-up.
        clients: Number of clients that upload at the same time.
        method: Method of anonymisation.
        work: Folder for the service's data.
        compare: Whether to run the command line and the library, too.
    """
    library = Library(method) if compare else None
    desk = Desk(work / "data")
    taken: dict[str, list[float]] = {}
    answers: list[tuple[float, float]] = []
    told: list[int] = []
    memory = [desk.resident_mib()]
    try:
        for number in range(rounds + 1):  # round 0 is a warm-up
            few = photos[: max(clients, len(photos) // 4)] if number == 0 else photos
            steps = {
                "side by side": lambda few=few: side_by_side(desk, few, clients, method),
                "job": lambda few=few: job(desk, few, method),
            }
            if compare:
                steps["command line"] = lambda few=few: command_line(few, method)
            for name in sorted(steps, reverse=number % 2 == 1):
                seconds, again = steps[name]()
                told.append(again)
                if number:
                    taken.setdefault(name, []).append(seconds)
            pairs = list(in_a_row(desk, few, method, library))
            answers += pairs if number else []
            time.sleep(_IDLE_S)
            memory.append(desk.resident_mib())
            print(f"round {number}: {memory[-1]:.0f} MiB", {name: round(all_s[-1], 2) for name, all_s in taken.items()},
                  file=sys.stderr, flush=True)  # fmt: skip
    finally:
        desk.end()
    return {
        "method": method,
        "photos_a_round": len(photos),
        "rounds": rounds,
        "clients": clients,
        "uploads": {"side by side": rounds * len(photos), "in a row": rounds * len(photos), "jobs": rounds},
        "told_to_come_back": sum(told),
        "photos_a_second": {name: spread(len(photos) / s for s in seconds) for name, seconds in taken.items()},
        "answer_ms": round(1000 * statistics.median(own for own, _ in answers), 1),
        **(compared(taken, answers) if compare else {}),
        "memory_mib": [round(one, 1) for one in memory],
        "memory_after_over_start": round(memory[-1] / memory[0], 3),
        "memory_after_over_warm": round(memory[-1] / memory[2], 3),
    }


def compared(taken: dict[str, list[float]], answers: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Return the ratios of the service's figures to those of the command line and the library."""
    line, own, library = taken["command line"], *zip(*answers, strict=True)
    return {
        "throughput_over_command_line": {
            name: spread(b / a for a, b in zip(taken[name], line, strict=True)) for name in ("side by side", "job")
        },
        "library_ms": round(1000 * statistics.median(library), 1),
        "answer_over_library": round(sum(own) / sum(library), 3),
    }


def spread(values: Iterator[float]) -> dict[str, float]:
    """Return the median, the minimum and the maximum."""
    found = sorted(values)
    return {
        name: round(one, 3)
        for name, one in (("median", statistics.median(found)), ("least", found[0]), ("most", found[-1]))
    }


# ----------------------------------------------------------------------- steps


def side_by_side(desk: Desk, photos: Sequence[Path], clients: int, method: str) -> tuple[float, int]:
    """Anonymise single photos with several clients; return the seconds and the number of refusals (429)."""
    shares = [photos[number::clients] for number in range(clients)]
    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        told = sum(pool.map(lambda share: one_client(desk, share, method), shares))
    return time.perf_counter() - begun, told


def one_client(desk: Desk, photos: Sequence[Path], method: str) -> int:
    told = 0
    with Client(desk.address) as client:
        for photo in photos:
            while True:
                try:
                    require(len(client.anonymize(photo, seed=SEED, method=method).data) > 0, "an answer is empty")
                    break
                except ServiceError as error:
                    require(error.status == 429, f"{photo.name}: {error}")
                    told += 1
                    time.sleep(0.2)
    return told


def job(desk: Desk, photos: Sequence[Path], method: str) -> tuple[float, int]:
    """Anonymise photos as one job, and delete it; return the seconds from the upload to the end, and 0."""
    with Client(desk.address) as client:
        begun = time.perf_counter()
        made = client.make_job(photos, seed=SEED, method=method)["id"]
        ended = client.wait(made, poll_s=0.05)
        seconds = time.perf_counter() - begun
        require(ended["state"] == "done" and not ended["withheld"], f"the job ended as {ended}")
        client.delete(made)
    return seconds, 0


def command_line(photos: Sequence[Path], method: str) -> tuple[float, int]:
    """Anonymise photos with the command line; return the seconds that it reports for the run, and 0."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "styleid",
            "anonymize",
            *map(str, photos),
            "--out",
            folder,
            "--json",
            "--quiet",
        ]
        command += ["--seed", str(SEED), "--method", method]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        require(done.returncode in (0, 3), f"the command line ends with status {done.returncode}")
        return float(json.loads(done.stdout)["seconds"]), 0


class Library:
    """The library in this process, used for one photo after the other."""

    def __init__(self, method: str) -> None:
        self.method = method
        self._anonymizer = Anonymizer.from_bundle(options=AnonymizeOptions(seed=SEED, method=method))  # type: ignore[arg-type]
        self._run = RunOptions(Path("-"))

    def anonymize(self, path: Path) -> bytes:
        """Return the bytes of the anonymised photo."""
        photo = read_photo_bytes(path.read_bytes(), path.name)
        return anonymize_photo(path.name, photo, self._anonymizer, self._run)[0]


def in_a_row(desk: Desk, photos: Sequence[Path], method: str, library: Library | None) -> Iterator[tuple[float, float]]:
    """Anonymise photos one after the other with the service and the library, in alternating order.

    Yields:
        Seconds of the service and seconds of the library for each photo; 0 without a library.
    """
    with Client(desk.address) as client:
        for number, photo in enumerate(photos):
            calls = [lambda p=photo: client.anonymize(p, seed=SEED, method=method).data]
            if library is not None:
                calls.append(lambda p=photo: library.anonymize(p))
            seconds, data = [0.0, 0.0], [b"", b""]
            for which in sorted(range(len(calls)), reverse=number % 2 == 0):
                begun = time.perf_counter()
                data[which] = calls[which]()
                seconds[which] = time.perf_counter() - begun
            require(data[0], f"{photo.name}: the answer is empty")
            require(library is None or data[0] == data[1], f"{photo.name}: the answer differs from the library's")
            yield seconds[0], seconds[1]


def require(holds: object, problem: str) -> None:
    if not holds:
        raise SystemExit(f"FAILED: {problem}")


if __name__ == "__main__":
    main()
