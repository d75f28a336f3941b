"""Swap units of W+ between a source and a target (StyleID, in latent space)."""

from __future__ import annotations

import hashlib
import re

import numpy as np

from styleid.bundles.spec import BundleSpec
from styleid.bundles.steps import EXPRESSION, SwapStep
from styleid.errors import OptionError
from styleid.types import WPlusArray


def swap_units(source: WPlusArray, target: WPlusArray, step: SwapStep, spec: BundleSpec) -> WPlusArray:
    """Return W+ with the step's rows and channels moved from source towards target: (1 - a) source + a target.

    source, target: (n, size). spec: says which numbers the rows hold.
    """
    numbers = np.concatenate([spec.numbers(step.rows), np.array(step.channels, np.int64)])
    share, out = np.float32(step.strength), source.copy()
    out[:, numbers] = (1 - share) * source[:, numbers] + share * target[:, numbers]
    return with_noise(out, target, step, spec)


def with_noise(wplus: WPlusArray, target: WPlusArray, step: SwapStep, spec: BundleSpec) -> WPlusArray:
    """Return W+ (n, size) with the step's noise on the expression.

    It depends on the target (n, size) alone, so that it is the same in every frame of a video and in every photo of a
    person who keeps a target.
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
    """Read `units`: `layers:3-57`, `layers:4,6-9` or `levels:shape,texture`.

    Raises OptionError that says what exists.
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
