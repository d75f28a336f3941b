"""Anonymise the faces of an image: detect, measure, choose targets, swap, generate, composite, check, or obscure.

This module alone determines the order. Each stage runs on all faces of a photo at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from styleid.bundles.bundle import Bundle
from styleid.bundles.registry import DEFAULT, load_bundle
from styleid.core.analysis import FaceMaps, analyse_faces, recall_face
from styleid.core.attempt import Attempt, FaceProgress
from styleid.core.boxes import with_given_boxes
from styleid.core.decisions import FacesWithDecisions, PhotoDecisions, match_decisions
from styleid.core.draft import PhotoDraft
from styleid.core.face import KnownFaces, SourceFace, xyxy
from styleid.core.gate import GateVerdict
from styleid.core.keeping import leave_kept
from styleid.core.measurement import LazyObservation, MeasuringTools
from styleid.core.methods import Method, choose_method
from styleid.core.obscuring import obscure_until_safe
from styleid.core.observation import Observation
from styleid.core.options import AnonymizeOptions
from styleid.core.privacy import PrivacyLevel, privacy_level
from styleid.core.protocols import AllowList, Targets
from styleid.core.rendering import draw
from styleid.core.targets import FreshTargets
from styleid.core.timing import StageTimer
from styleid.faces.detect import FaceDetector
from styleid.pixel.obscure import Obscuring, obscure_face
from styleid.runtime import Device
from styleid.types import Action, FaceOutcome, Faces, ImageRGB, Outcome, SearchHints, WPlusArray


class Anonymizer:
    """Anonymises the faces of images.

    Several threads may call `anonymize` of one anonymiser, unless its targets depend on other photos (consistent
    targets and groups); these are assigned in the order of the calls.

    >>> import numpy as np
    >>> from styleid import Anonymizer
    >>> outcome = Anonymizer.from_bundle().anonymize(np.zeros((64, 64, 3), np.uint8))
    >>> len(outcome.faces)
    0
    """

    def __init__(
        self,
        bundle: Bundle | None,
        options: AnonymizeOptions | None = None,
        device: Device = "cpu",
        *,
        detector: FaceDetector | None = None,
        targets: Targets | None = None,
        keep: AllowList | None = None,
        seen: Mapping[str, KnownFaces] | None = None,
        timer: StageTimer | None = None,
    ) -> None:
        """Choose the method and the limits of the privacy level.

        Args:
            bundle: The networks; may be None for the method none.
            options: How faces are anonymised; None for the defaults.
            device: Where the detector runs.
            detector: Finds the faces; None for a new one with options.detector.
            targets: Chooses the target of each face; None for fresh targets drawn from options.seed.
            keep: The people whose faces are kept; None for nobody.
            seen: Faces that an earlier pass found, by the photo's name. They are not detected again if the photo's
                pixels are the same.
            timer: Adds up the seconds of each stage; None for a new one.

        Raises:
            OptionError: If the bundle lacks what the method needs, or does not reach the privacy level.
            ValueError: If the method needs a bundle and bundle is None.
        """
        self.options = options or AnonymizeOptions()
        self._bundle = bundle
        self.device: Device = device
        self._detector = detector or FaceDetector(self.options.detector, device)
        self.targets: Targets = targets if targets is not None else FreshTargets(self.options.seed)
        self.keep = keep
        self.seen: Mapping[str, KnownFaces] = seen if seen is not None else {}
        self.timer = timer or StageTimer()
        if self.options.method != "none":
            self._level: PrivacyLevel = privacy_level(self.options.privacy, self.bundle.spec.thresholds)
            self._method: Method = choose_method(self.options, self.bundle, self._level)

    def with_people(
        self,
        targets: Targets | None = None,
        keep: AllowList | None = None,
        seen: Mapping[str, KnownFaces] | None = None,
    ) -> Anonymizer:
        """Return a copy that shares the networks and has other targets, people to keep or known faces.

        Args:
            targets: Chooses the target of each face; None for this anonymiser's.
            keep: The people whose faces are kept; None for this anonymiser's.
            seen: Faces that an earlier pass found, by the photo's name; None for this anonymiser's.
        """
        other = copy(self)
        other.targets = targets if targets is not None else self.targets
        other.keep = keep if keep is not None else self.keep
        other.seen = seen if seen is not None else self.seen
        return other

    def with_timer(self, timer: StageTimer) -> Anonymizer:
        """Return a copy that shares the networks and adds its seconds to another timer."""
        other = copy(self)
        other.timer = timer
        return other

    @classmethod
    def from_bundle(
        cls, name: str | Path = DEFAULT, options: AnonymizeOptions | None = None, device: Device = "cpu"
    ) -> Anonymizer:
        """Load a bundle and return an anonymiser that uses it. No bundle is loaded for the method none.

        Args:
            name: Name of a built-in bundle, or a folder that contains a bundle.
            options: How faces are anonymised; None for the defaults.
            device: Where the networks run.

        Raises:
            BundleError: If the bundle cannot be read.
            OptionError: If there is no such bundle, it lacks what the method needs, or does not reach the privacy
                level.
        """
        obscures_all = options is not None and options.method == "none"
        return cls(None if obscures_all else load_bundle(name, device), options, device)

    @property
    def bundle(self) -> Bundle:
        """The bundle. Raises ValueError if there is none."""
        if self._bundle is None:
            raise ValueError(f"The method '{self.options.method}' needs a bundle.")
        return self._bundle

    def anonymize(
        self,
        image_rgb: ImageRGB,
        *,
        name: str = "",
        boxes_xyxy: Num[np.ndarray, "n 4"] | None = None,
        search: SearchHints | None = None,
        found: Faces | None = None,
        decisions: PhotoDecisions | None = None,
    ) -> Outcome:
        """Anonymise every face of an image. The input is not changed.

        Args:
            image_rgb: The image, uint8 (height, width, 3), RGB, upright (after its EXIF orientation was applied).
            name: Name of the photo. With a seed, targets depend on seed, name and the face's position, so photos of
                the same name get the same targets. Without a seed it has no effect.
            boxes_xyxy: Further faces that the detector may miss, (n, 4), pixels. A box without a detected face is
                obscured.
            search: Places where faces are expected.
            found: The faces, if they are known; then none are detected, and boxes_xyxy and search are not used.
            decisions: What a person decided about the faces.

        Returns:
            The anonymised image and how each face was treated.

        Raises:
            ValueError: If the image has another shape or dtype, or a box is not finite or covers less than a pixel of
                the image.
            DecisionError: If a decision is about a face that was not found, or an added box lies outside the image.
        """
        if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8 or image_rgb.size == 0:
            raise ValueError(f"An image must be uint8 (height, width, 3), not {image_rgb.dtype} {image_rgb.shape}.")
        faces = self._known(name, image_rgb, search) if found is None else found
        if faces is None:
            faces = self.find(image_rgb, boxes_xyxy, search)
        matched = match_decisions(faces, image_rgb.shape, decisions)
        draft = PhotoDraft.of(image_rgb, len(matched.faces))
        drawn = leave_kept(self.keep, self.timer, image_rgb, matched.faces, draft, matched)
        if self.options.method != "none" and (drawn | matched.measured).any():
            self._replace(image_rgb, matched, np.nonzero(drawn | matched.measured)[0], draft, name)
        for index, outcome in enumerate(draft.outcomes):
            if outcome is None:
                requested = self.options.method == "none" or index in matched.hidden
                reason = "" if requested else "no landmarks were found in the given box"
                self.obscure(draft, matched.faces, index, reason, how=matched.hidden.get(index))
        return Outcome(draft.image_rgb, _outcomes(draft, matched), draft.changed)

    @property
    def level(self) -> PrivacyLevel:
        """The limits of the privacy level in the bundle's thresholds; not for the method none."""
        return self._level

    @property
    def method(self) -> Method:
        """The method with its settings; not for the method none."""
        return self._method

    @property
    def detector(self) -> FaceDetector:
        """The face detector."""
        return self._detector

    @property
    def seconds(self) -> dict[str, float]:
        """Wall-clock seconds so far, by stage."""
        return self.timer.seconds

    # ---------------------------------------------------------------- finding

    def _known(self, name: str, image_rgb: ImageRGB, search: SearchHints | None) -> Faces | None:
        """Return the faces that an earlier pass found in this photo; None if its pixels differ or search is given."""
        seen = self.seen.get(name)
        return seen.faces if seen is not None and search is None and seen.belong_to(image_rgb) else None

    def find(
        self, image_rgb: ImageRGB, boxes_xyxy: Num[np.ndarray, "n 4"] | None = None, search: SearchHints | None = None
    ) -> Faces:
        """Detect the faces of an image, and add the boxes in which none was found.

        Args:
            image_rgb: The image, uint8 (height, width, 3).
            boxes_xyxy: Further faces, (n, 4), pixels.
            search: Places where faces are expected.

        Returns:
            The faces. Those of added boxes have the score 0 and no landmarks.

        Raises:
            ValueError: If a box is not finite or covers less than a pixel of the image.
        """
        with self.timer("detect"):
            found = self._detector.detect(image_rgb, None if search is None else search.regions_xyxy)
        return with_given_boxes(found, image_rgb.shape, boxes_xyxy, search)

    # -------------------------------------------------------------- replacing

    def _replace(
        self,
        image_rgb: ImageRGB,
        matched: FacesWithDecisions,
        rows: Int[np.ndarray, " k"],
        draft: PhotoDraft,
        name: str,
    ) -> None:
        kept = np.array([one is not None and one.action is Action.KEPT for one in draft.outcomes])
        progress = [
            FaceProgress(face, hide=matched.hidden.get(face.index), other=matched.other(face.index))
            for face in self.analyse(image_rgb, matched.faces, rows, kept)
        ]
        pending = [face for face in progress if face.hide is None]
        self.targets.admit(pending)
        pending = [face for face in pending if not face.refusal]
        for attempt in range(self.options.tries):
            if not pending:
                break
            pending = self._attempt_once(pending, draft, name, attempt)
        self.finish(progress, draft, matched.faces)

    def finish(self, progress: list[FaceProgress], draft: PhotoDraft, faces: Faces) -> None:
        """Write the best attempt at each face into the photo; obscure the faces for which none passed.

        Args:
            progress: The faces and their attempts.
            draft: The photo; it is changed, and each face gets its outcome.
            faces: All faces of the photo, in the order of their indices.
        """
        passed: list[tuple[FaceProgress, Attempt]] = []
        # obscure first: a new face that is composited earlier could bring back parts of a face that is obscured
        for face in progress:
            if face.hide is not None:
                self.obscure(draft, faces, face.index, "", face, face.hide)
            elif (best := face.best) is not None and best.verdict.passed:
                passed.append((face, best))
            else:
                failures = best.verdict.failures if best else ["it could not be analysed"]
                self.obscure(draft, faces, face.index, face.refusal or "; ".join(failures), face)
        overlaps: list[bool] = []
        for face, best in passed:
            overlaps.append(best.commit(draft, face.source))
            draft.outcomes[face.index] = face.outcome(best)
        if any(overlaps):
            self._judge_together(passed, draft, faces)

    def _judge_together(self, passed: list[tuple[FaceProgress, Attempt]], draft: PhotoDraft, faces: Faces) -> None:
        """Judge the faces again whose crops a neighbour has changed, and obscure those that now fail."""
        windows = [face.source.window for face, _ in passed]
        patches = [draft.image_rgb[y0:y1, x0:x1].copy() for x0, y0, x1, y1 in windows]
        for (face, best), patch in zip(passed, patches, strict=True):
            observation = self._observe(face.source, patch)
            if not observation.has_same_crops(best.observation):
                best.observation, best.verdict = observation, self._judge(face.source, observation)
            if best.verdict.passed:
                draft.outcomes[face.index] = face.outcome(best)
            else:
                self.obscure(draft, faces, face.index, "; ".join(best.verdict.failures), face)

    def analyse(
        self,
        image_rgb: ImageRGB,
        faces: Faces,
        rows: Int[np.ndarray, " k"],
        kept: Bool[np.ndarray, " n"] | None = None,
        *,
        attributes: bool = True,
    ) -> list[SourceFace]:
        """Measure some faces of a photo.

        Args:
            image_rgb: The photo, uint8 (height, width, 3).
            faces: Its n faces.
            rows: Indices of the k faces to measure; their landmarks must be finite.
            kept: Faces that stay as they are, bool (n,). The generator may see these next to the face that it draws.
            attributes: Whether to measure age, sex and group, which are NaN otherwise.

        Returns:
            The k measured faces.
        """
        return analyse_faces(self.bundle, self._method, self.timer, image_rgb, faces, rows, kept, attributes=attributes)

    def recall(
        self,
        image_rgb: ImageRGB,
        faces: Faces,
        index: int,
        seen: Observation,
        maps: FaceMaps,
        wplus: Float[np.ndarray, " size"],
    ) -> SourceFace:
        """Return one face of a photo as `analyse` did, from what was kept of that: no network runs."""
        with self.timer("align"):
            return recall_face(self.bundle, self._method, image_rgb, faces, index, seen, maps, wplus)

    def _attempt_once(
        self, pending: list[FaceProgress], draft: PhotoDraft, name: str, attempt: int
    ) -> list[FaceProgress]:
        """Make one attempt at each pending face; return the faces that get another one."""
        with self.timer("generate"):
            targets = self.targets.sample(self.bundle, name, pending, attempt)
        self.attempt_targets(pending, draft.image_rgb, targets)
        again: list[FaceProgress] = []
        for face in pending:
            face.tries = attempt + 1
            if self.targets.plan_next(face, face.attempts[-1].verdict, len(self._method.steps)):
                again.append(face)
        return again

    def attempt_targets(self, pending: Sequence[FaceProgress], photo_rgb: ImageRGB, targets: WPlusArray) -> None:
        """Make one attempt at each face of a photo with a given target, and record it in the face's attempts.

        Args:
            pending: The n faces; each uses its swap step.
            photo_rgb: The photo.
            targets: Latent codes of the targets, (n, size).
        """
        own = np.stack([face.source.wplus for face in pending])
        with self.timer("generate"):
            swapped = self._method.swap(self.bundle, own, targets, [face.step for face in pending])
        for face, made in zip(pending, self.attempt(pending, [photo_rgb] * len(pending), swapped), strict=True):
            face.attempts.append(made)

    def attempt(
        self, pending: Sequence[FaceProgress], photos_rgb: Sequence[ImageRGB], wplus: WPlusArray
    ) -> list[Attempt]:
        """Generate new faces, composite each into a copy of its window, and judge it.

        Args:
            pending: The n faces.
            photos_rgb: The photo into which each face is composited, n images.
            wplus: Latent codes of the new faces, (n, size).

        Returns:
            One attempt per face.
        """
        with self.timer("generate"):
            steps = [self._method.steps[face.step] for face in pending]
            drawings = draw(self.bundle, [face.source for face in pending], wplus, steps)
        with self.timer("composite"):
            drawn = zip(pending, photos_rgb, drawings, strict=True)
            made = [face.source.composite(photo, drawing) for face, photo, drawing in drawn]
        attempts: list[Attempt] = []
        for k, face in enumerate(pending):
            seen = self._observe(face.source, made[k][0])
            verdict = self._judge(face.source, seen)
            attempts.append(Attempt(*made[k], seen, verdict, drawings[k]))
        return attempts

    def _observe(self, source: SourceFace, patch: ImageRGB) -> LazyObservation:
        return LazyObservation(MeasuringTools(self.bundle, self._detector, self.timer), source, patch)

    def _judge(self, source: SourceFace, after: LazyObservation) -> GateVerdict:
        return GateVerdict(source.observation, after, self._level, self.bundle.spec.max_landmark_error)

    # -------------------------------------------------------------- obscuring

    def obscure(
        self,
        draft: PhotoDraft,
        faces: Faces,
        index: int,
        reason: str,
        progress: FaceProgress | None = None,
        how: Obscuring | None = None,
    ) -> None:
        """Obscure one face of a photo.

        Blur and pixelation are made coarser until the identity network no longer matches the face; if that does not
        suffice, the face is filled. A face without measurements is obscured once.

        Args:
            draft: The photo; it is changed, and the face gets its outcome.
            faces: All faces of the photo.
            index: Position of the face among them.
            reason: Why the face is obscured although a new face was requested; empty if it was not.
            progress: The face's measurements and attempts; None if it was not measured.
            how: solid, blur or pixelate; None for options.obscure.
        """
        how, box = how or self.options.obscure, faces.boxes_xyxy[index]
        with self.timer("obscure"):
            before = draft.image_rgb.copy() if progress is not None and how != "solid" else None
            mask = obscure_face(draft.image_rgb, box, how)
            if before is not None and progress is not None:
                how = obscure_until_safe(self.bundle, self._level, draft.image_rgb, before, progress.source, box, how)
        draft.changed |= mask
        gate = progress.best.verdict.figures if progress is not None and progress.best is not None else {}
        tries = progress.tries if progress is not None else 0
        draft.outcomes[index] = FaceOutcome(xyxy(box), Action.OBSCURED, how, tries, gate, reason)


def _outcomes(draft: PhotoDraft, matched: FacesWithDecisions) -> tuple[FaceOutcome, ...]:
    """Return the outcome of each face with the detector's score and the person's decision."""
    return tuple(
        replace(outcome, score=float(matched.faces.scores[index]), decision=matched.record_of(index))
        for index, outcome in enumerate(draft.outcomes)
        if outcome is not None
    )
