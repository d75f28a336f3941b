"""Find the classes of faces, heads and persons in a data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

from styleid.errors import OptionError


class Kind(StrEnum):
    """Kinds of classes. Boxes of FACE and HEAD are anonymised; boxes of PERSON are searched more closely."""

    FACE = "face"
    HEAD = "head"
    PERSON = "person"


_USUAL = {
    Kind.FACE: ("face", "faces", "human face", "person face"),
    Kind.HEAD: ("head", "heads", "human head", "person head"),
    Kind.PERSON: ("person", "persons", "people", "pedestrian", "pedestrians", "human", "man", "woman", "boy", "girl",
                  "child", "baby", "rider", "cyclist"),
}  # fmt: skip


def choose_classes(asked: Sequence[str], names: Iterable[str], *, may_be_none: bool = False) -> dict[str, Kind]:
    """Return the kind of each class to use.

    Args:
        asked: Classes as `name` or `name=kind`, several separated by commas; empty takes all with a usual name.
        names: The data set's classes.
        may_be_none: Whether the result may be empty, because the data set marks faces without a class, too.

    Returns:
        The kind of each chosen class, by its name in the data set.

    Raises:
        OptionError: A class is unknown or has no usual name, or none is left.
    """
    there = list(dict.fromkeys(names))
    listed = ", ".join(there[:20]) + (", ..." if len(there) > 20 else "") or "none"
    chosen: dict[str, Kind] = {}
    for word in (part.strip() for given in asked for part in given.split(",") if part.strip()):
        name, _, kind = word.partition("=")
        matches = [one for one in there if one == name] or [one for one in there if one.lower() == name.lower()]
        if not matches:
            raise OptionError("classes", f"the data set has no class '{name}'; it has {listed}.")
        if kind and kind not in [str(known) for known in Kind]:
            raise OptionError("classes", f"'{kind}' in '{word}' is unknown; choose one of {', '.join(Kind)}.")
        found = Kind(kind) if kind else _usual(name)
        if found is None:
            raise OptionError("classes", f"'{name}' has no usual name. Give its kind: {name}=face, =head or =person.")
        chosen |= dict.fromkeys(matches, found)
    if not asked:
        chosen = {name: kind for name in there if (kind := _usual(name)) is not None}
    if not chosen and not may_be_none:
        raise OptionError("boxes", f"no class of the data set is a face, head or person; it has {listed}. Name one "
                          "with `classes=NAME=face`, =head or =person, or leave `boxes` out.")  # fmt: skip
    return chosen


def _usual(name: str) -> Kind | None:
    plain = " ".join(name.lower().replace("_", " ").replace("-", " ").split())
    return next((kind for kind, names in _USUAL.items() if plain in names), None)
