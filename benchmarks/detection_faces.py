"""Cut faces out of photos with a known face, with the people's known attributes, for detection_scenes.py."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

_TIGHT = np.array([0.10, 0.0, 0.90, 0.92])
"""Where the face's box lies in a tight crop, as a share of its side."""
_MARGINS = {"utkface": 1.0, "generated": 1.3, "wild": 1.5, "portraits": 1.5}
_AGES = ((0, 3, "0 to 2"), (3, 13, "3 to 12"), (13, 20, "13 to 19"), (20, 60, "20 to 59"), (60, 120, "60 and over"))
_UTK_GROUPS = ("White", "Black", "Asian", "Indian", "other")
_FACE_LABELS = (1, 2, 3, 4, 5, 6, 7, 10, 11, 12)
_PFLD_SIDE_PX = 112


@dataclass(frozen=True)
class Cutout:
    """A face to paste into a scene: RGB, uint8 (h, w, 3), its opacity in [0, 1] (h, w), the face's box and groups."""

    image_rgb: np.ndarray
    alpha: np.ndarray
    box_xyxy: np.ndarray
    groups: dict[str, str] = field(default_factory=dict)


class Faces:
    """Faces from a folder of extracted data.

    Args:
        data: The folder.
        half: Which half of the faces to use: 0 to measure, 1 to choose settings.
        sources: Which of SOURCES to use. Default: all.
    """

    def __init__(self, data: Path, half: int, sources: tuple[str, ...] = ()) -> None:
        self._landmarks = _Landmarks(data / "teachers" / "landmarks68_pfld.onnx")
        found = {name: _half(_files(data, _PATTERNS[name]), half) for name in sources or SOURCES}
        self._files = {name: files for name, files in found.items() if files}

    def draw(self, rng: np.random.Generator) -> Cutout:
        """Return a face, with probability 1/2 from UTKFace (known sex, age and group), else from another source."""
        others = [name for name in self._files if name != "utkface"]
        name = "utkface" if rng.random() < 0.5 or not others else others[rng.integers(len(others))]
        path = self._files[name][rng.integers(len(self._files[name]))]
        if name == "parsing":
            return self._posed(_cut_by_labels(path))
        image = read(path)
        box = _box_in(image.shape, _MARGINS[name])
        cutout = Cutout(image, _soft_edge(image.shape[:2]), box, _groups_of(name, path, image))
        return self._posed(cutout) if name in ("wild", "portraits") else cutout

    def _posed(self, cutout: Cutout) -> Cutout:
        turn = self._landmarks.turn(cutout.image_rgb, cutout.box_xyxy)
        pose = "frontal" if turn < 0.15 else "half turned" if turn < 0.3 else "profile"
        return replace(cutout, groups=cutout.groups | {"pose": pose})


_PATTERNS = {
    "utkface": "utkface-*/*.webp",
    "generated": "generated/*.webp",
    "wild": "wild/*.webp",
    "parsing": "parsing/*.webp",
    "portraits": "portraits320/*.webp",
}
SOURCES = tuple(_PATTERNS)


class _Landmarks:
    def __init__(self, model: Path) -> None:
        from styleid.runtime import open_session

        self._session = open_session(model)

    def turn(self, image_rgb: np.ndarray, box: np.ndarray) -> float:
        """Return the distance of the nose tip from the middle of the face's outline, in outline widths, 0 to 0.5."""
        centre, side = (box[:2] + box[2:]) / 2, 1.1 * (box[2:] - box[:2]).max()
        matrix = np.array([[1, 0, side / 2 - centre[0]], [0, 1, side / 2 - centre[1]]]) * _PFLD_SIDE_PX / side
        crop = cv2.warpAffine(image_rgb, matrix, (_PFLD_SIDE_PX, _PFLD_SIDE_PX), borderMode=cv2.BORDER_REPLICATE)
        batch = crop.transpose(2, 0, 1)[None].astype(np.float32) / 255
        points = np.asarray(self._session.run(None, {self._session.get_inputs()[0].name: batch})[0]).reshape(-1, 2)
        left, right, tip = points[0, 0], points[16, 0], points[30, 0]
        return float(min(0.5, abs((tip - left) / max(1e-6, right - left) - 0.5)))


def _files(data: Path, pattern: str) -> list[Path]:
    return sorted(data.glob(pattern))


def _half(files: list[Path], half: int) -> list[Path]:
    return files[half::2]


def read(path: Path) -> np.ndarray:
    """Return an image file as RGB, uint8 (height, width, 3)."""
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _box_in(shape: tuple[int, ...], margin: float) -> np.ndarray:
    height, width = shape[:2]
    inner = 0.5 + (_TIGHT - 0.5) / margin
    side = max(height, width)
    return inner * side - np.array([side - width, side - height] * 2) / 2


def _soft_edge(shape: tuple[int, int]) -> np.ndarray:
    """Return an opacity that is 1 inside and fades to 0 at the border, with round corners."""
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    radius = (np.abs(x) ** 5 + np.abs(y) ** 5) ** 0.2
    return np.clip((1.0 - radius) / 0.12, 0, 1).astype(np.float32)


def _cut_by_labels(path: Path) -> Cutout:
    from PIL import Image

    image = read(path)
    labels = np.asarray(Image.open(path.with_suffix(".png")))
    labels = cv2.resize(labels, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    rows, columns = np.nonzero(np.isin(labels, _FACE_LABELS))
    box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)
    alpha = cv2.GaussianBlur((labels > 0).astype(np.float32), (0, 0), 2)
    return Cutout(image, np.minimum(alpha, _soft_edge(image.shape[:2])), box)


def _groups_of(source: str, path: Path, image: np.ndarray) -> dict[str, str]:
    if source != "utkface":
        return {}
    age, sex, group = (int(part) for part in path.stem.split("_")[:3])
    return {
        "sex": ("male", "female")[sex],
        "age": next(name for low, high, name in _AGES if low <= age < high),
        "UTKFace's group": _UTK_GROUPS[group],
        "skin tone": _skin_tone(image),
    }


def _skin_tone(image_rgb: np.ndarray) -> str:
    """Return the skin tone by the individual typology angle of the cheeks, or `no colour` for grey photos."""
    height, width = image_rgb.shape[:2]
    rows, columns = slice(int(0.45 * height), int(0.6 * height)), (slice(int(0.22 * width), int(0.36 * width)),)
    columns += (slice(int(0.64 * width), int(0.78 * width)),)
    patches = np.concatenate([image_rgb[rows, part].reshape(-1, 3) for part in columns])
    lightness, a, b = np.median(cv2.cvtColor(patches[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0], axis=0)
    if np.hypot(a, b) < 4:
        return "no colour"
    angle = np.degrees(np.arctan2(lightness - 50, b))
    return "light" if angle > 41 else "medium" if angle > 10 else "dark"
