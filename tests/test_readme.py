"""The README is short, and its example runs unchanged."""

import re
from pathlib import Path

import pytest

from styleid.types import Action

pytestmark = pytest.mark.versions

ROOT = Path(__file__).resolve().parents[1]
MOST_WORDS = 1100


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= MOST_WORDS


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert (tmp_path / "anonymised.png").is_file()
    assert len(names["outcome"].faces) == 4
    assert {face.action for face in names["outcome"].faces} <= {Action.ANONYMIZED, Action.OBSCURED}
    assert "anonymised" in capsys.readouterr().out
