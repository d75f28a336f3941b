"""What trainings of one network share: a student that descends, and its moving average, which is what is shipped.

A training of a `StudentTask` says which loss terms a step has and how its result is measured; the terms are weighted
and summed here. Adversarial trainings (`generator`, `refiner`) have two networks that descend in turn, and run their
own steps.
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
    """Train one network by AdamW, with a warm-up and a cosine; see `styleid.lab.tasks.loop.Task`."""

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
            name: of the moving average in a checkpoint. The student's is "student".
            student: the network as training begins with it.
            weights: of each loss term, by name.
            batch: images per step.
            learning_rate: its peak.
            decay: of matrices and kernels.
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
        """Take one step down the weighted sum of the terms, and return the terms."""
        set_learning_rate(self._optimizer, self.learning_rate, progress)
        self._student.train()
        terms = self.terms(generator, progress)
        loss = torch.stack([self._weights[name] * term for name, term in terms.items()]).sum()
        descend(loss, self._optimizer, self._student, self._average)
        return {name: term.detach() for name, term in terms.items()}

    @abstractmethod
    def terms(self, generator: torch.Generator, progress: float) -> Mapping[str, torch.Tensor]:
        """Return the loss terms of one batch, scalars, by name; each name has a weight.

        Args:
            generator: what every random number of the step comes from.
            progress: from 0 to 1 over the run.
        """

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Measure the moving average on held-out faces."""

    def sheet(self) -> ImageRGB | None:
        """Draw samples; None where there is nothing to see."""
        return None
