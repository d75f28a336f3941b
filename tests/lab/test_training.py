"""Options of trainings: invalid values are refused with the name of the field or flag."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from styleid.cli import main
from styleid.errors import OptionError
from styleid.lab.data.context_pack import ContextPackOptions
from styleid.lab.data.pack import PackOptions
from styleid.lab.tasks.context_options import BankOptions, ContextOptions
from styleid.lab.tasks.device import resolve_device
from styleid.lab.training import GanOptions, TaskOptions
from tests.lab.synthetic import synthetic_pack, write_pack


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (PackOptions, "inner_px", 4),
        (PackOptions, "margin_px", -1),
        (PackOptions, "quality", 101),
        (ContextPackOptions, "quality", 0),
        (ContextPackOptions, "faces", -1),
        (partial(TaskOptions, Path("pack.npz")), "batch", -1),
        (partial(TaskOptions, Path("pack.npz")), "faces", -1),
        (GanOptions, "resolution", 48),
        (GanOptions, "resolution", 256),
        (GanOptions, "width", 0),
        (GanOptions, "channels", 0),
        (partial(ContextOptions, Path("pack.npz")), "resolution", 100),
        (partial(ContextOptions, Path("pack.npz")), "batch", 5),
        (partial(ContextOptions, Path("pack.npz")), "batch", 2),
        (partial(ContextOptions, Path("pack.npz")), "rate", 0.0),
        (partial(ContextOptions, Path("pack.npz")), "light_cells", 1),
        (partial(ContextOptions, Path("pack.npz")), "r1", -1.0),
        (partial(ContextOptions, Path("pack.npz")), "average", 1.0),
        (BankOptions, "variety", -0.1),
        (BankOptions, "apart", 1.1),
        (BankOptions, "truncation", -0.1),
    ],
)
def test_invalid_options_are_refused(make: Callable[..., object], name: str, value: float) -> None:
    with pytest.raises(OptionError, match=f"not {value}") as caught:
        make(**{name: value})
    assert caught.value.option == name


def test_the_command_names_the_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pack(synthetic_pack(8), tmp_path / "pack.npz")
    arguments = ["train", "generator", "--data", str(tmp_path / "pack.npz"), "--save-to", str(tmp_path / "run")]
    for wrong in (["--resolution", "48"], ["--device", "gpu"]):
        assert main([*arguments, *wrong]) != 0
        assert f"{wrong[0]}: it must be" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("device", "available", "wanted"),
    [("cpu", True, "cpu"), ("auto", True, "cuda"), ("auto", False, "cpu"), ("cuda:1", True, "cuda:1")],
)
def test_devices_are_resolved(device: str, available: bool, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert resolve_device(device) == wanted


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "gpu", "cuda:x", ""])
def test_devices_that_cannot_be_used_are_refused(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(OptionError, match=r"it must be auto|no CUDA device"):
        resolve_device(device)
