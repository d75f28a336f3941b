"""Data packs for the context generator.

A context pack is a `Pack` with the outputs of a bundle's networks for each face. Landmarks and label maps come from the
bundle's parser, because the generator gets the parser's landmarks when photos are anonymised. Embeddings and attributes
are stored too, so that a training starts within a minute. Label maps have half the crop's side and hold values of
`styleid.pixel.guides.Part`.

Portraits come from `portraits320`, larger versions of the photos in `portraits`. Source numbers are indices into
`styleid.lab.data.pack.ARCHIVES`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from styleid.bundles.bundle import Bundle
from styleid.bundles.registry import APPEARANCE_MODEL, find_bundle
from styleid.errors import OptionError, TrainingError
from styleid.faces import geometry
from styleid.faces.align import CropTemplate, fit_similarity, scale_of, transform_points, warp_to
from styleid.faces.detect import DetectorOptions, FaceDetector
from styleid.lab.data.pack import ARCHIVES, GROUPS, Pack, PackOptions, face_row, main_face, read_archive, write_rows
from styleid.pixel.guides import PART_OF_CLASS, Part
from styleid.runtime import limited_threads, open_session, tidy_model
from styleid.types import Faces, FloatArray, ImageRGB

CONTEXT_SOURCES = tuple(name for name in ARCHIVES if name != "portraits")
"""Archives that a context pack is made of."""
SHARP_SOURCES = ("generated", "gan-samples", "parsing", "beauty", "portraits320")
"""Archives whose faces are sharp enough for 256 px."""
TURNED, DARK_LUMA = 0.35, 105.0
"""Absolute yaw (`geometry.expression`) above which a face counts as turned; mean grey level of the visible skin, 0 to
255, below which it counts as dark."""
_ODDS = {"utkface-0": 0.6, "utkface-1": 0.6, "beauty": 0.7, "parsing": 1.5, "wild": 1.5, "portraits320": 1.5}
_TURNED_ODDS, _OPEN_ODDS, _DARK_ODDS = 2.5, 1.7, 2.0
_GLASSES_SHARE = 0.01
_MOST_APART = 0.25
_MOST_ENLARGED = 1.5
_CHUNK = 16
_WORKERS = 2
_POINT_STEPS = 16
_MEAN, _DEVIATION = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
_DETECTED_SIDE_PX = 208


@dataclass(frozen=True)
class ContextPackOptions(PackOptions):
    """Options of a context pack.

    inner_px: side of the tight crop, in pixels.
    margin_px: margin that is added on each side of the tight crop, in pixels.
    quality: WebP quality of the crops, 1 to 100.
    faces: maximum number of photos that are read from each archive, chosen by the hash of their names; 0 reads all.
    sharp_only: use only archives of sharp faces, for training at 256 px (with `inner_px=256` and `margin_px=32`).
    """

    quality: int = 88
    faces: int = 0
    sharp_only: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.faces < 0:
            raise OptionError("faces", f"it must be at least 0, not {self.faces}.")

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the archives to read."""
        return SHARP_SOURCES if self.sharp_only else CONTEXT_SOURCES


@dataclass(frozen=True)
class ContextPack(Pack):
    """A `Pack` with the outputs of networks for each face.

    Embeddings are computed from the crop, mirrored beyond its border, as in training.

    Attributes:
        embedding: float16 (n, 128), unit embeddings of the bundle's recogniser.
        second: float16 (n, 128), unit embeddings of a second recogniser, or (n, 0) without one.
        looks: float16 (n, 7), attributes: age in years, P(female), P(group) x 5.
        luma: (n,), mean grey level of the visible face, 0 to 255.
        glasses: (n,), area of the glasses divided by the area of the visible face.
    """

    embedding: np.ndarray[Any, np.dtype[np.float16]]
    second: np.ndarray[Any, np.dtype[np.float16]]
    looks: np.ndarray[Any, np.dtype[np.float16]]
    luma: np.ndarray[Any, np.dtype[np.float32]]
    glasses: np.ndarray[Any, np.dtype[np.float32]]

    @property
    def wears_glasses(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """True if the area of the glasses exceeds 1 % of the visible face's, (n,)."""
        return self.glasses > _GLASSES_SHARE

    @property
    def is_target(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """True for faces that may serve as targets: generated, without glasses, not held out, (n,)."""
        return self.synthetic & ~self.wears_glasses & ~self.held_out

    def known_looks(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return `looks`, float32 (n, 7), with the labelled age, sex and group in place of estimates where known."""
        looks = self.looks.astype(np.float32)
        looks[:, 0] = np.where(np.isfinite(self.age), self.age, looks[:, 0])
        looks[:, 1] = np.where(self.sex >= 0, self.sex, looks[:, 1])
        grouped = np.nonzero(self.group >= 0)[0]
        looks[grouped, 2:] = np.eye(len(GROUPS), dtype=np.float32)[self.group[grouped]]
        return looks

    def odds(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return unnormalised sampling weights, (n,).

        Faces that are turned, dark or have an open mouth have larger weights, and so have some archives.
        """
        seen = geometry.expression(self.landmarks68)
        by_source = np.array([_ODDS.get(name, 1.0) for name in ARCHIVES])[self.source]
        odds = by_source * np.where(np.abs(seen.yaw) > TURNED, _TURNED_ODDS, 1.0)
        odds = odds * np.where(seen.mouth_is_open, _OPEN_ODDS, 1.0)
        return odds * np.where(self.luma < DARK_LUMA, _DARK_ODDS, 1.0)

    def fitted(self, most_bytes: int, quality: int) -> ContextPack:
        """Return a smaller pack with re-encoded crops and as many faces as fit.

        About a quarter of the held-out faces comes first, then the training faces in random order weighted by `odds`
        (Efraimidis and Spirakis 2006), then the other held-out faces.

        Args:
            most_bytes: Approximate size of the pack's file.
            quality: WebP quality of the crops, 1 to 100.
        """
        rng = np.random.default_rng(0)
        key = rng.random(len(self)) ** (1 / self.odds())
        order = np.argsort(-np.where(self.held_out, np.where(rng.random(len(self)) < 0.25, 2.0, -1.0), key))
        webp: list[np.ndarray[Any, Any]] = []
        rows: list[int] = []
        total = 0
        for part in np.array_split(order, max(1, len(order) // 512)):
            for row, content in zip(part, _encoded(self.crops(part), quality), strict=True):
                total += len(content) + self._beside(row)
                if total > most_bytes:
                    return self._of_crops(np.array(rows), webp)
                rows.append(int(row))
                webp.append(content)
        return self._of_crops(np.array(rows), webp)

    def _beside(self, row: int) -> int:
        """Return the approximate number of bytes that a face takes without its crop."""
        return int(self.labels_offsets[row + 1] - self.labels_offsets[row]) + 2 * self.second.shape[1] + 700

    def _of_crops(self, rows: np.ndarray[Any, Any], webp: list[np.ndarray[Any, Any]]) -> ContextPack:
        back = np.argsort(rows)
        chosen = self.only(rows[back])
        parts = [webp[i] for i in back]
        offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        columns = {name: getattr(chosen, name) for name in self.__dataclass_fields__}
        return ContextPack(**columns | {"webp": np.concatenate(parts), "offsets": offsets})

    def save(self, path: Path) -> None:
        """Write the pack, completely or not at all."""
        names = [name for name in self.__dataclass_fields__ if name not in _PACKED]
        rows = [
            {name: getattr(self, name)[i] for name in names}
            | {"webp": self.webp[self.offsets[i] : self.offsets[i + 1]]}
            | {"labels_png": self.labels_png[self.labels_offsets[i] : self.labels_offsets[i + 1]]}
            for i in range(len(self))
        ]
        write_rows(path, rows, self.template)


_PACKED = ("template", "webp", "offsets", "labels_png", "labels_offsets")


def _encoded(crops: ImageRGB, quality: int) -> list[np.ndarray[Any, Any]]:
    def encode(crop: ImageRGB) -> np.ndarray[Any, Any]:
        return cv2.imencode(".webp", crop[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])[1].reshape(-1)

    with ThreadPoolExecutor(_WORKERS) as pool:
        return list(pool.map(encode, crops))


def build_context_pack(
    data: Path,
    out: Path,
    teachers: Path | None = None,
    options: ContextPackOptions | None = None,
    *,
    bundle: str = APPEARANCE_MODEL,
    say: Callable[[str], None] = print,
) -> dict[str, int]:
    """Make a pack for the context generator. The file is written completely or not at all.

    Args:
        data: Folder of the archives (`options.sources`) as .tar files.
        out: The .npz file to write.
        teachers: Folder with a second recogniser, `identity_mobilefacenet.onnx`; None leaves its embeddings out.
        options: Crop size, quality and number of faces.
        bundle: The bundle whose parser, recogniser and attribute network are applied to the faces.
        say: Called with a line of progress after each archive.

    Returns:
        The number of faces by archive, and of dropped photos by reason.

    Raises:
        TrainingError: If an archive or the second recogniser is missing, an image is unreadable, or no face is found.
    """
    options = options or ContextPackOptions()
    template = CropTemplate.tight(options.inner_px, options.margin_px)
    counts = dict.fromkeys((*options.sources, "no face", "unsure landmarks", "too small"), 0)
    rows: list[dict[str, Any]] = []
    with limited_threads(1), ThreadPoolExecutor(_WORKERS) as pool:
        annotate = partial(_Annotator(find_bundle(bundle), teachers, template).rows, options=options)
        for source in options.sources:
            found: list[dict[str, Any]] = []
            for chunk in _windowed(pool, annotate, _chunks(data / f"{source}.tar", source, options)):
                found += [row for row in chunk if isinstance(row, dict)]
                for reason in (row for row in chunk if isinstance(row, str)):
                    counts[reason] += 1
            counts[source] = len(found)
            rows += found
            say(f"{source}: {len(found)} faces")
    if not rows:
        raise TrainingError(f"No face that can be used was found in the archives in {data}.")
    write_rows(out, rows, template)
    return counts


def _chunks(path: Path, source: str, options: ContextPackOptions) -> Iterator[tuple[str, list[tuple[str, ImageRGB]]]]:
    photos = ((name, image) for name, image, _ in read_archive(path, options.sources, options.faces))
    while chunk := list(itertools.islice(photos, _CHUNK)):
        yield source, chunk


def _windowed(pool: ThreadPoolExecutor, work: Callable[..., Any], items: Iterator[Any]) -> Iterator[Any]:
    """Yield results in order. Few items are in flight at once, so that an archive is not decoded into memory."""
    waiting = [pool.submit(work, item) for item in itertools.islice(items, 2 * _WORKERS)]
    while waiting:
        yield waiting.pop(0).result()
        waiting += [pool.submit(work, item) for item in itertools.islice(items, 1)]


class _Annotator:
    """Turns photos into rows of a pack. Several threads may call it at once."""

    def __init__(self, folder: Path, teachers: Path | None, template: CropTemplate) -> None:
        self._bundle, self._template = Bundle(folder), template
        self._detector = FaceDetector(DetectorOptions(threshold=0.5))
        self._second = None if teachers is None else _second_recogniser(teachers)
        spec = self._bundle.spec
        if spec.identity_crop is None:
            raise TrainingError(f"The bundle {spec.name} defines no identity_crop, so its recogniser cannot be used.")
        points = np.asarray(template.points_px, np.float32)
        self._to_parser = fit_similarity(points, np.asarray(spec.crop.points_px, np.float32))
        self._to_identity = fit_similarity(points, np.asarray(spec.identity_crop.points_px, np.float32))

    def rows(
        self, chunk: tuple[str, list[tuple[str, ImageRGB]]], options: ContextPackOptions
    ) -> list[dict[str, Any] | str]:
        """Return a row for each photo of a chunk, or the reason why it was dropped. The order is not kept."""
        source, photos = chunk
        cut = [self._cut(name, image, source, options) for name, image in photos]
        kept = [row for row in cut if isinstance(row, dict)]
        dropped: list[dict[str, Any] | str] = [row for row in cut if isinstance(row, str)]
        if not kept:
            return dropped
        crops = np.stack([row.pop("crop") for row in kept])
        for row, seen in zip(kept, self._seen(crops), strict=True):
            apart = np.linalg.norm(geometry.five_points(seen["landmarks68"]) - row["landmarks5"], axis=-1).mean()
            unsure = apart > _MOST_APART * geometry.inter_ocular(seen["landmarks68"])
            dropped.append("unsure landmarks" if unsure else row | seen)
        return dropped

    def _cut(self, name: str, image: ImageRGB, source: str, options: ContextPackOptions) -> dict[str, Any] | str:
        face = self._face(image)
        if face is None:
            return "no face"
        matrix = self._template.matrix(face.landmarks_px[0])
        if scale_of(matrix) > _MOST_ENLARGED:
            return "too small"
        number = ARCHIVES.index(source)
        row = face_row(name, number, image, None, face=face, matrix=matrix, template=self._template, options=options)
        return row | {"crop": self._template.crop(image, matrix)}

    def _face(self, image: ImageRGB) -> Faces | None:
        """Return the photo's main face, detected in a small copy for speed. The parser refines its landmarks."""
        scale = min(1.0, _DETECTED_SIDE_PX / max(image.shape[:2]))
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
        face = main_face(self._detector.detect(np.asarray(small, np.uint8)), small.shape)
        return None if face is None else face.moved(1 / scale, (0, 0))

    def _seen(self, crops: ImageRGB) -> list[dict[str, Any]]:
        """Return the networks' outputs for crops, a dictionary of columns for each."""
        spec = self._bundle.spec
        parsed = np.stack([warp_to(crop, self._to_parser, spec.crop.size_px) for crop in crops])
        views = np.stack([warp_to(crop, self._to_identity, 112) for crop in crops])
        logits, landmarks = self._bundle.parse(parsed)
        back = cv2.invertAffineTransform(self._to_parser.astype(np.float64))
        landmarks = transform_points(landmarks, np.asarray(back, np.float32))
        embedding, looks = self._bundle.embed(views), self._bundle.describe(parsed)
        second = self._second_of(views)
        labels = PART_OF_CLASS[logits.argmax(1)]
        return [
            {
                "landmarks68": np.round(landmarks[i] * _POINT_STEPS) / _POINT_STEPS,  # rounded, to compress well
                "labels_png": cv2.imencode(".png", labels[i], [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].reshape(-1),
                "embedding": embedding[i].astype(np.float16),
                "second": second[i].astype(np.float16),
                "looks": looks[i].astype(np.float16),
                "luma": _face_luma(parsed[i], labels[i]),
                "glasses": np.float32((labels[i] == Part.GLASSES).sum() / max(1, (labels[i] == Part.FACE).sum())),
            }
            for i in range(len(crops))
        ]

    def _second_of(self, views: ImageRGB) -> FloatArray:
        if self._second is None:
            return np.zeros((len(views), 0), np.float32)
        name = self._second.get_inputs()[0].name
        batch = ((views / np.float32(255) - _MEAN) / _DEVIATION).transpose(0, 3, 1, 2).astype(np.float32)
        raw = np.concatenate([self._second.run(None, {name: one[None]})[0].reshape(1, -1) for one in batch])
        return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def _second_recogniser(teachers: Path) -> Any:
    path = teachers / "identity_mobilefacenet.onnx"
    if not path.is_file():
        raise TrainingError(f"The second recogniser {path} is missing. Leave `teachers` out to do without it.")
    return open_session(tidy_model(path))


def _face_luma(crop: ImageRGB, labels: np.ndarray[Any, Any]) -> np.float32:
    grey = cv2.resize(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), labels.shape[::-1], interpolation=cv2.INTER_AREA)
    face = labels == Part.FACE
    return np.float32(grey[face].mean() if face.any() else grey.mean())
