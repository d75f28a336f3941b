"""What became of a run's inputs and faces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_NAMED = 1000
"""How many failures, fallbacks and notes are kept by name: a run of millions must not grow with them. The journal names
all."""

Named = list[tuple[str, str]]


@dataclass
class Summary:
    """Count what became of a run's inputs and faces.

    failures: (input, reason) of inputs that were not written; fallbacks: of faces that were obscured against the asked
    method; notes: of what a user should know. Of each the first thousand; failed, fell_back and noted count all.
    """

    inputs: int = 0
    written: int = 0
    resumed: int = 0
    without_faces: int = 0
    failed: int = 0
    fell_back: int = 0
    noted: int = 0
    faces: Counter[str] = field(default_factory=Counter)
    fallbacks: Named = field(default_factory=list)
    failures: Named = field(default_factory=list)
    notes: Named = field(default_factory=list)
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
        for note in record.get("notes", []):
            self.noted += 1
            _keep(self.notes, name, note)

    def recount(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Count anew, where some lines have taken the place of others."""
        self.written = self.without_faces = self.failed = self.fell_back = self.noted = 0
        self.faces, self.fallbacks, self.failures, self.notes = Counter(), [], [], []
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
            "failures": [{"input": name, "error": reason} for name, reason in self.failures],
            "seconds": round(self.seconds, 3),
            "stage_seconds": {stage: round(seconds, 3) for stage, seconds in self.stage_seconds.items()},
            "exit_status": self.exit_status,
        }


def _keep(named: Named, name: str, text: Any) -> None:
    if len(named) < _NAMED:
        named.append((name, str(text)))
