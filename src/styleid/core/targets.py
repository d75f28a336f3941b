"""Draw the synthetic people that faces borrow from."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from styleid.types import FloatArray

if TYPE_CHECKING:
    from styleid.bundles.bundle import Bundle
    from styleid.core.face import Source
    from styleid.core.gate import Verdict

_TRIES_FOR_DRIFTS = 3
"""After so many tries a face that passes, well away from the limit, is taken although its sex or mouth changed."""


class Targets(Protocol):
    """Say whom each face of a photo borrows from, try by try."""

    def meet(self, sources: Sequence[Source]) -> None:
        """Look at the faces of a photo before their first try; one with a `refusal` gets none, and is obscured."""
        ...

    def sample(self, bundle: Bundle, photo: str, sources: Sequence[Source], attempt: int) -> FloatArray:
        """Return targets' W+ (n, layers, width) for a try; attempt: 0 for the first."""
        ...

    def after(self, source: Source, verdict: Verdict, steps: int) -> bool:
        """Set how a face's next try differs, and say whether it should have one. steps: how many the method has."""
        ...


@dataclass(frozen=True)
class FreshTargets:
    """Give every face a target of its own.

    seed: with it, the same photo name, face and try always give the same z; without, every run draws anew. z is drawn
    with NumPy on the CPU, so that devices agree.
    """

    seed: int | None = None

    def z(self, photo: str, face: int, attempt: int, length: int) -> FloatArray:
        """Return one z, (length,) standard normal float32."""
        if self.seed is None:
            entropy = secrets.randbits(128)
        else:
            name = f"{self.seed}\0{photo}\0{face}\0{attempt}".encode(errors="surrogatepass")
            entropy = int.from_bytes(hashlib.sha256(name).digest()[:16], "big")
        return np.random.default_rng(entropy).standard_normal(length).astype(np.float32)

    def meet(self, sources: Sequence[Source]) -> None:
        """Take every face."""

    def sample(self, bundle: Bundle, photo: str, sources: Sequence[Source], attempt: int) -> FloatArray:
        """Return a new target for each face and try."""
        z = np.stack([self.z(photo, s.index, attempt, bundle.spec.z) for s in sources])
        own = np.stack([s.wplus for s in sources])
        return bundle.sample(z, np.stack([s.before.attributes for s in sources]), own)

    def after(self, source: Source, verdict: Verdict, steps: int) -> bool:
        """Take more of the next target where the face was too like itself, or nearly; go on until all is well."""
        if verdict.close or verdict.too_alike:
            source.step = min(source.step + 1, steps - 1)
            return True
        if source.tries >= _TRIES_FOR_DRIFTS and verdict.passed:
            return False
        return not verdict.good
