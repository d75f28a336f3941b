"""Find bundles: built-in bundles by name, others by folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from styleid.bundles.bundle import Bundle
from styleid.bundles.checking import check_network, check_neutral, check_predictor, check_rankings
from styleid.errors import BundleError, OptionError
from styleid.runtime import Device

DEFAULT = "context128"
"""Name of the default bundle."""
APPEARANCE_MODEL = "aam128"
"""Name of the appearance model's bundle, a baseline for comparisons. Training reads its shapes."""
FOLDER = Path(__file__).parent
"""Folder of the built-in bundles."""


def built_in() -> dict[str, Path]:
    """Return the folders of the built-in bundles by name."""
    return {path.parent.name: path.parent for path in sorted(FOLDER.glob("*/bundle.json"))}


def find_bundle(name: str | Path) -> Path:
    """Return the folder of a bundle.

    Args:
        name: Name of a built-in bundle, or a folder that contains a bundle.

    Raises:
        OptionError: If it is neither.
    """
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
    """Load a bundle. Its networks are opened when they are first used.

    Args:
        name: Name of a built-in bundle, or a folder that contains a bundle.
        device: Where the networks run.

    Returns:
        The bundle.

    Raises:
        OptionError: If there is no such bundle.
        BundleError: If its bundle.json cannot be read or contradicts itself.
    """
    return Bundle(find_bundle(name), device)


def verify_bundle(bundle: str | Path = DEFAULT) -> list[str]:
    """Check every file of a bundle against its `bundle.json`, as `styleid bundles verify` does.

    Args:
        bundle: Name of a built-in bundle, or a folder with a `bundle.json`.

    Returns:
        One sentence per problem; empty if there is none.

    Raises:
        OptionError: If there is no such bundle.

    Examples:
        >>> from styleid import verify_bundle
        >>> verify_bundle("context128")
        []
    """
    return verify(find_bundle(bundle))


def verify(folder: Path) -> list[str]:
    """Check every file of a bundle.

    Args:
        folder: The bundle's folder.

    Returns:
        One sentence per problem; empty if there is none.
    """
    problems: list[str] = []
    try:
        bundle = Bundle(folder)
    except BundleError as error:
        return [str(error)]
    checks: list[Callable[[Bundle], None]] = [partial(check_network, role=role) for role in bundle.spec.networks]
    checks += [check_rankings, check_neutral, check_predictor]
    for check in checks:
        try:
            check(bundle)
        except BundleError as error:
            problems.append(str(error))
    named = [*bundle.spec.networks.values(), *bundle.spec.others]
    known = {"bundle.json", "rankings.npz", "CARD.md", "README.md"} | {entry.file for entry in named}
    strays = [path.name for path in folder.iterdir() if path.name not in known]
    problems += [f"Bundle {folder}: {name} is not named in bundle.json." for name in strays]
    return problems
