"""Optimisers, schedules and precision that the tasks share."""

from __future__ import annotations

import functools
import math

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from styleid.lab.tasks.loop import Network

_MAX_GRADIENT_NORM = 5.0
"""Larger gradients are scaled down to this norm."""


def autocast(device: str) -> torch.autocast:
    """Return a context that computes in bfloat16 if that is faster.

    It is enabled on CUDA and on CPUs with bfloat16 instructions. Other CPUs emulate bfloat16, which is slow.

    Args:
        device: A torch device, such as cpu or cuda.
    """
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=kind != "cpu" or _cpu_multiplies_bfloat16())


@functools.cache
def _cpu_multiplies_bfloat16() -> bool:
    tell = getattr(torch.cpu, "get_capabilities", None)  # since torch 2.10
    can = tell() if tell is not None else {"avx512_bf16": True}
    return any(can.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def channels_last(network: Network, device: str) -> Network:
    """Move a network to a device, with channels-last convolution kernels, which bfloat16 convolutions read fastest.

    Parameters with more than four dimensions, such as StyleGAN2's modulated kernels, keep their layout.

    Returns:
        The same network.
    """
    for parameter in network.to(device).parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


class AutocastModule(nn.Module):
    """Wraps a network that is not trained: it runs under `autocast` and returns float32. Gradients pass through."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = channels_last(network, "cpu")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the network's output, float32, for images (n, c, h, w)."""
        with autocast(images.device.type):
            return self.network(images.contiguous(memory_format=torch.channels_last)).float()


def adam_with_decay(network: nn.Module, learning_rate: float, decay: float = 0.01) -> torch.optim.AdamW:
    """Return an AdamW optimiser with weight decay for matrices and kernels, but not for biases and normalisation.

    Args:
        network: The network, whose parameters that require gradients are optimised.
        learning_rate: Initial learning rate.
        decay: Weight decay.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, peak: float, progress: float, warm_up: float = 0.02) -> None:
    """Set the learning rate: a linear warm-up, then a cosine down to 1 % of the peak.

    Args:
        optimizer: The optimiser to change.
        peak: The largest learning rate.
        progress: 0 to 1 over the run.
        warm_up: Share of the run that the warm-up takes.
    """
    if progress < warm_up:
        rate = peak * max(progress / warm_up, 0.05)
    else:
        rate = peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up))))
    for group in optimizer.param_groups:
        group["lr"] = rate


def descend(loss: torch.Tensor, optimizer: torch.optim.Optimizer, network: nn.Module, average: nn.Module) -> None:
    """Take one optimiser step with clipped gradients, and update the network's moving average.

    Args:
        loss: A scalar with gradients.
        optimizer: The network's optimiser.
        network: The network.
        average: Its moving average, changed in place.
    """
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), _MAX_GRADIENT_NORM)
    optimizer.step()
    update_average(average, network, averaging_decay(optimizer))


def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Update an exponential moving average of a network's weights by one step. Buffers are copied.

    Args:
        average: The average, changed in place.
        network: A network of the same architecture.
        decay: Share of the old average that is kept, 0 to 1.
    """
    with torch.no_grad():
        parameters = dict(network.named_parameters())
        targets: list[torch.Tensor] = [p for _, p in average.named_parameters()]
        current = [parameters[name].detach() for name, _ in average.named_parameters()]
        get_ema_multi_avg_fn(decay)(targets, current, None)
        buffers = dict(network.named_buffers())
        for name, buffer in average.named_buffers():
            buffer.copy_(buffers[name])


def averaging_decay(optimizer: torch.optim.Optimizer, most: float = 0.999) -> float:
    """Return the decay of a moving average of the weights that extends over about a twentieth of the steps so far.

    In a short run, an average over a fixed long range would include weights from the beginning of the training.

    Args:
        optimizer: Its step count is read.
        most: Upper limit of the decay.
    """
    steps = max((float(state["step"]) for state in optimizer.state.values()), default=0.0)
    return min(most, steps / (steps + 20))
