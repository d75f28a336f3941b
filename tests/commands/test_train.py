"""The training commands: their options, earlier names, and that no other command loads the lab."""

import subprocess
import sys
from pathlib import Path

import pytest

from styleid.commands.train import main
from styleid.errors import TrainingError
from styleid.lab.training import TASKS
from tests.lab.synthetic import synthetic_pack, write_pack


@pytest.mark.parametrize("command", ["target-separation", "spread", "swapper"])
def test_photos_with_surroundings_are_asked_for(command: str, tmp_path: Path) -> None:
    write_pack(synthetic_pack(8), tmp_path / "pack.npz")
    with pytest.raises(TrainingError, match="`wide` is missing"):
        main([command, "--data", str(tmp_path / "pack.npz"), "--checkpoints", str(tmp_path)])


COMMANDS = {name: name for name in (*TASKS, "pack", "aam", "aam128", "restore")}


@pytest.mark.parametrize(
    ("command", "today"), [*COMMANDS.items(), ("revive", "restore"), ("spread", "target-separation")]
)
def test_each_command_explains_itself(command: str, today: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"styleid train {today}" in capsys.readouterr().out


def test_no_other_command_loads_the_lab() -> None:
    code = """
import importlib, pkgutil, sys
import styleid.cli, styleid.commands
for module in pkgutil.iter_modules(styleid.commands.__path__):
    if module.name != "train":
        importlib.import_module("styleid.commands." + module.name)
print([name for name in sys.modules if name == "torch" or name.startswith("styleid.lab")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
