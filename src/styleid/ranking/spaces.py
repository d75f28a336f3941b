"""The two spaces in which units are swapped: W+, and S, the scales that a StyleGAN's layers take from it."""

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
"""From the second vector of S on, every third belongs to a layer that only paints (toRGB): s_01, s_04, s_07, ..."""


class Space(Protocol):
    """Turn W+ into flat codes, and codes into faces."""

    @property
    def prefix(self) -> str:
        """What names of tables begin with."""
        ...

    @property
    def sizes(self) -> Sequence[int]:
        """Length of each row."""
        ...

    @property
    def ranked(self) -> Sequence[int]:
        """Rows that may be swapped."""
        ...

    @property
    def flat(self) -> bool:
        """Whether files keep scores of channels and groups as one number after the other, in the order of the codes."""
        ...

    def codes(self, wplus: WPlusArray) -> Float[np.ndarray, "n numbers"]:
        """Return codes, (n, sum of sizes), of W+ (n, size)."""
        ...

    def render(
        self, codes: Float[np.ndarray, "n numbers"]
    ) -> tuple[Float[np.ndarray, "n s s 3"], Float[np.ndarray, "n 68 2"]]:
        """Return images, float32 (n, s, s, 3) in [0, 255], and their landmarks, (n, 68, 2) pixels."""
        ...


@dataclass(frozen=True)
class WPlusSpace:
    """W+ as it is."""

    bundle: Bundle
    prefix: str = ""

    @property
    def sizes(self) -> Sequence[int]:
        """See `Space`."""
        return [row.width for row in self.bundle.spec.rows]

    @property
    def ranked(self) -> Sequence[int]:
        """See `Space`: all of them."""
        return range(self.bundle.spec.layers)

    @property
    def flat(self) -> bool:
        """See `Space`: where rows differ in length."""
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
    """S of a StyleGAN: one vector per modulated convolution, those of toRGB never swapped."""

    bundle: Bundle
    prefix: str = "s."

    @property
    def sizes(self) -> Sequence[int]:
        """See `Space`."""
        return [int(output.shape[1]) for output in self.bundle.session("affines").get_outputs()]

    @property
    def ranked(self) -> Sequence[int]:
        """See `Space`: those that are not toRGB's."""
        return [row for row in range(len(self.sizes)) if row % _CONVOLUTIONS_PER_COLOUR != 1]

    @property
    def flat(self) -> bool:
        """See `Space`: never, since some rows are in no table."""
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
    """Return a space by name; raises OptionError where the bundle lacks its networks."""
    if name not in SPACES:
        raise OptionError("space", f"'{name}' is unknown; choose one of {', '.join(SPACES)}.")
    if name == "w+":
        return WPlusSpace(bundle)
    if missing := [role for role in ("affines", "synthesis") if not bundle.has(role)]:
        raise OptionError("space", f"s needs {' and '.join(missing)}, which the bundle '{bundle.spec.name}' does not "
                          "have. Take `space=w+`.")  # fmt: skip
    return StyleSpace(bundle)
