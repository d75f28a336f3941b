"""A photo while its faces are being replaced."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from styleid.types import FaceOutcome, ImageRGB, MaskArray


@dataclass
class PhotoDraft:
    """Hold a photo in the making.

    original_rgb: uint8 (height, width, 3), as it was. image_rgb: the same with the faces written so far. changed: bool
    (height, width), where image_rgb may differ from the original. outcomes: what was done with each face, None so far.
    """

    original_rgb: ImageRGB
    image_rgb: ImageRGB
    changed: MaskArray
    outcomes: list[FaceOutcome | None]

    @classmethod
    def of(cls, image_rgb: ImageRGB, faces: int) -> PhotoDraft:
        """Begin with a photo that shows so many faces; the photo itself is not changed."""
        return cls(image_rgb, image_rgb.copy(), np.zeros(image_rgb.shape[:2], bool), [None] * faces)
