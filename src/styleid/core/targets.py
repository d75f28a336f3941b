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


_CANDIDATES = 8
"""Number of targets to choose from. More would fit better, but look more alike."""
_AGE_WEIGHT, _SEX_WEIGHT, _GROUP_WEIGHT = 0.1, 16.0, 3.0
"""Costs of one year of age, of the other sex, and of the sum of differences of the five P(group)."""
_MOUSTACHE_WEIGHT, _LIP_SHADE = 20.0, -0.12
"""Cost of each unit of shade of the upper lip below a limit: generated moustaches are often incomplete."""


def best_fitting(
    bundle: Bundle, z: Float[np.ndarray, "n candidates z"], attributes: Float[np.ndarray, "n 7"], source: WPlusArray
) -> WPlusArray:
    """Draw targets for each face and return the one whose new face is predicted to fit its head best.

    The predicted age, sex and group are compared with the source's, and moustaches are avoided.

    Args:
        bundle: The networks. Without a trait predictor, the first target of each face is returned.
        z: Standard normal numbers, (n, candidates, z).
        attributes: Attributes of the sources from `Bundle.describe`, (n, 7).
        source: Latent codes of the sources, W+ (n, size).

    Returns:
        W+, (n, size).
    """
    if bundle.predictor is None:
        return bundle.sample(z[:, 0], attributes, source)
    count = z.shape[1]
    wanted, own = (np.repeat(array, count, 0) for array in (attributes, source))
    targets = bundle.sample(z.reshape(-1, z.shape[2]), wanted, own)
    traits = bundle.predictor.predict(targets, wanted)
    apart, shade = np.abs(traits[:, :-1] - wanted), traits[:, -1]
    cost = _AGE_WEIGHT * apart[:, 0] + _SEX_WEIGHT * apart[:, 1] + _GROUP_WEIGHT * apart[:, 2:].sum(1)
    cost += _MOUSTACHE_WEIGHT * np.maximum(_LIP_SHADE - shade, 0)
    return targets.reshape(len(z), count, -1)[np.arange(len(z)), cost.reshape(len(z), count).argmin(1)]


@dataclass(frozen=True)
class FreshTargets:
    """Gives every face another target.

    seed: makes targets repeatable: the same photo name, face and attempt give the same target on every device. None
        draws new targets in every run.
    """

    seed: int | None = None

    def z(
        self, photo: str, face: int, attempt: int, length: int, other: int = 0, candidate: int = 0
    ) -> Float[np.ndarray, " length"]:
        """Draw the random input of the mapping network for one target.

        Args:
            photo: Name of the photo.
            face: Position of the face among the photo's faces.
            attempt: Number of the attempt, 0 for the first.
            length: Length of z.
            other: Number of the alternative new face that a person requested, 0 for the first.
            candidate: Number of the candidate among which `best_fitting` chooses, 0 for the first.

        Returns:
            z, (length,), standard normal, float32.
        """
        if self.seed is None:
            entropy = secrets.randbits(128)
        else:
            again = f"\0other {other}" if other else ""
            again += f"\0candidate {candidate}" if candidate else ""
            name = f"{self.seed}\0{photo}\0{face}\0{attempt}{again}".encode(errors="surrogatepass")
            entropy = int.from_bytes(hashlib.sha256(name).digest()[:16], "big")
        return np.random.default_rng(entropy).standard_normal(length).astype(np.float32)

    def draw(
        self,
        bundle: Bundle,
        photo: str,
        faces: Sequence[tuple[int, int]],
        attempt: int,
        attributes: Float[np.ndarray, "n 7"],
        source: WPlusArray,
    ) -> WPlusArray:
        """Return a new target for each face, chosen by `best_fitting`.

        Args:
            bundle: The networks.
            photo: Name of the photo.
            faces: For each of the n faces, its position in the photo and the number of the alternative, as in `z`.
            attempt: Number of the attempt, 0 for the first.
            attributes: Attributes of the sources from `Bundle.describe`, (n, 7).
            source: Latent codes of the sources, W+ (n, size).

        Returns:
            W+, (n, size).
        """
        count = 1 if bundle.predictor is None else _CANDIDATES
        length = bundle.spec.z
        z = [[self.z(photo, face, attempt, length, other, k) for k in range(count)] for face, other in faces]
        return best_fitting(bundle, np.array(z), attributes, source)

    def admit(self, faces: Sequence[FaceProgress]) -> None:
        """Refuse no face."""

    def sample(self, bundle: Bundle, photo: str, faces: Sequence[FaceProgress], attempt: int) -> WPlusArray:
        """Return a new target for each face, W+ (n, size); see `Targets.sample`."""
        attributes = np.stack([s.source.observation.attributes for s in faces])
        own = np.stack([s.source.wplus for s in faces])
        return self.draw(bundle, photo, [(s.index, s.other) for s in faces], attempt, attributes, own)

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
