"""Measure a finished face in its photo, aligned as an attacker who knows the original would align it.

Each network runs at most once, when its answer is first asked for: most attempts that fail need only the first one.
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


@dataclass(frozen=True)
class MeasuringTools:
    """The networks that measure faces. timed: a context manager that times a stage by its name."""

    bundle: Bundle
    detector: FaceDetector
    timed: Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True, eq=False)
class LazyObservation:
    """Measure a finished face when asked, as `Observed` says.

    patch: its neighbourhood, as `SourceFace.window` cuts it, which must not change.
    """

    tools: MeasuringTools
    source: SourceFace
    patch: ImageRGB

    def sees_the_same(self, other: LazyObservation) -> bool:
        """Return whether another observation of the same face sees the same pixels."""
        return (
            np.array_equal(self._crop, other._crop)
            and np.array_equal(self._identity_crop, other._identity_crop)
            and np.array_equal(self._view, other._view)
        )

    @lazy_property
    def embedding(self) -> Float[np.ndarray, " d"]:
        """Embedding by the bundle's recogniser, (d,), unit length."""
        crop = self._identity_crop
        with self.tools.timed("identity"):
            return self.tools.bundle.embed(crop[None])[0]

    @lazy_property
    def attributes(self) -> Float[np.ndarray, "7"]:
        """Age, sex and group, (7,)."""
        crop = self._crop
        with self.tools.timed("attributes"):
            return self.tools.bundle.describe(crop[None])[0]

    @property
    def landmarks(self) -> Float[np.ndarray, "68 2"]:
        """Landmarks, (68, 2) pixels of the crop."""
        return self._parsed[0]

    @property
    def face_shares(self) -> tuple[float, float]:
        """Shares of the face that the parser labels as face, as `Observation` says."""
        return self._parsed[1]

    @lazy_property
    def expression(self) -> geometry.Expression:
        """Pose and expression."""
        return geometry.expression(self.landmarks)

    @lazy_property
    def found(self) -> bool:
        """Whether the detector finds a face."""
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
