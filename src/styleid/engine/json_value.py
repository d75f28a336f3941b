"""JSON values with their place in the file, so that messages name the file, the entry and the field."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from styleid.errors import OptionError

T = TypeVar("T", bound=str)


@dataclass(frozen=True)
class JsonValue:
    """A JSON value. option: the option that names the file. source: the file. where: the place in the file."""

    value: Any
    option: str
    source: str
    where: str = ""

    def error(self, expected: str) -> OptionError:
        """Return an error with the place of the value, what was expected, and the value."""
        shown = json.dumps(self.value, ensure_ascii=False, default=str)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        return OptionError(self.option, f"{self.source}: {self.where or 'the file'} must be {expected}, not {shown}.")

    def mapping(self) -> dict[str, JsonValue]:
        """Return the members of an object with any names."""
        if not isinstance(self.value, dict):
            raise self.error("an object")
        return {name: self._inner(one, f"['{name}']") for name, one in self.value.items()}

    def member(self, name: str) -> JsonValue:
        """Return a member of an object."""
        if not isinstance(self.value, dict):
            raise self.error("an object")
        if name not in self.value:
            raise OptionError(self.option, f"{self.source}: {self.where or 'the file'} lacks '{name}'.")
        return self._inner(self.value[name], f".{name}" if self.where else name)

    def members(self, needed: Collection[str], allowed: Collection[str] = ()) -> dict[str, JsonValue]:
        """Return the members of an object. It must have the needed names, may have the allowed ones, and no others."""
        if not isinstance(self.value, dict):
            raise self.error("an object")
        place = self.where or "the file"
        for name in needed:
            if name not in self.value:
                raise OptionError(self.option, f"{self.source}: {place} lacks '{name}'.")
        for name in self.value:
            if name not in needed and name not in allowed:
                known = ", ".join((*needed, *allowed))
                raise OptionError(self.option, f"{self.source}: {place} has '{name}', which is not known here; "
                                  f"it may have {known}.")  # fmt: skip
        return {name: self._inner(one, f".{name}" if self.where else name) for name, one in self.value.items()}

    def items(self) -> list[JsonValue]:
        """Return the items of a list."""
        if not isinstance(self.value, list):
            raise self.error("a list")
        return [self._inner(one, f"[{index}]") for index, one in enumerate(self.value)]

    def text(self) -> str:
        """Return a non-empty string."""
        if not isinstance(self.value, str) or not self.value:
            raise self.error("a text")
        return self.value

    def one_of(self, known: Sequence[T]) -> T:
        """Return the value if it is one of the known words."""
        for one in known:
            if one == self.value:
                return one
        raise self.error(f"one of {', '.join(known)}")

    def whole(self, least: int | None = None) -> int:
        """Return an integer. least: its minimum, if it has one."""
        if type(self.value) is not int or (least is not None and self.value < least):
            raise self.error("a whole number" + ("" if least is None else f" from {least}"))
        return self.value

    def box(self) -> tuple[float, float, float, float]:
        """Return a box, x0, y0, x1, y1, rounded to a tenth of a pixel."""
        wanted = "a box, [x0, y0, x1, y1] in pixels of the upright photo, x0 < x1 and y0 < y1"
        if not isinstance(self.value, list) or len(self.value) != 4:
            raise self.error(wanted)
        if not all(type(one) in (int, float) and math.isfinite(one) and abs(one) < 1e6 for one in self.value):
            raise self.error(wanted)
        x0, y0, x1, y1 = (round(float(one), 1) for one in self.value)
        if not (x0 < x1 and y0 < y1):
            raise self.error(wanted)
        return x0, y0, x1, y1

    def sha256(self) -> str:
        """Return a SHA-256 as lower-case hexadecimal digits."""
        if not isinstance(self.value, str) or not re.fullmatch(r"[0-9a-fA-F]{64}", self.value):
            raise self.error("the SHA-256 of the input file, 64 hexadecimal digits")
        return self.value.lower()

    def time(self) -> str:
        """Return a time, a string in the form of ISO 8601."""
        try:
            datetime.datetime.fromisoformat(self.text())
        except ValueError as error:
            raise self.error("a time such as 2026-11-30T09:15:00+01:00") from error
        return self.value

    def _inner(self, value: Any, where: str) -> JsonValue:
        return JsonValue(value, self.option, self.source, self.where + where)


def read_json(path: Path, option: str) -> JsonValue:
    """Read a JSON file; raises OptionError if it cannot be read, is not JSON, or repeats a name in an object."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise OptionError(option, f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise OptionError(option, f"{path} is not JSON in UTF-8: {error}.") from error
    try:
        return JsonValue(json.loads(text, object_pairs_hook=_once), option, str(path))
    except (ValueError, RecursionError) as error:
        raise OptionError(option, f"{path} is not valid: {error}.") from error


def _once(pairs: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Return an object; raise ValueError if a name is repeated, because one of the two values would be lost."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"'{name}' occurs twice in one object")
        found[name] = value
    return found
