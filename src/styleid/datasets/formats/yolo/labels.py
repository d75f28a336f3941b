"""The lines of one YOLO label file: a class, then a box, a polygon or a box with keypoints, in shares of the photo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from styleid.datasets.classes import Kind
from styleid.datasets.hints import NOTHING, Box, Marked, box_around
from styleid.types import FloatArray


@dataclass(frozen=True)
class Labels:
    """What a file says.

    rows: class, box by edges in shares (NaN where unreadable) and line number. polygons: whether it holds any.
    unreadable: lines without a class.
    """

    rows: tuple[tuple[int, Box, int], ...]
    polygons: bool
    unreadable: tuple[int, ...]

    @property
    def highest(self) -> int:
        """The highest class number, -1 where there is none."""
        return max((number for number, _, _ in self.rows), default=-1)

    def marked(self, chosen: Mapping[int, Kind], name: str) -> tuple[Marked, ...]:
        """Return the boxes of chosen classes; a line without a class counts as a face that cannot be placed."""
        found = [Marked(chosen[number], box, f"line {line} of {name}") for number, box, line in self.rows
                 if number in chosen]  # fmt: skip
        return (*found, *(Marked(Kind.FACE, NOTHING, f"line {line} of {name}") for line in self.unreadable))


def read_labels(data: bytes, keypoints: int) -> Labels:
    """Read a label file. keypoints: how many numbers follow a box for them."""
    rows, unreadable, polygons = [], [], False
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
        values = _numbers(words[1:])
        polygon = not keypoints and len(values) >= 6 and len(values) % 2 == 0
        polygons = polygons or polygon
        rows.append((int(kind), _box(values, polygon, keypoints), number))
    return Labels(tuple(rows), polygons, tuple(unreadable))


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


def _numbers(words: list[str]) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError:
        return []


def _box(values: list[float], polygon: bool, keypoints: int) -> Box:
    if polygon:
        return box_around(values)
    if len(values) not in (4, 5, 4 + keypoints):
        return NOTHING
    x, y, width, height = values[:4]
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2
