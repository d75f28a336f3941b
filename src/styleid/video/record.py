"""Write tracks to tracks.json, which people can edit, and read them back.

`tracks` is a list of objects with `id`, `person`, `first` (number of the first frame), `boxes` (one per frame, x0 y0 x1
y1), `landmarks` (one per frame, ten numbers, or null for all) and `trust` (one per frame). Possible edits:

- `"drop": true` marks a false alarm, which stays as it is.
- `do` keeps or obscures a face, `target` requests another new face, `by` and `at` say who decided and when. An entry in
  `people` does the same for all tracks of a person.
- Tracks with the same `person` get the same target.
- Tracks with the same `id` become one track; gaps between them are interpolated.
- An object with `keys`, a list of [frame, x0, y0, x1, y1], adds a face that is obscured. Its boxes are interpolated
  linearly between these key frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from styleid.engine.decisions import ParsedDecision, parse_decision, read_people
from styleid.engine.json_value import JsonValue
from styleid.errors import OptionError
from styleid.media.video.clip import ClipInfo
from styleid.pixel.obscure import OBSCURINGS
from styleid.video.tracks import Track, carried

FORMAT = 1
_DECISION_FIELDS = ("do", "target", "by", "at")


def to_record(info: ClipInfo, frames: int, tracks: Sequence[Track]) -> dict[str, Any]:
    """Return the content of tracks.json.

    Args:
        info: Description of the clip.
        frames: Number of its frames.
        tracks: The tracks.
    """
    return {
        "format": FORMAT,
        "input": info.name,
        "frames": frames,
        "size": [info.width, info.height],
        "tracks": [_one(track) for track in tracks],
    }


def _one(track: Track) -> dict[str, Any]:
    known = bool(np.isfinite(track.landmarks_px).all())
    points = np.round(track.landmarks_px.reshape(len(track), 10).astype(float), 1).tolist() if known else None
    return {
        "id": track.number,
        "person": track.person + 1,
        "drop": track.dropped,
        **{name: said for name, said in track.decision.items() if said != "remove"},
        "first": track.first,
        "boxes": np.round(track.boxes_xyxy.astype(float), 1).tolist(),
        "landmarks": points,
        "trust": np.round(track.trust.astype(float), 2).tolist(),
    }


def parse_tracks(root: JsonValue, info: ClipInfo, frames: int) -> list[Track]:
    """Read edited tracks.

    Args:
        root: The content of tracks.json.
        info: Description of the clip.
        frames: Number of its frames.

    Raises:
        OptionError: If the content is invalid or belongs to another clip.
    """
    record, place = root.value, f"{root.source}: {root.where}" if root.where else root.source
    try:
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']} is not {FORMAT}")
        if record["frames"] != frames or list(record["size"]) != [info.width, info.height]:
            raise ValueError(
                f"it is for {record['frames']} frames of {record['size']}; {info.name} has {frames} of "
                f"{[info.width, info.height]}"
            )
        people = read_people(root.member("people")) if "people" in record else {}
        by_number: dict[int, list[Track]] = {}
        for entry in root.member("tracks").items():
            track = _read(entry, frames, people)
            by_number.setdefault(track.number, []).append(track)
        tracks = [_joined(parts) for parts in by_number.values()]
        _require_one_face_each(tracks)
    except OptionError:
        raise
    except KeyError as error:
        raise OptionError(root.option, f"{place} lacks {error}.") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise OptionError(root.option, f"{place}: {error}.") from error
    return tracks


def _read(value: JsonValue, frames: int, people: Mapping[str, ParsedDecision]) -> Track:
    entry = value.value
    number = int(entry["id"])
    person = int(entry.get("person", 0)) - 1
    if "keys" in entry:
        first, boxes = _between(entry["keys"])
        points, trust = np.full((len(boxes), 5, 2), np.nan, np.float32), np.ones(len(boxes), np.float32)
    else:
        first, boxes = int(entry["first"]), np.asarray(entry["boxes"], np.float32).reshape(-1, 4)
        given = entry.get("landmarks")
        points = np.full((len(boxes), 5, 2), np.nan) if given is None else np.asarray(given).reshape(-1, 5, 2)
        trust = np.asarray(entry.get("trust", np.ones(len(boxes))), np.float32)
    if not len(boxes) or len(points) != len(boxes) or len(trust) != len(boxes):
        raise ValueError(
            f"track {number} has {len(boxes)} boxes, {len(points)} landmarks and {len(trust)} trusts; "
            "the numbers must be equal"
        )
    if first < 0 or first + len(boxes) > frames:
        raise ValueError(f"track {number} has frames {first} to {first + len(boxes) - 1}; the clip has {frames} frames")
    if not np.isfinite(boxes).all() or not (boxes[:, 2:] > boxes[:, :2]).all():
        raise ValueError(f"track {number} has an empty box; boxes are x0, y0, x1, y1 with x0 < x1 and y0 < y1")
    track = Track(first, boxes, points.astype(np.float32), trust, number, person, bool(entry.get("drop", False)))
    return _decided(track, value, people)


def _decided(track: Track, value: JsonValue, people: Mapping[str, ParsedDecision]) -> Track:
    """Return a track with the decision about it or, if it has none, about its person."""
    said = {name: value.member(name) for name in _DECISION_FIELDS if name in value.value}
    wish = parse_decision(said, people.get(str(track.person + 1)))
    if track.dropped:
        wish = replace(wish, do="remove", target=0)
    details = {name: one for name, one in (("target", wish.target), ("by", wish.by), ("at", wish.at)) if one}
    decision = {"do": wish.do} | details if details or wish.do != "replace" else {}
    kept = {} if wish.do == "keep" else None
    hide = next((how for how in OBSCURINGS if how == wish.do), None)
    return replace(track, kept=kept, hide=hide, other=wish.target, decision=decision)


def _require_one_face_each(tracks: Sequence[Track]) -> None:
    """Raise ValueError if tracks of one person request different new faces."""
    others: dict[int, int] = {}
    for track in tracks:
        if track.replaced and track.person >= 0 and others.setdefault(track.person, track.other) != track.other:
            raise ValueError(
                f"person {track.person + 1} has tracks with different values of 'target'; each person gets one new face"
            )


def _between(keys: Any) -> tuple[int, Float[np.ndarray, "n 4"]]:
    rows = np.asarray(sorted(keys), np.float64).reshape(-1, 5)
    if not len(rows):
        raise ValueError("a track has no key frame")
    first, last = int(rows[0, 0]), int(rows[-1, 0])
    places = np.arange(first, last + 1)
    return first, np.stack([np.interp(places, rows[:, 0], rows[:, k]) for k in range(1, 5)], 1).astype(np.float32)


def _joined(parts: Sequence[Track]) -> Track:
    """Return one track for the parts that have the same id. Boxes between the parts are interpolated linearly."""
    if len(parts) == 1:
        return parts[0]
    first, last = min(t.first for t in parts), max(t.last for t in parts)
    boxes = np.full((last - first + 1, 4), np.nan, np.float32)
    points = np.full((last - first + 1, 5, 2), np.nan, np.float32)
    trust = np.zeros(last - first + 1, np.float32)
    for track in parts:
        better = track.trust > trust[track.first - first : track.last - first + 1]
        at = np.nonzero(better)[0]
        for mine, theirs in ((boxes, track.boxes_xyxy), (points, track.landmarks_px), (trust, track.trust)):
            mine[at + track.first - first] = theirs[at]
    known = np.isfinite(boxes[:, 0])
    places = np.arange(len(boxes))
    boxes = np.stack([np.interp(places, places[known], boxes[known, k]) for k in range(4)], 1).astype(np.float32)
    trust = np.where(known, trust, 0.25).astype(np.float32)
    head, *others = [part for part in parts if not part.dropped] or parts
    if any(part.decision != head.decision for part in others):
        raise ValueError(f"track {head.number} has parts with different decisions")
    return replace(head, first=first, boxes_xyxy=boxes, landmarks_px=carried(boxes, points), trust=trust)
