"""The faces, heads and persons that annotations mark in one photo, placed in its upright pixels."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from styleid.datasets.classes import Kind
from styleid.datasets.frames import stored_size, to_centres, to_upright
from styleid.datasets.options import Frame, Unit
from styleid.types import FloatArray, PhotoHints, SearchHints

Box = tuple[float, float, float, float]
NO_BOX: Box = (math.nan, math.nan, math.nan, math.nan)
"""A box that cannot be placed."""
_FAR = 1e7
_FARTHEST = 1e12
_CELL_PX = 120.0
_MOST_CELLS = 40
_UPPER = 0.6
"""Share of a person's box, from its top, in which the face is searched."""
_LEAST_PX = 1 - 1e-6
_LARGEST_SHARE = 1.5
_LARGEST_PERCENT = 101.0
_IN_PIXELS_UP_TO_PX, _IN_BOTH_UP_TO_PX = 128, 200
"""Largest sides of photos whose boxes are taken for pixels, and of photos for which both possible places are hidden,
since that costs little."""
_PARTS: dict[Unit, float] = {"percent": 100.0, "shares": 1.0}
"""Number of units along a side of the photo, for relative units."""
HOW_TO_CORRECT = "Correct it, or use `bad_boxes=skip`"
"""Advice for a box that cannot be used."""

_HOW_TO_SET_UNIT = "Use `box_unit=percent` or `box_unit=pixels`"


@dataclass(frozen=True)
class Marked:
    """One box of an annotation.

    box: (x0, y0, x1, y1), edges, in the annotation's unit. where: its name in messages. crowd: whether it holds many
    persons. problem: why the box cannot be trusted; empty if it can. unit_of: the file or folder whose boxes may all be
    in percent; empty if they are not.
    """

    kind: Kind
    box: Box
    where: str
    crowd: bool = False
    problem: str = ""
    unit_of: str = ""


@dataclass(frozen=True)
class AnnotationHints:
    """What annotations say about one photo (a `HintSource`).

    marked: the boxes to use. size_wh: width and height that the annotation states, or None. frame: what boxes refer to.
    home: what they refer to if `frame` is auto and the size does not decide it. unit: unit of the boxes. skip_bad:
    whether a face or head that cannot be placed is skipped instead of withholding the photo. problem: why the whole
    annotation cannot be used, so that the photo is withheld; empty if it can be used. needed: see `HintSource`.
    """

    marked: tuple[Marked, ...] = ()
    size_wh: tuple[int, int] | None = None
    frame: Frame = "auto"
    home: Literal["stored", "upright"] = "stored"
    unit: Unit = "pixels"
    skip_bad: bool = False
    problem: str = ""
    needed: bool = field(default=True, repr=False)  # not part of the digest

    def digest(self) -> str:
        """Return a hash of the hints, by which a resumed run notices changes."""
        return hashlib.sha256(repr(self).encode(errors="backslashreplace")).hexdigest()[:16]

    def hints(self, width: int, height: int, orientation: int) -> PhotoHints:
        """Place the boxes in the upright photo.

        Args:
            width: Width of the upright photo, in pixels.
            height: Its height.
            orientation: EXIF's orientation, 1 to 8.

        Returns:
            Faces, heads, regions to search, notes and facts for the journal. Boxes are float32, pixel centres.

        Raises:
            ValueError: The photo must be withheld; the text says why.
        """
        if self.problem:
            raise ValueError(self.problem)
        stored = stored_size(width, height, orientation)
        frame, notes = self._frame(stored, (width, height), orientation)
        facts = {"frame": {"size": [width, height], "orientation": orientation, "boxes": frame}}
        if not self.marked:
            return PhotoHints(notes=tuple(notes), facts=facts)
        self._require_size(stored, (width, height))
        boxes: dict[Kind, list[FloatArray]] = {kind: [] for kind in Kind}
        regions: list[FloatArray] = []
        for one in self.marked:
            notes += self._notes_on_box(one, (width, height))
            for placed in self._placed(one, stored, orientation, frame):
                inside = np.clip(placed, 0, [width, height, width, height])
                if not _can_hold_a_face(inside):
                    notes += self._bad(one, inside, (width, height))
                    continue
                boxes[one.kind].append(to_centres(inside))
                regions += [to_centres(region) for region in _regions(one, placed, inside)]
        search = SearchHints(_array(regions), _array(boxes[Kind.HEAD]))
        return PhotoHints(_array(boxes[Kind.FACE]), search, tuple(notes), facts)

    def _frame(self, stored: tuple[int, int], upright: tuple[int, int], orientation: int) -> tuple[str, list[str]]:
        """Return what boxes refer to (stored, upright or unsure), and notes for the user."""
        if orientation == 1 or self.frame != "auto":
            return (self.home if self.frame == "auto" else self.frame), []
        if stored != upright and self.size_wh in (stored, upright):
            return ("stored" if self.size_wh == stored else "upright"), []
        note = (
            f"its EXIF orientation is {orientation}, and it is unknown whether its boxes refer to the stored pixels or "
            "to the upright photo, so both places are used. `frame=stored` or `frame=upright` decides it"
        )
        return "unsure", [note] if self.marked else []

    def _require_size(self, stored: tuple[int, int], upright: tuple[int, int]) -> None:
        if self.size_wh is None or self.unit in _PARTS or self.size_wh in (stored, upright) or self.skip_bad:
            return
        stated, real = (f"{w} x {h}" for w, h in (self.size_wh, stored))
        raise ValueError(f"its annotation is for a photo of {stated} px, but it has {real}, so its boxes cannot be "
                         "placed. `bad_boxes=skip` takes them as they are")  # fmt: skip

    def _placed(self, one: Marked, stored: tuple[int, int], orientation: int, frame: str) -> Iterator[FloatArray]:
        """Yield the box in the upright photo, for each frame that it may refer to."""
        upright = stored_size(*stored, orientation)
        for name, size in (("stored", stored), ("upright", upright)):
            if frame in (name, "unsure"):
                box = self._in_pixels(one, size)
                yield (to_upright(box, stored, orientation) if name == "stored" else box)[0]

    def _in_pixels(self, one: Marked, size: tuple[int, int]) -> FloatArray:
        """Return a box, (1, 4), in pixels of a frame; of small photos, the hull of both if it may be in percent."""
        box, sides = np.clip([one.box], -_FAR, _FAR), np.array([*size, *size])
        if parts := _PARTS.get(self.unit):
            return box * sides / parts
        if not one.unit_of or not _IN_PIXELS_UP_TO_PX < max(size) <= _IN_BOTH_UP_TO_PX:
            return box
        both = np.concatenate([box, box * sides / _PARTS["percent"]])
        return np.concatenate([both[:, :2].min(0), both[:, 2:].max(0)])[None]

    def _notes_on_box(self, one: Marked, size: tuple[int, int]) -> list[str]:
        """Return notes on a box that cannot be trusted; raises ValueError if the photo must be withheld."""
        if not one.problem:
            return self._of_unsure_unit(one, size)
        if one.kind is not Kind.PERSON and not self.skip_bad:
            raise ValueError(f"{one.where}: {one.problem}. {HOW_TO_CORRECT}")
        return [f"{one.where}: {one.problem}"]

    def _of_unsure_unit(self, one: Marked, size: tuple[int, int]) -> list[str]:
        if not one.unit_of or max(size) <= _IN_PIXELS_UP_TO_PX:
            return []
        problem = (f"{one.where}: it may be in percent of the photo's {size[0]} x {size[1]} px, since all boxes of "
                   f"{one.unit_of} lie within 100 x 100")  # fmt: skip
        if max(size) <= _IN_BOTH_UP_TO_PX:
            return [f"{problem}, so both places are used. {_HOW_TO_SET_UNIT}"]
        if one.kind is not Kind.PERSON and not self.skip_bad:
            raise ValueError(f"{problem}. {_HOW_TO_SET_UNIT}")
        return [problem]

    def _bad(self, one: Marked, inside: FloatArray, size: tuple[int, int]) -> list[str]:
        lies_inside = bool((inside[2:] > inside[:2]).all())
        little = "less than a pixel (are its numbers shares instead of pixels?)" if lies_inside else "no part"
        photo = f"the photo's {size[0]} x {size[1]} px"
        text = f"the {one.kind} box of {one.where}, {_shown(one.box)}, covers {little} of {photo}"
        if one.kind is not Kind.PERSON and not self.skip_bad:
            raise ValueError(f"{text}, so a face may be anywhere. {HOW_TO_CORRECT}")
        return [f"{text}, and was skipped"]


def box_of(x: object, y: object, width: object, height: object) -> Box:
    """Return (x0, y0, x1, y1) of a box given by its corner and size; NaN if these are no numbers."""
    values = (x, y, width, height)
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return NO_BOX
    try:
        left, top, wide, high = (float(v) for v in values)  # type: ignore[arg-type]
    except OverflowError:
        return NO_BOX
    return left, top, left + wide, top + high


def box_around(points: object) -> Box:
    """Return the bounding box of a polygon given as x, y, x, y, ...; NaN if it is no polygon."""
    if not isinstance(points, list) or len(points) < 4 or len(points) % 2 or not {*map(type, points)} <= {int, float}:
        return NO_BOX
    if not max(map(abs, points)) < _FARTHEST or math.isnan(sum(points)):
        return NO_BOX
    xs, ys = points[::2], points[1::2]
    return float(min(xs)), float(min(ys)), float(max(xs)), float(max(ys))


def hull(boxes: Iterable[Box]) -> Box:
    """Return the bounding box of several boxes; NaN if one of them is."""
    every = list(boxes)
    if any(math.isnan(sum(box)) for box in every):
        return NO_BOX
    x0s, y0s, x1s, y1s = zip(*every, strict=True)
    return min(x0s), min(y0s), max(x1s), max(y1s)


def may_be_percent(boxes: Iterable[Box]) -> bool:
    """Return whether boxes may be in percent: all lie within 100 x 100, and one exceeds a share of a photo."""
    farthest = [max(box) for box in boxes if not math.isnan(sum(box))]
    return bool(farthest) and _LARGEST_SHARE < max(farthest) <= _LARGEST_PERCENT


def faces_of(marked: Iterable[Marked]) -> list[Marked]:
    """Return the marks of faces and heads, which must be anonymised; persons only guide the search."""
    return [one for one in marked if one.kind is not Kind.PERSON]


def contradiction(sizes: Collection[tuple[int, int]], marked: Sequence[Marked]) -> str:
    """Return why a photo for which annotations state several sizes must be withheld; empty if it need not be."""
    if len(sizes) < 2 or not faces_of(marked):
        return ""
    stated = " and ".join(f"{width} x {height}" for width, height in sorted(sizes))
    where = faces_of(marked)[0].where
    return f"annotations state sizes of {stated} px, so the place of {where} is unknown. {HOW_TO_CORRECT}"


def _can_hold_a_face(inside: FloatArray) -> bool:
    """Return whether a box is at least a pixel wide and high, and its numbers are no shares of a photo."""
    sides = inside[2:] - inside[:2]
    return bool(sides.min() >= _LEAST_PX and inside.max() >= _LARGEST_SHARE)


def _regions(one: Marked, box: FloatArray, inside: FloatArray) -> Iterator[FloatArray]:
    """Yield the regions in which the face of a marked box is searched. inside: the box, clipped to the photo."""
    x0, y0, x1, y1 = box
    wide, high = x1 - x0, y1 - y0
    if one.crowd:
        side = max(_CELL_PX, float(np.sqrt((inside[2:] - inside[:2]).prod() / _MOST_CELLS)))
        for y in np.arange(inside[1], inside[3], side):
            for x in np.arange(inside[0], inside[2], side):
                yield np.array([x - side / 4, y - side / 4, x + 1.25 * side, y + 1.25 * side])
    elif one.kind is Kind.PERSON:
        yield np.array([x0 - 0.15 * wide, y0 - 0.1 * high, x1 + 0.15 * wide, y0 + _UPPER * high])
    else:
        around = 0.5 if one.kind is Kind.FACE else 0.15
        yield np.array([x0 - around * wide, y0 - around * high, x1 + around * wide, y1 + around * high])


def _array(boxes: list[FloatArray]) -> FloatArray:
    return np.asarray(boxes, np.float32).reshape(-1, 4)


def _shown(box: Box) -> str:
    return "[" + ", ".join(f"{v:.6g}" for v in box) + "]"
