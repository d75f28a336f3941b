"""The command that writes the table of docs/evaluation-table.md."""

import importlib.util
from pathlib import Path

import pytest

pytestmark = pytest.mark.versions

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def command():
    place = ROOT / "benchmarks/evaluation_table.py"
    spec = importlib.util.spec_from_file_location("evaluation_table", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_document_has_both_markers(command):
    before, after = command.split(ROOT / "docs/evaluation-table.md")
    assert "## Measured" in before
    assert after.strip() == ""


def test_a_document_without_markers_is_refused(command, tmp_path):
    (tmp_path / "page.md").write_text(command.BEGIN)
    with pytest.raises(SystemExit, match="must hold the line"):
        command.split(tmp_path / "page.md")


def test_the_first_people_are_linked_once(command, tmp_path):
    for name in ("c", "a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
    for _ in range(2):
        chosen = command.first_people(tmp_path / "photos", tmp_path / "work", 2)
    assert sorted(path.name for path in chosen.iterdir()) == ["a", "b"]


def test_a_teacher_is_copied_beside_its_card(command, tmp_path):
    (tmp_path / "teacher.onnx").write_bytes(b"weights")
    assert command.recognisers(None, tmp_path) == "auto"
    wanted = command.recognisers(tmp_path / "teacher.onnx", tmp_path)
    assert wanted == f"auto,{tmp_path / 'mobilefacenet.onnx'}"
    assert (tmp_path / "mobilefacenet.json").is_file()
