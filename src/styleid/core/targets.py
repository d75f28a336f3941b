"""Draw the synthetic people that faces borrow from."""

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
"""After so many attempts a face that passes, well away from the limit, is taken although its sex or mouth changed."""


@dataclass(frozen=True)
class FreshTargets:
    """Give every face a target of its own.

    seed: with it, the same photo name, face and attempt always give the same z; without, every run draws anew. z is
    drawn with NumPy on the CPU, so that devices agree.
    """

    seed: int | None = None

    def z(self, photo: str, face: int, attempt: int, length: int, other: int = 0) -> Float[np.ndarray, " length"]:
        """Return one z, (length,) standard normal float32. other: which other new face, 0 for the first."""
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
        """Return a new target for each face and attempt."""
        z = np.stack([self.z(photo, s.index, attempt, bundle.spec.z, s.other) for s in faces])
        own = np.stack([s.source.wplus for s in faces])
        return bundle.sample(z, np.stack([s.source.observation.attributes for s in faces]), own)

    def plan_next(self, face: FaceProgress, verdict: GateVerdict, steps: int) -> bool:
        """Take more of the next target where the face was too like itself, or nearly; go on until all is well."""
        if verdict.close or verdict.too_alike:
            face.step = min(face.step + 1, steps - 1)
            return True
        if face.tries >= _TRIES_FOR_DRIFTS and verdict.passed:
            return False
        return not verdict.good
