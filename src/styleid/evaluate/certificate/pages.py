"""The certificate as people read it: a page with everything, and one plain page for a board.

Neither holds a picture of anybody. Clauses are those of ISO/IEC 27559:2022.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from styleid.media.storage.files import write_atomic

FULL, BOARD = "certificate.html", "board.html"
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:860px;margin:2rem auto;padding:0 1rem;color:#1d1d1f}
h1{font-size:1.6rem;margin:0 0 .3rem}h2{font-size:1.15rem;margin:2rem 0 .4rem}p{margin:.3rem 0 .8rem}
p.lead{font-size:1.25rem;font-weight:600}p.note,small{color:#555}ul{margin:.3rem 0 1rem;padding-left:1.3rem}
table{border-collapse:collapse;width:100%;margin:.3rem 0 1rem;font-size:.92rem}
td,th{padding:.25rem .8rem .25rem 0;text-align:left;vertical-align:top;border-bottom:1px solid #e6e6e6}
td.n{font-variant-numeric:tabular-nums;white-space:nowrap}
.box{border:1px solid #ccc;border-radius:8px;padding:.8rem 1.1rem}
.warn{border-color:#b8562f;background:#fdf5f1}.good{border-color:#2a7f62;background:#f2f9f6}
@media print{body{margin:0;max-width:none}}
"""
_ATTACKS = {
    "A0": "searches for the anonymised face among other clear photos of the people",
    "A0s": "searches among the very originals",
    "A1": "anonymises a gallery with the same tool and searches there",
    "A2": "learns from other people's pairs of original and output",
    "A4": "links anonymised photos of one person (high by design where pseudonyms are consistent)",
    "A5": "looks for the face that is suspiciously unlike",
}
_CLAUSES = (
    ("7.3", "Attack modelling", "the attackers in 'What attackers find', each with what it knows"),
    (
        "8.2.2",
        "Quantifying identifiability",
        "figures with intervals beside chance and floor; the bound from the audit",
    ),
    ("8.2.3", "Adversarial testing", "recognisers run on the published files; metadata and embedded pictures searched"),
    (
        "8.3.4",
        "Re-evaluation",
        "certify and verify again whenever files, attackers or purposes change; hashes and signature tell",
    ),
)


def write_pages(record: Mapping[str, Any], out: Path) -> dict[Path, str]:
    """Write both pages and return their hashes."""
    found = {}
    for name, text in ((FULL, full_page(record)), (BOARD, board_page(record))):
        data = text.encode(errors="backslashreplace")
        write_atomic(out / name, data)
        found[out / name] = hashlib.sha256(data).hexdigest()
    return found


def full_page(record: Mapping[str, Any]) -> str:
    """Return the page with everything."""
    body = [
        "<h1>Certificate of an anonymised run</h1>",
        f"<p class=note>{_escaped(record['date'])}; styleid {_escaped(record['styleid'])}. The signed figures are in "
        "certificate.json beside this page; check it with <code>styleid verify</code>.</p>",
        _claim_box(record),
        _findings(record),
        _audit(record),
        _attacks(record),
        _counts("Photos", record["photos"]),
        _counts("Faces; those that were kept on purpose are counted apart", record["faces"]),
        _counts("What files tell besides their picture", record["side_channels"]),
        _list("What was not tested", record["not_tested"]),
        _clauses(),
        _assessment(record),
        _settings(record),
    ]
    return _page("Certificate of an anonymised run", body)


def board_page(record: Mapping[str, Any]) -> str:
    """Return one page without a technical term, for those who decide."""
    photos, faces, unit = record["photos"], record["faces"], record["run"]["unit"]
    kept = faces["kept_on_purpose"]
    treated = faces.get("anonymised", 0), faces.get("obscured", 0)
    paragraphs = [
        f"{photos['total']} {unit} were anonymised. {photos['published']} are to be published; {photos['withheld']} "
        "were held back because they could not be handled safely.",
    ]
    if sum(treated):
        paragraphs.append(f"{treated[0]} faces were replaced by faces of nobody, {treated[1]} were covered.")
    paragraphs.append(
        f"{kept} faces were left as they are on purpose, because their owners were to be kept."
        if kept
        else "No face was left as it is on purpose."
    )
    body = [
        "<h1>May these pictures be published?</h1>",
        f"<p class=note>Summary of the certificate of {_escaped(record['date'][:10])}</p>",
        _claim_box(record),
        "<h2>What was done</h2>",
        *(f"<p>{_escaped(text)}</p>" for text in paragraphs),
        "<h2>What a stranger with a face search engine finds</h2>",
        _plain_attack(record),
        _findings(record, plain=True),
        "<h2>What nobody can promise</h2>",
        "<p>Friends and colleagues may know somebody by clothes, hair, place or company, whatever happens to the face. "
        "The check speaks of the files that were there when it was made; files that are changed or added later are not "
        "covered, and <code>styleid verify</code> finds them.</p>",
        _who(record),
    ]
    return _page("May these pictures be published?", body)


def _page(title: str, body: Iterable[str]) -> str:
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width"><title>{_escaped(title)}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _claim_box(record: Mapping[str, Any]) -> str:
    audit = record["audit"]
    if not audit:
        text = "Nobody has looked at the pictures yet, so nothing is said about how many faces were missed."
        return f'<div class="box warn"><p class=lead>{text}</p></div>'
    seen = sum(audit["whole_photos"].values()), sum(audit["suspicious_parts"].values())
    clean = not record["findings"] and not audit["unanswered"] and not audit["known_missed"]
    more = f" {audit['unanswered']} questions have no answer and count as missed faces." if audit["unanswered"] else ""
    return (
        f'<div class="box {"good" if clean else "warn"}"><p class=lead>{_escaped(audit["claim"])}</p><p>'
        f"{_escaped(audit['by'] or 'Somebody who gave no name')} looked at {seen[0]} whole pictures, drawn at random, "
        f"and at {seen[1]} suspicious parts of pictures; {audit['known_missed']} pictures were found to hold an "
        f"untouched face, or one of which that could not be told.{_escaped(more)}</p></div>"
    )


def _findings(record: Mapping[str, Any], *, plain: bool = False) -> str:
    found = record["findings"]
    title = "<h2>To be looked into before publication</h2>"
    if not found:
        return f"{title}<p>The machine's checks found nothing.</p>{_partial(record)}"
    if plain:
        items = "".join(f"<li>{_escaped(one['what'])}: {one['count']}</li>" for one in found)
        return f"{title}<ul>{items}</ul>{_partial(record)}"
    rows = [[_escaped(one["what"]), str(one["count"]), _escaped(", ".join(one["names"]))] for one in found]
    return f"{title}{_table(['what', 'how many', 'the first of them'], rows)}{_partial(record)}"


def _partial(record: Mapping[str, Any]) -> str:
    lines = "".join(f"<li>{_escaped(line)}</li>" for line in record["partial"])
    return f'<div class="box warn"><p>This certificate is partial:</p><ul>{lines}</ul></div>' if lines else ""


def _audit(record: Mapping[str, Any]) -> str:
    audit = record["audit"]
    title = "<h2>What people saw <small>ISO/IEC 27559, 8.2.2</small></h2>"
    if not audit:
        return f"{title}<p>Nobody has answered the audit sample. Open audit/index.html beside this page.</p>"
    groups = {"whole pictures": audit["whole_photos"], **{f"part: {k}": v for k, v in audit["by_kind"].items()}}
    heads = ["", *next(iter(groups.values()))]
    rows = [[_escaped(name), *(str(count) for count in counts.values())] for name, counts in groups.items()]
    text = f"{audit['method']} Answers saved {audit['when']} by {audit['by'] or 'nobody who gave a name'}."
    return f"{title}{_table(heads, rows)}<p class=note>{_escaped(text)}</p>"


def _attacks(record: Mapping[str, Any]) -> str:
    attacks = record["attacks"]
    title = "<h2>What attackers find <small>ISO/IEC 27559, 7.3 and 8.2.3</small></h2>"
    if not attacks["worst"]:
        return f"{title}<p>No attack could be run.</p>"
    rows = [
        [_escaped(f"{one['attack']} {one['name']}"), _interval(one), _number(one["chance"]), _interval(one["floor"]),
         _escaped(one["recogniser"]), str(one["count"])]
        for one in attacks["worst"]
    ]  # fmt: skip
    heads = ["attack", "found (95 % interval)", "chance", "with faces filled", "by", "values"]
    known = [f"{name} {text}" for name, text in _ATTACKS.items() if any(o["attack"] == name for o in attacks["worst"])]
    judges = ", ".join(f"{name} (thresholds: {one['thresholds_from'] or 'none'})" for name, one in
                       attacks["recognisers"].items())  # fmt: skip
    note = (
        f"{attacks['faces']} of {attacks['of']} faces, {attacks['named_people']} named people. The worst of: {judges}."
    )
    return f"{title}<p class=note>{_escaped(note)} {_escaped('; '.join(known))}.</p>{_table(heads, rows)}"


def _plain_attack(record: Mapping[str, Any]) -> str:
    figures = [one for one in record["attacks"]["worst"] if one["name"] == "rank-1" and one["value"] is not None]
    if not figures:
        return "<p>This was not measured.</p>"
    one = max(figures, key=lambda figure: figure["value"])
    floor = "" if one["floor"] is None or one["floor"]["value"] is None else (
        f" With the faces painted over entirely the same search finds {one['floor']['value']:.1%}, from hair, clothes "
        "and background alone.")  # fmt: skip
    return (
        f"<p>The best of {len(record['attacks']['recognisers'])} face recognition programs found the right person "
        f"first for {one['value']:.1%} of the faces; guessing finds {one['chance']:.1%}.{floor}</p>"
    )


def _counts(title: str, counts: Mapping[str, Any]) -> str:
    rows = [[_escaped(name.replace("_", " ")), str(count)] for name, count in counts.items()]
    return f"<h2>{_escaped(title)}</h2>{_table(['', ''], rows)}"


def _list(title: str, lines: Sequence[str]) -> str:
    return f"<h2>{_escaped(title)}</h2><ul>{''.join(f'<li>{_escaped(line)}</li>' for line in lines)}</ul>"


def _clauses() -> str:
    rows = [[number, _escaped(name), _escaped(where)] for number, name, where in _CLAUSES]
    return f"<h2>ISO/IEC 27559</h2>{_table(['clause', 'asks for', 'is met by'], rows)}"


def _assessment(record: Mapping[str, Any]) -> str:
    """Answer what a data protection impact assessment (GDPR, Article 35) asks, as far as a measurement can."""
    audit, settings = record["audit"], record["run"]["settings"]
    method = settings.get("method", "unknown")
    missed = audit["claim"] if audit else "Not known: nobody has looked yet."
    rows = [
        ["What is done to the data? (35.7a)", f"Faces are found and changed; method {method}, privacy level "
         f"{settings.get('privacy', 'unknown')}. Nothing else in the picture is meant to change."],
        ["Is it enough for the purpose? (35.7b)", "To be answered by the controller; "
         f"{record['faces']['kept_on_purpose']} faces were kept on purpose."],
        ["Can people still be singled out? (35.7c)", missed],
        ["Can records be linked, or identities inferred? (35.7c)", "See 'What attackers find': A0 to A2 for identity, "
         "A4 for linking. Each figure stands beside what the surroundings alone tell."],
        ["What remains? (35.7c)", f"{len(record['findings'])} findings, listed above; recognition by people who know "
         "somebody; what was not tested."],
        ["Which safeguards are there? (35.7d)", "Every new face is checked before it is written, or obscured; metadata "
         "is removed; files are hashed and signed; the sample's pictures were shown on one machine and deleted."],
    ]  # fmt: skip
    safe = [[_escaped(question), _escaped(answer)] for question, answer in rows]
    return f"<h2>For a data protection impact assessment (GDPR, Article 35)</h2>{_table(['question', 'answer'], safe)}"


def _settings(record: Mapping[str, Any]) -> str:
    lines = {f"run: {k}": v for k, v in record["run"]["settings"].items()}
    lines |= {f"check: {k}": v for k, v in record["settings"].items()}
    lines |= {f"version: {k}": v for k, v in record["versions"].items()}
    lines |= {f"hash of {k}": v for k, v in record["journal"].items()}
    lines |= {f"bundle {record['bundle']['name']}": record["bundle"]["sha256"]}
    lines["files that are certified"] = record["outputs"]["files"]
    rows = [[_escaped(name), _escaped(str(value))] for name, value in lines.items()]
    return f"<h2>Settings, versions, hashes</h2>{_table(['', ''], rows)}"


def _who(record: Mapping[str, Any]) -> str:
    audit = record["audit"]
    by = f"{audit['by'] or 'somebody who gave no name'} on {audit['when'][:10]}" if audit else "nobody so far"
    return f"<p class=note>{_escaped(f'Pictures looked at by {by}. Details: certificate.html.')}</p>"


def _interval(one: Mapping[str, Any] | None) -> str:
    if one is None or one["value"] is None:
        return "-"
    return f"{one['value']:.3f} ({_number(one['low'])} to {_number(one['high'])})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table. heads: plain texts; rows: cells of HTML."""
    top = "".join(f"<th>{_escaped(head)}</th>" for head in heads) if any(heads) else ""
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{f'<tr>{top}</tr>' if top else ''}{body}</table>"


def _escaped(value: Any) -> str:
    return html.escape(str(value))
