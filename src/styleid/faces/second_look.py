"""Look again at places where a face may be, and weigh what is seen: the settings `standard` and `thorough`.

A find of which a detector is unsure is cut out with its surroundings, brought to the size that detectors see best, and
shown to YuNet, for `thorough` also to CenterFace, in several sizes, mirrored and with its contrast stretched.
The scores' log-odds are added with weights that a logistic regression found (benchmarks/detection.py, `fit`), so that
the sum tells faces from other things.
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
_CLIP = 0.02
_AREA_BELOW = 0.7
_REACH = 1.5
_LEAST_SPAN = 12.0


@dataclass(frozen=True)
class View:
    """How a place is shown.

    face_px: the face's longer side. mirrored, stretched: whether mirrored, and with its contrast stretched. side_px: of
    the view, a multiple of 32.
    """

    face_px: float = 60.0
    mirrored: bool = False
    stretched: bool = False
    side_px: int = SIDE_PX


LookAtAll = Callable[[ImagesRGB, float], Sequence[Faces]]
"""Views, uint8 (n, side, side, 3), and a threshold, to what a detector sees in each."""


@dataclass(frozen=True)
class Weights:
    """Weigh what was seen, as log-odds: each figure's weight, and the constant. bar: sum from which a find counts."""

    each: tuple[float, ...]
    constant: float
    bar: float

    def weigh(self, seen: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
        """Return the evidence, (n,), 0 at the bar."""
        return seen @ np.array(self.each) + self.constant - self.bar


STANDARD = Weights((0.99, 0.51), 2.66, 1.0)
THOROUGH = Weights((1.08, 0.28, 0.45, 0.32), 3.63, -0.35)
SURE = 0.5
"""From this score on CenterFace is taken at its word."""
_QUICK_VIEW = View(side_px=128)
_CLOSER_VIEWS = tuple(View(px, turned, turned) for px in (40.0, 60.0, 90.0) for turned in (False, True))
_HOPEFUL = 0.15
"""CenterFace, the slower one, looks again only where a detector has seen so much of a face."""
_FLOOR = 0.06
_LOWEST = 0.05
_LOOKED_AT = 0.03
_DEFAULT = 0.35


def view_of(image_rgb: ImageRGB, box_xyxy: FloatArray, view: View) -> ImageRGB:
    """Cut a place out of an image with what is around it, uint8 (side, side, 3), its middle in the middle."""
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
    """Spread an image's values over the whole range, but for its darkest and lightest hundredth."""
    low, high = np.percentile(image_rgb[::2, ::2], (1, 99))
    spread = (image_rgb.astype(np.float32) - low) * (255 / max(_LEAST_SPAN, float(high - low)))
    return np.clip(spread, 0, 255).astype(np.uint8)


def central_score(faces: Faces, view: View) -> float:
    """Return the best score of a face about the middle of a view, of about the size that it should have; 0 for none."""
    centres = faces.boxes_xyxy.reshape(-1, 2, 2).mean(1)
    sides = (faces.boxes_xyxy[:, 2:] - faces.boxes_xyxy[:, :2]).max(1, initial=0)
    about = (np.abs(centres + 0.5 - view.side_px / 2) < view.face_px / 3).all(1)
    about &= (sides > view.face_px / 2) & (sides < 2 * view.face_px)
    return float(faces.scores[about].max(initial=0))


def log_odds(scores: Float[np.ndarray, "*s"]) -> Float[np.ndarray, "*s"]:
    """Return the log-odds of scores in [0, 1], those near 0 and 1 taken for .02 and .98."""
    clipped = np.clip(np.asarray(scores, np.float64), _CLIP, 1 - _CLIP)
    return np.log(clipped / (1 - clipped))


def floor(threshold: float) -> float:
    """Return CenterFace's score from which a place is looked at again, for a threshold in (0, 1)."""
    moved = _FLOOR / (1 - _FLOOR) * threshold / (1 - threshold) * (1 - _DEFAULT) / _DEFAULT
    return min(threshold, max(_LOWEST, moved / (1 + moved)))


def evidence_of(scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return the evidence, (n,), that `as_score` turns back into the scores."""
    inside = np.clip(scores.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.log(inside / (1 - inside)) - np.log(_DEFAULT / (1 - _DEFAULT))


def below_sure(evidence: Float[np.ndarray, " n"], threshold: float) -> Float[np.ndarray, " n"]:
    """Return evidence that keeps its order but stays below that of sure finds, so that none of them gives way."""
    cap = float(evidence_of(np.array([max(SURE, threshold)]))[0])
    return np.where(evidence > 0, cap * (1 - np.exp(-np.maximum(evidence, 0) / cap)), evidence)


def as_score(evidence: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return evidence as scores in (0, 1), evidence of 0 as the default threshold."""
    return 1 / (1 + np.exp(-np.clip(evidence + np.log(_DEFAULT / (1 - _DEFAULT)), -30, 30)))


class SecondLook:
    """Look closer at places of an image."""

    def __init__(self, centerface: LookAtAll, yunet: YuNet) -> None:
        self._centerface = centerface
        self._yunet = yunet

    def at(
        self, image_rgb: ImageRGB, faces: Faces, scores: Float[np.ndarray, "n d"], *, thorough: bool
    ) -> Float[np.ndarray, "n k"]:
        """Return figures of each face, log-odds.

        Args:
            image_rgb: uint8 (height, width, 3).
            faces: where to look.
            scores: (n, 1) CenterFace's, or for a thorough look (n, 2) CenterFace's and YuNet's, 0 where it saw none.
            thorough: whether both detectors look, at several views, or YuNet alone at one.

        Returns:
            (n, 2) the score and YuNet's at one closer view; or (n, 4) the scores, CenterFace's mean over closer views,
            and YuNet's best over them.
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
        """Return the score of the face at each place in each view, 0 where none is seen."""
        scores = np.zeros((len(boxes_xyxy), len(views)))
        for i, box in enumerate(boxes_xyxy):
            seen = look(np.stack([view_of(image_rgb, box, view) for view in views]), _LOOKED_AT)
            scores[i] = [central_score(faces, view) for faces, view in zip(seen, views, strict=True)]
        return scores
