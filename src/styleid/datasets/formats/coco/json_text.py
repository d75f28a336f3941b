"""Walk through a JSON object's text piece by piece, and change it without touching the rest.

Elements of the top level's arrays are decoded one at a time, so a large file's objects are never all in memory, and
what is not changed keeps every character: the form of its numbers, the order of its fields, even double ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, NamedTuple

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


class PieceKind(Enum):
    """What a piece is: an ITEM of a top-level array, an array's END, or any other VALUE."""

    ITEM = auto()
    END = auto()
    VALUE = auto()


class Piece(NamedTuple):
    """One piece. key: the top level's. start, end: its characters (END: the bracket's). value: decoded, or None."""

    part: PieceKind
    key: str
    start: int
    end: int
    value: Any = None


def walk(text: str) -> Iterator[Piece]:
    """Yield the pieces of a JSON object; raises ValueError if the text is not one."""
    try:
        yield from _object(text)
    except IndexError as error:
        raise ValueError("the text ends too early") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _object(text: str) -> Iterator[Piece]:
    at = _skip(text, 1 if text.startswith("\ufeff") else 0)
    _require(text, at, "{")
    at = _skip(text, at + 1)
    while text[at] != "}":
        _require(text, at, '"')
        key, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        _require(text, at, ":")
        at = _skip(text, at + 1)
        if text[at] == "[":
            at = yield from _array(text, key, at)
        else:
            value, end = _DECODER.raw_decode(text, at)
            yield Piece(PieceKind.VALUE, key, at, end, value)
            at = end
        at = _comma(text, at, "}")
    if _skip(text, at + 1) != len(text):
        raise ValueError(f"something follows its end, at character {at + 1}")


def _array(text: str, key: str, at: int) -> Iterator[Piece]:
    at = _skip(text, at + 1)
    while text[at] != "]":
        value, end = _DECODER.raw_decode(text, at)
        yield Piece(PieceKind.ITEM, key, at, end, value)
        at = _comma(text, end, "]")
    yield Piece(PieceKind.END, key, at, at + 1)
    return at + 1


def _comma(text: str, at: int, closing: str) -> int:
    at = _skip(text, at)
    if text[at] == closing:
        return at
    _require(text, at, ",")
    at = _skip(text, at + 1)
    if text[at] == closing:
        raise ValueError(f"nothing follows the comma before character {at}")
    return at


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _require(text: str, at: int, character: str) -> None:
    if text[at] != character:
        raise ValueError(f"'{character}' was expected at character {at}, not '{text[at]}'")


@dataclass
class _Array:
    """Planned changes of one array: the spans of its items, whether each stays, and where it ends."""

    spans: list[tuple[int, int]] = field(default_factory=list)
    keep: list[bool] = field(default_factory=list)
    end: int = 0


def edit(text: str, keep: Callable[[str, Any], bool], added: dict[str, list[str]]) -> str:
    """Take items out of an object's top-level arrays and append others; the rest of the text stays as it is.

    keep: called with an array's key and an item, says whether the item stays. added: texts of new items, by key.
    Raises ValueError where a key to add to is no array.
    """
    arrays: list[tuple[str, _Array]] = []
    current = _Array()
    for piece in walk(text):
        if piece.part is PieceKind.ITEM:
            current.spans.append((piece.start, piece.end))
            current.keep.append(keep(piece.key, piece.value))
        elif piece.part is PieceKind.END:
            current.end = piece.start
            arrays.append((piece.key, current))
            current = _Array()
    last = {key: index for index, (key, _) in enumerate(arrays)}
    cuts: list[tuple[int, int, str]] = []
    for index, (key, array) in enumerate(arrays):
        cuts += _cuts(text, array, added.get(key, []) if last[key] == index else [])
    if missing := [key for key, items in added.items() if items and key not in last]:
        raise ValueError(f"'{missing[0]}' is not an array")
    return _spliced(text, cuts)


def _cuts(text: str, array: _Array, added: list[str]) -> Iterator[tuple[int, int, str]]:
    """Yield what to replace by what, in order."""
    spans, kept_before, gone_from = array.spans, False, -1
    for index, ((start, end), stays) in enumerate(zip(array.spans, array.keep, strict=True)):
        if not stays:
            if gone_from < 0:
                gone_from = spans[index - 1][1] if kept_before else start
            if index == len(spans) - 1:
                yield gone_from, end, ""
            continue
        if gone_from >= 0:
            yield gone_from, (spans[index - 1][1] if kept_before else start), ""
            gone_from = -1
        kept_before = True
    if added:
        comma = text[spans[-2][1] : spans[-1][0]] if len(spans) > 1 else ", "
        at = spans[-1][1] if spans else array.end
        yield at, at, (comma if kept_before else "") + comma.join(added)


def _spliced(text: str, cuts: list[tuple[int, int, str]]) -> str:
    parts, at = [], 0
    for start, end, new in cuts:
        parts += [text[at:start], new]
        at = end
    return "".join([*parts, text[at:]])
