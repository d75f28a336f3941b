"""Run a command as a separate process, and measure it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Unit of the peak memory that the system reports, in bytes."""


@dataclass(frozen=True)
class Finished:
    """A process that has ended.

    Attributes:
        status: Exit status.
        seconds: Wall-clock time.
        cpu_seconds: User and system time.
        peak_bytes: Peak resident memory.
        stdout: What it wrote to its standard output.
        stderr: What it wrote to its standard error.
    """

    status: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    stdout: str
    stderr: str


def finished(command: Sequence[str], env: Mapping[str, str] | None = None) -> Finished:
    """Run a command to its end. env: its environment; None for that of this process."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        begun = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * _RSS_UNIT
        return Finished(process.returncode, seconds, cpu, peak, stdout.read(), stderr.read())
