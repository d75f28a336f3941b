"""YuNet, the second face detector. It is small and fast, and its errors differ from CenterFace's.

YuNet (Wu et al., 2023, "YuNet: A tiny millisecond-level face detector"; copyright (c) 2020 Shiqi Yu, MIT) is part of
this package: the file `face_detection_yunet_2023mar` of OpenCV's model zoo, from its block-quantised build, with
weights converted back to float32 and one output per stride. It gives the same results as OpenCV's FaceDetectorYN in
half the time, and does not depend on the number of threads.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float

from styleid.runtime import Device, LazySession, open_session
from styleid.types import Faces, ImageRGB, ImagesRGB

WEIGHTS = Path(__file__).with_name("yunet.onnx")
_STRIDES_PX = (8, 16, 32)
_LONGEST_LOG = 8.0
"""Largest logarithm of a box's side in strides; larger values are clipped, because the exponential would overflow."""


class YuNet:
    """Runs YuNet. The network is opened when it is first used; several threads can use it."""

    def __init__(self, device: Device = "cpu") -> None:
        """Choose where the network runs."""
        self._session = LazySession(lambda: open_session(WEIGHTS, device))

    def look(self, view_rgb: ImageRGB, threshold: float) -> Faces:
        """Detect faces in one view, without suppressing overlaps: a face usually has several detections.

        Args:
            view_rgb: uint8 (height, width, 3).
            threshold: Least score, between 0 and 1.

        Returns:
            The detections, in pixels of the view, in the order of YuNet's output.
        """
        height, width = view_rgb.shape[:2]
        padded = np.zeros((1, _round_up(height), _round_up(width), 3), np.uint8)
        padded[0, :height, :width] = view_rgb
        return self.look_at_all(padded, threshold)[0]

    def look_at_all(self, views_rgb: ImagesRGB, threshold: float) -> list[Faces]:
        """Detect faces in several views, like `look`.

        Args:
            views_rgb: uint8 (n, height, width, 3); height and width are multiples of 32.
            threshold: Least score, between 0 and 1.

        Returns:
            The detections of each view.
        """
        batch = views_rgb[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
        maps = self._session.get().run(None, {"image_bgr": np.ascontiguousarray(batch)})
        pairs = list(zip(maps, _STRIDES_PX, strict=True))
        return [
            Faces.concatenate([_decode(np.asarray(found)[i], stride, threshold) for found, stride in pairs])
            for i in range(len(views_rgb))
        ]


def _decode(found: Float[np.ndarray, "16 h w"], stride: int, threshold: float) -> Faces:
    """Convert the output of one stride (class and object scores, centre and size of the box, five points) to faces."""
    scores = np.sqrt(_sigmoid(found[0]) * _sigmoid(found[1]))
    rows, columns = np.nonzero(scores > threshold)
    places = np.stack([columns, rows], axis=1)
    values = found[:, rows, columns].T
    centres = (places + values[:, 2:4]) * stride
    halves = np.exp(np.minimum(values[:, 4:6], _LONGEST_LOG)) * stride / 2
    points = (places[:, None] + values[:, 6:].reshape(-1, 5, 2)) * stride
    boxes = np.concatenate([centres - halves, centres + halves], axis=1)
    return Faces(boxes - 0.5, scores[rows, columns], points - 0.5)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(values, -80, 80)))


def _round_up(length_px: int) -> int:
    largest = _STRIDES_PX[-1]
    return -(-length_px // largest) * largest
