"""Arrays with one entry per face, from the results per photo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from styleid.evaluate.originals import OriginalResult, Subject
from styleid.evaluate.outputs import FaceResult, Result, Status
from styleid.types import FloatArray

BoolArray = np.ndarray[Any, np.dtype[np.bool_]]
AGE_BANDS = ((3, "0-2"), (13, "3-12"), (20, "13-19"), (40, "20-39"), (60, "40-59"), (float("inf"), "60+"))
TONES = ((10.0, "brown or dark"), (28.0, "tan"), (41.0, "intermediate"), (float("inf"), "light"))
"""Bands of the individual typology angle, degrees (Chardon, Cretois and Hourseau 1991), the darkest two joined."""


@dataclass(frozen=True)
class FaceTable:
    """The faces of all originals, in order. seen: every original, readable or not."""

    seen: Sequence[OriginalResult]

    @cached_property
    def subjects(self) -> list[Subject]:
        """All faces."""
        return [subject for one in self.seen for subject in one.subjects]

    @cached_property
    def named(self) -> BoolArray:
        """Whether the protocol names the person of each face, (n,)."""
        return np.array([bool(subject.person) for subject in self.subjects], bool)

    @cached_property
    def labels(self) -> np.ndarray[Any, Any]:
        """The person of each face, (n,). Each unnamed face counts as a person of its own."""
        return np.array([subject.label for subject in self.subjects], str)

    def embeddings(self, recogniser: str, view: str) -> FloatArray:
        """Return the embeddings of the faces, (n, d). view: "clear" or "filled"."""
        return np.stack([subject.embeddings[recogniser, view] for subject in self.subjects])

    @cached_property
    def groups(self) -> dict[str, np.ndarray[Any, Any]]:
        """Each face's age band and sex (the bundle's attribute network) and skin tone (typology angle), (n,) names."""
        looks = [subject.look for subject in self.subjects]
        return {
            "age": np.array([_band(AGE_BANDS, look.attributes[0]) for look in looks], str),
            "sex": np.array(["female" if look.attributes[1] > 0.5 else "male" for look in looks], str),
            "skin tone": np.array([_band(TONES, look.tone) for look in looks], str),
        }


@dataclass(frozen=True)
class ToolTable:
    """The results for all faces of one tool.

    results: one for each original. strays: names of outputs without an original. is_baseline: whether the tool is a
    baseline.
    """

    name: str
    results: Sequence[Result]
    strays: tuple[str, ...] = ()
    is_baseline: bool = False

    @cached_property
    def faces(self) -> list[FaceResult]:
        """The result of each face, in the order of the table of originals."""
        return [face for result in self.results for face in result.faces]

    @cached_property
    def statuses(self) -> np.ndarray[Any, Any]:
        """The status of each face, (n,)."""
        return np.array([face.status for face in self.faces], str)

    @cached_property
    def lost(self) -> BoolArray:
        """Whether each face was published but could not be measured, (n,). Such faces count as found."""
        return np.array([face.status.lost for face in self.faces], bool)

    @cached_property
    def measured(self) -> BoolArray:
        """Whether each face could be measured, (n,)."""
        return self.statuses == Status.MEASURED

    def measure(self, name: str) -> FloatArray:
        """Return one measure of each face, (n,), NaN if it was not measured."""
        return np.array([face.measures.get(name, np.nan) for face in self.faces], np.float64)

    def embeddings(self, recogniser: str, alignment: str, width: int) -> FloatArray:
        """Return embeddings, (n, width), NaN for faces that could not be measured."""
        nothing = np.full(width, np.nan, np.float32)
        rows = [face.embeddings.get((recogniser, alignment), nothing) for face in self.faces]
        return np.stack(rows) if rows else np.zeros((0, width), np.float32)

    def files(self) -> dict[str, int]:
        """Return the number of files by status, which add up to the originals, and of resized files and strays."""
        found = Counter(str(result.status) for result in self.results)
        counts = {str(status): found[str(status)] for status in Status}
        return counts | {"resized": sum(r.resized for r in self.results), "strays": len(self.strays)}


def _band(bands: Sequence[tuple[float, str]], value: float) -> str:
    if not np.isfinite(value):
        return "unknown"
    return next(name for upto, name in bands if value < upto)
