"""The networks that all requests share."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from styleid.bundles import bundle
from styleid.bundles.registry import DEFAULT, find_bundle
from styleid.core.options import AnonymizeOptions
from styleid.faces import detect
from styleid.serve.networks import Networks
from styleid.types import Action
from tests.serve.conftest import ROOT


def test_after_the_warm_up_no_upload_opens_a_network(astronaut, monkeypatch) -> None:
    opened = []
    for module in (bundle, detect):
        real = module.open_session
        monkeypatch.setattr(module, "open_session", lambda *a, real=real, **k: opened.append(1) or real(*a, **k))
    networks = Networks(DEFAULT, "cpu")
    assert not opened
    networks.warm_up()
    assert len(opened) == len(networks.bundle.spec.networks) + 1
    photo = np.ascontiguousarray(astronaut[:256, 96:352])
    outcome = networks.anonymizer(AnonymizeOptions(seed=7)).anonymize(photo, name="a.jpg")
    assert outcome.count(Action.ANONYMIZED) == 1
    assert len(opened) == len(networks.bundle.spec.networks) + 1


@pytest.mark.slow
def test_the_command_refuses_an_altered_network_at_its_start(tmp_path) -> None:
    copy = shutil.copytree(find_bundle(DEFAULT), tmp_path / "altered")
    network = copy / "mapping.onnx"
    network.write_bytes(network.read_bytes()[:-1] + b"\0")
    command = [sys.executable, "-m", "styleid", "serve", "--port", "0", "--data", str(tmp_path / "data")]
    command += ["--bundle", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)
    assert done.returncode == 1
    assert "mapping.onnx has the SHA-256" in done.stderr
    assert "Traceback" not in done.stderr
