"""Fresh targets: another one for each face and attempt."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from styleid.bundles.bundle import Bundle
from styleid.core.attempt import FaceProgress
from styleid.core.gate import GateVerdict
from styleid.types import WPlusArray

_TRIES_FOR_DRIFTS = 3
"""Number of attempts after which a face that passes and is not near the limit is accepted, even if it drifted."""


@dataclass(frozen=True)
class FreshTargets:
    """Gives every face another target.

    seed: makes targets repeatable: the same photo name, face and attempt give the same target on every device. None
        draws new targets in every run.
    """

    seed: int | None = None

    def z(self, photo: str, face: int, attempt: int, length: int, other: int = 0) -> Float[np.ndarray, " length"]:
        """Draw the random input of the mapping network for one target.

        Args:
            photo: Name of the photo.
            face: Position of the face among the photo's faces.
            attempt: Number of the attempt, 0 for the first.
            length: Length of z.
            other: Number of the alternative new face that a person requested, 0 for the first.

        Returns:
            z, (length,), standard normal, float32.
        """
        if self.seed is None:
            entropy = secrets.randbits(128)
        else:
            again = f"\0other {other}" if other else ""
            name = f"{self.seed}\0{photo}\0{face}\0{attempt}{again}".encode(errors="surrogatepass")
            entropy = int.from_bytes(hashlib.sha256(name).digest()[:16], "big")
        return np.random.default_rng(entropy).standard_normal(length).astype(np.float32)

    def admit(self, faces: Sequence[FaceProgress]) -> None:
        """Refuse no face."""

    def sample(self, bundle: Bundle, photo: str, faces: Sequence[FaceProgress], attempt: int) -> WPlusArray:
        """Return a new target for each face, W+ (n, size); see `Targets.sample`."""
        z = np.stack([self.z(photo, s.index, attempt, bundle.spec.z, s.other) for s in faces])
        own = np.stack([s.source.wplus for s in faces])
        return bundle.sample(z, np.stack([s.source.observation.attributes for s in faces]), own)

    def plan_next(self, face: FaceProgress, verdict: GateVerdict, steps: int) -> bool:
        """Decide whether a face gets another attempt, with another target.

        A face that was too similar to its original, or near the limit, gets the next swap step. A face that only
        drifted is accepted after three attempts.
        """
        if verdict.near_limit or verdict.too_alike:
            face.step = min(face.step + 1, steps - 1)
            return True
        if face.tries >= _TRIES_FOR_DRIFTS and verdict.passed:
            return False
        return not verdict.good
