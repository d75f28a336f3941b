"""Start and stop a service for a benchmark, and measure its memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np


class Desk:
    """A service in a separate process, on a free local port.

    Attributes:
        process: The process.
        address: URL of the service, such as http://127.0.0.1:40123.
    """

    def __init__(self, data: Path, *options: str) -> None:
        """Start the service, and wait until it listens.

        Args:
            data: Data folder of the service.
            *options: Further options of `styleid serve`.
        """
        command = [sys.executable, "-m", "styleid", "serve", "--port", "0", "--data", str(data), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if " on " not in line:
            raise SystemExit(f"styleid serve did not start: {line!r}")
        self.address = line.split(" on ")[1].split()[0]

    def kill(self) -> None:
        """Kill the service (SIGKILL)."""
        self.process.kill()
        self.process.communicate()

    def end(self) -> None:
        """Stop the service, and wait for its end."""
        self.process.terminate()
        self.process.communicate(timeout=120)

    def resident_mib(self) -> float:
        """Return the resident memory of the service, in MiB. Linux only."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def work_folder(given: Path | None) -> Iterator[Path]:
    """Yield a work folder: the given one, which is kept, or a temporary one."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    folder = Path(tempfile.mkdtemp(prefix="styleid-desk-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def make_portraits(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """Write small JPEG files with one face each, from scikit-image's astronaut, and return their paths."""
    import skimage.data
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    astronaut = Image.fromarray(skimage.data.astronaut())
    paths = []
    for number in range(count):
        x, y = (int(v) for v in rng.integers((60, 0), (110, 20)))
        side = int(rng.integers(220, 300))
        scaled = int(rng.integers(200, 320))
        path = folder / f"{number:04d}.jpg"
        astronaut.crop((x, y, x + side, y + side)).resize((scaled, scaled)).save(path, quality=92)
        paths.append(path)
    return paths
