"""The audit sample: whole photos drawn at random, and suspicious parts of photos chosen by their risk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from styleid.evaluate.certificate.bound import Stratum, allocate, upper_bound
from styleid.evaluate.certificate.examine import ExaminedPhoto, Region, RegionKind
from styleid.evaluate.outputs import Status

CLEAN, UNTOUCHED, UNSURE = "no untouched face", "an untouched face", "cannot tell"
ANSWERS = (CLEAN, UNTOUCHED, UNSURE)
RISKY, OTHER = "photos with a suspicious part", "other photos"
COPIED = "pictures that were copied, such as label maps"
_FIRST_SHARE = 0.5
"""Share of the regions that are reserved for hardly changed faces, if there are enough of them."""


@dataclass(frozen=True)
class Question:
    """A question about a whole photo, or about a part of it.

    number: its number in the sample. photo: name of the photo. stratum: of the photo. region: the part, or None for a
    whole photo.
    """

    number: int
    photo: str
    stratum: str
    region: Region | None = None

    def to_json(self) -> dict[str, Any]:
        """Return values for JSON."""
        record: dict[str, Any] = {"number": self.number, "photo": self.photo, "stratum": self.stratum}
        if self.region is None:
            return record
        return record | {"kind": str(self.region.kind), "box": list(self.region.box_xyxy), "risk": self.region.risk}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Question:
        """Build from values of JSON; raises KeyError or ValueError if they have another form."""
        number, photo, stratum = int(record["number"]), str(record["photo"]), str(record["stratum"])
        if "kind" not in record:
            return cls(number, photo, stratum)
        x0, y0, x1, y1 = (float(value) for value in record["box"])
        return cls(number, photo, stratum, Region(photo, RegionKind(record["kind"]), (x0, y0, x1, y1), record["risk"]))


@dataclass(frozen=True)
class Sample:
    """The audit sample.

    Attributes:
        questions: The questions, those about whole photos first.
        sizes: Number of photos in each stratum.
        uncertain: Number of published photos that cannot be shown. They count as missed.
        total: Number of published photos or frames. Copied pictures are in the sample, but not in this number, so that
            label maps do not make shares smaller.
        of_all: Whether all of them were examined for suspicious parts.
        outputs: Hash of the hashes of all outputs.
        seed: Seed of the draw.
    """

    questions: tuple[Question, ...]
    sizes: Mapping[str, int]
    uncertain: int
    total: int
    of_all: bool
    outputs: str
    seed: int

    @property
    def identity(self) -> str:
        """A hash of the sample, which answers must name."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return values for JSON."""
        return {
            "questions": [question.to_json() for question in self.questions],
            "sizes": dict(self.sizes),
            "uncertain": self.uncertain,
            "total": self.total,
            "of_all": self.of_all,
            "outputs": self.outputs,
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Sample:
        """Build from values of JSON; raises KeyError or ValueError if they have another form."""
        questions = tuple(Question.from_json(one) for one in record["questions"])
        sizes = {str(name): int(size) for name, size in record["sizes"].items()}
        return cls(
            questions, sizes, int(record["uncertain"]), int(record["total"]), bool(record["of_all"]),
            str(record["outputs"]), int(record["seed"]),
        )  # fmt: skip


def draw_sample(
    examined: Sequence[ExaminedPhoto], photos: int, regions: int, seed: int, outputs: str, total: int | None = None
) -> Sample:
    """Draw the sample.

    Args:
        examined: The results for each photo.
        photos: Number of whole photos to draw.
        regions: Maximum number of suspicious parts.
        seed: Seed of the draw.
        outputs: Hash of the hashes of all outputs.
        total: Number of all frames, if `examined` is a random part of them.
    """
    rng = np.random.default_rng(seed)
    shown = [look for look in examined if look.status == Status.MEASURED]
    uncertain = sum(look.is_published and look.status != Status.MEASURED for look in examined)
    of_all = total is None or total == len(examined)
    strata: dict[str, list[str]] = {RISKY: [], OTHER: [], COPIED: []}
    for look in shown:
        strata[COPIED if look.copied else RISKY if of_all and look.is_risky else OTHER].append(look.name)
    questions: list[Question] = []
    for name, given in zip(strata, allocate([len(names) for names in strata.values()], photos), strict=True):
        drawn = sorted(rng.permutation(len(strata[name]))[:given])
        questions += [Question(0, strata[name][place], name) for place in drawn]
    questions = [questions[place] for place in rng.permutation(len(questions))]
    chosen = choose_regions([region for look in shown for region in look.regions], regions)
    stratum = {photo: name for name, photos_of in strata.items() for photo in photos_of}
    questions += [Question(0, region.photo, stratum[region.photo], region) for region in chosen]
    numbered = tuple(Question(n, q.photo, q.stratum, q.region) for n, q in enumerate(questions))
    sizes = {name: len(names) for name, names in strata.items()}
    published = sizes[RISKY] + sizes[OTHER] + uncertain
    everything = published if of_all or total is None else total
    return Sample(numbered, sizes, uncertain, everything, of_all, outputs, seed)


def choose_regions(regions: Sequence[Region], most: int) -> list[Region]:
    """Choose regions: hardly changed faces first, up to half of `most`; then one of each kind in turn, by risk."""
    by_kind = {kind: [] for kind in RegionKind}
    for region in sorted(regions, key=lambda one: (-one.risk, one.photo, one.box_xyxy)):
        by_kind[region.kind].append(region)
    first = by_kind[RegionKind.UNCHANGED]
    cut = min(len(first), round(most * _FIRST_SHARE))
    chosen = first[:cut]
    by_kind[RegionKind.UNCHANGED] = first[cut:]
    while len(chosen) < most and any(by_kind.values()):
        for waiting in by_kind.values():
            if waiting and len(chosen) < most:
                chosen.append(waiting.pop(0))
    return chosen


@dataclass(frozen=True)
class Findings:
    """The result of the audit.

    Attributes:
        photos: Number of each answer about whole photos.
        parts: Number of each answer about parts.
        kinds: Number of each answer by kind of part.
        missed: Number of photos that are known, or must be assumed, to contain an untouched face.
        at_most: Maximum number of photos with an untouched face, with 95 % confidence.
        total: Number of all photos.
        unanswered: Number of questions without an answer. They count as missed.
    """

    photos: Mapping[str, int]
    parts: Mapping[str, int]
    kinds: Mapping[str, Mapping[str, int]]
    missed: int
    at_most: int
    total: int
    unanswered: int

    @property
    def share(self) -> float:
        """The bound as a share of all photos, in [0, 1]."""
        return self.at_most / self.total if self.total else 1.0


def judge(sample: Sample, answers: Mapping[int, str]) -> Findings:
    """Compute the bound from answers by question number. Every photo that is not known to be clean counts as missed."""
    whole = [q for q in sample.questions if q.region is None]
    parts = [q for q in sample.questions if q.region is not None]
    bad = {q.photo for q in sample.questions if answers.get(q.number) != CLEAN}
    known = {q.photo: q.stratum for q in parts if answers.get(q.number) != CLEAN} if sample.of_all else {}
    strata = []
    for name, size in _sizes(sample).items():
        seen = [q for q in whole if q.stratum == name and q.photo not in known]
        taken = list(known.values()).count(name)
        strata.append(Stratum(size - taken, len(seen), sum(q.photo in bad for q in seen)))
    at_most = min(max(upper_bound(strata, len(known) + sample.uncertain), len(bad) + sample.uncertain), sample.total)
    return Findings(
        _counted(whole, answers), _counted(parts, answers), _by_kind(parts, answers), len(bad) + sample.uncertain,
        at_most, sample.total, sum(q.number not in answers for q in sample.questions),
    )  # fmt: skip


def _sizes(sample: Sample) -> dict[str, int]:
    """Return the number of photos that each stratum represents."""
    if sample.of_all:
        return dict(sample.sizes)
    return {OTHER: sample.total - sample.uncertain}


def _counted(questions: Sequence[Question], answers: Mapping[int, str]) -> dict[str, int]:
    given = [answers.get(question.number, "") for question in questions]
    return {answer: given.count(answer) for answer in ANSWERS} | {"no answer": given.count("")}


def _by_kind(parts: Sequence[Question], answers: Mapping[int, str]) -> dict[str, dict[str, int]]:
    kinds = sorted({str(q.region.kind) for q in parts if q.region is not None})
    return {kind: _counted([q for q in parts if q.region and q.region.kind == kind], answers) for kind in kinds}
