"""Base class of tasks that train one network, the student. Its moving average is the result.

A subclass defines the loss terms of a step and how the result is measured. The base class weights and sums the terms.
Adversarial tasks (`generator`, `refiner`, `context_generator`) train two networks in turn and have their own steps.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Generic

import torch
from torch import nn

from styleid.lab.tasks.loop import Network
from styleid.lab.tasks.optim import adam_with_decay, channels_last, descend, set_learning_rate
from styleid.types import ImageRGB


class StudentTask(ABC, Generic[Network]):
    """Trains one network by AdamW with a warm-up and a cosine schedule; implements `styleid.lab.tasks.loop.Task`."""

    def __init__(
        self,
        name: str,
        student: Network,
        weights: Mapping[str, float],
        *,
        batch: int,
        learning_rate: float,
        decay: float = 0.01,
        device: str = "cpu",
    ) -> None:
        """Set up networks and optimiser.

        Args:
            name: Name of the moving average in the checkpoint. The student's name is "student".
            student: The network to train.
            weights: Weight of each loss term, by name.
            batch: Images per step.
            learning_rate: Peak of the learning rate.
            decay: Weight decay of matrices and kernels.
            device: cpu or cuda.
        """
        self.device, self.images_per_step, self.learning_rate = device, batch, learning_rate
        self._weights = dict(weights)
        self._average = copy.deepcopy(student).to(device).requires_grad_(False)
        self._student = channels_last(student, device)
        self._optimizer = adam_with_decay(self._student, learning_rate, decay)
        self.networks: dict[str, nn.Module] = {"student": self._student, name: self._average}
        self.optimizers: dict[str, torch.optim.Optimizer] = {"student": self._optimizer}

    def step(self, generator: torch.Generator, progress: float) -> Mapping[str, torch.Tensor]:
        """Take one optimiser step on the weighted sum of the terms, and return the terms."""
        set_learning_rate(self._optimizer, self.learning_rate, progress)
        self._student.train()
        terms = self.terms(generator, progress)
        loss = torch.stack([self._weights[name] * term for name, term in terms.items()]).sum()
        descend(loss, self._optimizer, self._student, self._average)
        return {name: term.detach() for name, term in terms.items()}

    @abstractmethod
    def terms(self, generator: torch.Generator, progress: float) -> Mapping[str, torch.Tensor]:
        """Return the loss terms of one batch, scalars by name. Each name has a weight.

        Args:
            generator: Source of all random numbers of the step.
            progress: 0 to 1 over the run.
        """

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Return figures of the moving average by name, measured on held-out faces."""

    def sheet(self) -> ImageRGB | None:
        """Return a picture of samples, or None if the task has no picture."""
        return None
