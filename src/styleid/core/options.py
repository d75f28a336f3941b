"""Options of the library and of its commands: frozen dataclasses, whose docstrings are the help."""

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
    """Choose how faces are anonymised.

    method: latent swaps identity in the generator's latent space; pixel draws a face from the labels of its parts and
        swapper lets a network weigh source and target, in bundles that have the networks for it; none obscures every
        face.
    units: what latent swaps, such as levels:shape,texture or layers:3-57, or the best of a ranking that the bundle
        has, such as channels:3000, groups:12, layers:best-9 or windows:3 (the best run of three layers), by the
        difference score or by another, such as channels:3000@ratio; empty takes the bundle's own choice.
    region: what pixel replaces, full or inner (the features without the skin); empty takes the bundle's own choice.
    preset: settings of others that the bundle knows by name, such as paper; empty takes the bundle's own.
    strength: share of the target in what is swapped, 0 to 1.
    privacy: low, standard, high, max, or a false-match rate: the anonymised face may not match its original at the
        threshold that accepts this share of strangers.
    tries: targets that are tried before a face is obscured.
    obscure: how a face is hidden that cannot be replaced safely: solid, blur or pixelate.
    seed: makes targets repeatable; without it every run draws new ones.
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
            raise OptionError("strength", f"{self.strength} does not lie in (0, 1].")
        if self.tries < 1:
            raise OptionError("tries", f"{self.tries} leaves no try at all.")


@dataclass(frozen=True)
class PeopleOptions:
    """Choose who gets which face, and who is left alone.

    targets: fresh gives each face a target of its own; consistent gives the same person the same new face in every
        photo of every run under one key; k=N puts the people of a run into groups of at least N who share one.
    key_file: the key of `targets=consistent`, made with `styleid key new FILE`; whom it has met is kept beside it,
        encrypted.
    keep: folder with photos of people to leave alone, one person for each subfolder or single photo; whoever does not
        surely look like one of them is anonymised.
    """

    targets: str = "fresh"
    key_file: Path | None = None
    keep: Path | None = None

    def __post_init__(self) -> None:
        if self.targets not in ("fresh", "consistent") and self.k is None:
            raise OptionError("targets", f"'{self.targets}' is unknown; choose fresh, consistent, or k=N such as k=5.")
        if self.k is not None and self.k < 2:
            raise OptionError("targets", f"{self.targets} hides nobody among others; take k=2 or more.")
        if self.targets == "consistent" and self.key_file is None:
            raise OptionError(
                "key_file",
                "`targets=consistent` needs a key, and whoever has it can tell who is who. To make one, type "
                "`styleid key new FILE`; then name it with `key_file=FILE`.",
            )
        if self.targets != "consistent" and self.key_file is not None:
            raise OptionError("key_file", f"`targets={self.targets}` uses no key; it belongs to `targets=consistent`.")

    @property
    def k(self) -> int | None:
        """How many people share a target at least, None where `targets` asks for something else."""
        name, _, number = self.targets.partition("=")
        return int(number) if name == "k" and number.isascii() and number.isdigit() else None
