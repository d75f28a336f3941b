"""Bring what was seen, photo by photo, into arrays, face by face."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from styleid.evaluate.originals import Seen, Subject
from styleid.evaluate.outputs import FaceResult, Result, Status
from styleid.types import FloatArray

BoolArray = np.ndarray[Any, np.dtype[np.bool_]]
AGE_BANDS = ((3, "0-2"), (13, "3-12"), (20, "13-19"), (40, "20-39"), (60, "40-59"), (float("inf"), "60+"))
TONES = ((10.0, "brown or dark"), (28.0, "tan"), (41.0, "intermediate"), (float("inf"), "light"))
"""Bands of the individual typology angle, degrees (Chardon, Cretois and Hourseau 1991), the darkest two joined."""


@dataclass(frozen=True)
class FaceTable:
    """Hold the faces of all originals, in order. seen: every original, readable or not."""

    seen: Sequence[Seen]

    @cached_property
    def subjects(self) -> list[Subject]:
        """All faces."""
        return [subject for one in self.seen for subject in one.subjects]

    @cached_property
    def named(self) -> BoolArray:
        """Which faces the protocol names, (n,)."""
        return np.array([bool(subject.person) for subject in self.subjects], bool)

    @cached_property
    def labels(self) -> np.ndarray[Any, Any]:
        """Whose each face is, (n,); an unnamed face is somebody of its own."""
        return np.array([subject.label for subject in self.subjects], str)

    def embeddings(self, recogniser: str, view: str) -> FloatArray:
        """Return (n, d) embeddings of the faces `clear` or `filled`."""
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
    """Hold what became of all faces at one tool's hands. results: of every original; width: of embeddings, by name."""

    name: str
    results: Sequence[Result]
    strays: tuple[str, ...] = ()
    is_baseline: bool = False

    @cached_property
    def faces(self) -> list[FaceResult]:
        """Every face's result, in the order of the originals' table."""
        return [face for result in self.results for face in result.faces]

    @cached_property
    def statuses(self) -> np.ndarray[Any, Any]:
        """Each face's status, (n,)."""
        return np.array([face.status for face in self.faces], str)

    @cached_property
    def lost(self) -> BoolArray:
        """Which faces were published in a form that could not be measured, (n,): they count as found."""
        return np.array([face.status.lost for face in self.faces], bool)

    @cached_property
    def measured(self) -> BoolArray:
        """Which faces could be looked at, (n,)."""
        return self.statuses == Status.MEASURED

    def measure(self, name: str) -> FloatArray:
        """Return one measure of every face, (n,), NaN where there is none."""
        return np.array([face.measures.get(name, np.nan) for face in self.faces], np.float64)

    def embeddings(self, recogniser: str, alignment: str, width: int) -> FloatArray:
        """Return (n, width) embeddings, NaN where a face could not be looked at."""
        nothing = np.full(width, np.nan, np.float32)
        rows = [face.embeddings.get((recogniser, alignment), nothing) for face in self.faces]
        return np.stack(rows) if rows else np.zeros((0, width), np.float32)

    def files(self) -> dict[str, int]:
        """Count files by status; the counts of statuses add up to the originals."""
        found = Counter(str(result.status) for result in self.results)
        counts = {str(status): found[str(status)] for status in Status}
        return counts | {"resized": sum(r.resized for r in self.results), "strays": len(self.strays)}


def _band(bands: Sequence[tuple[float, str]], value: float) -> str:
    if not np.isfinite(value):
        return "unknown"
    return next(name for upto, name in bands if value < upto)
