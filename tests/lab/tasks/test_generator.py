"""The generator's training at 32 px on cartoon faces: finite losses, exact resuming, export."""

from pathlib import Path

import numpy as np
import pytest
import torch

from styleid.errors import TrainingError
from styleid.faces.align import CropTemplate
from styleid.lab.data.inner import balanced_weights, inner_faces, inner_square, to_float, to_uint8
from styleid.lab.export.stylegan2 import export_stylegan2
from styleid.lab.networks.discriminator import Discriminator, DiscriminatorConfig
from styleid.lab.networks.stylegan2 import GeneratorConfig
from styleid.lab.tasks.adaptive import AdaptiveOptions
from styleid.lab.tasks.frechet import describe, frechet_distance, pixels8
from styleid.lab.tasks.generator import GeneratorOptions, GeneratorTask, load_discriminator, load_generator
from styleid.lab.tasks.loop import RunState, read_state, save_checkpoint
from styleid.runtime import open_session
from tests.lab.synthetic import synthetic_pack
from tests.lab.training_tester import assert_a_stop_changes_nothing, train

TINY = GeneratorConfig.mini(32, width=32, mapping_layers=2, most_channels=16)
OPTIONS = GeneratorOptions(
    r1_every=2, path_length=2.0, path_every=2, detected=2, adaptive=AdaptiveOptions(images=64, start=0.3)
)


@pytest.fixture(scope="module")
def pack():
    return synthetic_pack(40, 32, 4)


def make(pack) -> GeneratorTask:
    return GeneratorTask(pack, TINY, OPTIONS, batch=4)


def test_steps_are_finite_and_a_stop_changes_nothing(pack, tmp_path: Path) -> None:
    _, losses = assert_a_stop_changes_nothing(lambda: make(pack), tmp_path, 5, 10, stop=3)
    assert set(losses[-1]) == {"discriminator", "generator", "r1", "path", "p", "sign"}
    assert (tmp_path / "sheet.png").is_file()


def test_rates_warm_up_again_if_moments_are_lost(pack) -> None:
    task = make(pack)
    train(task, 0, 2, 10)
    before = task.optimizers["generator"].param_groups[0]["lr"]
    for optimizer in task.optimizers.values():
        optimizer.state.clear()
    train(task, 2, 3, 10)
    assert task.optimizers["generator"].param_groups[0]["lr"] == pytest.approx(before / 2)
    assert int(task.networks["state"].warm_from) == 2


def test_evaluation_and_sheet(pack) -> None:
    task = make(pack)
    measured = task.evaluate()
    assert set(measured) == {"frechet_pixels8", "frechet_pixels8_of_real", "p", "faces_found"}
    assert measured["frechet_pixels8"] > measured["frechet_pixels8_of_real"] > 0
    assert task.sheet().shape == (8 * 32, 8 * 32, 3)
    named = GeneratorTask(pack, TINY, batch=4, features=lambda x: x.mean((2, 3)), features_name="means")
    assert "frechet_means" in named.evaluate()


@pytest.mark.slow
def test_checkpoint_exports_as_torch_computes(pack, tmp_path: Path) -> None:
    task = make(pack)
    train(task, 0, 1, 10)
    save_checkpoint(task, RunState(step=1), tmp_path / "checkpoint")
    generator = load_generator(tmp_path / "checkpoint")
    reports = export_stylegan2(generator, tmp_path / "bundle", truncation=0.7)
    assert set(reports) == {"mapping", "generator", "affines", "synthesis"}
    assert max(report.max_error for report in reports.values()) <= 1e-3

    z = np.random.default_rng(0).standard_normal((5, TINY.width)).astype(np.float32)
    w = open_session(reports["mapping"].path).run(None, {"z": z})[0]
    w_plus = np.repeat(w[:, None], TINY.layers, 1)
    image = open_session(reports["generator"].path).run(None, {"w_plus": w_plus})[0]
    affines, synthesis = open_session(reports["affines"].path), open_session(reports["synthesis"].path)
    names = [output.name for output in affines.get_outputs()]
    assert names == [f"s_{i:02d}" for i in range(len(TINY.style_channels))]
    through_s = synthesis.run(None, dict(zip(names, affines.run(None, {"w_plus": w_plus}), strict=True)))[0]
    np.testing.assert_allclose(through_s, image, atol=1e-4 * image.std())
    with torch.no_grad():
        mean = generator.mean_w()
        exact = mean + 0.7 * (generator.mapping(torch.from_numpy(z)) - mean)
        wanted = generator(generator.broadcast(exact))
    assert np.abs(image - wanted.numpy()).max() < 0.02 * float(wanted.std())


def test_discriminator_of_a_checkpoint(pack, tmp_path: Path) -> None:
    task = make(pack)
    save_checkpoint(task, RunState(), tmp_path)
    discriminator = load_discriminator(tmp_path)
    assert discriminator.config.channels == {4: 32, 8: 32, 16: 32, 32: 32}
    images = to_float(inner_faces(pack, np.arange(6), 32))
    with torch.no_grad():
        assert discriminator(images).shape == (6,)
        assert [f.shape[1:] for f in discriminator.features(images)] == [(32, 16, 16), (32, 8, 8), (32, 4, 4)]
    with pytest.raises(TrainingError, match="no checkpoint"):
        load_generator(tmp_path / "elsewhere")
    with pytest.raises(TrainingError, match="generator"):
        load_generator(tmp_path, "discriminator")


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"files": 3}', '{"files": ["absent.safetensors"]}'])
def test_a_broken_checkpoint_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(TrainingError, match=r"The checkpoint .* cannot be read"):
        read_state(tmp_path, "generator")


def test_discriminator_compares_images_within_a_group() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(DiscriminatorConfig(32, dict.fromkeys((4, 8, 16, 32), 16), group=4)).eval()
    images = torch.randn(8, 3, 32, 32)
    with torch.no_grad():
        scores = discriminator(images)
        group = discriminator(images[1::2])
    torch.testing.assert_close(scores[1::2], group, rtol=1e-4, atol=1e-5)


def test_inner_faces_are_the_square_within_the_margin(pack) -> None:
    assert inner_square(pack.template) == (32, 4)
    faces = inner_faces(pack, np.array([3, 5]), 32)
    assert (faces.permute(0, 2, 3, 1).numpy() == pack.crops([3, 5])[:, 4:-4, 4:-4]).all()
    assert (to_uint8(to_float(faces)) == faces.permute(0, 2, 3, 1).numpy()).all()
    assert inner_faces(pack, np.array([3]), 16).shape == (1, 3, 16, 16)
    with pytest.raises(TrainingError, match="32 px"):
        inner_faces(pack, np.array([3]), 64)
    with pytest.raises(TrainingError, match="tight"):
        inner_square(CropTemplate.arcface112())


def test_balanced_weights_are_larger_for_rare_faces() -> None:
    pack = synthetic_pack(200, 8, 0, seed=1)
    rows = np.nonzero(pack.sex >= 0)[0]
    rows = np.concatenate([rows[pack.sex[rows] == 0], rows[pack.sex[rows] == 1][:10]])
    for balance, low, high in ((0.0, 0.99, 1.01), (1.0, 3.0, 20.0)):
        weights = balanced_weights(pack, rows, balance, most=10)
        rare = weights[pack.sex[rows] == 1].mean() / weights[pack.sex[rows] == 0].mean()
        assert low < rare < high
        assert weights.mean() == pytest.approx(1)


def test_frechet_distance_of_gaussians() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((4000, 3)), rng.standard_normal((4000, 3)) * 2 + [1, 0, 0]
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(one, other) == pytest.approx(1 + 3, rel=0.1)
    assert describe(torch.zeros(3, 3, 32, 32), pixels8).shape == (3, 192)
