"""The context generator's training on cartoon faces: finite losses, exact resuming, small checkpoints."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from styleid.cli import main
from styleid.errors import TrainingError
from styleid.lab.bundling.context_judges import judges_of_bundle
from styleid.lab.tasks.context_generator import ContextTask, read_weight_file
from styleid.lab.tasks.context_losses import Judges, landmark_loss, looks_loss, source_loss
from styleid.lab.tasks.context_options import ContextOptions, Weights
from styleid.lab.tasks.context_views import augment_discriminator_maps, coarse_light, discriminator_maps
from styleid.lab.tasks.loop import Keeping, RunState, load_checkpoint, save_checkpoint
from styleid.pixel import guides
from tests.lab.context import synthetic_context_pack
from tests.lab.training_tester import assert_a_stop_changes_nothing, train

TINY = (4, 4, 6, 8, 8)
PACK = synthetic_context_pack(24)


@pytest.fixture(scope="module")
def judges() -> Judges:
    return judges_of_bundle("aam128")


def make(judges: Judges, **options: object) -> ContextTask:
    chosen = ContextOptions(Path("pack.npz"), **{"resolution": 64, "batch": 4, "device": "cpu"} | options)
    return ContextTask(PACK, judges, chosen, Weights(r1_every=2, own_every=2), channels=TINY)


def test_a_stop_changes_nothing(judges: Judges, tmp_path: Path) -> None:
    _, seen = assert_a_stop_changes_nothing(lambda: make(judges), tmp_path, 2, 10)
    assert {"r1", "adversarial", "pixels", "features", "own_identity", "identity", "source", "landmarks", "expression",
            "light", "age", "sex", "group"} <= set(seen[0])  # fmt: skip
    assert (tmp_path / "sheet.png").is_file()


def test_a_small_checkpoint_holds_the_average_and_the_discriminator(judges: Judges, tmp_path: Path) -> None:
    task = make(judges)
    train(task, 0, 1, 10)
    task.keeping = replace(task.keeping, most_bytes=1_000_000)
    save_checkpoint(task, RunState(1), tmp_path)
    record = json.loads((tmp_path / "state.json").read_text())
    tensors = {k: v for name in record["files"] for k, v in load_file(tmp_path / name).items()}
    assert not record["exact"]
    assert {name.split(".")[1] for name in tensors} == {"average", "average_appearance", "discriminator", "state"}
    assert {v.dtype for v in tensors.values() if v.is_floating_point()} == {torch.float16}

    again, said = make(judges), list[str]()
    load_checkpoint(again, tmp_path, said.append)
    assert sum("It starts from 'average" in line for line in said) == 2
    assert sum("does not hold the moments" in line for line in said) == 2
    for own, kept in (("generator", "average"), ("appearance", "average_appearance")):
        wanted = task.networks[kept].state_dict()
        for name, value in again.networks[own].state_dict().items():
            torch.testing.assert_close(value, wanted[name], atol=1e-3, rtol=1e-3)
    assert train(again, 1, 2, 10)


def test_a_checkpoint_can_start_a_training_at_another_resolution(judges: Judges, tmp_path: Path) -> None:
    small = make(judges)
    save_checkpoint(small, RunState(0), tmp_path)
    large = make(judges, resolution=128, start_from=tmp_path)
    own, first = large.networks["generator"].state_dict(), small.networks["average"].state_dict()
    assert all(torch.equal(own[name], value) for name, value in first.items())
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match="holds no checkpoint"):
        make(judges, start_from=tmp_path / "empty")
    (tmp_path / "odd.safetensors").write_bytes(b"odd")
    with pytest.raises(TrainingError, match=r"odd\.safetensors cannot be read"):
        read_weight_file(tmp_path / "odd.safetensors")


def test_the_command_trains(judges: Judges, tmp_path: Path, monkeypatch, capsys) -> None:
    PACK.save(tmp_path / "pack.npz")
    monkeypatch.setattr("styleid.lab.tasks.context_generator.CHANNELS", TINY)
    arguments = ["context-generator", "--data", "pack.npz", "--resolution", "64", "--batch", "4", "--steps", "1"]
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments, "--save-to", "run", "--device", "cpu"]) == 0
    assert "own_identity" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "state.json").read_text())["images"] == 4


def test_swapped_faces_keep_pose_and_expression_and_change_shape(judges: Judges) -> None:
    batch = make(judges).faces.batch(8, torch.Generator().manual_seed(0))
    assert batch.own == 4
    assert batch.image.shape == (8, 3, 64, 64)
    own = (batch.lines[:4] - batch.own_lines[:4]).abs().amax()
    assert own == 0
    assert ((batch.lines[4:] - batch.own_lines[4:]).abs().amax((1, 2, 3)) > 0.1).all()
    inside = batch.region > 0.99
    assert (batch.context * inside).abs().max() == 0
    outside = batch.region == 0
    assert torch.equal(batch.composed(torch.ones_like(batch.image)) * outside, batch.image * outside)
    assert torch.equal(batch.identity[:4], batch.source_identity[:4])
    assert (batch.identity[4:] != batch.source_identity[4:]).any(1).all()


def test_unsuitable_packs_are_refused(judges: Judges) -> None:
    with pytest.raises(TrainingError, match="80 px, too few to train at 256"):
        make(judges, resolution=256)
    nobody = replace(PACK, source=np.full(len(PACK), 2, np.int8))
    with pytest.raises(TrainingError, match="generated faces without glasses"):
        ContextTask(nobody, judges, ContextOptions(Path("pack.npz"), resolution=64), channels=TINY)
    blind = replace(PACK, second=PACK.second[:, :0])
    with pytest.raises(TrainingError, match="no embeddings of a second recogniser"):
        ContextTask(blind, replace(judges, second=judges.identity), ContextOptions(Path("pack.npz")), channels=TINY)


def test_people_with_glasses_are_never_targets() -> None:
    assert not (PACK.is_target & PACK.wears_glasses).any()
    assert not (PACK.is_target & ~PACK.synthetic).any()


def test_losses_of_a_perfect_result_are_zero() -> None:
    points = torch.rand(2, 68, 2, generator=torch.Generator().manual_seed(0)) * 60
    assert [float(loss) for loss in landmark_loss(points, points)] == [0, 0]
    moved = points.clone()
    moved[:, 48:] += 10
    assert all(float(loss) > 0 for loss in landmark_loss(moved, points))
    assert source_loss(torch.eye(2), torch.eye(2).flip(0)) == 0
    assert source_loss(torch.eye(2), torch.eye(2)) > 0.5
    years = torch.full((1, 101), -50.0)
    years[:, 30] = 50
    looks = torch.tensor([[30.0, 1, 1, 0, 0, 0, 0]])
    sure = looks_loss((years, torch.tensor([50.0]), torch.tensor([[50.0, 0, 0, 0, 0]])), looks)
    assert max(float(loss) for loss in sure.values()) < 1e-6


def test_coarse_light_is_measured_on_the_face() -> None:
    image = torch.full((1, 3, 32, 32), -1.0)
    image[..., 16:] = 1
    shown = torch.zeros(1, 1, 32, 32)
    shown[..., 8:24, 8:24] = 1
    light = coarse_light(image, shown, 2)
    assert light[0, 0, 16, 2] < -0.8
    assert light[0, 0, 16, 30] > 0.8
    shown[..., 16:] = 0
    assert coarse_light(image, shown, 2).max() < -0.8  # a cell without a face takes the face's mean


@pytest.mark.parametrize("cells", [2, 3, 4])
def test_runtime_and_training_measure_the_same_light(cells: int) -> None:
    rng = np.random.default_rng(cells)
    image, shown = rng.uniform(-1, 1, (128, 128, 3)).astype(np.float32), np.zeros((128, 128), np.float32)
    shown[30:110, 40:90] = rng.uniform(0, 1, (80, 50))
    batched = torch.from_numpy(image).permute(2, 0, 1)[None], torch.from_numpy(shown)[None, None]
    wanted = coarse_light(*batched, cells)[0].permute(1, 2, 0).numpy()
    assert np.abs(guides.coarse_light(image, shown, cells) - wanted).max() < 1e-4


def test_discriminator_maps_are_augmented_and_keep_their_layout() -> None:
    maps = discriminator_maps(torch.zeros(4, 3, 64, 64), torch.ones(4, 2, 64, 64), torch.ones(4, 1, 64, 64))
    seen = [augment_discriminator_maps(maps, torch.Generator().manual_seed(seed)) for seed in range(8)]
    assert all(one.shape == maps.shape for one in seen)
    assert len({float(one.sum()) for one in seen}) == 8
    withheld = torch.stack([one[:, 3:5].amax((1, 2, 3)) == 0 for one in seen]).float().mean()
    assert 0.1 < withheld < 0.7


def test_small_checkpoints_need_names_that_exist(judges: Judges) -> None:
    task = make(judges)
    assert isinstance(task.keeping, Keeping)
    assert set(task.keeping.essential) == set(task.networks)
    assert set(task.keeping.essential.values()) <= set(task.networks)


@pytest.mark.shared
def test_weight_files_load(shared: Path) -> None:
    path = shared / "trial" / "context_generator_trial.safetensors"
    if not path.is_file():
        pytest.skip("the shared folder holds no trial weights")
    from styleid.lab.networks import context_discriminator, context_generator

    generator, discriminator = read_weight_file(path)
    network, judge = context_generator.ContextGenerator(), context_discriminator.ContextDiscriminator()
    context_generator.load_weights(network, generator)
    context_discriminator.load_weights(judge, discriminator)
    own = network.state_dict()
    assert own.keys() - generator.keys() == {"look.weight"}
    assert {name for name in generator if name not in own} == {name for name in generator if name.endswith(".n")}
    assert all(torch.equal(own[name], value.float()) for name, value in generator.items() if name in own)
    assert judge.state_dict().keys() == discriminator.keys()
