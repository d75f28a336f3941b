"""Look at generated faces: who they are, and what else can be said of them.

A(x) is built of eleven attributes, so that each counts alike: each is divided by its deviation over the sources (of
those that are several numbers, by their joint deviation), or by its least scale where they hardly differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from styleid.bundles.bundle import Bundle
from styleid.faces import geometry
from styleid.faces.align import CropTemplate
from styleid.ranking.metric import Readings
from styleid.ranking.spaces import Space
from styleid.types import LUMA, ImagesRGB

ATTRIBUTES = {
    "age": (1, 1.0),
    "female": (1, 0.05),
    "group": (5, 0.05),
    "mouth": (1, 0.01),
    "smile": (1, 0.01),
    "eyes": (1, 0.01),
    "yaw": (1, 0.02),
    "pitch": (1, 0.02),
    "roll": (1, 0.02),
    "place": (3, 0.01),
    "light": (3, 0.01),
}
"""How many numbers each attribute is, and its least scale: years, probabilities, inter-ocular distances, radians,
shares of the crop's side (place: x, y, log of the size), shares of full brightness (light: mean, across, down)."""


@dataclass(frozen=True)
class Identity:
    """A recogniser.

    fingerprint: changes with the weights. embed: uint8 crops (n, s, s, 3) -> unit embeddings (n, d).
    """

    name: str
    fingerprint: str
    template: CropTemplate
    embed: Callable[[ImagesRGB], Float[np.ndarray, "n d"]]

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> Identity:
        """Take the bundle's own identity network, which its gate looks through."""
        return cls("gate", bundle.spec.networks["identity"].sha256, bundle.spec.identity_crop, bundle.embed)

    def of_faces(
        self, images: Float[np.ndarray, "n s s 3"], landmarks: Float[np.ndarray, "n 68 2"]
    ) -> Float[np.ndarray, "n d"]:
        """Return embeddings, (n, d), of images with one face each, aligned by their own landmarks, (n, 68, 2)."""
        shown = images.round().astype(np.uint8)
        points = geometry.five_points(landmarks)
        crops = [self.template.crop(image, self.template.matrix(p)) for image, p in zip(shown, points, strict=True)]
        return self.embed(np.stack(crops))


@dataclass(frozen=True)
class Probe:
    """Read codes of a space. scales: (a,) by which the attributes' numbers are divided."""

    bundle: Bundle
    space: Space
    identity: Identity
    scales: Float[np.ndarray, " a"] = field(default_factory=lambda: np.ones(_NUMBERS, np.float32))

    def read(self, codes: Float[np.ndarray, "n numbers"]) -> Readings:
        """Generate the faces of codes, (n, k), and look at them."""
        images, landmarks = self.space.render(codes)
        described = self.bundle.describe(images.round().astype(np.uint8))
        attributes = raw_attributes(described, images, landmarks) / self.scales
        return Readings(self.identity.of_faces(images, landmarks), attributes, landmarks)


def raw_attributes(
    described: Float[np.ndarray, "n 7"], images: Float[np.ndarray, "n s s 3"], landmarks: Float[np.ndarray, "n 68 2"]
) -> Float[np.ndarray, "n a"]:
    """Return the attributes' numbers as they are, (n, a) in the order of `ATTRIBUTES`.

    described: (n, 7) as `Bundle.describe` gives them; images: (n, s, s, 3) in [0, 255]; landmarks: (n, 68, 2).
    """
    seen = geometry.expression(landmarks)
    small = [seen.mouth_opening, seen.smile, seen.eye_opening, seen.yaw, seen.pitch, seen.roll]
    centre = landmarks.mean(1) / images.shape[1]
    size = np.log(np.maximum(geometry.inter_ocular(landmarks), 1.0))
    return np.concatenate(
        [described[:, :7], np.stack(small, 1), centre, size[:, None], _light(images, landmarks)], 1, dtype=np.float32
    )


def attribute_scales(raw: Float[np.ndarray, "n a"]) -> Float[np.ndarray, " a"]:
    """Return what to divide each of the attributes' numbers by, (a,), from those of the sources, (n, a)."""
    scales, start = [], 0
    for numbers, least in ATTRIBUTES.values():
        deviation = float(np.sqrt(raw[:, start : start + numbers].var(0).sum()))
        scales += [max(deviation, least)] * numbers
        start += numbers
    return np.array(scales, np.float32)


def _light(images: Float[np.ndarray, "n s s 3"], landmarks: Float[np.ndarray, "n 68 2"]) -> Float[np.ndarray, "n 3"]:
    """Return how bright the faces are, and how much brighter at the right and below, (n, 3) in [0, 1]."""
    luma = images @ LUMA / 255
    side = luma.shape[1]
    out = np.zeros((len(luma), 3), np.float32)
    for k, points in enumerate(landmarks):
        (x0, y0), (x1, y1) = np.clip([points.min(0), points.max(0)], 0, side).round().astype(int)
        x, y = (x0 + x1) // 2, (y0 + y1) // 2
        if x - x0 < 1 or y - y0 < 1:
            continue
        parts = [luma[k, a:b, c:d].mean() for a, b in ((y0, y), (y, y1)) for c, d in ((x0, x), (x, x1))]
        above_left, above_right, below_left, below_right = parts
        out[k] = (
            np.mean(parts),
            above_right + below_right - above_left - below_left,
            below_left + below_right - (above_left + above_right),
        )
    out[:, 1:] /= 2
    return out


_NUMBERS = sum(numbers for numbers, _ in ATTRIBUTES.values())
