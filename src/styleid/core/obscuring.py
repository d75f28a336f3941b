"""Obscure a face so coarsely that the bundle's recogniser no longer matches it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from styleid.bundles.bundle import Bundle
from styleid.core.face import SourceFace
from styleid.core.privacy import PrivacyLevel
from styleid.pixel.obscure import Obscuring, obscure_face
from styleid.types import ImageRGB

_STRONGER = (1.6, 2.5)
"""Coarseness of blur and pixelation, as multiples of the usual one, tried in this order."""


def obscure_until_safe(
    bundle: Bundle,
    level: PrivacyLevel,
    image_rgb: ImageRGB,
    before: ImageRGB,
    source: SourceFace,
    box: Float[np.ndarray, "4"],
    how: Obscuring,
) -> Obscuring:
    """Obscure a face that was obscured once, more and more coarsely, until it no longer matches, or fill it.

    Args:
        bundle: The networks.
        level: The limit of the similarity to the original.
        image_rgb: The photo in which the face was obscured once; it is changed.
        before: The photo before that.
        source: The face's measurements.
        box: The face's box, pixels.
        how: How it was obscured.

    Returns:
        The kind that was used last.
    """
    template = bundle.spec.identity_crop
    for strength in (*_STRONGER, None):
        crop = template.crop(image_rgb, source.identity_matrix)
        similarity = float(bundle.embed(crop[None])[0] @ source.observation.embedding)
        if similarity <= level.strangers.high:
            return how
        if strength is not None:
            image_rgb[:] = before
            obscure_face(image_rgb, box, how, strength)
    obscure_face(image_rgb, box, "solid")
    return "solid"
