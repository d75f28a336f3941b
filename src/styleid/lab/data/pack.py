"""Data packs: aligned face crops with labels and landmarks, in one file.

A pack is an ``.npz`` file that holds the crops as concatenated WebP files and one array per column. A training needs
only this file. `build_pack` makes it from the source archives, `Pack.load` reads it.

Convention
----------
Crops are uint8 RGB under `CropTemplate.tight(inner_px, margin_px)`; landmarks are pixels of the crop, pixel centres at
integers. Unknown ages are NaN, unknown sexes and groups -1. Sex: 0 male, 1 female. Group: 0 White, 1 Black, 2 Asian,
3 Indian, 4 other.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, SupportsIndex

import cv2
import numpy as np

from styleid.errors import OptionError, TrainingError
from styleid.faces.align import CropTemplate, invert
from styleid.faces.detect import DetectorOptions, FaceDetector
from styleid.lab.data.teachers import LandmarkTeacher
from styleid.types import Faces, ImageRGB

SOURCES = ("generated", "gan-samples", "parsing", "utkface-0", "utkface-1", "portraits")
"""Archives that a pack is made of. The index of an archive is its number in the column `source`."""
ARCHIVES = (*SOURCES, "beauty", "wild", "portraits320")
"""All known archives, by number. Append new ones, because packs store the numbers."""

SYNTHETIC_SOURCES = (0, 1)
GROUPS = ("White", "Black", "Asian", "Indian", "other")
_GENERATED_GROUPS = {"white": 0, "black": 1, "asian": 2, "latino": 4}
_HELD_OUT_SHARE = 0.05
_MAX_SPREAD = 0.05
_MIN_SCORE = 0.5


@dataclass(frozen=True)
class PackOptions:
    """Options of a data pack.

    inner_px: side of the tight crop, in pixels.
    margin_px: margin that is added on each side of the tight crop, in pixels.
    quality: WebP quality of the crops, 1 to 100.
    """

    inner_px: int = 128
    margin_px: int = 16
    quality: int = 90

    def __post_init__(self) -> None:
        if self.inner_px < 8:
            raise OptionError("inner_px", f"it must be at least 8, not {self.inner_px}.")
        if self.margin_px < 0:
            raise OptionError("margin_px", f"it must be at least 0, not {self.margin_px}.")
        if not 1 <= self.quality <= 100:
            raise OptionError("quality", f"it must be between 1 and 100, not {self.quality}.")


@dataclass(frozen=True)
class Pack:
    """A data pack in memory. Crops are decoded on request.

    Attributes:
        template: The crop template of all faces.
        webp: The crops as WebP files, concatenated bytes.
        offsets: (n + 1,), where each crop begins in `webp`.
        names: (n,), file names without suffix.
        source: (n,), index into `ARCHIVES`.
        held_out: (n,), True for faces that are excluded from training.
        valid_quads: (n, 4, 2), corners of the photo in crop pixels, clockwise from the upper left.
        landmarks5: (n, 5, 2), the detector's landmarks in crop pixels.
        landmarks68: (n, 68, 2), landmarks in crop pixels.
        age: (n,), years, NaN if unknown.
        sex: (n,), 0 male, 1 female, -1 unknown.
        group: (n,), index into `GROUPS`, -1 unknown.
        labels_png: Label maps as PNG files, concatenated bytes.
        labels_offsets: (n + 1,), where each label map begins in `labels_png`; an empty range means no map.
    """

    template: CropTemplate
    webp: np.ndarray[Any, np.dtype[np.uint8]]
    offsets: np.ndarray[Any, np.dtype[np.int64]]
    names: np.ndarray[Any, Any]
    source: np.ndarray[Any, Any]
    held_out: np.ndarray[Any, np.dtype[np.bool_]]
    valid_quads: np.ndarray[Any, np.dtype[np.float32]]
    landmarks5: np.ndarray[Any, np.dtype[np.float32]]
    landmarks68: np.ndarray[Any, np.dtype[np.float32]]
    age: np.ndarray[Any, np.dtype[np.float32]]
    sex: np.ndarray[Any, np.dtype[np.int8]]
    group: np.ndarray[Any, np.dtype[np.int8]]
    labels_png: np.ndarray[Any, np.dtype[np.uint8]]
    labels_offsets: np.ndarray[Any, np.dtype[np.int64]]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def synthetic(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """True for generated faces of people who do not exist, (n,)."""
        return np.isin(self.source, SYNTHETIC_SOURCES)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a pack.

        Raises:
            TrainingError: If the file is missing or is not a data pack.
        """
        try:
            with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                columns = {name: file[name] for name in file.files}
            points, size = columns.pop("template_points"), int(columns.pop("template_size"))
            return cls(template=CropTemplate(size, tuple(map(tuple, points.tolist()))), **columns)
        except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise TrainingError(f"{path} is not a data pack ({error}). Type: styleid train pack --help") from error

    def crops(self, indices: Sequence[int] | np.ndarray[Any, Any] | None = None) -> ImageRGB:
        """Decode crops.

        Args:
            indices: The faces to decode; None decodes all.

        Returns:
            uint8 (n, size, size, 3), RGB.

        Raises:
            TrainingError: If a crop cannot be decoded.
        """
        wanted = np.arange(len(self)) if indices is None else np.asarray(indices)
        size = self.template.size_px
        out = np.empty((len(wanted), size, size, 3), np.uint8)

        def decode(place: int) -> None:
            i = int(wanted[place])
            bgr = _decoded(self.webp[self.offsets[i] : self.offsets[i + 1]], cv2.IMREAD_COLOR, f"crop {i}")
            cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=out[place])

        with ThreadPoolExecutor() as pool:
            list(pool.map(decode, range(len(wanted))))
        return out

    def labels(self, index: int) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
        """Decode one face's label map.

        Returns:
            uint8 (size, size) of CelebAMask-HQ classes (in context packs at half the size), or None without a map.

        Raises:
            TrainingError: If the map cannot be decoded.
        """
        part = self.labels_png[self.labels_offsets[index] : self.labels_offsets[index + 1]]
        return None if len(part) == 0 else _decoded(part, cv2.IMREAD_GRAYSCALE, f"label map {index}")

    def thinned(self, most_per_source: int, *, photos_only: bool = False) -> Self:
        """Return a pack with all held-out faces, but with at most `most_per_source` training faces of each source.

        They are chosen by the hash of their names. With `photos_only`, all generated faces are kept.
        """
        order = np.argsort([_hash(str(name)) for name in self.names])
        keep = self.held_out | (self.synthetic & photos_only)
        for source in np.unique(self.source):
            keep[order[(self.source[order] == source) & ~self.held_out[order]][:most_per_source]] = True
        return self.only(np.nonzero(keep)[0])

    def only(self, rows: np.ndarray[Any, Any]) -> Self:
        """Return a pack of the given rows, in the given order."""
        columns = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "template"}
        per_face = {name: value[rows] for name, value in columns.items() if len(value) == len(self)}
        for bytes_name, offsets_name in (("webp", "offsets"), ("labels_png", "labels_offsets")):
            content, offsets = columns[bytes_name], columns[offsets_name]
            parts = [content[offsets[i] : offsets[i + 1]] for i in rows]
            columns[bytes_name] = np.concatenate(parts)
            columns[offsets_name] = np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)
        return type(self)(self.template, **columns | per_face)

    def valid_mask(self, index: SupportsIndex) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Return uint8 (size, size): 255 where the crop shows the photo, 0 where it shows the mirrored border."""
        size = self.template.size_px
        mask = np.zeros((size, size), np.uint8)
        cv2.fillConvexPoly(mask, np.round(self.valid_quads[index]).astype(np.int32), 255)
        return mask


def _decoded(content: np.ndarray[Any, Any], flags: int, what: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    image = cv2.imdecode(content, flags)
    if image is None:
        raise TrainingError(f"The data pack is damaged: {what} cannot be decoded. Make the pack again.")
    return np.asarray(image, np.uint8)


def build_pack(data: Path, out: Path, teachers: Path, options: PackOptions | None = None) -> dict[str, int]:
    """Make a pack from source archives. The file is written completely or not at all.

    Args:
        data: Folder of `SOURCES` as .tar files.
        out: The .npz file to write.
        teachers: Folder with the landmark teacher.
        options: Crop size, margin and quality.

    Returns:
        The number of faces by source, and of dropped photos by reason ("no face", "unsure landmarks").

    Raises:
        TrainingError: If an archive or the teacher is missing, or an archive holds an unreadable image.
    """
    options = options or PackOptions()
    template = CropTemplate.tight(options.inner_px, options.margin_px)
    detector = FaceDetector(DetectorOptions(threshold=_MIN_SCORE))
    teacher = LandmarkTeacher(teachers)
    rows: list[dict[str, Any]] = []
    counts: dict[str, int] = dict.fromkeys((*SOURCES, "no face", "unsure landmarks"), 0)
    for number, source in enumerate(SOURCES):
        for name, image_rgb, labels in read_archive(data / f"{source}.tar"):
            face = main_face(detector.detect(image_rgb), image_rgb.shape)
            if face is None:
                counts["no face"] += 1
                continue
            matrix = template.matrix(face.landmarks_px[0])
            landmarks, spread = teacher.locate(image_rgb, face, matrix, template)
            if spread > _MAX_SPREAD:
                counts["unsure landmarks"] += 1
                continue
            counts[source] += 1
            rows.append(
                face_row(name, number, image_rgb, labels, face=face, matrix=matrix, template=template, options=options)
                | {"landmarks68": landmarks}
            )
    write_rows(out, rows, template)
    return counts


def read_archive(
    path: Path, needed: Sequence[str] = SOURCES, most: int = 0
) -> Iterator[tuple[str, ImageRGB, np.ndarray[Any, Any] | None]]:
    """Yield the photos of an archive.

    Args:
        path: A .tar file of .webp and .jpg photos, with label maps NAME.png beside NAME.webp or NAME.jpg.
        needed: The archives of the pack, which the error message lists if `path` is missing.
        most: Most photos to read, chosen by the hash of their names; 0 reads all.

    Yields:
        The name without suffix, the photo, and its label map or None.

    Raises:
        TrainingError: If the archive is missing or holds an unreadable image.
    """
    if not path.is_file():
        raise TrainingError(f"{path} is missing. A pack is made from {', '.join(s + '.tar' for s in needed)}.")
    with tarfile.open(path) as archive:
        members = {m.name: m for m in archive.getmembers() if m.isfile()}

        def read(name: str, flags: int) -> np.ndarray[Any, Any]:
            file = archive.extractfile(members[name])
            image = None if file is None else cv2.imdecode(np.frombuffer(file.read(), np.uint8), flags)
            if image is None:
                raise TrainingError(f"{path}: {name} is not a readable image.")
            return image

        photos = [name for name in members if name.endswith((".webp", ".jpg"))]
        for name in sorted(sorted(photos, key=_hash)[: most or None]):
            labels_name = f"{Path(name).stem}.png"
            labels = read(labels_name, cv2.IMREAD_GRAYSCALE) if labels_name in members else None
            image_rgb = cv2.cvtColor(read(name, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            yield Path(name).stem, np.asarray(image_rgb, np.uint8), labels


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def main_face(faces: Faces, shape: tuple[int, ...]) -> Faces | None:
    """Return the face nearest to a photo's centre among those at least half as large as the largest, or None.

    Args:
        faces: The faces of one photo.
        shape: (height, width, ...) of the photo.
    """
    if len(faces) == 0:
        return None
    centres = faces.boxes_xyxy.reshape(-1, 2, 2).mean(1) - np.array([shape[1], shape[0]]) / 2
    large = faces.min_sides_px >= faces.min_sides_px.max() / 2
    return faces[int(np.argmin(np.where(large, np.hypot(*centres.T), np.inf)))]


def face_row(
    name: str,
    source: int,
    image_rgb: ImageRGB,
    labels: np.ndarray[Any, Any] | None,
    *,
    face: Faces,
    matrix: np.ndarray[Any, Any],
    template: CropTemplate,
    options: PackOptions,
) -> dict[str, Any]:
    """Return a face's row of a pack, without its 68 landmarks.

    Args:
        name: The photo's file name without suffix; see `read_labels`.
        source: Index into `ARCHIVES`.
        image_rgb: The photo.
        labels: Label map at the photo's size, or None.
        face: One face.
        matrix: (2, 3), image to crop.
        template: The crop template.
        options: Its WebP quality is used.

    Returns:
        One value per column of `Pack`; `webp` and `labels_png` are bytes as uint8 arrays.
    """
    crop = template.crop(image_rgb, matrix)
    webp = cv2.imencode(".webp", crop[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, options.quality])[1]
    labels_png = np.zeros(0, np.uint8)
    if labels is not None:
        back = invert(matrix)
        nearest = cv2.warpAffine(
            labels,
            back.astype(np.float64),
            (template.size_px, template.size_px),
            flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        labels_png = cv2.imencode(".png", nearest)[1]
    height, width = image_rgb.shape[:2]
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], np.float32)
    age, sex, group = read_labels(name, ARCHIVES[source])
    return {
        "names": name,
        "source": np.int8(source),
        "held_out": int(_hash(name)[:8], 16) < _HELD_OUT_SHARE * 2**32,
        "webp": webp.reshape(-1),
        "labels_png": labels_png.reshape(-1),
        "valid_quads": corners @ matrix[:, :2].T + matrix[:, 2],
        "landmarks5": face.landmarks_px[0] @ matrix[:, :2].T + matrix[:, 2],
        "age": np.float32(age),
        "sex": np.int8(sex),
        "group": np.int8(group),
    }


def read_labels(name: str, source: str) -> tuple[float, int, int]:
    """Read age, sex and group from a file name.

    Args:
        name: File name without suffix, such as 34_1_2_0123 (UTKFace) or female_asian_17.
        source: Name of the archive, which determines how its files are named.

    Returns:
        Age in years, sex and group; NaN or -1 if unknown.
    """
    if source.startswith("utkface") and (match := re.match(r"(\d+)_([01])_([0-4])_", name)):
        return float(match[1]), int(match[2]), int(match[3])
    if source == "generated" and (match := re.match(r"(male|female)_([a-z]+)_", name)):
        return float("nan"), int(match[1] == "female"), _GENERATED_GROUPS.get(match[2], -1)
    if source == "beauty" and (match := re.match(r"(male|female)_(white|asian)_", name)):
        return float("nan"), int(match[1] == "female"), _GENERATED_GROUPS[match[2]]
    return float("nan"), -1, -1


def write_rows(out: Path, rows: list[dict[str, Any]], template: CropTemplate) -> None:
    """Write a pack, completely or not at all.

    Args:
        out: The .npz file to write.
        rows: One dictionary per face, column name to value; the byte columns are removed from it.
        template: The crop template of all faces.
    """
    columns: dict[str, Any] = {
        "template_points": np.asarray(template.points_px, np.float32),
        "template_size": np.int64(template.size_px),
    }
    for bytes_name, offsets_name in (("webp", "offsets"), ("labels_png", "labels_offsets")):
        parts = [row.pop(bytes_name) for row in rows]
        columns[bytes_name] = np.concatenate(parts)
        columns[offsets_name] = np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)
    for name in rows[0]:
        columns[name] = np.stack([np.asarray(row[name]) for row in rows])
    for name in ("valid_quads", "landmarks5", "landmarks68"):
        columns[name] = columns[name].astype(np.float32)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **columns)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial")
    partial.write_bytes(buffer.getbuffer())
    partial.replace(out)
