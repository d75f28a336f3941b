"""Read a data.yaml, and add a class to it without changing the rest."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from styleid.errors import DatasetError, MissingDependencyError


@dataclass(frozen=True)
class DataYaml:
    """The content of a data.yaml. names: by class number. keypoints: how many numbers of a label are keypoints."""

    names: dict[int, str]
    splits: tuple[str, ...]
    base: str
    keypoints: int


def read_yaml(path: Path) -> DataYaml | None:
    """Read a file; None if it names no classes. Raises DatasetError if it is no YAML."""
    record = _load(path, _text(path))
    names = record.get("names") if isinstance(record, dict) else None
    if not isinstance(names, dict | list) or not names:
        return None
    numbered = names if isinstance(names, dict) else dict(enumerate(names))
    if not all(isinstance(number, int) and number >= 0 for number in numbered):
        raise DatasetError(path, "its names must be a list, or numbers with names")
    splits = [record.get(key) for key in ("train", "val", "test")]
    flat = [one for split in splits for one in (split if isinstance(split, list) else [split])]
    return DataYaml(
        {number: str(name) for number, name in numbered.items()},
        tuple(one for one in flat if isinstance(one, str)),
        str(record.get("path") or ""),
        _keypoints(path, record.get("kpt_shape")),
    )


def add_class(path: Path, data: bytes, number: int, name: str) -> bytes:
    """Return a data.yaml's bytes with one more class. Raises DatasetError if the form of its names is unknown."""
    yaml = _yaml()
    text = data.decode("utf-8")
    before = _load(path, text)
    expected = dict(before)
    old = before["names"]
    expected["names"] = old | {number: name} if isinstance(old, dict) else [*old, name]
    nodes = {key.value: value for key, value in yaml.compose(text, Loader=yaml.SafeLoader).value}
    edits = [_insertion(yaml, text, nodes["names"], number, json.dumps(name, ensure_ascii=False))]
    if isinstance(before.get("nc"), int):
        expected["nc"] = before["nc"] + 1
        edits.append((nodes["nc"].start_mark.index, nodes["nc"].end_mark.index, str(expected["nc"])))
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    try:
        same = yaml.safe_load(text) == expected
    except yaml.YAMLError:
        same = False
    if not same:
        raise DatasetError(path, f"no class can be added to the form in which its names are written. Write them in the "
                           f"original as lines such as '  {number - 1}: NAME', and run again")  # fmt: skip
    return text.encode("utf-8")


def _insertion(yaml: Any, text: str, names: Any, number: int, quoted: str) -> tuple[int, int, str]:
    """Return the span of the text to replace, and the text with the new class."""
    mapping = isinstance(names, yaml.MappingNode)
    last = names.value[-1]
    first_of_last, end_of_last = (last[0], last[1]) if mapping else (last, last)
    entry = f"{number}: {quoted}" if mapping else quoted
    at = end_of_last.end_mark.index
    if names.flow_style:
        return at, at, f", {entry}"
    start_of_line = text.rfind("\n", 0, first_of_last.start_mark.index) + 1
    lead = text[start_of_line : first_of_last.start_mark.index]
    newline = "\r\n" if "\r\n" in text else "\n"
    end_of_line = text.find("\n", at)
    if end_of_line < 0:
        return len(text), len(text), f"{newline}{lead}{entry}"
    return end_of_line + 1, end_of_line + 1, f"{lead}{entry}{newline}"


def _keypoints(path: Path, shape: Any) -> int:
    if shape is None:
        return 0
    if not (isinstance(shape, list) and len(shape) == 2 and all(isinstance(v, int) for v in shape)):
        raise DatasetError(path, f"its kpt_shape must be two numbers, not {shape!r}")
    return shape[0] * shape[1]


def _load(path: Path, text: str) -> Any:
    yaml = _yaml()
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = re.sub(r"\s+", " ", str(error)) or type(error).__name__
        raise DatasetError(path, f"it is not valid YAML: {reason}") from error


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise DatasetError(path, f"it cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise DatasetError(path, f"it is not UTF-8 (byte {error.start}). Save it as UTF-8") from error


def _yaml() -> Any:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise MissingDependencyError("PyYAML, which reads data.yaml,", "'styleid[datasets]'") from error
    return yaml
