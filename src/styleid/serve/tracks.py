"""Decisions about the tracks of a job's videos and the risk of each track, without HTTP.

The first run of a video stores its tracks. Decisions are stored by track and by person; later runs get the tracks with
the decisions inserted, as `styleid video --decisions` does.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from styleid.engine.decisions import OPTION, DecidedVideo
from styleid.engine.json_value import JsonValue
from styleid.errors import OptionError
from styleid.serve.review import Body, now_by
from styleid.serve.store import JobFile

TRACKS = "tracks"
_NEAR = 0.1
_SMALL_PX = 32.0
_FILLED_TRUST, _FILLED_SHARE = 0.25, 0.3
_UNSURE_TRUST = 0.6
_LISTS = ("tracks", "people")


def tracks_path(folder: Path, number: int) -> Path:
    """Return the path under which the tracks of a job's video are stored."""
    return folder / TRACKS / f"{number}.json"


def found_tracks(folder: Path, number: int) -> dict[str, Any] | None:
    """Return the tracks of a job's video as the first run found them, in the form of tracks.json; None before that."""
    path = tracks_path(folder, number)
    return json.loads(path.read_text()) if path.is_file() else None


def decided_video(entry: Mapping[str, Any], file: JobFile, found: Mapping[str, Any] | None) -> DecidedVideo:
    """Return the decisions about a video in the form that `process_video` takes.

    Args:
        entry: Stored decisions: `tracks` and `people` by number, `add` and `approved`.
        file: The job's record of the video.
        found: The tracks that the first run found, or None before that run.

    Raises:
        OptionError: A decision names an unknown track or person, or is invalid.
    """
    approved = entry.get("approved", False)
    if found is None or not any(entry.get(name) for name in (*_LISTS, "add")):
        return DecidedVideo(file.sha256, None, approved)
    record: Body = copy.deepcopy(dict(found))
    for kind, key in (("tracks", "id"), ("people", "person")):
        _require_known(file, kind, entry.get(kind, {}), {str(track[key]) for track in record["tracks"]})
    for track in record["tracks"]:
        track.update(_track_entry(entry.get("tracks", {}).get(str(track["id"]), {})))
    first_free = 1 + max((track["id"] for track in record["tracks"]), default=0)
    record["tracks"] += [dict(added) | {"id": first_free + k} for k, added in enumerate(entry.get("add", []))]
    if entry.get("people"):
        record["people"] = entry["people"]
    tracks = JsonValue(record, OPTION, file.name, "tracks")
    _require_readable(tracks, record)
    return DecidedVideo(file.sha256, tracks, approved)


def stamped_video(new: Mapping[str, Any], old: Mapping[str, Any], by: str) -> Body:
    """Add the user and time to a video's new decisions; unchanged decisions keep their earlier ones.

    Args:
        new: New decisions: `tracks` and `people` as lists of entries with a number, `add` and `approved`.
        old: Earlier decisions, as this function returns them.
        by: Name of the user.

    Returns:
        The new decisions, `tracks` and `people` by number, each with `by` and `at`.
    """
    who, entry = now_by(by), Body()
    for name, key in (("tracks", "track"), ("people", "person")):
        known = old.get(name, {})
        rows = {str(one[key]): _wish(one, key) for one in new.get(name, [])}
        if rows:
            entry[name] = {number: _kept(known.get(number), row) or row | who for number, row in rows.items()}
    added = [
        next((kept for one in old.get("add", []) if (kept := _kept(one, row))), row | who) for row in new.get("add", [])
    ]
    if added:
        entry["add"] = added
    if new.get("approved"):
        entry["approved"] = old.get("approved") or who
    return entry


def track_risk(entry: Mapping[str, Any], trust: Iterable[float]) -> tuple[float, list[str]]:
    """Return how much a person should check a track.

    Args:
        entry: The track's entry in the journal.
        trust: Trust in the track's box in each frame, 0 to 1, as in tracks.json.

    Returns:
        The risk, 0 to 1, and its reasons: `partly` (obscured for some time for a reason other than a decision), `near`
        (a new face whose least distance to the original is less than 0.1 above the threshold), `filled` (trust of at
        most 0.25 in more than 30 % of the frames), `unsure` (median trust of at most 0.6) and `small` (shorter side
        below 32 px in all frames).
    """
    gate, values = entry.get("gate", {}), sorted(trust)
    margin = gate.get("distance_min", 9.0) - gate.get("threshold", 0.0)
    filled = sum(value <= _FILLED_TRUST for value in values)
    found = {
        "partly": (1.0, any(stretch["reason"] for stretch in entry["obscured_at"])),
        "near": (0.8, entry["action"] == "anonymised" and margin < _NEAR),
        "filled": (0.7, filled > _FILLED_SHARE * len(values)),
        "unsure": (0.6, bool(values) and values[len(values) // 2] <= _UNSURE_TRUST),
        "small": (0.4, entry["side_px"][1] < _SMALL_PX),
    }
    reasons = {name: weight for name, (weight, holds) in found.items() if holds}
    return max(reasons.values(), default=0.0), list(reasons)


def _wish(row: Mapping[str, Any], key: str) -> Body:
    bare = {name: value for name, value in row.items() if name != key}
    return {name: value for name, value in bare.items() if name != "target" or value}


def _kept(old: Mapping[str, Any] | None, row: Body) -> Body | None:
    """Return the earlier decision if the new one is the same, else None."""
    if old is None or {name: value for name, value in old.items() if name not in ("by", "at")} != row:
        return None
    return dict(old)


def _track_entry(wish: Mapping[str, Any]) -> Body:
    """Return a decision about a track as it stands in tracks.json."""
    if wish.get("do") != "remove":
        return dict(wish)
    return {"drop": True} | {name: wish[name] for name in ("by", "at") if name in wish}


def _require_known(file: JobFile, kind: str, entries: Iterable[str], known: set[str]) -> None:
    if unknown := sorted(set(entries) - known):
        what = "track" if kind == "tracks" else "person"
        raise OptionError(OPTION, f"{file.name} has no {what} {unknown[0]}.")


def _require_readable(tracks: JsonValue, record: Mapping[str, Any]) -> None:
    from styleid.media.video.clip import ClipInfo
    from styleid.video.record import parse_tracks

    width, height = record["size"]
    parse_tracks(tracks, ClipInfo(record["input"], width, height, Fraction(25)), record["frames"])
