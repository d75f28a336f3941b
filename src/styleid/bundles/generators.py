"""The generators of format 2: which one draws a face of which size, and what they are told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import index
from typing import Any

from styleid.bundles.rows import check_keys

MAPS = {"context": 3, "region": 1, "lines": 2, "glasses": 1, "light": 3}
"""Pictures that a generator may ask for beside `w_plus`, and their channels: `context`, RGB in [-1, 1], 0 where it is
cut out; `region`, `lines` (outline, brows and nose; eyes and lips) and `glasses` in [0, 1]; `light`, RGB in [-1, 1], 0
outside the region."""
_ROLE = re.compile(r"generator\d*")


@dataclass(frozen=True)
class Generator:
    """Name a generator, whose maps and images show the same as the parser's crop, resized to its side.

    network: its role. side: pixels. most_face_px: the widest face that it draws, in pixels of the photo, None for any.
    """

    network: str
    side: int
    most_face_px: float | None = None


def is_generator(role: str) -> bool:
    """Say whether a network's role is a generator's: `generator`, `generator256` and the like."""
    return _ROLE.fullmatch(role) is not None


def read_generators(records: Sequence[Mapping[str, Any]]) -> tuple[Generator, ...]:
    """Read `generators` of bundle.json; raises KeyError or ValueError where one is none, or their order is wrong."""
    generators = tuple(_generator(record) for record in records)
    if not generators:
        raise ValueError("'generators' is empty: there is nothing to draw with.")
    names = [one.network for one in generators]
    if wrong := [name for name in names if not is_generator(name)]:
        raise ValueError(f"'generators' names '{wrong[0]}', whose role is none of a generator.")
    sides, limits = [one.side for one in generators], [one.most_face_px for one in generators[:-1]]
    if generators[-1].most_face_px is not None:
        raise ValueError(f"the last generator, {names[-1]}, draws faces of any size; take its most_face_px out.")
    known = [limit for limit in limits if limit is not None]
    if len(known) < len(limits):
        raise ValueError("every generator but the last says with most_face_px which faces it draws.")
    if len(set(names)) < len(names) or any(_not_rising(values) for values in (sides, known)):
        raise ValueError("'generators' lists each network once, by side and by most_face_px, from small to large.")
    return generators


def _generator(record: Mapping[str, Any]) -> Generator:
    check_keys(record, ("network", "side", "most_face_px"), "a generator")
    given = record.get("most_face_px")
    most = None if given is None else float(given)
    generator = Generator(str(record["network"]), index(record["side"]), most)
    if generator.side < 8 or not (most is None or 0 < most < float("inf")):
        raise ValueError(f"{generator.network} draws {generator.side} px for faces up to {most} px: both are sizes.")
    return generator


def _not_rising(values: Sequence[float]) -> bool:
    return any(after <= before for before, after in pairwise(values))
