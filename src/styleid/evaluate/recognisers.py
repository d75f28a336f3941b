"""Recognisers that attack: a face of a photo -> unit embedding.

An attacker who has the original knows where the face was, so every recogniser aligns by five landmarks that it is
given, whatever the pixels there show now.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from styleid.errors import MissingDependencyError
from styleid.faces.align import CropTemplate
from styleid.runtime import open_session, tidy_model
from styleid.types import FloatArray, ImageRGB

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_DLIB_POINTS = ((0.317, 0.306), (0.683, 0.306), (0.5, 0.522), (0.345, 0.689), (0.655, 0.689))
"""Where eyes, nose tip and mouth corners lie in dlib's chips, as fractions: medians over 120 faces that dlib's own
landmarks aligned, made symmetric."""


class Recogniser(Protocol):
    """Embed faces."""

    name: str

    def embed(self, image_rgb: ImageRGB, landmarks_px: FloatArray) -> FloatArray:
        """Return a unit embedding, (d,), of the face whose five landmarks, (5, 2), are given in pixels of the image."""
        ...


@dataclass(frozen=True)
class OnnxRecogniser:
    """A recogniser in an ONNX file: RGB crops under a template, scaled to [0, 1], less the mean, over the deviation."""

    name: str
    path: Path
    template: CropTemplate
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    @cached_property
    def _session(self) -> Any:
        return open_session(tidy_model(self.path))

    def embed(self, image_rgb: ImageRGB, landmarks_px: FloatArray) -> FloatArray:
        """See `Recogniser.embed`."""
        crop = self.template.crop(image_rgb, self.template.matrix(landmarks_px)).astype(np.float32) / 255
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        scaled = ((crop - mean) / std).transpose(2, 0, 1)[None]
        return unit(self._session.run(None, {self._session.get_inputs()[0].name: scaled})[0][0])


class DlibRecogniser:
    """dlib's ResNet (King 2017), trained by others on other faces: 150 px chips, 128 numbers. It needs `eval`."""

    name = "dlib"
    chip_px = 150

    @cached_property
    def _network(self) -> Any:
        try:
            import dlib

            models = importlib.metadata.distribution("face_recognition_models")
        except (ImportError, importlib.metadata.PackageNotFoundError) as error:
            raise MissingDependencyError("dlib's recogniser", "'styleid[eval]'") from error
        file = models.locate_file("face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat")
        return dlib.face_recognition_model_v1(str(file))  # pyright: ignore[reportAttributeAccessIssue] # not in its stub

    def embed(self, image_rgb: ImageRGB, landmarks_px: FloatArray) -> FloatArray:
        """See `Recogniser.embed`."""
        template = CropTemplate(self.chip_px, tuple((x * self.chip_px, y * self.chip_px) for x, y in _DLIB_POINTS))
        chip = template.crop(image_rgb, template.matrix(landmarks_px))
        return unit(np.asarray(self._network.compute_face_descriptor(np.ascontiguousarray(chip)), np.float32))


def unit(vector: FloatArray) -> FloatArray:
    """Scale a vector to unit length."""
    return (vector / max(float(np.linalg.norm(vector)), 1e-12)).astype(np.float32)


