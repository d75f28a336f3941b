"""Read one of COCO's JSON files, and change its text where faces are added or photos are gone."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from styleid.datasets.classes import Kind
from styleid.datasets.formats.coco.json_text import PieceKind, edit, walk
from styleid.datasets.formats.coco.marks import parts_of, places_of
from styleid.datasets.hints import NOTHING, Box, Marked, may_be_percent
from styleid.datasets.options import Unit
from styleid.datasets.plan import FoundFaces
from styleid.errors import DatasetError

Key = int | float | str
"""An id as a dictionary's key."""
_NO_KEY = "None"
_URLS = ("coco_url", "url", "flickr_url")


@dataclass(frozen=True)
class ImageEntry:
    """One entry of `images`. size_wh: as it tells it, or None. key: its id. urls: where it says that the photo is."""

    file_name: str
    size_wh: tuple[int, int] | None
    key: Key = _NO_KEY
    urls: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """What to call it in a message: its file name, or a URL that ends in one."""
        return self.file_name or next((url for url in self.urls if not url.endswith("/")), "''")


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
    boxes: tuple[Box, ...]
    index: int
    crowd: bool
    doubt: str
    parts: tuple[tuple[Kind, Box, str], ...]
    file_name: str


@dataclass
class Marks:
    """What a file marks.

    by_image: by the id of an image. reached: the ids of images with any annotation. lost: what no image has the id of.
    orphans: the numbers of all annotations whose image_id no image has, whatever their category, with that id.
    """

    by_image: dict[Key, list[Marked]] = field(default_factory=dict)
    reached: set[Key] = field(default_factory=set)
    lost: list[Marked] = field(default_factory=list)
    orphans: list[tuple[int, Key]] = field(default_factory=list)


@dataclass
class CocoFile:
    """What an annotation file says.

    categories: names by id, of which there should be one each. is_detections: whether faces can be added to it: boxes
    without keypoints. others: the files whose images its annotations mean, where it lists none itself.
    """

    images: dict[Key, list[ImageEntry]] = field(default_factory=dict)
    categories: dict[Key, list[str]] = field(default_factory=dict)
    panoptic: list[Panoptic] = field(default_factory=list)
    is_detections: bool = True
    others: Sequence[CocoFile] = ()
    _annotations: list[_Annotation] = field(default_factory=list)
    _loose: dict[str, Key | None] | None = None

    def keyed_images(self) -> Iterator[tuple[Key, ImageEntry]]:
        """Yield each entry of `images` with its id."""
        for key, entries in self.images.items():
            for entry in entries:
                yield key, entry

    def entries(self) -> Iterator[ImageEntry]:
        """Yield each entry of `images`."""
        return (entry for _, entry in self.keyed_images())

    @property
    def has_parts(self) -> bool:
        """Whether annotations bring boxes of faces or heads beside their own."""
        return any(one.parts for one in self._annotations)

    def marks(self, kinds: Mapping[Key, Kind], name: str, unit: Unit = "auto") -> Marks:
        """Return the boxes of some categories, and those of faces and heads beside any.

        name: the file's, to tell. unit: what the user says that boxes count.
        """
        found = Marks()
        keys = self._keys_in_percent() if unit == "auto" else ()
        in_doubt = {key: f"{key} in {name}" if key else name for key in keys}
        for one in self._annotations:
            image = self.image_of(one.image, one.file_name)
            known = one if unit in ("auto", "pixels") else replace(one, doubt="")  # areas are in pixels
            marked = [*self._marked(known, kinds, name, in_doubt)]
            if image is None:
                found.orphans.append((one.index, one.image))
                found.lost += marked
                continue
            found.reached.add(image)
            if marked:
                found.by_image.setdefault(image, []).extend(marked)
        return found

    def _keys_in_percent(self) -> Iterator[str]:
        """Yield the keys whose boxes may all be in percent: "" for annotations' own, such as face_box for parts."""
        boxes: dict[str, list[Box]] = {}
        for one in self._annotations:
            boxes.setdefault("", []).extend(one.boxes)
            for _, box, key in one.parts:
                boxes.setdefault(key, []).append(box)
        return (key for key, every in boxes.items() if may_be_percent(every))

    def _marked(
        self, one: _Annotation, kinds: Mapping[Key, Kind], name: str, in_doubt: Mapping[str, str]
    ) -> Iterator[Marked]:
        """Yield an annotation's marks. in_doubt: by the key of boxes that may be in percent, what to call them."""
        where = f"annotation {one.index} in {name}"
        category = self._category_of(one.category)
        if category is None:
            if self.categories or one.category != _NO_KEY:
                problem = f"its category_id {one.category!r} is not among the file's categories, so it may mark a face"
                yield Marked(Kind.FACE, NOTHING, where, problem=problem)
        elif (kind := kinds.get(category)) is not None:
            for box in one.boxes:
                doubt = one.doubt if kind is not Kind.PERSON else ""
                yield Marked(kind, box, where, one.crowd, doubt, in_doubt.get("", ""))
        for part, box, key in one.parts:
            yield Marked(part, box, f"{key} of {where}", unit_of=in_doubt.get(key, ""))

    def image_of(self, value: Key, file_name: str = "") -> Key | None:
        """Return the id of the image that an annotation's image_id means: as it is, as a number, or as a file name.

        file_name: what the annotation itself says. None where no image has it.
        """
        if not self.images:
            found = (other.image_of(value, file_name) for other in self.others if other.images)
            return next((key for key in found if key is not None), None)
        if value in self.images and value != _NO_KEY:
            return value
        loose = self._loose_images()
        return next((key for text in (_text_of(value), file_name) if (key := loose.get(text)) is not None), None)

    def _loose_images(self) -> dict[str, Key | None]:
        """Return ids of images by what else may stand for them; None where several images fit."""
        if self._loose is None:
            self._loose = {}
            for key, entry in self.keyed_images():
                names = (entry.file_name, PurePosixPath(entry.file_name).stem)
                for text in {_text_of(key), *names} - {"", _NO_KEY}:
                    self._loose[text] = key if self._loose.get(text, key) == key else None
        return self._loose

    def _category_of(self, value: Key) -> Key | None:
        if value in self.categories:
            return value
        if value == _NO_KEY:
            return next(iter(self.categories)) if len(self.categories) == 1 else None
        fits = [key for key, names in self.categories.items() if _text_of(value) in (_text_of(key), *names)]
        return fits[0] if len(fits) == 1 else None


def read_coco(path: Path, *, boxes: bool) -> CocoFile | None:
    """Read a file; None where it is JSON, but holds no list of images.

    boxes: also keep the annotations' boxes, and read a file that holds them without a list of images. Raises
    DatasetError where it is no JSON in UTF-8, or its boxes are wanted and are no list.
    """
    text = _text(path)
    if text.lstrip("\ufeff \t\r\n")[:1] == "[":
        return None
    file, seen, count, unlisted = CocoFile(), set(), 0, False
    try:
        for piece in walk(text):
            if piece.part is PieceKind.END:
                seen.add(piece.key)
            elif piece.part is PieceKind.ITEM and isinstance(piece.value, dict):
                count += piece.key == "annotations"
                _take(file, piece.key, piece.value, count if boxes else 0)
            elif piece.key == "annotations" and piece.value:
                unlisted = boxes
    except ValueError as error:
        raise DatasetError(path, f"this is no JSON that can be read: {error}") from error
    if unlisted and "images" in seen:
        raise DatasetError(path, "its annotations are no list of objects, so what they mark would be missed")
    file.is_detections = file.is_detections and {"images", "annotations", "categories"} <= seen
    return file if "images" in seen or (boxes and file._annotations) else None


def rewrite_coco(
    data: bytes,
    gone: Collection[Key],
    faces: Mapping[Key, FoundFaces] | None,
    face_class: str,
    image_of: Callable[[Key], Key | None],
) -> bytes:
    """Return a file's bytes without the entries of some images, and with the faces of others.

    gone: ids of images. faces: by id of an image; None adds no class either. image_of: which image an annotation's
    image_id means. What stays is not touched.
    """
    text = data.decode("utf-8")
    added: dict[str, list[str]] = {}
    if faces is not None:
        added = _added(text, faces, face_class)

    def keep(key: str, item: Any) -> bool:
        if not isinstance(item, dict):
            return True
        if key == "images":
            return _key(item.get("id")) not in gone
        return "image_id" not in item or image_of(_key(item["image_id"])) not in gone

    return edit(text, keep, added).encode("utf-8")


def _added(text: str, faces: Mapping[Key, FoundFaces], face_class: str) -> dict[str, list[str]]:
    highest = {"annotations": 0, "categories": 0}
    raw_ids: dict[Key, Any] = {}
    for piece in walk(text):
        if piece.part is not PieceKind.ITEM or not isinstance(piece.value, dict):
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
            row |= {"bbox": box, "area": round(box[2] * box[3], 2), "iscrowd": 0, "segmentation": [_corners(box)]}
            rows.append(json.dumps(row))
    entry = json.dumps({"id": category, "name": face_class, "supercategory": "person"})
    return {"categories": [entry], "annotations": rows}


def _corners(box: list[float]) -> list[float]:
    """Return a box, x y width height, as a polygon: readers of masks fail where there is none."""
    x, y, width, height = box
    right, bottom = round(x + width, 1), round(y + height, 1)
    return [x, y, right, y, right, bottom, x, bottom]


def _take(file: CocoFile, key: str, item: dict[str, Any], index: int) -> None:
    """Note what one item says. index: of an annotation, from 1, where its box is wanted, else 0."""
    if key == "images":
        urls = tuple(one for url in _URLS if isinstance(one := item.get(url), str) and one)
        entry = ImageEntry(_string(item.get("file_name")), _size(item), _key(item.get("id")), urls)
        file.images.setdefault(entry.key, []).append(entry)
    elif key == "categories":
        file.categories.setdefault(_key(item.get("id")), []).append(_string(item.get("name")))
    elif key == "annotations":
        image = _key(item.get("image_id"))
        if isinstance(segments := item.get("segments_info"), list):
            file.is_detections = False
            ids = frozenset(s["id"] for s in segments if isinstance(s, dict) and isinstance(s.get("id"), int))
            file.panoptic.append(Panoptic(_string(item.get("file_name")), image, ids))
            rows = [s for s in segments if isinstance(s, dict)]
        else:
            file.is_detections = file.is_detections and "keypoints" not in item and "category_id" in item
            rows = [item]
        if index:
            file._annotations += [_annotation(row, image, index) for row in rows if _may_mark(row)]


def _may_mark(row: dict[str, Any]) -> bool:
    return "category_id" in row or "bbox" in row or any(parts_of(row))


def _annotation(row: dict[str, Any], image: Key, index: int) -> _Annotation:
    boxes, doubt = places_of(row)
    told = index - 1, row.get("iscrowd") in (1, True), doubt, tuple(parts_of(row)), _string(row.get("file_name"))
    return _Annotation(image, _key(row.get("category_id")), boxes, *told)


def _size(item: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the width and height that an entry tells, as numbers or text; None where they are no whole numbers."""
    try:
        width, height = (float(item[side]) for side in ("width", "height"))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    whole = width.is_integer() and height.is_integer() and min(width, height) > 0
    return (int(width), int(height)) if whole else None


def _string(value: Any) -> str:
    return "" if value is None else str(value)


def _text_of(key: Key) -> str:
    """Return an id as text, so that 7, 7.0, "7" and "007" agree."""
    if isinstance(key, str):
        plain = key.strip()
        return (plain.lstrip("0") or "0") if plain.isdecimal() else plain
    return str(int(key)) if isinstance(key, int) or key.is_integer() else str(key)


def _key(value: Any) -> Key:
    return value if isinstance(value, int | float | str) else repr(value)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise DatasetError(path, f"it cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise DatasetError(path, f"it is not UTF-8 ({error.reason} at byte {error.start}). Save it as UTF-8") from error
