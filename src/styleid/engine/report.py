"""The report of a run: one HTML page with counts, identity distances, timings and the anonymised faces.

It needs no other file, and it shows outputs only, never an original.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import quote

import numpy as np

from styleid.engine.remote_journal import open_journal
from styleid.engine.summary import Summary
from styleid.errors import ImageError
from styleid.media.formats.jpeg import with_mark
from styleid.media.image import read_photo
from styleid.media.provenance import PACKET
from styleid.media.storage.files import write_atomic
from styleid.media.storage.remote import Place
from styleid.reports.pages import plain, render
from styleid.reports.tiles import cut_face, jpeg_url, to_jpeg
from styleid.types import Action, ImageRGB

NAME = "styleid-report.html"
MOST_FACES = 240
"""How many faces the page shows at most, and how many decisions and files without a face it lists."""
_TILE_PX = 112
_MARGIN = 0.35
_QUALITY = 85
_BINS = 40
_FARTHEST = 2.0
"""The largest distance of two unit vectors."""


@dataclass(frozen=True)
class _Table:
    """A table of names and texts. rows: those that are shown; total: how many there are."""

    title: str
    caption: str
    heads: tuple[str, str]
    rows: Sequence[tuple[str, str]]
    total: int = 0


def write_report(out: Place, summary: Summary) -> Place:
    """Write the report of a run into its output folder.

    Args:
        out: The output folder, which holds the journal and the outputs.
        summary: What the run returned.

    Returns:
        The path of the page.

    Raises:
        OutputError: The page cannot be written.
    """
    journal = open_journal(out)
    total = sum(len(record.get("faces", [])) for record in journal.latest())
    tiles = list(_tiles(out, journal.latest()))
    page = render(
        "run.html.jinja",
        summary=summary,
        actions=[(str(action), summary.faces[action]) for action in Action if summary.faces[action]],
        histogram=_histogram(journal.latest()),
        stages=_stages(summary),
        tiles=tiles,
        tile_actions=[str(action) for action in Action if any(tile["action"] == action for tile in tiles)],
        faces=total,
        faceless=_without_faces(journal.latest()),
        urgent=[
            _Table("Files not written", "Files that were withheld", ("File", "Reason"), summary.failures,
                   summary.failed),
            _Table("Faces obscured instead of replaced", "Faces for which no new face passed, or none could be drawn",
                   ("File", "Reason"), summary.fallbacks, summary.fell_back),
        ],
        tables=[
            _decisions(journal.latest()),
            _Table("Notes", "What to know about single files", ("File", "Note"), summary.notes, summary.noted),
            _settings(journal.latest()),
        ],
    )  # fmt: skip
    path = out / NAME
    write_atomic(path, page)
    return path


def cut_tile(image_rgb: ImageRGB, face: Mapping[str, Any], mark: bytes = b"") -> bytes:
    """Return the picture of one face on the page.

    Args:
        image_rgb: An output.
        face: The face's entry in the journal.
        mark: XMP packet that marks the picture as made by AI; empty for none.

    Returns:
        A JPEG of 112 x 112 pixels.
    """
    tile = cut_face(image_rgb, np.asarray(face["box"], np.float64), _TILE_PX, _MARGIN)
    return with_mark(to_jpeg(tile, _QUALITY), mark)


def _histogram(records: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the distribution of the distances that the gate measured, or None if there are none."""
    gates = (face["gate"] for record in records for face in record.get("faces", []))
    measured = array("f", (gate[key] for gate in gates if "distance" in gate for key in ("distance", "threshold")))
    if not measured:
        return None
    distances, thresholds = np.array(measured).reshape(-1, 2).T
    edges = np.linspace(0, _FARTHEST, _BINS + 1)
    counts, _ = np.histogram(distances, edges)
    bars = [
        {"first": first, "last": last, "faces": int(count), "percent": round(100 * float(count / counts.max()), 1)}
        for first, last, count in zip(edges, edges[1:], counts, strict=False)
    ]
    named = {"least": distances.min(), "most": distances.max(), "median": np.median(distances)}
    return {
        "bars": bars,
        "faces": len(distances),
        "threshold": float(np.median(thresholds)),
        **{name: float(value) for name, value in named.items()},
    }


def _stages(summary: Summary) -> list[tuple[str, float, float]]:
    """Return each stage with its seconds and its share of all, the longest first."""
    total = sum(summary.stage_seconds.values())
    longest = sorted(summary.stage_seconds.items(), key=lambda item: -item[1])
    return [(stage, seconds, seconds / total) for stage, seconds in longest] if total else []


def _tiles(out: Place, records: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    """Yield the first faces of the run, cut out of the outputs."""
    left = MOST_FACES
    for record in records:
        faces = record.get("faces", [])[:left]
        if not faces or "sha256" not in record:
            continue
        path = out / record["input"]
        try:  # a file that was changed since the run may be an original
            if hashlib.sha256(path.read_bytes()).hexdigest() != record["sha256"]:
                continue
            image = read_photo(path).image_rgb
        except (OSError, ImageError):
            continue
        mark = PACKET if "mark" in record else b""
        yield from (_tile(image, face, record["input"], mark) for face in faces)
        left -= len(faces)


def _tile(image_rgb: ImageRGB, face: Mapping[str, Any], name: str, mark: bytes) -> dict[str, str]:
    distance = face["gate"].get("distance")
    measured = "no identity distance was measured" if distance is None else f"identity distance {distance:.2f}"
    return {
        "name": name,
        "action": str(Action(face["action"])),
        "what": str(face.get("reason") or measured),
        "url": jpeg_url(cut_tile(image_rgb, face, mark)),
    }


def _without_faces(records: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the first written files in which no face was found, each as its name and its address beside the page."""
    names = (str(record["input"]) for record in records if "sha256" in record and not record.get("faces"))
    return [(name, quote(name, errors="surrogateescape")) for name in islice(names, MOST_FACES)]


def _decisions(records: Iterable[Mapping[str, Any]]) -> _Table:
    """Return what a person decided, by photo."""
    rows: list[tuple[str, str]] = []
    for record in records:
        name = str(record["input"])
        rows += [(name, _decision(face)) for face in record.get("faces", []) if face.get("decision")]
        if approved := record.get("approved"):
            rows.append((name, "approved" + (_by(approved) if isinstance(approved, Mapping) else "")))
    caption = "Decisions of the decisions file, and what was done"
    return _Table("Decided by a person", caption, ("File", "Decision"), rows[:MOST_FACES], len(rows))


def _decision(face: Mapping[str, Any]) -> str:
    decision = face["decision"]
    target = f" with another face ({decision['target']})" if "target" in decision else ""
    added = " (an added box)" if decision.get("added") else ""
    box = ", ".join(f"{value:g}" for value in face["box"])
    return f"{decision['do']}{target}{added} at {box}{_by(decision)}; {face['action']}"


def _by(decision: Mapping[str, Any]) -> str:
    """Return who decided and when, as far as the decision says so."""
    return "".join(f", {word} {decision[key]}" for key, word in (("by", "by"), ("at", "at")) if key in decision)


def _settings(records: Iterable[Mapping[str, Any]]) -> _Table:
    last = deque(records, maxlen=1)
    settings = last[0].get("settings", {}) if last else {}
    rows = [(str(key), plain(value)) for key, value in settings.items()]
    return _Table("Settings", "Settings of the last file in the journal", ("Setting", "Value"), rows)
