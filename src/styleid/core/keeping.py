"""Faces that stay as they are, because a person decided so or because their owners are to be kept."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from styleid.core.decisions import FacesWithDecisions
from styleid.core.draft import PhotoDraft
from styleid.core.face import xyxy
from styleid.core.protocols import AllowList
from styleid.core.timing import StageTimer
from styleid.types import Action, FaceOutcome, Faces, ImageRGB


def leave_kept(
    keep: AllowList | None,
    timer: StageTimer,
    image_rgb: ImageRGB,
    faces: Faces,
    draft: PhotoDraft | None = None,
    matched: FacesWithDecisions | None = None,
) -> Bool[np.ndarray, " n"]:
    """Find the faces that stay as they are, and return which of the others get a new face.

    Args:
        keep: The people whose faces are kept; None for nobody.
        timer: Adds up the seconds of recognising them.
        image_rgb: The photo, uint8 (height, width, 3).
        faces: Its n faces.
        draft: The photo in which the faces that stay get their outcomes; None to record none.
        matched: What a person decided about the faces. A decision takes precedence over the people to keep.

    Returns:
        Which faces get a new one, bool (n,): those with landmarks that are neither kept, hidden nor dismissed.
    """
    replaceable = np.asarray(np.isfinite(faces.landmarks_px).all((1, 2)))
    asked = replaceable.copy()
    if matched is not None:
        replaceable &= ~matched.decided | matched.replaced
        asked &= ~matched.decided
        for index, action in matched.untouched.items():
            if draft is not None:
                draft.outcomes[index] = FaceOutcome(xyxy(faces.boxes_xyxy[index]), action, "", 0)
    if keep is None or not asked.any():
        return replaceable
    with timer("keep"):
        kept = keep.among(image_rgb, faces, np.nonzero(asked)[0])
    for index, figures in kept.items():
        replaceable[index] = False
        if draft is not None:
            draft.outcomes[index] = FaceOutcome(xyxy(faces.boxes_xyxy[index]), Action.KEPT, "", 0, figures)
    return replaceable
