"""Pair outputs with their originals, and read who is shown.

The anonymised folder mirrors the tree of the originals. An output may have another suffix, or `_anonymized` after its
name, as some tools write. People are read from folders (person/photo) or from a CSV file.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from styleid.errors import OptionError
from styleid.media.storage.files import walk_inputs

_ENDINGS = ("", "_anonymized", "_anonymised", "-anonymized", "-anonymised")
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Named:
    """A person in a photo. box_xyxy: pixels of the upright original, or None for the face nearest to the centre."""

    person: str
    box_xyxy: Box | None = None


@dataclass(frozen=True)
class Original:
    """An original. name: its path below the folder, with slashes. named: the people in it, as far as they are named."""

    name: str
    path: Path
    named: tuple[Named, ...] = ()


@dataclass(frozen=True)
class Pairing:
    """The outputs of a tool. outputs: by the name of the original. strays: names of outputs without an original."""

    outputs: dict[str, Path]
    strays: tuple[str, ...]


def read_originals(folder: Path, identities: str = "folders") -> list[Original]:
    """List the originals with the people that they show.

    Args:
        folder: Folder of the originals.
        identities: `folders` treats each folder of photos as one person; photos directly in `folder` name nobody.
            `none` names nobody. Anything else is the path of a CSV file with the columns file and person and, if a
            photo shows several people, x0, y0, x1, y1.

    Raises:
        OptionError: The folder contains no photo, or the CSV file does not match it.
    """
    if not folder.is_dir():
        raise OptionError("originals", f"{folder} is not a folder.")
    files = walk_inputs([folder])
    if not files:
        raise OptionError("originals", f"{folder} contains no photo.")
    names = [file.relative.as_posix() for file in files]
    if identities == "folders":
        people = {name: (Named(parent),) for name in names if (parent := name.rpartition("/")[0])}
    elif identities == "none":
        people = {}
    else:
        people = read_identities(Path(identities), names)
    return [
        Original(name, folder / file.relative, people.get(name, ())) for name, file in zip(names, files, strict=True)
    ]


def read_identities(path: Path, names: Sequence[str]) -> dict[str, tuple[Named, ...]]:
    """Read a CSV file of identities.

    Args:
        path: The file.
        names: Names of the originals.

    Returns:
        The people in each photo, by its name.

    Raises:
        OptionError: The file cannot be read, or a line is wrong.
    """
    known, found = set(names), {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"file", "person"} <= set(reader.fieldnames or ()):
                raise OptionError("identities", f"{path} must begin with the line file,person[,x0,y0,x1,y1].")
            for row in reader:
                name = (row["file"] or "").replace("\\", "/")
                if name not in known:
                    raise OptionError("identities", f"{path}, line {reader.line_num}: '{name}' is not an original.")
                found.setdefault(name, []).append(_named(path, reader.line_num, row))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OptionError("identities", f"{path} cannot be read as a CSV file: {error}.") from error
    for name, named in found.items():
        if sum(one.box_xyxy is None for one in named) > 1:
            raise OptionError("identities", f"{path}: '{name}' has several people, so each needs x0,y0,x1,y1.")
    return {name: tuple(named) for name, named in found.items()}


def pair_outputs(originals: Sequence[Original], folder: Path) -> Pairing:
    """Find the output of each original: the same path, or else the same path with another suffix.

    Raises:
        OptionError: The folder does not exist.
    """
    if not folder.is_dir():
        raise OptionError("anonymized", f"{folder} is not a folder.")
    files = {file.relative.as_posix(): file.path for file in walk_inputs([folder])}
    stems = Counter(_stem(name) for name in files)
    by_stem = {_stem(name): name for name in files if stems[_stem(name)] == 1}
    shared = Counter(_stem(original.name) for original in originals)
    outputs, taken = {}, set()
    for original in originals:
        name = original.name if original.name in files else None
        if name is None and shared[_stem(original.name)] == 1:
            name = next((by_stem[s] for end in _ENDINGS if (s := _stem(original.name) + end) in by_stem), None)
        if name is not None and name not in taken:
            outputs[original.name] = files[name]
            taken.add(name)
    return Pairing(outputs, tuple(sorted(set(files) - taken)))


def _named(path: Path, line: int, row: dict[str, str]) -> Named:
    corners = [row.get(key) or "" for key in ("x0", "y0", "x1", "y1")]
    if not (row["person"] or "").strip():
        raise OptionError("identities", f"{path}, line {line}: the person is missing.")
    if not any(corners):
        return Named(row["person"].strip())
    try:
        x0, y0, x1, y1 = (float(value) for value in corners)
    except ValueError:
        raise OptionError("identities", f"{path}, line {line}: x0,y0,x1,y1 must be four numbers.") from None
    if not (x1 > x0 and y1 > y0):
        raise OptionError(
            "identities", f"{path}, line {line}: x0,y0,x1,y1 must have x0 < x1 and y0 < y1, not {','.join(corners)}."
        )
    return Named(row["person"].strip(), (x0, y0, x1, y1))


def _stem(name: str) -> str:
    head, dot, _ = name.rpartition(".")
    return head if dot else name
