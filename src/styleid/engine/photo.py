"""Process one input: read it, anonymise it, write it, and return its journal line."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from styleid.core.boxes import boxes_inside
from styleid.core.decisions import PhotoDecisions
from styleid.core.pipeline import Anonymizer
from styleid.engine.decisions import DecidedPhoto
from styleid.engine.finding import faces_mask, find_faces
from styleid.engine.moving import MovingResult, anonymize_part, leave_out, recorded
from styleid.engine.options import RunOptions
from styleid.errors import ImageError
from styleid.media.formats.decoded import MovingPart
from styleid.media.image import Photo, photo_bytes, read_photo_bytes
from styleid.media.live_photo import find_partner
from styleid.media.marking import Encoded, encode_marked
from styleid.media.storage.files import write_atomic
from styleid.media.storage.remote import Place
from styleid.people.targets import TakenTarget
from styleid.types import Action, FloatArray, HintSource, Outcome, PhotoHints
from styleid.version import __version__

MOST_PIXELS = 64_000_000
"""Maximum number of pixels that one process works on at once. Each needs about 30 bytes."""


@dataclass(frozen=True)
class Job:
    """One input to process.

    Attributes:
        number: Its place in the run, from 0.
        name: Its relative name.
        source: Where to read it; None if `data` is given.
        output: Where to write the output; None if `data` is given.
        boxes: Additional face boxes, (n, 4) pixels of the upright image.
        hint_source: Knows more about the photo, such as the labels of a data set.
        data: The encoded photo, if it is part of something larger. The result is then returned, not written.
        decided: What a person decided about it.
        hashed: Whether the journal line has the SHA-256 of the input.
    """

    number: int
    name: str
    source: Place | None = None
    output: Place | None = None
    boxes: FloatArray | None = None
    hint_source: HintSource | None = None
    data: bytes | None = None
    decided: DecidedPhoto | None = None
    hashed: bool = False

    @property
    def shown(self) -> str:
        """Its name in messages."""
        return self.name if self.source is None else str(self.source)


@dataclass(frozen=True)
class Done:
    """The result of a job.

    number: that of the job. record: its journal line, without the settings. stages: seconds by stage. data: the encoded
    result of a job with data, or None if it is withheld.
    """

    number: int
    record: dict[str, Any]
    stages: dict[str, float]
    data: bytes | None = None


class PixelBudget:
    """A limit on the pixels of all photos in hand. A photo that is larger than the limit is processed alone."""

    def __init__(self, pixels: int = MOST_PIXELS) -> None:
        self._all = self._free = pixels
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Wait until there is room for this many pixels, and reserve it inside the block."""
        wanted = min(pixels, self._all)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            with self._changed:
                self._free += wanted
                self._changed.notify_all()


def do_job(job: Job, anonymizer: Anonymizer, options: RunOptions, budget: PixelBudget | None = None) -> Done:
    """Anonymise one photo, and write or return it. If it cannot be used, the record has the reason.

    Args:
        job: The photo.
        anonymizer: Anonymises it.
        options: How it is written.
        budget: Limit on the pixels of all photos that are processed at once; by default the job has its own.

    Raises:
        OutputError: The output cannot be written.
    """
    begun, before = time.perf_counter(), dict(anonymizer.seconds)
    try:
        encoded, record = _anonymize(job, anonymizer, options, budget or PixelBudget())
    except ImageError as error:
        encoded, record = None, {"faces": [], "error": error.reason}
    seconds = round(time.perf_counter() - begun, 3)
    stages = {stage: total - before.get(stage, 0.0) for stage, total in anonymizer.seconds.items()}
    return Done(job.number, _line(job, seconds, record), stages, encoded if job.data is not None else None)


def give_up(job: Job, reason: str) -> Done:
    """Return the result of a job that could not be finished."""
    return Done(job.number, _line(job, 0.0, {"faces": [], "error": reason}), {})


def _line(job: Job, seconds: float, record: dict[str, Any]) -> dict[str, Any]:
    return {"input": job.name, "seconds": seconds, "versions": {"styleid": __version__}} | record


def box_rows(boxes: FloatArray | None) -> list[list[float]]:
    """Return boxes as the journal has them, rounded to hundredths of a pixel."""
    return [] if boxes is None else [[round(float(v), 2) for v in row] for row in boxes]


def _anonymize(
    job: Job, anonymizer: Anonymizer, options: RunOptions, budget: PixelBudget
) -> tuple[bytes, dict[str, Any]]:
    clock = _Clock(anonymizer.seconds)
    data = job_bytes(job)
    photo = _with_partner(read_photo_bytes(data, job.shown, max_pixels=options.max_pixels), job, data, options)
    hashed = {"input_sha256": hashlib.sha256(data).hexdigest()} if job.hashed else {}
    clock.tick("read")
    with budget.hold(photo.image_rgb.shape[0] * photo.image_rgb.shape[1]):
        encoded, record, moved = _anonymized(
            job.name, photo, anonymizer, options, job.boxes, job.hint_source, job.decided
        )
    clock.begin()
    digest = hashlib.sha256(encoded).hexdigest() if job.output is None else write_atomic(job.output, encoded)
    if moved is not None and moved.beside and moved.data is not None and job.output is not None:
        write_atomic(job.output.parent / moved.beside, moved.data)
    clock.tick("write")
    return encoded, {"sha256": digest, "bytes": len(encoded)} | hashed | record


def _with_partner(photo: Photo, job: Job, data: bytes, options: RunOptions) -> Photo:
    """Return a photo with the video beside it, if it is a Live Photo on this machine."""
    here = isinstance(job.source, Path) and isinstance(job.output, Path)
    if not options.live_photos or photo.moving is not None or not here:
        return photo
    assert isinstance(job.source, Path)
    try:
        partner = find_partner(job.source, data)
        moving = None if partner is None else MovingPart(partner.read_bytes(), beside=partner.name)
    except OSError as error:
        raise ImageError(photo.name, f"the video beside it cannot be read ({error.strerror or error})") from error
    return photo if moving is None else replace(photo, moving=moving)


def read_job(job: Job) -> Photo:
    """Read the photo of a job; raises ImageError if it cannot be used, or is not the file of its decisions."""
    return read_photo_bytes(job_bytes(job), job.shown)


def job_bytes(job: Job) -> bytes:
    """Return the bytes of a job's photo; raises ImageError if it cannot be read, or is not that of its decisions."""
    if (data := job.data) is None:
        assert job.source is not None, "a job has a source or data"
        data = photo_bytes(job.source)
    require_decided(job.shown, data, job.decided)
    return data


def require_decided(name: str, data: bytes, decided: DecidedPhoto | None) -> None:
    """Raise ImageError if a file is not the one that the decisions were made about."""
    if decided is not None and hashlib.sha256(data).hexdigest() != decided.sha256:
        raise ImageError(
            name,
            "it is not the file that the decisions were made about: its SHA-256 differs. Make new decisions, or remove "
            "the photo from the decisions file",
        )


def anonymize_photo(
    name: str,
    photo: Photo,
    anonymizer: Anonymizer,
    options: RunOptions,
    *,
    boxes: FloatArray | None = None,
    hint_source: HintSource | None = None,
    decided: DecidedPhoto | None = None,
) -> tuple[bytes, dict[str, Any]]:
    """Anonymise a photo and encode it.

    Args:
        name: Name of the photo, from which random numbers are drawn.
        photo: The photo.
        anonymizer: Anonymises it.
        options: How it is encoded and marked.
        boxes: Additional face boxes, (n, 4) pixels of the upright image.
        hint_source: Knows more about the photo.
        decided: What a person decided about it.

    Returns:
        The encoded file and its entry in the journal.

    Raises:
        ImageError: The photo must be withheld.
    """
    return _anonymized(name, photo, anonymizer, options, boxes, hint_source, decided)[:2]


def _anonymized(
    name: str,
    photo: Photo,
    anonymizer: Anonymizer,
    options: RunOptions,
    boxes: FloatArray | None,
    hint_source: HintSource | None,
    decided: DecidedPhoto | None,
) -> tuple[bytes, dict[str, Any], MovingResult | None]:
    """Return what `anonymize_photo` returns, and the outcome of the moving part."""
    height, width = _size_of_marks(photo)
    try:
        hints = PhotoHints() if hint_source is None else hint_source.hints(width, height, photo.orientation)
        every = [b for b in (boxes, hints.boxes_xyxy) if b is not None]
        given = boxes_inside(in_every_frame(np.concatenate(every), photo), photo.image_rgb.shape) if every else None
    except ValueError as error:
        raise ImageError(photo.name, str(error)) from error
    decisions = decisions_for(photo, decided)
    search = hints.search if photo.strip is None else None  # of an animation, they are about one frame only
    found = find_faces(photo, anonymizer, given, search, decisions)
    photo = found.photo
    own, targets = (anonymizer, None) if photo.moving is None else recorded(anonymizer)
    outcome = found.anonymized(own, name, given, search, decisions)
    if options.require_faces and not outcome.faces:
        raise ImageError(photo.name, "no face was found, and `require_faces` is set")
    clock = _Clock(anonymizer.seconds)
    taken = targets.taken() if targets is not None else []
    photo, moved = anonymize_moving_part(
        photo, name, anonymizer, taken, options, added=decisions is not None and bool(decisions.added)
    )
    clock.tick("moving part")
    encoded = encode_outcome(photo, outcome, options, generated=moved is not None and moved.is_generated_inside)
    clock.tick("encode")
    record: dict[str, Any] = {"faces": [face.to_json() for face in outcome.faces], **hints.facts}
    if moved is not None:
        record["moving"] = moved.record
    if boxes is not None:
        record["own_boxes"] = box_rows(boxes)
    if hint_source is not None:
        record["advice"] = hint_source.digest()
    if decided is not None:
        record |= decided.journal_entries()
    if photo.strip is not None:
        record["frames"] = {"count": photo.strip.frames, "height": photo.strip.frame_height, "step": photo.strip.step}
    if encoded.mark:
        record["mark"] = encoded.mark
    if notes := [*photo.notes, *found.notes, *hints.notes, *encoded.notes]:
        record["notes"] = notes
    return encoded.data, record, moved


def _size_of_marks(photo: Photo) -> tuple[int, int]:
    """Return the height and width that hints about a photo refer to; for an animation, those of a frame."""
    height, width = photo.image_rgb.shape[:2]
    if photo.strip is None:
        return height, width
    return (photo.strip.frame_height, width) if photo.orientation < 5 else (height, photo.strip.frame_height)


def in_every_frame(boxes: FloatArray, photo: Photo) -> FloatArray:
    """Repeat boxes, (n, 4), in each frame of an animation; return those of a still picture unchanged.

    Raises:
        ImageError: The animation has an orientation other than 1.
    """
    if photo.strip is None:
        return boxes
    if photo.orientation != 1:
        reason = "it is a rotated animation, for which boxes cannot be used. Rotate its pixels first"
        raise ImageError(photo.name, reason)
    tops = np.arange(photo.strip.frames) * photo.strip.step
    return (boxes[None] + tops[:, None, None] * np.array([0, 1, 0, 1])).reshape(-1, 4)


def decisions_for(photo: Photo, decided: DecidedPhoto | None) -> PhotoDecisions | None:
    """Return the decisions about a photo's faces, with boxes of an animation's first frame added to every frame.

    Other boxes refer to all frames below each other, as in the journal.

    Raises:
        ImageError: The animation has an orientation other than 1.
    """
    if decided is None or photo.strip is None or not decided.decisions.added:
        return None if decided is None else decided.decisions
    added = list(decided.decisions.added)
    known = {one.box_xyxy for one in added}
    for one in decided.decisions.added:
        if one.box_xyxy[3] <= photo.strip.frame_height:
            boxes = in_every_frame(np.array([one.box_xyxy]), photo).round(1).tolist()
            added += [replace(one, box_xyxy=tuple(box)) for box in boxes if tuple(box) not in known]
    return replace(decided.decisions, added=tuple(added))


def anonymize_moving_part(
    photo: Photo,
    name: str,
    anonymizer: Anonymizer,
    taken: Sequence[TakenTarget],
    options: RunOptions,
    *,
    added: bool = False,
) -> tuple[Photo, MovingResult | None]:
    """Anonymise the moving part of a photo.

    Args:
        photo: The photo.
        name: Its name.
        anonymizer: Anonymises the faces.
        taken: The targets of the photo's faces.
        options: How files are marked, and what anonymises videos.
        added: Whether a person added boxes to the photo. The video is then left out, because nobody has added boxes to
            it.

    Returns:
        The photo to write, and the outcome of the moving part, or None if there is none.
    """
    if photo.moving is None:
        return photo, None
    if added:
        return photo, leave_out(photo.moving, "a person added boxes to the photo, and what they hide may show in it")
    moved = anonymize_part(photo.moving, name, anonymizer, taken, options.marking, options.anonymize_video)
    inside = moved.data is not None and not moved.beside
    return photo.with_moving(moved.data) if inside and moved.data is not None else photo, moved


def encode_outcome(photo: Photo, outcome: Outcome, options: RunOptions, *, generated: bool = False) -> Encoded:
    """Encode an anonymised photo, and mark it if it has generated faces or the options ask for it.

    Args:
        photo: The original.
        outcome: What was made of it.
        options: How it is encoded and marked.
        generated: Whether its moving part has generated faces.

    Raises:
        ImageError: It cannot be encoded, or its metadata cannot be removed.
    """
    new, hidden = generated or outcome.count(Action.ANONYMIZED) > 0, outcome.count(Action.OBSCURED) > 0
    return encode_marked(photo, outcome.image_rgb, outcome.region_mask, options.metadata, options.marking,
                         generated=new, changed=new or hidden, faces_mask=faces_mask(photo, outcome))  # fmt: skip


class _Clock:
    """Adds the time of stages outside the anonymiser to its seconds."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds
        self.begin()

    def begin(self) -> None:
        self._since = time.perf_counter()

    def tick(self, stage: str) -> None:
        now = time.perf_counter()
        self._seconds[stage] += now - self._since
        self._since = now
