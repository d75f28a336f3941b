"""Export of networks with the operations that bundles use."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional

from styleid.errors import TrainingError
from styleid.lab.export.network import export_network
from styleid.runtime import open_session
from tests.lab.training_tester import assert_export_agrees


class Warp(nn.Module):
    """Texture synthesis and a learned displacement, as in an active appearance model."""

    def __init__(self) -> None:
        super().__init__()
        self.texture = nn.Parameter(torch.randn(24, 3 * 16 * 16) / 5)
        self.basis = nn.Parameter(torch.randn(24, 2 * 16 * 16) / 50)
        ticks = torch.linspace(-1, 1, 16)
        self.register_buffer("grid", torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), -1)[None])

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        image = (codes @ self.texture).reshape(-1, 3, 16, 16)
        flow = torch.einsum("nc,cp->np", codes, self.basis).reshape(-1, 16, 16, 2)
        return functional.grid_sample(image, self.grid + flow, padding_mode="border", align_corners=False)


class Convolutional(nn.Module):
    """Normalisation, pooling, upsampling and two kinds of outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.LeakyReLU(0.2))
        self.second = nn.Conv2d(16, 5, 3, padding=1)
        for tensor in (self.first[1].running_mean, self.first[1].running_var):
            tensor.uniform_(0.5, 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = functional.interpolate(self.first(x), scale_factor=2.0, mode="bilinear")
        logits = self.second(x)
        return logits.softmax(1), logits.argmax(1), functional.adaptive_avg_pool2d(logits, 1).flatten(1)


class Choice(nn.Module):
    """The nearest entries of a bank, mixed."""

    def __init__(self) -> None:
        super().__init__()
        self.bank = nn.Parameter(torch.randn(40, 8))

    def forward(self, query: torch.Tensor, share: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values, index = torch.topk(query @ self.bank.T, 3, dim=1)
        chosen = torch.gather(self.bank.expand(query.shape[0], 40, 8), 1, index[:, :, None].expand(-1, -1, 8))
        return (values.softmax(1)[:, :, None] * chosen).sum(1) * share, index


class Modulated(nn.Module):
    """A convolution whose weight is scaled in the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(12, 8, 3, 3))
        self.register_buffer("noise", torch.randn(1, 1, 16, 16))

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        weight = self.weight * 0.1178
        x = functional.conv2d(x * style[:, :, None, None], weight, padding=1)
        return x * torch.rsqrt(style.square() @ weight.square().sum((2, 3)).T + 1e-8)[:, :, None, None] + self.noise


CASES = {
    "warp": (Warp, {"codes": (2, 24)}, ["image"], ["grid"]),
    "convolutional": (Convolutional, {"image": (2, 3, 32, 32)}, ["probabilities", "labels", "mean"], []),
    "choice": (Choice, {"query": (1, 8), "share": (1, 1)}, ["mixed", "index"], []),
    "modulated": (Modulated, {"x": (4, 8, 16, 16), "style": (4, 8)}, ["y"], []),
}


@pytest.mark.parametrize("name", CASES)
def test_any_batch_size_agrees_with_torch(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    kind, shapes, outputs, keep = CASES[name]
    network = kind().train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    inputs = {key: torch.randn(shape) for key, shape in shapes.items()}
    report = export_network(network, inputs, outputs, tmp_path / "network.onnx", keep=keep)

    assert report.max_error <= 1e-4
    content = report.path.read_bytes()
    assert (report.size_bytes, report.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert list(tmp_path.iterdir()) == [report.path]
    assert network.training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())

    session = open_session(report.path)
    assert [i.name for i in session.get_inputs()] == list(shapes)
    assert [o.name for o in session.get_outputs()] == outputs
    many = {key: torch.randn(5, *shape[1:]) for key, shape in shapes.items()}
    assert_export_agrees(report.path, network.eval(), many, of_deviation=0.01)


def test_files_are_reproducible_and_hold_no_build_metadata(tmp_path: Path) -> None:
    torch.manual_seed(2)
    network = Convolutional()
    inputs = {"image": torch.randn(2, 3, 32, 32)}
    outputs = CASES["convolutional"][2]
    first, second = (export_network(network, inputs, outputs, tmp_path / name) for name in ("a.onnx", "b.onnx"))
    content = first.path.read_bytes()
    assert content == second.path.read_bytes()
    for word in (b"styleid/", b"tests/", b"test_export", b"site-packages", b"stack_trace", b"torch"):
        assert word not in content


def test_weights_are_float16_and_not_inputs(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = Warp()
    inputs = {"codes": torch.randn(2, 24)}
    files = {
        "half": export_network(network, inputs, ["image"], tmp_path / "half.onnx"),
        "single": export_network(network, inputs, ["image"], tmp_path / "single.onnx", half=False),
        "kept": export_network(network, inputs, ["image"], tmp_path / "kept.onnx", keep=["basis", "grid"]),
    }
    count = 24 * (3 + 2) * 256
    assert files["half"].size_bytes < 2 * count + 8000 < files["kept"].size_bytes < files["single"].size_bytes
    graph = onnx.load(files["half"].path).graph
    assert [value.name for value in graph.input] == ["codes"]
    kinds = {tensor.data_type for tensor in graph.initializer if np.prod(tensor.dims) >= 256}
    assert kinds == {onnx.TensorProto.FLOAT16}


class LookedUp(nn.Module):
    """A lookup in a table, which PyTorch exports with a Transpose that changes nothing, and a product."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(20, 7))
        self.linear = nn.Linear(7, 8)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = self.table[x.argmax(1)]
        return self.linear(rows), self.table[x.argmin(1)]


def test_nodes_that_change_nothing_are_removed(tmp_path: Path) -> None:
    torch.manual_seed(5)
    report = export_network(LookedUp(), {"x": torch.randn(7, 20)}, ["y", "row"], tmp_path / "network.onnx")
    graph = onnx.load(report.path).graph
    onnx.checker.check_model(onnx.load(report.path), full_check=True)
    (product,) = (node for node in graph.node if node.op_type in {"Gemm", "MatMul"})
    makers = {name: node.op_type for node in graph.node for name in node.output}
    assert makers[product.input[0]] == "GatherND"
    assert makers["row"] == "Transpose"  # a node that produces an output is kept
    for node in graph.node:
        assert node.op_type not in {"Identity", "Max", "Concat"} or len(node.input) > 1


class BakesBatch(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.ones(len(x), 1)


class Random(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.randn_like(x)


@pytest.mark.parametrize(
    ("network", "outputs", "says"),
    [
        (BakesBatch(), ["y"], "a free batch size"),
        (Random(), ["y"], "differs from torch"),
        (nn.Linear(4, 4), ["y", "z"], "returns 1 tensors"),
    ],
)
def test_networks_that_cannot_be_exported_are_refused(
    network: nn.Module, outputs: list[str], says: str, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=says):
        export_network(network, {"x": torch.randn(2, 4)}, outputs, tmp_path / "network.onnx")
    assert not list(tmp_path.iterdir())


def test_weights_beyond_float16_are_refused(tmp_path: Path) -> None:
    network = nn.Linear(32, 32)
    with torch.no_grad():
        network.weight[0, 0] = 1e6
    with pytest.raises(TrainingError, match="weight"):
        export_network(network, {"x": torch.randn(2, 32)}, ["y"], tmp_path / "network.onnx")
    with pytest.raises(TrainingError, match="typo"):
        export_network(network, {"x": torch.randn(2, 32)}, ["y"], tmp_path / "network.onnx", keep=["typo"])
    kept = export_network(network, {"x": torch.randn(2, 32)}, ["y"], tmp_path / "network.onnx", keep=["weight"])
    assert kept.max_error <= 1e-3


class Unsteady(nn.Module):
    """A convolution whose rounding errors are amplified until they dominate the output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(64, 64, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(self.conv(x) * 1e6)


def test_the_allowed_error_grows_with_the_rounding_error_of_torch(tmp_path: Path) -> None:
    torch.manual_seed(4)
    x = torch.randn(2, 64, 24, 24)
    report = export_network(Unsteady(), {"x": x}, ["y"], tmp_path / "network.onnx")
    assert report.max_error > 1e-3
