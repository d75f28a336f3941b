"""The summary of a run: how many inputs and faces had which outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from styleid.engine.moving import obscured_reasons
from styleid.media.storage.remote import Place

_NAMED = 1000
"""Maximum number of failures, fallbacks and notes that are kept by name, to bound the memory of long runs. The journal
has all."""

Named = list[tuple[str, str]]


@dataclass
class Summary:
    """Counts of the outcomes of a run's inputs and faces.

    Attributes:
        inputs: Number of inputs.
        written: Number of inputs whose output was written, in this run or before it was resumed.
        resumed: Number of inputs that were skipped because an earlier run had done them.
        without_faces: Number of written inputs without a face.
        failed: Number of inputs that were not written.
        fell_back: Number of faces that were obscured although another method was asked for.
        noted: Number of notes.
        unmoving: Number of photos whose moving part was not written.
        faces: Number of faces by action, see `styleid.types.Action`.
        fallbacks: The first thousand (input, reason) of `fell_back`.
        failures: The first thousand (input, reason) of `failed`.
        notes: The first thousand (input, note) of `noted`.
        left_out: The first thousand (input, reason) of `unmoving`.
        partners: Whether each video beside a Live Photo was written, by its name.
        unread: Number of files that were not read, by kind.
        report: The report, if one was written.
        seconds: Duration of the run.
        stage_seconds: Seconds by stage, added up over all threads and processes.
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
        """0 if everything was done as asked; 3 if a file was withheld or a face was obscured against the method."""
        return 3 if self.failed or self.fell_back else 0

    def count(self, record: Mapping[str, Any]) -> None:
        """Add a line of the journal."""
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
        """Count again from the given journal lines, after some were replaced."""
        self.written = self.without_faces = self.failed = self.fell_back = self.noted = self.unmoving = 0
        self.faces, self.fallbacks, self.failures, self.notes, self.left_out = Counter(), [], [], [], []
        for record in records:
            self.count(record)

    def to_json(self) -> dict[str, Any]:
        """Return the summary as values for JSON."""
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
