"""A folder for a person to look at: a page with a timeline, a sheet of each track, and tracks.json to edit.

Every picture in it is an output; no original is shown.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float

from styleid.media.formats.jpeg import with_mark
from styleid.media.provenance import PACKET
from styleid.media.storage.files import write_atomic
from styleid.types import ImageRGB
from styleid.version import __version__
from styleid.video.tracks import Track

_TILE_PX, _TILES, _AROUND = 112, 10, 0.35
_PASSED, _HIDDEN, _DROPPED = "#2a7f62", "#b8562f", "#6b6b6b"
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1180px;margin:2rem auto;padding:0 1rem;color:#1d1d1f}
h1{font-size:1.5rem;margin:0}h2{font-size:1.05rem;margin:1.6rem 0 .3rem}p{color:#555;margin:.2rem 0 .6rem}
img{max-width:100%;border-radius:4px;display:block}svg text{font:12px system-ui,sans-serif;fill:#444}
table{border-collapse:collapse}td{padding:.1rem .9rem .1rem 0;vertical-align:top}code{background:#f2f2f2;padding:0 .2em}
"""


class Sheets:
    """Collect tiles of the faces, a few a track, while frames go by. marked: with a line that says what is hidden."""

    def __init__(self, tracks: Sequence[Track], *, marked: bool = True) -> None:
        self._marked = marked
        self._wanted = [_spread(track) for track in tracks]
        self._tiles: list[list[ImageRGB]] = [[] for _ in tracks]

    def show(self, track: int, frame: int, image_rgb: ImageRGB, box: Float[np.ndarray, " 4"], hidden: bool) -> None:
        """Keep a tile where this frame is one of a track's few."""
        if self.wants(track, frame):
            colour = (_HIDDEN if hidden else _PASSED) if self._marked else ""
            self._tiles[track].append(_tile(image_rgb, box, colour))

    def wants(self, track: int, frame: int) -> bool:
        """Say whether a frame is one of a track's few."""
        return frame in self._wanted[track]

    def jpeg(self, track: int) -> bytes | None:
        """Return a track's sheet, or None where nothing of it was rendered."""
        if not self._tiles[track]:
            return None
        sheet = np.concatenate(self._tiles[track], 1)
        return cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()


def review_folder(out: Path) -> Path:
    """Return where the review of an output goes."""
    return out.with_name(out.name + ".review")


def write_review(
    out: Path, record: Mapping[str, Any], journal: Mapping[str, Any], tracks: Sequence[Track], sheets: Sheets
) -> Path:
    """Write the folder and return its page; sheets of a marked output are marked too."""
    folder = review_folder(out)
    for stale in folder.glob("track-*.jpg"):
        stale.unlink()
    for index, track in enumerate(tracks):
        if (jpeg := sheets.jpeg(index)) is not None:
            sheet = with_mark(jpeg, PACKET if "mark" in journal else b"")
            write_atomic(folder / f"track-{track.number:03d}.jpg", sheet)
    write_atomic(folder / "tracks.json", track_lines(record).encode())
    page = folder / "index.html"
    write_atomic(page, _page(record, journal, tracks, sheets).encode(errors="backslashreplace"))
    return page


def track_lines(record: Mapping[str, Any]) -> str:
    """Return JSON with each track on a few lines, so that an editor shows what can be changed."""
    head = {key: value for key, value in record.items() if key != "tracks"}
    tracks = []
    for entry in record["tracks"]:
        short = ", ".join(
            f'"{k}": {json.dumps(v)}' for k, v in entry.items() if k not in ("boxes", "landmarks", "trust")
        )
        long = ",\n   ".join(f'"{k}": {json.dumps(entry[k])}' for k in ("boxes", "landmarks", "trust"))
        tracks.append(f"  {{{short},\n   {long}}}")
    return json.dumps(head)[:-1] + ', "tracks": [\n' + ",\n".join(tracks) + "\n]}\n"


def _page(record: Mapping[str, Any], journal: Mapping[str, Any], tracks: Sequence[Track], sheets: Sheets) -> str:
    name = html.escape(str(record["input"]))
    sections = [
        _section(track, told, sheets.jpeg(index) is not None)
        for index, (track, told) in enumerate(zip(tracks, journal["tracks"], strict=True))
    ]
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in journal.get("notes", []))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{name}: tracks</title><style>{_STYLE}</style><body><h1>{name}</h1>"
        f"<p>styleid {html.escape(__version__)}. {len(tracks)} tracks, "
        f"{len({t.person for t in tracks})} people, {record['frames']} frames. Every picture here is an output.</p>"
        f"{notes}"
        f"{_timeline(record, journal, tracks)}<p>To change what was found, edit <code>tracks.json</code> and run again "
        f'with <code>--tracks tracks.json</code>: <code>"drop": true</code> leaves a false alarm as it is; '
        f'<code>"do": "keep"</code> leaves a face as it is, <code>"do": "blur"</code> (or solid, pixelate) hides it, '
        f'<code>"target": 1</code> gives its person another new face; the same '
        f"<code>id</code> joins tracks; the same <code>person</code> gives them one new face; "
        f'<code>{{"id": 99, "keys": [[frame, x0, y0, x1, y1], ...]}}</code> hides what was missed.</p>'
        f"{''.join(sections)}</body></html>"
    )


def _timeline(record: Mapping[str, Any], journal: Mapping[str, Any], tracks: Sequence[Track]) -> str:
    if not tracks:
        return "<p>No face was found.</p>"
    wide, row, left = 980, 18, 90
    frames, seconds = max(int(record["frames"]), 1), float(journal["video"]["seconds"])
    bars = []
    for index, (track, told) in enumerate(zip(tracks, journal["tracks"], strict=True)):
        y = 6 + index * row
        bars.append(f'<text x="0" y="{y + 11}">{track.number} (person {track.person + 1})</text>')
        colour = _DROPPED if track.left else _PASSED
        bars.append(_bar(track.first, track.last, y, colour, frames=frames, wide=wide, left=left))
        for stretch in told["obscured_at"]:
            first, last = stretch["frames"]
            bars.append(_bar(first, last, y, _HIDDEN, frames=frames, wide=wide, left=left, title=stretch["reason"]))
    low = 6 + len(tracks) * row
    ticks = "".join(
        f'<text x="{left + wide * k / 8:.0f}" y="{low + 16}">{seconds * k / 8:.1f} s</text>' for k in range(9)
    )
    return (
        f'<svg viewBox="0 0 {left + wide + 40} {low + 24}" width="100%" role="img" aria-label="timeline of tracks">'
        f"{''.join(bars)}{ticks}</svg><p>Green: a new face. Red: hidden. "
        "Grey: left as it is, by the tracks file or as a person to keep.</p>"
    )


def _bar(first: int, last: int, y: int, colour: str, *, frames: int, wide: int, left: int, title: str = "") -> str:
    x, width = left + wide * first / frames, max(wide * (last - first + 1) / frames, 1.0)
    told = html.escape(title or f"frames {first} to {last}")
    return f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="13" fill="{colour}"><title>{told}</title></rect>'


def _section(track: Track, told: Mapping[str, Any], pictured: bool) -> str:
    reasons = "".join(
        f"<tr><td>{s['from_s']:.2f} to {s['to_s']:.2f} s</td><td>{html.escape(s['reason'])}</td></tr>"
        for s in told["obscured_at"][:12]
    )
    picture = (
        f'<img src="track-{track.number:03d}.jpg" alt="finished faces of track {track.number}">' if pictured else ""
    )
    return (
        f"<h2>Track {track.number}, person {track.person + 1}: {told['from_s']:.2f} to {told['to_s']:.2f} s</h2>"
        f"<p>{told['anonymised']} frames anonymised, {told['obscured']} hidden{_decided(track)}</p>"
        f"{picture}<table>{reasons}</table>"
    )


def _decided(track: Track) -> str:
    """Return what a person decided about a track, for the page; nothing where nobody did."""
    if not track.decision:
        return ""
    return "; decided: " + html.escape(", ".join(f"{name} {value}" for name, value in track.decision.items()))


def _spread(track: Track) -> set[int]:
    return {int(v) for v in np.linspace(track.first, track.last, min(_TILES, len(track))).round()}


def _tile(image_rgb: ImageRGB, box: Float[np.ndarray, " 4"], colour: str) -> ImageRGB:
    side = float((box[2:] - box[:2]).max()) * (1 + 2 * _AROUND)
    centre, scale = box.reshape(2, 2).mean(0), _TILE_PX / max(side, 1.0)
    shift = _TILE_PX / 2 - centre * scale
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    tile = cv2.warpAffine(image_rgb, matrix, (_TILE_PX, _TILE_PX), flags=how)
    if colour:
        tile[-4:] = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
    return tile
