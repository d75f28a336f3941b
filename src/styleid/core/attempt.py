"""The attempts at one face: what each one drew and how it was judged, and what the next one changes."""

from __future__ import annotations

from dataclasses import dataclass, field

from styleid.core.draft import PhotoDraft
from styleid.core.drawing import Drawing
from styleid.core.face import SourceFace, xyxy
from styleid.core.gate import GateVerdict
from styleid.core.measurement import LazyObservation
from styleid.pixel.obscure import Obscuring
from styleid.types import Action, FaceOutcome, ImageRGB, MaskArray


@dataclass(eq=False)
class Attempt:
    """One attempt.

    patch: the face's neighbourhood with the new face in it, uint8 (h, w, 3). mask: bool (h, w), where it changed.
    observation: measurements of the new face. verdict: the gate's answer. drawing: what the generator drew.
    """

    patch: ImageRGB
    mask: MaskArray
    observation: LazyObservation
    verdict: GateVerdict
    drawing: Drawing

    def commit(self, draft: PhotoDraft, source: SourceFace) -> bool:
        """Write the new face into the photo; return whether its neighbourhood had changed since it was judged."""
        x0, y0, x1, y1 = source.window
        patch, mask, met = self.patch, self.mask, bool(draft.changed[y0:y1, x0:x1].any())
        if met:  # the patch shows the neighbours' original faces: put the new face among their new ones instead
            patch, mask = source.composite(draft.image_rgb, self.drawing, as_sharp_as=draft.original_rgb)
        draft.image_rgb[y0:y1, x0:x1][mask] = patch[mask]
        draft.changed[y0:y1, x0:x1] |= mask
        return met


@dataclass
class FaceProgress:
    """Hold the state of one face between its attempts.

    step: which of the method's steps the next attempt takes. tries: attempts made. attempts: in order. target: which of
    its person's targets it is at. refusal: why it gets no new face, else "". group: number and size of the group of
    people that share its target. hide: how a person decided to hide it, None where it gets a new face. other: which
    other new face a person asked for, 0 for the first.
    """

    source: SourceFace
    step: int = 0
    tries: int = 0
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    target: int = 0
    refusal: str = ""
    group: tuple[int, int] | None = None
    hide: Obscuring | None = None
    other: int = 0

    @property
    def index(self) -> int:
        """The face's place among the photo's faces."""
        return self.source.index

    @property
    def best(self) -> Attempt | None:
        """The best attempt: the latest good one or one with a single flaw, else the one that ranks first."""
        made = self.attempts
        latest = (one for one in reversed(made) if one.verdict.good or one.verdict.rank[:2] == (0, 1))
        return next(latest, None) or min(made, key=lambda one: one.verdict.rank, default=None)

    def outcome(self, attempt: Attempt) -> FaceOutcome:
        """Return what the journal says of the face if this attempt is the one that is written."""
        return FaceOutcome(
            xyxy(self.source.detection.boxes_xyxy[0]),
            Action.ANONYMIZED,
            self.source.method,
            self.tries,
            attempt.verdict.figures,
            group=self.group,
        )
