"""Measure generated faces: their identity and eleven attributes.

Each attribute is divided by its standard deviation over the sources, so that all have equal weight. An attribute with
several numbers is divided by their joint deviation. If an attribute hardly varies, its least scale is used instead.
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
"""Number of values and least scale of each attribute.

Units: years (age), probabilities (female, group), inter-ocular distances (mouth, smile, eyes), as in
`geometry.Expression` (yaw, pitch, roll), shares of the crop's side (place: x, y, and the logarithm of the size), shares
of full brightness (light: mean, difference across, difference down)."""


@dataclass(frozen=True)
class Identity:
    """A recogniser.

    name: its name.
    fingerprint: a text that changes with its weights.
    template: template of its crops.
    embed: takes crops, uint8 (n, s, s, 3); returns unit embeddings, (n, d).
    """

    name: str
    fingerprint: str
    template: CropTemplate
    embed: Callable[[ImagesRGB], Float[np.ndarray, "n d"]]

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> Identity:
        """Return the bundle's identity network, which its gate uses, too."""
        return cls("gate", bundle.spec.networks["identity"].sha256, bundle.spec.identity_crop, bundle.embed)

    def of_faces(
        self, images: Float[np.ndarray, "n s s 3"], landmarks: Float[np.ndarray, "n 68 2"]
    ) -> Float[np.ndarray, "n d"]:
        """Embed images that show one face each.

        Args:
            images: (n, s, s, 3) in [0, 255].
            landmarks: (n, 68, 2), pixels; each image is aligned by its own.

        Returns:
            Unit embeddings, (n, d).
        """
        shown = images.round().astype(np.uint8)
        points = geometry.five_points(landmarks)
        crops = [self.template.crop(image, self.template.matrix(p)) for image, p in zip(shown, points, strict=True)]
        return self.embed(np.stack(crops))


@dataclass(frozen=True)
class Probe:
    """Generates and measures the faces of codes.

    bundle: the networks.
    space: the space of the codes.
    identity: the recogniser.
    scales: divisors of the attributes' values, (a,).
    """

    bundle: Bundle
    space: Space
    identity: Identity
    scales: Float[np.ndarray, " a"] = field(default_factory=lambda: np.ones(_NUMBERS, np.float32))

    def read(self, codes: Float[np.ndarray, "n numbers"]) -> Readings:
        """Generate the faces of codes, (n, numbers), and measure them."""
        images, landmarks = self.space.render(codes)
        described = self.bundle.describe(images.round().astype(np.uint8))
        attributes = raw_attributes(described, images, landmarks) / self.scales
        return Readings(self.identity.of_faces(images, landmarks), attributes, landmarks)


def raw_attributes(
    described: Float[np.ndarray, "n 7"], images: Float[np.ndarray, "n s s 3"], landmarks: Float[np.ndarray, "n 68 2"]
) -> Float[np.ndarray, "n a"]:
    """Return the attributes before scaling.

    Args:
        described: Attributes from `Bundle.describe`, (n, 7).
        images: (n, s, s, 3) in [0, 255].
        landmarks: (n, 68, 2), pixels of the images.

    Returns:
        (n, a), in the order of `ATTRIBUTES`.
    """
    seen = geometry.expression(landmarks)
    small = [seen.mouth_opening, seen.smile, seen.eye_opening, seen.yaw, seen.pitch, seen.roll]
    centre = landmarks.mean(1) / images.shape[1]
    size = np.log(np.maximum(geometry.inter_ocular(landmarks), 1.0))
    return np.concatenate(
        [described[:, :7], np.stack(small, 1), centre, size[:, None], _light(images, landmarks)], 1, dtype=np.float32
    )


def attribute_scales(raw: Float[np.ndarray, "n a"]) -> Float[np.ndarray, " a"]:
    """Return the divisors of the attributes' values.

    Args:
        raw: Attributes of the sources before scaling, (n, a).

    Returns:
        (a,).
    """
    scales, start = [], 0
    for numbers, least in ATTRIBUTES.values():
        deviation = float(np.sqrt(raw[:, start : start + numbers].var(0).sum()))
        scales += [max(deviation, least)] * numbers
        start += numbers
    return np.array(scales, np.float32)


def _light(images: Float[np.ndarray, "n s s 3"], landmarks: Float[np.ndarray, "n 68 2"]) -> Float[np.ndarray, "n 3"]:
    """Return the mean brightness of the faces, and how much brighter they are at the right and below, (n, 3).

    Brightness is a share of full brightness, 0 to 1; the differences lie between -1 and 1.
    """
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
