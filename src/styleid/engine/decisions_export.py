"""Write a decisions file that lists every face of a run, for a person to edit."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from styleid.core.options import AnonymizeOptions
from styleid.engine.decisions import FORMAT
from styleid.media.storage.files import write_atomic
from styleid.types import Action

_WHO = ("by", "at")


def export_decisions(path: Path, settings: Mapping[str, Any], records: Iterable[Mapping[str, Any]]) -> None:
    """Write a decisions file that repeats a run: with it, the same command writes the same bytes.

    Args:
        path: File to write.
        settings: Settings of the run.
        records: Journal lines of the inputs. Inputs that were not written are left out.

    Raises:
        OutputError: The file cannot be written.
    """
    write_atomic(path, "".join(_lines(settings, records)).encode(errors="backslashreplace"))


def with_seed(how: AnonymizeOptions) -> AnonymizeOptions:
    """Return options with a seed. If they have none, draw one, so that the run can be repeated."""
    return how if how.seed is not None else replace(how, seed=secrets.randbits(31))


def _lines(settings: Mapping[str, Any], records: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the text of the file, with each face on its own line so that it is easy to edit."""
    head = {"format": FORMAT, "seed": settings.get("seed"), "settings": dict(settings)}
    yield "{" + ",\n ".join(f'"{name}": {json.dumps(value, sort_keys=True)}' for name, value in head.items())
    yield ',\n "photos": {'
    photos = ((str(record["input"]), _photo(record)) for record in records if "error" not in record)
    for number, (name, entry) in enumerate(photos):
        yield ",\n" if number else "\n"
        yield f"  {json.dumps(name)}: " + "{" + ",\n   ".join(_member(*one) for one in entry.items()) + "}"
    yield "\n }}\n"


def _member(name: str, value: Any) -> str:
    if not isinstance(value, list) or not value:
        return f'"{name}": {json.dumps(value)}'
    return f'"{name}": [\n    ' + ",\n    ".join(json.dumps(one) for one in value) + "]"


def _photo(record: Mapping[str, Any]) -> dict[str, Any]:
    lists: dict[str, list[dict[str, Any]]] = {"faces": [], "add": [], "remove": []}
    for face in record["faces"]:
        decision = face.get("decision", {})
        who = {key: decision[key] for key in ("person", *_WHO) if key in decision}
        if decision.get("added"):
            lists["add"].append({"box": face["box"], "do": decision["do"]} | who)
        elif decision.get("do") == "remove":
            lists["remove"].append({"box": face["box"]} | who)
        else:
            lists["faces"].append(_face(face, decision) | who)
    entry: dict[str, Any] = {"sha256": record["input_sha256"], "faces": lists.pop("faces")}
    entry |= {name: rows for name, rows in lists.items() if rows}
    return entry | ({"approved": record["approved"]} if "approved" in record else {})


def _face(face: Mapping[str, Any], decision: Mapping[str, Any]) -> dict[str, Any]:
    kept = face["action"] == Action.KEPT
    entry = {"box": face["box"], "do": decision.get("do", "keep" if kept else "replace")}
    entry |= {"target": decision["target"]} if "target" in decision else {}
    entry |= {"score": face["score"], "became": face["action"]}
    return entry | ({"reason": face["reason"]} if "reason" in face else {})
