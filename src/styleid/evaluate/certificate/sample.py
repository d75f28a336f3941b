"""Draw what a person is to look at: whole photos at random, and parts of photos by their risk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from styleid.evaluate.certificate.bound import Stratum, allocate, upper_bound
from styleid.evaluate.certificate.looks import PhotoLook, Region, RegionKind
from styleid.evaluate.outputs import Status

CLEAN, UNTOUCHED, UNSURE = "no untouched face", "an untouched face", "cannot tell"
ANSWERS = (CLEAN, UNTOUCHED, UNSURE)
RISKY, OTHER = "photos with a suspicious part", "other photos"
COPIED = "pictures that were copied, such as label maps"
_FIRST_SHARE = 0.5
"""Share of the regions that may all be hardly changed faces, before other kinds get theirs."""


@dataclass(frozen=True)
class Question:
    """Ask about a whole photo, or about a part of it.

    number: its place in the sample. stratum: of the photo. region: the part; None for a whole photo.
    """

    number: int
    photo: str
    stratum: str
    region: Region | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        record: dict[str, Any] = {"number": self.number, "photo": self.photo, "stratum": self.stratum}
        if self.region is None:
            return record
        return record | {"kind": str(self.region.kind), "box": list(self.region.box_xyxy), "risk": self.region.risk}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Question:
        """Build from plain values; raises KeyError or ValueError where they are none."""
        number, photo, stratum = int(record["number"]), str(record["photo"]), str(record["stratum"])
        if "kind" not in record:
            return cls(number, photo, stratum)
        x0, y0, x1, y1 = (float(value) for value in record["box"])
        return cls(number, photo, stratum, Region(photo, RegionKind(record["kind"]), (x0, y0, x1, y1), record["risk"]))


@dataclass(frozen=True)
class Sample:
    """Hold what was drawn.

    questions: whole photos first. sizes: photos of each stratum. uncertain: published photos that cannot be shown,
    which count as missed. total: all published photos, or frames; pictures that were copied are drawn from too, but
    are no photos, so that many label maps make no share smaller. of_all: whether each of these was looked at by the
    machine, so that suspicious parts were sought everywhere. outputs: hash of all outputs' hashes, seed: of the draw.
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
        """What the answers must name: a hash of everything that was drawn."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
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
        """Build from plain values; raises KeyError or ValueError where they are none."""
        questions = tuple(Question.from_json(one) for one in record["questions"])
        sizes = {str(name): int(size) for name, size in record["sizes"].items()}
        return cls(
            questions, sizes, int(record["uncertain"]), int(record["total"]), bool(record["of_all"]),
            str(record["outputs"]), int(record["seed"]),
        )  # fmt: skip


def draw_sample(
    looks: Sequence[PhotoLook], photos: int, regions: int, seed: int, outputs: str, total: int | None = None
) -> Sample:
    """Draw the sample. total: how many frames there are, where the looks are a random part of them."""
    rng = np.random.default_rng(seed)
    shown = [look for look in looks if look.status == Status.MEASURED]
    uncertain = sum(look.is_published and look.status != Status.MEASURED for look in looks)
    of_all = total is None or total == len(looks)
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
    """Choose regions: hardly changed faces first, up to half; then each kind in turn, by risk; then what is left."""
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
    """Hold what people saw.

    answers: how many of each, of whole photos and of parts. missed: photos that hold an untouched face for all that is
    known; at_most: how many may, with 95 % confidence. unanswered: questions without an answer, which count as missed.
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
        """The bound as a share of all photos."""
        return self.at_most / self.total if self.total else 1.0


def judge(sample: Sample, answers: Mapping[int, str]) -> Findings:
    """Turn answers, by the question's number, into a bound. What is not known to be clean counts as missed."""
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
    """Return the photos that each stratum stands for."""
    if sample.of_all:
        return dict(sample.sizes)
    return {OTHER: sample.total - sample.uncertain}


def _counted(questions: Sequence[Question], answers: Mapping[int, str]) -> dict[str, int]:
    given = [answers.get(question.number, "") for question in questions]
    return {answer: given.count(answer) for answer in ANSWERS} | {"no answer": given.count("")}


def _by_kind(parts: Sequence[Question], answers: Mapping[int, str]) -> dict[str, dict[str, int]]:
    kinds = sorted({str(q.region.kind) for q in parts if q.region is not None})
    return {kind: _counted([q for q in parts if q.region and q.region.kind == kind], answers) for kind in kinds}
