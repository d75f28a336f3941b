"""One face on its way through a photo: what is known of its original, and what its tries came to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from styleid.core.gate import Measured, Verdict
from styleid.faces.align import CropTemplate
from styleid.pixel.composite import NewFace, composite
from styleid.pixel.matched import MatchedFace
from styleid.pixel.regions import FACE, FADES, class_probability, face_hull, up_the_forehead
from styleid.types import Action, FaceOutcome, Faces, FloatArray, ImageRGB

if TYPE_CHECKING:
    from styleid.core.measurement import SecondLook


@dataclass(frozen=True)
class Seen:
    """What an earlier pass found in a photo. pixels: SHA-256 of the photo."""

    pixels: bytes
    faces: Faces

    @classmethod
    def of(cls, image_rgb: ImageRGB, faces: Faces) -> Seen:
        """Note the faces of a photo."""
        return cls(_digest(image_rgb), faces)

    def shows(self, image_rgb: ImageRGB) -> bool:
        """Say whether a photo is the one that was looked at."""
        return self.pixels == _digest(image_rgb)


@dataclass
class Canvas:
    """A photo in the making: what it was, what has been written so far, what changed, what became of each face."""

    original_rgb: ImageRGB
    image_rgb: ImageRGB
    changed: np.ndarray
    outcomes: list[FaceOutcome | None]

    @classmethod
    def of(cls, image_rgb: ImageRGB, faces: int) -> Canvas:
        """Begin with a photo of so many faces, which itself stays as it is."""
        return cls(image_rgb, image_rgb.copy(), np.zeros(image_rgb.shape[:2], bool), [None] * faces)


@dataclass
class Try:
    """One try: the neighbourhood with the new face, the mask of what changed there, and what they were made from.

    after: what can be known of the new face, which the verdict judges.
    """

    patch: ImageRGB
    mask: np.ndarray
    after: SecondLook
    verdict: Verdict
    generated: FloatArray
    landmarks: FloatArray
    cover: float | None = None

    def commit(self, run: Canvas, source: Source) -> bool:
        """Write the face into the photo, and say whether its neighbourhood had changed since it was judged."""
        x0, y0, x1, y1 = source.window
        patch, mask, met = self.patch, self.mask, bool(run.changed[y0:y1, x0:x1].any())
        if met:  # the patch shows the neighbours' original faces: put the new face among their new ones instead
            patch, mask = source.composite(
                run.image_rgb, self.generated, self.landmarks, self.cover, as_sharp_as=run.original_rgb
            )
        run.image_rgb[y0:y1, x0:x1][mask] = patch[mask]
        run.changed[y0:y1, x0:x1] |= mask
        run.outcomes[source.index] = self.outcome(source)
        return met

    def outcome(self, source: Source) -> FaceOutcome:
        """Return what the journal says of the face."""
        return FaceOutcome(
            xyxy(source.face.boxes_xyxy[0]),
            Action.ANONYMIZED,
            source.method,
            source.tries,
            self.verdict.figures,
            group=source.group,
        )


@dataclass
class Source:
    """One face of the original and what its tries have come to.

    identity_matrix, parser_matrix: from the photo to the identity network's crop, aligned by the detector's landmarks
    and by the parser's. photo_rgb: where it was seen, as it was. window: its neighbourhood there, x0 y0 x1 y1. target:
    which of its person's targets it is at. refusal: why it gets none. made: its tries, in order. group: number and size
    of the group of people that share its target.
    """

    index: int
    face: Faces
    matrix: FloatArray
    identity_matrix: FloatArray
    parser_matrix: FloatArray
    photo_rgb: ImageRGB
    window: tuple[int, int, int, int]
    crop: ImageRGB
    bare: FloatArray
    glasses: FloatArray
    before: Measured
    wplus: FloatArray
    method: str
    by_labels: MatchedFace | None = None
    step: int = 0
    tries: int = 0
    made: list[Try] = field(default_factory=list)
    target: int = 0
    refusal: str = ""
    group: tuple[int, int] | None = None

    @property
    def best(self) -> Try | None:
        """The best of its tries; of those with one thing amiss, which only a good one beats, the latest."""
        latest = (one for one in reversed(self.made) if one.verdict.good or one.verdict.rank[:2] == (0, 1))
        return next(latest, None) or min(self.made, key=lambda one: one.verdict.rank, default=None)

    @cached_property
    def _offset(self) -> FloatArray:
        return np.array(self.window[:2], np.float32)

    @cached_property
    def _shown(self) -> tuple[FloatArray, FloatArray]:
        """Where the original shows its bare face, and how much of that lies below where new ones fade, (s, s) each."""
        points, size = self.before.landmarks, len(self.bare)
        shown = face_hull(points, size) * (self.bare > 0.5)
        return shown, shown * (up_the_forehead(points, size) < FADES[0])

    def face_shares(self, logits: FloatArray) -> tuple[float, float]:
        """Return how much of where the original shows bare face is taken for it in logits (19, h, w).

        First all of it, then without the upper forehead, whose own skin may stay and would make up for what is no face.
        """
        found = class_probability(logits[None], FACE, len(self.bare))[0]
        whole, below = (float((found * shown).sum() / max(float(shown.sum()), 1e-6)) for shown in self._shown)
        return whole, below

    def views(self, template: CropTemplate) -> ImageRGB:
        """Return the face as the identity network sees it, aligned by the detector and by the parser, (2, s, s, 3)."""
        return np.stack(
            [template.crop(self.photo_rgb, matrix) for matrix in (self.identity_matrix, self.parser_matrix)]
        )

    def local(self, matrix: FloatArray) -> FloatArray:
        """Return an image-to-crop matrix for the neighbourhood instead of the photo."""
        return np.column_stack([matrix[:, :2], matrix[:, :2] @ self._offset + matrix[:, 2]]).astype(np.float32)

    def composite(
        self,
        image_rgb: ImageRGB,
        generated: FloatArray,
        landmarks: FloatArray,
        cover: float | None = None,
        *,
        as_sharp_as: ImageRGB | None = None,
    ) -> tuple[ImageRGB, np.ndarray]:
        """Return the neighbourhood with the generated face in it, and the mask of what changed there.

        cover: as `NewFace` takes it. as_sharp_as: the photo to take sharpness and grain from, image_rgb if None.
        """
        x0, y0, x1, y1 = self.window
        patch = image_rgb[y0:y1, x0:x1].copy()
        sharp = patch if as_sharp_as is None else as_sharp_as[y0:y1, x0:x1]
        if self.by_labels is not None:
            return patch, self.by_labels.put(patch, generated, self.local(self.matrix), landmarks)
        face = NewFace(
            generated,
            self.crop.astype(np.float32),
            landmarks,
            self.before.landmarks,
            self.bare,
            self.glasses,
            cover,
        )
        return patch, composite(patch, face, self.local(self.matrix), sharp)


def _digest(image_rgb: ImageRGB) -> bytes:
    digest = hashlib.sha256(repr(image_rgb.shape).encode())
    digest.update(np.ascontiguousarray(image_rgb).data)
    return digest.digest()


def xyxy(box: FloatArray) -> tuple[float, float, float, float]:
    """Return a box's corners as plain numbers."""
    x0, y0, x1, y1 = (float(value) for value in box)
    return x0, y0, x1, y1
