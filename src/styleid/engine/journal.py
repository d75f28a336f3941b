"""The journal of a run: one JSON line per input, on the disk before the next input begins.

It says what became of every face and never holds an embedding or a crop.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from styleid.errors import OptionError, OutputError

NAME = "styleid-journal.jsonl"


class Journal:
    """Append to a folder's journal, and know what it already says."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._lines = _read_lines(self.path)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one line and bring it to the disk; raises OutputError where that fails."""
        line = to_json_line(record) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                if file.tell() and not _ends_with_newline(self.path):
                    file.write(b"\n")  # a killed run left half a line: it stays, alone and unreadable
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(self.path, error.strerror or str(error)) from error
        self._lines[str(record["input"])] = dict(record)

    def finished(self, name: str, output: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return an input's line if its output is whole and made with these settings, else None."""
        record = self._lines.get(name)
        if record is None or "sha256" not in record or record.get("settings") != settings:
            return None
        try:
            same = hashlib.sha256(output.read_bytes()).hexdigest() == record["sha256"]
        except OSError:
            return None
        return record if same else None

    def require_settings(self, settings: Mapping[str, Any]) -> None:
        """Raise OptionError where the journal's runs had other settings than this one."""
        for record in self._lines.values():
            other = record.get("settings")
            if other is not None and other != settings:
                changed = sorted(k for k in {*other, *settings} if other.get(k) != settings.get(k))
                raise OptionError(
                    "--resume",
                    f"{self.path} was made with other settings ({', '.join(changed)}). "
                    "Repeat the command with the same ones, or choose another --out.",
                )

    def among(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the last line of each of some inputs, where there is one."""
        return {name: self._lines[name] for name in names if name in self._lines}

    def records(self) -> list[dict[str, Any]]:
        """Return the last line of each input, in the order in which inputs first appeared."""
        return list(self._lines.values())


def to_json_line(record: Mapping[str, Any]) -> str:
    """Return one line of JSON in plain Unicode; escaped where it holds a file name that is not UTF-8."""
    line = json.dumps(record, ensure_ascii=False, sort_keys=True)
    return line if _is_unicode(line) else json.dumps(record, sort_keys=True)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_lines(path: Path) -> dict[str, dict[str, Any]]:
    lines: dict[str, dict[str, Any]] = {}
    if not path.is_file():
        return lines
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue  # the half line of a killed run: its input is done again
        if isinstance(record, dict) and "input" in record:
            lines[str(record["input"])] = record
    return lines


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
