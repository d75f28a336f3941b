"""What a person decided about the faces of a photo, and which face each decision is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float

from styleid.core.boxes import boxes_inside
from styleid.errors import DecisionError
from styleid.faces.track import overlap
from styleid.pixel.obscure import OBSCURINGS, Obscuring
from styleid.types import Action, Faces

Treatment = Literal["replace", "keep", "solid", "blur", "pixelate", "remove"]
"""What is done with a face; remove: it is none, and what is there stays as it is."""
TREATMENTS: tuple[Treatment, ...] = get_args(Treatment)
SAME_FACE = 0.5
"""Intersection over union from which a decision's box is that of a found face."""


@dataclass(frozen=True)
class FaceDecision:
    """One decision.

    box_xyxy: where the face is, pixels of the upright photo. do: what is done with it. target: which other new face it
    gets, 0 for the first. person: whose face it is, "" where that is not said. by, at: who decided and when (ISO 8601).
    """

    box_xyxy: tuple[float, float, float, float]
    do: Treatment = "replace"
    target: int = 0
    person: str = ""
    by: str = ""
    at: str = ""

    @property
    def hides(self) -> Obscuring | None:
        """How the face is hidden, None where it is not."""
        return next((how for how in OBSCURINGS if how == self.do), None)

    def told(self) -> dict[str, Any]:
        """Return what the journal says of the decision."""
        said = {"target": self.target, "person": self.person, "by": self.by, "at": self.at}
        return {"do": self.do} | {name: value for name, value in said.items() if value}


@dataclass(frozen=True)
class PhotoDecisions:
    """All decisions about one photo. faces: about what the detector finds. added: boxes of faces that it misses."""

    faces: tuple[FaceDecision, ...] = ()
    added: tuple[FaceDecision, ...] = ()

    def __post_init__(self) -> None:
        for one in self.added:
            if one.hides is None:
                raise DecisionError(f"An added box can only be hidden ({', '.join(OBSCURINGS)}), not '{one.do}'.")


@dataclass(frozen=True)
class SettledFaces:
    """Hold the faces of a photo, found and added, and what was decided about each, None where nothing was.

    added: how many of them, at the end, were added.
    """

    faces: Faces
    decisions: tuple[FaceDecision | None, ...]
    added: int = 0

    @property
    def decided(self) -> Bool[np.ndarray, " n"]:
        """Which faces somebody has decided about, bool (n,)."""
        return np.array([one is not None for one in self.decisions], bool)

    @property
    def replaced(self) -> Bool[np.ndarray, " n"]:
        """Which faces somebody wants replaced, bool (n,)."""
        return np.array([one is not None and one.do == "replace" for one in self.decisions], bool)

    @property
    def measured(self) -> Bool[np.ndarray, " n"]:
        """Which faces are to be hidden and have landmarks, so that it can be checked whether they are; bool (n,)."""
        aligned = np.asarray(np.isfinite(self.faces.landmarks_px).all((1, 2)))
        return aligned & np.array([index in self.hidden for index in range(len(self.decisions))], bool)

    @cached_property
    def hidden(self) -> dict[int, Obscuring]:
        """How faces are hidden, by their place, where somebody decided that."""
        found: dict[int, Obscuring] = {}
        for index, one in enumerate(self.decisions):
            if one is not None and (how := one.hides) is not None:
                found[index] = how
        return found

    @property
    def untouched(self) -> dict[int, Action]:
        """Which faces stay as they are, by their place."""
        actions = {"keep": Action.KEPT, "remove": Action.DISMISSED}
        return {i: actions[one.do] for i, one in enumerate(self.decisions) if one is not None and one.do in actions}

    def other(self, index: int) -> int:
        """Return which other new face a face gets, 0 for the first."""
        one = self.decisions[index]
        return 0 if one is None else one.target

    def told(self, index: int) -> dict[str, Any]:
        """Return what the journal says of the decision about a face, nothing where there is none."""
        one = self.decisions[index]
        added = {"added": True} if index >= len(self.decisions) - self.added else {}
        return {} if one is None else one.told() | added


def settle(found: Faces, shape: tuple[int, ...], decisions: PhotoDecisions | None) -> SettledFaces:
    """Give the faces that were found in a photo of a shape their decisions, and add those that a person has drawn.

    The pair of a decision and a face that overlap most is settled first. Added boxes stay as they were drawn, whatever
    they overlap. Found faces keep their places, so that what is decided about one changes no other's new face.
    Raises DecisionError where a decision matches no face, or an added box holds nothing of the photo.
    """
    if decisions is None:
        return SettledFaces(found, (None,) * len(found))
    settled = _matched(found, decisions.faces)
    if not decisions.added:
        return SettledFaces(found, tuple(settled))
    try:
        boxes = boxes_inside(_boxes(decisions.added), shape)
    except ValueError as error:
        raise DecisionError(str(error)) from error
    count = len(boxes)
    drawn = Faces(boxes, np.zeros(count, np.float32), np.full((count, 5, 2), np.nan, np.float32))
    return SettledFaces(Faces.concatenate([found, drawn]), (*settled, *decisions.added), count)


def _matched(found: Faces, decisions: Sequence[FaceDecision]) -> list[FaceDecision | None]:
    settled: list[FaceDecision | None] = [None] * len(found)
    shares = overlap(_boxes(decisions), found.boxes_xyxy)
    pending = set(range(len(decisions)))
    while shares.size and shares.max() >= SAME_FACE:
        which, face = (int(at) for at in np.unravel_index(shares.argmax(), shares.shape))
        settled[face] = decisions[which]
        pending.discard(which)
        shares[which], shares[:, face] = -1, -1
    for which in sorted(pending):
        raise DecisionError(_unmatched(decisions[which], len(found)))
    return settled


def _unmatched(decision: FaceDecision, found: int) -> str:
    box = [round(value, 1) for value in decision.box_xyxy]
    return (
        f"a decision ('{decision.do}' for the box {box}) is about a face that is not found, or that another decision "
        f"is about: none of the {found} faces found shares half of the box. Correct the box, move it to 'add', or "
        "take the decision out"
    )


def _boxes(decisions: Sequence[FaceDecision]) -> Float[np.ndarray, "n 4"]:
    return np.array([one.box_xyxy for one in decisions], np.float32).reshape(-1, 4)
