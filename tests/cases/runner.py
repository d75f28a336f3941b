"""Run the command on an input that another tool made, and examine all outputs."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from styleid.cli import main
from styleid.engine.journal import NAME

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Result:
    """What a run came to. status: the exit status. out: what it wrote to. stdout, stderr: what it said."""

    status: int
    out: Path
    stdout: str
    stderr: str
    records: list[dict[str, Any]] = field(default_factory=list)

    @property
    def files(self) -> dict[str, bytes]:
        """Each file that was written but the journal, by its name below the output folder."""
        if self.out.is_file():
            return {self.out.name: self.out.read_bytes()}
        found = (path for path in self.out.rglob("*") if path.is_file() and path.name != NAME)
        return {path.relative_to(self.out).as_posix(): path.read_bytes() for path in found}

    @property
    def errors(self) -> dict[str, str]:
        """The journal's errors by input; the last line of each input counts."""
        last = {record["input"]: record for record in self.records}
        return {name: record["error"] for name, record in last.items() if "error" in record}


def run(*arguments: str | Path, out: Path) -> Result:
    """Run the command in this process; out is where the arguments have it write, a folder or a file."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = int(stop.code or 0)
    journal = out / NAME
    lines = journal.read_text(encoding="utf-8").splitlines() if journal.is_file() else []
    return Result(status, out, stdout.getvalue(), stderr.getvalue(), [json.loads(line) for line in lines])


def share_changed(before: np.ndarray, after: np.ndarray, box: Box) -> float:
    """Return the share of a box's pixels that differ in any channel. box: x0, y0, x1, y1, the ends left out."""
    x0, y0, x1, y1 = box
    pairs = (np.atleast_3d(one)[y0:y1, x0:x1].astype(np.int64) for one in (before, after))
    first, second = pairs
    return float((first != second).any(2).mean())


def pixels(path: Path) -> np.ndarray:
    """Return a picture's pixels as they are stored, in its own mode."""
    with Image.open(path) as image:
        return np.asarray(image)


def needs_tool(name: str) -> str:
    """Return the path of a program of this machine; skip the test where there is none, and say so."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: this test checks with it")
    return found
