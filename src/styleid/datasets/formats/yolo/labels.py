"""The lines of one YOLO label file: a class, then a box, a polygon or a box with keypoints, in shares of the photo.

Nothing in a line says which of these it is. A `kpt_shape` in the data.yaml tells keypoints; without one, a long line is
a polygon, unless it reads as a box with landmarks inside it, as in the labels of yolov5-face and its like.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import NamedTuple

import numpy as np

from styleid.datasets.classes import Kind
from styleid.datasets.hints import NO_BOX, Box, Marked, box_around, hull
from styleid.types import FloatArray

_FEWEST_LANDMARKS = 3
_FEWEST_NUMBERS = 3
_UNKNOWN = -0.5
_BEYOND = 0.02
_AROUND = 0.1
_FACE_NUMBERS = 14
"""Numbers of a box with the five landmarks of face detectors."""
_LARGEST_SHARE = 1.1
_NO_SHARES = "its numbers are no shares of the photo, from 0 to 1"
_FILLED = 0.5
"""Share of its bounding box that a polygon usually encloses; lines between landmarks enclose less."""


class Form(Enum):
    """Kinds of lines. EITHER: a polygon or a box with landmarks."""

    BOX = auto()
    POLYGON = auto()
    LANDMARKS = auto()
    EITHER = auto()


class Row(NamedTuple):
    """One line: class, box by edges in shares (NaN where unreadable), line number, and what it is.

    numbers: how many follow the class. first: its first four as a box. outline: the box around it, read as a polygon.
    in_shares: whether its numbers can be shares of the photo.
    """

    number: int
    box: Box
    line: int
    form: Form
    numbers: int
    first: Box = NO_BOX
    outline: Box = NO_BOX
    in_shares: bool = True


@dataclass(frozen=True)
class Labels:
    """What a file says. unreadable: lines without a class."""

    rows: tuple[Row, ...]
    unreadable: tuple[int, ...]

    @property
    def highest(self) -> int:
        """The highest class number; -1 if there is none."""
        return max((row.number for row in self.rows), default=-1)

    @property
    def polygons(self) -> bool:
        """Whether any line is a polygon."""
        return any(row.form in (Form.POLYGON, Form.EITHER) for row in self.rows)

    @property
    def landmarks(self) -> bool:
        """Whether any line is a box with landmarks."""
        return any(row.form is Form.LANDMARKS for row in self.rows)

    @property
    def unsure(self) -> bool:
        """Whether any line is a polygon or a box with landmarks."""
        return any(row.form is Form.EITHER for row in self.rows)

    def marked(self, chosen: Mapping[int, Kind], named: Mapping[int, str], name: str) -> Iterator[Marked]:
        """Yield the boxes of chosen classes.

        named: the classes with a name. A line of another class, or without one, counts as a face that cannot be placed.
        """
        for row in self.rows:
            where = f"line {row.line} of {name}"
            if row.number in chosen:
                yield Marked(chosen[row.number], row.box, where, problem="" if row.in_shares else _NO_SHARES)
            elif named and row.number not in named:
                problem = f"nothing names its class {row.number}, so it may mark a face"
                yield Marked(Kind.FACE, NO_BOX, where, problem=problem)
        yield from (Marked(Kind.FACE, NO_BOX, f"line {line} of {name}") for line in self.unreadable)


def read_labels(data: bytes, keypoints: int) -> Labels:
    """Read a label file. keypoints: how many numbers after a box are keypoints."""
    rows, unreadable = [], []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            kind = float(words[0])
            if not (kind >= 0 and kind.is_integer()):
                raise ValueError
        except (ValueError, OverflowError):
            unreadable.append(number)
            continue
        rows.append(_row(int(kind), number, _numbers(words[1:]), keypoints))
    return Labels(tuple(rows), tuple(unreadable))


def with_forms_resolved(files: Mapping[str, Labels]) -> dict[str, Labels]:
    """Return a data set's labels with its long lines read as most of those are that can be one thing alone.

    Where one of the others is not what it was taken for, its box holds what it marks in either reading.
    """
    every = [row for labels in files.values() for row in labels.rows]
    landmarks = {row.numbers for row in every if row.form is Form.LANDMARKS}
    counts = [sum(row.form is form for row in every) for form in (Form.POLYGON, Form.LANDMARKS)]
    if counts[0] > counts[1]:
        return _each(files, _as_polygon)
    return _each(files, lambda row: _in_either_reading(row) if row.numbers in landmarks else row)


def _each(files: Mapping[str, Labels], change: Callable[[Row], Row]) -> dict[str, Labels]:
    return {name: replace(one, rows=tuple(change(row) for row in one.rows)) for name, one in files.items()}


def _as_polygon(row: Row) -> Row:
    if row.form is Form.EITHER:
        return row._replace(box=row.outline, form=Form.POLYGON)
    return _in_either_reading(row) if row.form is Form.LANDMARKS else row


def _in_either_reading(row: Row) -> Row:
    """Return a line whose box encloses both of its readings: the box with landmarks and the polygon."""
    if row.form is Form.BOX or (row.form is Form.LANDMARKS and math.isnan(row.outline[0])):
        return row
    return row._replace(box=hull([row.first, row.outline]))


def looks_like_labels(data: bytes) -> bool:
    """Return whether a text has a line of a class and numbers, valid or not."""
    lines = (line.split() for line in data.decode("utf-8", "replace").splitlines())
    return any(len(_numbers(words[1:])) >= _FEWEST_NUMBERS for words in lines)


def with_faces(data: bytes, boxes_shares: FloatArray, number: int, *, polygons: bool) -> bytes:
    """Return a label file's bytes with further boxes (n, 4), by edges in shares, appended as lines of a class.

    polygons: write each as its four corners, for files of polygons.
    """
    newline = b"\r\n" if b"\r\n" in data else b"\n"
    lines = []
    for x0, y0, x1, y1 in boxes_shares:
        box = ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0)
        values = (x0, y0, x1, y0, x1, y1, x0, y1) if polygons else box
        lines.append(" ".join([str(number), *(f"{float(v):.6f}" for v in values)]).encode())
    if not lines:
        return data
    glue = newline if data and not data.endswith(b"\n") else b""
    return data + glue + newline.join(lines) + newline


def _numbers(words: Sequence[str]) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError:
        return []


def _row(number: int, line: int, values: list[float], keypoints: int) -> Row:
    count, first = len(values), _box(values[:4]) if len(values) >= 4 else NO_BOX
    in_shares = not any(value > _LARGEST_SHARE for value in values[:4])
    if count in (4, 5):
        return Row(number, _also_as_corners(values, first), line, Form.BOX, count, in_shares=in_shares)
    if keypoints:
        box = first if count == 4 + keypoints else NO_BOX
        return Row(number, box, line, Form.BOX, count, in_shares=in_shares)
    may_be_polygon = count >= 6 and count % 2 == 0 and min(values) > _UNKNOWN
    outline = box_around(values) if may_be_polygon else NO_BOX
    form = _form(values, first, 0.0 if math.isnan(outline[0]) else _filled(values))
    boxes = {Form.LANDMARKS: [first], Form.EITHER: [first, outline], Form.POLYGON: [outline]}
    in_shares = in_shares and not (form is Form.POLYGON and max(outline[2:]) > _LARGEST_SHARE)
    return Row(number, hull(boxes[form]), line, form, count, first, outline, in_shares)


def _form(values: Sequence[float], first: Box, filled: float) -> Form:
    """Return the kind of a long line. first: its first four numbers as a box. filled: share of its bounding box."""
    if _has_landmarks(values, first):
        return Form.EITHER if filled >= _FILLED else Form.LANDMARKS
    beside_its_box = len(values) == _FACE_NUMBERS and _within_photo(first)  # landmarks of a face in profile
    return Form.EITHER if beside_its_box else Form.POLYGON


def _box(values: Sequence[float]) -> Box:
    x, y, width, height = values
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _also_as_corners(values: Sequence[float], box: Box) -> Box:
    """Return a box, and its numbers read as corners besides, where only corners would lie within the photo."""
    x0, y0, x1, y1 = values[:4]
    leads_out = min(box[:2]) < -_BEYOND or max(box[2:]) > 1 + _BEYOND
    corners = 0 <= x0 < x1 <= 1 + _BEYOND and 0 <= y0 < y1 <= 1 + _BEYOND
    return hull([box, (x0, y0, x1, y1)]) if leads_out and corners else box


def _within_photo(box: Box) -> bool:
    """Return whether a box is not empty and at most a quarter of it lies outside the photo."""
    if not all(abs(edge) < 2 for edge in box):
        return False
    low, high = np.array(box[:2]), np.array(box[2:])
    over = 0.25 * (high - low) + _BEYOND
    return bool((high > low).all() and (low > -over).all() and (high < 1 + over).all())


def _has_landmarks(values: Sequence[float], box: Box) -> bool:
    """Return whether four numbers are a box and the others points in it, x y or x y v; -1 and 0 are unknown."""
    if not _within_photo(box):
        return False
    rest = np.array(values[4:], np.float64)
    sizes = [size for size in (2, 3) if len(rest) % size == 0 and len(rest) >= size * _FEWEST_LANDMARKS]
    return any(_are_landmarks(rest.reshape(-1, size), box) for size in sizes)


def _are_landmarks(points: FloatArray, box: Box) -> bool:
    low, high = np.array(box[:2]), np.array(box[2:])
    around = _AROUND * (high - low)
    known = (points[:, :2] > 0).all(1)
    inside = (points[:, :2] >= low - around).all(1) & (points[:, :2] <= high + around).all(1)
    unknown = (points[:, :2] <= 0).all(1)
    visible = points.shape[1] == 2 or bool(np.isin(points[:, 2], (-1, 0, 1, 2)).all())
    return bool(((known & inside) | unknown).all() and visible)


def _filled(values: Sequence[float]) -> float:
    """Return the share of its bounding box that a polygon encloses."""
    points = np.array(values, np.float64).reshape(-1, 2)
    (x, y), (u, v) = points.T, np.roll(points, -1, 0).T
    sides = np.ptp(points, axis=0)
    return float(abs((x * v - u * y).sum()) / 2 / max(sides.prod(), 1e-12))
