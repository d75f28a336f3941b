"""Read a JSON file of COCO, and rewrite it when faces are added or entries removed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from styleid.datasets.classes import Kind
from styleid.datasets.formats.coco.json_text import PieceKind, edit, walk
from styleid.datasets.formats.coco.marks import boxes_of, part_boxes_of
from styleid.datasets.hints import NO_BOX, Box, Marked, may_be_percent
from styleid.datasets.options import Unit
from styleid.datasets.plan import FoundFaces
from styleid.errors import DatasetError

Key = int | float | str
"""An id as a dictionary's key."""
_NO_KEY = "None"
_URLS = ("coco_url", "url", "flickr_url")


@dataclass(frozen=True)
class ImageEntry:
    """One entry of `images`. size_wh: width and height as stated, or None. key: its id. urls: its URLs of the photo."""

    file_name: str
    size_wh: tuple[int, int] | None
    key: Key = _NO_KEY
    urls: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """Its name in messages: the file name, or a URL that ends in one."""
        return self.file_name or next((url for url in self.urls if not url.endswith("/")), "''")


@dataclass(frozen=True)
class Panoptic:
    """One panoptic annotation: a map's file name, the id of its image, and the segments that it may contain."""

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
    """The boxes that a file marks.

    by_image: by the id of their image. reached: ids of images with any annotation. lost: marks whose image is not
    listed. orphans: number and image_id of all annotations whose image is not listed, of any category.
    """

    by_image: dict[Key, list[Marked]] = field(default_factory=dict)
    reached: set[Key] = field(default_factory=set)
    lost: list[Marked] = field(default_factory=list)
    orphans: list[tuple[int, Key]] = field(default_factory=list)


@dataclass
class CocoFile:
    """The content of an annotation file.

    categories: names by id; there should be one each. is_detections: whether it has boxes without keypoints, so that
    faces can be added. others: the files that list the images of its annotations, if it lists none itself.
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
        """Return the boxes of some categories, and boxes of faces and heads that annotations of any category have.

        Args:
            kinds: The kinds of the categories to return, by id.
            name: The file's name, for messages.
            unit: Unit of the boxes, as the user states it.
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
        """Yield the keys whose boxes may all be in percent: empty for `bbox`, a name such as face_box for parts."""
        boxes: dict[str, list[Box]] = {}
        for one in self._annotations:
            boxes.setdefault("", []).extend(one.boxes)
            for _, box, key in one.parts:
                boxes.setdefault(key, []).append(box)
        return (key for key, every in boxes.items() if may_be_percent(every))

    def _marked(
        self, one: _Annotation, kinds: Mapping[Key, Kind], name: str, in_doubt: Mapping[str, str]
    ) -> Iterator[Marked]:
        """Yield an annotation's marks. in_doubt: names for messages, by the keys of boxes that may be in percent."""
        where = f"annotation {one.index} in {name}"
        category = self._category_of(one.category)
        if category is None:
            if self.categories or one.category != _NO_KEY:
                problem = f"its category_id {one.category!r} is not among the file's categories, so it may mark a face"
                yield Marked(Kind.FACE, NO_BOX, where, problem=problem)
        elif (kind := kinds.get(category)) is not None:
            for box in one.boxes:
                doubt = one.doubt if kind is not Kind.PERSON else ""
                yield Marked(kind, box, where, one.crowd, doubt, in_doubt.get("", ""))
        for part, box, key in one.parts:
            yield Marked(part, box, f"{key} of {where}", unit_of=in_doubt.get(key, ""))

    def image_of(self, value: Key, file_name: str = "") -> Key | None:
        """Return the id of an annotation's image; None if no image matches.

        Args:
            value: The annotation's image_id: an id, possibly written otherwise, or a file name.
            file_name: The annotation's own file_name.
        """
        if not self.images:
            found = (other.image_of(value, file_name) for other in self.others if other.images)
            return next((key for key in found if key is not None), None)
        if value in self.images and value != _NO_KEY:
            return value
        loose = self._loose_images()
        return next((key for text in (_text_of(value), file_name) if (key := loose.get(text)) is not None), None)

    def _loose_images(self) -> dict[str, Key | None]:
        """Return ids of images by their other forms and names; None where several images match."""
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
    """Read a file.

    Args:
        path: The JSON file.
        boxes: Whether to keep the annotations' boxes, and to read files that have annotations but no list of images.

    Returns:
        The content; None if the file is JSON without a list of images.

    Raises:
        DatasetError: The file is no JSON in UTF-8, or its annotations are needed and are no list.
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
        raise DatasetError(path, f"it is not valid JSON: {error}") from error
    if unlisted and "images" in seen:
        raise DatasetError(path, "its annotations are not a list of objects, so faces would be missed")
    file.is_detections = file.is_detections and {"images", "annotations", "categories"} <= seen
    return file if "images" in seen or (boxes and file._annotations) else None


def rewrite_coco(
    data: bytes,
    gone: Collection[Key],
    faces: Mapping[Key, FoundFaces] | None,
    face_class: str,
    image_of: Callable[[Key], Key | None],
) -> bytes:
    """Return a file's bytes without the entries of some images, and with added faces. The rest is unchanged.

    Args:
        data: The file's bytes, UTF-8.
        gone: Ids of images whose entries are removed.
        faces: Faces to add, by the id of their image; None to add neither faces nor a class.
        face_class: Name of the class of added faces.
        image_of: Returns the id of the image for an annotation's image_id.
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
    """Return a box, x y width height, as a polygon; readers of masks fail without one."""
    x, y, width, height = box
    right, bottom = round(x + width, 1), round(y + height, 1)
    return [x, y, right, y, right, bottom, x, bottom]


def _take(file: CocoFile, key: str, item: dict[str, Any], index: int) -> None:
    """Store one item. index: number of the annotation, from 1, if its box is needed, else 0."""
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
    return "category_id" in row or "bbox" in row or any(part_boxes_of(row))


def _annotation(row: dict[str, Any], image: Key, index: int) -> _Annotation:
    boxes, doubt = boxes_of(row)
    rest = index - 1, row.get("iscrowd") in (1, True), doubt, tuple(part_boxes_of(row)), _string(row.get("file_name"))
    return _Annotation(image, _key(row.get("category_id")), boxes, *rest)


def _size(item: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return an entry's width and height, given as numbers or text; None if they are no whole numbers."""
    try:
        width, height = (float(item[side]) for side in ("width", "height"))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    whole = width.is_integer() and height.is_integer() and min(width, height) > 0
    return (int(width), int(height)) if whole else None


def _string(value: Any) -> str:
    return "" if value is None else str(value)


def _text_of(key: Key) -> str:
    """Return an id as text that is equal for 7, 7.0, "7" and "007"."""
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
