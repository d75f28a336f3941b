"""Decisions about a job's faces and the risk of each face, without HTTP.

The store keeps every version of a job's decisions, so that each change can be undone. `compose` converts the newest
version to the form of `styleid anonymize --decisions`, which the engine applies.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from styleid.engine.decisions import FORMAT, Decisions, parse_decisions
from styleid.engine.json_value import JsonValue
from styleid.serve.store import JobFile, Kind

Body = dict[str, Any]
"""A version of a job's decisions: `photos` by name, with faces, add, remove and approved; `people` by name; `videos` by
name, with tracks, people, add and approved."""
Links = Mapping[str, list[tuple[list[float], str]]]
"""Boxes of the faces in each photo, and the person of each."""

_SAME = 0.5
_MANY_TRIES = 3
_SMALL_PX = 32.0
_UNSURE = 0.5
_NEAR = 0.1
NO_FACE_RISK = 0.3
"""Risk of a photo in which no face was found: below that of a face that stands out, above that of other faces."""


def risk(face: Mapping[str, Any]) -> tuple[float, list[str]]:
    """Return how much a person should check a face.

    Args:
        face: The face's entry in the journal.

    Returns:
        The risk, 0 to 1, and its reasons: `obscured` (although the method gives new faces), `near` (the distance to
        the original is less than 0.1 above the threshold), `unsure` (detection score below 0.5), `tries` (three or
        more) and `small` (shorter side below 32 px).
    """
    gate, box = face.get("gate", {}), face["box"]
    margin = gate.get("distance", 9.0) - gate.get("threshold", 0.0)
    found = {
        "obscured": (1.0, "reason" in face),
        "near": (0.8, face["action"] == "anonymised" and margin < _NEAR),
        "unsure": (0.6, face.get("score", 1.0) < _UNSURE and not face.get("decision", {}).get("added")),
        "tries": (0.5, face["tries"] >= _MANY_TRIES),
        "small": (0.4, min(box[2] - box[0], box[3] - box[1]) < _SMALL_PX),
    }
    reasons = {name: weight for name, (weight, holds) in found.items() if holds}
    return max(reasons.values(), default=0.0), list(reasons)


def stamped(new: Mapping[str, Any], old: Mapping[str, Any], by: str) -> Body:
    """Add the user and time to a photo's new decisions; unchanged decisions keep their earlier ones.

    Args:
        new: New decisions about the photo: faces, add, remove and approved.
        old: Earlier decisions about it.
        by: Name of the user.

    Returns:
        The new decisions, each with `by` and `at`.
    """
    who = now_by(by)
    entry: Body = {}
    for name in ("faces", "add", "remove"):
        known = [(_bare(one), one) for one in old.get(name, [])]
        rows = [_as_record(one) for one in new.get(name, [])]
        stamps = [next((kept for bare, kept in known if bare == _bare(row)), row | who) for row in rows]
        if stamps:
            entry[name] = stamps
    if new.get("approved"):
        entry["approved"] = old.get("approved") or who
    return entry


def with_person(body: Body, person: str, wish: Mapping[str, Any] | None, by: str) -> Body:
    """Return a copy of the decisions with one about a person; None withdraws it."""
    body = copy.deepcopy(body)
    body.setdefault("people", {}).pop(person, None)
    if wish is not None:
        body["people"][person] = dict(wish) | now_by(by)
    return body


def approve_all(body: Body, names: Iterable[tuple[Kind, str]], by: str) -> Body:
    """Return a copy of the decisions in which these photos and videos are approved."""
    body, who = copy.deepcopy(body), now_by(by)
    for kind, name in names:
        body.setdefault(f"{kind}s", {}).setdefault(name, {}).setdefault("approved", who)
    return body


def now_by(by: str) -> dict[str, str]:
    """Return the present user and time, for a decision."""
    return {"by": by, "at": datetime.now(UTC).isoformat(timespec="seconds")}


def compose(body: Body, files: Iterable[JobFile], links: Links) -> Decisions:
    """Return the decisions in the form that the engine applies.

    Args:
        body: A version of the job's decisions.
        files: Inputs of the job.
        links: People of the faces in its photos.

    Raises:
        OptionError: A decision is invalid.
    """
    photos: Body = {}
    people = body.get("people", {})
    for file in files:
        entry = {name: rows for name, rows in body.get("photos", {}).get(file.name, {}).items() if rows}
        entry["faces"] = [*entry.get("faces", []), *_of_people(entry, links.get(file.name, []), people)]
        if len(entry) > 1 or entry["faces"]:
            photos[file.name] = entry | {"sha256": file.sha256}
    root = {"format": FORMAT, "photos": photos, "people": people}
    return parse_decisions(JsonValue(root, "decisions", "the review"))


def _of_people(entry: Body, links: Iterable[tuple[list[float], str]], people: Mapping[str, Any]) -> list[Body]:
    """Return a decision for each face of a person with a decision, except for faces with their own decision."""
    own = [one["box"] for name in ("faces", "remove") for one in entry.get(name, [])]
    return [
        {"box": box, "person": person}
        for box, person in links
        if person in people and all(overlap(box, other) < _SAME for other in own)
    ]


def overlap(one: list[float], other: list[float]) -> float:
    """Return the intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


def _as_record(row: Any) -> Body:
    return {"box": row} if isinstance(row, list) else dict(row)


def _bare(row: Any) -> Body:
    return {name: value for name, value in _as_record(row).items() if name not in ("by", "at")}
