"""A finished run on synthetic photos, with known flaws."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from styleid.cli import main
from styleid.engine.journal import NAME
from styleid.evaluate.certificate.sample import CLEAN, UNTOUCHED, Sample

Change = Callable[[np.ndarray], np.ndarray]


def finished(originals: Path, outputs: Path, *more: str) -> Path:
    """Run styleid over a folder so that every face is filled."""
    given = ["anonymize", str(originals), "--out", str(outputs), "--method", "none", "--obscure", "solid", "--quiet"]
    assert main([*given, *more]) == 0
    return outputs


def copy_of(outputs: Path, folder: Path) -> Path:
    shutil.copytree(outputs, folder)
    return folder


def lines_of(outputs: Path) -> list[dict]:
    return [json.loads(line) for line in (outputs / NAME).read_text().splitlines()]


def write_lines(outputs: Path, lines: Iterable[Mapping]) -> None:
    (outputs / NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))


def put(outputs: Path, name: str, content: bytes) -> None:
    """Write an output and let the journal say that the run wrote it, as a thorough liar would."""
    (outputs / name).write_bytes(content)
    digest = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    write_lines(outputs, [line | digest if line["input"] == name else line for line in lines_of(outputs)])


def restore(originals: Path, outputs: Path, names: Iterable[str], change: Change) -> None:
    """Put the originals' faces back into some outputs, each changed a little."""
    boxes = {line["input"]: [face["box"] for face in line["faces"]] for line in lines_of(outputs)}
    for name in names:
        before, after = (np.asarray(Image.open(folder / name)).copy() for folder in (originals, outputs))
        shown = change(before)
        for box in boxes[name]:
            x0, y0 = (max(int(value) - 12, 0) for value in box[:2])
            x1, y1 = (int(value) + 12 for value in box[2:])
            after[y0:y1, x0:x1] = shown[y0:y1, x0:x1]
        packed = io.BytesIO()
        Image.fromarray(after).save(packed, "PNG")
        put(outputs, name, packed.getvalue())


def encoded_again(image: np.ndarray) -> np.ndarray:
    packed = io.BytesIO()
    Image.fromarray(image).save(packed, "JPEG", quality=75)
    return np.asarray(Image.open(packed).convert("RGB"))


def shifted(image: np.ndarray) -> np.ndarray:
    return np.roll(image, 1, axis=1)


def truthful(sample: Sample, untouched: Iterable[str]) -> dict[int, str]:
    """Answer every question as somebody would who knows which photos hold an untouched face."""
    bad = set(untouched)
    return {q.number: UNTOUCHED if q.photo in bad else CLEAN for q in sample.questions}


def answers_file(path: Path, sample: Sample, answers: Mapping[int, str], by: str = "the editor") -> Path:
    """Write what the audit page saves."""
    record = {"kind": "styleid audit answers", "sample": sample.identity, "by": by, "when": "2026-11-30T10:00:00.000Z"}
    path.write_text(json.dumps(record | {"answers": {str(number): answer for number, answer in answers.items()}}))
    return path


def sample_of(out: Path) -> Sample:
    return Sample.from_json(json.loads((out / "audit-sample.json").read_text())["sample"])
