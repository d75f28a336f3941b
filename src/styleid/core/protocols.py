"""What the pipeline asks of others: who borrows from whom, and who is left alone.

`styleid.people` fulfils both protocols for people who are known across photos.
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
    """Choose the synthetic person whose identity each face takes, attempt by attempt."""

    def admit(self, faces: Sequence[FaceProgress]) -> None:
        """Look at the faces of a photo before their first attempt; set `refusal` on each that gets no new face."""
        ...

    def sample(self, bundle: Bundle, photo: str, faces: Sequence[FaceProgress], attempt: int) -> WPlusArray:
        """Return the targets' W+, (n, size), for an attempt; attempt: 0 for the first."""
        ...

    def plan_next(self, face: FaceProgress, verdict: GateVerdict, steps: int) -> bool:
        """Set how the face's next attempt differs; return whether it gets one. steps: how many the method has."""
        ...


class AllowList(Protocol):
    """Know the people whose faces stay as they are."""

    @property
    def mark(self) -> str:
        """What the journal records of the list."""
        ...

    def among(self, image_rgb: ImageRGB, faces: Faces, rows: Int[np.ndarray, " k"]) -> dict[int, dict[str, float]]:
        """Return which of the faces that rows name are left alone, each with its figures for the journal."""
        ...
