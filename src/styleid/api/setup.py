"""What the functions have in common: an anonymiser with its people, and settings of a decisions file."""

from __future__ import annotations

from pathlib import Path

from styleid.core.options import AnonymizeOptions, PeopleOptions
from styleid.core.pipeline import Anonymizer
from styleid.engine.assignment import Assignment
from styleid.runtime import Device


def assign(options: AnonymizeOptions, people: PeopleOptions, bundle: str | Path, device: Device) -> Assignment:
    """Load a bundle and return its anonymiser with the targets and the people to keep.

    Args:
        options: How faces are anonymised.
        people: Who gets which face, and who is kept.
        bundle: Name of a built-in bundle, or a folder with a `bundle.json`.
        device: Where networks run.

    Returns:
        The assignment; its `anonymizer` has the targets.

    Raises:
        BundleError: The bundle cannot be used.
        OptionError: The options do not fit the bundle or each other.
        KeyFileError: The key cannot be used.
        PeopleFileError: The people file of the key cannot be used.
        ImageError: A photo of a person to keep cannot be used.
    """
    return Assignment(Anonymizer.from_bundle(str(bundle), options, device), people, str(bundle))
