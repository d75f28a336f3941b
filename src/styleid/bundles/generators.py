"""The generators of bundle format 2: which one draws faces of which size, and the maps that they take."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import index
from typing import Any

from styleid.bundles.rows import check_keys

MAPS = {"context": 3, "region": 1, "lines": 2, "glasses": 1, "light": 3}
"""Number of channels of each map that a generator may take besides `w_plus`.

`context`: the surroundings, RGB in [-1, 1], 0 where the face is cut out. `region`: where to draw, 0 to 1. `lines`: the
landmarks as lines, 0 to 1; outline, brows and nose in the first channel, eyes and lips in the second. `glasses`: where
glasses are worn, 0 to 1. `light`: coarse colours of the face, RGB in [-1, 1], 0 outside the region."""
_ROLE = re.compile(r"generator\d*")


@dataclass(frozen=True)
class Generator:
    """A generator. Its maps and images show the same view as the parser's crop, resized to its side.

    network: its role.
    side: side of its maps and images, pixels.
    most_face_px: width of the widest face that it draws, in pixels of the photo; None for any width.
    """

    network: str
    side: int
    most_face_px: float | None = None


def is_generator(role: str) -> bool:
    """Return whether a role is a generator's, such as `generator` or `generator256`."""
    return _ROLE.fullmatch(role) is not None


def read_generators(records: Sequence[Mapping[str, Any]]) -> tuple[Generator, ...]:
    """Read the entry `generators` of bundle.json.

    Raises:
        KeyError: If a generator lacks an entry.
        TypeError: If a side is not an integer.
        ValueError: If a generator has a wrong value, or the order is wrong.
    """
    generators = tuple(_generator(record) for record in records)
    if not generators:
        raise ValueError("'generators' is empty; it must list at least one generator.")
    names = [one.network for one in generators]
    if wrong := [name for name in names if not is_generator(name)]:
        raise ValueError(f"'generators' lists '{wrong[0]}'; write generator, generator256 and the like.")
    sides, limits = [one.side for one in generators], [one.most_face_px for one in generators[:-1]]
    if generators[-1].most_face_px is not None:
        raise ValueError(f"the last generator, {names[-1]}, draws faces of any size; remove its most_face_px.")
    known = [limit for limit in limits if limit is not None]
    if len(known) < len(limits):
        raise ValueError("every generator but the last must have most_face_px, the largest face that it draws.")
    if len(set(names)) < len(names) or any(_not_rising(values) for values in (sides, known)):
        raise ValueError("'generators' must list each network once, with rising side and most_face_px.")
    return generators


def _generator(record: Mapping[str, Any]) -> Generator:
    check_keys(record, ("network", "side", "most_face_px"), "a generator")
    given = record.get("most_face_px")
    most = None if given is None else float(given)
    generator = Generator(str(record["network"]), index(record["side"]), most)
    if generator.side < 8 or not (most is None or 0 < most < float("inf")):
        raise ValueError(
            f"{generator.network} has side {generator.side} and most_face_px {most}; side must be at least 8, and "
            "most_face_px positive and finite."
        )
    return generator


def _not_rising(values: Sequence[float]) -> bool:
    return any(after <= before for before, after in pairwise(values))
