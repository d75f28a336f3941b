"""Find bundles: the built-in ones by name, any other by its folder."""

from __future__ import annotations

import math
from pathlib import Path

from styleid.bundles.bundle import Bundle
from styleid.bundles.spec import BundleSpec
from styleid.errors import BundleError, OptionError
from styleid.runtime import Device

DEFAULT = "aam128"
FOLDER = Path(__file__).parent


def built_in() -> dict[str, Path]:
    """Return the folders of the bundles that come with styleid, by name."""
    return {path.parent.name: path.parent for path in sorted(FOLDER.glob("*/bundle.json"))}


def find_bundle(name: str | Path) -> Path:
    """Return a bundle's folder from its name, or from a path to it."""
    known = built_in()
    if str(name) in known:
        return known[str(name)]
    folder = Path(name)
    if (folder / "bundle.json").is_file():
        return folder
    raise OptionError(
        "--bundle",
        f"'{name}' is neither a built-in bundle ({', '.join(known) or 'none'}) nor a folder with a bundle.json.",
    )


def load_bundle(name: str | Path = DEFAULT, device: Device = "cpu") -> Bundle:
    """Load a bundle by name or folder; its networks are opened when they are first used."""
    return Bundle(find_bundle(name), device)


def verify(folder: Path) -> list[str]:
    """Check every file of a bundle and return what is wrong, nothing if all is well."""
    problems: list[str] = []
    try:
        bundle = Bundle(folder)
    except BundleError as error:
        return [str(error)]
    for role in bundle.spec.networks:
        try:
            bundle.check(role)
            _check_shapes(bundle, role)
        except BundleError as error:
            problems.append(str(error))
    try:
        _check_rankings(bundle)
    except BundleError as error:
        problems.append(str(error))
    known = {"bundle.json", "rankings.npz", "CARD.md", "README.md"} | {f.file for f in bundle.spec.networks.values()}
    strays = [path.name for path in folder.iterdir() if path.name not in known]
    problems += [f"Bundle {folder}: {name} is not named in bundle.json." for name in strays]
    return problems


def _check_rankings(bundle: Bundle) -> None:
    """Raise BundleError where a ranking does not fit W+."""
    for name, scores in bundle.rankings().items():
        if not _divides(name.partition("@")[0], scores.shape, bundle.spec):
            raise BundleError(
                bundle.spec.name,
                f"the ranking {name} has shape {scores.shape}, which W+ of {bundle.spec.told_shape} "
                "cannot be divided by.",
            )


def _divides(kind: str, shape: tuple[int, ...], spec: BundleSpec) -> bool:
    """Say whether scores of this shape have one for each unit of W+."""
    widths = {row.width for row in spec.rows}
    if kind == "windows" or (kind == "layers" and len(widths) > 1):
        return shape == (spec.layers, spec.layers if kind == "windows" else 1)
    units = math.prod(shape)
    if not units or spec.size % units:
        return False
    unit = spec.size // units
    laid_out = shape == (units,) if len(widths) > 1 else shape[:-1] == (spec.layers,)
    return laid_out and not any(width % unit for width in widths)


def _check_shapes(bundle: Bundle, role: str) -> None:
    """Raise BundleError where a network's sizes contradict bundle.json."""
    spec, session = bundle.spec, bundle.session(role)
    side = spec.resolution
    wplus = list(spec.code_shape)
    seen = spec.identity_crop.size_px if role == "identity" else spec.crop.size_px
    expected = {
        "crop": [3, seen, seen],
        "w_plus": wplus,
        "source": wplus,
        "target": wplus,
        "z": [spec.z],
        "landmarks": [68, 2],
        "visible": [1, side, side],
    }
    for value in session.get_inputs():
        wanted = expected.get(value.name)
        if wanted is not None and list(value.shape[1 : 1 + len(wanted)]) != wanted:
            shape = value.shape
            raise BundleError(spec.name, f"{role} takes {value.name} of shape {shape}, bundle.json says {wanted}.")
