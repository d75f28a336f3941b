"""Check a bundle's files against what bundle.json says of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from styleid.bundles.bundle import Bundle
from styleid.bundles.generators import MAPS, is_generator
from styleid.bundles.spec import BundleSpec
from styleid.errors import BundleError

_INPUTS: Mapping[str, tuple[str, ...]] = {
    "inverter": ("crop", "landmarks", "visible", "identity"),
    "mapping": ("z", "attributes", "source"),
    "parser": ("crop",),
    "identity": ("crop",),
    "attributes": ("crop",),
    "affines": ("w_plus",),
    "mask_encoder": ("labels",),
    "swapper": ("source", "target"),
    "geometry": ("w_plus",),
}
"""The inputs that the runtime gives to each network. The inputs of `synthesis` may have any name."""


def check_network(bundle: Bundle, role: str) -> None:
    """Check one network of a bundle.

    Args:
        bundle: The bundle.
        role: The network's role.

    Raises:
        BundleError: If the file was changed, or its inputs or outputs contradict bundle.json.
    """
    bundle.check(role)
    session, name = bundle.session(role), bundle.spec.name
    known = _given(bundle.spec, role)
    sizes = _input_sizes(bundle, role)
    for value in session.get_inputs():
        if known and value.name not in known:
            raise BundleError(name, f"{role} needs the input {value.name}, which styleid does not give.")
        wanted = sizes.get(value.name)
        if wanted is not None and list(value.shape[1 : 1 + len(wanted)]) != wanted:
            raise BundleError(name, f"{role} takes {value.name} of shape {value.shape}; by bundle.json it is {wanted}.")
    given = session.get_outputs()[0]
    for found, wanted in zip(given.shape[1:], _output_size(bundle.spec, role), strict=False):
        if isinstance(found, int) and found != wanted:
            raise BundleError(name, f"{role} returns {given.name} of shape {given.shape}; it must contain {wanted}.")


def check_rankings(bundle: Bundle) -> None:
    """Raise BundleError if the file of the rankings was changed, or a ranking does not fit W+."""
    for name, scores in bundle.rankings().items():
        if not _divides(name.partition("@")[0], scores.shape, bundle.spec):
            raise BundleError(
                bundle.spec.name,
                f"the ranking {name} has shape {scores.shape}, which does not fit W+ ({bundle.spec.shape_text}).",
            )


def check_neutral(bundle: Bundle) -> None:
    """Raise BundleError if the neutral surroundings are missing or were changed, or do not fit the crop."""
    if bundle.spec.neutral is not None:
        bundle.neutral()


def check_predictor(bundle: Bundle) -> None:
    """Raise BundleError if the file of the trait predictor is missing or was changed, or does not fit W+."""
    _ = bundle.predictor


def _given(spec: BundleSpec, role: str) -> tuple[str, ...]:
    """Return the inputs that the runtime gives to a network; empty if any name is accepted."""
    if is_generator(role):
        return (*MAPS, "w_plus") if spec.generators else ("w_plus",)
    return _INPUTS.get(role, ())


def _input_sizes(bundle: Bundle, role: str) -> dict[str, list[Any]]:
    """Return the known sizes of inputs by name, without the batch axis."""
    spec, side = bundle.spec, bundle.spec.resolution
    wplus = list(spec.code_shape)
    seen = spec.identity_crop.size_px if role == "identity" else spec.crop.size_px
    sizes: dict[str, list[Any]] = {
        "crop": [3, seen, seen],
        "w_plus": wplus,
        "source": wplus,
        "target": wplus,
        "z": [spec.z],
        "landmarks": [68, 2],
        "visible": [1, side, side],
    }
    if role == "inverter" and spec.generators:
        embedding = bundle.session("identity").get_outputs()[0].shape[1]
        sizes |= {"identity": [embedding]} if isinstance(embedding, int) else {}
    for generator in spec.generators:
        if generator.network == role:
            sizes |= {name: [channels, generator.side, generator.side] for name, channels in MAPS.items()}
    return sizes


def _output_size(spec: BundleSpec, role: str) -> Sequence[int]:
    """Return the size of the first output, without the batch axis; empty if it is not known."""
    sides = {one.network: (3, one.side, one.side) for one in spec.generators}
    wplus = dict.fromkeys(("inverter", "mapping", "mask_encoder", "swapper"), (spec.size,)) if spec.generators else {}
    return {"geometry": (68, 2), **sides, **wplus}.get(role, ())


def _divides(kind: str, shape: tuple[int, ...], spec: BundleSpec) -> bool:
    """Return whether scores of this shape have one value per unit of W+."""
    widths = {row.width for row in spec.rows}
    if kind == "windows" or (kind == "layers" and len(widths) > 1):
        return shape == (spec.layers, spec.layers if kind == "windows" else 1)
    units = math.prod(shape)
    if not units or spec.size % units:
        return False
    unit = spec.size // units
    laid_out = shape == (units,) if len(widths) > 1 else shape[:-1] == (spec.layers,)
    return laid_out and not any(width % unit for width in widths)
