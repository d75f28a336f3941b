"""Draw and judge the new faces of one frame, and obscure the faces that get none or fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from styleid.core.attempt import FaceProgress
from styleid.core.draft import PhotoDraft
from styleid.core.face import SourceFace
from styleid.core.pipeline import Anonymizer
from styleid.media.video.clip import ClipFrame
from styleid.pixel.obscure import Obscuring
from styleid.types import FaceOutcome, Faces, ImageRGB, MaskArray
from styleid.video.measuring import recall, steady
from styleid.video.targets import AssignedTarget


@dataclass(frozen=True, eq=False)
class FaceRequest:
    """How one face of a frame is drawn.

    Attributes:
        hide: How somebody decided to obscure it, None without such a decision.
        row: The record of its measurements, None if it was not measured; it is then obscured.
        maps: Its maps, from `pack_maps`.
        part: Its target, None if it is obscured.
    """

    hide: Obscuring | None = None
    row: Any = None
    maps: bytes = b""
    part: AssignedTarget | None = None


@dataclass(frozen=True, eq=False)
class DrawRequest:
    """What is to be drawn in a frame.

    Attributes:
        which: Index of the track of each face.
        faces: The n faces of the frame.
        each: How each of them is drawn.
    """

    which: list[int]
    faces: Faces
    each: Sequence[FaceRequest]


@dataclass(frozen=True, eq=False)
class Drawn:
    """A frame with its new and obscured faces.

    Attributes:
        image_rgb: The rendered frame, uint8 (h, w, 3).
        changed: Pixels that may differ from the source's, bool (h, w).
        outcomes: Outcomes of the faces, by the index of the track.
    """

    image_rgb: ImageRGB
    changed: MaskArray
    outcomes: dict[int, FaceOutcome]


def draw_faces(anonymizer: Anonymizer, frame: ClipFrame, request: DrawRequest) -> Drawn:
    """Draw and judge the faces of a frame.

    Args:
        anonymizer: Draws, judges and obscures them.
        frame: The frame.
        request: The faces.
    """
    image, faces = frame.image_rgb, request.faces
    draft = PhotoDraft.of(image, len(faces))
    if any(one.row is not None for one in request.each):
        anonymizer.finish(_attempted(anonymizer, image, request), draft, faces)
    for k, outcome in enumerate(draft.outcomes):
        if outcome is None:
            hide = request.each[k].hide
            wished = anonymizer.options.method == "none" or hide is not None
            anonymizer.obscure(draft, faces, k, "" if wished else "no landmarks are known", how=hide)
    frame.forget_rgb()  # while it waits, only what was drawn counts
    outcomes = {i: outcome for i, outcome in zip(request.which, draft.outcomes, strict=True) if outcome is not None}
    return Drawn(draft.image_rgb, draft.changed, outcomes)


def _attempted(anonymizer: Anonymizer, image: ImageRGB, request: DrawRequest) -> list[FaceProgress]:
    """Return the measured faces of a frame, with an attempt at each face that gets a new one."""
    progress: list[FaceProgress] = []
    hidden: list[FaceProgress] = []
    targets: list[Float[np.ndarray, " size"]] = []
    for source in _sources(anonymizer, image, request):
        one = request.each[source.index]
        steadied = steady(source, one.row)
        if one.part is None:
            hidden.append(FaceProgress(steadied, hide=one.hide))
            continue
        progress.append(FaceProgress(steadied, step=one.part.step, tries=one.part.tries))
        targets.append(one.part.target)
    if progress:
        anonymizer.attempt_targets(progress, image, np.stack(targets))
    return [*hidden, *progress]


def _sources(anonymizer: Anonymizer, image: ImageRGB, request: DrawRequest) -> list[SourceFace]:
    """Return the faces of a frame as the first pass measured them.

    They are measured again for methods that change pixels directly.
    """
    rows = [k for k, one in enumerate(request.each) if one.row is not None]
    if anonymizer.method.pixel is not None:
        return anonymizer.analyse(image, request.faces, np.array(rows), attributes=False)
    each = request.each
    return [recall(anonymizer, image, request.faces, k, each[k].row, each[k].maps) for k in rows]
