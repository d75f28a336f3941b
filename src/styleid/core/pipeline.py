"""Anonymise the faces of an image: detect, measure, choose targets, swap, generate, composite, judge, or obscure.

This is the only module that knows the order. Each stage runs on all faces of a photo at once.
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
from styleid.core.analysis import analyse_faces
from styleid.core.attempt import Attempt, FaceProgress
from styleid.core.boxes import with_given
from styleid.core.decisions import PhotoDecisions, SettledFaces, settle
from styleid.core.draft import PhotoDraft
from styleid.core.face import KnownFaces, SourceFace, xyxy
from styleid.core.gate import GateVerdict
from styleid.core.measurement import LazyObservation, MeasuringTools
from styleid.core.methods import Method, choose_method
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

_OBSCURE_STRENGTHS = (1.0, 1.6, 2.5)


class Anonymizer:
    """Anonymise the faces of images.

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
        """Prepare to anonymise.

        bundle: may be None for the method `none`. detector: by default one made from options.detector. targets: choose
        whose identity each face takes, by default fresh ones from options.seed. keep: the people whose faces stay as
        they are. seen: faces that an earlier pass found, by the photo's name; they are not detected again. timer: adds
        up the seconds of each stage.
        Raises OptionError where the bundle cannot do what options ask for.
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
        """Return an anonymiser like this one, on the same networks, that knows people; None leaves what is there."""
        other = copy(self)
        other.targets = targets if targets is not None else self.targets
        other.keep = keep if keep is not None else self.keep
        other.seen = seen if seen is not None else self.seen
        return other

    def with_timer(self, timer: StageTimer) -> Anonymizer:
        """Return an anonymiser like this one, on the same networks, with a timer of its own."""
        other = copy(self)
        other.timer = timer
        return other

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
        boxes_xyxy: Num[np.ndarray, "n 4"] | None = None,
        search: SearchHints | None = None,
        found: Faces | None = None,
        decisions: PhotoDecisions | None = None,
    ) -> Outcome:
        """Anonymise every face of an image; the input is left as it is.

        image_rgb: uint8 (height, width, 3), upright. name: what the photo is called, which a seed's targets depend on.
        boxes_xyxy: (n, 4) further faces, in pixels, for those that the detector may miss.
        search: where to look closer. found: all faces, where they are known already, and nothing is sought.
        decisions: what a person decided about these faces.
        Raises ValueError for an image of another kind, and for a box that is empty, not finite or outside the image;
        and DecisionError for a decision about a face that is not found.
        """
        if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8 or image_rgb.size == 0:
            raise ValueError(f"An image must be uint8 (height, width, 3), not {image_rgb.dtype} {image_rgb.shape}.")
        faces = self._known(name, image_rgb, search) if found is None else found
        if faces is None:
            faces = self.find(image_rgb, boxes_xyxy, search)
        settled = settle(faces, image_rgb.shape, decisions)
        draft = PhotoDraft.of(image_rgb, len(settled.faces))
        drawn = self.leave_kept(image_rgb, settled.faces, draft, settled)
        if self.options.method != "none" and (drawn | settled.measured).any():
            self._replace(image_rgb, settled, np.nonzero(drawn | settled.measured)[0], draft, name)
        for index, outcome in enumerate(draft.outcomes):
            if outcome is None:
                wished = self.options.method == "none" or index in settled.hidden
                reason = "" if wished else "no landmarks were found in the given box"
                self.obscure(draft, settled.faces, index, reason, how=settled.hidden.get(index))
        return Outcome(draft.image_rgb, _told(draft, settled), draft.changed)

    @property
    def level(self) -> PrivacyLevel:
        """The dial's setting in the bundle's thresholds."""
        return self._level

    @property
    def method(self) -> Method:
        """The method at work, and what its steps take from a target."""
        return self._method

    @property
    def detector(self) -> FaceDetector:
        """The face detector at work."""
        return self._detector

    @property
    def seconds(self) -> dict[str, float]:
        """Wall-clock seconds of each stage so far."""
        return self.timer.seconds

    # ---------------------------------------------------------------- finding

    def _known(self, name: str, image_rgb: ImageRGB, search: SearchHints | None) -> Faces | None:
        """Return what an earlier pass found in the very same photo."""
        seen = self.seen.get(name)
        return seen.faces if seen is not None and search is None and seen.belong_to(image_rgb) else None

    def find(
        self, image_rgb: ImageRGB, boxes_xyxy: Num[np.ndarray, "n 4"] | None = None, search: SearchHints | None = None
    ) -> Faces:
        """Return the faces of an image, and those boxes (n, 4) under which none was found."""
        with self.timer("detect"):
            found = self._detector.detect(image_rgb, None if search is None else search.regions_xyxy)
        return with_given(found, image_rgb.shape, boxes_xyxy, search)

    def leave_kept(
        self,
        image_rgb: ImageRGB,
        faces: Faces,
        draft: PhotoDraft | None = None,
        settled: SettledFaces | None = None,
    ) -> Bool[np.ndarray, " n"]:
        """Return which faces get new ones, bool (n,): those with landmarks, but for people to leave alone.

        settled: what a person decided about the faces, which goes before the list of people to keep.
        """
        replaceable = np.asarray(np.isfinite(faces.landmarks_px).all((1, 2)))
        asked = replaceable.copy()
        if settled is not None:
            replaceable &= ~settled.decided | settled.replaced
            asked &= ~settled.decided
            for index, action in settled.untouched.items():
                if draft is not None:
                    draft.outcomes[index] = FaceOutcome(xyxy(faces.boxes_xyxy[index]), action, "", 0)
        if self.keep is None or not asked.any():
            return replaceable
        with self.timer("keep"):
            kept = self.keep.among(image_rgb, faces, np.nonzero(asked)[0])
        for index, figures in kept.items():
            replaceable[index] = False
            if draft is not None:
                draft.outcomes[index] = FaceOutcome(xyxy(faces.boxes_xyxy[index]), Action.KEPT, "", 0, figures)
        return replaceable

    # -------------------------------------------------------------- replacing

    def _replace(
        self, image_rgb: ImageRGB, settled: SettledFaces, rows: Int[np.ndarray, " k"], draft: PhotoDraft, name: str
    ) -> None:
        kept = np.array([one is not None and one.action is Action.KEPT for one in draft.outcomes])
        progress = [
            FaceProgress(face, hide=settled.hidden.get(face.index), other=settled.other(face.index))
            for face in self.analyse(image_rgb, settled.faces, rows, kept)
        ]
        pending = [face for face in progress if face.hide is None]
        self.targets.admit(pending)
        pending = [face for face in pending if not face.refusal]
        for attempt in range(self.options.tries):
            if not pending:
                break
            pending = self._attempt_once(pending, draft, name, attempt)
        self.finish(progress, draft, settled.faces)

    def finish(self, progress: list[FaceProgress], draft: PhotoDraft, faces: Faces) -> None:
        """Write each face's best attempt into the photo, or obscure the face where none passed."""
        passed: list[tuple[FaceProgress, Attempt]] = []
        # obscured faces first, so that no neighbour's composite brings them back
        for face in progress:
            if face.hide is not None:
                self.obscure(draft, faces, face.index, "", face, face.hide)
            elif (best := face.best) is not None and best.verdict.passed:
                passed.append((face, best))
            else:
                failures = best.verdict.failures if best else ["it could not be analysed"]
                self.obscure(draft, faces, face.index, face.refusal or "; ".join(failures), face)
        met: list[bool] = []
        for face, best in passed:
            met.append(best.commit(draft, face.source))
            draft.outcomes[face.index] = face.outcome(best)
        if any(met):
            self._judge_together(passed, draft, faces)

    def _judge_together(self, passed: list[tuple[FaceProgress, Attempt]], draft: PhotoDraft, faces: Faces) -> None:
        """Judge faces again where neighbours have changed what each was judged in, and obscure those that now fail."""
        windows = [face.source.window for face, _ in passed]
        patches = [draft.image_rgb[y0:y1, x0:x1].copy() for x0, y0, x1, y1 in windows]
        for (face, best), patch in zip(passed, patches, strict=True):
            observation = self._observe(face.source, patch)
            if not observation.sees_the_same(best.observation):
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
    ) -> list[SourceFace]:
        """Measure those faces of a photo that rows name; each needs finite landmarks.

        kept: faces that stay as they are, bool (n,); the generator may see these beside the face that it draws.
        """
        return analyse_faces(self.bundle, self._method, self.timer, image_rgb, faces, rows, kept)

    def _attempt_once(
        self, pending: list[FaceProgress], draft: PhotoDraft, name: str, attempt: int
    ) -> list[FaceProgress]:
        """Make one attempt at each face, and return the faces that get another."""
        own = np.stack([face.source.wplus for face in pending])
        with self.timer("generate"):
            targets = self.targets.sample(self.bundle, name, pending, attempt)
            swapped = self._method.swap(self.bundle, own, targets, [face.step for face in pending])
        photos = [draft.image_rgb] * len(pending)
        again: list[FaceProgress] = []
        for face, made in zip(pending, self.attempt(pending, photos, swapped), strict=True):
            face.tries = attempt + 1
            face.attempts.append(made)
            if self.targets.plan_next(face, made.verdict, len(self._method.steps)):
                again.append(face)
        return again

    def attempt(
        self, pending: Sequence[FaceProgress], photos_rgb: Sequence[ImageRGB], wplus: WPlusArray
    ) -> list[Attempt]:
        """Generate faces from W+ (n, size), composite each into its photo by its step, and judge it."""
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
        """Obscure one face of a photo. progress: its attempts, where it was measured. how: None as options say."""
        how, box = how or self.options.obscure, faces.boxes_xyxy[index]
        with self.timer("obscure"):
            before = draft.image_rgb.copy() if progress is not None and how != "solid" else None
            mask = obscure_face(draft.image_rgb, box, how)
            if before is not None and progress is not None:
                how = self._obscure_until_safe(draft, before, progress.source, box, how)
        draft.changed |= mask
        gate = progress.best.verdict.figures if progress is not None and progress.best is not None else {}
        tries = progress.tries if progress is not None else 0
        draft.outcomes[index] = FaceOutcome(xyxy(box), Action.OBSCURED, how, tries, gate, reason)

    def _obscure_until_safe(
        self, draft: PhotoDraft, before: ImageRGB, source: SourceFace, box: Float[np.ndarray, "4"], how: Obscuring
    ) -> Obscuring:
        """Obscure more and more strongly until the face no longer matches, at last solid; return which it came to."""
        template = self.bundle.spec.identity_crop
        for strength in (*_OBSCURE_STRENGTHS[1:], None):
            crop = template.crop(draft.image_rgb, source.identity_matrix)
            similarity = float(self.bundle.embed(crop[None])[0] @ source.observation.embedding)
            if similarity <= self._level.strangers.high:
                return how
            if strength is not None:
                draft.image_rgb[:] = before
                obscure_face(draft.image_rgb, box, how, strength)
        obscure_face(draft.image_rgb, box, "solid")
        return "solid"


def _told(draft: PhotoDraft, settled: SettledFaces) -> tuple[FaceOutcome, ...]:
    """Return what was done with each face, with the detector's score and what a person decided about it."""
    return tuple(
        replace(outcome, score=float(settled.faces.scores[index]), decision=settled.told(index))
        for index, outcome in enumerate(draft.outcomes)
        if outcome is not None
    )
