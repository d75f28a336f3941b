"""Print how much of each room the tests ran, lines and branches together, and fail where a room has less than it must.

Usage: `python tools/coverage_rooms.py`, after `pytest --cov`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

LEAST = {"core": 95.0, "people": 95.0, "media": 95.0}
"""Per cent that a room must have."""


def main() -> int:
    """Print a line for each room; the status is 1 where one has too little."""
    run, wanted = Counter(), Counter()
    for name, file in _measured().items():
        room = _room(name)
        counts = file["summary"]
        run[room] += counts["covered_lines"] + counts["covered_branches"]
        wanted[room] += counts["num_statements"] + counts["num_branches"]
    low = []
    for room in sorted(wanted):
        share = 100 * run[room] / max(wanted[room], 1)
        print(f"{room:10} {share:5.1f} %" + (f" (at least {LEAST[room]:g} %)" if room in LEAST else ""))
        if share < LEAST.get(room, 0.0):
            low.append(room)
    if low:
        print(f"FAILED: too little of {', '.join(low)} is run by tests", file=sys.stderr)
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
