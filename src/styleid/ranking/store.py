"""Save the state of a ranking that is not finished, and install a finished one in a bundle."""

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
"""Name of the settings, as JSON, in a .npz file."""
FILE = "rankings.npz"
"""Name of the rankings file in a bundle."""


@dataclass
class State:
    """The state of a ranking that is not finished, in a file. It contains no face and no embedding.

    path: the file.
    settings: settings of the ranking.
    stages: tables of measurements by the stage's name.
    """

    path: Path
    settings: Mapping[str, Any]
    stages: dict[str, MeasuredSwaps] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, settings: Mapping[str, Any]) -> State:
        """Read a state, or return an empty one if the file does not exist.

        Args:
            path: The file.
            settings: Settings of the ranking that is to continue.

        Raises:
            OptionError: If the file cannot be read, or was written with other settings.
        """
        if not path.exists():
            return cls(path, settings)
        try:
            with np.load(path, allow_pickle=False) as file:
                found = json.loads(str(file[SETTINGS]))
                names = [name.removesuffix(".done") for name in file.files if name.endswith(".done")]
                stages = {name: MeasuredSwaps(file[name], int(file[f"{name}.done"])) for name in names}
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise OptionError("out", f"{path}, the state of an unfinished ranking, cannot be read: {error}. Delete it "
                              "to start again.") from error  # fmt: skip
        if other := [name for name in settings if found.get(name) != settings[name]]:
            differences = "; ".join(f"{name} {found.get(name)}, not {settings[name]}" for name in other)
            raise OptionError("out", f"{path} is the state of an unfinished ranking with other settings "
                              f"({differences}). Use the same settings, give another `out`, or delete the file to "
                              "start again.")  # fmt: skip
        return cls(path, settings, stages)

    def stage(self, name: str, pairs: int, swaps: int) -> MeasuredSwaps:
        """Return the table of a stage; a new one if there is none of this size."""
        known = self.stages.get(name)
        if known is None or known.values.shape[:2] != (pairs, swaps):
            known = self.stages[name] = MeasuredSwaps.empty(pairs, swaps)
        return known

    def save(self) -> None:
        """Write the file atomically."""
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
    """Write a rankings file into a bundle's folder, and enter it in bundle.json.

    Args:
        content: Content of the rankings file.
        bundle: The bundle.

    Returns:
        Path of the file.

    Raises:
        BundleError: If bundle.json cannot be read.
        OutputError: If the folder cannot be written.
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
