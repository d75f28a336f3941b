"""Swap units of W+ between a source and a target.

The swap in latent space of Le and Carlsson, "StyleID: Identity Disentanglement for Anonymizing Faces", PoPETs 2023.
"""

from __future__ import annotations

import hashlib
import re

import numpy as np

from styleid.bundles.spec import BundleSpec
from styleid.bundles.steps import EXPRESSION, SwapStep
from styleid.errors import OptionError
from styleid.types import WPlusArray


def swap_units(source: WPlusArray, target: WPlusArray, step: SwapStep, spec: BundleSpec) -> WPlusArray:
    """Return W+ whose units are (1 - a) source + a target; the rest is the source's.

    Args:
        source: Latent codes of the sources, W+ (n, size).
        target: Latent codes of the targets, W+ (n, size).
        step: The rows and channels to swap, and the share a of the target.
        spec: Layout of W+.

    Returns:
        W+, (n, size), with the step's noise on the expression.
    """
    numbers = np.concatenate([spec.numbers(step.rows), np.array(step.channels, np.int64)])
    share, out = np.float32(step.strength), source.copy()
    out[:, numbers] = (1 - share) * source[:, numbers] + share * target[:, numbers]
    return with_noise(out, target, step, spec)


def with_noise(wplus: WPlusArray, target: WPlusArray, step: SwapStep, spec: BundleSpec) -> WPlusArray:
    """Add the step's noise to the rows of the expression.

    The noise depends on the target alone, so that it is the same in all frames of a video and in all photos of a person
    with a consistent target.

    Args:
        wplus: Latent codes, W+ (n, size); not changed.
        target: Latent codes of the targets, W+ (n, size).
        step: Gives the noise's standard deviation.
        spec: Layout of W+.

    Returns:
        W+, (n, size); wplus itself if the step has no noise.
    """
    if not step.expression_noise:
        return wplus
    numbers, out = spec.numbers(spec.rows_of((EXPRESSION,))), wplus.copy()
    for row, one in zip(out, target, strict=True):
        seed = int.from_bytes(hashlib.sha256(np.ascontiguousarray(one).tobytes()).digest()[:16], "big")
        noise = np.random.default_rng(seed).standard_normal(len(numbers)).astype(np.float32)
        row[numbers] += np.float32(step.expression_noise) * noise
    return out


def parse_units(text: str, spec: BundleSpec) -> tuple[int, ...]:
    """Parse units of W+, such as `layers:3-57`, `layers:4,6-9` or `levels:shape,texture`.

    Args:
        text: The units.
        spec: Layout of W+.

    Returns:
        The rows of W+, in ascending order.

    Raises:
        OptionError: If the text has another form, or the bundle does not have these layers or levels.
    """
    kind, _, rest = text.partition(":")
    try:
        if kind == "levels" and rest:
            return spec.rows_of(tuple(rest.split(",")))
        if kind == "layers" and re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", rest):
            rows: set[int] = set()
            for part in rest.split(","):
                first, _, last = part.partition("-")
                rows.update(range(int(first), int(last or first) + 1))
            if rows and max(rows) < spec.layers:
                return tuple(sorted(rows))
            raise ValueError(f"the bundle has layers 0 to {spec.layers - 1}")
        raise ValueError("write layers:3-57 or levels:NAME,NAME")
    except ValueError as error:
        raise OptionError("units", f"'{text}': {error}.") from error
