"""A page on this machine on which a person answers the sample's questions, and the answers read back.

Its folder holds pictures of originals and outputs: it is readable by its owner alone and deleted once the answers are
there. The page sends nothing anywhere: its policy forbids every connection.
"""

from __future__ import annotations

import html
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from styleid.errors import ImageError, OptionError, OutputError
from styleid.evaluate.certificate.looks import FaceLook, PhotoLook
from styleid.evaluate.certificate.runs import Item
from styleid.evaluate.certificate.sample import ANSWERS, Question, Sample
from styleid.evaluate.certificate.workspace import make_private
from styleid.evaluate.outputs import fitted
from styleid.media.image import read_photo
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
    looks: Mapping[str, PhotoLook],
    watch: Watch | None = None,
) -> Path:
    """Write the page and its pictures into a private folder; return the page's path. Raises OutputError."""
    try:
        make_private(folder)
        for done, question in enumerate(sample.questions):
            befores, afters = _pictures(question, items[question.photo], looks[question.photo])
            _write(folder / f"{question.number}-before.jpg", befores)
            _write(folder / f"{question.number}-after.jpg", afters)
            if watch is not None:
                watch(done + 1, len(sample.questions), f"audit sample: {question.photo}")
        _write(folder / PAGE, _page(sample).encode(errors="backslashreplace"))
    except OSError as error:
        raise OutputError(folder, f"the audit page cannot be written ({error.strerror or error})") from error
    return folder / PAGE


def read_answers(path: Path, sample: Sample) -> tuple[dict[int, str], dict[str, str]]:
    """Read the file that the page saved: answers by question, and who answered when.

    Raises OptionError where it is none, or belongs to another sample.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["kind"] != ANSWERS_KIND:
            raise ValueError("it was not saved by the audit page")
        if record["sample"] != sample.identity:
            raise ValueError("it answers another sample; use the page that this run's certificate goes with")
        answers = {int(number): str(answer) for number, answer in record["answers"].items()}
        numbers = {question.number for question in sample.questions}
        if wrong := [n for n, answer in answers.items() if n not in numbers or answer not in ANSWERS]:
            raise ValueError(f"question {wrong[0]} has an answer that does not belong to it")
        return answers, {"by": str(record["by"]), "when": str(record["when"])}
    except OSError as error:
        raise OptionError("answers", f"{path} cannot be read ({error.strerror}).") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OptionError("answers", f"{path}: {error}.") from error


def _pictures(question: Question, item: Item, look: PhotoLook) -> tuple[bytes, bytes]:
    assert item.original is not None, "only what can be compared is drawn"
    assert item.output is not None, "only what can be compared is drawn"
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
    return _packed(before), _packed(after)


def _whole(image_rgb: ImageRGB, question: Question, faces: Sequence[FaceLook]) -> ImageRGB:
    """Return a photo at a size that a screen shows, with kept faces framed in grey."""
    del question
    scale = min(1.0, _MOST_PX / max(image_rgb.shape[:2]))
    size = (max(1, round(image_rgb.shape[1] * scale)), max(1, round(image_rgb.shape[0] * scale)))
    view = np.ascontiguousarray(cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA) if scale < 1 else image_rgb)
    view = view.copy()
    for face in faces:
        if face.is_kept:
            _frame(view, face.box_xyxy * scale, _KEPT)
    return view


def _part(image_rgb: ImageRGB, question: Question, faces: Sequence[FaceLook]) -> ImageRGB:
    """Return the surroundings of a part, enlarged, with the part framed."""
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


def _packed(image_rgb: ImageRGB) -> bytes:
    quality = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    return cv2.imencode(".jpg", np.ascontiguousarray(image_rgb[..., ::-1]), quality)[1].tobytes()


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _page(sample: Sample) -> str:
    questions = [
        {"number": q.number, "photo": q.photo, "kind": "" if q.region is None else str(q.region.kind)}
        for q in sample.questions
    ]
    told = {"sample": sample.identity, "kind": ANSWERS_KIND, "answers": list(ANSWERS), "questions": questions}
    data = json.dumps(told).replace("<", "\\u003c")
    buttons = "".join(
        f'<button data-answer="{number}"><kbd>{number + 1}</kbd> {html.escape(answer)}</button>'
        for number, answer in enumerate(ANSWERS)
    )
    return _HTML.replace("@BUTTONS@", buttons).replace("@DATA@", data)


_HTML = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src 'self' file:; \
style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="referrer" content="no-referrer"><meta name="viewport" content="width=device-width">
<title>styleid: audit sample</title>
<style>
body{font:16px/1.45 system-ui,sans-serif;margin:0;color:#1d1d1f;background:#fff}
header,footer{padding:.6rem 1rem;background:#f3f3f4}header h1{font-size:1.05rem;margin:0}
header p,footer p{margin:.2rem 0;color:#444}main{padding:1rem}
#pair{display:flex;gap:1rem;align-items:flex-start}#pair figure{margin:0;flex:1;min-width:0}
#pair img{max-width:100%;max-height:62vh;display:block;margin:0 auto;background:#eee}
figcaption{text-align:center;color:#555;font-size:.9rem}#ask{font-size:1.05rem;margin:.2rem 0 .8rem}
#buttons{display:flex;flex-wrap:wrap;gap:.6rem;margin:1rem 0}
button{font:inherit;padding:.5rem .9rem;border:1px solid #bbb;border-radius:6px;background:#fff;cursor:pointer}
button.chosen{background:#1d5fa8;border-color:#1d5fa8;color:#fff}
kbd{font:inherit;opacity:.6;margin-right:.3rem}progress{width:100%;height:.5rem}
input{font:inherit;padding:.3rem;width:16rem}#save{background:#2a7f62;color:#fff;border-color:#2a7f62}
@media(max-width:700px){#pair{flex-direction:column}}
</style></head><body>
<header><h1>Is a face left untouched?</h1>
<p>Left is the original, right is what will be published. A face is <b>untouched</b> if the right picture shows it as it
is on the left, even if it is small, blurred by the photo itself, or in the background. Faces in grey frames were kept
on purpose: they do not count, unless the person is not one who was to be kept. Nothing leaves this machine.</p>
<progress id="done" max="1" value="0"></progress></header>
<main><p id="ask"></p><div id="pair">
<figure><img id="before" alt="original"><figcaption>original</figcaption></figure>
<figure><img id="after" alt="output"><figcaption>output</figcaption></figure></div>
<div id="buttons">@BUTTONS@</div>
<div><button id="back">&larr; back</button> <button id="next">next &rarr;</button>
<button id="open">next open question</button></div></main>
<footer><p>Your name or role, for the certificate: <input id="by" autocomplete="off"></p>
<p><button id="save">Save the answers</button> <span id="left"></span>
Save at any time; to go on later, open this page again and load the saved file:
<input id="load" type="file" accept="application/json"></p>
<p>Keys: 1, 2, 3 answer; left and right arrows move.</p></footer>
<script>
"use strict";
const data = @DATA@, given = {}, el = id => document.getElementById(id);
let at = 0;
function show() {
  const q = data.questions[at], n = Object.keys(given).length, all = data.questions.length;
  el("ask").textContent = "Question " + (at + 1) + " of " + all + ": " + (q.kind
    ? "inside the orange frame (" + q.kind + "), is a face untouched?"
    : "anywhere in this picture, is a face untouched?") + "  " + q.photo;
  el("before").src = q.number + "-before.jpg";
  el("after").src = q.number + "-after.jpg";
  for (const b of document.querySelectorAll("[data-answer]"))
    b.classList.toggle("chosen", given[q.number] === data.answers[b.dataset.answer]);
  el("done").max = all; el("done").value = n;
  el("left").textContent = n + " of " + all + " answered.";
}
function move(step) { at = Math.min(Math.max(at + step, 0), data.questions.length - 1); show(); }
function answer(k) { given[data.questions[at].number] = data.answers[k]; move(1); }
function nextOpen() {
  const open = data.questions.findIndex(q => !(q.number in given));
  if (open >= 0) { at = open; } show();
}
function save() {
  const record = {kind: data.kind, sample: data.sample, by: el("by").value.trim(),
    when: new Date().toISOString(), answers: given};
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(record, null, 1)], {type: "application/json"}));
  link.download = "answers.json"; link.click();
}
el("load").onchange = async event => {
  const record = JSON.parse(await event.target.files[0].text());
  if (record.sample !== data.sample) { alert("These answers belong to another sample."); return; }
  Object.assign(given, record.answers); el("by").value = record.by; nextOpen();
};
for (const b of document.querySelectorAll("[data-answer]")) b.onclick = () => answer(Number(b.dataset.answer));
el("back").onclick = () => move(-1); el("next").onclick = () => move(1);
el("open").onclick = nextOpen; el("save").onclick = save;
document.onkeydown = event => {
  if (event.target.tagName === "INPUT") return;
  if ("123".includes(event.key)) answer(Number(event.key) - 1);
  if (event.key === "ArrowLeft") move(-1);
  if (event.key === "ArrowRight") move(1);
};
if (data.questions.length) show(); else el("ask").textContent = "There is nothing to look at.";
</script></body></html>
"""
