"""Read one of Pascal VOC's XML files, and add faces to its text.

A document type is refused, so that no entity can be expanded or fetched.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.parsers import expat
from xml.sax.saxutils import escape

from styleid.datasets.hints import Box
from styleid.types import FloatArray

_SAVE = 'Save it as UTF-8, with encoding="UTF-8" in its first line'
_INDENT = re.compile(rb"\n([ \t]+)<")


@dataclass(frozen=True)
class VocFile:
    """What a file says.

    objects: name and box by edges (NaN where there is none), parts such as heads included. names: what its photo is
    called, the fullest name first.
    """

    objects: tuple[tuple[str, Box], ...]
    size_wh: tuple[int, int] | None
    names: tuple[str, ...] = ()


def read_voc(data: bytes) -> VocFile:
    """Read a file; raises ValueError if it is not XML, has a document type, or has no root `annotation`."""
    _root_end(data)
    root = ElementTree.fromstring(data)
    if root.tag != "annotation":
        raise ValueError(f"its root is <{root.tag}>, not <annotation>")
    size = [_number(root.findtext(f"size/{side}")) for side in ("width", "height")]
    whole = all(math.isfinite(v) and v >= 1 for v in size)
    return VocFile(tuple(_objects(root)), (int(size[0]), int(size[1])) if whole else None, tuple(_names(root)))


def with_faces(data: bytes, boxes: FloatArray, name: str) -> bytes:
    """Return a file's bytes with further objects (n, 4), by edges, before the end of its root.

    Raises ValueError where it has no end to put them before, or an encoding that ASCII cannot be put into.
    """
    end = _root_end(data)
    if not len(boxes):
        return data
    if b"\0" in data or data[end : end + 2] != b"</":
        raise ValueError("faces cannot be added to it. Save it as UTF-8, with <annotation> and </annotation>")
    newline = b"\r\n" if b"\r\n" in data else b"\n" if b"\n" in data else b""
    indent = _INDENT.search(data)
    unit = (indent[1] if indent else b"\t") if newline else b""
    start = len(data[:end].rstrip(b" \t")) if newline else end
    glue = b"" if not newline or data[:start].endswith(b"\n") else newline
    text = glue + b"".join(_object(box, name, unit, newline) for box in boxes)
    return data[:start] + text + data[start:]


def _object(box: FloatArray, name: str, unit: bytes, newline: bytes) -> bytes:
    """Return one object's text; corners are whole pixels counted from 1, the last included."""
    corners = (math.floor(box[0]) + 1, math.floor(box[1]) + 1, math.ceil(box[2]), math.ceil(box[3]))
    fields = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    plain = escape(name).encode("ascii", "xmlcharrefreplace")
    lines = [(1, b"<object>"), (2, b"<name>" + plain + b"</name>"), (2, b"<pose>Unspecified</pose>")]
    lines += [(2, b"<truncated>0</truncated>"), (2, b"<difficult>0</difficult>"), (2, b"<bndbox>")]
    lines += [(3, f"<{tag}>{value}</{tag}>".encode()) for tag, value in fields]
    lines += [(2, b"</bndbox>"), (1, b"</object>")]
    return b"".join(unit * depth + line + newline for depth, line in lines)


def _objects(root: ElementTree.Element) -> Iterator[tuple[str, Box]]:
    for one in root.iter("object"):
        for thing in (one, *one.findall("part")):
            for box in thing.findall("bndbox") or [thing]:
                x0, y0, x1, y1 = (_number(box.findtext(tag)) for tag in ("xmin", "ymin", "xmax", "ymax"))
                yield (thing.findtext("name") or "").strip(), (x0 - 1, y0 - 1, x1, y1)


def _names(root: ElementTree.Element) -> Iterator[str]:
    path, folder, file = ((root.findtext(tag) or "").strip() for tag in ("path", "folder", "filename"))
    yield from (name for name in (path, f"{folder}/{file}" if folder and file else "", file) if name)


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _root_end(data: bytes) -> int:
    """Return the offset of the root's end tag; raises ValueError if this is not XML or has a document type."""
    parser = expat.ParserCreate()
    depth, ends = 0, [0]

    def opened(*_: object) -> None:
        nonlocal depth
        depth += 1

    def closed(_: str) -> None:
        nonlocal depth
        depth -= 1
        if not depth:
            ends[0] = parser.CurrentByteIndex

    def refuse(*_: object) -> None:
        raise ValueError("it has a document type, which could load other files. Remove the DOCTYPE")

    parser.StartElementHandler, parser.EndElementHandler = opened, closed
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        hint = "" if _is_utf8(data) else f". {_SAVE}"
        raise ValueError(f"it is not valid XML ({error}){hint}") from error
    except LookupError as error:
        raise ValueError(f"its encoding is unknown ({error}). {_SAVE}") from error
    except ValueError as error:
        if "encoding" not in str(error):
            raise
        raise ValueError(f"its encoding has several bytes per character, such as GB2312. {_SAVE}") from error
    return ends[0]
