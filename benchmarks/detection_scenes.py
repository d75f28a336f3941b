"""Make scenes with faces at known places, for benchmarks/detection.py.

Faces are cut from photos with a known face, by their label map or else with soft edges, and pasted into pictures
without faces. A seed determines all choices.

A face is the front or side of a human head of which the area of at least one eye, or the nose and the mouth, are
visible. A face with a mask, glasses or a hand before it counts; a head from behind does not. The box of a face reaches
from the hairline to the chin and from ear to ear (in profile, to the outline of the face), as far as it is in the
photo. Faces whose box has a side of less than 16 px are marked but not counted, neither as missed nor as false alarms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from detection_faces import Cutout, Faces, read

COUNTED_PX = 16.0
SIZES = ((640, 480), (1280, 960), (1920, 1440))
_SIZE_SHARES = (0.25, 0.55, 0.2)


@dataclass
class Scene:
    """A photo in which all faces are marked.

    Attributes:
        name: Name of the photo.
        kind: Kind of scene.
        image_rgb: uint8 (h, w, 3).
        boxes_xyxy: Boxes of the faces (n, 4), in pixels.
        groups: Groups of each face, by category.
    """

    name: str
    kind: str
    image_rgb: np.ndarray
    boxes_xyxy: np.ndarray
    groups: list[dict[str, str]]


# -------------------------------------------------------------------------------------------------- backgrounds


class Backgrounds:
    """Pictures without faces, from scikit-image and from a folder."""

    _WITH_FACES = ("astronaut", "camera", "multipage", "chessboard", "friends")

    def __init__(self, further: Path | None, half: int) -> None:
        import skimage

        files = sorted((Path(skimage.__file__).parent / "data").glob("*.[jp][pn]g"))
        files += [] if further is None else sorted(p for p in further.rglob("*") if p.suffix in (".jpg", ".png"))
        files = [path for path in files if not path.name.startswith(self._WITH_FACES)]
        self._files = files
        self._half = half
        self._opened: dict[Path, np.ndarray] = {}

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
        """Return a random part of a picture, possibly mirrored, scaled to a size: uint8 (height, width, 3)."""
        image = self._open(self._files[rng.integers(len(self._files))])
        ratio = size[0] / size[1]
        height = min(image.shape[0], image.shape[1] / ratio) * rng.uniform(0.4, 1.0)
        width = height * ratio
        y, x = rng.uniform(0, image.shape[0] - height), rng.uniform(0, image.shape[1] - width)
        part = image[int(y) : int(y + height) + 1, int(x) : int(x + width) + 1]
        shrinks = part.shape[1] > size[0]
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        return part[:, ::-1].copy() if rng.random() < 0.5 else part

    def _open(self, path: Path) -> np.ndarray:
        if path not in self._opened:
            image = read(path)
            scale = min(1.0, 2400 / max(image.shape))
            self._opened[path] = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return self._opened[path]


# --------------------------------------------------------------------------------------------- changes of faces


def masked(cutout: Cutout, rng: np.random.Generator) -> Cutout:
    """Draw a face mask from the nose's bridge to under the chin."""
    x0, y0, x1, y1 = cutout.box_xyxy
    width, height = x1 - x0, y1 - y0
    shape = np.array([[0.02, 0.5], [0.3, 0.44], [0.5, 0.40], [0.7, 0.44], [0.98, 0.5], [0.88, 0.86], [0.5, 1.04]])
    shape = np.vstack([shape, [[0.12, 0.86]]]) + rng.normal(0, 0.015, (8, 2))
    points = np.array([x0, y0]) + shape * [width, height]
    colour = ((150, 190, 220), (235, 235, 235), (30, 30, 35), (120, 170, 150), (200, 60, 60))[rng.integers(5)]
    shade = np.full_like(cutout.image_rgb, colour)
    rows = np.arange(shape_rows := cutout.image_rgb.shape[0])[:, None, None]
    pleats = 12 * np.sin((rows - y0) / max(1.0, height) * 2 * np.pi * 9) + 25 * (0.6 - rows / shape_rows)
    shade = np.clip(shade + pleats + rng.normal(0, 3, shade.shape), 0, 255).astype(np.uint8)
    return _covered(cutout, _polygon(cutout, points), shade, "mask")


def occluded(cutout: Cutout, rng: np.random.Generator, behind: np.ndarray) -> Cutout:
    """Cover a third to a half of a face with a texture from one side, or its eyes with dark glasses."""
    x0, y0, x1, y1 = cutout.box_xyxy
    if rng.random() < 0.33:
        bar = np.array([[0.05, 0.24], [0.95, 0.24], [0.9, 0.46], [0.55, 0.4], [0.45, 0.4], [0.1, 0.46]])
        points = np.array([x0, y0]) + bar * [x1 - x0, y1 - y0]
        shade = np.full_like(cutout.image_rgb, rng.integers(5, 40))
        return _covered(cutout, _polygon(cutout, points), shade, "dark glasses")
    share, side = rng.uniform(0.33, 0.5), rng.integers(3)
    edge = np.array([[x0 + share * (x1 - x0), 0], [x0 + share * (x1 - x0), 1]])
    height, width = cutout.image_rgb.shape[:2]
    y, x = np.mgrid[:height, :width]
    wave = rng.normal(0, 0.04) * (x1 - x0) * np.sin(y / max(1.0, y1 - y0) * 6)
    hidden = (x < edge[0, 0] + wave, x > x1 - share * (x1 - x0) + wave, y > y1 - share * (y1 - y0) + wave)[side]
    texture = cv2.resize(behind, (width, height), interpolation=cv2.INTER_AREA)
    cover = cv2.GaussianBlur(hidden.astype(np.float32), (0, 0), 1)
    return _covered(cutout, cover, texture, "a third to half hidden")


def _polygon(cutout: Cutout, points: np.ndarray) -> np.ndarray:
    cover = np.zeros(cutout.image_rgb.shape[:2], np.float32)
    cv2.fillPoly(cover, [np.round(points).astype(np.int32)], 1.0)
    return cv2.GaussianBlur(cover, (0, 0), 1)


def _covered(cutout: Cutout, cover: np.ndarray, texture: np.ndarray, name: str) -> Cutout:
    mixed = cutout.image_rgb * (1 - cover[..., None]) + texture * cover[..., None]
    return replace(cutout, image_rgb=mixed.astype(np.uint8), groups=cutout.groups | {"cover": name})


def pasted(scene: np.ndarray, cutout: Cutout, centre: np.ndarray, face_px: float, angle: float) -> np.ndarray:
    """Paste a face into a scene, which is changed in place.

    Args:
        scene: uint8 (h, w, 3).
        cutout: The face.
        centre: x, y of the middle of its box, in pixels.
        face_px: Length of the box's shorter side, in pixels.
        angle: Rotation of the face, in degrees.

    Returns:
        Box of the face in the scene, (4,).
    """
    box = cutout.box_xyxy
    scale = face_px / (box[2:] - box[:2]).min()
    middle = (box[:2] + box[2:]) / 2
    step = max(1, int(1 / scale))
    source, alpha = cutout.image_rgb, cutout.alpha
    if step > 1:  # warpAffine does not average pixels when it shrinks an image
        small = (max(1, source.shape[1] // step), max(1, source.shape[0] // step))
        source, alpha = (cv2.resize(part, small, interpolation=cv2.INTER_AREA) for part in (source, alpha))
    shrunk = np.array([source.shape[1] / cutout.image_rgb.shape[1], source.shape[0] / cutout.image_rgb.shape[0]])
    matrix = cv2.getRotationMatrix2D((0, 0), angle, scale)
    matrix[:, 2] = centre - matrix[:, :2] @ middle
    corners = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]]) * [*cutout.image_rgb.shape[1::-1], 1] @ matrix.T
    low = np.maximum(np.floor(corners.min(0)), 0).astype(int)
    high = np.minimum(np.ceil(corners.max(0)) + 1, scene.shape[1::-1]).astype(int)
    pixels = matrix - np.array([[0, 0, low[0]], [0, 0, low[1]]])
    pixels[:, :2] /= shrunk
    size, window = tuple((high - low).tolist()), scene[low[1] : high[1], low[0] : high[0]]
    patch = cv2.warpAffine(source, pixels, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    cover = cv2.warpAffine(alpha, pixels, size, flags=cv2.INTER_LINEAR)[..., None]
    window[:] = (window * (1 - cover) + patch * cover + 0.5).astype(np.uint8)
    return _turned_box(matrix, box)


def _turned_box(matrix: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the box around the ellipse that fills a rotated box."""
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    centre = matrix[:, :2] @ middle + matrix[:, 2]
    reach = np.sqrt(((matrix[:, :2] * half) ** 2).sum(1))
    return np.concatenate([centre - reach, centre + reach])


# -------------------------------------------------------------------------------------------------- whole scenes


class Studio:
    """Makes scenes of every kind."""

    def __init__(self, faces: Faces, backgrounds: Backgrounds, seed: int) -> None:
        self.faces, self.backgrounds, self.seed = faces, backgrounds, seed

    def scenes(self, photos_of_each: int) -> Iterator[Scene]:
        """Yield this many scenes of each kind; `_SHARES` lists the kinds with more or fewer."""
        for index, (kind, make) in enumerate(KINDS.items()):
            for number in range(max(1, round(photos_of_each * _SHARES.get(kind, 1.0)))):
                rng = np.random.default_rng([self.seed, index, number])
                scene = make(self, rng)
                yield replace(scene, name=f"{kind} {number}", kind=kind)

    def sparse(
        self,
        rng: np.random.Generator,
        change: Callable[[Cutout], Cutout] = lambda cutout: cutout,
        angle: Callable[[], float] | None = None,
        sizes_px: tuple[float, float] = (COUNTED_PX, 0.35),
    ) -> Scene:
        """Return a scene with up to eight separate faces, whose sizes are log-uniform."""
        size = SIZES[rng.choice(len(SIZES), p=_SIZE_SHARES)]
        canvas, boxes, groups = self.backgrounds.draw(rng, size), [], []
        taken: list[tuple[np.ndarray, float]] = []
        for _ in range(rng.integers(2, 9)):
            face_px = float(np.exp(rng.uniform(np.log(sizes_px[0]), np.log(sizes_px[1] * size[1]))))
            centre = rng.uniform([face_px * 0.7] * 2, [size[0] - face_px * 0.7, size[1] - face_px * 0.7])
            reach = 1.2 * face_px
            if any(np.abs(centre - other).max() < reach + far for other, far in taken):
                continue
            taken.append((centre, reach))
            cutout = change(_lit(self.faces.draw(rng), rng))
            turn = float(rng.uniform(-12, 12)) if angle is None else angle()
            box = pasted(canvas, cutout, centre, face_px, turn)
            boxes.append(box)
            groups.append(cutout.groups | size_group(box) | _turn_group(turn))
        return Scene("", "", canvas, _clipped(boxes, size), groups)

    def masks(self, rng: np.random.Generator) -> Scene:
        return self.sparse(rng, lambda cutout: masked(cutout, rng))

    def covers(self, rng: np.random.Generator) -> Scene:
        return self.sparse(rng, lambda cutout: occluded(cutout, rng, self.backgrounds.draw(rng, (200, 200))))

    def turned(self, rng: np.random.Generator) -> Scene:
        return self.sparse(rng, angle=lambda: float(rng.choice((-1, 1)) * rng.uniform(20, 90)))

    def night(self, rng: np.random.Generator) -> Scene:
        """Return a dark scene with camera noise."""
        scene = self.sparse(rng)
        light = (scene.image_rgb / 255.0) ** rng.uniform(1.3, 2.0) * rng.uniform(0.15, 0.4)
        light = light * rng.uniform([0.9, 0.85, 0.6], [1.2, 1.0, 1.0])
        noise = rng.normal(0, rng.uniform(0.01, 0.035), light.shape)
        return replace(scene, image_rgb=(np.clip(light + noise, 0, 1) * 255).astype(np.uint8))

    def compressed(self, rng: np.random.Generator) -> Scene:
        """Return a scene after JPEG compression with a quality of 6 to 25."""
        scene = self.sparse(rng)
        coded = cv2.imencode(".jpg", scene.image_rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(6, 26))])
        return replace(scene, image_rgb=cv2.imdecode(coded[1], cv2.IMREAD_COLOR)[..., ::-1].copy())

    def blurred(self, rng: np.random.Generator) -> Scene:
        """Return a scene with defocus or motion blur."""
        scene = self.sparse(rng, sizes_px=(28, 0.35))
        if rng.random() < 0.5:
            return replace(scene, image_rgb=cv2.GaussianBlur(scene.image_rgb, (0, 0), rng.uniform(1.5, 3.5)))
        length, tilt = int(rng.integers(5, 14)) | 1, rng.uniform(0, 180)
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2] = 1
        kernel = cv2.warpAffine(kernel, cv2.getRotationMatrix2D((length // 2, length // 2), tilt, 1), (length, length))
        return replace(scene, image_rgb=cv2.filter2D(scene.image_rgb, -1, kernel / kernel.sum()))

    def crowd(self, rng: np.random.Generator) -> Scene:
        """Return a scene with rows of small faces, of which front rows overlap those behind."""
        size = SIZES[1]
        canvas, boxes, groups = self.backgrounds.draw(rng, size), [], []
        face_px, y = rng.uniform(16, 26), 0.25 * size[1]
        while y < size[1] - face_px:
            step = face_px * rng.uniform(1.15, 1.6)
            for x in np.arange(rng.uniform(0.6, 1.6) * face_px, size[0] - face_px, step * 1.4):
                if rng.random() < 0.4:
                    continue
                cutout = _lit(self.faces.draw(rng), rng)
                centre = np.array([x, y]) + rng.normal(0, 0.1 * face_px, 2)
                boxes.append(pasted(canvas, cutout, centre, face_px * rng.uniform(0.95, 1.1), rng.uniform(-12, 12)))
                groups.append(cutout.groups | size_group(boxes[-1]))
            y += face_px * rng.uniform(1.5, 2.0)
            face_px *= rng.uniform(1.1, 1.3)
        return Scene("", "", canvas, _clipped(boxes, size), groups)

    def close(self, rng: np.random.Generator) -> Scene:
        """Return a scene with one large face, which the border may cut."""
        size = SIZES[rng.integers(len(SIZES))]
        canvas = self.backgrounds.draw(rng, size)
        cutout = _lit(self.faces.draw(rng), rng)
        face_px = rng.uniform(0.4, 0.75) * size[1]
        centre = np.array(size) * rng.uniform([0.3, 0.4], [0.7, 0.6])
        box = pasted(canvas, cutout, centre, face_px, rng.uniform(-12, 12))
        boxes = _clipped([box], size)
        return Scene("", "", canvas, boxes, [cutout.groups | {"size, px": "over half the height"}])

    def empty(self, rng: np.random.Generator) -> Scene:
        """Return a scene without a face."""
        size = SIZES[rng.choice(len(SIZES), p=_SIZE_SHARES)]
        return Scene("", "", self.backgrounds.draw(rng, size), np.empty((0, 4)), [])


KINDS: dict[str, Callable[[Studio, np.random.Generator], Scene]] = {
    "plain": Studio.sparse,
    "crowd": Studio.crowd,
    "mask": Studio.masks,
    "partly hidden": Studio.covers,
    "tilted 20 to 90 degrees": Studio.turned,
    "night": Studio.night,
    "compressed": Studio.compressed,
    "blurred": Studio.blurred,
    "close": Studio.close,
    "empty": Studio.empty,
}
_SHARES = {"plain": 2.0, "crowd": 0.2, "empty": 2.0}


def _lit(cutout: Cutout, rng: np.random.Generator) -> Cutout:
    lit = np.clip(cutout.image_rgb * rng.uniform(0.7, 1.15), 0, 255).astype(np.uint8)
    return replace(cutout, image_rgb=lit)


def _clipped(boxes: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    return np.clip(np.array(boxes).reshape(-1, 4), 0, [*size, *size])


def size_group(box: np.ndarray) -> dict[str, str]:
    """Return the size group of a box."""
    side = (box[2:] - box[:2]).min()
    for limit in (24, 48, 96, 192):
        if side < limit:
            return {"size, px": f"{max(16, limit // 2)} to {limit}"}
    return {"size, px": "192 and over"}


def _turn_group(angle: float) -> dict[str, str]:
    turn = abs(angle)
    return {} if turn < 20 else {"tilt": "20 to 45 degrees" if turn < 45 else "45 to 90 degrees"}
