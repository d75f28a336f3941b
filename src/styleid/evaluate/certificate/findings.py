"""The findings of a certificate: what a person must examine before a run is published."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from styleid.evaluate.battery import Figure, worst
from styleid.evaluate.certificate.attacks import Attacked
from styleid.evaluate.certificate.examine import ExaminedFace, ExaminedPhoto
from styleid.evaluate.certificate.other_files import OtherFiles
from styleid.evaluate.certificate.runs import FinishedRun, Item
from styleid.evaluate.side_channels import SideChannels

_NAMED = 20
_CLEARLY = 0.05
"""Minimum difference between the lower end of an attack's interval and the upper end of its floor's for a finding."""
_FEWEST_PEOPLE = 10


@dataclass(frozen=True)
class Measured:
    """Everything that was measured before people looked.

    Attributes:
        run: The run.
        examined: The results for each photo.
        others: The results for other files.
        attacked: The results of the attacks.
        hashes: SHA-256 of every output, by name.
        bundle: Name of the bundle whose networks were used.
        settings: Settings of the check.
        seconds: Duration of each stage.
    """

    run: FinishedRun
    examined: Sequence[ExaminedPhoto]
    others: OtherFiles
    attacked: Attacked
    hashes: dict[str, str]
    bundle: str
    settings: dict[str, Any]
    seconds: dict[str, float]

    @cached_property
    def faces(self) -> list[tuple[ExaminedPhoto, ExaminedFace]]:
        """Every face, with its photo."""
        return [(look, face) for look in self.examined for face in look.faces]

    @cached_property
    def sides(self) -> list[tuple[str, SideChannels]]:
        """What each readable output contains besides its picture."""
        return [(look.name, look.side) for look in self.examined if look.side is not None]

    @cached_property
    def unlisted(self) -> list[str]:
        """Outputs that the journal does not list, or lists as withheld."""
        if not self.run.lists_faces:
            return []
        pairs = zip(self.run.items, self.examined, strict=True)
        return [item.name for item, look in pairs if item.output is not None and _is_unlisted(item, look)]


def findings(measured: Measured) -> list[dict[str, Any]]:
    """Return the findings, each with its number and the first files."""
    kinds = [*_of_faces(measured), *_of_files(measured), *_of_side_channels(measured)]
    found = [{"what": what, "count": len(names), "names": names[:_NAMED]} for what, names in kinds if names]
    clear = [{"what": _described(figure), "count": figure.estimate.count, "names": []} for figure in _clear(measured)]
    return found + clear


Kind = tuple[str, list[str]]


def _of_faces(measured: Measured) -> Iterator[Kind]:
    untouched = [look.name for look, face in measured.faces if face.is_untouched]
    yield "faces that were left unchanged, but not on purpose", untouched
    if measured.run.lists_faces:
        unlisted = [look.name for look, face in measured.faces if look.is_published and not face.action]
        yield "published faces that the journal does not list", unlisted


def _of_files(measured: Measured) -> Iterator[Kind]:
    examined, run = measured.examined, measured.run
    yield "outputs that differ from the files that the run wrote", [look.name for look in examined if look.altered]
    yield "outputs that the journal does not list, or lists as withheld", measured.unlisted
    missing = [item.name for item in run.items if run.lists_faces and _is_missing(item)]
    yield "originals without an output and without a reason in the journal", missing
    lost = [f"{look.name}: {look.error}" for look in examined if look.status.lost]
    yield "outputs that cannot be compared with an original", lost


def _of_side_channels(measured: Measured) -> Iterator[Kind]:
    copies = [look.name for look in measured.examined if look.side and look.side.identical and _shows_faces(look)]
    yield "outputs that are equal to their originals and show faces", copies
    leftovers = [f"{name}: {side.leftovers[0]}" for name, side in measured.sides if side.leftovers]
    yield "outputs with metadata outside the allow-list", leftovers
    yield (
        "outputs that contain another picture of the original",
        [n for n, side in measured.sides if side.showing_original],
    )
    yield "other files that contain a picture, or cannot be searched for one", list(measured.others.with_pictures)


def _is_unlisted(item: Item, look: ExaminedPhoto) -> bool:
    """Return whether the journal should list an output. A copy that shows no face may be a label map."""
    carried = look.copied and not look.faces
    return (item.record is None or "error" in item.record) and not carried


def _is_missing(item: Item) -> bool:
    return item.output is None and item.original is not None and "error" not in (item.record or {})


def _shows_faces(look: ExaminedPhoto) -> bool:
    return any(not face.is_left for face in look.faces)


def _clear(measured: Measured) -> list[Figure]:
    """Return the worst figures that are clearly above their floor and above chance.

    A4 is left out because it is high by design with consistent targets, and rank-5 because it repeats rank-1.
    """
    figures = [f for f in worst(measured.attacked.figures).values() if f.attack != "A4" and "rank-5" not in f.name]
    enough = [figure for figure in figures if figure.estimate.people >= _FEWEST_PEOPLE]
    return [figure for figure in enough if figure.estimate.low > _beside(figure) + _CLEARLY]


def _beside(figure: Figure) -> float:
    known = [value for value in (figure.chance, figure.floor.high if figure.floor else 0.0) if not math.isnan(value)]
    return max(known, default=0.0)


def _described(figure: Figure) -> str:
    return (
        f"attack {figure.attack}, {figure.name}, by {figure.recogniser}: {figure.estimate.value:.3f}, clearly more "
        f"than with the faces filled or by guessing ({_beside(figure):.3f})"
    )
