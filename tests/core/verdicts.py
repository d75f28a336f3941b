"""Faces with chosen measurements, and the gate's verdicts on them."""

import numpy as np

from styleid.bundles.spec import SimilarityRange
from styleid.core.gate import GateVerdict
from styleid.core.observation import Observation
from styleid.core.privacy import privacy_level
from tests.faces.test_geometry import neutral_face

THRESHOLDS = {
    1e-4: SimilarityRange(-0.4, 0.5),
    1e-3: SimilarityRange(-0.3, 0.4),
    1e-2: SimilarityRange(-0.2, 0.3),
    1e-1: SimilarityRange(-0.1, 0.2),
}


def measured(
    similarity: float = 1.0, *, found=True, shift=0.0, female=0.9, opening=0.0, shares=(1.0, 1.0)
) -> Observation:
    """Return a face so like the one that nothing is said of."""
    points = neutral_face() + np.float32(shift)
    points[65:68, 1] += opening
    embedding = np.float32([similarity, np.sqrt(max(0, 1 - similarity**2)), 0])
    return Observation(found, points, embedding, np.float32([30, female, 1, 0, 0, 0, 0]), shares)


def verdict_on(after: Observation, privacy: str = "standard") -> GateVerdict:
    """Judge a face against the one that nothing is said of."""
    return GateVerdict(measured(), after, privacy_level(privacy, THRESHOLDS), 0.15)


def with_failures(verdict: GateVerdict, failures: tuple[str, ...]) -> GateVerdict:
    """Let a verdict say that these failed, and nothing else."""
    verdict.__dict__["failures"] = failures
    return verdict
