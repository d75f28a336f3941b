"""Run a training under a time budget: save as it goes, resume from what it saved.

A `Task` holds networks and optimisers and knows one step. Every step draws from a generator seeded by the run's seed
and the step's number, so that a run that was stopped and resumed ends with the same weights as one that was not.

A checkpoint is a folder: ``state.json`` and tensors in safetensors files of at most 15 MB. It is written under new
names and becomes valid when ``state.json`` is replaced, which is atomic.
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
from torch.optim.swa_utils import get_ema_multi_avg_fn

from styleid.errors import TrainingError

Network = TypeVar("Network", bound=nn.Module)

MAX_PART_BYTES = 14_900_000
"""Of tensors; a file's header comes on top, and the whole stays under 15 MB."""
MAX_TOTAL_BYTES = 60_000_000
_PRINT_EVERY_S = 20.0


class Task(Protocol):
    """What a training must bring. Every tensor that matters lives in `networks` or `optimizers`."""

    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    images_per_step: int

    def step(self, generator: torch.Generator, progress: float) -> Mapping[str, torch.Tensor | float]:
        """Train one step; progress runs from 0 to 1 over the run's planned steps or time."""
        ...

    def evaluate(self) -> dict[str, float]:
        """Measure the networks on held-out faces."""
        ...

    def sheet(self) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
        """Draw samples, uint8 RGB, or None where there is nothing to see."""
        ...


@dataclass(frozen=True)
class Keeping:
    """Say what a task's checkpoint holds.

    most_bytes: of its tensors. essential: where not everything fits, these networks alone are kept, in float16, without
    optimisers' moments; a network that is not kept begins again as a copy of the one named here, itself for those kept.
    """

    most_bytes: int = MAX_TOTAL_BYTES
    essential: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingOptions:
    """Bound a run.

    time_budget: this slice's length, such as 8m, 90s or 2h; it stops by itself, having saved.
    total_time: length of the whole training over all its slices, which schedules follow; 0 means this slice is all.
    steps: stop after so many steps in all; 0 sets no such bound. With it, schedules follow steps, not time.
    save_every: time between saves.
    resume_from: folder of a checkpoint to go on from; one that is empty or absent starts afresh.
    save_to: folder that the checkpoint is written to.
    seed: of everything random.
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
    """Count what a training has done so far."""

    step: int = 0
    seconds: float = 0.0
    images: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


def parse_duration(text: str) -> float:
    """Return seconds from 90s, 8m, 2h or a bare number of seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if match is None:
        raise TrainingError(f"'{text}' is not a length of time. Write 90s, 8m or 2h.")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def run(task: Task, options: TrainingOptions, say: Callable[[str], None] = print) -> RunState:
    """Train a task within its budget and return what was done in all; the checkpoint is in options.save_to."""
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
            raise TrainingError(f"The loss '{name}' is {value} at step {step}: lower the learning rate, or resume.")
    return values


def _line(state: RunState, rate: float, losses: Mapping[str, float]) -> str:
    shown = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
    return f"step {state.step}, {state.images / 1000:.0f} k images, {rate:.0f} images/s, {shown}"


def save_checkpoint(task: Task, state: RunState, folder: Path) -> None:
    """Write a checkpoint so that the folder holds a whole one at every moment, and draw its sheet."""
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
    """Return the tensors of a task's checkpoint, and whether they are all that there is."""
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
    """Return what a task's checkpoint holds; most tasks leave it at the usual."""
    return getattr(task, "keeping", Keeping(MAX_TOTAL_BYTES))


def _unused_stem(folder: Path, step: int) -> str:
    """Return a beginning of file names that no file has: a step can be saved twice, and the first must stay whole."""
    stems = (f"part-{step:08d}" + (f"-again{n}" if n else "") for n in itertools.count())
    return next(stem for stem in stems if not any(folder.glob(f"{stem}-[0-9]*")))


def load_checkpoint(task: Task, folder: Path, say: Callable[[str], None] | None = None) -> RunState:
    """Bring a task back to where a checkpoint left it; a folder without one starts afresh.

    say: told what the checkpoint did not hold.

    Raises TrainingError where the checkpoint cannot be read or is one of other networks.
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
        raise TrainingError(f"{folder} holds no whole checkpoint ({error}). Resume from another.") from error
    copies = _keeping(task).essential
    for name, network in task.networks.items():
        held = any(key.startswith(f"network.{name}.") for key in tensors)
        prefix = f"network.{name if held else copies.get(name, name)}."
        if not held and say is not None:
            say(f"The checkpoint has no '{name}' of its own: it goes on from '{copies.get(name, name)}'.")
        own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        try:
            network.load_state_dict(own, strict=True)
        except RuntimeError as error:
            raise TrainingError(f"{folder} holds another network than '{name}': {error}") from error
    for name, optimizer in task.optimizers.items():
        _restore_optimizer(optimizer, {k: v for k, v in tensors.items() if k.startswith(f"optimizer.{name}.")})
        if say is not None and not optimizer.state:
            say(f"The checkpoint has no moments of the optimiser '{name}': it gathers them anew.")
    return state


def save_networks(networks: dict[str, nn.Module], state: RunState, folder: Path) -> None:
    """Write networks as a checkpoint that training can go on from, without optimisers' moments."""
    save_checkpoint(_Holder(networks, {}), state, folder)


def load_network(network: Network, folder: Path, name: str) -> Network:
    """Load one network of a checkpoint, strictly, and return it in evaluation mode."""
    holder = _Holder({name: network}, {})
    if not (folder / "state.json").is_file():
        raise TrainingError(f"{folder} holds no checkpoint (state.json is missing). Train '{name}' first.")
    load_checkpoint(holder, folder)
    return network.eval().requires_grad_(False)


def read_state(folder: Path, name: str) -> dict[str, torch.Tensor]:
    """Read one network's tensors of a checkpoint; raises TrainingError where it holds none."""
    prefix = f"network.{name}."
    state: dict[str, torch.Tensor] = {}
    if (folder / "state.json").is_file():
        try:
            for part in json.loads((folder / "state.json").read_text())["files"]:
                with safe_open(folder / part, "pt") as file:
                    state |= {k[len(prefix) :]: file.get_tensor(k) for k in file.keys() if k.startswith(prefix)}  # noqa: SIM118
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise TrainingError(f"{folder} holds a checkpoint that cannot be read: {error}") from error
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


def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move an exponential moving average of a network's weights one step; buffers are copied."""
    with torch.no_grad():
        parameters = dict(network.named_parameters())
        targets: list[torch.Tensor] = [p for _, p in average.named_parameters()]
        current = [parameters[name].detach() for name, _ in average.named_parameters()]
        get_ema_multi_avg_fn(decay)(targets, current, None)
        buffers = dict(network.named_buffers())
        for name, buffer in average.named_buffers():
            buffer.copy_(buffers[name])


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
            # fused optimisers pair moments with weights by address, so both must lie in memory alike
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
    """Write a file beside its place and move it there, so that it is never half written."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)
