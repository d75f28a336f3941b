"""Synthetic clips with known face positions: heads move over a background, with occluders, cuts and blur."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import cv2
import numpy as np

from styleid import Faces
from styleid.media.video.clip import ClipFrame, ClipInfo

RATE = 25
HEAD = (95, 0, 355, 260)  # boxes of the head and face in the astronaut's photo, x0 y0 x1 y1
FACE = (181, 58, 270, 178)
SIZE = (320, 240)


@dataclass
class Actor:
    """A head that moves along a path.

    Attributes:
        head: Image of the head, uint8 (h, w, 3).
        path: Takes the frame; returns the face's centre x and y and its height in pixels, None if it is absent.
        blur: Takes the frame; returns the standard deviation of the blur in pixels.
    """

    head: np.ndarray
    path: Callable[[int], tuple[float, float, float] | None]
    blur: Callable[[int], float] = lambda frame: 0.0


@dataclass
class Scene:
    """Draws frames, and knows where faces are visible.

    Attributes:
        actors: The heads, the farthest first.
        frames: Number of frames.
        background: Takes the frame; returns its background, uint8 (h, w, 3).
        bars: Takes the frame; returns the boxes of occluders, x0 y0 x1 y1.
        size: Width and height in pixels.
    """

    actors: list[Actor]
    frames: int
    background: Callable[[int], np.ndarray]
    bars: Callable[[int], list[tuple[int, int, int, int]]] = lambda frame: []
    size: tuple[int, int] = SIZE
    _made: dict[int, np.ndarray] = field(default_factory=dict)

    def image(self, frame: int) -> np.ndarray:
        if frame not in self._made:
            self._made[frame] = self._draw(frame)
        return self._made[frame]

    def _draw(self, frame: int) -> np.ndarray:
        image = self.background(frame).astype(np.float32)
        for actor in self.actors:
            if (place := actor.path(frame)) is not None:
                _put(image, actor.head, *place, actor.blur(frame))
        for x0, y0, x1, y1 in self.bars(frame):
            image[max(y0, 0) : y1, max(x0, 0) : x1] = (70, 75, 60)
        return image.round().clip(0, 255).astype(np.uint8)

    def visible(self, frame: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the box and the mask of the visible part of each face that is at least 16 px wide and half visible."""
        shown = []
        width, height = self.size
        unbarred = np.ones((height, width), bool)
        for x0, y0, x1, y1 in self.bars(frame):
            unbarred[max(y0, 0) : y1, max(x0, 0) : x1] = False
        for index, actor in enumerate(self.actors):
            place = actor.path(frame)
            if place is None:
                continue
            free = unbarred
            for before in self.actors[index + 1 :]:
                if (nearer := before.path(frame)) is not None:
                    covered = np.zeros((height, width, 3), np.float32)
                    _put(covered, np.full_like(before.head, 255), *nearer, 0.0)
                    free = free & (covered[..., 0] < 128)
            box = face_box(*place)
            whole = np.zeros((3 * height, 3 * width), np.uint8)
            centre = (box[:2] + box[2:]) / 2 + (width, height)
            axes = (box[2:] - box[:2]) / 2 * 0.9
            cv2.ellipse(
                whole, tuple(centre.round().astype(int).tolist()), tuple(axes.astype(int).tolist()), 0, 0, 360, 1, -1
            )
            inside = (whole[height : 2 * height, width : 2 * width] > 0) & free
            if min(box[2:] - box[:2]) >= 16 and inside.sum() >= 0.5 * whole.sum():
                shown.append((box, inside))
        return shown


class SceneClip:
    """A clip that shows a scene."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.info = ClipInfo("scene", *scene.size, Fraction(RATE), scene.frames)

    def frames(self) -> Iterator[ClipFrame]:
        for i in range(self.scene.frames):
            yield ClipFrame(i, i / RATE, 1 / RATE, i, self.scene.image)


class Missing:
    """A detector that finds nothing in some frames. It must be called once per frame, in order."""

    def __init__(self, detector, blind: Callable[[int], bool]) -> None:
        self._detector, self._blind, self._frame = detector, blind, -1

    def detect(self, image_rgb: np.ndarray) -> Faces:
        self._frame += 1
        return Faces.empty() if self._blind(self._frame) else self._detector.detect(image_rgb)


class Taking:
    """A sink that stores all frames."""

    def __init__(self) -> None:
        self.images: list[np.ndarray] = []
        self.changed: list[np.ndarray] = []
        self.notes, self.mark = (), ""

    def write(self, frame, image_rgb, changed, *, generated=False) -> None:
        source = frame.image_rgb
        self.images.append(source if image_rgb is None else image_rgb)
        self.changed.append(np.zeros(source.shape[:2], bool) if changed is None else changed)

    def finish(self) -> str:
        return ""

    def abandon(self) -> None:
        pass


def face_box(x: float, y: float, height: float) -> np.ndarray:
    scale = height / (FACE[3] - FACE[1])
    half = np.array([(FACE[2] - FACE[0]) * scale, height]) / 2
    return np.array([x - half[0], y - half[1], x + half[0], y + half[1]])


def _put(image: np.ndarray, head: np.ndarray, x: float, y: float, height: float, blur: float) -> None:
    scale = height / (FACE[3] - FACE[1])
    middle = np.array([(FACE[0] + FACE[2]) / 2 - HEAD[0], (FACE[1] + FACE[3]) / 2 - HEAD[1]]) * scale
    small = cv2.resize(head, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.float32)
    alpha = np.zeros(small.shape[:2], np.float32)
    h, w = alpha.shape
    cv2.ellipse(alpha, (w // 2, h // 2), (int(0.47 * w), int(0.49 * h)), 0, 0, 360, 1, -1)
    alpha = cv2.GaussianBlur(alpha, (0, 0), max(0.02 * w, 0.5))
    if blur > 0:
        small = cv2.GaussianBlur(small, (0, 0), blur)
    matrix = np.float32([[1, 0, x - middle[0]], [0, 1, y - middle[1]]])
    size = image.shape[1::-1]
    moved, opacity = cv2.warpAffine(small, matrix, size), cv2.warpAffine(alpha, matrix, size)[..., None]
    image[:] = image * (1 - opacity) + moved * opacity


def background(picture: np.ndarray, size: tuple[int, int] = SIZE) -> np.ndarray:
    return cv2.GaussianBlur(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), (0, 0), 1)
