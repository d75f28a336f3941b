"""Compare the local engine with Ray, with start-up measured separately.

    python benchmarks/engines.py FOLDER [--photos 2000] [--workers 2] [--repeats 3] [--method none]

The photos of the folder and its subfolders are copied until there are --photos of them. Each round runs both engines on
two photos and on all. The difference of the two times is the time for the photos, without opening networks and starting
Ray. Needs the extra `ray`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

from against_deface import SUFFIXES, Contestant, Result, conditions, measure, net_seconds, spread

RESULT = Path(__file__).resolve().parent / "results" / "engines.md"
_FEW = 2


def contestants(workers: int, method: str) -> list[Contestant]:
    """Return both engines with this number of workers each."""
    command = [sys.executable, "-m", "styleid", "anonymize", "--json", "--quiet", "--seed", "0", "--method", method]

    def engine(name: str) -> Contestant:
        chosen = [*command, "--engine", name, "--workers", str(workers)]
        return Contestant(name, lambda source, out: [*chosen, str(source), "--out", str(out)], statuses=(0, 3))

    return [engine("local"), engine("ray")]


def many_photos(folder: Path, count: int, work: Path) -> list[Path]:
    """Return this many photos, copied under different names."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise SystemExit(f"{folder} holds no JPEG or PNG file.")
    photos = work / "photos"
    photos.mkdir()
    for number, path in enumerate(islice(cycle(found), count)):
        (photos / f"{number:06d}{path.suffix.lower()}").write_bytes(path.read_bytes())
    return sorted(photos.iterdir())


def table(results: Sequence[Result], photos: int) -> str:
    """Return a Markdown table of start-up, and wall time for the photos beyond the first two."""
    lines = ["| engine | start-up and two photos, s | ms a photo after that | over local |", "|---|---|---|---|"]
    base = net_seconds(results[0], photos, _FEW)
    for result in results:
        net = net_seconds(result, photos, _FEW)
        ratios = spread(n / b for n, b in zip(net, base, strict=True))
        start = spread(one.seconds for one in result.one)
        lines.append(f"| {result.contestant.name} | {start} | {spread((1000 * n for n in net), 1)} | {ratios} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--method", default="none")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="styleid-bench-") as name:
        work = Path(name)
        photos = many_photos(args.folder, args.photos, work)
        results = [Result(contestant) for contestant in contestants(args.workers, args.method)]
        for number in range(args.repeats):
            for result in results if number % 2 == 0 else results[::-1]:
                result.one.append(measure(result.contestant, photos[:_FEW], work))
                result.all.append(measure(result.contestant, photos, work))
                print(f"round {number + 1}: {result.contestant.name}: {result.all[-1].seconds:.1f} s", file=sys.stderr)
    what = f"{len(photos)} photos of '{args.folder.name}', --method {args.method}, {args.workers} workers:"
    text = "\n".join(["# Engines", "", *conditions(args.repeats, load), "", what, "", table(results, len(photos)), ""])
    args.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
