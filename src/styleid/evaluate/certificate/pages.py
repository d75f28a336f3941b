"""The two pages of a certificate: one with all figures, and one in plain words for a board.

Neither contains a picture of a person. The clauses are those of ISO/IEC 27559:2022.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from styleid.media.storage.files import write_atomic
from styleid.reports.pages import plain, render

FULL, BOARD = "certificate.html", "board.html"
_ATTACKS = {
    "A0": "searches other original photos of the people for the anonymised face",
    "A0s": "searches the originals themselves",
    "A1": "searches photos that were anonymised with the same tool",
    "A2": "learns from pairs of original and anonymised photos of other people",
    "A4": "links anonymised photos of one person; high by design if each person always gets the same new face",
    "A5": "searches for faces that are unusually different",
}
_CLAUSES = (
    ("7.3", "Attack modelling", "the attackers in 'What attackers find', and what each of them knows"),
    (
        "8.2.2",
        "Quantifying identifiability",
        "figures with intervals beside chance and the result with faces filled; the upper bound from the audit",
    ),
    (
        "8.2.3",
        "Adversarial testing",
        "recognisers run on the published files; metadata and embedded pictures are searched for",
    ),
    (
        "8.3.4",
        "Re-evaluation",
        "run certify and verify again if files, attackers or purposes change; hashes and signature show changes",
    ),
)


def write_pages(record: Mapping[str, Any], out: Path) -> dict[Path, str]:
    """Write both pages of a certificate.

    Args:
        record: The certificate, as `styleid.evaluate.certificate.certify` makes it.
        out: Folder to write to.

    Returns:
        The SHA-256 of each page, by its path.

    Raises:
        OutputError: A page cannot be written.
    """
    found = {}
    for name, page in ((FULL, full_page(record)), (BOARD, board_page(record))):
        write_atomic(out / name, page)
        found[out / name] = hashlib.sha256(page).hexdigest()
    return found


def full_page(record: Mapping[str, Any]) -> bytes:
    """Return the page with all figures, as UTF-8."""
    audit, attacks = record["audit"], {one["attack"] for one in record["attacks"]["worst"]}
    groups = []
    if audit:
        kinds = {f"parts: {kind}": counts for kind, counts in audit["by_kind"].items()}
        groups = list(({"whole pictures": audit["whole_photos"]} | kinds).items())
    return render(
        "certificate.html.jinja",
        record=record,
        groups=groups,
        answers=list(groups[0][1]) if groups else [],
        attack_texts=[f"{name} {text}." for name, text in _ATTACKS.items() if name in attacks],
        counts_by_section=[
            ("Photos", "Number of photos", record["photos"]),
            ("Faces", "Number of faces; those that were kept on purpose are counted separately", record["faces"]),
            ("Information in files besides the picture", "Number of files", record["side_channels"]),
        ],
        clauses=_CLAUSES,
        assessment=_assessment(record),
        settings=list(_settings(record)),
    )


def board_page(record: Mapping[str, Any]) -> bytes:
    """Return the page without technical terms, for people who decide, as UTF-8."""
    found = [one for one in record["attacks"]["worst"] if one["name"] == "rank-1" and one["value"] is not None]
    return render(
        "board.html.jinja",
        record=record,
        replaced=record["faces"].get("anonymised", 0),
        covered=record["faces"].get("obscured", 0),
        attack=max(found, key=lambda one: one["value"], default=None),
    )


def _assessment(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Answer what a data protection impact assessment (GDPR, Article 35) asks, as far as measurements can."""
    audit, settings = record["audit"], record["run"]["settings"]
    return [
        ("What is done with the data? (35.7a)", "Faces are found and changed, by the method "
         f"{settings.get('method', 'unknown')} at the privacy level {settings.get('privacy', 'unknown')}. Nothing else "
         "in the picture is meant to change."),
        ("Is it necessary and proportionate to the purpose? (35.7b)", "The controller must answer this. Faces kept on "
         f"purpose: {record['faces']['kept_on_purpose']}."),
        ("Can people still be singled out? (35.7c)",
         audit["claim"] if audit else "Not known: nobody has looked at the pictures yet."),
        ("Can records be linked, or identities inferred? (35.7c)", "See 'What attackers find': A0 to A2 for identity, "
         "A4 for linking. Beside each figure is what the surroundings alone reveal."),
        ("Which risks remain? (35.7c)", f"The findings above, {len(record['findings'])} in number; recognition by "
         "people who know the person; what was not tested."),
        ("Which safeguards exist? (35.7d)", "Every new face is checked before it is written; if it fails, the face is "
         "obscured. Metadata is removed. Files are hashed and signed. The pictures of the audit sample were shown on "
         "one computer and deleted."),
    ]  # fmt: skip


def _settings(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for title, values in (
        ("run", record["run"]["settings"]),
        ("check", record["settings"]),
        ("version", record["versions"]),
        ("hash", record["journal"]),
    ):
        yield from ((f"{title}: {name}", plain(value)) for name, value in values.items())
    yield f"bundle: {record['bundle']['name']}", record["bundle"]["sha256"]
    yield "certified files", str(record["outputs"]["files"])
