"""Find bundles: the built-in ones by name, any other by its folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from styleid.bundles.bundle import Bundle
from styleid.bundles.checking import check_network, check_neutral, check_rankings
from styleid.errors import BundleError, OptionError
from styleid.runtime import Device

DEFAULT = "context128"
APPEARANCE_MODEL = "aam128"
"""The bundle of the appearance model: training reads its shapes, and comparisons take it for a baseline."""
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
        "bundle",
        f"'{name}' is neither a built-in bundle ({', '.join(known) or 'none'}) nor a folder with a bundle.json.",
    )


def load_bundle(name: str | Path = DEFAULT, device: Device = "cpu") -> Bundle:
    """Load a bundle by name or folder; its networks are opened when they are first used."""
    return Bundle(find_bundle(name), device)


def verify_bundle(bundle: str | Path = DEFAULT) -> list[str]:
    """Check every file of a bundle against its `bundle.json`, as `styleid bundles verify` does.

    Args:
        bundle: Name of a built-in bundle, or a folder with a `bundle.json`.

    Returns:
        What is wrong, one line each; an empty list if nothing is.

    Raises:
        OptionError: There is no such bundle.

    Examples:
        >>> from styleid import verify_bundle
        >>> verify_bundle("context128")
        []
    """
    return verify(find_bundle(bundle))


def verify(folder: Path) -> list[str]:
    """Check every file of a bundle and return what is wrong, nothing if all is well."""
    problems: list[str] = []
    try:
        bundle = Bundle(folder)
    except BundleError as error:
        return [str(error)]
    checks: list[Callable[[Bundle], None]] = [partial(check_network, role=role) for role in bundle.spec.networks]
    checks += [check_rankings, check_neutral]
    for check in checks:
        try:
            check(bundle)
        except BundleError as error:
            problems.append(str(error))
    named = [*bundle.spec.networks.values(), *([bundle.spec.neutral] if bundle.spec.neutral else [])]
    known = {"bundle.json", "rankings.npz", "CARD.md", "README.md"} | {entry.file for entry in named}
    strays = [path.name for path in folder.iterdir() if path.name not in known]
    problems += [f"Bundle {folder}: {name} is not named in bundle.json." for name in strays]
    return problems
