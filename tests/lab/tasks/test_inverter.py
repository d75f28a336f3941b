"""The inverter's training at 32 px on cartoon faces: finite losses, exact resuming, export."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from styleid.commands.train import main
from styleid.errors import TrainingError
from styleid.lab.export.stylegan2 import export_inverter
from styleid.lab.networks.discriminator import Discriminator, DiscriminatorConfig
from styleid.lab.networks.inverter import InnerEmbedder, Inverter, InverterConfig
from styleid.lab.networks.stylegan2 import Generator, GeneratorConfig
from styleid.lab.tasks.inverter import InverterOptions, InverterTask, feature_distance, load_inverter
from styleid.lab.tasks.loop import RunState, save_checkpoint
from tests.lab.synthetic import synthetic_pack, write_pack
from tests.lab.training_tester import assert_a_stop_changes_nothing, assert_export_agrees, fell, train

SHAPE = GeneratorConfig.mini(32, width=32, mapping_layers=2, most_channels=16)
CONFIG = InverterConfig.beside(SHAPE, most_channels=16)


class Embedding(nn.Module):
    """Replaces an identity network for 112 px views."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(3 * 49, 8)

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        assert views.shape[1:] == (3, 112, 112)
        return nn.functional.normalize(self.project(nn.functional.adaptive_avg_pool2d(views, 7).flatten(1)))


@pytest.fixture(scope="module")
def pack():
    return synthetic_pack(40, 32, 4)


def make(pack, options: InverterOptions | None = None) -> InverterTask:
    torch.manual_seed(5)
    generator = Generator(SHAPE)
    discriminator = Discriminator(DiscriminatorConfig.beside(SHAPE, 1.0))
    identity = InnerEmbedder(Embedding(), 32)
    return InverterTask(pack, generator, discriminator, identity, config=CONFIG, options=options, batch=6)


def test_steps_are_finite_and_a_stop_changes_nothing(pack, tmp_path: Path) -> None:
    straight, losses = assert_a_stop_changes_nothing(lambda: make(pack), tmp_path, 5, 10, stop=3)
    assert set(losses[0]) == {"pixels", "features", "identity", "latent", "delta"}
    assert straight.sheet().shape == (64, 256, 3)


def test_known_codes_are_learnt(pack) -> None:
    task = make(pack, InverterOptions(learning_rate=5e-3, latent=5.0, progressive=0.0, mixing=0.0))
    losses = train(task, 0, 40, 40)
    assert fell(losses, "latent") < 0.9
    measured = task.evaluate()
    assert set(measured) == {f"{n}{end}" for n in ("pixels", "features", "identity") for end in ("", "_of_mean")}


def test_rows_without_deltas_repeat_the_main_w() -> None:
    torch.manual_seed(0)
    inverter = Inverter(CONFIG).eval()
    crops = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        whole, some, main = inverter(crops), inverter(crops, 4), inverter(crops, 1)
    assert whole.shape == (2, SHAPE.layers, SHAPE.width)
    assert torch.equal(main, main[:, :1].expand_as(main))
    assert torch.equal(some[:, :4], whole[:, :4])
    assert torch.equal(some[:, 4:], main[:, 4:])
    assert not torch.equal(whole, some)


@pytest.mark.slow
def test_checkpoint_exports_as_torch_computes(pack, tmp_path: Path) -> None:
    task = make(pack)
    train(task, 0, 2, 10)
    save_checkpoint(task, RunState(step=2), tmp_path / "checkpoint")
    inverter = load_inverter(tmp_path / "checkpoint")
    assert inverter.config == CONFIG
    report = export_inverter(inverter, tmp_path / "inverter.onnx")
    assert report.max_error <= 1e-3
    crop = np.random.default_rng(0).uniform(-1, 1, (4, 3, 32, 32)).astype(np.float32)
    assert_export_agrees(report.path, inverter, {"crop": torch.from_numpy(crop)}, of_deviation=0.02)
    with pytest.raises(TrainingError, match="inverter"):
        InverterConfig.of_state({"mean": torch.zeros(3)})


def test_generator_and_inverter_are_trained_by_command(pack, tmp_path: Path) -> None:
    write_pack(pack, tmp_path / "pack.npz")
    options = f"--data {tmp_path}/pack.npz --checkpoints {tmp_path} --device cpu --batch 4 --width 16 --channels 8"
    options += " --steps 1 --time-budget 60s"
    said: list[str] = []

    def train_by_name(name: str) -> int:
        return main([name, *options.split(), "--save-to", str(tmp_path / name)], said.append)

    with pytest.raises(TrainingError, match="generator"):
        train_by_name("inverter")
    for name in ("generator", "inverter"):
        assert train_by_name(name) == 0
        record = json.loads((tmp_path / name / "state.json").read_text())
        assert record["step"] == 1
        assert all(np.isfinite(value) for value in record["history"][-1].values())
    assert load_inverter(tmp_path / "inverter").config.width == 16


def test_feature_distance_and_a_generator_that_does_not_fit(pack) -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(DiscriminatorConfig.beside(SHAPE, 1.0))
    one, other = torch.randn(2, 3, 32, 32), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(feature_distance(discriminator, one, one), torch.zeros(2))
        assert (feature_distance(discriminator, one, other) > 0.01).all()
    with pytest.raises(TrainingError, match="does not fit"):
        InverterTask(pack, Generator(SHAPE), config=InverterConfig(8, 64, 32, (4,), (8, 8, 8)))


def test_the_configuration_rejects_invalid_sizes() -> None:
    assert InverterConfig.beside(GeneratorConfig.mini()) == InverterConfig()
    for wrong in ({"size_px": 100}, {"widths": (8,)}, {"levels": (8, 4)}, {"levels": (1, 2, 3, 4, 5)}, {"layers": 6}):
        with pytest.raises(ValueError, match=r"size_px must|widths must|levels must"):
            InverterConfig(**wrong)
