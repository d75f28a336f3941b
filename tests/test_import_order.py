"""Rooms import only what stands below them; pyproject.toml lists them."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"


def lint(config: Path, src: Path) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("lint-imports")
    paths = os.pathsep.join(filter(None, (str(src), os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        [command, config, "--no-cache"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": paths, "COLUMNS": "120"},
        cwd=config.parent,
        check=False,
    )


@pytest.fixture(autouse=True)
def installed() -> None:
    if importlib.util.find_spec("importlinter") is None:
        pytest.skip("import-linter is not installed: pip install 'styleid[dev]'")


def test_imports_point_down() -> None:
    done = lint(ROOT / "pyproject.toml", SRC)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kept, 0 broken" in done.stdout


def test_an_import_that_points_up_is_found(tmp_path: Path) -> None:
    package = tmp_path / "styleid"
    shutil.copytree(SRC / "styleid", package, ignore=shutil.ignore_patterns("*.onnx", "*.npz", "__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (package / "faces" / "align.py").open("a") as file:
        file.write("\n\ndef _later():\n    import styleid.engine.report\n")
    done = lint(tmp_path / "pyproject.toml", tmp_path)
    assert done.returncode == 1
    assert "styleid.faces.align -> styleid.engine.report" in done.stdout
