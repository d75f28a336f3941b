"""Keep a ranking that is under way, and write what came of it: one .npz file that `Bundle.rankings` understands."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from styleid.bundles.bundle import Bundle
from styleid.errors import BundleError, OptionError
from styleid.media.storage.files import write_atomic
from styleid.ranking.measure import MeasuredSwaps

SETTINGS = "rank.settings"
FILE = "rankings.npz"


@dataclass
class State:
    """A file that holds what has been measured so far, none of it biometric, and with which settings."""

    path: Path
    settings: Mapping[str, Any]
    stages: dict[str, MeasuredSwaps] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, settings: Mapping[str, Any]) -> State:
        """Go on with a file, or begin one; raises OptionError where it is another run's, or no such file."""
        if not path.exists():
            return cls(path, settings)
        try:
            with np.load(path, allow_pickle=False) as file:
                found = json.loads(str(file[SETTINGS]))
                names = [name.removesuffix(".done") for name in file.files if name.endswith(".done")]
                stages = {name: MeasuredSwaps(file[name], int(file[f"{name}.done"])) for name in names}
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise OptionError("out", f"{path} should hold a ranking under way, and cannot be read: {error}. "
                              "Delete it to begin anew.") from error  # fmt: skip
        if other := [name for name in settings if found.get(name) != settings[name]]:
            told = "; ".join(f"{name} {found.get(name)}, not {settings[name]}" for name in other)
            raise OptionError("out", f"{path} holds a ranking under way with other settings ({told}). Take those, "
                              "name another `out`, or delete the file to begin anew.")  # fmt: skip
        return cls(path, settings, stages)

    def stage(self, name: str, pairs: int, swaps: int) -> MeasuredSwaps:
        """Return a stage's table, as far as it has come."""
        known = self.stages.get(name)
        if known is None or known.values.shape[:2] != (pairs, swaps):
            known = self.stages[name] = MeasuredSwaps.empty(pairs, swaps)
        return known

    def save(self) -> None:
        """Write the file, whole or not at all."""
        arrays: dict[str, Any] = {SETTINGS: json.dumps(dict(self.settings))}
        for name, measured in self.stages.items():
            arrays |= {name: measured.values, f"{name}.done": measured.done}
        write_atomic(self.path, packed(arrays))


def packed(arrays: Mapping[str, Any]) -> bytes:
    """Return arrays as the bytes of a .npz file."""
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def install(content: bytes, bundle: Bundle) -> Path:
    """Put the bytes of a rankings file into a bundle's folder and name it in bundle.json; return its path.

    Raises OutputError where the folder cannot be written.
    """
    description = bundle.folder / "bundle.json"
    try:
        record = json.loads(description.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(bundle.folder, f"bundle.json cannot be read: {error}") from error
    path = bundle.folder / FILE
    write_atomic(path, content)
    record["rankings"] = {"file": FILE, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    write_atomic(description, (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())
    return path
