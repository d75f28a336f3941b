"""The gate: no face leaves before it has been looked at again.

After each attempt the face is cut out of the finished photo and measured: is a face found there, do its landmarks agree
with the original's, is its identity as far from the original's as the dial asks, and not suspiciously far?
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from styleid.core.observation import Observed
from styleid.core.privacy import PrivacyLevel
from styleid.faces import geometry

MIN_FACE_SHARE = 0.9
"""How much less of the face than before may be taken for one: 95 in 100 new faces keep .94, smooth noise .80."""


TOO_ALIKE = "too like the original"
"""What is said of a face that the next attempt should take more of its target for."""


@dataclass(frozen=True, eq=False)
class GateVerdict:
    """The gate's answer on one anonymised face, worked out as far as somebody asks.

    What a question needs of `after` is measured when it is asked, so the cheapest comes first: an attempt that is
    too like its original is not looked at for its mouth.
    """

    before: Observed
    after: Observed
    level: PrivacyLevel
    max_landmark_error: float

    @cached_property
    def similarity(self) -> float:
        """Cosine similarity of the embeddings, -1 to 1."""
        return float(self.before.embedding @ self.after.embedding)

    @property
    def too_alike(self) -> bool:
        """Whether the new face is too like its original."""
        return not np.isfinite(self.similarity) or self.similarity > self.level.strangers.high

    @property
    def close(self) -> bool:
        """Whether the identity lies so near to the limit that another recogniser may well see it beyond."""
        return self.similarity > self.level.close

    @property
    def other_sex(self) -> bool:
        """Whether the face is seen as of the other sex now."""
        return bool((self.before.attributes[1] > 0.5) != (self.after.attributes[1] > 0.5))

    @property
    def other_mouth(self) -> bool:
        """Whether an open mouth is closed now, or a closed one open."""
        return bool(self.before.expression.mouth_is_open) != bool(self.after.expression.mouth_is_open)

    @cached_property
    def landmark_error(self) -> float:
        """How far the landmarks have moved, as `geometry.landmark_error` measures it."""
        return float(geometry.landmark_error(self.after.landmarks, self.before.landmarks))

    @property
    def astray(self) -> bool:
        """Whether pose or landmarks are not the original's."""
        return not np.isfinite(self.landmark_error) or self.landmark_error > self.max_landmark_error

    @cached_property
    def failures(self) -> tuple[str, ...]:
        """Why the face may not leave, empty where it may."""
        return tuple(self._failures())

    @cached_property
    def drifts(self) -> tuple[str, ...]:
        """What changed that should have stayed; another target may do better."""
        return ("sex",) * self.other_sex + ("mouth",) * self.other_mouth

    @property
    def passed(self) -> bool:
        """Whether the face may leave."""
        return not self.failures

    @property
    def good(self) -> bool:
        """Whether no other attempt can be better: nothing failed or drifted, and the limit is far."""
        return not (self.too_alike or self.close or self.other_sex or self.other_mouth or self.failures)

    @property
    def rank(self) -> tuple[int, int, float]:
        """Order verdicts, best first when sorted: failures, then drifts and closeness, then landmark error."""
        return len(self.failures), len(self.drifts) + self.close, self.landmark_error

    @property
    def figures(self) -> dict[str, float]:
        """The measurements, for the journal."""
        return {
            "similarity": self.similarity,
            "distance": float(np.sqrt(max(2 - 2 * self.similarity, 0.0))),
            "threshold": float(np.sqrt(2 - 2 * self.level.strangers.high)),
            "landmark_error": self.landmark_error,
            "yaw_change": float(abs(self.before.expression.yaw - self.after.expression.yaw)),
        }

    def _failures(self) -> Iterator[str]:
        if not self.after.found:
            yield "no face is found after the swap"
        elif not all(
            a >= MIN_FACE_SHARE * b for a, b in zip(self.after.face_shares, self.before.face_shares, strict=True)
        ):
            yield "what is found does not look like a face"
        if self.too_alike:
            yield TOO_ALIKE
        elif self.similarity < self.level.strangers.low:
            yield "suspiciously unlike the original"
        if self.astray:
            yield "pose or landmarks disagree"
