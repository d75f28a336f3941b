"""The protocols by which the pipeline asks which target each face gets, and whose face is kept.

`styleid.people` implements both for people who are recognised across photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Int

from styleid.bundles.bundle import Bundle
from styleid.core.attempt import FaceProgress
from styleid.core.gate import GateVerdict
from styleid.types import Faces, ImageRGB, WPlusArray


class Targets(Protocol):
    """Chooses the target of each face, attempt by attempt."""

    def admit(self, faces: Sequence[FaceProgress]) -> None:
        """Prepare the faces of a photo before their first attempt, and set `refusal` on each that gets no new face."""
        ...

    def sample(self, bundle: Bundle, photo: str, faces: Sequence[FaceProgress], attempt: int) -> WPlusArray:
        """Return the targets of an attempt.

        Args:
            bundle: The networks.
            photo: Name of the photo.
            faces: The n faces that get an attempt.
            attempt: Number of the attempt, 0 for the first.

        Returns:
            The targets' latent codes, W+ (n, size).
        """
        ...

    def plan_next(self, face: FaceProgress, verdict: GateVerdict, steps: int) -> bool:
        """Decide whether a face gets another attempt, and set its step and target for it.

        Args:
            face: The face; it is changed.
            verdict: The verdict on its last attempt.
            steps: Number of swap steps that the method has.

        Returns:
            Whether the face gets another attempt.
        """
        ...


class AllowList(Protocol):
    """Recognises the people whose faces are kept."""

    @property
    def mark(self) -> str:
        """The list's entry in the journal: a digest of its photos."""
        ...

    def among(self, image_rgb: ImageRGB, faces: Faces, rows: Int[np.ndarray, " k"]) -> dict[int, dict[str, float]]:
        """Return the faces that are kept.

        Args:
            image_rgb: The photo, uint8 (height, width, 3).
            faces: Its faces.
            rows: Indices of the k faces to check; their landmarks are finite.

        Returns:
            For each face that is kept, by its index, the measurements that the journal records.
        """
        ...
