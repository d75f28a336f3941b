"""Upstream's networks against what the upstream implementation gave, in torch and in ONNX.

The exports of large networks are slow tests: each takes a minute and several gigabytes.
"""

import copy
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from styleid.lab.export.network import export_network
from styleid.lab.networks.irse import EncoderConfig, FaceEmbedder, StyleEncoder
from styleid.lab.networks.mapper import LevelsMapper, MapperConfig
from styleid.lab.networks.mobilenet import AttributeMobileNet
from styleid.lab.networks.stylegan2 import Generator, GeneratorConfig
from styleid.lab.networks.unet import ParsingUNet
from styleid.lab.networks.wrappers import OneHot
from styleid.lab.upstream import kinds
from styleid.runtime import open_session
from tests.lab.upstream.checkpoints import WIDTH

CASES: dict[str, tuple[Any, dict[str, str], str]] = {
    "levels_join_mapper": (LevelsMapper, {"source": "w_source", "target": "w_target"}, "alpha_locked"),
    "unlocked": (
        lambda: LevelsMapper(MapperConfig(locked=False)),
        {"source": "w_source", "target": "w_target"},
        "alpha_unlocked",
    ),
    "parsing_unet": (ParsingUNet, {"crop": "image"}, "logits"),
    "attribute_mobilenet": (AttributeMobileNet, {"crop": "image"}, "attributes"),
    "curricularface_ir101": (FaceEmbedder, {"crop": "image"}, "embedding"),
    "e4e_encoder": (StyleEncoder, {"crop": "image"}, "w_plus"),
    "psp_seg_encoder": (lambda: StyleEncoder(EncoderConfig(channels=19), deltas=False), {"labels": "labels"}, "w_plus"),
}
LARGE = ("curricularface_ir101", "e4e_encoder", "psp_seg_encoder")
UNSTEADY = ("e4e_encoder", "psp_seg_encoder")
"""With these weights the gates of squeeze-and-excitation get inputs of 10,000 and more, and rounding errors grow to a
hundredth of the output's standard deviation. Upstream's own output has this error. It is therefore compared with a
float64 computation, and may have a few times the rounding error of float32. For the comparison of torch and ONNX, the
gates' inputs are made small (`scale_gates`); then both must meet `TOLERANCE`."""
TOLERANCE = 1e-4


def drawn_state(shared: Path, name: str) -> dict[str, torch.Tensor]:
    """Draw each tensor with a seed from its name, as the cases' README defines; counters stay zero."""
    state = {}
    for tensor, how in json.loads((shared / "interop" / f"{name}.json").read_text()).items():
        if how.get("fixed"):
            state[tensor] = torch.zeros(how["shape"], dtype=torch.int64)
            continue
        value = np.random.default_rng(zlib.crc32(tensor.encode())).standard_normal(how["shape"])
        value = (how["offset"] + how["scale"] * value).astype(np.float32)
        state[tensor] = torch.from_numpy(np.abs(value) if how.get("abs") else value)
    return state


def load_case(shared: Path, case: str) -> tuple[nn.Module, dict[str, torch.Tensor], str, np.ndarray]:
    """Return a case's network, its inputs by name, the output's name, and upstream's output."""
    make, inputs, output = CASES[case]
    name = "levels_join_mapper" if case == "unlocked" else case
    with torch.device("meta"):
        network = make()
    network.load_state_dict(drawn_state(shared, name), strict=True, assign=True)
    if isinstance(network, StyleEncoder):
        network.latent_avg = torch.zeros(network.config.width)
    if case == "psp_seg_encoder":
        network = OneHot(network, 19)
    golden = np.load(shared / "interop" / "golden" / f"{name}.npz")
    given = {ours: torch.from_numpy(golden[theirs]).float() for ours, theirs in inputs.items()}
    if case == "psp_seg_encoder":
        given["labels"] = given["labels"][None]
    return network.eval().requires_grad_(False), given, output, golden[output]


def deviation(given: np.ndarray, wanted: np.ndarray) -> float:
    assert given.shape == wanted.shape
    return float(np.abs(given - wanted).max() / wanted.std())


def in_torch(network: nn.Module, inputs: dict[str, torch.Tensor]) -> np.ndarray:
    with torch.no_grad():
        return network(*inputs.values()).numpy()


def in_onnx(network: nn.Module, inputs: dict[str, torch.Tensor], output: str, path: Path) -> np.ndarray:
    report = export_network(network, inputs, [output], path, half=False)
    return open_session(report.path).run(None, {name: value.numpy() for name, value in inputs.items()})[0]


def in_double(network: nn.Module, inputs: dict[str, torch.Tensor]) -> np.ndarray:
    """Compute in float64, which is exact at the precision of float32."""
    return in_torch(copy.deepcopy(network).double(), {name: value.double() for name, value in inputs.items()})


def scale_gates(network: nn.Module, inputs: dict[str, torch.Tensor]) -> None:
    """Scale each squeeze-and-excitation gate so that its inputs stay between -1 and 1 on these inputs."""

    def scale(layer: nn.Module, _: Any, given: torch.Tensor) -> torch.Tensor:
        largest = given.abs().max()
        layer.weight.div_(largest)
        return given / largest

    gates = [module for name, module in network.named_modules() if name.endswith(".fc2")]
    assert len(gates) == 24
    hooks = [gate.register_forward_hook(scale) for gate in gates]
    in_torch(network, inputs)
    for hook in hooks:
        hook.remove()


@pytest.mark.shared
@pytest.mark.parametrize("case", [case for case in CASES if case not in UNSTEADY])
def test_networks_match_upstream(case: str, shared: Path, tmp_path: Path) -> None:
    network, inputs, output, wanted = load_case(shared, case)
    assert deviation(in_torch(network, inputs), wanted) <= TOLERANCE
    if case not in LARGE:
        assert deviation(in_onnx(network, inputs, output, tmp_path / "network.onnx"), wanted) <= TOLERANCE


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore:TF32 acceleration")
@pytest.mark.parametrize("case", UNSTEADY)
def test_encoders_match_upstream(case: str, shared: Path) -> None:
    network, inputs, _, wanted = load_case(shared, case)
    exact = in_double(network, inputs)
    rounding = deviation(in_torch(network, inputs), exact)
    with torch.backends.mkldnn.flags(enabled=False):  # sums in another order
        rounding = max(rounding, deviation(in_torch(network, inputs), exact))
    assert rounding < 0.1
    assert deviation(wanted, exact) <= 3 * rounding


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("case", LARGE)
def test_large_networks_match_torch_in_onnx(case: str, shared: Path, tmp_path: Path) -> None:
    network, inputs, output, _ = load_case(shared, case)
    if case in UNSTEADY:
        scale_gates(network, inputs)
    exact = in_double(network, inputs)
    assert deviation(in_torch(network, inputs), exact) <= TOLERANCE
    assert deviation(in_onnx(network, inputs, output, tmp_path / "network.onnx"), exact) <= TOLERANCE


@pytest.mark.parametrize("deltas", [True, False])
def test_encoders_match_torch_in_onnx(deltas: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    stages = ((8, 2), (12, 2), (16, 2), (WIDTH, 2))
    network = StyleEncoder(EncoderConfig(3, 64, 18, WIDTH, stages), deltas=deltas).eval()
    for name, value in network.state_dict().items():
        if name.startswith("styles") and name.endswith("weight"):
            value.mul_(3)  # so that every row of W+ matters
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    report = export_network(network, {"crop": image}, ["w_plus"], tmp_path / "encoder.onnx", half=False)
    found = open_session(report.path).run(None, {"crop": image.numpy()})[0]
    with torch.no_grad():
        wanted = network(image).numpy()
    assert all(deviation(found[:, row], wanted[:, row]) <= TOLERANCE for row in range(18))


@pytest.mark.shared
def test_the_generator_matches_upstream_in_onnx(shared: Path, tmp_path: Path) -> None:
    with torch.device("meta"):
        generator = Generator(GeneratorConfig(resolution=32))
    state = drawn_state(shared, "stylegan2_size32")
    kernels = Generator(GeneratorConfig.mini(32, 8, 1, 4)).state_dict()
    state |= {name: kernels[name] for name in state if name.endswith("kernel")}
    generator.load_state_dict(state, strict=True, assign=True)
    golden = np.load(shared / "interop" / "golden" / "stylegan2_size32.npz")
    inputs = {"w_plus": torch.from_numpy(golden["w_plus"])}
    report = export_network(generator.eval(), inputs, ["image"], tmp_path / "generator.onnx", half=False)
    found = open_session(report.path).run(None, {"w_plus": golden["w_plus"]})[0]
    assert deviation(found, golden["image"]) <= TOLERANCE


@pytest.mark.shared
def test_upstream_files_are_identified_and_their_shapes_inferred(shared: Path) -> None:
    files = [
        (kinds.GENERATOR, "stylegan2_size1024"),
        (kinds.INVERTER, "e4e_encoder"),
        (kinds.MASK_ENCODER, "psp_seg_encoder"),
        (kinds.SWAPPER, "levels_join_mapper"),
        (kinds.IDENTITY, "curricularface_ir101"),
        (kinds.ATTRIBUTES, "attribute_mobilenet"),
        (kinds.PARSER, "parsing_unet"),
    ]
    for kind, name in files:
        record = json.loads((shared / "interop" / f"{name}.json").read_text())
        state = {tensor: torch.empty(how["shape"], device="meta") for tensor, how in record.items()}
        assert kinds.seems(state) is kind
        config = kind.of_state(state)
        with torch.device("meta"):
            assert kinds.differences(state, kind.build(config).state_dict()) == ""
            assert kinds.differences(state, kind.build(kind.config).state_dict()) == ""
