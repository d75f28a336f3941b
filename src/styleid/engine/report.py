"""The page of results: one HTML file with counts, the gate's figures, timings and the anonymised faces.

It is self-contained and shows outputs only, never an original.
"""

from __future__ import annotations

import base64
import hashlib
import html
from array import array
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from styleid.engine.remote_journal import open_journal
from styleid.engine.summary import Summary
from styleid.errors import ImageError
from styleid.media.formats.jpeg import with_mark
from styleid.media.image import read_photo
from styleid.media.provenance import PACKET
from styleid.media.storage.files import write_atomic
from styleid.media.storage.remote import Place
from styleid.types import Action
from styleid.version import __version__

NAME = "styleid-report.html"
MOST_FACES = 240
_TILE_PX = 112
_AROUND = 0.35
_COLOURS = {
    Action.ANONYMIZED: "#2a7f62",
    Action.OBSCURED: "#b8562f",
    Action.KEPT: "#6b6b6b",
    Action.DISMISSED: "#a9a9a9",
}
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;color:#1d1d1f}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}p.lead{color:#555;margin:.2rem 0 1.5rem}
.cards{display:flex;flex-wrap:wrap;gap:.8rem}.card{border:1px solid #ddd;border-radius:8px;padding:.6rem 1rem}
.card b{display:block;font-size:1.5rem}.card span{color:#666;font-size:.85rem}
.faces{display:flex;flex-wrap:wrap;gap:6px}.faces figure{margin:0;width:112px}
.faces img{display:block;width:112px;height:112px;border-radius:4px;border-bottom:4px solid}
.faces figcaption{font-size:.7rem;color:#666;overflow:hidden;white-space:nowrap;text-overflow:ellipsis}
table{border-collapse:collapse}td,th{padding:.15rem .9rem .15rem 0;text-align:left;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}svg text{font:11px system-ui,sans-serif;fill:#555}
"""


def write_report(out: Place, summary: Summary) -> Place:
    """Write the page for a run's folder from its journal and its outputs, and return its path."""
    journal = open_journal(out)
    sections = [
        _cards(summary),
        _histogram(journal.latest()),
        _timings(summary),
        _gallery(out, journal.latest(), sum(len(record.get("faces", [])) for record in journal.latest())),
        _table("Not written", summary.failures, summary.failed),
        _table("Obscured against the asked method", summary.fallbacks, summary.fell_back),
        _decisions(journal.latest()),
        _table("Notes", summary.notes, summary.noted),
        _settings(journal.latest()),
    ]
    body = "\n".join(section for section in sections if section)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>styleid report</title><style>{_STYLE}</style><body><h1>styleid report</h1>"
        f'<p class="lead">styleid {html.escape(__version__)}. Every picture on this page is an output; '
        f"no original is shown.</p>{body}</body></html>"
    )
    path = out / NAME
    write_atomic(path, page.encode(errors="backslashreplace"))
    return path


def _cards(summary: Summary) -> str:
    figures = [(f"{summary.written} / {summary.inputs}", "files written")]
    figures += [(str(summary.faces[action]), f"faces {action}") for action in Action if summary.faces[action]]
    figures.append((str(summary.without_faces), "files without a face"))
    figures.append((f"{summary.seconds:.1f} s", "in this run"))
    cards = "".join(f'<div class="card"><b>{html.escape(v)}</b><span>{html.escape(k)}</span></div>' for v, k in figures)
    return f'<div class="cards">{cards}</div>'


def _histogram(records: Iterable[Mapping[str, Any]]) -> str:
    gates = (face["gate"] for record in records for face in record.get("faces", []))
    measured = array("f", (gate[key] for gate in gates if "distance" in gate for key in ("distance", "threshold")))
    if not measured:
        return ""
    distances, thresholds = np.array(measured).reshape(-1, 2).T
    edges = np.linspace(0, 2, 41)
    counts, _ = np.histogram(distances, edges)
    tall, wide, low = 140, 720, 160
    bars = "".join(
        f'<rect x="{30 + e / 2 * wide:.1f}" y="{low - c / counts.max() * tall:.1f}" width="{wide / 41:.1f}" '
        f'height="{c / counts.max() * tall:.1f}" fill="#5b7fa6"><title>{e:.2f}: {c} faces</title></rect>'
        for e, c in zip(edges[:-1], counts, strict=True)
    )
    at = 30 + float(np.median(thresholds)) / 2 * wide
    ticks = "".join(f'<text x="{30 + v / 2 * wide:.0f}" y="{low + 16}">{v:g}</text>' for v in np.arange(0, 2.01, 0.25))
    return (
        "<h2>Identity distance of each face to its original</h2>"
        "<p>Unit-embedding distance by the gate's own network; faces right of the line pass.</p>"
        f'<svg viewBox="0 0 {wide + 60} {low + 24}" width="{wide + 60}" role="img" aria-label="histogram">{bars}'
        f'<line x1="{at:.1f}" x2="{at:.1f}" y1="8" y2="{low}" stroke="#b8562f" stroke-width="2"/>'
        f'<text x="{at + 5:.1f}" y="16">threshold</text>{ticks}</svg>'
    )


def _timings(summary: Summary) -> str:
    total = sum(summary.stage_seconds.values())
    if not total:
        return ""
    rows = "".join(
        f'<tr><td>{html.escape(stage)}</td><td class="n">{seconds:.2f} s</td>'
        f'<td class="n">{seconds / total:.0%}</td></tr>'
        for stage, seconds in sorted(summary.stage_seconds.items(), key=lambda item: -item[1])
    )
    return f"<h2>Where the time went</h2><table>{rows}</table>"


def _gallery(out: Place, records: Iterable[Mapping[str, Any]], total: int) -> str:
    tiles: list[str] = []
    for record in records:
        if len(tiles) >= MOST_FACES:
            break
        faces = record.get("faces", [])
        if not faces or "sha256" not in record:
            continue
        path = out / record["input"]
        try:  # an output that was moved or changed since is no output: the journal still counts it
            if hashlib.sha256(path.read_bytes()).hexdigest() != record["sha256"]:
                continue
            image = read_photo(path).image_rgb
        except (OSError, ImageError):
            continue
        mark = PACKET if "mark" in record else b""
        tiles += [face_tile(image, face, record["input"], mark) for face in faces[: MOST_FACES - len(tiles)]]
    if not tiles:
        return ""
    shown = f"the first {len(tiles)} of {total}" if len(tiles) < total else f"all {total}"
    legend = ", ".join(f'<span style="color:{colour}">{action}</span>' for action, colour in _COLOURS.items())
    return f'<h2>Faces as they were written ({shown}; {legend})</h2><div class="faces">{"".join(tiles)}</div>'


def face_tile(image_rgb: np.ndarray, face: Mapping[str, Any], name: str, mark: bytes = b"") -> str:
    """Return the HTML of a face cut out of an output, with its box, action and measures."""
    x0, y0, x1, y1 = face["box"]
    side = max(x1 - x0, y1 - y0) * (1 + 2 * _AROUND)
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    scale = _TILE_PX / max(side, 1)
    matrix = np.array([[scale, 0, _TILE_PX / 2 - cx * scale], [0, scale, _TILE_PX / 2 - cy * scale]])
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    tile = cv2.warpAffine(image_rgb, matrix, (_TILE_PX, _TILE_PX), flags=flags, borderMode=cv2.BORDER_CONSTANT)
    jpeg = cv2.imencode(".jpg", tile[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    jpeg = with_mark(jpeg, mark)
    colour = _COLOURS[Action(face["action"])]
    why = html.escape(face.get("reason", "") or f"distance {face['gate'].get('distance', '')}")
    return (
        f'<figure title="{html.escape(name)}: {why}"><img style="border-color:{colour}" alt="" '
        f'src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"><figcaption>{html.escape(name)}</figcaption></figure>'
    )


def _table(title: str, rows: Sequence[tuple[str, str]], total: int = 0) -> str:
    if not rows:
        return ""
    if total > len(rows):
        title += f" (the first {len(rows)} of {total}; the journal names all)"
    body = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(text)}</td></tr>" for name, text in rows)
    return f"<h2>{html.escape(title)}</h2><table>{body}</table>"


def _decisions(records: Iterable[Mapping[str, Any]]) -> str:
    """Return a table of what a person decided, by photo."""
    rows: list[tuple[str, str]] = []
    for record in records:
        name = str(record["input"])
        rows += [(name, _decided(face)) for face in record.get("faces", []) if face.get("decision")]
        if approved := record.get("approved"):
            rows.append((name, "approved" + (_by(approved) if isinstance(approved, Mapping) else "")))
    return _table("Decided by a person", rows[:MOST_FACES], len(rows))


def _decided(face: Mapping[str, Any]) -> str:
    decision = face["decision"]
    target = f" with another face ({decision['target']})" if "target" in decision else ""
    added = " (an added box)" if decision.get("added") else ""
    box = ", ".join(f"{value:g}" for value in face["box"])
    return f"{decision['do']}{target}{added} at {box}{_by(decision)}; {face['action']}"


def _by(told: Mapping[str, Any]) -> str:
    """Return who decided and when, nothing where that is not said."""
    return "".join(f", {word} {told[key]}" for key, word in (("by", "by"), ("at", "at")) if key in told)


def _settings(records: Iterable[Mapping[str, Any]]) -> str:
    last = deque(records, maxlen=1)
    settings = last[0].get("settings", {}) if last else {}
    return _table("Settings", [(str(key), str(value)) for key, value in settings.items()])
