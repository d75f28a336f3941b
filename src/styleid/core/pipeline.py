"""The way of a face: detect, align, analyse, borrow, swap, generate, composite, check, or obscure.

This is the only module that knows the order. Each stage runs on all faces of a photo at once.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from styleid.bundles.bundle import Bundle
from styleid.bundles.registry import DEFAULT, load_bundle
from styleid.core.face import Canvas, Seen, Source, Try, xyxy
from styleid.core.gate import Measured, Verdict
from styleid.core.measurement import Instruments, SecondLook
from styleid.core.methods import Way, choose_way
from styleid.core.options import AnonymizeOptions
from styleid.core.privacy import PrivacyLevel, privacy_level
from styleid.core.targets import FreshTargets, Targets
from styleid.faces.align import invert, transform_points
from styleid.faces.detect import FaceDetector, suppress_overlaps
from styleid.faces.views import matrix_by_parser
from styleid.people.keep import Keep
from styleid.pixel.obscure import Obscuring, obscure_face
from styleid.pixel.regions import GLASSES, bare_face, class_probability
from styleid.runtime import Device
from styleid.types import Action, FaceOutcome, Faces, FloatArray, ImageRGB, Looks, Outcome

_NEIGHBOURHOOD = 0.6
_OBSCURE_STRENGTHS = (1.0, 1.6, 2.5)
_LEAST_BOX_PX = 0.99
_LARGEST_SHARE = 1.5
"""A box without any larger number is not meant in pixels."""


class Anonymizer:
    """Anonymise the faces of images.

    >>> import numpy as np
    >>> from styleid import Anonymizer
    >>> outcome = Anonymizer.from_bundle().anonymize(np.zeros((64, 64, 3), np.uint8))
    >>> len(outcome.faces)
    0
    """

    def __init__(self, bundle: Bundle | None, options: AnonymizeOptions | None = None, device: Device = "cpu") -> None:
        self.options = options or AnonymizeOptions()
        self._bundle = bundle
        self.device: Device = device
        self._detector = FaceDetector(self.options.detector, device)
        self._fresh = FreshTargets(self.options.seed)
        self.people_targets: Targets = self._fresh
        self.keep: Keep | None = None
        self.seen: dict[str, Seen] = {}
        self.seconds: dict[str, float] = defaultdict(float)
        if self.options.method != "none":
            self._level: PrivacyLevel = privacy_level(self.options.privacy, self.bundle.spec.thresholds)
            self._way: Way = choose_way(self.options, self.bundle, self._level)

    @classmethod
    def from_bundle(
        cls, name: str | Path = DEFAULT, options: AnonymizeOptions | None = None, device: Device = "cpu"
    ) -> Anonymizer:
        """Load a bundle by name or folder; the method `none` needs no bundle and loads none."""
        needs_none = options is not None and options.method == "none"
        return cls(None if needs_none else load_bundle(name, device), options, device)

    @property
    def bundle(self) -> Bundle:
        """The bundle at work."""
        if self._bundle is None:
            raise ValueError(f"The method '{self.options.method}' needs a bundle.")
        return self._bundle

    def anonymize(
        self,
        image_rgb: ImageRGB,
        *,
        name: str = "",
        boxes_xyxy: FloatArray | None = None,
        looks: Looks | None = None,
    ) -> Outcome:
        """Anonymise every face of an image; the input is left as it is.

        image_rgb: uint8 (height, width, 3), upright. name: what the photo is called, which a seed's targets depend on.
        boxes_xyxy: (n, 4) further faces, in pixels, for those that the detector may miss.
        looks: where to look closer.
        Raises ValueError for an image of another kind, and for a box that is empty, not finite or outside the image.
        """
        if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8 or image_rgb.size == 0:
            raise ValueError(f"An image must be uint8 (height, width, 3), not {image_rgb.dtype} {image_rgb.shape}.")
        seen = self.seen.get(name)
        known = seen is not None and looks is None and seen.shows(image_rgb)
        faces = seen.faces if seen is not None and known else self.find(image_rgb, boxes_xyxy, looks)
        run = Canvas.of(image_rgb, len(faces))
        replaceable = self.leave_kept(image_rgb, faces, run)
        if self.options.method != "none" and replaceable.any():
            self._replace(image_rgb, faces, np.nonzero(replaceable)[0], run, name)
        for index, outcome in enumerate(run.outcomes):
            if outcome is None:
                reason = "" if self.options.method == "none" else "no landmarks were found in the given box"
                self.obscure(run, faces, index, reason)
        return Outcome(run.image_rgb, tuple(o for o in run.outcomes if o is not None), run.changed)

    @property
    def level(self) -> PrivacyLevel:
        """The dial's setting in the bundle's thresholds."""
        return self._level

    @property
    def way(self) -> Way:
        """The method at work, and what its tries take from a target."""
        return self._way

    @property
    def targets(self) -> FreshTargets:
        """Where fresh targets' z come from."""
        return self._fresh

    # ---------------------------------------------------------------- finding

    def find(self, image_rgb: ImageRGB, boxes_xyxy: FloatArray | None = None, looks: Looks | None = None) -> Faces:
        """Return the faces of an image, and those boxes (n, 4) under which none was found."""
        with self._timed("detect"):
            found = self._detector.detect(image_rgb, None if looks is None else looks.regions_xyxy)
        if looks is not None and len(unseen := looks.unseen(found)):
            boxes_xyxy = unseen if boxes_xyxy is None else np.concatenate([boxes_xyxy, unseen])
        if boxes_xyxy is None or len(boxes_xyxy) == 0:
            return found
        boxes = boxes_inside(boxes_xyxy, image_rgb.shape)
        unknown = np.full((len(boxes), 5, 2), np.nan, np.float32)
        # a detection outranks the box that it overlaps, since it brings landmarks
        given = Faces(boxes, np.zeros(len(boxes), np.float32), unknown)
        return suppress_overlaps(Faces.concatenate([found, given]))

    def leave_kept(self, image_rgb: ImageRGB, faces: Faces, run: Canvas | None = None) -> np.ndarray:
        """Return which faces can be replaced, bool (n,): those with landmarks, but for people to leave alone."""
        replaceable = np.asarray(np.isfinite(faces.landmarks_px).all((1, 2)))
        if self.keep is None or not replaceable.any():
            return replaceable
        with self._timed("keep"):
            kept = self.keep.among(image_rgb, faces, np.nonzero(replaceable)[0])
        for index, figures in kept.items():
            replaceable[index] = False
            if run is not None:
                run.outcomes[index] = FaceOutcome(xyxy(faces.boxes_xyxy[index]), Action.KEPT, "", 0, figures)
        return replaceable

    # -------------------------------------------------------------- replacing

    def _replace(self, image_rgb: ImageRGB, faces: Faces, rows: np.ndarray, run: Canvas, name: str) -> None:
        sources = self.analyse(image_rgb, faces, rows)
        self.people_targets.meet(sources)
        pending = [source for source in sources if not source.refusal]
        for attempt in range(self.options.tries):
            if not pending:
                break
            pending = self._try(pending, run, name, attempt)
        self.finish(sources, run, faces)

    def finish(self, sources: list[Source], run: Canvas, faces: Faces) -> None:
        """Write each face's best try into the photo, or obscure the face where none passed."""
        passed = []
        # obscured faces first, so that no neighbour's composite brings them back
        for source in sources:
            if (best := source.best) is not None and best.verdict.passed:
                passed.append((source, best))
            else:
                failures = best.verdict.failures if best else ["it could not be analysed"]
                self.obscure(run, faces, source.index, source.refusal or "; ".join(failures), source)
        met = [best.commit(run, source) for source, best in passed]
        if any(met):
            self._judge_together(passed, run, faces)

    def _judge_together(self, passed: list[tuple[Source, Try]], run: Canvas, faces: Faces) -> None:
        """Judge faces again where neighbours have changed what each was judged in, and obscure those that now fail."""
        windows = [source.window for source, _ in passed]
        patches = [run.image_rgb[y0:y1, x0:x1].copy() for x0, y0, x1, y1 in windows]
        for (source, best), patch in zip(passed, patches, strict=True):
            after = self._look_again(source, patch)
            if not after.shows_what(best.after):
                best.after, best.verdict = after, self._judge(source, after)
            if best.verdict.passed:
                run.outcomes[source.index] = best.outcome(source)
            else:
                self.obscure(run, faces, source.index, "; ".join(best.verdict.failures), source)

    def analyse(self, image_rgb: ImageRGB, faces: Faces, rows: np.ndarray) -> list[Source]:
        """Measure those faces of a photo that rows name; each needs finite landmarks."""
        bundle, spec = self.bundle, self.bundle.spec
        with self._timed("align"):
            matrices = [spec.crop.matrix(faces.landmarks_px[i]) for i in rows]
            crops = np.stack([spec.crop.crop(image_rgb, m) for m in matrices])
            identity_matrices = [spec.identity_crop.matrix(faces.landmarks_px[i]) for i in rows]
            identity_crops = np.stack([spec.identity_crop.crop(image_rgb, m) for m in identity_matrices])
        with self._timed("parse"):
            logits, landmarks = bundle.parse(crops)
            bare = bare_face(logits, landmarks, spec.crop.size_px)
            glasses = class_probability(logits, (GLASSES,), spec.crop.size_px)
        with self._timed("identity"):
            embeddings = bundle.embed(identity_crops)
        with self._timed("attributes"):
            attributes = bundle.describe(crops)
        with self._timed("invert"):
            labels = self._way.labels(logits, spec.crop.size_px)
            wplus = self._way.own(bundle, crops, landmarks, bare[:, None], labels)
        sources = []
        for k, index in enumerate(rows):
            measured = Measured(True, landmarks[k], embeddings[k], attributes[k])
            window = _neighbourhood(faces.boxes_xyxy[index], matrices[k], spec.crop.size_px, image_rgb.shape)
            source = Source(
                int(index),
                faces[int(index)],
                matrices[k],
                identity_matrices[k],
                matrix_by_parser(spec.identity_crop, matrices[k], landmarks[k]),
                image_rgb,
                window,
                crops[k],
                bare[k],
                glasses[k],
                measured,
                wplus[k],
                self._way.name,
                self._way.matched(crops[k], labels[k]),
            )
            source.before = replace(measured, face_shares=source.face_shares(logits[k]))
            sources.append(source)
        return sources

    def _try(self, sources: list[Source], run: Canvas, name: str, attempt: int) -> list[Source]:
        """Make one try for each face, and return the faces that should have another."""
        own = np.stack([s.wplus for s in sources])
        with self._timed("generate"):
            targets = self.people_targets.sample(self.bundle, name, sources, attempt)
            swapped = self._way.swapped(self.bundle, own, targets, [s.step for s in sources])
        photos, again = [run.image_rgb] * len(sources), []
        for source, made in zip(sources, self.attempt(sources, photos, swapped), strict=True):
            source.tries = attempt + 1
            source.made.append(made)
            if self.people_targets.after(source, made.verdict, len(self._way.steps)):
                again.append(source)
        return again

    def attempt(self, sources: list[Source], photos_rgb: list[ImageRGB], wplus: FloatArray) -> list[Try]:
        """Draw W+ (n, layers, width) for the sources, each into its photo by the step that it is at, and judge."""
        with self._timed("generate"):
            images, landmarks = self.bundle.render(wplus)
        with self._timed("composite"):
            covers = [self._way.steps[s.step].cover for s in sources]
            drawn = zip(sources, photos_rgb, images, landmarks, covers, strict=True)
            made = [s.composite(photo, image, points, cover) for s, photo, image, points, cover in drawn]
        tries = []
        for k, source in enumerate(sources):
            after = self._look_again(source, made[k][0])
            tries.append(Try(*made[k], after, self._judge(source, after), images[k], landmarks[k], covers[k]))
        return tries

    def _look_again(self, source: Source, patch: ImageRGB) -> SecondLook:
        return SecondLook(Instruments(self.bundle, self._detector, self._timed), source, patch)

    def _judge(self, source: Source, after: SecondLook) -> Verdict:
        return Verdict(source.before, after, self._level, self.bundle.spec.max_landmark_error)

    # -------------------------------------------------------------- obscuring

    def obscure(self, run: Canvas, faces: Faces, index: int, reason: str, source: Source | None = None) -> None:
        """Hide one face of a photo."""
        how, box = self.options.obscure, faces.boxes_xyxy[index]
        with self._timed("obscure"):
            before = run.image_rgb.copy() if source is not None and how != "solid" else None
            mask = obscure_face(run.image_rgb, box, how)
            if before is not None and source is not None:
                how = self._obscure_until_safe(run, before, source, box)
        run.changed |= mask
        gate = source.best.verdict.figures if source is not None and source.best is not None else {}
        run.outcomes[index] = FaceOutcome(xyxy(box), Action.OBSCURED, how, source.tries if source else 0, gate, reason)

    def _obscure_until_safe(self, run: Canvas, before: ImageRGB, source: Source, box: FloatArray) -> Obscuring:
        """Obscure more and more strongly until the face no longer matches, at last solid; return which it came to."""
        template = self.bundle.spec.identity_crop
        for strength in (*_OBSCURE_STRENGTHS[1:], None):
            crop = template.crop(run.image_rgb, source.identity_matrix)
            if float(self.bundle.embed(crop[None])[0] @ source.before.embedding) <= self._level.strangers.high:
                return self.options.obscure
            if strength is not None:
                run.image_rgb[:] = before
                obscure_face(run.image_rgb, box, self.options.obscure, strength)
        obscure_face(run.image_rgb, box, "solid")
        return "solid"

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start


def boxes_inside(boxes_xyxy: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Return own boxes, (n, 4), cut off at the image's borders; raises ValueError where one cannot hold a face."""
    boxes = np.asarray(boxes_xyxy, np.float32).reshape(-1, 4)
    edges = np.array([shape[1], shape[0]] * 2, np.float32) - 0.5
    inside = np.clip(boxes, -0.5, edges)
    sides = inside[:, 2:] - inside[:, :2]
    in_shares = inside.max(1) < _LARGEST_SHARE
    for box in boxes[~(sides.min(1) >= _LEAST_BOX_PX) | in_shares]:
        raise ValueError(
            f"The box {box.tolist()} holds nothing of an image of {shape[1]} x {shape[0]} px, or less than a pixel: "
            "boxes are x0, y0, x1, y1 in pixels of the upright image."
        )
    return inside


def _neighbourhood(
    box_xyxy: FloatArray, matrix: FloatArray, size_px: int, shape: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """Return the part of the photo that a face's crops show, x0 y0 x1 y1."""
    corners = np.array([[0, 0], [size_px, 0], [size_px, size_px], [0, size_px]], np.float32)
    quad = np.concatenate([transform_points(corners, invert(matrix)), box_xyxy.reshape(2, 2)])
    pad = _NEIGHBOURHOOD * float(np.ptp(quad, axis=0).max())
    low = np.maximum(np.floor(quad.min(0) - pad).astype(int), 0)
    high = np.minimum(np.ceil(quad.max(0) + pad).astype(int) + 1, [shape[1], shape[0]])
    low = np.minimum(low, np.array([shape[1], shape[0]]) - 1)
    high = np.maximum(high, low + 1)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])
