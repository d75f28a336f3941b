"""Draw the synthetic people that faces borrow from."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

import numpy as np

from styleid.types import FloatArray


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
