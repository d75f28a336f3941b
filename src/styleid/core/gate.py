"""The gate: the check of each new face in the finished photo.

After each attempt the face is cut out of the photo and measured again. It passes if a face is found there that
looks like one, its landmarks agree with the original's, and its similarity to the original lies in the privacy level's
range.
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
"""Minimum ratio of the area labelled as face after the swap to the area before, for both areas of `Observation`: the
original's bare face, and the same without the upper forehead.

Of 100 new faces, 95 have a ratio of at least 0.94; smooth noise has 0.80."""

TOO_ALIKE = "too like the original"
"""The failure of a face whose similarity to its original exceeds the limit."""


@dataclass(frozen=True, eq=False)
class GateVerdict:
    """The gate's verdict on one new face.

    Each property measures only what it needs of `after`, when it is first read. Code that asks the cheap questions
    first avoids the expensive ones for most attempts that fail.

    before: measurements of the original.
    after: measurements of the new face.
    level: the privacy level's limits.
    max_landmark_error: largest landmark error, in inter-ocular distances.
    """

    before: Observed
    after: Observed
    level: PrivacyLevel
    max_landmark_error: float

    @cached_property
    def similarity(self) -> float:
        """Cosine similarity of the two embeddings, -1 to 1."""
        return float(self.before.embedding @ self.after.embedding)

    @property
    def too_alike(self) -> bool:
        """Whether the similarity exceeds the level's limit or is not a number."""
        return not np.isfinite(self.similarity) or self.similarity > self.level.strangers.high

    @property
    def near_limit(self) -> bool:
        """Whether the similarity is so close to the limit that another recogniser may accept the face."""
        return self.similarity > self.level.near_limit

    @property
    def other_sex(self) -> bool:
        """Whether the attribute network sees the other sex than before."""
        return bool((self.before.attributes[1] > 0.5) != (self.after.attributes[1] > 0.5))

    @property
    def other_mouth(self) -> bool:
        """Whether an open mouth became closed, or a closed one open."""
        return bool(self.before.expression.mouth_is_open) != bool(self.after.expression.mouth_is_open)

    @cached_property
    def landmark_error(self) -> float:
        """Displacement of the landmarks in inter-ocular distances; see `geometry.landmark_error`."""
        return float(geometry.landmark_error(self.after.landmarks, self.before.landmarks))

    @property
    def displaced(self) -> bool:
        """Whether the landmark error exceeds its limit or is not a number."""
        return not np.isfinite(self.landmark_error) or self.landmark_error > self.max_landmark_error

    @cached_property
    def failures(self) -> tuple[str, ...]:
        """Why the face fails; empty if it passes."""
        return tuple(self._failures())

    @cached_property
    def drifts(self) -> tuple[str, ...]:
        """Which of sex and mouth changed. A face passes all the same, but another target may do better."""
        return ("sex",) * self.other_sex + ("mouth",) * self.other_mouth

    @property
    def passed(self) -> bool:
        """Whether the face passes."""
        return not self.failures

    @property
    def good(self) -> bool:
        """Whether the face passes, is not near the limit, and kept its sex and mouth."""
        return not (self.too_alike or self.near_limit or self.other_sex or self.other_mouth or self.failures)

    @property
    def rank(self) -> tuple[int, int, float]:
        """Sort key, best verdict first: failures, then drifts and nearness to the limit, then landmark error."""
        return len(self.failures), len(self.drifts) + self.near_limit, self.landmark_error

    @property
    def figures(self) -> dict[str, float]:
        """The measurements that the journal records, by name. Distances are Euclidean, yaw_change is a ratio."""
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
        if self.displaced:
            yield "pose or landmarks disagree"
