"""Networks restored from a bundle compute the same as the bundle, and can be trained further."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from styleid.bundles.registry import APPEARANCE_MODEL, built_in
from styleid.commands.train import main
from styleid.errors import BundleError, TrainingError
from styleid.lab.bundling.restore import recompute_statistics, restore
from styleid.lab.bundling.unchanged import UNCHANGED, Unchanged, with_numbers
from styleid.lab.export.network import export_network
from styleid.lab.networks.aam import load_aam, save_aam
from styleid.lab.networks.attributes import AttributesConfig, AttributesNet
from styleid.lab.networks.identity import IdentityNet
from styleid.lab.networks.mask_encoder import MaskEncoder
from styleid.lab.networks.parser import ParserConfig, ParserNet
from styleid.lab.networks.refiner import Refiner, RefinerConfig
from styleid.lab.tasks import identity as identity_module
from styleid.lab.tasks.identity import IdentityTask
from styleid.lab.tasks.loop import TrainingOptions, load_network, run
from styleid.runtime import open_session
from tests.lab.standin import Teacher
from tests.lab.synthetic import synthetic_pack


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("restored")
    assert main(["restore", "--checkpoints", str(folder)], lambda line: None) == 0
    return folder


def test_restored_networks_compute_the_same_as_the_bundle(checkpoints, bundle, astronaut):
    side = bundle.spec.crop.size_px
    start = [(80, 60), (100, 140), (60, 200)]
    crops = np.stack([astronaut[y : y + side, x : x + side] for y, x in start])
    views = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        identity = load_network(IdentityNet(), checkpoints / "identity", "identity")(views[..., :112, :112]).numpy()
        parser = load_network(ParserNet(ParserConfig(side)), checkpoints / "parser", "parser")
        labels, landmarks = (output.numpy() for output in parser(views))
        network = load_network(AttributesNet(AttributesConfig(side)), checkpoints / "attributes", "attributes")
        attributes = network(views).numpy()
    assert (identity * bundle.embed(crops[:, :112, :112])).sum(1).min() > 0.97
    logits, points = bundle.parse(crops)
    assert (labels.argmax(1) == logits.argmax(1)).mean() > 0.95
    assert np.median(np.abs(landmarks - points)) < 0.02 * side
    assert np.abs(attributes - bundle.describe(crops))[:, 1:].max() < 0.15
    load_network(Refiner(RefinerConfig(side)), checkpoints / "refiner", "refiner")
    encoder = load_network(MaskEncoder(), checkpoints / "mask-encoder", "mask_encoder")
    maps = logits.argmax(1).astype(np.uint8)
    with torch.no_grad():
        codes = encoder(torch.from_numpy(maps).float()).flatten(1).numpy()
    assert np.abs(codes - bundle.encode_labels(maps)).max() < 0.02


def test_the_appearance_model_is_that_of_the_bundle(checkpoints, bundle, astronaut):
    model, side = load_aam(checkpoints / "aam"), bundle.spec.crop.size_px
    crop = torch.from_numpy(astronaut[None, 60 : 60 + side, 140 : 140 + side]).permute(0, 3, 1, 2).float() / 127.5 - 1
    landmarks, visible = model.mean_shape[None, :68] + 1.5, torch.ones(1, 1, side, side)
    session = open_session(built_in()[APPEARANCE_MODEL] / "inverter.onnx")
    inputs = {"crop": crop, "landmarks": landmarks, "visible": visible}
    (wanted,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    with torch.no_grad():
        codes = model.encode(crop, landmarks, visible)
        points = model.points(codes)[:, :68].numpy()
    assert np.abs(codes.numpy() - wanted).mean() < 0.05 * np.abs(wanted).mean()  # the bundle's has 8 bits
    # textures made from the basis are reproduced
    assert np.abs(points - landmarks.numpy()).mean() < 0.02 * side
    again = model.encode(model(codes)[0].detach(), torch.from_numpy(points), visible)
    assert (again - codes)[:, 5:].square().mean() < 0.2 * codes[:, 5:].square().mean()


def test_checkpoints_record_the_training_time(checkpoints):
    record = json.loads((built_in()[APPEARANCE_MODEL] / "bundle.json").read_text())
    for name in ("parser", "identity", "attributes", "mask-encoder", "refiner"):
        state = json.loads((checkpoints / name / "state.json").read_text())
        assert state["images"] == record["quality"][name]["images"] > 0
        assert state["history"][-1] == record["quality"][name]


def test_training_continues_from_restored_networks(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setattr(identity_module, "IdentityTeacher", Teacher)
    task = IdentityTask(synthetic_pack(40, 24, 4), tmp_path, batch=4)
    before = json.loads((checkpoints / "identity/state.json").read_text())
    options = TrainingOptions(resume_from=checkpoints / "identity", save_to=tmp_path / "on", steps=before["step"] + 1)
    state = run(task, options, lambda line: None)
    assert (state.step, state.images) == (before["step"] + 1, before["images"] + 4)
    assert [entry["step"] for entry in state.history] == [before["step"], before["step"] + 1]
    load_network(IdentityNet(), tmp_path / "on", "identity")


@pytest.mark.parametrize("command", ["restore", "revive"])
def test_nothing_is_overwritten(command, checkpoints, tmp_path):
    with pytest.raises(TrainingError, match="already holds a checkpoint"):
        main([command, "--checkpoints", str(checkpoints)])
    (tmp_path / "aam").mkdir()
    fitted = tmp_path / "aam/aam.safetensors"
    fitted.write_bytes(b"fitted")
    with pytest.raises(TrainingError, match="aam already holds a checkpoint"):
        main([command, "--checkpoints", str(tmp_path)])
    assert fitted.read_bytes() == b"fitted"
    assert [path.name for path in tmp_path.iterdir()] == ["aam"]


def test_an_altered_bundle_is_refused(tmp_path):
    shutil.copytree(built_in()[APPEARANCE_MODEL], tmp_path / "bundle")
    with (tmp_path / "bundle/identity.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError, match=r"identity\.onnx has the SHA-256"):
        main(["restore", "--bundle", str(tmp_path / "bundle"), "--checkpoints", str(tmp_path / "c")])


def test_unchanged_networks_are_copied_into_the_next_bundle(checkpoints, tmp_path, bundle):
    kept = Unchanged(APPEARANCE_MODEL, checkpoints)
    reports = {role: kept.take(role, tmp_path) for role in UNCHANGED}
    for role, report in reports.items():
        assert report.path.read_bytes() == (bundle.folder / report.path.name).read_bytes()
        assert (report.sha256, report.size_bytes) == (bundle.spec.networks[role].sha256, report.path.stat().st_size)
    sources = np.random.default_rng(0).normal(size=(2, *bundle.spec.code_shape)).astype(np.float32)
    before = open_session(reports["generator"].path).run(None, {"w_plus": sources})
    stiff = with_numbers(reports["generator"], "express", np.zeros((121, 4)))
    after = open_session(stiff.path).run(None, {"w_plus": sources})
    assert stiff.sha256 == hashlib.sha256(stiff.path.read_bytes()).hexdigest() != reports["generator"].sha256
    assert np.abs(after[1] - before[1]).max() > 1
    with pytest.raises(TrainingError, match="holds no buffer express"):
        with_numbers(stiff, "express", np.zeros((3, 4)))


def test_networks_that_were_trained_further_are_not_copied(checkpoints, tmp_path):
    shutil.copytree(checkpoints, tmp_path / "on")
    state = tmp_path / "on/identity/state.json"
    record = json.loads(state.read_text())
    state.write_text(json.dumps(record | {"step": record["step"] + 1}))
    with pytest.raises(TrainingError, match="identity has been trained since"):
        Unchanged(APPEARANCE_MODEL, tmp_path / "on")
    state.write_text(json.dumps(record))
    model = load_aam(tmp_path / "on/aam")
    model.mean_shape += 1
    save_aam(model, tmp_path / "on/aam")
    with pytest.raises(TrainingError, match="not the appearance model"):
        Unchanged(APPEARANCE_MODEL, tmp_path / "on")


class Small(nn.Module):
    """Convolutions with and without biases, normalisation, a matrix."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 32, 3, 2, 1)
        )
        self.head = nn.Linear(32, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).relu().mean((2, 3)))


@pytest.mark.parametrize("eight_bit", [False, True])
def test_any_exported_network_can_be_restored(tmp_path, eight_bit):
    torch.manual_seed(0)
    network = Small()
    network(torch.randn(64, 3, 32, 32))  # gives normalisation layers statistics
    examples = {"x": torch.randn(64, 3, 32, 32).numpy()} if eight_bit else None
    report = export_network(network, {"x": torch.randn(2, 3, 32, 32)}, ["y"], tmp_path / "n.onnx", examples=examples)
    found, x = restore(Small(), report.path), torch.randn(8, 3, 32, 32)
    with torch.no_grad():
        wanted = network.eval()(x)
        error = float((found(x) - wanted).square().mean().sqrt() / wanted.std())
    assert error < (0.05 if eight_bit else 1e-3)
    again = export_network(found, {"x": torch.randn(2, 3, 32, 32)}, ["y"], tmp_path / "again.onnx")
    twice = restore(Small(), again.path)
    assert torch.allclose(twice(x), found(x), atol=2e-3)


def test_statistics_of_folded_normalisation_are_recomputed(tmp_path):
    torch.manual_seed(0)
    network, x = Small(), 3 + 2 * torch.randn(64, 3, 32, 32)
    for _ in range(50):
        network(x)
    report = export_network(network, {"x": x[:2]}, ["y"], tmp_path / "n.onnx", examples={"x": x.numpy()})
    graph = onnx.load(report.path).graph
    assert "BatchNormalization" not in {node.op_type for node in graph.node}
    found = restore(Small(), report.path)
    with torch.no_grad():
        restored = found(x)
        settled = recompute_statistics(found, x)(x)
        trained = found.train()(x)
        wanted = network.eval()(x)
    assert torch.allclose(settled, restored, atol=1e-4)
    assert torch.allclose(trained, restored, atol=1e-3)
    assert float((settled - wanted).square().mean().sqrt()) < 0.05 * float(wanted.std())


def test_a_network_that_does_not_fit_is_refused(tmp_path):
    export_network(Small(), {"x": torch.randn(2, 3, 32, 32)}, ["y"], tmp_path / "n.onnx")
    other = Small(20)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(TrainingError, match=r"'network\.body\.0\.weight' has the shape \(24, 3, 3, 3\), not \(20,"):
        restore(other, tmp_path / "n.onnx")
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())
