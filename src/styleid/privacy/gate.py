"""The gate: no face leaves before it has been looked at again.

After each try the face is cut out of the finished photo and measured: is a face found there, do its landmarks agree
with the original's, is its identity as far from the original's as the dial asks, and not suspiciously far?
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from styleid.faces import geometry
from styleid.privacy.dial import PrivacyLevel
from styleid.types import FloatArray

MIN_FACE_SHARE = 0.9
"""How much less of the face than before may be taken for one: 99 in 100 new faces keep .97, noise at most .83."""


TOO_ALIKE = "too like the original"
"""What is said of a face that the next try should take more of its target for."""


@dataclass(frozen=True)
class Measured:
    """What is known of one face, before or after.

    found: whether the detector sees a face there. landmarks: (68, 2) pixels of the crop. embedding: (d,), unit length.
    attributes: age in years, P(female), P(group) x 5. face_share: how much of where the original shows bare face the
    parser takes for bare face, 0 to 1.
    """

    found: bool
    landmarks: FloatArray
    embedding: FloatArray
    attributes: FloatArray
    face_share: float = 1.0

    @cached_property
    def expression(self) -> geometry.Expression:
        """Pose and expression, read off the landmarks."""
        return geometry.expression(self.landmarks)


@dataclass(frozen=True)
class Verdict:
    """The gate's answer.

    failures: why the face may not leave, empty where it may. drifts: what changed that should have stayed (sex, mouth);
    another target may do better. figures: the measurements, for the journal. close: whether the identity lies so near
    to the limit that another recogniser may well see it beyond.
    """

    failures: tuple[str, ...]
    drifts: tuple[str, ...]
    figures: dict[str, float]
    close: bool = False

    @property
    def too_alike(self) -> bool:
        """Whether the new face is too like its original."""
        return TOO_ALIKE in self.failures

    @property
    def passed(self) -> bool:
        """Whether the face may leave."""
        return not self.failures

    @property
    def rank(self) -> tuple[int, int, float]:
        """Order verdicts, best first when sorted: failures, then drifts and closeness, then landmark error."""
        return len(self.failures), len(self.drifts) + self.close, self.figures.get("landmark_error", 0.0)


def judge(before: Measured, after: Measured, level: PrivacyLevel, max_landmark_error: float) -> Verdict:
    """Judge one anonymised face against its original."""
    similarity = float(before.embedding @ after.embedding)
    error = float(geometry.landmark_error(after.landmarks, before.landmarks))
    was, now = before.expression, after.expression
    figures = {
        "similarity": similarity,
        "distance": float(np.sqrt(max(2 - 2 * similarity, 0.0))),
        "threshold": float(np.sqrt(2 - 2 * level.strangers.high)),
        "landmark_error": error,
        "yaw_change": float(abs(was.yaw - now.yaw)),
    }
    failures = []
    if not after.found:
        failures.append("no face is found after the swap")
    elif not after.face_share >= MIN_FACE_SHARE * before.face_share:
        failures.append("what is found does not look like a face")
    if not np.isfinite(similarity) or similarity > level.strangers.high:
        failures.append(TOO_ALIKE)
    elif similarity < level.strangers.low:
        failures.append("suspiciously unlike the original")
    if not np.isfinite(error) or error > max_landmark_error:
        failures.append("pose or landmarks disagree")
    drifts = []
    if (before.attributes[1] > 0.5) != (after.attributes[1] > 0.5):
        drifts.append("sex")
    if bool(was.mouth_is_open) != bool(now.mouth_is_open):
        drifts.append("mouth")
    return Verdict(tuple(failures), tuple(drifts), figures, close=similarity > level.close)
