"""Options of the library and of its commands.

Each class's docstring is also the `--help` text of its fields.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from styleid.errors import OptionError
from styleid.faces.detect import DetectorOptions
from styleid.pixel.obscure import OBSCURINGS, Obscuring
from styleid.types import REGIONS, Region

MethodName = Literal["latent", "pixel", "swapper", "none"]
METHODS: tuple[MethodName, ...] = get_args(MethodName)


@dataclass(frozen=True)
class AnonymizeOptions:
    """How faces are anonymised.

    Raises OptionError if a value is outside its range.

    method: how a new face is made. latent swaps the identity in the generator's latent space; pixel draws a face from
        the label map of its parts; swapper lets a network decide how much of the target to take; none obscures every
        face. pixel and swapper need a bundle that has their networks.
    units: parts of the latent code that the method latent swaps, such as levels:shape,texture or layers:3-57, or the
        best units of one of the bundle's rankings, such as channels:3000, groups:12, layers:best-9 or windows:3 (the
        best three consecutive layers). A suffix such as @ratio selects a score other than difference. Default: the
        bundle's choice.
    region: region that the method pixel replaces, full (the whole face) or inner (the features without the skin).
        Default: the bundle's choice.
    preset: name of a set of settings in the bundle, such as paper. Default: the bundle's usual settings.
    strength: share of the target in the swapped parts, more than 0 and at most 1.
    privacy: privacy level (low, standard, high or max) or a false-match rate such as 0.01. The new face must not match
        its original at the threshold that accepts this share of pairs of strangers, so a higher rate is stricter.
    tries: largest number of attempts per face, at least 1; a face that fails all of them is obscured.
    obscure: how a face is obscured that cannot be replaced: solid fills it with one colour, blur blurs it, and pixelate
        pixelates it.
    seed: whole number that makes the choice of targets repeatable. Default: every run draws new targets.
    detector: how faces are found.
    """

    method: MethodName = "latent"
    units: str = ""
    region: Region | Literal[""] = ""
    preset: str = ""
    strength: float = 1.0
    privacy: str | float = "standard"
    tries: int = 4
    obscure: Obscuring = "solid"
    seed: int | None = None
    detector: DetectorOptions = field(default_factory=DetectorOptions)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise OptionError("method", f"'{self.method}' is unknown; choose one of {', '.join(METHODS)}.")
        if self.obscure not in OBSCURINGS:
            raise OptionError("obscure", f"'{self.obscure}' is unknown; choose one of {', '.join(OBSCURINGS)}.")
        if self.region and self.region not in REGIONS:
            raise OptionError("region", f"'{self.region}' is unknown; choose one of {', '.join(REGIONS)}.")
        if not 0 < self.strength <= 1:
            raise OptionError("strength", f"must be more than 0 and at most 1, not {self.strength}.")
        if self.tries < 1:
            raise OptionError("tries", f"must be at least 1, not {self.tries}.")


@dataclass(frozen=True)
class PeopleOptions:
    """Which new face each person gets, and whose face is kept.

    Raises OptionError if a value is unknown, or if targets and key_file do not fit together.

    targets: fresh gives each face another target; consistent gives each person the same new face in all photos and runs
        with the same key; k=N gives the same new face to groups of at least N people of this run.
    key_file: key for consistent targets, made with styleid key new FILE. The people who were met are stored beside it,
        encrypted.
    keep: folder with photos of people whose faces are kept, one subfolder or single photo per person. In case of doubt
        a face is anonymised.
    """

    targets: str = "fresh"
    key_file: Path | None = None
    keep: Path | None = None

    def __post_init__(self) -> None:
        if self.targets not in ("fresh", "consistent") and self.k is None:
            raise OptionError("targets", f"'{self.targets}' is unknown; choose fresh, consistent, or k=N such as k=5.")
        if self.k is not None and self.k < 2:
            raise OptionError("targets", f"k must be at least 2, not {self.k}.")
        if self.targets == "consistent" and self.key_file is None:
            raise OptionError(
                "key_file",
                "`targets=consistent` needs a key. To make one, type `styleid key new FILE`; then give "
                "`key_file=FILE`. Keep the key secret: with it, new faces can be traced back to people.",
            )
        if self.targets != "consistent" and self.key_file is not None:
            raise OptionError("key_file", f"`targets={self.targets}` uses no key; only `targets=consistent` does.")

    @property
    def k(self) -> int | None:
        """Least number of people who share a target, or None if targets is not k=N."""
        name, _, number = self.targets.partition("=")
        return int(number) if name == "k" and number.isascii() and number.isdigit() else None
