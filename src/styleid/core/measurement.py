"""Measure a new face in the finished photo.

The face is aligned by the original's landmarks, as an attacker who knows the original would do. Each network runs at
most once, when its result is first read; most attempts that fail need only one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from styleid.bundles.bundle import Bundle
from styleid.core.face import SourceFace, face_shares
from styleid.core.observation import lazy_property
from styleid.faces import geometry
from styleid.faces.align import CropTemplate
from styleid.faces.detect import FaceDetector
from styleid.types import ImageRGB

_DETECTED_IN = CropTemplate.tight(64, 32)
"""The crop in which the detector searches for the new face."""


@dataclass(frozen=True)
class MeasuringTools:
    """The networks that measure faces.

    bundle: the bundle's networks.
    detector: the face detector.
    timed: returns a context manager that times a stage, given its name.
    """

    bundle: Bundle
    detector: FaceDetector
    timed: Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True, eq=False)
class LazyObservation:
    """Measurements of a new face, made when they are first read; fulfils `Observed`.

    tools: the networks.
    source: the original face.
    patch: the face's window in the finished photo, see `SourceFace.window`; it must not change.
    """

    tools: MeasuringTools
    source: SourceFace
    patch: ImageRGB

    def has_same_crops(self, other: LazyObservation) -> bool:
        """Return whether another observation of the same face has the same pixels in every crop."""
        return (
            np.array_equal(self._crop, other._crop)
            and np.array_equal(self._identity_crop, other._identity_crop)
            and np.array_equal(self._view, other._view)
        )

    @lazy_property
    def embedding(self) -> Float[np.ndarray, " d"]:
        """Embedding by the bundle's recogniser, (d,), of unit length."""
        crop = self._identity_crop
        with self.tools.timed("identity"):
            return self.tools.bundle.embed(crop[None])[0]

    @lazy_property
    def attributes(self) -> Float[np.ndarray, "7"]:
        """Age in years, P(female), P(group) for five groups, (7,)."""
        crop = self._crop
        with self.tools.timed("attributes"):
            return self.tools.bundle.describe(crop[None])[0]

    @property
    def landmarks(self) -> Float[np.ndarray, "68 2"]:
        """Landmarks, (68, 2), pixels of the crop."""
        return self._parsed[0]

    @property
    def face_shares(self) -> tuple[float, float]:
        """Shares of the original's bare face that are labelled as face; see `Observation`."""
        return self._parsed[1]

    @lazy_property
    def expression(self) -> geometry.Expression:
        """Pose and expression, computed from the landmarks."""
        return geometry.expression(self.landmarks)

    @lazy_property
    def found(self) -> bool:
        """Whether the detector finds a face at the original's position."""
        view = self._view
        with self.tools.timed("detect"):
            return bool(self.tools.detector.sees_central_face(view[None])[0])

    @cached_property
    def _parsed(self) -> tuple[Float[np.ndarray, "68 2"], tuple[float, float]]:
        crop = self._crop
        with self.tools.timed("parse"):
            logits, landmarks = self.tools.bundle.parse(crop[None])
            return landmarks[0], face_shares(self.source.shown, logits[0])

    @cached_property
    def _crop(self) -> ImageRGB:
        return self._cut(self.tools.bundle.spec.crop, self.source.matrix)

    @cached_property
    def _identity_crop(self) -> ImageRGB:
        return self._cut(self.tools.bundle.spec.identity_crop, self.source.identity_matrix)

    @cached_property
    def _view(self) -> ImageRGB:
        return self._cut(_DETECTED_IN, _DETECTED_IN.matrix(self.source.detection.landmarks_px[0]))

    def _cut(self, template: CropTemplate, matrix: Float[np.ndarray, "2 3"]) -> ImageRGB:
        with self.tools.timed("align"):
            return template.crop(self.patch, self.source.local(matrix))
