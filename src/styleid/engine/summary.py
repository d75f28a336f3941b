"""What became of a run's inputs and faces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from styleid.engine.moving import obscured_reasons
from styleid.media.storage.remote import Place

_NAMED = 1000
"""How many failures, fallbacks and notes are kept by name: a run of millions must not grow with them. The journal names
all."""

Named = list[tuple[str, str]]


@dataclass
class Summary:
    """Count what became of a run's inputs and faces.

    failures: (input, reason) of inputs that were not written; fallbacks: of faces that were obscured against the asked
    method; notes: of what a user should know; left_out: of photos whose moving part was not written. Of each the first
    thousand; failed, fell_back, noted and unmoving count all. partners: by the names of videos beside Live Photos,
    whether they were written. unread: how many files of which kinds were not read. report: the page of results, if one
    was written.
    """

    inputs: int = 0
    written: int = 0
    resumed: int = 0
    without_faces: int = 0
    failed: int = 0
    fell_back: int = 0
    noted: int = 0
    unmoving: int = 0
    faces: Counter[str] = field(default_factory=Counter)
    fallbacks: Named = field(default_factory=list)
    failures: Named = field(default_factory=list)
    notes: Named = field(default_factory=list)
    left_out: Named = field(default_factory=list)
    partners: dict[str, bool] = field(default_factory=dict[str, bool])
    unread: Counter[str] = field(default_factory=Counter)
    report: Place | None = None
    seconds: float = 0.0
    stage_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def exit_status(self) -> int:
        """0 where all was written as asked; 3 where a face was obscured against the asked method or a file withheld."""
        return 3 if self.failed or self.fell_back else 0

    def count(self, record: Mapping[str, Any]) -> None:
        """Add one journal line."""
        name = str(record["input"])
        if "error" in record:
            self.failed += 1
            _keep(self.failures, name, record["error"])
            return
        self.written += 1
        self.without_faces += not record["faces"]
        for face in record["faces"]:
            self.faces[face["action"]] += 1
            if "reason" in face:
                self.fell_back += 1
                _keep(self.fallbacks, name, face["reason"])
        for reason in obscured_reasons(record):
            self.fell_back += 1
            _keep(self.fallbacks, name, reason)
        for note in record.get("notes", []):
            self.noted += 1
            _keep(self.notes, name, note)
        moving = record.get("moving", {})
        if "file" in moving:
            self.partners[str(PurePosixPath(name).with_name(moving["file"]))] = "sha256" in moving
        if (reason := moving.get("left_out")) is not None:
            self.unmoving += 1
            _keep(self.left_out, name, reason)

    def recount(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Count anew, where some lines have taken the place of others."""
        self.written = self.without_faces = self.failed = self.fell_back = self.noted = self.unmoving = 0
        self.faces, self.fallbacks, self.failures, self.notes, self.left_out = Counter(), [], [], [], []
        for record in records:
            self.count(record)

    def to_json(self) -> dict[str, Any]:
        """Return the machine-readable summary."""
        return {
            "inputs": self.inputs,
            "written": self.written,
            "resumed": self.resumed,
            "without_faces": self.without_faces,
            "faces": dict(self.faces),
            "obscured_against_method": self.fell_back,
            "failed": self.failed,
            "moving_parts_left_out": self.unmoving,
            "failures": [{"input": name, "error": reason} for name, reason in self.failures],
            "seconds": round(self.seconds, 3),
            "stage_seconds": {stage: round(seconds, 3) for stage, seconds in self.stage_seconds.items()},
            "exit_status": self.exit_status,
        }


def _keep(named: Named, name: str, text: Any) -> None:
    if len(named) < _NAMED:
        named.append((name, str(text)))
