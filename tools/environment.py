"""Make a virtual environment in a temporary folder and run commands in it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class Environment:
    """A virtual environment. Commands run outside the repository, so that nothing is imported from it by chance."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        venv.create(folder / "venv", with_pip=True)

    def run(self, *command: str | Path, cwd: Path | None = None, quiet: bool = False) -> None:
        """Run one of the environment's commands; raises CalledProcessError if it fails.

        quiet: show what it prints only where it fails.
        """
        print("$", *command, flush=True)
        name, *arguments = command
        left_out = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
        environ = {key: value for key, value in os.environ.items() if key not in left_out}
        options = {"cwd": cwd or self.folder, "env": environ, "capture_output": quiet, "text": True}
        done = subprocess.run([self.bin / name, *arguments], check=False, **options)
        if done.returncode:
            print(done.stdout or "", done.stderr or "", file=sys.stderr)
            done.check_returncode()

    def install(self, *what: str | Path) -> None:
        """Install packages."""
        self.run("python", "-m", "pip", "install", "-qq", "--disable-pip-version-check", *what)

    def mend_opencv(self) -> None:
        """Install OpenCV's headless build if the usual one needs libraries that this machine lacks."""
        python = self.bin / "python"
        if subprocess.run([python, "-c", "import cv2"], capture_output=True, check=False).returncode:
            ask = "import importlib.metadata; print(importlib.metadata.version('opencv-python'))"
            version = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
            self.install("--no-deps", "--force-reinstall", f"opencv-python-headless=={version}")


@contextmanager
def environment() -> Iterator[Environment]:
    """Yield a new environment and remove it afterwards; ends the process if a command in it fails."""
    with tempfile.TemporaryDirectory(prefix="styleid-check-") as folder:
        try:
            yield Environment(Path(folder))
        except subprocess.CalledProcessError as error:
            sys.exit(f"FAILED: {' '.join(map(str, error.cmd))}")
