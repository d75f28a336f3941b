"""Settings of a request, with the names of the command line's options."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from styleid.core.options import AnonymizeOptions, MethodName
from styleid.engine.options import RunOptions
from styleid.faces.detect import DetectorName, DetectorOptions
from styleid.media.provenance import MarkOptions, MarkScope
from styleid.media.storage.remote import Place
from styleid.pixel.obscure import Obscuring
from styleid.serve.problems import ProblemError
from styleid.types import Region

MOST_SEED = 2**53 - 1
_MOST_TRIES = 32
_LEAST_SCORE = 0.05
"""Lowest detection threshold; with scores near 0 every part of a photo would count as a face."""


class Settings(BaseModel):
    """How faces are anonymised; each field is the option of that name on the command line."""

    model_config = ConfigDict(extra="forbid")

    method: MethodName = Field("latent", description="latent, pixel or swapper give new faces, none obscures them all")
    units: str = Field("", description="what latent swaps; empty takes the bundle's own choice")
    region: Region | Literal[""] = Field("", description="what pixel replaces")
    preset: str = Field("", description="settings that the bundle knows by name")
    strength: float = Field(1.0, description="share of the target in what is swapped", gt=0, le=1)
    privacy: str | float = Field("standard", description="low, standard, high, max, or a false-match rate")
    tries: int = Field(4, description="targets that are tried before a face is obscured", ge=1, le=_MOST_TRIES)
    obscure: Obscuring = Field("solid", description="how a face is hidden that cannot be replaced safely")
    seed: int | None = Field(None, description="makes new faces repeatable", ge=0, le=MOST_SEED)
    threshold: float = Field(0.35, description="score from which a detection counts", ge=_LEAST_SCORE, lt=1)
    min_face_px: float = Field(16.0, description="shortest side of a face that must be found", ge=8)
    detector: DetectorName = Field("fast", description="how hard to look: fast, standard or thorough")
    metadata: Literal["strip", "safe"] = Field("strip", description="what may stay beside the pixels")
    require_faces: bool = Field(False, description="refuse a photo without any face")
    mark: Literal["none", "iptc"] = Field("iptc", description="how files say that they hold generated faces")
    mark_scope: MarkScope = Field("generated", description="which files are marked")

    @classmethod
    def read(cls, values: object) -> Settings:
        """Read a client's settings.

        Args:
            values: Values by name.

        Raises:
            ProblemError: A name is unknown or a value is invalid (422).
            OptionError: Values do not fit together.
        """
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            problems = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()[:5]]
            raise ProblemError(422, "; ".join(problems)) from error
        settings.anonymize_options()  # raises OptionError if values do not fit together
        return settings

    def anonymize_options(self) -> AnonymizeOptions:
        """Return the options of the anonymiser; raises OptionError if they are invalid."""
        return AnonymizeOptions(
            method=self.method,
            units=self.units,
            region=self.region,
            preset=self.preset,
            strength=self.strength,
            privacy=self.privacy,
            tries=self.tries,
            obscure=self.obscure,
            seed=self.seed,
            detector=DetectorOptions(self.threshold, self.min_face_px, self.detector),
        )

    def marking(self) -> MarkOptions:
        """Return the options for marks."""
        return MarkOptions(self.mark, self.mark_scope)

    def run_options(self, out: Place, most_pixels: int, *, resume: bool = False) -> RunOptions:
        """Return the options of a run; photos with more pixels are withheld."""
        return RunOptions(
            out,
            metadata=self.metadata,
            resume=resume,
            require_faces=self.require_faces,
            marking=self.marking(),
            max_pixels=most_pixels,
        )
