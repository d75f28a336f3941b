"""Test the oldest and the newest version of every run-time dependency.

    python tools/check_versions.py                            # both
    python tools/check_versions.py constraints-oldest.txt     # one

Each file's versions are installed into an empty environment, where `styleid doctor` and the tests marked `versions`
must pass. Warnings of old versions about what later ones drop are no errors here.
"""

from __future__ import annotations

import sys
from pathlib import Path

from environment import ROOT, environment

FILES = ("constraints-oldest.txt", "constraints-newest.txt")
EXTRAS = "c2pa,datasets,eval,heif,jxl,keys,remote,video,web"
TESTERS = ("pytest>=8", "beartype>=0.22", "httpx", "hypothesis", "scikit-image")
MARK = "pytest.mark.versions"


def main(files: list[str]) -> int:
    """Test the given constraint files; ends the process with a message if a version does not work."""
    tests = sorted(path for path in (ROOT / "tests").rglob("test_*.py") if MARK in path.read_text(encoding="utf-8"))
    if not tests:
        sys.exit(f"FAILED: no test is marked {MARK}")
    for name in files or FILES:
        print(f"== {name}", flush=True)
        _try(ROOT / name, tests)
    return 0


def _try(constraints: Path, tests: list[Path]) -> None:
    with environment() as own:
        own.install("-c", constraints, f"{ROOT}[{EXTRAS}]", *TESTERS)
        own.mend_opencv()
        newer = ("--outdated",) if constraints.name == FILES[-1] else ()
        own.run("python", "-m", "pip", "list", "--disable-pip-version-check", *newer)
        own.run("styleid", "doctor")
        options = ("-m", "versions", "-p", "no:cacheprovider", "-W", "default::DeprecationWarning", "--durations=10")
        own.run("python", "-m", "pytest", *options, *tests, cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
