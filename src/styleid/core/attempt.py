"""The attempts to replace one face, and its state between them."""

from __future__ import annotations

from dataclasses import dataclass, field

from styleid.core.draft import PhotoDraft
from styleid.core.drawing import Drawing
from styleid.core.face import SourceFace, xyxy
from styleid.core.gate import GateVerdict
from styleid.core.measurement import LazyObservation
from styleid.pixel.masked import copy_where
from styleid.pixel.obscure import Obscuring
from styleid.types import Action, FaceOutcome, ImageRGB, MaskArray


@dataclass(eq=False)
class Attempt:
    """One attempt to replace a face.

    patch: the face's window with the new face, uint8 (h, w, 3).
    mask: the window's changed pixels, bool (h, w).
    observation: measurements of the new face.
    verdict: the gate's verdict.
    drawing: the generated face.
    """

    patch: ImageRGB
    mask: MaskArray
    observation: LazyObservation
    verdict: GateVerdict
    drawing: Drawing

    def commit(self, draft: PhotoDraft, source: SourceFace) -> bool:
        """Write the new face into the photo.

        Args:
            draft: The photo; it is changed.
            source: The face that is replaced.

        Returns:
            Whether a neighbour had changed the window since the attempt was judged, so that it must be judged again.
        """
        x0, y0, x1, y1 = source.window
        patch, mask, overlaps = self.patch, self.mask, bool(draft.changed[y0:y1, x0:x1].any())
        if overlaps:  # the patch shows the neighbours' original faces, so composite again next to their new ones
            patch, mask = source.composite(draft.image_rgb, self.drawing, as_sharp_as=draft.original_rgb)
        copy_where(draft.image_rgb[y0:y1, x0:x1], patch, mask)
        draft.changed[y0:y1, x0:x1] |= mask
        return overlaps


@dataclass
class FaceProgress:
    """The state of one face between its attempts.

    source: the face.
    step: index of the method's swap step that the next attempt uses.
    tries: number of attempts made.
    attempts: the attempts, in order.
    target: index of the person's target that the next attempt uses.
    refusal: why the face gets no new face; empty if it gets one.
    group: number and size of the group of people that shares its target; None without groups.
    hide: how a person decided to hide the face; None if it gets a new face.
    other: number of the alternative new face that a person requested; 0 for the first.
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
        """Position of the face among the photo's faces."""
        return self.source.index

    @property
    def best(self) -> Attempt | None:
        """The best attempt, or None before the first.

        The latest attempt that is good, or passes with only one drift or near the limit; otherwise the one whose
        verdict ranks first.
        """
        made = self.attempts
        if len(made) == 1:  # nothing to compare: what only ranks attempts need not be measured
            return made[0]
        latest = (one for one in reversed(made) if one.verdict.good or one.verdict.rank[:2] == (0, 1))
        return next(latest, None) or min(made, key=lambda one: one.verdict.rank, default=None)

    def outcome(self, attempt: Attempt) -> FaceOutcome:
        """Return the face's outcome if this attempt is written."""
        return FaceOutcome(
            xyxy(self.source.detection.boxes_xyxy[0]),
            Action.ANONYMIZED,
            self.source.method,
            self.tries,
            attempt.verdict.figures,
            group=self.group,
        )
