"""The second look at unsure detections, in the settings `standard` and `thorough`.

A detection of which CenterFace is unsure is cut out with its surroundings and scaled to a size at which detectors work
well. YuNet examines it; in the setting `thorough`, both detectors examine it at several sizes, mirrored, and with
stretched contrast. The log-odds of all scores are added with the weights of a logistic regression
(benchmarks/detection.py, `fit`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from styleid.faces.yunet import YuNet
from styleid.types import Faces, FloatArray, ImageRGB, ImagesRGB

SIDE_PX = 192
"""Usual side of a view."""
_CLIP = 0.02
"""Scores are clipped to [0.02, 0.98] before log-odds are taken."""
_AREA_BELOW = 0.7
"""Scale below which an image is averaged down before it is warped."""
_REACH = 1.5
"""Size of the part that is cut out before warping, in sides of the view."""
_LEAST_SPAN = 12.0
"""Least range of values that is stretched, so that noise in flat images is not amplified much."""


@dataclass(frozen=True)
class View:
    """How a detection is cut out and shown to a detector.

    face_px: longer side of the face in the view, pixels.
    mirrored: whether the view is mirrored.
    stretched: whether its contrast is stretched.
    side_px: side of the view, pixels, a multiple of 32.
    """

    face_px: float = 60.0
    mirrored: bool = False
    stretched: bool = False
    side_px: int = SIDE_PX


LookAtAll = Callable[[ImagesRGB, float], Sequence[Faces]]
"""A detector: takes views, uint8 (n, side, side, 3), and a threshold; returns the detections of each view."""


@dataclass(frozen=True)
class Weights:
    """A logistic regression that combines the figures of a second look.

    each: weight of each figure.
    constant: the intercept.
    bar: sum from which a detection counts as a face at the default threshold.
    """

    each: tuple[float, ...]
    constant: float
    bar: float

    def weigh(self, seen: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
        """Return the evidence for n detections.

        Args:
            seen: Figures of the second look, (n, k), from `SecondLook.at`.

        Returns:
            (n,), log-odds; 0 at the bar.
        """
        return seen @ np.array(self.each) + self.constant - self.bar


STANDARD = Weights((0.99, 0.51), 2.66, 1.0)
"""Weights for the setting `standard`."""
THOROUGH = Weights((1.08, 0.28, 0.45, 0.32), 3.63, -0.35)
"""Weights for the setting `thorough`."""
SURE = 0.5
"""Score of CenterFace from which a detection needs no second look."""
_QUICK_VIEW = View(side_px=128)
_CLOSER_VIEWS = tuple(View(px, turned, turned) for px in (40.0, 60.0, 90.0) for turned in (False, True))
_HOPEFUL = 0.15
"""Least score of either detector with which CenterFace, the slower one, examines a detection, too."""
_FLOOR = 0.06
"""Score from which a detection gets a second look, at the default threshold."""
_LOWEST = 0.05
"""The same at any threshold."""
_LOOKED_AT = 0.03
"""Least score of a detector in a closer view."""
_DEFAULT = 0.35
"""The default threshold of `DetectorOptions`."""


def view_of(image_rgb: ImageRGB, box_xyxy: FloatArray, view: View) -> ImageRGB:
    """Cut a detection out of an image with its surroundings.

    Args:
        image_rgb: The image, uint8 (height, width, 3).
        box_xyxy: The detection's box, (4,), pixels of the image.
        view: Size, mirroring and contrast of the view.

    Returns:
        The view, uint8 (side, side, 3), centred on the box.
    """
    centre, side = (box_xyxy[:2] + box_xyxy[2:]) / 2, max(1.0, float((box_xyxy[2:] - box_xyxy[:2]).max()))
    scale = view.face_px / side
    reach, size = _REACH * view.side_px / 2 / scale, np.array(image_rgb.shape[1::-1])
    low = np.clip(np.floor(centre - reach), 0, size - 1).astype(int)
    high = np.clip(np.ceil(centre + reach) + 1, low + 1, size).astype(int)
    part = image_rgb[low[1] : high[1], low[0] : high[0]]
    shrunk = 1.0
    if scale < _AREA_BELOW:  # warpAffine does not average where it shrinks
        small = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
        part, shrunk = cv2.resize(part, small, interpolation=cv2.INTER_AREA), scale
    grown = scale / shrunk
    matrix = np.array([[grown, 0, 0], [0, grown, 0]])
    matrix[:, 2] = view.side_px / 2 - grown * shrunk * (centre - low)
    both = (view.side_px, view.side_px)
    cut = cv2.warpAffine(part, matrix, both, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    cut = cut[:, ::-1] if view.mirrored else cut
    return np.ascontiguousarray(stretched(np.asarray(cut)) if view.stretched else cut, np.uint8)


def stretched(image_rgb: ImageRGB) -> ImageRGB:
    """Stretch an image's contrast: its 1st percentile becomes 0, its 99th percentile 255."""
    low, high = np.percentile(image_rgb[::2, ::2], (1, 99))
    spread = (image_rgb.astype(np.float32) - low) * (255 / max(_LEAST_SPAN, float(high - low)))
    return np.clip(spread, 0, 255).astype(np.uint8)


def central_score(faces: Faces, view: View) -> float:
    """Return the best score of a face near the centre of a view and of about the expected size; 0 if there is none."""
    centres = faces.boxes_xyxy.reshape(-1, 2, 2).mean(1)
    sides = (faces.boxes_xyxy[:, 2:] - faces.boxes_xyxy[:, :2]).max(1, initial=0)
    about = (np.abs(centres + 0.5 - view.side_px / 2) < view.face_px / 3).all(1)
    about &= (sides > view.face_px / 2) & (sides < 2 * view.face_px)
    return float(faces.scores[about].max(initial=0))


def log_odds(scores: Float[np.ndarray, "*s"]) -> Float[np.ndarray, "*s"]:
    """Return the log-odds of scores, which are clipped to [0.02, 0.98]."""
    clipped = np.clip(np.asarray(scores, np.float64), _CLIP, 1 - _CLIP)
    return np.log(clipped / (1 - clipped))


def floor(threshold: float) -> float:
    """Return CenterFace's score from which a detection gets a second look, for a threshold between 0 and 1."""
    moved = _FLOOR / (1 - _FLOOR) * threshold / (1 - threshold) * (1 - _DEFAULT) / _DEFAULT
    return min(threshold, max(_LOWEST, moved / (1 + moved)))


def evidence_of(scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Convert scores (n,) to evidence (n,), log-odds relative to the default threshold; the inverse of `as_score`."""
    inside = np.clip(scores.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.log(inside / (1 - inside)) - np.log(_DEFAULT / (1 - _DEFAULT))


def below_sure(evidence: Float[np.ndarray, " n"], threshold: float) -> Float[np.ndarray, " n"]:
    """Limit evidence to less than that of a sure detection, so that an unsure one never suppresses a sure one.

    Args:
        evidence: (n,), log-odds.
        threshold: The detector's threshold, between 0 and 1.

    Returns:
        (n,), in the same order; negative evidence does not change.
    """
    cap = float(evidence_of(np.array([max(SURE, threshold)]))[0])
    return np.where(evidence > 0, cap * (1 - np.exp(-np.maximum(evidence, 0) / cap)), evidence)


def as_score(evidence: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Convert evidence (n,), log-odds, to scores (n,) between 0 and 1; 0 becomes the default threshold."""
    return 1 / (1 + np.exp(-np.clip(evidence + np.log(_DEFAULT / (1 - _DEFAULT)), -30, 30)))


class SecondLook:
    """Examines detections in closer views."""

    def __init__(self, centerface: LookAtAll, yunet: YuNet) -> None:
        """Choose the detectors.

        Args:
            centerface: Runs CenterFace on several views.
            yunet: YuNet.
        """
        self._centerface = centerface
        self._yunet = yunet

    def at(
        self, image_rgb: ImageRGB, faces: Faces, scores: Float[np.ndarray, "n d"], *, thorough: bool
    ) -> Float[np.ndarray, "n k"]:
        """Return the figures of a second look at some detections, as log-odds.

        Args:
            image_rgb: The image, uint8 (height, width, 3).
            faces: The n detections.
            scores: Scores of CenterFace, (n, 1); with thorough, of CenterFace and YuNet, (n, 2).
            thorough: Whether both detectors examine several views, or YuNet one view.

        Returns:
            (n, 2): the score, and YuNet's in the closer view. With thorough (n, 4): both scores, CenterFace's mean over
            the closer views, and YuNet's best.
        """
        boxes = faces.boxes_xyxy.astype(np.float64)
        if not thorough:
            closer = self._scores(self._yunet.look_at_all, image_rgb, boxes, (_QUICK_VIEW,))
            return log_odds(np.concatenate([scores, closer], axis=1))
        by_yunet = self._scores(self._yunet.look_at_all, image_rgb, boxes, _CLOSER_VIEWS)
        hopeful = np.maximum(scores[:, 0], by_yunet.max(1, initial=0)) > _HOPEFUL
        by_centerface = np.zeros_like(by_yunet)
        by_centerface[hopeful] = self._scores(self._centerface, image_rgb, boxes[hopeful], _CLOSER_VIEWS)
        closer = np.stack([log_odds(by_centerface).mean(1), log_odds(by_yunet).max(1, initial=-np.inf)], axis=1)
        return np.concatenate([log_odds(scores), closer], axis=1)

    @staticmethod
    def _scores(
        look: LookAtAll, image_rgb: ImageRGB, boxes_xyxy: Float[np.ndarray, "n 4"], views: Sequence[View]
    ) -> Float[np.ndarray, "n views"]:
        """Return the score of each detection in each view, 0 if no face is found."""
        scores = np.zeros((len(boxes_xyxy), len(views)))
        for i, box in enumerate(boxes_xyxy):
            seen = look(np.stack([view_of(image_rgb, box, view) for view in views]), _LOOKED_AT)
            scores[i] = [central_score(faces, view) for faces, view in zip(seen, views, strict=True)]
        return scores
