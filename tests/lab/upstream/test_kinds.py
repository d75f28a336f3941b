"""Checkpoints that are given for another kind, incomplete, or of another version."""

import itertools
from pathlib import Path

import pytest
import torch

from styleid.errors import CheckpointError
from styleid.lab.upstream import kinds
from tests.lab.upstream.checkpoints import NETWORKS, ROWS, WIDTH, wrapped

BY_ROLE = {
    "generator": kinds.GENERATOR,
    "inverter": kinds.INVERTER,
    "mask_encoder": kinds.MASK_ENCODER,
    "swapper": kinds.SWAPPER,
    "identity": kinds.IDENTITY,
    "attributes": kinds.ATTRIBUTES,
    "parser": kinds.PARSER,
}


@pytest.mark.parametrize("role", BY_ROLE)
def test_each_file_loads_as_its_kind(role: str, checkpoints: dict[str, Path]) -> None:
    loaded = kinds.load_kind(checkpoints[role], BY_ROLE[role])
    stored = kinds.unwrap(torch.load(checkpoints[role], weights_only=False), BY_ROLE[role].prefix)
    state = loaded.network.state_dict()
    assert all(torch.equal(state[name], value) for name, value in stored.items())
    assert not loaded.network.training
    if role in ("inverter", "mask_encoder"):
        assert loaded.latent_avg is not None
        assert loaded.latent_avg.shape == (ROWS, WIDTH)


@pytest.mark.parametrize(("given", "wanted"), list(itertools.permutations(BY_ROLE, 2)))
def test_a_file_given_for_another_kind_is_identified(given: str, wanted: str, checkpoints: dict[str, Path]) -> None:
    with pytest.raises(CheckpointError) as caught:
        kinds.load_kind(checkpoints[given], BY_ROLE[wanted])
    text = str(caught.value)
    assert BY_ROLE[given].text in text
    assert f"give it with `{BY_ROLE[given].option}`" in text
    assert "Missing: " in text or "Mis-shaped: " in text


@pytest.mark.parametrize("role", BY_ROLE)
def test_missing_unexpected_and_misshaped_tensors_are_named(role: str, tmp_path: Path) -> None:
    content = wrapped(role, NETWORKS[role]())
    state = next((content[n] for n in ("g_ema", "state_dict", "model_state_dict") if n in content), content)
    own = [name for name in state if not name.startswith("decoder.")]
    prefix = (
        own[0][: len(own[0]) - len(own[0].split(".", 1)[1])] if role in ("inverter", "mask_encoder", "swapper") else ""
    )
    gone, bent = own[-1], next(name for name in own[len(own) // 2 :] if state[name].ndim == 1)
    state[f"{prefix}surplus.weight"] = torch.zeros(3)
    state[bent] = torch.zeros(len(state[bent]) + 5)
    del state[gone]
    torch.save(content, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError) as caught:
        kinds.load_kind(tmp_path / "odd.pt", BY_ROLE[role])
    text = str(caught.value)
    assert f"Missing: {gone.removeprefix(prefix)}." in text
    assert "Unexpected: surplus.weight." in text
    assert f"Mis-shaped: {bent.removeprefix(prefix)} is" in text
    assert "It seems to be one of another version, or incomplete." in text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (torch.zeros(4, ROWS, WIDTH), f"one tensor of shape 4 x {ROWS} x {WIDTH}"),
        ([1, 2, 3], "no named tensors"),
        ({"epoch": 3}, "no named tensors"),
        ({"fc.weight": torch.zeros(2, 2)}, "does not recognise it"),
    ],
)
def test_files_without_a_network_are_refused(content: object, says: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match=says):
        kinds.load_kind(tmp_path / "odd.pt", kinds.GENERATOR)


def test_numbers_that_are_not_finite_are_refused(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    content = torch.load(checkpoints["parser"], weights_only=False)
    content["final.bias"][3] = float("nan")
    torch.save(content, tmp_path / "nan.pt")
    with pytest.raises(CheckpointError, match=r"final\.bias holds values that are not finite"):
        kinds.load_kind(tmp_path / "nan.pt", kinds.PARSER)
