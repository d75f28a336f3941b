"""Checks for all trainings.

Losses are finite, a run that was stopped and resumed ends with the same weights as one that was not, and an export
computes the same as torch.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from styleid.lab.tasks.loop import RunState, Task, load_checkpoint, save_checkpoint
from styleid.runtime import open_session

AnyTask = TypeVar("AnyTask", bound=Task)
Losses = dict[str, float]


def train(task: Task, first: int, last: int, planned: int, *, one_batch: bool = False) -> list[Losses]:
    """Train some steps and return their losses, which must be finite.

    Args:
        task: what to train.
        first: number of the first step.
        last: number after the last one.
        planned: how many steps the whole training would have.
        one_batch: draw the same views in each step, so that losses compare.
    """
    seen = []
    for step in range(first, last):
        losses = task.step(torch.Generator().manual_seed(0 if one_batch else step), step / planned)
        seen.append({name: float(value) for name, value in losses.items()})
    assert [losses for losses in seen if not np.isfinite(list(losses.values())).all()] == []
    return seen


def fell(seen: Sequence[Losses], name: str, steps: int = 5) -> float:
    """Return a loss's mean over the last few steps as a share of that over the first few."""
    return float(np.mean([s[name] for s in seen[-steps:]]) / np.mean([s[name] for s in seen[:steps]]))


def tensors(task: Task) -> dict[str, torch.Tensor]:
    """Return the weights and buffers of a task's networks by name."""
    return {f"{name}.{key}": v for name, net in task.networks.items() for key, v in net.state_dict().items()}


def differing(one: Task, other: Task) -> list[str]:
    """Return the names of the weights in which two tasks differ by any bit."""
    wanted, given = tensors(one), tensors(other)
    assert wanted.keys() == given.keys()
    return [name for name in wanted if not torch.equal(wanted[name], given[name])]


def assert_a_stop_changes_nothing(
    task_of: Callable[[], AnyTask], folder: Path, steps: int, planned: int, stop: int | None = None
) -> tuple[AnyTask, list[Losses]]:
    """Train one task straight through, and another that is saved and loaded into a third; return the first.

    Args:
        task_of: makes a task, the same each time.
        folder: where the second task is saved.
        steps: how many steps are trained.
        planned: how many steps the whole training would have.
        stop: after how many steps the second task is saved; without it, half way.

    Returns:
        The task that was not stopped, and its losses, step by step.
    """
    stop = steps // 2 if stop is None else stop
    straight, stopped, resumed = (task_of() for _ in range(3))
    seen = train(straight, 0, steps, planned)
    train(stopped, 0, stop, planned)
    save_checkpoint(stopped, RunState(stop), folder)
    assert load_checkpoint(resumed, folder).step == stop
    train(resumed, stop, steps, planned)
    assert differing(straight, resumed) == []
    return straight, seen


def assert_export_agrees(
    path: Path,
    network: Callable[..., torch.Tensor | Sequence[torch.Tensor]],
    inputs: Mapping[str, torch.Tensor],
    *,
    atol: float = 0.0,
    of_deviation: float = 0.0,
) -> None:
    """Compare an exported network's outputs with torch's; whole numbers, which no tolerance fits, are left out.

    Args:
        path: the ONNX file.
        network: computes the same in torch from the inputs, in their order.
        inputs: what both are given, by name.
        atol: how far an output may be off.
        of_deviation: how far it may be off as a share of its standard deviation, in addition.
    """
    given = open_session(path).run(None, {name: value.numpy() for name, value in inputs.items()})
    with torch.no_grad():
        wanted = network(*inputs.values())
    pairs = list(zip(given, [wanted] if isinstance(wanted, torch.Tensor) else wanted, strict=True))
    compared = [(a, b.numpy()) for a, b in pairs if b.is_floating_point()]
    assert compared
    for a, b in compared:
        assert a.shape == b.shape
        assert np.abs(a - b).max() < atol + of_deviation * b.std()
