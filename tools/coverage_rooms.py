"""Print the coverage of lines and branches in each room, and fail if that of branches is too low.

Usage: `python tools/coverage_rooms.py`, after `pytest --cov`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

LEAST = {"core": 95.0, "people": 95.0, "media": 95.0}
"""Least branch coverage of a room, in per cent."""

_COUNTED = ("covered_lines", "num_statements", "covered_branches", "num_branches")


def main() -> int:
    """Print a line for each room; return 1 if a branch coverage is too low, else 0."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for name, file in _measured().items():
        counts[_room(name)].update({key: file["summary"][key] for key in _COUNTED})
    low = []
    print(f"{'room':10}   lines  branches")
    for room, count in sorted(counts.items()):
        lines = 100 * count["covered_lines"] / max(count["num_statements"], 1)
        branches = 100 * count["covered_branches"] / max(count["num_branches"], 1)
        goal = f" (at least {LEAST[room]:g} %)" if room in LEAST else ""
        print(f"{room:10} {lines:5.1f} %   {branches:5.1f} %{goal}")
        if branches < LEAST.get(room, 0.0):
            low.append(room)
    if low:
        print(f"FAILED: tests run too few branches of {', '.join(low)}", file=sys.stderr)
    return 1 if low else 0


def _measured() -> dict[str, dict]:
    """Return coverage.py's figures by file."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "coverage.json"
        subprocess.run([sys.executable, "-m", "coverage", "json", "-q", "-o", out], check=True)
        return json.loads(out.read_text(encoding="utf-8"))["files"]


def _room(name: str) -> str:
    """Return a file's folder below the package; modules beside the rooms count as one."""
    inner = Path(name).parts[Path(name).parts.index("styleid") + 1 :]
    return inner[0] if len(inner) > 1 else "(modules)"


if __name__ == "__main__":
    sys.exit(main())
