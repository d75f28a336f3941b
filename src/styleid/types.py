"""The values that flow through styleid: `Faces`, `FaceOutcome`, `Outcome`.

Convention
----------
Images are ``uint8`` arrays of shape (height, width, 3), RGB. Points are (x, y) in pixels of the image that they
belong to, with **pixel centres at integers** (OpenCV's convention): the top-left pixel covers [-0.5, 0.5) x
[-0.5, 0.5).
Boxes are (x0, y0, x1, y1) in the same frame. Five-point landmarks stand in the order left eye, right eye, nose tip,
left mouth corner, right mouth corner, where left means the *image's* left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol, get_args

import numpy as np
from jaxtyping import Bool, Float, UInt8

FloatArray = Float[np.ndarray, "..."]
"""Floating-point numbers of any shape, which the signature or the docstring states."""
ImageRGB = UInt8[np.ndarray, "_ _ 3"]
"""One image: uint8 (height, width, 3), RGB, upright."""
ImagesRGB = UInt8[np.ndarray, "_ _ _ 3"]
"""Several images of one size: uint8 (n, height, width, 3)."""
WPlusArray = Float[np.ndarray, "n size"]
"""Codes of n faces in W+, one flat vector each."""
MaskArray = Bool[np.ndarray, "_ _"]
"""One bool per pixel: (height, width)."""
Region = Literal["full", "inner"]
"""What the method `pixel` replaces: the whole face, or its features without the skin around them."""
REGIONS: tuple[Region, ...] = get_args(Region)
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Brightness of RGB (ITU-R BT.601), as a product."""


@dataclass(frozen=True)
class Faces:
    """Hold the faces found in one image.

    boxes_xyxy: (n, 4) float32. scores: (n,) float32 in [0, 1]. landmarks_px: (n, 5, 2) float32, NaN where a face came
    as a box without landmarks.
    """

    boxes_xyxy: Float[np.ndarray, "n 4"]
    scores: Float[np.ndarray, " n"]
    landmarks_px: Float[np.ndarray, "n 5 2"]

    def __post_init__(self) -> None:
        n = len(self.boxes_xyxy)
        expected = {"boxes_xyxy": (n, 4), "scores": (n,), "landmarks_px": (n, 5, 2)}
        for name, shape in expected.items():
            array = np.asarray(getattr(self, name), np.float32)
            if array.shape != shape:
                raise ValueError(f"Faces.{name} must have shape {shape}, not {array.shape}.")
            object.__setattr__(self, name, array)

    @classmethod
    def empty(cls) -> Faces:
        """Return a container with no face."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))

    @classmethod
    def concatenate(cls, parts: Sequence[Faces]) -> Faces:
        """Join several containers of the same image, in order."""
        if not parts:
            return cls.empty()
        return cls(
            np.concatenate([p.boxes_xyxy for p in parts]),
            np.concatenate([p.scores for p in parts]),
            np.concatenate([p.landmarks_px for p in parts]),
        )

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: Any) -> Faces:
        """Select faces by a slice, an index array or a boolean mask."""
        if isinstance(index, int | np.integer):
            index = [index]
        return Faces(self.boxes_xyxy[index], self.scores[index], self.landmarks_px[index])

    def __iter__(self) -> Iterator[Faces]:
        return (self[i] for i in range(len(self)))

    @property
    def min_sides_px(self) -> Float[np.ndarray, " n"]:
        """The shorter side of each box, (n,) pixels."""
        return np.minimum(self.boxes_xyxy[:, 2] - self.boxes_xyxy[:, 0], self.boxes_xyxy[:, 3] - self.boxes_xyxy[:, 1])

    def moved(self, scale: float, offset_xy: tuple[float, float]) -> Faces:
        """Return the faces in another frame: each point becomes ``(point + 0.5) * scale - 0.5 + offset``."""
        offset = np.asarray(offset_xy, np.float32)
        boxes = (self.boxes_xyxy.reshape(-1, 2, 2) + 0.5) * scale - 0.5 + offset
        landmarks = (self.landmarks_px + 0.5) * scale - 0.5 + offset
        return Faces(boxes.reshape(-1, 4), self.scores, landmarks)


@dataclass(frozen=True)
class SearchHints:
    """Say where faces must be sought more closely in one image.

    regions_xyxy: (n, 4) parts of the image to look at enlarged. heads_xyxy: (m, 4) boxes that each hold a head: one in
    which no face is seen is hidden whole.
    """

    regions_xyxy: Float[np.ndarray, "n 4"]
    heads_xyxy: Float[np.ndarray, "m 4"]

    def unseen(self, found: Faces) -> Float[np.ndarray, "k 4"]:
        """Return the heads that no found face accounts for, (k, 4); each face accounts for one head, the nearest."""
        heads, boxes = self.heads_xyxy, found.boxes_xyxy
        if not len(heads) or not len(boxes):
            return heads
        low, high = (pick(heads[:, None, e], boxes[None, :, e]) for pick, e in _CORNERS)
        shared = np.clip(high - low, 0, None).prod(-1)
        areas = [(corners[:, 2:] - corners[:, :2]).prod(-1) for corners in (heads, boxes)]
        overlap = shared / np.maximum(areas[0][:, None] + areas[1] - shared, 1e-6)
        overlap[(shared < 0.5 * areas[1]) | (areas[1] < 0.1 * areas[0][:, None])] = 0
        seen = np.zeros(len(heads), bool)
        while overlap.max() > 0:
            head, face = np.unravel_index(overlap.argmax(), overlap.shape)
            seen[head], overlap[head], overlap[:, face] = True, 0, 0
        return heads[~seen]


_CORNERS = ((np.maximum, slice(0, 2)), (np.minimum, slice(2, 4)))


@dataclass(frozen=True)
class PhotoHints:
    """What is known of one photo before it is looked at.

    boxes_xyxy: (n, 4) further faces. search: where to look closer. notes: for the user. facts: for the journal's line.
    """

    boxes_xyxy: Float[np.ndarray, "n 4"] | None = None
    search: SearchHints | None = None
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


class HintSource(Protocol):
    """Whoever knows something of a photo, such as the annotations of a data set."""

    def hints(self, width: int, height: int, orientation: int) -> PhotoHints:
        """Return the hints for the upright photo of this size; raises ValueError where it may not be written at all."""
        ...

    def digest(self) -> str:
        """Return what changes whenever the hints would: an output made with another digest is made again."""
        ...


class Action(StrEnum):
    """Say what became of a face."""

    ANONYMIZED = "anonymised"
    OBSCURED = "obscured"
    KEPT = "kept"
    DISMISSED = "dismissed"
    """A person said that what was found is no face."""

    @property
    def untouched(self) -> bool:
        """Whether the face, or what was taken for one, stays as it is."""
        return self in (Action.KEPT, Action.DISMISSED)


@dataclass(frozen=True)
class FaceOutcome:
    """Tell what became of one face.

    box_xyxy: pixels of the upright image. gate: the figures of the last attempt (identity distance and its threshold,
    landmark error as a fraction of the inter-ocular distance, ...), empty where no gate ran. reason: why a face was
    obscured although a method was asked for, else "". group: number of the group of people that share the face's
    target, and how many they are. score: the detector's, 0 for a box that was given. decision: what a person decided
    about the face, as JSON values; empty where nobody did.
    """

    box_xyxy: tuple[float, float, float, float]
    action: Action
    method: str
    tries: int
    gate: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    group: tuple[int, int] | None = None
    score: float | None = None
    decision: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the journal's form: numbers rounded to two decimals, never an embedding."""
        record: dict[str, Any] = {
            "box": [round(float(v), 1) for v in self.box_xyxy],
            "action": str(self.action),
            "method": self.method,
            "tries": self.tries,
            "gate": {name: round(float(value), 2) for name, value in self.gate.items()},
        }
        if self.reason:
            record["reason"] = self.reason
        if self.group is not None:
            record["group"] = {"number": self.group[0], "people": self.group[1]}
        if self.score is not None:
            record["score"] = round(float(self.score), 2)
        if self.decision:
            record["decision"] = dict(self.decision)
        return record


@dataclass(frozen=True)
class Outcome:
    """Hold an anonymised image and what became of each of its faces.

    image_rgb: uint8 (height, width, 3), equal to the input outside the composited regions. region_mask: bool
    (height, width), true where a pixel may differ from the input.
    """

    image_rgb: ImageRGB
    faces: tuple[FaceOutcome, ...]
    region_mask: MaskArray

    def count(self, action: Action) -> int:
        """Count the faces that ended so."""
        return sum(face.action is action for face in self.faces)
