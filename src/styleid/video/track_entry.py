"""The journal's entries for the tracks of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from styleid.video.render import TrackLog
from styleid.video.scan import Scan
from styleid.video.tracks import Track


def track_entry(track: Track, log: TrackLog, found: Scan) -> dict[str, Any]:
    """Return the journal's entry for a track. It contains no embedding and no image.

    Args:
        track: The track.
        log: What was done with its face in each frame.
        found: The scan of the clip.
    """
    boxes = track.boxes_xyxy
    widths = boxes[:, 2:] - boxes[:, :2]
    ends = found.times_s + found.durations_s
    return {
        "track": track.number,
        "person": track.person + 1,
        "frames": [track.first, track.last],
        "from_s": round(float(found.times_s[track.first]), 3),
        "to_s": round(float(ends[track.last]), 3),
        "box_range": np.round(np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)]).astype(float), 1).tolist(),
        "side_px": [round(float(widths.min(1).min()), 1), round(float(widths.min(1).max()), 1)],
        "action": _action(track, log),
        "anonymised": log.anonymised,
        "obscured": len(log.hidden),
        "obscured_at": _stretches(log.hidden, found, ends),
        "gate": {name: round(value, 2) for name, value in (track.kept or log.figures).items()},
        **({"decision": track.decision} if track.decision else {}),
    }


def _action(track: Track, log: TrackLog) -> str:
    if track.left:
        return "kept"
    return "anonymised" if log.anonymised else "obscured"


def _stretches(
    hidden: Sequence[tuple[int, str]], found: Scan, ends: Float[np.ndarray, " frames"]
) -> list[dict[str, Any]]:
    stretches: list[dict[str, Any]] = []
    for frame, reason in hidden:
        if stretches and stretches[-1]["frames"][1] == frame - 1 and bool(reason) == bool(stretches[-1]["reason"]):
            stretches[-1]["frames"][1] = frame
            if reason not in stretches[-1]["reason"].split("; "):
                known = [r for r in stretches[-1]["reason"].split("; ") if r]
                stretches[-1]["reason"] = "; ".join(dict.fromkeys([*known, *reason.split("; ")]))
        else:
            stretches.append({"frames": [frame, frame], "reason": reason})
    for stretch in stretches:
        first, last = stretch["frames"]
        stretch["from_s"], stretch["to_s"] = round(float(found.times_s[first]), 3), round(float(ends[last]), 3)
    return stretches
