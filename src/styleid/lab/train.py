"""Train the networks of a bundle: a table of tasks, one run contract (`styleid.lab.loop`)."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from styleid.lab.loop import RunOptions, Task, run
from styleid.lab.pack import Pack


def make_task(name: str, pack: Pack, teachers: Path, device: str, batch: int) -> Task:
    """Build the named task on a pack."""
    size = {"batch": batch} if batch else {}
    if name == "identity":
        from styleid.lab.identity import IdentityTask

        return IdentityTask(pack, teachers, device=device, **size)
    if name == "parser":
        from styleid.lab.parser import ParserTask

        return ParserTask(pack, device=device, **size)
    if name == "attributes":
        from styleid.lab.attributes import AttributesTask

        return AttributesTask(pack, device=device, **size)
    raise KeyError(name)


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--teachers", type=Path)
    parser.add_argument("--time-budget", default="8m")
    parser.add_argument("--total-time", default="0s")
    parser.add_argument("--save-every", default="5m")
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--resume-from", type=Path)
    parser.add_argument("--save-to", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    a = parser.parse_args(arguments)
    task = make_task(a.name, Pack.load(a.data), a.teachers, a.device, a.batch)
    run(task, RunOptions(a.time_budget, a.total_time, a.steps, a.save_every, a.resume_from, a.save_to), say)


if __name__ == "__main__":
    main()
