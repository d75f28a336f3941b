"""The trait predictor of a bundle: what a new face will look like, told from its target without drawing it."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from styleid.types import FloatArray, WPlusArray

ATTRIBUTES = 7
"""Number of values of `Bundle.describe`."""
TRAITS = ATTRIBUTES + 1
"""The attributes of the new face, and the shade of its upper lip."""


@dataclass(frozen=True, eq=False)
class TraitPredictor:
    """Linear model of the traits that a new face shows when it is drawn into its photo.

    The upper lip's shade is the brightness of the skin between nose and mouth, less that of the cheeks, as a share of
    the latter. A moustache has a shade below about -0.2.

    weights: float32 (size + 8, 8), from the target's W+, the source's attributes and the constant 1 to the traits.
    """

    weights: Float[np.ndarray, "inputs 8"]

    def predict(self, targets: WPlusArray, attributes: Float[np.ndarray, "n 7"]) -> Float[np.ndarray, "n 8"]:
        """Predict the traits of new faces.

        Args:
            targets: Latent codes of the targets, W+ (n, size).
            attributes: Attributes of the sources from `Bundle.describe`, (n, 7).

        Returns:
            (n, 8): age in years, P(female), P(group) for five groups, and the shade of the upper lip.
        """
        traits = model_inputs(targets, attributes) @ self.weights
        traits[:, 1:ATTRIBUTES] = traits[:, 1:ATTRIBUTES].clip(0, 1)
        return traits


def model_inputs(targets: WPlusArray, attributes: Float[np.ndarray, "n 7"]) -> Float[np.ndarray, "n inputs"]:
    """Return the inputs of the linear model, (n, size + 8); for the arguments see `TraitPredictor.predict`."""
    return np.concatenate([targets, attributes, np.ones((len(targets), 1), np.float32)], 1, dtype=np.float32)


def read_predictor(content: bytes | Path, size: int) -> TraitPredictor:
    """Read the file that the entry `predictor` of bundle.json names.

    Args:
        content: The file's content, or its path.
        size: Number of numbers of the bundle's W+.

    Raises:
        ValueError: If the file cannot be read, or its weights have a wrong shape, dtype or value.
    """
    try:
        with np.load(io.BytesIO(content) if isinstance(content, bytes) else content, allow_pickle=False) as file:
            weights: FloatArray = np.asarray(file["weights"])
    except (OSError, KeyError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"it cannot be read: {error}") from error
    wanted = (size + ATTRIBUTES + 1, TRAITS)
    if weights.shape != wanted or weights.dtype != np.float32 or not np.isfinite(weights).all():
        raise ValueError(f"its weights must be finite float32 {wanted}, not {weights.dtype} {weights.shape}")
    return TraitPredictor(weights)
