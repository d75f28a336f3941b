"""A finished face, looked at again in its photo, aligned as an attacker who knows the original would.

Each network runs when what it says is asked for, and once: most tries that another one follows need only the first.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from styleid.bundles.bundle import Bundle
from styleid.core.face import Source
from styleid.faces import geometry
from styleid.faces.align import CropTemplate
from styleid.faces.detect import FaceDetector
from styleid.types import FloatArray, ImageRGB

_DETECTED_IN = CropTemplate.tight(64, 32)


@dataclass(frozen=True)
class Instruments:
    """What faces are looked at with. timed: notes the time of what it surrounds under a stage's name."""

    bundle: Bundle
    detector: FaceDetector
    timed: Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True, eq=False)
class SecondLook:
    """What can be known of a finished face, as `gate.Measured` says.

    patch: its neighbourhood, as `Source.window` cuts it, which must stay as it is.
    """

    instruments: Instruments
    source: Source
    patch: ImageRGB

    def shows_what(self, other: SecondLook) -> bool:
        """Say whether another look at the same face sees the same pixels."""
        return (
            np.array_equal(self._crop, other._crop)
            and np.array_equal(self._identity_crop, other._identity_crop)
            and np.array_equal(self._view, other._view)
        )

    @cached_property
    def embedding(self) -> FloatArray:
        """Whom the recogniser sees, (d,)."""
        crop = self._identity_crop
        with self.instruments.timed("identity"):
            return self.instruments.bundle.embed(crop[None])[0]

    @cached_property
    def attributes(self) -> FloatArray:
        """Age, sex and group, (7,)."""
        crop = self._crop
        with self.instruments.timed("attributes"):
            return self.instruments.bundle.describe(crop[None])[0]

    @property
    def landmarks(self) -> FloatArray:
        """Landmarks, (68, 2) pixels of the crop."""
        return self._parsed[0]

    @property
    def face_shares(self) -> tuple[float, float]:
        """How much of the face is taken for one, as `gate.Measured` says."""
        return self._parsed[1]

    @cached_property
    def expression(self) -> geometry.Expression:
        """Pose and expression."""
        return geometry.expression(self.landmarks)

    @cached_property
    def found(self) -> bool:
        """Whether the detector finds a face."""
        view = self._view
        with self.instruments.timed("detect"):
            return bool(self.instruments.detector.sees_central_face(view[None])[0])

    @cached_property
    def _parsed(self) -> tuple[FloatArray, tuple[float, float]]:
        crop = self._crop
        with self.instruments.timed("parse"):
            logits, landmarks = self.instruments.bundle.parse(crop[None])
            return landmarks[0], self.source.face_shares(logits[0])

    @cached_property
    def _crop(self) -> ImageRGB:
        return self._cut(self.instruments.bundle.spec.crop, self.source.matrix)

    @cached_property
    def _identity_crop(self) -> ImageRGB:
        return self._cut(self.instruments.bundle.spec.identity_crop, self.source.identity_matrix)

    @cached_property
    def _view(self) -> ImageRGB:
        return self._cut(_DETECTED_IN, _DETECTED_IN.matrix(self.source.face.landmarks_px[0]))

    def _cut(self, template: CropTemplate, matrix: FloatArray) -> ImageRGB:
        with self.instruments.timed("align"):
            return template.crop(self.patch, self.source.local(matrix))
