"""Write the review folder: a page with a timeline, a sheet of small pictures for each track, and tracks.json to edit.

All pictures show the output, never the original.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from styleid.media.formats.jpeg import with_mark
from styleid.media.provenance import PACKET
from styleid.media.storage.files import write_atomic
from styleid.reports.pages import render
from styleid.reports.tiles import cut_face, to_jpeg
from styleid.types import ImageRGB
from styleid.video.tracks import Track

_TILE_PX, _TILES, _MARGIN, _QUALITY = 112, 10, 0.35, 88
_PASSED, _HIDDEN = "#2a7f62", "#b8562f"
_MOST_STRETCHES = 12
"""Largest number of obscured stretches that the page lists per track. The journal lists all."""


class Sheets:
    """Collects small pictures of each track's face, at most ten per track."""

    def __init__(self, tracks: Sequence[Track], *, marked: bool = True) -> None:
        """Prepare to collect.

        Args:
            tracks: The tracks.
            marked: Whether the bottom edge of each picture is coloured, to show whether the face is obscured.
        """
        self._marked = marked
        self._wanted = [_spread(track) for track in tracks]
        self._tiles: list[list[ImageRGB]] = [[] for _ in tracks]

    def show(self, track: int, frame: int, image_rgb: ImageRGB, box: Float[np.ndarray, " 4"], hidden: bool) -> None:
        """Add a picture if the frame is one of those wanted for the track.

        Args:
            track: Index of the track.
            frame: Number of the frame.
            image_rgb: The frame, uint8 (h, w, 3).
            box: The face's box, (4,), pixels.
            hidden: Whether the face is obscured.
        """
        if self.wants(track, frame):
            colour = (_HIDDEN if hidden else _PASSED) if self._marked else ""
            self._tiles[track].append(_tile(image_rgb, box, colour))

    def wants(self, track: int, frame: int) -> bool:
        """Return whether a frame is one of those wanted for a track, by index."""
        return frame in self._wanted[track]

    def jpeg(self, track: int) -> bytes | None:
        """Return the sheet of a track, by index, as a JPEG; None if it has no pictures."""
        if not self._tiles[track]:
            return None
        sheet = np.concatenate(self._tiles[track], 1)
        return to_jpeg(sheet, _QUALITY)


def review_folder(out: Path) -> Path:
    """Return the review folder of an output."""
    return out.with_name(out.name + ".review")


def write_review(
    out: Path, record: Mapping[str, Any], journal: Mapping[str, Any], tracks: Sequence[Track], sheets: Sheets
) -> Path:
    """Write the review folder. If the output is marked as containing generated faces, the sheets are marked, too.

    Args:
        out: The output.
        record: The content of tracks.json.
        journal: The run's record for the journal.
        tracks: The tracks.
        sheets: Their sheets.

    Returns:
        The page.

    Raises:
        OutputError: If a file cannot be written.
    """
    folder = review_folder(out)
    for stale in folder.glob("track-*.jpg"):
        stale.unlink()
    for index, track in enumerate(tracks):
        if (jpeg := sheets.jpeg(index)) is not None:
            sheet = with_mark(jpeg, PACKET if "mark" in journal else b"")
            write_atomic(folder / _sheet_name(track), sheet)
    write_atomic(folder / "tracks.json", track_lines(record).encode())
    page = folder / "index.html"
    write_atomic(page, _page(record, journal, tracks, sheets, folder.name))
    return page


def track_lines(record: Mapping[str, Any]) -> str:
    """Return tracks.json as text, with the editable fields of each track on one line."""
    head = {key: value for key, value in record.items() if key != "tracks"}
    tracks = []
    for entry in record["tracks"]:
        short = ", ".join(
            f'"{k}": {json.dumps(v)}' for k, v in entry.items() if k not in ("boxes", "landmarks", "trust")
        )
        long = ",\n   ".join(f'"{k}": {json.dumps(entry[k])}' for k in ("boxes", "landmarks", "trust"))
        tracks.append(f"  {{{short},\n   {long}}}")
    return json.dumps(head)[:-1] + ', "tracks": [\n' + ",\n".join(tracks) + "\n]}\n"


def _page(
    record: Mapping[str, Any], journal: Mapping[str, Any], tracks: Sequence[Track], sheets: Sheets, folder: str
) -> bytes:
    frames = max(int(record["frames"]), 1)
    return render(
        "tracks.html.jinja",
        folder=folder,
        name=str(record["input"]),
        people=len({track.person for track in tracks}),
        frames=record["frames"],
        seconds=float(journal["video"]["seconds"]),
        notes=journal.get("notes", []),
        tracks=[
            _section(track, entry, frames, has_sheet=sheets.jpeg(index) is not None)
            for index, (track, entry) in enumerate(zip(tracks, journal["tracks"], strict=True))
        ],
    )


def _section(track: Track, entry: Mapping[str, Any], frames: int, *, has_sheet: bool) -> dict[str, Any]:
    """Return the page's values for a track. entry: the track's entry in the journal."""
    stretches = entry["obscured_at"]
    whole = _bar(track.first, track.last, frames, "kept" if track.left else "anonymised")
    obscured = [_bar(one["frames"][0], one["frames"][1], frames, "obscured", one["reason"]) for one in stretches]
    return {
        "number": track.number,
        "person": track.person + 1,
        "first": track.first,
        "last": track.last,
        "from_s": entry["from_s"],
        "to_s": entry["to_s"],
        "anonymised": entry["anonymised"],
        "obscured": entry["obscured"],
        "decision": ", ".join(f"{name} {value}" for name, value in (track.decision or {}).items()),
        "sheet": _sheet_name(track) if has_sheet else "",
        "stretches": stretches[:_MOST_STRETCHES],
        "all_stretches": len(stretches),
        "bars": [whole, *obscured],
    }


def _bar(first: int, last: int, frames: int, kind: str, reason: str = "") -> dict[str, Any]:
    """Return a bar of the timeline; `left` and `width` are percentages of the video's length."""
    place = {"left": round(100 * first / frames, 3), "width": round(100 * (last - first + 1) / frames, 3)}
    return place | {"kind": kind, "title": reason or f"frames {first} to {last}"}


def _sheet_name(track: Track) -> str:
    return f"track-{track.number:03d}.jpg"


def _spread(track: Track) -> set[int]:
    return {int(v) for v in np.linspace(track.first, track.last, min(_TILES, len(track))).round()}


def _tile(image_rgb: ImageRGB, box_xyxy: Float[np.ndarray, " 4"], colour: str) -> ImageRGB:
    tile = cut_face(image_rgb, box_xyxy, _TILE_PX, _MARGIN)
    if colour:
        tile[-4:] = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
    return tile
