"""Check that a bundle's networks compute correct outputs on this machine.

Three comparisons find different errors:

- Batches of 2 and 7 rows against single rows.
- Single rows against a session without ONNX Runtime's optimisations.
- The networks of the built-in bundles against `known_outputs.json`. Its numbers come from the reference evaluator of
  the onnx package, which shares no code with ONNX Runtime (`tools/known_outputs.py` writes the file).

The first two work for any bundle. Differences are measured by their root mean square, because 8-bit networks round
differently on different processors.
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
"""Lengths of the batches that are compared with single rows."""
MOST_DIFFERENCE, MOST_DIFFERENCE_8_BIT = 0.05, 0.25
"""Largest root mean square difference of a row, in standard deviations of the output.

Some providers compute in bfloat16 or float16 and differ by a few hundredths; 8-bit networks differ by up to an eighth
between processors. The wrongly transposed matrix of ONNX Runtime (`styleid.onnx_file`) differed by 0.7."""
KNOWN = Path(__file__).with_name("known_outputs.json")
_DIGEST = 24
"""Number of random directions in a digest."""
_PLAIN_ROWS = 2
"""Number of rows that are run without optimisations, which is slow."""


def wrong_outputs(bundle: Bundle, role: str) -> list[str]:
    """Run a network on artificial inputs and check its outputs.

    Args:
        bundle: The bundle, with the device to run on.
        role: One of the bundle's networks.

    Returns:
        One sentence per comparison that failed; empty if all passed.

    Raises:
        BundleError: If the network's file is missing or was changed.
    """
    inputs = example_inputs(bundle, role)
    try:
        return list(_compare(bundle, role, inputs))
    except Exception as error:  # ONNX Runtime's errors share no public base class
        return [f"{role} cannot be run: {first_line(error)}"]


def digest(output: FloatArray) -> FloatArray:
    """Project each row of an output onto 24 random directions.

    The root mean square difference of two projections is about that of the two rows, whichever numbers differ (Johnson
    and Lindenstrauss 1984).

    Args:
        output: An output of a network, n rows of any shape.

    Returns:
        (n, 24).
    """
    rows = output.reshape(len(output), -1).astype(np.float64)
    bits = np.random.PCG64(0).random_raw(rows.shape[1])  # raw bits are the same in every version of NumPy
    signs = ((bits >> np.uint64(shift) & np.uint64(1)) * 2.0 - 1 for shift in range(_DIGEST))
    return np.stack([rows @ sign for sign in signs], 1) / np.sqrt(rows.shape[1])


def scale_of(output: FloatArray) -> float:
    """Return the unit of an output's differences: its standard deviation, or a small number if that is zero."""
    return max(float(output.std()), 1e-3 * float(np.abs(output).max(initial=0)), 1e-6)


def difference(given: FloatArray, wanted: FloatArray, scale: float | None = None) -> float:
    """Return the largest root mean square difference of two outputs' rows.

    Args:
        given: The output to check, n rows of any shape.
        wanted: The correct output, of the same shape.
        scale: Unit of the difference; None for `scale_of(wanted)`.

    Returns:
        The difference in units of scale; infinity if shapes differ or a number is not finite.
    """
    if given.shape != wanted.shape or not np.isfinite(given).all():
        return float("inf")
    rows = np.square(given.astype(np.float64) - wanted).reshape(len(wanted), -1).mean(1)
    return float(np.sqrt(rows.max())) / (scale or scale_of(wanted))


def most_difference(network: Path) -> float:
    """Return the largest difference that is allowed for a network; more for one with 8-bit weights.

    Args:
        network: The network's file.
    """
    with network.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return MOST_DIFFERENCE if content.find(b"DequantizeLinear") < 0 else MOST_DIFFERENCE_8_BIT


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type if the message is empty."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _compare(bundle: Bundle, role: str, inputs: dict[str, FloatArray]) -> Iterator[str]:
    parts = [{name: value[i : i + 1] for name, value in inputs.items()} for i in range(ROWS)]
    single = _joined([bundle.run(role, **part) for part in parts])
    plain = bundle.plain_session(role)
    first = _joined([plain.run(None, part) for part in parts[:_PLAIN_ROWS]])
    found = {"with and without ONNX Runtime's optimisations": _worst(first, single)}
    for n in BATCHES:
        several = bundle.run(role, **{name: value[:n] for name, value in inputs.items()})
        found[f"for {n} faces at once and for each alone"] = _worst(several, single)
    entry = bundle.spec.networks[role]
    if known := known_digests().get(entry.sha256):
        apart = [
            difference(digest(output), np.asarray(one["digest"]), one["scale"])
            for output, one in zip(single, known, strict=True)
        ]
        found["from those of the reference evaluator"] = max(apart)
    most = most_difference(bundle.folder / entry.file)
    for what, worst in found.items():
        if not worst <= most:
            yield f"outputs of {role} differ {what} by {worst:.2g} standard deviations; at most {most} is allowed"


def _worst(some: Sequence[FloatArray], every: Sequence[FloatArray]) -> float:
    return max(difference(given, wanted[: len(given)]) for given, wanted in zip(some, every, strict=True))


def _joined(rows: Sequence[Sequence[FloatArray]]) -> list[FloatArray]:
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


@cache
def known_digests() -> dict[str, list[dict[str, Any]]]:
    """Return the scale and digest of each known output, by the SHA-256 of the network's file."""
    return json.loads(KNOWN.read_text(encoding="utf-8"))
