"""The second pass over a clip: draw and judge every face of every frame, and obscure the faces that fail.

Frames wait in a short window before they are written, so that a face can fade before the frame in which it fails.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Float

from styleid.core.pipeline import Anonymizer
from styleid.media.video.clip import Clip, ClipFrame, ClipSink
from styleid.pixel.masked import bounds, copy_where
from styleid.pixel.obscure import Obscuring, face_ellipse, obscure_face
from styleid.types import Action, FaceOutcome, ImageRGB, MaskArray
from styleid.video.drawing import Drawn, DrawRequest, FaceRequest
from styleid.video.measurements import Measurements, faces_at, replaceable
from styleid.video.scan import Watch
from styleid.video.segments import Engine, LocalEngine
from styleid.video.targets import AssignedTarget
from styleid.video.tracks import Track

_FADE_S, _MERGE_S = 0.2, 0.4
"""Length of a fade, and longest time between two failures during which the face stays obscured, seconds."""
_WINDOW_BYTES = 256_000_000
"""Approximate limit on the memory of the waiting frames. It shortens fades of very large frames."""
_BYTES_A_PIXEL = 9
"""Approximate memory of a waiting frame per pixel."""

Show = Callable[[int, int, ImageRGB, Float[np.ndarray, " 4"], bool], None]
"""Called with the track's index, the number of the frame, the finished frame, the face's box, and whether the face is
obscured."""


@dataclass
class TrackLog:
    """What was done with a track.

    Attributes:
        anonymised: Number of frames in which its face is new.
        hidden: Frames in which its face is obscured, in order, each with the reason.
        figures: Extremes of the gate's measurements, by name.
    """

    anonymised: int = 0
    hidden: list[tuple[int, str]] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    def note(self, outcome: FaceOutcome) -> None:
        """Update the extremes with the gate's measurements of a face that passed."""
        for name, value in outcome.gate.items():
            if name == "threshold":
                self.figures[name] = value
            elif name == "distance":
                self.figures["distance_min"] = min(value, self.figures.get("distance_min", value))
            else:
                self.figures[f"{name}_max"] = max(value, self.figures.get(f"{name}_max", value))


@dataclass
class Held:
    """A frame that waits to be written.

    Attributes:
        frame: The frame of the source.
        image_rgb: The rendered frame, uint8 (h, w, 3); empty if it has no faces.
        changed: Changed pixels, bool (h, w).
        boxes: Boxes of the faces, (4,), by the index of the track.
        outcomes: Outcomes of the faces, by the index of the track.
    """

    frame: ClipFrame
    image_rgb: ImageRGB
    changed: MaskArray
    boxes: dict[int, Float[np.ndarray, " 4"]]
    outcomes: dict[int, FaceOutcome]


class Renderer:
    """Renders a clip from its tracks.

    Attributes:
        failures: Frames in which a track's face is obscured for itself, in order, by the index of the track.
        reasons: Why, by the index of the track and the frame.
        logs: What was done with each track; complete after `run`.
    """

    def __init__(
        self,
        clip: Clip,
        tracks: Sequence[Track],
        anonymizer: Anonymizer,
        measured: Measurements | None,
        assigned: Mapping[int, AssignedTarget],
        engine: Engine | None = None,
    ) -> None:
        """Prepare to render.

        Args:
            clip: The clip.
            tracks: Its tracks.
            anonymizer: Draws, judges and obscures faces.
            measured: The tracks' measurements, None without a bundle.
            assigned: Targets by person; empty if all faces are obscured.
            engine: Draws and judges faces; by default in the calling thread.
        """
        self._clip, self._tracks, self._anonymizer = clip, tracks, anonymizer
        self._measured, self._assigned = measured, assigned
        self._engine = engine or LocalEngine(anonymizer)
        rate, pixels = float(clip.info.rate), clip.info.width * clip.info.height
        most = max(2, _WINDOW_BYTES // (_BYTES_A_PIXEL * pixels))
        self._fade = min(max(1, round(_FADE_S * rate)), most)
        self._merge = min(max(1, round(_MERGE_S * rate)), most)
        self.failures: dict[int, list[int]] = defaultdict(list)
        self.reasons: dict[tuple[int, int], str] = {}
        self.logs = [TrackLog() for _ in tracks]

    def run(self, sink: ClipSink, show: Show | None = None, watch: Watch | None = None, frames: int = 0) -> None:
        """Render every frame into the sink, in order.

        Args:
            sink: Writes the frames.
            show: Called for every face of every finished frame.
            watch: Called with the stage, the number of rendered frames, and their total.
            frames: Number of frames of the clip.

        Raises:
            VideoError: If a frame cannot be read.
            OutputError: If a frame cannot be written.
        """
        waiting: deque[Held] = deque()
        for frame, drawn in self._engine.drawn(self._clip, self._request):
            held = self._held(frame, drawn)
            self._note_failures(held)
            waiting.append(held)
            if len(waiting) > self._merge:
                self.release(waiting.popleft(), sink, show)
            if watch is not None:
                watch("rendering", frame.index + 1, frames)
        while waiting:
            self.release(waiting.popleft(), sink, show)

    def _request(self, frame: int) -> DrawRequest | None:
        which, faces = faces_at(self._tracks, frame)
        return DrawRequest(which, faces, [self._face_request(i, frame) for i in which]) if which else None

    def _face_request(self, index: int, frame: int) -> FaceRequest:
        track, measured = self._tracks[index], self._measured
        if measured is None or not self._is_measured(track):
            return FaceRequest(track.hide)
        row = measured.row(index, frame)
        part = self._assigned[track.person] if track.hide is None else None
        return FaceRequest(track.hide, row, measured.maps(row), part)

    def _held(self, frame: ClipFrame, drawn: Drawn | None) -> Held:
        if drawn is None:
            return Held(frame, np.zeros((0, 0, 3), np.uint8), np.zeros((0, 0), bool), {}, {})
        which, faces = faces_at(self._tracks, frame.index)
        boxes = {i: faces.boxes_xyxy[k] for k, i in enumerate(which)}
        return Held(frame, drawn.image_rgb, drawn.changed, boxes, drawn.outcomes)

    def _note_failures(self, held: Held) -> None:
        for i, outcome in held.outcomes.items():
            if outcome.action is Action.OBSCURED:
                insort(self.failures[i], held.frame.index)
                self.reasons[i, held.frame.index] = outcome.reason

    def _is_measured(self, track: Track) -> bool:
        """Return whether a track's face gets a new face, or was measured so that obscuring it can be checked."""
        drawn = track.person in self._assigned if track.hide is None else self._measured is not None
        return drawn and replaceable(track)

    def release(self, held: Held, sink: ClipSink, show: Show | None) -> None:
        """Obscure the faces of a waiting frame that fail in it or in frames nearby, and write the frame.

        Args:
            held: The frame.
            sink: Writes it.
            show: Called for every face of the frame; None for nothing.
        """
        if not held.boxes:
            sink.write(held.frame, None, None)
            return
        generated = False
        for i, box in held.boxes.items():
            share, near = hiding(self.failures.get(i, ()), held.frame.index, self._fade, self._merge)
            shown = held.outcomes[i].action is Action.ANONYMIZED
            if share > 0 and (shown or self._under_another(held, i)):
                self._hide(held, box, share, self._tracks[i].hide or self._anonymizer.options.obscure)
            if share >= 1:
                self.logs[i].hidden.append((held.frame.index, self.reasons.get((i, near), "")))
            else:
                generated = True
                self.logs[i].anonymised += 1
                self.logs[i].note(held.outcomes[i])
        sink.write(held.frame, held.image_rgb, held.changed, generated=generated)
        if show is not None:
            for i, box in held.boxes.items():
                hidden = bool(self.logs[i].hidden) and self.logs[i].hidden[-1][0] == held.frame.index
                show(i, held.frame.index, held.image_rgb, box, hidden)

    def _under_another(self, held: Held, track: int) -> bool:
        """Return whether another track's new face may overlap the region in which a track is obscured.

        The new face was drawn after the track was obscured, so it may lie on top. In the frames of a fade, the track is
        obscured over the new face. Obscuring again keeps this order in all frames, so the overlap does not flicker.
        """
        mask = face_ellipse(held.boxes[track], held.changed.shape)
        others = [i for i, o in held.outcomes.items() if i != track and o.action is Action.ANONYMIZED]
        return any((mask & face_ellipse(held.boxes[i], held.changed.shape)).any() for i in others)

    def _hide(self, held: Held, box: Float[np.ndarray, " 4"], share: float, how: Obscuring) -> None:
        """Blend a face with its obscured version. share: weight of the obscured version, 0 to 1."""
        hidden = held.image_rgb.copy()
        mask = obscure_face(hidden, box, how)
        if (part := bounds(mask)) is not None:
            there = held.image_rgb[part]
            blended = cv2.addWeighted(hidden[part], share, there, 1 - share, 0)
            copy_where(there, np.asarray(blended, np.uint8), mask[part])
            held.changed[part] |= mask[part]


def hiding(failing: Sequence[int], frame: int, fade: int, merge: int) -> tuple[float, int]:
    """Return how strongly a face is obscured in a frame.

    Args:
        failing: Frames in which it fails, in order.
        frame: Number of the frame.
        fade: Number of frames of a fade.
        merge: Largest distance of two failures between which the face stays obscured.

    Returns:
        The weight of the obscured face, 0 to 1, and the failing frame that causes it; the frame itself without one.
    """
    at = bisect_left(failing, frame)
    before, after = failing[at - 1] if at else None, failing[at] if at < len(failing) else None
    if after == frame:
        return 1.0, frame
    if before is not None and after is not None and after - before <= merge:
        return 1.0, before
    ramps = [(1 - abs(f - frame) / (fade + 1), f) for f in (before, after) if f is not None]
    share, near = max(ramps, default=(0.0, frame))
    return max(share, 0.0), near
