"""The audit page, on which a person answers the questions of the sample, and the file of answers.

Its folder contains pictures of originals and outputs. Only the owner can read it, and it is deleted when the answers
are complete. The page sends nothing: its content security policy forbids every connection.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from styleid.errors import ImageError, OptionError, OutputError
from styleid.evaluate.certificate.examine import ExaminedFace, ExaminedPhoto
from styleid.evaluate.certificate.runs import Item
from styleid.evaluate.certificate.sample import ANSWERS, Question, Sample
from styleid.evaluate.certificate.workspace import make_private
from styleid.evaluate.outputs import fitted
from styleid.media.image import read_photo
from styleid.reports.pages import render
from styleid.reports.tiles import to_jpeg
from styleid.types import ImageRGB

PAGE = "index.html"
ANSWERS_KIND = "styleid audit answers"
_MOST_PX = 1400
_PART_PX = 480
_AROUND = 0.8
_QUALITY = 90
_KEPT, _PART = (150, 150, 150), (230, 120, 0)

Watch = Callable[[int, int, str], None]


def write_audit_page(
    folder: Path,
    sample: Sample,
    items: Mapping[str, Item],
    examined: Mapping[str, ExaminedPhoto],
    watch: Watch | None = None,
) -> Path:
    """Write the page and its pictures into a private folder.

    Args:
        folder: The folder, which is emptied first.
        sample: The questions.
        items: The photos of the run by name.
        examined: What was found in them, by name.
        watch: Called with the number of questions done, the number of all, and a line about the last.

    Returns:
        The path of the page.

    Raises:
        OutputError: A file cannot be written, or a photo changed since the sample was drawn.
    """
    try:
        make_private(folder)
        for done, question in enumerate(sample.questions):
            befores, afters = _pictures(question, items[question.photo], examined[question.photo])
            _write(folder / f"{question.number}-before.jpg", befores)
            _write(folder / f"{question.number}-after.jpg", afters)
            if watch is not None:
                watch(done + 1, len(sample.questions), f"audit sample: {question.photo}")
        _write(folder / PAGE, _page(sample))
    except OSError as error:
        raise OutputError(folder, f"the audit page cannot be written ({error.strerror or error})") from error
    return folder / PAGE


def read_answers(path: Path, sample: Sample) -> tuple[dict[int, str], dict[str, str]]:
    """Read the file that the page saved.

    Args:
        path: The file.
        sample: The sample that it must belong to.

    Returns:
        The answers by the number of the question, and who answered (`by`) and when.

    Raises:
        OptionError: The file cannot be read, has another form, or belongs to another sample.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["kind"] != ANSWERS_KIND:
            raise ValueError("it was not saved by the audit page")
        if record["sample"] != sample.identity:
            raise ValueError("it belongs to another sample; use the page beside the certificate of this run")
        answers = {int(number): str(answer) for number, answer in record["answers"].items()}
        numbers = {question.number for question in sample.questions}
        if wrong := [n for n, answer in answers.items() if n not in numbers or answer not in ANSWERS]:
            raise ValueError(f"question {wrong[0]} does not exist or has another answer than {', '.join(ANSWERS)}")
        return answers, {"by": str(record["by"]), "when": str(record["when"])}
    except OSError as error:
        raise OptionError("answers", f"{path} cannot be read ({error.strerror}).") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OptionError("answers", f"{path}: {error}.") from error


def _pictures(question: Question, item: Item, look: ExaminedPhoto) -> tuple[bytes, bytes]:
    assert item.original is not None, "only photos that can be compared are drawn"
    assert item.output is not None, "only photos that can be compared are drawn"
    try:
        original = read_photo(item.original)
        shown = fitted(read_photo(item.output).seen_like(original), original.image_rgb)
    except ImageError as error:
        raise OutputError(error.path, f"it changed while the sample was drawn ({error.reason})") from error
    if shown is None:
        raise OutputError(item.output, "it changed while the sample was drawn")
    images = (original.image_rgb, shown)
    draw = _part if question.region is not None else _whole
    before, after = (draw(image, question, look.faces) for image in images)
    return to_jpeg(before, _QUALITY), to_jpeg(after, _QUALITY)


def _whole(image_rgb: ImageRGB, question: Question, faces: Sequence[ExaminedFace]) -> ImageRGB:
    """Return a photo scaled to fit a screen, with grey frames around kept faces."""
    del question
    scale = min(1.0, _MOST_PX / max(image_rgb.shape[:2]))
    size = (max(1, round(image_rgb.shape[1] * scale)), max(1, round(image_rgb.shape[0] * scale)))
    view = np.ascontiguousarray(cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA) if scale < 1 else image_rgb)
    view = view.copy()
    for face in faces:
        if face.is_kept:
            _frame(view, face.box_xyxy * scale, _KEPT)
    return view


def _part(image_rgb: ImageRGB, question: Question, faces: Sequence[ExaminedFace]) -> ImageRGB:
    """Return a part with its surroundings, enlarged, with a frame around the part."""
    del faces
    assert question.region is not None, "a part is asked about"
    x0, y0, x1, y1 = question.region.box_xyxy
    side = max(x1 - x0, y1 - y0, 8.0) * (1 + 2 * _AROUND)
    scale = _PART_PX / side
    shift = _PART_PX / 2 - np.array([x0 + x1, y0 + y1]) / 2 * scale
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    view = cv2.warpAffine(image_rgb, matrix, (_PART_PX, _PART_PX), flags=flags, borderMode=cv2.BORDER_CONSTANT)
    view = np.asarray(view, np.uint8).copy()
    _frame(view, np.array([x0, y0, x1, y1]) * scale + np.tile(shift, 2), _PART)
    return view


def _frame(view: ImageRGB, box: Any, colour: tuple[int, int, int]) -> None:
    x0, y0, x1, y1 = (int(value) for value in np.round(box))
    cv2.rectangle(view, (x0 - 2, y0 - 2), (x1 + 2, y1 + 2), colour, 2)


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _page(sample: Sample) -> bytes:
    questions = [
        {"number": q.number, "photo": q.photo, "kind": "" if q.region is None else str(q.region.kind)}
        for q in sample.questions
    ]
    data = {"sample": sample.identity, "kind": ANSWERS_KIND, "answers": list(ANSWERS), "questions": questions}
    return render("audit.html.jinja", data=data, answers=ANSWERS)
