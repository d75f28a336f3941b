"""The base class of tasks that train one network: weighted terms, the moving average, checkpoints."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from styleid.lab.tasks.student import StudentTask
from tests.lab.training_tester import assert_a_stop_changes_nothing, train

WEIGHTS = {"near": 1.0, "small": 0.25}


class Line(StudentTask[nn.Linear]):
    """Learns the sum of three numbers with a small layer."""

    def __init__(self, weights: Mapping[str, float] = WEIGHTS) -> None:
        torch.manual_seed(0)
        super().__init__("line", nn.Linear(3, 1), weights, batch=16, learning_rate=0.05)

    def terms(self, generator: torch.Generator, progress: float) -> Mapping[str, torch.Tensor]:
        inputs = torch.randn(self.images_per_step, 3, generator=generator)
        missed = self._student(inputs)[:, 0] - inputs.sum(1)
        return {"near": missed.square().mean(), "small": self._student.weight.square().mean()}

    def evaluate(self) -> dict[str, float]:
        return {"off": float((self._average.weight - 1).abs().mean())}


def test_the_student_learns_and_its_average_follows() -> None:
    task = Line({"near": 1.0, "small": 0.0})
    before = task.evaluate()["off"]
    seen = train(task, 0, 60, 60)
    assert set(seen[0]) == {"near", "small"}
    assert seen[-1]["near"] < 0.1 * seen[0]["near"]
    assert task.evaluate()["off"] < 0.3 * before
    assert task.sheet() is None


def test_checkpoints_name_the_student_and_the_average() -> None:
    task = Line()
    assert list(task.networks) == ["student", "line"]
    assert not any(parameter.requires_grad for parameter in task.networks["line"].parameters())
    for name, value in task.networks["student"].state_dict().items():
        assert torch.equal(value, task.networks["line"].state_dict()[name])


@pytest.mark.parametrize("weight", [0.0, 0.25, 4.0])
def test_a_step_descends_the_weighted_sum(weight: float) -> None:
    task, generator = Line({"near": 1.0, "small": weight}), torch.Generator().manual_seed(1)
    terms = task.terms(generator, 0.5)
    layer = task.networks["student"].get_parameter("weight")
    (wanted,) = torch.autograd.grad(terms["near"] + weight * terms["small"], layer)
    task.step(torch.Generator().manual_seed(1), 0.5)
    assert layer.grad is not None
    assert torch.allclose(
        layer.grad / layer.grad.norm(), wanted / wanted.norm(), atol=1e-5
    )  # the gradient may be clipped


def test_a_term_without_a_weight_is_an_error() -> None:
    with pytest.raises(KeyError, match="small"):
        Line({"near": 1.0}).step(torch.Generator().manual_seed(0), 0.0)


def test_a_stop_changes_nothing(tmp_path: Path) -> None:
    assert_a_stop_changes_nothing(Line, tmp_path, 6, 60)
