"""The report: one JSON with every number, one table of faces, one page that a person can read.

The page is self-contained. Clauses of ISO/IEC 27559:2022 are named where a section serves them: attack modelling (7.3),
quantifying identifiability (8.2.2), adversarial testing (8.2.3).
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from styleid.errors import ImageError
from styleid.evaluate.outputs import ALIGNMENTS
from styleid.evaluate.plots import Point, histograms, scatter
from styleid.evaluate.rows import similarities, write_rows
from styleid.evaluate.suite import Evaluation
from styleid.evaluate.utility import SCORE
from styleid.evaluate.verdict import Verdict
from styleid.evaluate.verification import impostor_similarities
from styleid.media.image import read_photo
from styleid.media.storage.files import write_atomic
from styleid.types import FloatArray
from styleid.version import __version__

NAMES = ("evaluation.json", "evaluation.html")
_WORST_SHOWN = 20
_TILE_PX = 128
_FEWEST_IN_GROUP = 10
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;color:#1d1d1f}
h1{font-size:1.5rem;margin:0}h2{font-size:1.15rem;margin:2.2rem 0 .5rem}p.lead,p.note{color:#555;margin:.2rem 0 1rem}
table{border-collapse:collapse;font-size:.88rem}td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}
td.n{font-variant-numeric:tabular-nums;white-space:nowrap}tr.own td{font-weight:600}tr{border-bottom:1px solid #eee}
.wide{overflow-x:auto}svg{max-width:740px;width:100%}svg text{font:12px system-ui,sans-serif;fill:#444}
small{color:#777;font-weight:400}details{margin:.6rem 0}summary{cursor:pointer}
.faces{display:flex;flex-wrap:wrap;gap:8px}.faces figure{margin:0}.faces img{height:128px;border-radius:4px}
.faces figcaption{font-size:.7rem;color:#666;max-width:256px;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
"""


def write_report(evaluation: Evaluation, record: Mapping[str, Any], out: Path) -> list[Path]:
    """Write the JSON, the table of faces and the page; return their paths."""
    paths = [out / name for name in NAMES]
    text = json.dumps(record, indent=1, ensure_ascii=True, allow_nan=False)
    write_atomic(paths[0], (text + "\n").encode())
    write_atomic(paths[1], page(evaluation, record).encode(errors="backslashreplace"))
    return [*paths, write_rows(evaluation, out)]


def page(evaluation: Evaluation, record: Mapping[str, Any]) -> str:
    """Return the page."""
    sections = [
        _inputs(record),
        _overview(evaluation),
        _attacks(evaluation),
        _similarities(evaluation),
        _fates(record),
        _files(record),
        _side_channels(record),
        _utility(record),
        _groups(evaluation),
        _worst_faces(evaluation),
        _list("Not measured", record["not_measured"]),
        _failures(record),
        _settings(record),
    ]
    body = "\n".join(section for section in sections if section)
    names = html.escape(", ".join(verdict.table.name for verdict in evaluation.judged))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>styleid evaluate: {names}</title><style>{_STYLE}</style><body>"
        f"<h1>How private, how useful: {names}</h1>"
        f'<p class="lead">styleid {html.escape(__version__)}. Intervals are 95 %, by resampling people. The '
        "worst of all recognisers and alignments is shown; evaluation.json has every one.</p>"
        f"{body}</body></html>"
    )


def _inputs(record: Mapping[str, Any]) -> str:
    one = record["originals"]
    judges = ", ".join(f"{r['name']}{' (used by the gate)' if r['in_gate'] else ''}" for r in record["recognisers"])
    text = (
        f"{one['files']} originals: {one['with_faces']} with faces, {one['without_a_face']} without, "
        f"{one['unreadable']} unreadable. {one['faces']} faces, {one['named_faces']} of them of {one['people']} named "
        f"people; {one['named_without_a_face']} named people's faces were not found. Recognisers: {judges}."
    )
    return f"<p>{html.escape(text)}</p>"


def _overview(evaluation: Evaluation) -> str:
    points, rows = [], []
    for verdict in evaluation.verdicts:
        strongest, score, exposed = verdict.strongest, verdict.kept.get(SCORE), verdict.exposed
        if strongest is not None and score is not None:
            points.append(Point(verdict.table.name, strongest.estimate, score, verdict.table.is_baseline))
        attack = "" if strongest is None else f"{strongest.attack} {strongest.name}, {strongest.recogniser}"
        floor = None if strongest is None else strongest.floor
        cells = [html.escape(verdict.table.name), _number(strongest and strongest.estimate), html.escape(attack),
                 _number(floor), _number(exposed), _number(score)]  # fmt: skip
        rows.append((cells, not verdict.table.is_baseline))
    first = next((v.strongest for v in evaluation.verdicts if v.strongest is not None), None)
    plot = ""
    if points and first is not None:
        plot = scatter(points, first.chance, None if first.floor is None else first.floor.value)
    heads = ["", "people found by the strongest attack", "which is", "the same with the face filled",
             "faces exposed end to end (A6)", "utility score"]  # fmt: skip
    return "<h2>At a glance <small>ISO/IEC 27559, 8.2.2</small></h2>" + plot + _table(heads, rows)


def _attacks(evaluation: Evaluation) -> str:
    keys = list(dict.fromkeys(key for verdict in evaluation.verdicts for key in verdict.worst))
    if not keys:
        return ""
    heads = ["attack", "chance", "face filled", *(verdict.table.name for verdict in evaluation.verdicts)]
    rows = []
    for key in keys:
        figures = [verdict.worst.get(key) for verdict in evaluation.verdicts]
        known = [figure for figure in figures if figure is not None]
        floors = [figure.floor for figure in known if figure.floor is not None]
        floor = max(floors, key=lambda one: one.value, default=None)
        cells = [html.escape(" ".join(key)), f"{known[0].chance:.4f}", _number(floor)]
        cells += [
            _number(figure and figure.estimate)
            + (f"<br><small>{html.escape(figure.recogniser)}</small>" if figure else "")
            for figure in figures
        ]
        rows.append((cells, False))
    return (
        "<h2>Attacks <small>ISO/IEC 27559, 7.3 and 8.2.3</small></h2>"
        "<p class=note>A0 searches with the anonymised face among other photos; A0s among the very originals; A1 "
        "anonymises the gallery too; A2 trains on other people; A3 learns to undo the pixels; A4 links anonymised "
        "photos; A5 looks for what is suspiciously unlike.</p>" + _table(heads, rows)
    )


def _similarities(evaluation: Evaluation) -> str:
    parts = []
    table = evaluation.table
    for recogniser, thresholds in evaluation.thresholds.items():
        clear = table.embeddings(recogniser, "clear")[table.named]
        people = table.labels[table.named]
        if len(np.unique(people)) < 2:
            continue
        mated = (people[:, None] == people[None, :]) & ~np.eye(len(people), dtype=bool)
        for verdict in evaluation.judged:
            shown = np.concatenate([_to_others(verdict, recogniser, clear, mated, table.named, a) for a in ALIGNMENTS])
            kinds = {
                "different people": impostor_similarities(clear, people),
                "one person, clear": (clear @ clear.T)[mated],
                f"{verdict.table.name} against the person's other photos": shown,
            }
            title = f"<h3>{html.escape(recogniser)}</h3>"
            parts.append(title + histograms(kinds, thresholds.values))
    return "<h2>How similar faces are</h2>" + "".join(parts) if parts else ""


def _to_others(
    verdict: Verdict, recogniser: str, clear: FloatArray, mated: np.ndarray, named: np.ndarray, alignment: str
) -> FloatArray:
    shown = verdict.table.embeddings(recogniser, alignment, clear.shape[1])[named]
    return (shown @ clear.T)[mated]


def _fates(record: Mapping[str, Any]) -> str:
    tools = record["tools"]
    names = list(tools[0]["end_to_end"]["fates"]) if tools else []
    rows = [
        ([html.escape(tool["name"]), *(str(tool["end_to_end"]["fates"][name]) for name in names),
          str(tool["end_to_end"]["faces"])], not tool["baseline"])
        for tool in tools
    ]  # fmt: skip
    floor, fmr = record["exposed_when_filled"], record["exposed_at_fmr"]
    note = (
        ""
        if floor is None
        else (
            f"<p class=note>A face counts as recognised where any recogniser takes it for its very original at a "
            f"false-match rate of {fmr:g}. With the faces filled, the surroundings alone give {_plain(floor)}.</p>"
        )
    )
    return "<h2>What became of every face (A6)</h2>" + note + _table(["", *names, "all faces"], rows)


def _files(record: Mapping[str, Any]) -> str:
    tools = record["tools"]
    files = list(tools[0]["files"]) if tools else []
    file_rows = [
        ([html.escape(tool["name"]), *(str(tool["files"][name]) for name in files)], not tool["baseline"])
        for tool in tools
    ]
    return "<h2>What became of every file</h2>" + _table(["", *files], file_rows)


def _side_channels(record: Mapping[str, Any]) -> str:
    tools = [tool for tool in record["tools"] if tool["side_channels"]["files"]]
    if not tools:
        return ""
    names = [name for name in tools[0]["side_channels"] if name != "most_frequent"]
    rows = [([html.escape(t["name"]), *(str(t["side_channels"][name]) for name in names)], False) for t in tools]
    found = [f"{tool['name']}: {line} ({count} files)" for tool in tools
             for line, count in tool["side_channels"]["most_frequent"]]  # fmt: skip
    more = "".join(f"<li>{html.escape(line)}</li>" for line in found)
    details = f"<details><summary>What was found</summary><ul>{more}</ul></details>" if found else ""
    heads = ["", *(name.replace("_", " ") for name in names)]
    return "<h2>What files tell besides their picture (A7)</h2>" + _table(heads, rows) + details


def _utility(record: Mapping[str, Any]) -> str:
    tools = record["tools"]
    titles = list(dict.fromkeys(title for tool in tools for title in [*tool["utility"], *tool["variety"]]))
    rows = [
        (
            [html.escape(title), *(_plain((tool["utility"] | tool["variety"]).get(title)) for tool in tools)],
            title == SCORE,
        )
        for title in titles
    ]
    note = "<p class=note>Shares count every face: one that is withheld, not found or no face agrees in nothing.</p>"
    return "<h2>What is kept</h2>" + note + _table(["", *(tool["name"] for tool in tools)], rows) if titles else ""


def _groups(evaluation: Evaluation) -> str:
    parts = []
    for verdict in evaluation.judged:
        rows = []
        for kind, groups in verdict.groups.items():
            for name, figures in groups.items():
                exposed, score = figures["exposed (A6)"], figures.get(SCORE)
                few = exposed.people < _FEWEST_IN_GROUP
                cells = [html.escape(f"{kind}: {name}"), _number(exposed), _number(score), str(exposed.count)]
                cells.append("too few people to judge" if few else "")
                rows.append((cells, False))
        if rows:
            heads = ["", "exposed (A6)", "utility score", "faces", ""]
            parts.append(f"<h3>{html.escape(verdict.table.name)}</h3>{_worst_group(verdict)}{_table(heads, rows)}")
    return "<h2>By group</h2>" + "".join(parts) if parts else ""


def _worst_group(verdict: Verdict) -> str:
    """Name the group with the least utility and the one that is exposed most, of those with enough people."""
    enough = [
        (f"{kind}: {name}", figures)
        for kind, groups in verdict.groups.items()
        for name, figures in groups.items()
        if figures["exposed (A6)"].people >= _FEWEST_IN_GROUP and SCORE in figures
    ]
    if not enough:
        return ""
    least = min(enough, key=lambda one: one[1][SCORE].value)
    most = max(enough, key=lambda one: one[1]["exposed (A6)"].value)
    text = (
        f"Least is kept of {least[0]} ({least[1][SCORE].value:.3f}); most exposed is {most[0]} "
        f"({most[1]['exposed (A6)'].value:.3f})."
    )
    return f"<p><b>{html.escape(text)}</b></p>"


def _worst_faces(evaluation: Evaluation) -> str:
    if evaluation.options.pictures == "none" or not evaluation.table.subjects:
        return ""
    parts = []
    for verdict in evaluation.judged:
        found = list(similarities(evaluation, verdict).values())
        likest = np.nanmean(np.where(np.isfinite(found), found, -1.0), axis=0)
        tiles = []
        for row in np.argsort(-likest, kind="stable"):
            if len(tiles) == _WORST_SHOWN or likest[row] <= -1:
                break
            tiles.append(_tile(evaluation, verdict, int(row), float(likest[row])))
        shown = "".join(tile for tile in tiles if tile)
        if shown:
            parts.append(f'<h3>{html.escape(verdict.table.name)}</h3><div class="faces">{shown}</div>')
    title = "<h2>The faces most like their originals</h2><p class=note>By the mean similarity over recognisers.</p>"
    return title + "".join(parts) if parts else ""


def _tile(evaluation: Evaluation, verdict: Verdict, row: int, similarity: float) -> str:
    subject = evaluation.table.subjects[row]
    result = next(r for r in verdict.table.results if r.name == subject.photo)
    original = next(s.original.path for s in evaluation.table.seen if s.original.name == subject.photo)
    paths = [original, result.path] if evaluation.options.pictures == "pairs" else [result.path]
    try:
        images = [_cut(path, subject.box) for path in paths if path is not None]
    except ImageError:  # it was read a moment ago; the page does without
        return ""
    if not images:
        return ""
    packed = cv2.imencode(".jpg", np.hstack(images)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    name = html.escape(f"{similarity:+.2f} {subject.photo}")
    return (
        f'<figure><img alt="" src="data:image/jpeg;base64,{base64.b64encode(packed).decode()}">'
        f"<figcaption>{name}</figcaption></figure>"
    )


def _cut(path: Path, box: FloatArray) -> np.ndarray:
    image = read_photo(path).image_rgb
    side = max(box[2] - box[0], box[3] - box[1]) * 1.5
    scale = _TILE_PX / max(float(side), 1)
    centre = box.reshape(2, 2).mean(0)
    matrix = np.array([[scale, 0, _TILE_PX / 2 - centre[0] * scale], [0, scale, _TILE_PX / 2 - centre[1] * scale]])
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.warpAffine(image, matrix, (_TILE_PX, _TILE_PX), flags=flags, borderMode=cv2.BORDER_CONSTANT)


def _failures(record: Mapping[str, Any]) -> str:
    lines = [f"{name}: {why}" for name, why in record["originals"]["why_unreadable"].items()]
    for tool in record["tools"]:
        if not tool["baseline"]:
            lines += [f"{tool['name']}: {name}: {why}" for name, why in tool["failures"].items()]
            lines += [f"{tool['name']}: {name}: no original leads to it" for name in tool["strays"]]
    return _list("Files that could not be compared", lines)


def _settings(record: Mapping[str, Any]) -> str:
    lines = [f"{name}: {value}" for name, value in record["settings"].items()]
    lines += [f"bundle {record['bundle']['name']}: {record['bundle']['sha256']}"]
    lines += [f"recogniser {r['name']}: {r['fingerprint']}" for r in record["recognisers"]]
    lines += [f"{name} {version}" for name, version in record["versions"].items()]
    lines += [f"{name}: {seconds} s" for name, seconds in record["seconds"].items()]
    return _list("Settings, versions, seconds", lines)


def _list(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<h2>{html.escape(title)}</h2><ul>{items}</ul>"


def _table(heads: Sequence[str], rows: Iterable[tuple[Sequence[str], bool]]) -> str:
    """Return a table of cells that are HTML already; the flag marks a row that stands out."""
    top = "".join(f"<th>{html.escape(head)}</th>" for head in heads)
    body = "".join(
        f'<tr class="{"own" if own else ""}">' + "".join(f'<td class="n">{cell}</td>' for cell in cells) + "</tr>"
        for cells, own in rows
    )
    return f'<div class="wide"><table><tr>{top}</tr>{body}</table></div>'


def _number(one: Any) -> str:
    if one is None or not np.isfinite(one.value):
        return "-"
    return f"{one.value:.3f} <small>{one.low:.3f} to {one.high:.3f}, n {one.count}</small>"


def _plain(one: Mapping[str, Any] | None) -> str:
    if one is None or one["value"] is None:
        return "-"
    return f"{one['value']:.3f} <small>{one['low']:.3f} to {one['high']:.3f}, n {one['count']}</small>"
