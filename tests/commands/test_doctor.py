"""`styleid doctor` reports runtimes that do not work, or that are hidden by another installation."""

import importlib.metadata
import tomllib
from pathlib import Path

import numpy as np
import pytest

from styleid import describe_installation, runtime
from styleid.bundles import bundle
from styleid.commands.doctor import doctor
from styleid.errors import MissingDependencyError, OptionError
from tests.tiny_bundle import tiny_bundle


@pytest.fixture
def own(tmp_path_factory) -> Path:
    """Somebody's own bundle."""
    return tiny_bundle(tmp_path_factory, "copy")


def test_own_bundles_are_tried_too(own: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("styleid.api.installation.self_test", lambda *_: "fine")
    assert doctor(str(own)) == 0
    assert f"networks of {own}: 6 give the expected outputs, for 1, 2 and 7 faces at once" in capsys.readouterr().out


def test_a_runtime_that_computes_wrongly_is_told_of_without_a_traceback(own: Path, capsys, monkeypatch) -> None:
    def refuse(session, inputs, batch):
        if len(next(iter(inputs.values()))) == 7:
            raise RuntimeError("GEMM: Dimension mismatch\nand more")
        return session.run(None, inputs)

    monkeypatch.setattr(bundle, "run_batched", refuse)
    assert doctor(str(own)) == 1
    said = capsys.readouterr().err
    assert f"networks of {own}: FAILED. parser cannot be run: GEMM: Dimension mismatch;" in said
    assert f"Do not use ONNX Runtime {importlib.metadata.version('onnxruntime')} with it." in said
    assert "pip install --upgrade onnxruntime" in said
    assert "Traceback" not in said


def test_a_self_test_that_breaks_is_one_line(capsys, monkeypatch) -> None:
    def broken(*_):
        raise ArithmeticError("first\nsecond")

    monkeypatch.setattr("styleid.api.installation.self_test", broken)
    assert doctor() == 1
    assert capsys.readouterr().err.startswith("self-test: FAILED. ArithmeticError: first Try another version")


@pytest.fixture
def beside(monkeypatch) -> None:
    """The GPU build of ONNX Runtime, installed beside the plain one, which is what Python loads."""
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "1.24.1" if name == "onnxruntime-gpu" else real(name)
    )
    monkeypatch.setattr(runtime, "available_devices", lambda: ["cpu"])


@pytest.mark.usefixtures("beside")
def test_a_build_that_is_hidden_is_named_with_what_to_type(capsys, monkeypatch) -> None:
    monkeypatch.setattr("styleid.api.installation.checks_of", lambda *_: {})
    assert doctor() == 0
    typed = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install --no-deps onnxruntime-gpu"
    out = capsys.readouterr().out
    assert "note: onnxruntime-gpu is installed, but another build of ONNX Runtime is installed too" in out
    assert typed in out
    with pytest.raises(OptionError, match="pip uninstall -y onnxruntime onnxruntime-gpu"):
        runtime.open_session(b"", "cuda")


def test_a_build_that_is_not_installed_is_named_as_before() -> None:
    assert runtime.shadowed_runtime() == {}
    with pytest.raises(MissingDependencyError, match="pip install onnxruntime-gpu"):
        runtime.open_session(b"", "cuda")


def test_plain_sessions_give_the_same(own: Path) -> None:
    opened = bundle.Bundle(own)
    z = {value.name: np.ones((1, *value.shape[1:]), np.float32) for value in opened.session("mapping").get_inputs()}
    assert np.allclose(opened.plain_session("mapping").run(None, z)[0], opened.run("mapping", **z)[0], atol=1e-5)


def test_every_extra_of_a_user_is_listed() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = {line.split()[1].rstrip(":") for line in describe_installation() if line.startswith("extra ")}
    assert listed == set(project["optional-dependencies"]) - {"dev", "docs"}
