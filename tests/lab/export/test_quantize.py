"""8-bit convolutions: they are quantised, close to floating point, and refused if the error is too large."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from styleid.errors import TrainingError
from styleid.lab.export.network import export_network
from styleid.runtime import open_session


class Classifier(nn.Module):
    """Convolutions, of which the first gets the image, then a matrix that is not quantised."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.trunk = nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1), nn.ReLU(), nn.Conv2d(24, 32, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(32, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.trunk(x).mean((2, 3)))


def views(count: int, seed: int) -> np.ndarray:
    """Return images that differ in brightness and contrast, (count, 3, 32, 32)."""
    draw = np.random.default_rng(seed)
    level, contrast = draw.uniform(-0.5, 0.5, (count, 3, 1, 1)), draw.uniform(0.1, 0.6, (count, 1, 1, 1))
    return (level + contrast * draw.standard_normal((count, 3, 32, 32))).clip(-1, 1).astype(np.float32)


def test_convolutions_become_8_bit_and_stay_near(tmp_path: Path) -> None:
    network, inputs = Classifier(), {"image": torch.from_numpy(views(2, 0))}
    whole = export_network(network, inputs, ["scores"], tmp_path / "whole.onnx")
    report = export_network(network, inputs, ["scores"], tmp_path / "small.onnx", examples={"image": views(64, 1)})
    assert whole.rounding == 0 < report.rounding < 0.1
    graph = onnx.load(report.path).graph
    kernels = [tensor for tensor in graph.initializer if len(tensor.dims) == 4]
    assert [tensor.dims[0] for tensor in kernels if tensor.data_type != onnx.TensorProto.INT8] == [24]  # the first
    (inner,) = (tensor for tensor in kernels if tensor.data_type == onnx.TensorProto.INT8)
    assert np.abs(onnx.numpy_helper.to_array(inner)).max() <= 64  # seven bits, so that two products fit into 16
    fresh = views(40, 2)
    wanted, given = (open_session(path).run(None, {"image": fresh})[0] for path in (whole.path, report.path))
    assert 0 < np.sqrt(((given - wanted) ** 2).mean()) < 0.1 * wanted.std()


def test_the_same_examples_give_the_same_file(tmp_path: Path) -> None:
    inputs, examples = {"image": torch.from_numpy(views(2, 0))}, {"image": views(32, 3)}
    files = [
        export_network(Classifier(), inputs, ["scores"], tmp_path / name, examples=examples) for name in ("a", "b")
    ]
    assert files[0].sha256 == files[1].sha256
    assert str(tmp_path).encode() not in files[0].path.read_bytes()


class Projection(nn.Module):
    """A projection onto a large matrix that is stored as integers, and back, and a small matrix."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(6)
        self.register_buffer("basis", torch.randint(-127, 128, (200, 6000), generator=draw, dtype=torch.int8))
        self.register_buffer("scale", torch.rand(200, 1, generator=draw) / 6000)
        self.register_buffer("small", torch.randn(200, 200, generator=draw))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        basis = self.basis.float() * self.scale
        return (x @ basis.T) @ basis, (x @ basis.T) @ self.small


def test_large_products_become_8_bit_on_request(tmp_path: Path) -> None:
    def x(count: int, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).uniform(-1, 1, (count, 6000)).astype(np.float32)

    inputs, names = {"x": torch.from_numpy(x(2, 0))}, ["image", "codes"]
    whole = export_network(Projection(), inputs, names, tmp_path / "whole.onnx")
    report = export_network(
        Projection(), inputs, names, tmp_path / "small.onnx", examples={"x": x(64, 1)}, products=True
    )
    assert 0 < report.rounding < 0.05
    tensors = {tuple(t.dims): t.data_type for t in onnx.load(report.path).graph.initializer if len(t.dims) == 2}
    int8 = onnx.TensorProto.INT8
    assert (tensors[6000, 200], tensors[200, 6000]) == (int8, int8)
    assert tensors[200, 200] != int8
    fresh = x(40, 2)
    wanted, given = (open_session(path).run(None, {"x": fresh}) for path in (whole.path, report.path))
    for a, b in zip(wanted, given, strict=True):
        assert 0 < np.sqrt(((a - b) ** 2).mean()) < 0.05 * a.std()
    alone = open_session(report.path).run(None, {"x": fresh[:1]})
    assert all(np.array_equal(a[:1], b) for a, b in zip(given, alone, strict=True)), "faces do not round each other"


class Unfit(nn.Module):
    """Depends on small differences on top of a large constant, which 8 bits cannot represent."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.ones_(self.conv.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) - 1000


def test_a_large_quantisation_error_is_refused(tmp_path: Path) -> None:
    image = 1000 + np.random.default_rng(5).standard_normal((16, 1, 8, 8)).astype(np.float32)
    with pytest.raises(TrainingError, match="Eight bits change an output"):
        export_network(Unfit(), {"x": torch.from_numpy(image[:2])}, ["y"], tmp_path / "x.onnx", examples={"x": image})
    assert not list(tmp_path.iterdir())


def test_too_few_examples_are_refused(tmp_path: Path) -> None:
    inputs = {"image": torch.from_numpy(views(2, 0))}
    with pytest.raises(TrainingError, match="at least 2 examples for its calibration, not 1"):
        export_network(Classifier(), inputs, ["scores"], tmp_path / "x.onnx", examples={"image": views(1, 1)})
