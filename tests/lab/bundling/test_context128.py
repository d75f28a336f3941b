"""A bundle of a tiny context generator: the outputs of its files, and bundle.json."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from styleid.bundles.bundle import Bundle
from styleid.bundles.known_outputs import wrong_outputs
from styleid.bundles.registry import find_bundle, verify
from styleid.commands.train import main
from styleid.errors import TrainingError
from styleid.lab.bundling.context128 import build_context_bundle
from styleid.lab.bundling.context_bank import fit_context_bank
from styleid.lab.bundling.context_parts import Checkpoint, Parts
from styleid.lab.networks.context_bundle import ContextInverter, Styles
from styleid.lab.tasks.context_options import BankOptions
from styleid.pixel.guides import Part
from styleid.runtime import open_session
from tests.lab.small_context import CONFIG, GEOMETRY, SIZE, networks, pack, write_checkpoint

PACK = pack()
pytestmark = pytest.mark.slow  # five exports


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def built(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    PACK.save(folder / "pack.npz")
    arguments = ["--data", str(folder / "pack.npz"), "--checkpoint", str(checkpoint), "--most-alike", "0.9"]
    said = list[str]()
    assert main(["context128", *arguments, "--out", str(folder / "context")], said.append) == 0
    assert any("generated people" in line for line in said)
    return folder / "context"


@pytest.fixture(scope="module")
def parts(checkpoint: Path) -> Parts:
    return Parts.gather(PACK, checkpoint, "aam128", BankOptions(most_alike=0.9))


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "bundle.json").read_text())


def run(folder: Path, role: str, **inputs: torch.Tensor) -> torch.Tensor:
    """Run a network of the bundle, and check that smaller batches give the same outputs."""
    session = open_session(folder / f"{role}.onnx")
    feeds = {name: value.numpy() for name, value in inputs.items()}
    (whole,) = session.run(None, feeds)
    for count in (1, 2):
        (some,) = session.run(None, {name: value[:count] for name, value in feeds.items()})
        np.testing.assert_allclose(some, whole[:count], atol=2e-4)
    return torch.from_numpy(whole)


def crops(n: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(5)
    landmarks = torch.from_numpy(PACK.landmarks68[:n]) * 2 + 0.5
    visible = functional.interpolate(torch.rand(n, 1, 5, 5, generator=draw), 160)
    identity = functional.normalize(torch.randn(n, 128, generator=draw))
    crop = functional.interpolate(torch.rand(n, 3, 20, 20, generator=draw) * 2 - 1, 160, mode="bilinear")
    return {"crop": crop, "landmarks": landmarks, "visible": visible, "identity": identity}


def test_files_match_bundle_json(built: Path) -> None:
    said = record(built)
    entries = [*said["networks"].values(), said["neutral"]]
    for entry in entries:
        content = (built / entry["file"]).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (entry["sha256"], entry["bytes"])
    assert verify(built) == []
    assert {path.name for path in built.iterdir()} == {e["file"] for e in entries} | {"bundle.json", "CARD.md"}
    roles = {"parser", "identity", "attributes", "inverter", "geometry", "mapping", "mask_encoder", "generator"}
    assert set(said["networks"]) == roles
    for role in ("parser", "identity", "attributes"):
        assert (
            said["networks"][role] == json.loads((find_bundle("aam128") / "bundle.json").read_text())["networks"][role]
        )


def test_outputs_do_not_depend_on_the_batch_size(built: Path) -> None:
    bundle = Bundle(built)
    assert [
        line for role in ("inverter", "geometry", "mapping", "generator") for line in wrong_outputs(bundle, role)
    ] == []


def test_rows_follow_each_other_and_levels_hold_them_all(built: Path) -> None:
    said = record(built)
    ends = [row["first"] + row["width"] for row in said["rows"]]
    assert [row["first"] for row in said["rows"]] == [0, *ends[:-1]]
    assert ends[-1] == SIZE
    names = [row["name"] for row in said["rows"]]
    assert names == ["pose", "placement", "expression", *(f"shape{i}" for i in range(6)), *CONFIG.layer_names]
    held = [row for first, last in said["levels"].values() for row in range(first, last + 1)]
    assert held == list(range(len(names)))
    assert said["generators"] == [{"network": "generator", "side": 64}]
    for step in (*said["swaps"], *({"levels": levels} for levels in said["pixel"]["levels"])):
        assert set(step["levels"]) <= set(said["levels"])


def test_quality_records_training_and_quantisation(built: Path) -> None:
    quality = record(built)["quality"]
    assert quality["generator"]["images"] == 1234
    assert quality["generator"]["identity"] == 0.7123
    assert 0 < quality["8 bits"]["generator"] < 0.1
    assert quality["drawn"]["alike"] > 0.9
    assert "1,234 views" in (built / "CARD.md").read_text()


def test_the_inverter_computes_what_torch_does(built: Path, parts: Parts) -> None:
    given = crops(7)
    assert parts.checkpoint.appearance is not None
    inverter = ContextInverter(parts.shapes, parts.styles, parts.checkpoint.appearance, 160)
    with torch.no_grad():
        wanted = inverter(*given.values())
    found = run(built, "inverter", **given)
    assert found.shape == (7, SIZE)
    torch.testing.assert_close(found, wanted, atol=5e-3, rtol=5e-3)  # weights are kept in half precision
    rows = found[:, GEOMETRY:].reshape(7, 7, 16)
    assert torch.equal(rows, rows[:, :1].expand_as(rows))
    other = run(built, "inverter", **given | {"crop": -given["crop"]})
    assert (other - found)[:, GEOMETRY:].abs().max() > 1e-3  # the appearance code affects w
    assert torch.equal(other[:, :GEOMETRY], found[:, :GEOMETRY])


def test_landmarks_survive_the_way_through_w_plus(built: Path, parts: Parts) -> None:
    given = crops(7) | {
        "landmarks": parts.model.mean_shape[None, :68].repeat(7, 1, 1) + torch.arange(7).view(-1, 1, 1) / 2
    }
    codes = run(built, "inverter", **given)
    found = run(built, "geometry", w_plus=codes)
    assert (found - given["landmarks"]).abs().mean() < 0.5
    changed = torch.cat([codes[:, :GEOMETRY], torch.randn(7, SIZE - GEOMETRY)], 1)
    assert torch.equal(run(built, "geometry", w_plus=changed), found)


def test_images_of_the_generator_are_in_range(built: Path) -> None:
    draw, side = torch.Generator().manual_seed(1), CONFIG.side
    channels = {"context": 3, "region": 1, "lines": 2, "glasses": 1, "light": 3}
    maps = {name: torch.rand(7, n, side, side, generator=draw) for name, n in channels.items()}
    codes = torch.randn(7, SIZE, generator=draw)
    image = run(built, "generator", **maps, w_plus=codes)
    assert image.shape == (7, 3, side, side)
    assert image.abs().max() <= 1
    elsewhere = torch.cat([torch.zeros(7, GEOMETRY), codes[:, GEOMETRY:]], 1)
    assert torch.equal(
        run(built, "generator", **maps, w_plus=elsewhere), image
    )  # geometry reaches it through the lines only


def test_the_mask_encoder_sets_geometry_rows_only(built: Path, bundle: Bundle) -> None:
    labels = np.random.default_rng(0).integers(0, 19, (7, 80, 80)).astype(np.uint8)
    found = run(built, "mask_encoder", labels=torch.from_numpy(labels).float()).numpy()
    assert found.shape == (7, SIZE)
    assert not found[:, GEOMETRY:].any()
    wanted = bundle.encode_labels(labels).reshape(7, 59, 8)[:, [0, 1, 2, *range(5, 11)]].reshape(7, -1)
    np.testing.assert_allclose(found[:, :GEOMETRY], wanted, atol=0.02)


def test_the_mapping_computes_what_torch_does(built: Path, parts: Parts) -> None:
    draw = torch.Generator().manual_seed(2)
    given = {
        "z": torch.randn(7, 64, generator=draw),
        "attributes": torch.from_numpy(PACK.known_looks()[:7]),
        "source": run(built, "inverter", **crops(7)),
    }
    with torch.no_grad():
        wanted = parts.mapping(*given.values())
    torch.testing.assert_close(run(built, "mapping", **given), wanted, atol=5e-3, rtol=5e-3)


def test_the_neutral_crop_is_redrawn_and_parsed(built: Path, parts: Parts) -> None:
    with np.load(built / "neutral.npz") as neutral:
        crop, labels, landmarks = neutral["crop"], neutral["parts"], neutral["landmarks"]
    assert (crop.shape, crop.dtype) == ((160, 160, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((80, 80), np.uint8)
    assert set(np.unique(labels)) <= {int(part) for part in Part}
    assert (landmarks.shape, landmarks.dtype) == ((68, 2), np.float32)
    photos = functional.interpolate(torch.from_numpy(PACK.crops(parts.bank)).permute(0, 3, 1, 2).float(), 160)
    apart = (photos - torch.from_numpy(crop).permute(2, 0, 1)).abs().amax(1)
    assert apart.mean((1, 2)).min() > 1  # it is none of the photos


@pytest.mark.slow
def test_an_existing_card_is_kept_and_weights_can_stay_in_floating_point(built: Path, tmp_path: Path) -> None:
    """A weight file has neither an appearance encoder nor the layer of the appearance code."""
    tensors = {f"ema.{name}": value for name, value in networks()["average"].state_dict().items() if "look" not in name}
    save_file(tensors | {"d.any": torch.zeros(1)}, tmp_path / "trial.safetensors")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "CARD.md").write_text("mine")
    build_context_bundle(PACK, tmp_path / "trial.safetensors", tmp_path / "out", lambda line: None, eight_bits=False)
    assert (tmp_path / "out" / "CARD.md").read_text() == "mine"
    assert "generator" not in record(tmp_path / "out")["quality"]["8 bits"]
    session = open_session(tmp_path / "out" / "inverter.onnx")
    assert [value.name for value in session.get_inputs()] == ["landmarks", "identity"]


def test_unsuitable_checkpoints_and_packs_are_refused(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(TrainingError, match="holds no checkpoint"):
        Checkpoint.read(tmp_path)
    found, shapes = Checkpoint.read(checkpoint), Parts.gather(PACK, checkpoint, "aam128", None).shapes
    nobody = replace(PACK, source=np.full(len(PACK), 2, np.int8))
    with pytest.raises(TrainingError, match="no generated face without glasses"):
        fit_context_bank(nobody, shapes, Styles(found.generator), None)
    with pytest.raises(TrainingError, match="closed mouth"):
        build_context_bundle(replace(PACK, luma=np.zeros(len(PACK), np.float32)), checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()
