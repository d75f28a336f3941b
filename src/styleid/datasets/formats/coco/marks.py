"""Read the boxes of one annotation of COCO: its bbox, its polygons, and boxes of faces and heads."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from styleid.datasets.classes import Kind
from styleid.datasets.hints import NO_BOX, Box, box_around, box_of, hull

_PART = re.compile(
    r"(?:^|[^a-z])(?P<one>face|head)s?[^a-z]*(?:b?box|rect)|(?:^|[^a-z])(?:b?box|rect)(?:es|s)?[^a-z]*(?P<two>face|head)"
)
_HEAD_KEYS = ("hbox", "h_box", "hbbox", "h_bbox")
_FACE_OR_FULL_KEYS = ("f_bbox", "fbbox")
_NESTED = ("attributes", "extra")
_SLACK_PX = 2.0
_SLACK = 0.05
_AREA_SLACK = 2.0
_FACE_OF_PERSON = 1 / 3


def boxes_of(row: Mapping[str, Any]) -> tuple[tuple[Box, ...], str]:
    """Return an annotation's boxes, and why they cannot be trusted; empty if they can.

    The box is its bbox, or the bounding box of its polygons; NaN if it has neither. If polygons reach beyond the bbox,
    the two are in different units or one is wrong: both are returned, as one box if they overlap. Without polygons, the
    annotation's area must fit into its bbox.
    """
    given, outline = row.get("bbox"), _outline(row.get("segmentation"))
    if not (isinstance(given, list) and len(given) == 4):
        return (outline,), ""
    box = box_of(*given)
    if _is_nan(outline):
        return (box,), "" if row.get("iscrowd") in (1, True) else _doubt(box, row.get("area"))
    if _is_nan(box) or _holds(box, outline):
        return (box,), ""
    return ((hull([box, outline]),) if _overlap(box, outline) else (box, outline)), ""


def _doubt(box: Box, area: Any) -> str:
    inside = (box[2] - box[0]) * (box[3] - box[1])
    if not isinstance(area, int | float) or not area > _AREA_SLACK * inside + _SLACK_PX**2:
        return ""
    doubt = f"its area of {min(area, 1e15):g} does not fit into its bbox, which has {inside:g} px"
    return f"{doubt}: one may be in other units"


def part_boxes_of(row: Mapping[str, Any]) -> Iterator[tuple[Kind, Box, str]]:
    """Yield the boxes of faces and heads in an annotation of a person: kind, box, key.

    Examples are COCO-WholeBody's face_box, CrowdHuman's hbox and h_bbox, and PoseTrack's bbox_head. None and boxes of
    zeros stand for a part that is not visible.
    """
    for record in (row, *(one for key in _NESTED if isinstance(one := row.get(key), dict))):
        for key, value in record.items():
            kind = _part_in_name(key)
            if kind is None or not value or not isinstance(value, list | dict | str):
                continue
            seen = record.get(f"{kind}_valid")
            if seen in (False, 0) or (key.lower() in _FACE_OR_FULL_KEYS and _is_full(value, row)):
                continue
            for box in _part_boxes(key, value, known=bool(seen)):
                yield kind, box, key


@lru_cache(maxsize=1024)
def _part_in_name(key: str) -> Kind | None:
    """Return the part that a key names, None if it names none."""
    plain = key.lower()
    if plain in _HEAD_KEYS:
        return Kind.HEAD
    match = _PART.search(plain)
    if match is None:
        return Kind.FACE if plain in _FACE_OR_FULL_KEYS else None
    return Kind(match["one"] or match["two"])


def _is_full(value: Any, row: Mapping[str, Any]) -> bool:
    """Return whether a box is of a whole body, as CrowdHuman's fbox, and not of a face."""
    boxes = [box_of(*one) for one in (value, row.get("bbox")) if isinstance(one, list) and len(one) == 4]
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes]
    return len(areas) < 2 or not areas[0] < _FACE_OF_PERSON * areas[1]


def _part_boxes(key: str, value: Any, *, known: bool) -> Iterator[Box]:
    """Yield the boxes of a key. known: whether the annotation says that the part is visible."""
    if isinstance(value, dict):
        value = [value.get("x"), value.get("y"), *(value.get(k, value.get(k[0])) for k in ("width", "height"))]
    several = isinstance(value, list) and all(isinstance(one, list) for one in value)
    for one in value if several else [value]:
        if not (isinstance(one, list) and len(one) == 4):
            yield NO_BOX
        elif known or any(number != 0 for number in one):
            box = box_of(*one)
            yield (*box[:2], box[2] - box[0], box[3] - box[1]) if "xyxy" in key.lower() else box


def _outline(parts: Any) -> Box:
    """Return the bounding box of an annotation's polygons; NaN if it has none, or one of them is invalid."""
    return hull(box_around(part) for part in parts) if isinstance(parts, list) and parts else NO_BOX


def _is_nan(box: Box) -> bool:
    return math.isnan(sum(box))


def _holds(box: Box, outline: Box) -> bool:
    x0, y0, x1, y1 = box
    dx, dy = _SLACK_PX + _SLACK * abs(x1 - x0), _SLACK_PX + _SLACK * abs(y1 - y0)
    return outline[0] >= x0 - dx and outline[1] >= y0 - dy and outline[2] <= x1 + dx and outline[3] <= y1 + dy


def _overlap(box: Box, outline: Box) -> bool:
    """Return whether two boxes overlap and each is at least a pixel wide and high."""
    sizes = [side for x0, y0, x1, y1 in (box, outline) for side in (x1 - x0, y1 - y0)]
    shared = [min(box[i + 2], outline[i + 2]) - max(box[i], outline[i]) for i in (0, 1)]
    return min(sizes) >= 1 and min(shared) > 0
