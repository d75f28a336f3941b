"""Read one of COCO's JSON files, and change its text where faces are added or photos are gone."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from styleid.datasets.classes import Kind
from styleid.datasets.formats.coco.json_text import Part, edit, walk
from styleid.datasets.hints import NOTHING, Box, Marked, box_around, box_of
from styleid.datasets.plan import FoundFaces
from styleid.errors import DatasetError

Key = int | float | str
"""An id as a dictionary's key."""


@dataclass(frozen=True)
class ImageEntry:
    """One entry of `images`. size_wh: as it tells it, or None."""

    file_name: str
    size_wh: tuple[int, int] | None


@dataclass(frozen=True)
class Panoptic:
    """One panoptic annotation: a map's file name, the id of its image, and the segments that it may show."""

    file_name: str
    image: Key
    ids: frozenset[int]


@dataclass(frozen=True)
class _Annotation:
    image: Key
    category: Key
    box: Box
    index: int
    crowd: bool


@dataclass
class CocoFile:
    """What an annotation file says. is_detections: whether faces can be added to it: boxes without keypoints."""

    images: dict[Key, list[ImageEntry]] = field(default_factory=dict)
    categories: dict[Key, str] = field(default_factory=dict)
    panoptic: list[Panoptic] = field(default_factory=list)
    is_detections: bool = True
    _annotations: list[_Annotation] = field(default_factory=list)

    def keyed_images(self) -> Iterator[tuple[Key, ImageEntry]]:
        """Yield each entry of `images` with its id."""
        for key, entries in self.images.items():
            for entry in entries:
                yield key, entry

    def entries(self) -> Iterator[ImageEntry]:
        """Yield each entry of `images`."""
        return (entry for _, entry in self.keyed_images())

    def marked(self, kinds: Mapping[Key, Kind], name: str) -> dict[Key, list[Marked]]:
        """Return the boxes of some categories by image. name: what to call the file in messages."""
        found: dict[Key, list[Marked]] = {}
        for one in self._annotations:
            if (kind := kinds.get(one.category)) is not None:
                box = Marked(kind, one.box, f"annotation {one.index} in {name}", one.crowd)
                found.setdefault(one.image, []).append(box)
        return found


def read_coco(path: Path, *, boxes: bool) -> CocoFile | None:
    """Read a file; None where it is JSON, but holds no list of images.

    boxes: also keep the annotations' boxes. Raises DatasetError where it is no JSON in UTF-8.
    """
    text = _text(path)
    if text.lstrip("\ufeff \t\r\n")[:1] == "[":
        return None
    file, seen, count = CocoFile(), set(), 0
    try:
        for piece in walk(text):
            if piece.part is Part.END:
                seen.add(piece.key)
            elif piece.part is Part.ITEM and isinstance(piece.value, dict):
                count += piece.key == "annotations"
                _take(file, piece.key, piece.value, count if boxes else 0)
    except ValueError as error:
        raise DatasetError(path, f"this is no JSON that can be read: {error}") from error
    file.is_detections = file.is_detections and {"annotations", "categories"} <= seen
    return file if "images" in seen else None


def rewrite_coco(data: bytes, gone: Collection[Key], faces: Mapping[Key, FoundFaces] | None, face_class: str) -> bytes:
    """Return a file's bytes without the entries of some images, and with the faces of others.

    gone: ids of images. faces: by id of an image; None adds no class either. What stays is not touched.
    """
    text = data.decode("utf-8")
    added: dict[str, list[str]] = {}
    if faces is not None:
        added = _added(text, faces, face_class)

    def keep(key: str, item: Any) -> bool:
        field_name = "id" if key == "images" else "image_id"
        return not (isinstance(item, dict) and field_name in item and _key(item[field_name]) in gone)

    return edit(text, keep, added).encode("utf-8")


def _added(text: str, faces: Mapping[Key, FoundFaces], face_class: str) -> dict[str, list[str]]:
    highest = {"annotations": 0, "categories": 0}
    raw_ids: dict[Key, Any] = {}
    for piece in walk(text):
        if piece.part is not Part.ITEM or not isinstance(piece.value, dict):
            continue
        number = piece.value.get("id")
        if piece.key == "images":
            raw_ids.setdefault(_key(number), number)
        elif piece.key in highest and isinstance(number, int | float) and math.isfinite(number):
            highest[piece.key] = max(highest[piece.key], math.floor(number))
    category = highest["categories"] + 1
    rows = []
    for key, number in raw_ids.items():
        boxes = faces[key].in_frame("stored")[0] if key in faces else []
        for x0, y0, x1, y1 in boxes:
            box = [round(float(v), 1) for v in (x0, y0, x1 - x0, y1 - y0)]
            row = {"id": highest["annotations"] + len(rows) + 1, "image_id": number, "category_id": category}
            row |= {"bbox": box, "area": round(box[2] * box[3], 2), "iscrowd": 0, "segmentation": []}
            rows.append(json.dumps(row))
    entry = json.dumps({"id": category, "name": face_class, "supercategory": "person"})
    return {"categories": [entry], "annotations": rows}


def _take(file: CocoFile, key: str, item: dict[str, Any], index: int) -> None:
    """Note what one item says. index: of an annotation, from 1, where its box is wanted, else 0."""
    if key == "images":
        size = item.get("width"), item.get("height")
        whole = all(isinstance(v, int) and v > 0 for v in size)
        entry = ImageEntry(str(item.get("file_name", "")), size if whole else None)  # type: ignore[arg-type]
        file.images.setdefault(_key(item.get("id")), []).append(entry)
    elif key == "categories":
        file.categories[_key(item.get("id"))] = str(item.get("name", ""))
    elif key == "annotations":
        image = _key(item.get("image_id"))
        if isinstance(segments := item.get("segments_info"), list):
            file.is_detections = False
            ids = frozenset(s["id"] for s in segments if isinstance(s, dict) and isinstance(s.get("id"), int))
            file.panoptic.append(Panoptic(str(item.get("file_name", "")), image, ids))
            rows = [s for s in segments if isinstance(s, dict)]
        else:
            file.is_detections = file.is_detections and "keypoints" not in item and "category_id" in item
            rows = [item]
        if index:
            file._annotations += [_annotation(row, image, index) for row in rows if "category_id" in row]


def _annotation(row: dict[str, Any], image: Key, index: int) -> _Annotation:
    return _Annotation(image, _key(row["category_id"]), _box(row), index - 1, row.get("iscrowd") in (1, True))


def _box(row: dict[str, Any]) -> Box:
    """Return an annotation's box by edges: its bbox, or what its polygons take up; NaN where it has neither."""
    given, parts = row.get("bbox"), row.get("segmentation")
    if isinstance(given, list) and len(given) == 4:
        return box_of(*given)
    if isinstance(parts, list) and parts:
        boxes = [box_around(part) for part in parts]
        if any(math.isnan(box[0]) for box in boxes):
            return NOTHING
        lows, highs = zip(*((b[:2], b[2:]) for b in boxes), strict=True)
        (x0, y0), (x1, y1) = map(min, zip(*lows, strict=True)), map(max, zip(*highs, strict=True))
        return x0, y0, x1, y1
    return NOTHING


def _key(value: Any) -> Key:
    return value if isinstance(value, int | float | str) else repr(value)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise DatasetError(path, f"it cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise DatasetError(path, f"it is not UTF-8 ({error.reason} at byte {error.start}). Save it as UTF-8") from error
