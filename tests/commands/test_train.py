"""The table of trainings: what each command asks for, and earlier names."""

from pathlib import Path

import pytest

from styleid.commands.train import TASKS, main
from styleid.errors import TrainingError
from tests.lab.synthetic import synthetic_pack, write_pack


@pytest.mark.parametrize("command", ["target-separation", "spread", "swapper"])
def test_photos_with_surroundings_are_asked_for(command: str, tmp_path: Path) -> None:
    write_pack(synthetic_pack(8), tmp_path / "pack.npz")
    with pytest.raises(TrainingError, match="--wide is missing"):
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
