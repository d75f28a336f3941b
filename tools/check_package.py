"""Build the wheel and the source distribution, install each into an empty environment, and use it.

Usage: `python tools/check_package.py`.
"""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

from environment import ROOT, Environment, environment

NEEDED = ("styleid/py.typed", "styleid/bundles/known_outputs.json", "styleid/bundles/aam128/bundle.json")
MOST_WHEEL_MB = 40


def main() -> int:
    """Build, compare and try; ends the process with a message if something is wrong."""
    with environment() as build:
        build.install("build")
        out = build.folder / "dist"
        build.run("python", "-m", "build", "--outdir", out, ROOT, quiet=True)
        (wheel,), (source,) = out.glob("*.whl"), out.glob("*.tar.gz")
        _compare(wheel, source)
        with environment() as empty:
            empty.install(wheel)
            empty.mend_opencv()
            _use(empty)
        with environment() as empty:
            empty.install("--no-deps", source)
            empty.run("python", "-c", "import styleid.version; print(styleid.version.__version__)")
    print("the wheel and the source distribution work")
    return 0


def _compare(wheel: Path, source: Path) -> None:
    """End the process if the build lacks a file of the package."""
    built = set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(source) as archive:
        names = archive.getnames()
    sources = {name.partition("/src/")[2] for name in names if "/src/" in name}
    package = ROOT / "src" / "styleid"
    files = {path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    wanted = {path.relative_to(ROOT / "src").as_posix() for path in files} | set(NEEDED)
    for name, held in ((wheel.name, built), (source.name, sources)):
        if missing := sorted(wanted - held):
            sys.exit(f"FAILED: {name} lacks {', '.join(missing[:5])}")
    if any(name.startswith(("tests/", "tools/")) for name in built):
        sys.exit(f"FAILED: {wheel.name} holds tests or tools")
    if (size := wheel.stat().st_size / 1e6) > MOST_WHEEL_MB:
        sys.exit(f"FAILED: {wheel.name} has {size:.0f} MB; at most {MOST_WHEEL_MB} are allowed")


def _use(empty: Environment) -> None:
    """Run commands with the newly installed package."""
    empty.run("styleid", "--version")
    empty.run("styleid", "doctor")
    empty.run("styleid", "anonymize", ROOT / "examples/group.jpg", "--out", "out", "--seed", "7", "--quiet")
    if not (empty.folder / "out" / "group.jpg").is_file():
        sys.exit("FAILED: styleid anonymize wrote no photo")


if __name__ == "__main__":
    sys.exit(main())
