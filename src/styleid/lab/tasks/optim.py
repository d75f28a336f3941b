"""Optimisers, schedules and precision that the trainers share."""

from __future__ import annotations

import functools
import math

import torch
from torch import nn

from styleid.lab.tasks.loop import Network, update_average

_STEEPEST = 5.0
"""Norm that a gradient is brought down to."""


def autocast(device: str) -> torch.autocast:
    """Compute in bfloat16 where it pays: on CUDA, and on CPUs that multiply it; others only imitate it, slowly."""
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=kind != "cpu" or _cpu_multiplies_bfloat16())


@functools.cache
def _cpu_multiplies_bfloat16() -> bool:
    tell = getattr(torch.cpu, "get_capabilities", None)  # since torch 2.10
    can = tell() if tell is not None else {"avx512_bf16": True}
    return any(can.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def channels_last(network: Network, device: str) -> Network:
    """Move a network to a device, its kernels laid out as convolutions of bfloat16 read them fastest.

    Kernels of more dimensions, such as those that StyleGAN2 modulates, stay as they are.
    """
    for parameter in network.to(device).parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


class Quick(nn.Module):
    """Compute a network that is only looked through as `autocast` says, from float32 to float32; gradients pass."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = channels_last(network, "cpu")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the network's output for images (n, c, h, w)."""
        with autocast(images.device.type):
            return self.network(images.contiguous(memory_format=torch.channels_last)).float()


def adam_with_decay(network: nn.Module, learning_rate: float, decay: float = 0.01) -> torch.optim.AdamW:
    """Return AdamW that decays matrices and kernels, but neither biases nor normalisation."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, peak: float, progress: float, warm_up: float = 0.02) -> None:
    """Set a warm-up followed by a cosine to 1 % of the peak."""
    if progress < warm_up:
        rate = peak * max(progress / warm_up, 0.05)
    else:
        rate = peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up))))
    for group in optimizer.param_groups:
        group["lr"] = rate


def descend(loss: torch.Tensor, optimizer: torch.optim.Optimizer, network: nn.Module, average: nn.Module) -> None:
    """Take one step down a loss, its gradient bounded, and let the network's moving average follow."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), _STEEPEST)
    optimizer.step()
    update_average(average, network, averaging_decay(optimizer))


def averaging_decay(optimizer: torch.optim.Optimizer, most: float = 0.999) -> float:
    """Return the decay of a moving average of the weights, whose reach is a twentieth of the steps so far.

    A fixed long reach would, in a short run, average over weights that knew nothing yet.
    """
    steps = max((float(state["step"]) for state in optimizer.state.values()), default=0.0)
    return min(most, steps / (steps + 20))
