"""The data types that all packages share: `Faces`, `FaceOutcome`, `Outcome`.

Convention
----------
Images are ``uint8`` arrays of shape (height, width, 3), RGB. Points are (x, y) in pixels of their image, with **pixel
centres at integers** (OpenCV's convention): the top-left pixel covers [-0.5, 0.5) x [-0.5, 0.5). Boxes are
(x0, y0, x1, y1) in the same frame. The order of five-point landmarks is left eye, right eye, nose tip, left mouth
corner, right mouth corner, where left means the *image's* left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol, get_args

import numpy as np
from jaxtyping import Bool, Float, UInt8

FloatArray = Float[np.ndarray, "..."]
"""Floating-point array of any shape; the docstring of the function states the shape."""
ImageRGB = UInt8[np.ndarray, "_ _ 3"]
"""One image: uint8 (height, width, 3), RGB, upright."""
ImagesRGB = UInt8[np.ndarray, "_ _ _ 3"]
"""Several images of the same size: uint8 (n, height, width, 3)."""
WPlusArray = Float[np.ndarray, "n size"]
"""Latent codes of n faces in W+, one flat vector each."""
MaskArray = Bool[np.ndarray, "_ _"]
"""Boolean mask, one value per pixel: (height, width)."""
Region = Literal["full", "inner"]
"""Region that the method `pixel` replaces: the whole face, or its features without the skin around them."""
REGIONS: tuple[Region, ...] = get_args(Region)
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of R, G and B in the brightness (ITU-R BT.601)."""


@dataclass(frozen=True)
class Faces:
    """The faces found in one image.

    The arrays are converted to float32; ValueError is raised if a shape is wrong.

    boxes_xyxy: bounding boxes, (n, 4), pixels.
    scores: the detector's scores, (n,), 0 to 1.
    landmarks_px: five landmarks of each face, (n, 5, 2), pixels; NaN for a face that was given as a box only.
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
        """Return a container without faces."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))

    @classmethod
    def concatenate(cls, parts: Sequence[Faces]) -> Faces:
        """Join several containers of the same image, keeping their order."""
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
        """The shorter side of each box, (n,), pixels."""
        return np.minimum(self.boxes_xyxy[:, 2] - self.boxes_xyxy[:, 0], self.boxes_xyxy[:, 3] - self.boxes_xyxy[:, 1])

    def moved(self, scale: float, offset_xy: tuple[float, float]) -> Faces:
        """Return the faces in another frame: each point becomes ``(point + 0.5) * scale - 0.5 + offset``.

        Args:
            scale: Pixels of the other frame per pixel of this one.
            offset_xy: Position of this frame's top-left pixel in the other frame, pixels.
        """
        offset = np.asarray(offset_xy, np.float32)
        boxes = (self.boxes_xyxy.reshape(-1, 2, 2) + 0.5) * scale - 0.5 + offset
        landmarks = (self.landmarks_px + 0.5) * scale - 0.5 + offset
        return Faces(boxes.reshape(-1, 4), self.scores, landmarks)


@dataclass(frozen=True)
class SearchHints:
    """Places in one image where faces are expected.

    regions_xyxy: parts of the image that are also searched enlarged, (n, 4), pixels.
    heads_xyxy: boxes that contain one head each, (m, 4), pixels. A head in which no face is found is obscured whole.
    """

    regions_xyxy: Float[np.ndarray, "n 4"]
    heads_xyxy: Float[np.ndarray, "m 4"]

    def unseen(self, found: Faces) -> Float[np.ndarray, "k 4"]:
        """Return the head boxes in which no face was found, (k, 4).

        Each face is matched to at most one head, in descending order of intersection over union. A face can match a
        head if at least half of the face's box lies inside it and the box is at least a tenth as large.
        """
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
    """Prior knowledge about one photo, for example from a data set's annotations.

    boxes_xyxy: further faces, (n, 4), pixels; None if there are none.
    search: where to search more closely; None to search as usual.
    notes: messages for the user.
    facts: entries for the photo's journal line.
    """

    boxes_xyxy: Float[np.ndarray, "n 4"] | None = None
    search: SearchHints | None = None
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


class HintSource(Protocol):
    """A source of hints about one photo, such as the annotations of a data set."""

    @property
    def needed(self) -> bool:
        """Whether an output that was made without the hints must be made again."""
        ...

    def hints(self, width: int, height: int, orientation: int) -> PhotoHints:
        """Return the hints for the photo.

        Args:
            width: Width of the upright photo, pixels.
            height: Height of the upright photo, pixels.
            orientation: EXIF orientation of the file, 1 to 8.

        Returns:
            The hints, in pixels of the upright photo.

        Raises:
            ValueError: If the photo must not be written.
        """
        ...

    def digest(self) -> str:
        """Return a text that changes whenever the hints change, so that outputs made with other hints are redone."""
        ...


class Action(StrEnum):
    """How a face was treated."""

    ANONYMIZED = "anonymised"
    OBSCURED = "obscured"
    KEPT = "kept"
    DISMISSED = "dismissed"
    """A person decided that the detection is not a face."""

    @property
    def untouched(self) -> bool:
        """Whether the pixels stay as they were."""
        return self in (Action.KEPT, Action.DISMISSED)


@dataclass(frozen=True)
class FaceOutcome:
    """How one face was treated, and the measurements behind it.

    box_xyxy: bounding box in pixels of the upright image.
    action: anonymised, obscured, kept or dismissed.
    method: name of the method, or of the kind of obscuring; empty for a face that stays as it was.
    tries: number of attempts.
    gate: measurements of the attempt that counted, such as similarity, distance, threshold and landmark_error (in
        inter-ocular distances); empty if the gate did not run.
    reason: why the face was obscured although a new face was requested, else empty.
    group: number of the group of people that shares the face's target, and the number of people in it; None without
        groups.
    score: the detector's score, 0 to 1; 0 for a box that was given.
    decision: what a person decided about the face, as JSON values; empty without a decision.
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
        """Return the face's entry in the journal. It contains no embedding; boxes have one decimal, figures two."""
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
    """An anonymised image and how each of its faces was treated.

    image_rgb: the image, uint8 (height, width, 3); equal to the input outside region_mask.
    faces: one entry per face: first the detected faces in the detector's order, then the boxes that were added.
    region_mask: bool (height, width), true where a pixel may differ from the input.
    """

    image_rgb: ImageRGB = field(repr=False)
    faces: tuple[FaceOutcome, ...]
    region_mask: MaskArray = field(repr=False)

    def count(self, action: Action) -> int:
        """Return the number of faces that were treated with an action."""
        return sum(face.action is action for face in self.faces)
