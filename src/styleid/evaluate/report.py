"""The report of an evaluation: a JSON file with every figure, a table of faces, and a page for people.

The page needs no other file. It names the clauses of ISO/IEC 27559:2022 that a section serves: attack modelling (7.3),
quantifying identifiability (8.2.2), adversarial testing (8.2.3).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from styleid.errors import ImageError, MissingDependencyError
from styleid.evaluate.outputs import ALIGNMENTS
from styleid.evaluate.plots import Point, histograms, scatter
from styleid.evaluate.rows import similarities, write_rows
from styleid.evaluate.suite import Evaluation
from styleid.evaluate.utility import SCORE
from styleid.evaluate.verdict import Verdict
from styleid.evaluate.verification import impostor_similarities
from styleid.media.image import read_photo
from styleid.media.storage.files import write_atomic
from styleid.reports.pages import render
from styleid.reports.tiles import cut_face, jpeg_url, to_jpeg
from styleid.types import FloatArray

NAMES = ("evaluation.json", "evaluation.html")
_MOST_SIMILAR_SHOWN = 20
_TILE_PX = 128
_MARGIN = 0.25
_QUALITY = 85
_FEWEST_IN_GROUP = 10


def write_report(evaluation: Evaluation, record: Mapping[str, Any], out: Path) -> list[Path]:
    """Write the report.

    Args:
        evaluation: What was measured.
        record: The same as plain values, from `styleid.evaluate.record.to_json`.
        out: Folder to write to.

    Returns:
        The paths of the JSON file, the page and the table of faces.

    Raises:
        OutputError: A file cannot be written.
    """
    paths = [out / name for name in NAMES]
    text = json.dumps(record, indent=1, ensure_ascii=True, allow_nan=False)
    write_atomic(paths[0], (text + "\n").encode())
    write_atomic(paths[1], page(evaluation, record))
    return [*paths, write_rows(evaluation, out)]


def page(evaluation: Evaluation, record: Mapping[str, Any]) -> bytes:
    """Return the page as UTF-8.

    Without matplotlib, the page has no plots and names the line that installs it.

    Args:
        evaluation: What was measured.
        record: The same as plain values, from `styleid.evaluate.record.to_json`.
    """
    tools = record["tools"]
    return render(
        "evaluation.html.jinja",
        record=record,
        names=", ".join(verdict.table.name for verdict in evaluation.judged),
        names_of_all=[tool["name"] for tool in tools],
        score=SCORE,
        attacks=list(_attacks(record)),
        measures=list(dict.fromkeys(title for tool in tools for title in [*tool["utility"], *tool["variety"]])),
        side_channels=[tool for tool in tools if tool["side_channels"]["files"]],
        groups=list(_groups(record)),
        fewest=_FEWEST_IN_GROUP,
        faces=list(_most_similar(evaluation)),
        pairs=evaluation.options.pictures == "pairs",
        failures=list(_failures(record)),
        settings=list(_settings(record)),
        **_plots(evaluation),
    )


def _plots(evaluation: Evaluation) -> dict[str, Any]:
    """Return the plots. plots: whether they could be drawn."""
    try:
        return {"plots": True, "scatter": _scatter(evaluation), "similarities": list(_similarities(evaluation))}
    except MissingDependencyError:
        return {"plots": False, "scatter": None, "similarities": []}


def _scatter(evaluation: Evaluation) -> Any:
    points = [
        Point(verdict.table.name, verdict.strongest.estimate, verdict.kept[SCORE], verdict.table.is_baseline)
        for verdict in evaluation.verdicts
        if verdict.strongest is not None and SCORE in verdict.kept
    ]
    first = next((verdict.strongest for verdict in evaluation.verdicts if verdict.strongest is not None), None)
    if not points or first is None:
        return None
    return scatter(points, first.chance, None if first.floor is None else first.floor.value)


def _similarities(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    """Yield a plot for each recogniser and each folder that was judged."""
    table = evaluation.table
    for recogniser, thresholds in evaluation.thresholds.items():
        clear = table.embeddings(recogniser, "clear")[table.named]
        people = table.labels[table.named]
        if len(np.unique(people)) < 2:
            continue
        mated = (people[:, None] == people[None, :]) & ~np.eye(len(people), dtype=bool)
        for verdict in evaluation.judged:
            shown = [_to_others(verdict, recogniser, clear, mated, table.named, one) for one in ALIGNMENTS]
            kinds = {
                "originals of different people": impostor_similarities(clear, people),
                "originals of one person": (clear @ clear.T)[mated],
                f"{verdict.table.name}, against other originals of the person": np.concatenate(shown),
            }
            name = f"similarities of {recogniser} and {verdict.table.name}"
            svg = histograms(kinds, thresholds.values, name)
            yield {"recogniser": recogniser, "tool": verdict.table.name, "svg": svg}


def _to_others(
    verdict: Verdict, recogniser: str, clear: FloatArray, mated: np.ndarray, named: np.ndarray, alignment: str
) -> FloatArray:
    shown = verdict.table.embeddings(recogniser, alignment, clear.shape[1])[named]
    return (shown @ clear.T)[mated]


def _attacks(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each attack with its chance, its highest floor, and the worst figure of each tool."""
    worst = [{(one["attack"], one["name"]): one for one in tool["worst"]} for tool in record["tools"]]
    for key in dict.fromkeys(key for figures in worst for key in figures):
        found = [figures.get(key) for figures in worst]
        known = [one for one in found if one is not None]
        floors = [one["floor"] for one in known if one["floor"] is not None and one["floor"]["value"] is not None]
        floor = max(floors, key=lambda one: one["value"], default=None)
        yield {"attack": " ".join(key), "chance": known[0]["chance"], "floor": floor, "found": found}


def _groups(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the groups of each folder that was judged, and the worst of those with enough people."""
    for tool in record["tools"]:
        rows = [
            {
                "name": f"{kind}: {name}",
                "exposed": figures["exposed (A6)"],
                "score": figures.get(SCORE),
                "few": figures["exposed (A6)"]["people"] < _FEWEST_IN_GROUP,
            }
            for kind, groups in tool["groups"].items()
            for name, figures in groups.items()
        ]
        if rows and not tool["baseline"]:
            yield {"name": tool["name"], "rows": rows, "worst": _worst_groups(rows)}


def _worst_groups(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]] | None:
    """Return the group with the lowest score and the most exposed one; None if no group has enough people."""
    enough = [row for row in rows if not row["few"] and row["score"] is not None]
    if not enough:
        return None

    def chosen(of: str, choose: Callable[..., dict[str, Any]]) -> dict[str, Any]:
        row = choose(enough, key=lambda one: one[of]["value"])
        return {"name": row["name"], "value": row[of]["value"]}

    return {"useless": chosen("score", min), "exposed": chosen("exposed", max)}


def _most_similar(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    """Yield, for each folder that was judged, pictures of the faces that are most similar to their originals."""
    if evaluation.options.pictures == "none" or not evaluation.table.subjects:
        return
    for verdict in evaluation.judged:
        found = list(similarities(evaluation, verdict).values())
        mean = np.nanmean(np.where(np.isfinite(found), found, -1.0), axis=0)
        rows = [int(row) for row in np.argsort(-mean, kind="stable")[:_MOST_SIMILAR_SHOWN] if mean[row] > -1]
        faces = [_face(evaluation, verdict, row, float(mean[row])) for row in rows]
        if shown := [face for face in faces if face is not None]:
            yield {"name": verdict.table.name, "faces": shown}


def _face(evaluation: Evaluation, verdict: Verdict, row: int, similarity: float) -> dict[str, Any] | None:
    """Return the picture of a face with its name, or None if its file can no longer be read."""
    subject = evaluation.table.subjects[row]
    result = next(r for r in verdict.table.results if r.name == subject.photo)
    original = next(s.original.path for s in evaluation.table.seen if s.original.name == subject.photo)
    paths = [original, result.path] if evaluation.options.pictures == "pairs" else [result.path]
    try:
        images = [read_photo(path).image_rgb for path in paths if path is not None]
    except ImageError:
        return None
    if not images:
        return None
    tiles = np.hstack([cut_face(image, subject.box, _TILE_PX, _MARGIN) for image in images])
    return {"name": subject.photo, "similarity": similarity, "url": jpeg_url(to_jpeg(tiles, _QUALITY))}


def _failures(record: Mapping[str, Any]) -> Iterator[str]:
    for name, reason in record["originals"]["why_unreadable"].items():
        yield f"{name}: {reason}"
    for tool in record["tools"]:
        if not tool["baseline"]:
            yield from (f"{tool['name']}: {name}: {reason}" for name, reason in tool["failures"].items())
            yield from (f"{tool['name']}: {name}: has no original" for name in tool["strays"])


def _settings(record: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{name}: {value}" for name, value in record["settings"].items())
    yield f"bundle {record['bundle']['name']}: {record['bundle']['sha256']}"
    yield from (f"recogniser {one['name']}: {one['fingerprint']}" for one in record["recognisers"])
    yield from (f"{name} {version}" for name, version in record["versions"].items())
    yield from (f"{name}: {seconds} s" for name, seconds in record["seconds"].items())
