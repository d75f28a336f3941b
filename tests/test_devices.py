"""Other devices give the same results as the CPU, where they are available."""

import numpy as np
import pytest

from styleid import load_bundle, runtime
from styleid.bundles.example_inputs import example_inputs
from styleid.bundles.known_outputs import MOST_DIFFERENCE_8_BIT
from styleid.errors import MissingDependencyError, OptionError
from styleid.faces.detect import FaceDetector

OTHERS = [device for device in runtime.DEVICES if device != "cpu"]


def require(device: runtime.Device) -> None:
    """Skip where the device's provider, driver or libraries are missing, and say which."""
    try:
        FaceDetector(device=device).look(np.zeros((64, 64, 3), np.uint8), 0.5)
    except (MissingDependencyError, OptionError) as error:
        pytest.skip(f"{device}: {error}")


@pytest.mark.parametrize("device", OTHERS)
def test_networks_agree_with_the_cpu(device, bundle):
    require(device)
    other = load_bundle(device=device)
    for name in bundle.spec.networks:
        inputs = example_inputs(bundle, name)
        for mine, theirs in zip(bundle.run(name, **inputs), other.run(name, **inputs), strict=True):
            apart = np.sqrt(np.mean((mine.astype(float) - theirs) ** 2)) / max(float(np.std(mine)), 1e-9)
            assert apart < MOST_DIFFERENCE_8_BIT, name


@pytest.mark.parametrize("device", OTHERS)
def test_the_detector_finds_the_same(device, astronaut):
    require(device)
    mine, theirs = FaceDetector().detect(astronaut), FaceDetector(device=device).detect(astronaut)
    assert np.allclose(mine.boxes_xyxy, theirs.boxes_xyxy, atol=2.0)
    assert np.allclose(mine.scores, theirs.scores, atol=0.05)


def test_a_provider_that_does_not_start_is_named(monkeypatch):
    """ONNX Runtime would go on with the CPU."""
    import onnxruntime

    class FellBack:
        def get_providers(self):
            return ["CPUExecutionProvider"]

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: FellBack())
    with pytest.raises(OptionError, match="CUDAExecutionProvider cannot start"):
        runtime.open_session(b"", "cuda", plain=True)


@pytest.mark.parametrize(
    ("device", "providers"),
    [
        ("tensorrt", ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]),
        ("coreml", ["CoreMLExecutionProvider", "CPUExecutionProvider"]),
    ],
)
def test_the_cpu_is_asked_last(device, providers, monkeypatch):
    import onnxruntime

    asked = []

    class Session:
        def __init__(self, *_, providers):
            asked.extend(providers)

        def get_providers(self):
            return asked

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    runtime.open_session(b"", device, plain=True)
    assert asked == providers


def test_coreml_is_said_to_be_on_macos_only(monkeypatch):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(OptionError, match="macOS only"):
        runtime.open_session(b"", "coreml")
    assert "coreml" not in runtime.shadowed_runtime()
