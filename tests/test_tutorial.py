"""The tutorial's commands work in order, and do what the page says."""

import json
import shlex
from pathlib import Path

import pytest

from styleid.cli import main

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
COMMANDS = [line.strip() for line in PAGE.splitlines() if line.startswith("    styleid anonymize ")]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder of photos as in the tutorial: one with faces, one damaged, and a text beside them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/group.jpg").write_bytes((ROOT / "examples/group.jpg").read_bytes())
    (tmp_path / "photos/broken.jpg").write_bytes(b"\xff\xd8\xff\xe0broken")
    (tmp_path / "photos/notes.txt").write_text("From the open day\n", encoding="utf-8")
    return tmp_path


def run(command: str) -> int:
    return main([*shlex.split(command)[1:], "--quiet"])


def test_the_commands_work_in_their_order(folder, capsys) -> None:
    first, checked, corrected, resumed = COMMANDS
    assert run(first) == 3
    assert "broken.jpg" in capsys.readouterr().err
    assert sorted(path.name for path in (folder / "anonymised").iterdir()) == [
        "group.jpg", "styleid-journal.jsonl", "styleid-report.html"]  # fmt: skip

    (folder / "photos/broken.jpg").unlink()
    assert run(checked) == 0
    decisions = (folder / "decisions.json").read_text(encoding="utf-8")
    assert decisions.count('"do": "replace"') == 4
    (folder / "decisions.json").write_text(decisions.replace('"do": "replace"', '"do": "blur"', 1), encoding="utf-8")
    capsys.readouterr()
    assert run(corrected) == 0
    assert "faces: 3 anonymised, 1 obscured" in capsys.readouterr().out

    assert run(resumed) == 0
    assert "1 of 1 file written to anonymised (1 of them earlier)" in capsys.readouterr().out
    lines = (folder / "corrected/styleid-journal.jsonl").read_text(encoding="utf-8").splitlines()
    assert [face["decision"]["do"] for face in json.loads(lines[-1])["faces"]].count("blur") == 1
