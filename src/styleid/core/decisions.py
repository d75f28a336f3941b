"""Decisions of a person about the faces of a photo, and how they are matched to the faces that were found."""

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
"""How a face is treated. remove: the detection is not a face, and its pixels stay as they are."""
TREATMENTS: tuple[Treatment, ...] = get_args(Treatment)
SAME_FACE = 0.5
"""Least intersection over union of a decision's box and the face that it is about."""


@dataclass(frozen=True)
class FaceDecision:
    """A decision about one face.

    box_xyxy: the face's box, pixels of the upright photo.
    do: how the face is treated.
    target: number of an alternative new face; 0 for the first.
    person: name of the person, empty if unknown.
    by: who decided.
    at: when, in ISO 8601.
    """

    box_xyxy: tuple[float, float, float, float]
    do: Treatment = "replace"
    target: int = 0
    person: str = ""
    by: str = ""
    at: str = ""

    @property
    def hides(self) -> Obscuring | None:
        """How the face is obscured, or None if it is not."""
        return next((how for how in OBSCURINGS if how == self.do), None)

    def to_json(self) -> dict[str, Any]:
        """Return the decision's entry in the journal, without its box and without empty values."""
        record = {"target": self.target, "person": self.person, "by": self.by, "at": self.at}
        return {"do": self.do} | {name: value for name, value in record.items() if value}


@dataclass(frozen=True)
class PhotoDecisions:
    """All decisions about one photo.

    Raises DecisionError if an added box is not obscured.

    faces: decisions about faces that the detector finds.
    added: decisions to obscure further boxes, for faces that it misses.
    """

    faces: tuple[FaceDecision, ...] = ()
    added: tuple[FaceDecision, ...] = ()

    def __post_init__(self) -> None:
        for one in self.added:
            if one.hides is None:
                raise DecisionError(f"An added box can only be obscured ({', '.join(OBSCURINGS)}), not '{one.do}'.")


@dataclass(frozen=True)
class FacesWithDecisions:
    """The faces of a photo with the decision about each.

    faces: the n faces: those that were found, then those that were added.
    decisions: the decision about each face; None without a decision.
    added: number of added faces.
    """

    faces: Faces
    decisions: tuple[FaceDecision | None, ...]
    added: int = 0

    @property
    def decided(self) -> Bool[np.ndarray, " n"]:
        """Which faces have a decision, bool (n,)."""
        return np.array([one is not None for one in self.decisions], bool)

    @property
    def replaced(self) -> Bool[np.ndarray, " n"]:
        """Which faces a person decided to replace, bool (n,)."""
        return np.array([one is not None and one.do == "replace" for one in self.decisions], bool)

    @property
    def measured(self) -> Bool[np.ndarray, " n"]:
        """Which faces are to be obscured and have landmarks, bool (n,).

        These are measured, so that it can be checked whether blur or pixelation suffices.
        """
        aligned = np.asarray(np.isfinite(self.faces.landmarks_px).all((1, 2)))
        return aligned & np.array([index in self.hidden for index in range(len(self.decisions))], bool)

    @cached_property
    def hidden(self) -> dict[int, Obscuring]:
        """How faces are obscured by a person's decision, by their position."""
        found: dict[int, Obscuring] = {}
        for index, one in enumerate(self.decisions):
            if one is not None and (how := one.hides) is not None:
                found[index] = how
        return found

    @property
    def untouched(self) -> dict[int, Action]:
        """The action of each face that a person decided to leave as it is, by its position."""
        actions = {"keep": Action.KEPT, "remove": Action.DISMISSED}
        return {i: actions[one.do] for i, one in enumerate(self.decisions) if one is not None and one.do in actions}

    def other(self, index: int) -> int:
        """Return the number of the alternative new face that a face gets, 0 for the first."""
        one = self.decisions[index]
        return 0 if one is None else one.target

    def record_of(self, index: int) -> dict[str, Any]:
        """Return the journal's entry for the decision about a face; empty without a decision."""
        one = self.decisions[index]
        added = {"added": True} if index >= len(self.decisions) - self.added else {}
        return {} if one is None else one.to_json() | added


def match_decisions(found: Faces, shape: tuple[int, ...], decisions: PhotoDecisions | None) -> FacesWithDecisions:
    """Match decisions to the faces that were found, and append the boxes that a person added.

    Decisions and faces are matched in descending order of intersection over union. Added boxes are appended whatever
    they overlap. Found faces keep their positions, so that a decision about one face changes no other's new face.

    Args:
        found: The faces that the detector found.
        shape: Shape of the photo, beginning with height and width.
        decisions: The decisions about the photo; None if there are none.

    Returns:
        The found and added faces with the decision about each.

    Raises:
        DecisionError: If a decision matches no face, or an added box is not finite or covers less than a pixel of the
            photo.
    """
    if decisions is None:
        return FacesWithDecisions(found, (None,) * len(found))
    matched = _matched(found, decisions.faces)
    if not decisions.added:
        return FacesWithDecisions(found, tuple(matched))
    try:
        boxes = boxes_inside(_boxes(decisions.added), shape)
    except ValueError as error:
        raise DecisionError(str(error)) from error
    count = len(boxes)
    drawn = Faces(boxes, np.zeros(count, np.float32), np.full((count, 5, 2), np.nan, np.float32))
    return FacesWithDecisions(Faces.concatenate([found, drawn]), (*matched, *decisions.added), count)


def _matched(found: Faces, decisions: Sequence[FaceDecision]) -> list[FaceDecision | None]:
    matched: list[FaceDecision | None] = [None] * len(found)
    shares = overlap(_boxes(decisions), found.boxes_xyxy)
    pending = set(range(len(decisions)))
    while shares.size and shares.max() >= SAME_FACE:
        which, face = (int(at) for at in np.unravel_index(shares.argmax(), shares.shape))
        matched[face] = decisions[which]
        pending.discard(which)
        shares[which], shares[:, face] = -1, -1
    for which in sorted(pending):
        raise DecisionError(_unmatched(decisions[which], len(found)))
    return matched


def _unmatched(decision: FaceDecision, found: int) -> str:
    box = [round(value, 1) for value in decision.box_xyxy]
    faces = f"{found} face was" if found == 1 else f"{found} faces were"
    return (
        f"a decision ('{decision.do}' for the box {box}) matches no face: {faces} found, and none without another "
        f"decision has an intersection over union of at least {SAME_FACE} with the box. Correct the box, move it to "
        "'add', or remove the decision"
    )


def _boxes(decisions: Sequence[FaceDecision]) -> Float[np.ndarray, "n 4"]:
    return np.array([one.box_xyxy for one in decisions], np.float32).reshape(-1, 4)
