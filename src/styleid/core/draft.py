"""A photo while its faces are being replaced."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from styleid.types import FaceOutcome, ImageRGB, MaskArray


@dataclass
class PhotoDraft:
    """A photo in which faces are being replaced.

    original_rgb: the original photo, uint8 (height, width, 3).
    image_rgb: the photo with the faces that were written so far.
    changed: where image_rgb may differ from the original, bool (height, width).
    outcomes: how each face was treated; None until it is decided.
    """

    original_rgb: ImageRGB
    image_rgb: ImageRGB
    changed: MaskArray
    outcomes: list[FaceOutcome | None]

    @classmethod
    def of(cls, image_rgb: ImageRGB, faces: int) -> PhotoDraft:
        """Return a draft of a photo that shows a number of faces. The photo itself is not changed."""
        return cls(image_rgb, image_rgb.copy(), np.zeros(image_rgb.shape[:2], bool), [None] * faces)
