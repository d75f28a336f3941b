"""Find bundles: the built-in ones by name, any other by its folder."""

from __future__ import annotations

from pathlib import Path

from styleid.bundles.bundle import Bundle
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
    spec = bundle.spec
    for name, scores in bundle.rankings().items():
        if name.partition("@")[0] == "windows":
            fits = scores.shape == (spec.layers, spec.layers)
        else:
            fits = scores.ndim == 2 and len(scores) == spec.layers and scores.size and not spec.width % scores.shape[1]
        if not fits:
            raise BundleError(
                spec.name,
                f"the ranking {name} has shape {scores.shape}, which W+ of {spec.layers} x {spec.width} "
                "cannot be divided by.",
            )


def _check_shapes(bundle: Bundle, role: str) -> None:
    """Raise BundleError where a network's sizes contradict bundle.json."""
    spec, session = bundle.spec, bundle.session(role)
    side = spec.resolution
    wplus = [spec.layers, spec.width]
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
