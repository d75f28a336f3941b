"""Compare what a bundle's networks compute on this machine with what they must compute.

Three comparisons, since each sees what the others do not. Batches of 2 and 7 must give what single rows give; rows
must give what they give without ONNX Runtime's optimisations; and networks listed in `known_outputs.json`, which are
those of the built-in bundles, must give the numbers listed there. These were computed by the onnx package's reference
evaluator, which shares no code with ONNX Runtime (`tools/known_outputs.py` writes the file). The first two need
nothing but the network, so they hold for any bundle.

8-bit networks round differently from processor to processor, so differences are judged by their root mean square.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from styleid.bundles.bundle import Bundle
from styleid.bundles.example_inputs import ROWS, example_inputs
from styleid.types import FloatArray

BATCHES = (2, ROWS)
MOST_DIFFERENCE, MOST_DIFFERENCE_8_BIT = 0.05, 0.25
"""Root mean square over a row, as a share of the output's standard deviation. Some providers compute in bfloat16 or
float16, which costs some hundredths; 8-bit networks on other processors differ by up to an eighth. The matrix that ONNX
Runtime turned by mistake differed by 0.7."""
KNOWN = Path(__file__).with_name("known_outputs.json")
_DIGEST = 24
_PLAIN_ROWS = 2


def wrong_outputs(bundle: Bundle, role: str) -> list[str]:
    """Run a network on made inputs and say what is wrong with its outputs.

    Args:
        bundle: The bundle, with the device to run on.
        role: One of the bundle's networks.

    Returns:
        A sentence for each comparison that failed, nothing where all is well.

    Raises:
        BundleError: The network's file is missing or altered.
    """
    inputs = example_inputs(bundle, role)
    try:
        return list(_compare(bundle, role, inputs))
    except Exception as error:  # ONNX Runtime's errors share no public base class
        return [f"{role} cannot be run: {first_line(error)}"]


def digest(output: FloatArray) -> FloatArray:
    """Project each row of an output onto 24 random directions, (n, 24).

    Two rows' projections differ by about as much, root mean square, as the rows themselves (Johnson and Lindenstrauss
    1984), whichever of their numbers it is that differ.
    """
    rows = output.reshape(len(output), -1).astype(np.float64)
    bits = np.random.PCG64(0).random_raw(rows.shape[1])  # raw bits are the same in every version of NumPy
    signs = ((bits >> np.uint64(shift) & np.uint64(1)) * 2.0 - 1 for shift in range(_DIGEST))
    return np.stack([rows @ sign for sign in signs], 1) / np.sqrt(rows.shape[1])


def scale_of(output: FloatArray) -> float:
    """Return what differences of an output are measured by: its standard deviation, where it has one."""
    return max(float(output.std()), 1e-3 * float(np.abs(output).max(initial=0)), 1e-6)


def difference(given: FloatArray, wanted: FloatArray, scale: float | None = None) -> float:
    """Return the largest root mean square over a row of what two outputs differ by, as a share of the scale."""
    if given.shape != wanted.shape or not np.isfinite(given).all():
        return float("inf")
    rows = np.square(given.astype(np.float64) - wanted).reshape(len(wanted), -1).mean(1)
    return float(np.sqrt(rows.max())) / (scale or scale_of(wanted))


def most_difference(network: Path) -> float:
    """Return how far a network's outputs may be from what they should be, by whether it has 8-bit convolutions."""
    with network.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return MOST_DIFFERENCE if content.find(b"DequantizeLinear") < 0 else MOST_DIFFERENCE_8_BIT


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or its type where it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _compare(bundle: Bundle, role: str, inputs: dict[str, FloatArray]) -> Iterator[str]:
    parts = [{name: value[i : i + 1] for name, value in inputs.items()} for i in range(ROWS)]
    single = _joined([bundle.run(role, **part) for part in parts])
    plain = bundle.plain_session(role)
    first = _joined([plain.run(None, part) for part in parts[:_PLAIN_ROWS]])
    found = {"with ONNX Runtime's optimisations than without": _worst(first, single)}
    for n in BATCHES:
        several = bundle.run(role, **{name: value[:n] for name, value in inputs.items()})
        found[f"for {n} faces at once than for each alone"] = _worst(several, single)
    entry = bundle.spec.networks[role]
    if known := known_digests().get(entry.sha256):
        apart = [
            difference(digest(output), np.asarray(one["digest"]), one["scale"])
            for output, one in zip(single, known, strict=True)
        ]
        found["than the reference evaluator"] = max(apart)
    most = most_difference(bundle.folder / entry.file)
    for what, worst in found.items():
        if not worst <= most:
            yield f"{role} gives other numbers {what} (by {worst:.2g} of a standard deviation; {most} is allowed)"


def _worst(some: Sequence[FloatArray], every: Sequence[FloatArray]) -> float:
    return max(difference(given, wanted[: len(given)]) for given, wanted in zip(some, every, strict=True))


def _joined(rows: Sequence[Sequence[FloatArray]]) -> list[FloatArray]:
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


@cache
def known_digests() -> dict[str, list[dict[str, Any]]]:
    """Return each known output's scale and digest, by the SHA-256 of its network's file."""
    return json.loads(KNOWN.read_text(encoding="utf-8"))
