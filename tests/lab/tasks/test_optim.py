"""Schedules, decay and memory layout."""

import pytest
import torch
from torch import nn

from styleid.lab.networks.stylegan2 import Generator, GeneratorConfig
from styleid.lab.tasks.optim import adam_with_decay, channels_last, set_learning_rate
from tests.lab.small import crops


def test_rates_warm_up_and_fall_to_a_hundredth() -> None:
    optimizer = adam_with_decay(nn.Linear(3, 2), 1.0)
    rates = []
    for progress in (0.0, 0.01, 0.02, 0.51, 1.0):
        set_learning_rate(optimizer, 2.0, progress)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1, 1.0, 2.0, 1.01, 0.02])
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]
    assert [p.ndim for group in optimizer.param_groups for p in group["params"]] == [2, 1]


def test_kernels_are_laid_out_channels_last_and_compute_the_same() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3)).eval()
    with torch.no_grad():
        before = network(crops(2))
        after = channels_last(network, "cpu")(crops(2))
    kernels = [parameter for parameter in network.parameters() if parameter.ndim == 4]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
    assert torch.allclose(before, after, atol=1e-5)


def test_modulated_kernels_keep_their_layout() -> None:
    generator = channels_last(Generator(GeneratorConfig.mini(8, 16, most_channels=8)), "cpu")
    modulated = [parameter for parameter in generator.parameters() if parameter.ndim == 5]
    assert modulated
    assert all(kernel.is_contiguous() for kernel in modulated)
