"""The two spaces in which units are swapped: W+, and S, the per-channel scales that a StyleGAN computes from W+."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float

from styleid.bundles.bundle import Bundle
from styleid.core.rendering import render
from styleid.errors import OptionError
from styleid.types import WPlusArray

SPACES = ("w+", "s")
_CONVOLUTIONS_PER_COLOUR = 3
"""Every third vector of S, from the second on (s_01, s_04, s_07, ...), belongs to a toRGB layer."""


class Space(Protocol):
    """Converts W+ to flat codes, and codes to faces."""

    @property
    def prefix(self) -> str:
        """Prefix of the tables' names."""
        ...

    @property
    def sizes(self) -> Sequence[int]:
        """Length of each row of the codes."""
        ...

    @property
    def ranked(self) -> Sequence[int]:
        """Indices of the rows that may be swapped."""
        ...

    @property
    def flat(self) -> bool:
        """Whether files contain the scores of channels and groups as (units,) instead of as a grid."""
        ...

    def codes(self, wplus: WPlusArray) -> Float[np.ndarray, "n numbers"]:
        """Convert W+ (n, size) to codes (n, numbers)."""
        ...

    def render(
        self, codes: Float[np.ndarray, "n numbers"]
    ) -> tuple[Float[np.ndarray, "n s s 3"], Float[np.ndarray, "n 68 2"]]:
        """Generate the faces of codes.

        Args:
            codes: (n, numbers).

        Returns:
            Images, float32 (n, s, s, 3) in [0, 255], and their landmarks, (n, 68, 2), pixels.
        """
        ...


@dataclass(frozen=True)
class WPlusSpace:
    """W+; codes are W+ itself."""

    bundle: Bundle
    prefix: str = ""

    @property
    def sizes(self) -> Sequence[int]:
        """See `Space`."""
        return [row.width for row in self.bundle.spec.rows]

    @property
    def ranked(self) -> Sequence[int]:
        """See `Space`; all rows."""
        return range(self.bundle.spec.layers)

    @property
    def flat(self) -> bool:
        """See `Space`; true if rows differ in length."""
        return len(set(self.sizes)) > 1

    def codes(self, wplus: WPlusArray) -> Float[np.ndarray, "n numbers"]:
        """See `Space`."""
        return np.asarray(wplus, np.float32)

    def render(
        self, codes: Float[np.ndarray, "n numbers"]
    ) -> tuple[Float[np.ndarray, "n s s 3"], Float[np.ndarray, "n 68 2"]]:
        """See `Space`."""
        return render(self.bundle, codes)


@dataclass(frozen=True)
class StyleSpace:
    """S of a StyleGAN: one vector per modulated convolution; those of toRGB layers are never swapped."""

    bundle: Bundle
    prefix: str = "s."

    @property
    def sizes(self) -> Sequence[int]:
        """See `Space`."""
        return [int(output.shape[1]) for output in self.bundle.session("affines").get_outputs()]

    @property
    def ranked(self) -> Sequence[int]:
        """See `Space`; all rows but those of toRGB layers."""
        return [row for row in range(len(self.sizes)) if row % _CONVOLUTIONS_PER_COLOUR != 1]

    @property
    def flat(self) -> bool:
        """See `Space`; false, because some rows are in no table."""
        return False

    def codes(self, wplus: WPlusArray) -> Float[np.ndarray, "n numbers"]:
        """See `Space`."""
        return np.concatenate(self.bundle.styles(wplus), 1)

    def render(
        self, codes: Float[np.ndarray, "n numbers"]
    ) -> tuple[Float[np.ndarray, "n s s 3"], Float[np.ndarray, "n 68 2"]]:
        """See `Space`."""
        return self.bundle.render_styles(np.split(codes, np.cumsum(self.sizes)[:-1], 1))


def choose_space(name: str, bundle: Bundle) -> Space:
    """Return a space.

    Args:
        name: w+ or s.
        bundle: The networks.

    Raises:
        OptionError: If the name is unknown, or the bundle lacks the networks of s.
    """
    if name not in SPACES:
        raise OptionError("space", f"'{name}' is unknown; choose one of {', '.join(SPACES)}.")
    if name == "w+":
        return WPlusSpace(bundle)
    if missing := [role for role in ("affines", "synthesis") if not bundle.has(role)]:
        raise OptionError("space", f"s needs the networks {' and '.join(missing)}, which the bundle "
                          f"'{bundle.spec.name}' does not have. Use `space=w+`.")  # fmt: skip
    return StyleSpace(bundle)
