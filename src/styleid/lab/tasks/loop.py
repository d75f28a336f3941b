"""The training loop: runs a task within a time budget, saves checkpoints and resumes from them.

A `Task` holds networks and optimisers and trains one step at a time. Each step gets a random generator seeded by the
run's seed and the step's number. If the number of steps is limited and the checkpoint is exact, a run that was stopped
and resumed on a CPU therefore ends with the same weights as one that was not stopped.

A checkpoint is a folder: ``state.json`` and tensors in safetensors files of at most 15 MB. Tensors are written under
new names; the checkpoint becomes valid when ``state.json`` is replaced, which is atomic.
"""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from styleid.errors import TrainingError

Network = TypeVar("Network", bound=nn.Module)

MAX_PART_BYTES = 14_900_000
"""Most bytes of tensors in a file. With the file's header it stays under 15 MB."""
MAX_TOTAL_BYTES = 60_000_000
_PRINT_EVERY_S = 20.0


class Task(Protocol):
    """A training task. All state that a checkpoint must keep is in `networks` or `optimizers`.

    Attributes:
        networks: Networks by their names in the checkpoint.
        optimizers: Optimisers by their names in the checkpoint.
        images_per_step: Number of images that a step counts as.
    """

    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    images_per_step: int

    def step(self, generator: torch.Generator, progress: float) -> Mapping[str, torch.Tensor | float]:
        """Train one step.

        Args:
            generator: Source of all random numbers of the step.
            progress: Share of the planned steps or time that is over, 0 to 1, for schedules.

        Returns:
            Losses by name, scalars.
        """
        ...

    def evaluate(self) -> dict[str, float]:
        """Return figures by name, measured on held-out faces."""
        ...

    def sheet(self) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
        """Return a picture of samples, uint8 (h, w, 3), RGB, or None if the task has no picture."""
        ...


@dataclass(frozen=True)
class Keeping:
    """What a task's checkpoint keeps if its tensors exceed a limit.

    Attributes:
        most_bytes: Limit of the tensors' size.
        essential: Maps each network to the network whose weights it gets on resuming; a network that is kept maps to
            itself. Above the limit only these kept networks are stored, in float16 and without the optimisers' moments.
            If it is empty, all weights are stored, and the moments in bfloat16 if they fit.
    """

    most_bytes: int = MAX_TOTAL_BYTES
    essential: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingOptions:
    """Limits, checkpoint folders and seed of a run.

    time_budget: duration of this run, one slice of the training, such as 90s, 8m or 2h. The run then saves a checkpoint
        and stops.
    total_time: planned duration of all slices together, which the schedules of learning rates follow. 0 means that this
        slice ends the schedules.
    steps: maximum number of steps of all slices together; 0 sets no limit. With a limit, schedules follow steps instead
        of time.
    save_every: time between checkpoints, such as 90s or 4m.
    resume_from: folder of a checkpoint to continue from. If it is empty or missing, the training starts anew.
    save_to: folder that the checkpoint is written to.
    seed: seed of all random numbers.
    """

    time_budget: str = "8m"
    total_time: str = "0s"
    steps: int = 0
    save_every: str = "4m"
    resume_from: Path | None = None
    save_to: Path = Path("checkpoint")
    seed: int = 0


@dataclass
class RunState:
    """Progress of a training over all its slices.

    Attributes:
        step: Number of steps.
        seconds: Training time.
        images: Number of images seen.
        history: One record per finished slice: step, seconds, images and the figures of `Task.evaluate`.
    """

    step: int = 0
    seconds: float = 0.0
    images: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


def parse_duration(text: str) -> float:
    """Return the seconds of a duration such as 90s, 8m, 2h or 90.

    Raises:
        TrainingError: If the text is not a duration.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if match is None:
        raise TrainingError(f"'{text}' is not a duration. Write, for example, 90s, 8m or 2h.")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def run(task: Task, options: TrainingOptions, say: Callable[[str], None] = print) -> RunState:
    """Train a task within its time budget, evaluate it, and save the checkpoint to `options.save_to`.

    Args:
        task: The task.
        options: Limits, folders and seed.
        say: Called with a line of progress every 20 seconds and at the end.

    Returns:
        The progress over all slices.

    Raises:
        TrainingError: If a duration or the checkpoint cannot be read, or a loss is not finite.
    """
    started = time.monotonic()
    budget, save_every = parse_duration(options.time_budget), parse_duration(options.save_every)
    state = load_checkpoint(task, options.resume_from, say) if options.resume_from else RunState()
    total = parse_duration(options.total_time) or state.seconds + budget
    before = state.seconds
    last_print = last_save = started
    step_at_print, recent = state.step, dict[str, float]()
    while not options.steps or state.step < options.steps:
        elapsed = time.monotonic() - started
        if elapsed >= budget:
            break
        progress = state.step / options.steps if options.steps else min(1.0, (before + elapsed) / total)
        generator = torch.Generator().manual_seed(options.seed * 1_000_003 + state.step)
        losses = task.step(generator, progress)
        state.step += 1
        state.images += task.images_per_step
        now = time.monotonic()
        state.seconds = before + now - started
        if now - last_print >= _PRINT_EVERY_S:
            recent = _numbers(losses, state.step)
            rate = (state.step - step_at_print) * task.images_per_step / (now - last_print)
            say(_line(state, rate, recent))
            last_print, step_at_print = now, state.step
        if now - last_save >= save_every:
            save_checkpoint(task, state, options.save_to)
            last_save = time.monotonic()
    measured = task.evaluate()
    state.history.append({"step": state.step, "seconds": round(state.seconds), "images": state.images} | measured)
    say(f"step {state.step}: " + ", ".join(f"{name} {value:.4f}" for name, value in measured.items()))
    save_checkpoint(task, state, options.save_to)
    return state


def _numbers(losses: Mapping[str, torch.Tensor | float], step: int) -> dict[str, float]:
    values = {name: float(value) for name, value in losses.items()}
    for name, value in values.items():
        if not np.isfinite(value):
            raise TrainingError(
                f"The loss '{name}' is {value} at step {step}. Resume from the last checkpoint, or lower the learning "
                "rate."
            )
    return values


def _line(state: RunState, rate: float, losses: Mapping[str, float]) -> str:
    shown = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
    return f"step {state.step}, {state.images / 1000:.0f} k images, {rate:.0f} images/s, {shown}"


def save_checkpoint(task: Task, state: RunState, folder: Path) -> None:
    """Write a checkpoint and its sheet.png to a folder, which is created if necessary.

    The folder holds a complete checkpoint at any time. Older tensors in it are removed at the end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors, exact = _kept(task)
    files: list[str] = []
    stem = _unused_stem(folder, state.step)
    for number, part in enumerate(_split(tensors)):
        name = f"{stem}-{number:02d}.safetensors"
        save_file(part, folder / name)
        files.append(name)
    record = {"step": state.step, "seconds": state.seconds, "images": state.images, "history": state.history}
    replace_whole(folder / "state.json", json.dumps(record | {"files": files, "exact": exact}, indent=1).encode())
    for stale in set(folder.glob("part-*.safetensors")) - {folder / name for name in files}:
        stale.unlink()
    if (sheet := task.sheet()) is not None:
        replace_whole(folder / "sheet.png", cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())


def _kept(task: Task) -> tuple[dict[str, torch.Tensor], bool]:
    """Return the tensors of a task's checkpoint, and whether they are complete and exact."""
    keeping = _keeping(task)
    weights, moments = _tensors(task)
    if _bytes(weights) + _bytes(moments) <= keeping.most_bytes:
        return weights | moments, True
    if keeping.essential:
        kept = tuple(f"network.{name}." for name in set(keeping.essential.values()))
        chosen = {name: tensor for name, tensor in weights.items() if name.startswith(kept)}
        return {name: t.half() if t.is_floating_point() else t for name, t in chosen.items()}, False
    moments = {name: t.to(torch.bfloat16) if t.numel() > 1 else t for name, t in moments.items()}
    fits = _bytes(weights) + _bytes(moments) <= keeping.most_bytes
    return weights | (moments if fits else {}), False


def _keeping(task: Task) -> Keeping:
    """Return what a task's checkpoint keeps; most tasks use the default."""
    return getattr(task, "keeping", Keeping(MAX_TOTAL_BYTES))


def _unused_stem(folder: Path, step: int) -> str:
    """Return an unused prefix for file names. A step can be saved twice, and the first checkpoint must stay intact."""
    stems = (f"part-{step:08d}" + (f"-again{n}" if n else "") for n in itertools.count())
    return next(stem for stem in stems if not any(folder.glob(f"{stem}-[0-9]*")))


def load_checkpoint(task: Task, folder: Path, say: Callable[[str], None] | None = None) -> RunState:
    """Restore a task from a checkpoint.

    Args:
        task: The task, whose networks and optimisers are overwritten.
        folder: The checkpoint's folder; if it holds no checkpoint, the task is left as it is.
        say: Called with a line about each part that the checkpoint does not hold.

    Returns:
        The progress that the checkpoint records.

    Raises:
        TrainingError: If the checkpoint cannot be read, or its networks are not the task's.
    """
    path = folder / "state.json"
    if not path.is_file():
        return RunState()
    try:
        record = json.loads(path.read_text())
        state = RunState(record["step"], record["seconds"], record["images"], record["history"])
        tensors: dict[str, torch.Tensor] = {}
        for name in record["files"]:
            with safe_open(folder / name, "pt") as file:
                tensors |= {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise TrainingError(f"The checkpoint {folder} cannot be read ({error}). Resume from another one.") from error
    copies = _keeping(task).essential
    for name, network in task.networks.items():
        held = any(key.startswith(f"network.{name}.") for key in tensors)
        prefix = f"network.{name if held else copies.get(name, name)}."
        if not held and say is not None:
            say(f"The checkpoint does not hold the network '{name}'. It starts from '{copies.get(name, name)}'.")
        own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        try:
            network.load_state_dict(own, strict=True)
        except RuntimeError as error:
            raise TrainingError(f"The network '{name}' in {folder} does not fit this task: {error}") from error
    for name, optimizer in task.optimizers.items():
        _restore_optimizer(optimizer, {k: v for k, v in tensors.items() if k.startswith(f"optimizer.{name}.")})
        if say is not None and not optimizer.state:
            say(f"The checkpoint does not hold the moments of the optimiser '{name}'. They start at zero.")
    return state


def save_networks(networks: dict[str, nn.Module], state: RunState, folder: Path) -> None:
    """Write networks, by name, as a checkpoint to continue training from, without optimisers' moments."""
    save_checkpoint(_Holder(networks, {}), state, folder)


def load_network(network: Network, folder: Path, name: str) -> Network:
    """Load the network of a name from a checkpoint, and return it in evaluation mode, without gradients.

    Raises:
        TrainingError: If the folder holds no checkpoint, or its tensors do not fit the network exactly.
    """
    holder = _Holder({name: network}, {})
    if not (folder / "state.json").is_file():
        raise TrainingError(f"{folder} holds no checkpoint (state.json is missing). Train '{name}' first.")
    load_checkpoint(holder, folder)
    return network.eval().requires_grad_(False)


def read_state(folder: Path, name: str) -> dict[str, torch.Tensor]:
    """Read one network's tensors of a checkpoint.

    Args:
        folder: The checkpoint's folder.
        name: The network's name in the checkpoint.

    Returns:
        Tensors by name.

    Raises:
        TrainingError: If the checkpoint is missing, cannot be read, or does not hold the network.
    """
    prefix = f"network.{name}."
    state: dict[str, torch.Tensor] = {}
    if (folder / "state.json").is_file():
        try:
            for part in json.loads((folder / "state.json").read_text())["files"]:
                with safe_open(folder / part, "pt") as file:
                    state |= {k[len(prefix) :]: file.get_tensor(k) for k in file.keys() if k.startswith(prefix)}  # noqa: SIM118
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise TrainingError(f"The checkpoint {folder} cannot be read: {error}") from error
    if not state:
        raise TrainingError(f"{folder} holds no checkpoint with a network '{name}'. Type: styleid train --help")
    return state


@dataclass
class _Holder:
    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    images_per_step: int = 0

    def step(self, generator: torch.Generator, progress: float) -> Mapping[str, float]:
        raise TypeError("This task only loads and saves.")

    def evaluate(self) -> dict[str, float]:
        return {}

    def sheet(self) -> None:
        return None


def _tensors(task: Task) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    weights: dict[str, torch.Tensor] = {}
    for name, network in task.networks.items():
        for key, value in network.state_dict().items():
            weights[f"network.{name}.{key}"] = value.detach().cpu().contiguous().clone()
    moments: dict[str, torch.Tensor] = {}
    for name, optimizer in task.optimizers.items():
        for index, values in optimizer.state_dict()["state"].items():
            for key, value in values.items():
                moments[f"optimizer.{name}.{index}.{key}"] = torch.as_tensor(value).detach().cpu().contiguous().clone()
    return weights, moments


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    if not tensors:
        return
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        _, _, index, key = name.split(".")
        state.setdefault(int(index), {})[key] = value.float() if value.is_floating_point() else value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    for parameter, restored in optimizer.state.items():
        for key, value in restored.items():
            # fused optimisers pair moments with weights by memory position, so both need the same strides
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                restored[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _bytes(tensors: Mapping[str, torch.Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors.values())


def _split(tensors: dict[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    parts: list[dict[str, torch.Tensor]] = [{}]
    for name, tensor in tensors.items():
        if parts[-1] and _bytes(parts[-1]) + _bytes({name: tensor}) > MAX_PART_BYTES:
            parts.append({})
        parts[-1][name] = tensor
    return parts


def replace_whole(path: Path, content: bytes) -> None:
    """Write a file atomically: to a temporary file beside it, which is then renamed."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)
