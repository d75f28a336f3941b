"""What holds for every training: a run that was stopped and resumed ends as one that was not."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from styleid.lab.tasks.loop import RunState, Task, load_checkpoint, save_checkpoint

AnyTask = TypeVar("AnyTask", bound=Task)


def assert_a_stop_changes_nothing(
    task_of: Callable[[], AnyTask], train: Callable[[AnyTask, int, int], object], folder: Path, steps: int
) -> None:
    """Train one task straight through, and another that is saved half way and loaded into a third."""
    straight, stopped, resumed = (task_of() for _ in range(3))
    train(straight, 0, steps)
    train(stopped, 0, steps // 2)
    save_checkpoint(stopped, RunState(steps // 2), folder)
    load_checkpoint(resumed, folder)
    train(resumed, steps // 2, steps)
    for name, network in straight.networks.items():
        given = resumed.networks[name].state_dict()
        assert [key for key, value in network.state_dict().items() if not torch.equal(value, given[key])] == []
