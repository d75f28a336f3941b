"""An engine that gives segments of a clip to the actors of a Ray cluster (extra `ray`).

Actors read their segments from the file themselves, which must have the same path on all machines, and return found
faces, measurements, or the pixels that changed. The process that runs the command reads the clip, too: its first
reading notes a checksum of each picture, with which the actors check theirs (`media/video/pieces.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from styleid.core.pipeline import Anonymizer
from styleid.core.timing import StageTimer
from styleid.engine.ray_executor import actor_count, import_ray, join_cluster
from styleid.engine.workers import Recipe
from styleid.errors import OptionError, StyleIDError
from styleid.faces.detect import FaceDetector
from styleid.media.video.clip import Clip, ClipFrame
from styleid.media.video.pieces import FrameMark, mark_of, read_piece
from styleid.runtime import limit_threads
from styleid.video.ahead import FramePool
from styleid.video.drawing import Drawn, DrawRequest
from styleid.video.measuring import MeasuredFace, MeasureRequest
from styleid.video.scan import Look, Looks
from styleid.video.segment_work import (
    NO_THUMB,
    LookSetup,
    Segment,
    Work,
    draw_segment,
    finish_segment,
    glance_segment,
    measure_segment,
    segments_of,
    unpacked,
)

_IN_HAND = 2
"""Segments that an actor has in hand: one in work and one waiting."""
_AHEAD = 4
"""Segments per actor that may be given away before the oldest one is used. It bounds the results that wait."""
_RESTARTS, _RETRIES = 100, 3
"""How often an actor is started again after it died, and how often a segment is given to an actor that died of it."""


class RayEngine:
    """An engine with Ray actors of one thread each; see `styleid.video.segments.Engine`.

    It starts the actors when they are first needed. An actor that dies is replaced, and its segments are done again.
    """

    def __init__(self, anonymizer: Anonymizer, workers: int, pool: FramePool) -> None:
        """Prepare to give segments away.

        Args:
            anonymizer: The actors make one like it. Only this process uses its targets and the people to keep.
            workers: Number of actors; 0 for one for each core of the cluster.
            pool: Threads of this process.

        Raises:
            OptionError: The anonymiser cannot be made again in another process.
            MissingDependencyError: Ray is not installed.
        """
        if type(anonymizer) is not Anonymizer:
            raise OptionError("engine", "with another kind of anonymiser, one process must do the work. Use "
                              "`engine=local`.")  # fmt: skip
        self._ray, self.pool, self._timer = import_ray(), pool, anonymizer.timer
        needs_none = anonymizer.options.method == "none"
        folder = None if needs_none else anonymizer.bundle.folder.absolute()
        self._recipe = Recipe(folder, anonymizer.options, anonymizer.device)
        self._workers, self._started = workers, False
        self._actors: list[Any] = []
        self._at: dict[Any, int] = {}
        self._marks: list[FrameMark] = []

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(self, *_: object) -> None:
        for actor in self._actors:
            self._ray.kill(actor)
        if self._started:
            self._ray.shutdown()

    def looks(self, clip: Clip, looks: Looks) -> Iterator[Look]:
        """Find and embed faces; see `styleid.video.segments.Engine.looks`.

        All frames are first searched as a whole. Then it is known which are key frames, and segments that begin at key
        frames are searched for small faces. A detector that is no plain `FaceDetector` runs in this process.
        """
        self._marks.clear()
        if type(looks.detector) is not FaceDetector:
            yield from looks.at(self._marked(clip), self.pool)
            return
        setup = LookSetup(looks.detector.options, looks.sure_from, looks.rate, looks.width)
        shells: list[ClipFrame] = []

        def every() -> Iterator[tuple[FrameMark, bool, Any]]:
            for frame in self._marked(clip):
                shells.append(replace(frame, native=None, hidden=None))
                yield self._marks[-1], True, True

        glanced = self._results(clip, partial(glance_segment, setup), every())
        given = (Look(shells[number], *one) for number, one in enumerate(glanced))
        plan = [(look.frame, look.glanced, look.has_views, look.cut, look.key) for look in looks.planned(given)]
        marked = (
            (mark, key, (glanced, has_views, key))
            for mark, (_, glanced, has_views, _, key) in zip(self._marks, plan, strict=True)
        )
        made = self._results(clip, partial(finish_segment, setup), marked)
        for (frame, glanced, has_views, cut, key), (found, embeddings) in zip(plan, made, strict=True):
            look = Look(frame, glanced, NO_THUMB, has_views, cut, key, embeddings=embeddings)
            look.found.set_result(found)
            yield look

    def measured(
        self, clip: Clip, requests: Callable[[int], MeasureRequest | None]
    ) -> Iterator[tuple[int, list[MeasuredFace]]]:
        """Measure faces; see `styleid.video.segments.Engine.measured`."""
        made = self._results(clip, measure_segment, self._requested(requests))
        return ((number, faces or []) for number, faces in enumerate(made))

    def drawn(
        self, clip: Clip, requests: Callable[[int], DrawRequest | None]
    ) -> Iterator[tuple[ClipFrame, Drawn | None]]:
        """Draw and judge faces; see `styleid.video.segments.Engine.drawn`."""
        made = self._results(clip, draw_segment, self._requested(requests))
        for packed, frame in zip(made, clip.frames(), strict=True):
            yield frame, None if packed is None else unpacked(packed, frame)

    def _marked(self, clip: Clip) -> Iterator[ClipFrame]:
        """Yield the frames of a clip, and note their marks."""
        for frame in clip.frames():
            self._marks.append(mark_of(frame))
            yield frame

    def _requested(self, requests: Callable[[int], Any]) -> Iterator[tuple[FrameMark, bool, Any]]:
        return ((mark, True, requests(number)) for number, mark in enumerate(self._marks))

    def _results(self, clip: Clip, work: Work, frames: Iterable[tuple[FrameMark, bool, Any]]) -> Iterator[Any]:
        """Give segments to the actors, and yield the result of each frame in order, None for those without a request.

        Args:
            clip: The clip.
            work: Works on a segment.
            frames: Mark of each frame, whether a segment may begin at it, and its request.
        """
        self._start()
        kit = self._ray.put((clip, work))
        sent: deque[tuple[Any, int]] = deque()
        for segment in segments_of(frames, clip.info.frames, len(self._actors)):
            while sent and (len(sent) >= _AHEAD * len(self._actors) or sent[0][0] not in self._at):
                yield from self._received(*sent.popleft())
            sent.append((self._give(kit, segment), len(segment.requests)))
        while sent:
            yield from self._received(*sent.popleft())

    def _start(self) -> None:
        if self._actors:
            return
        self._started = join_cluster(self._ray)
        options = self._ray.remote(num_cpus=1, max_restarts=_RESTARTS, max_task_retries=_RETRIES)
        self._actors = [
            options(_SegmentActor).remote(self._recipe) for _ in range(actor_count(self._ray, self._workers))
        ]

    def _give(self, kit: Any, segment: Segment) -> Any:
        """Give a segment to the actor that has the fewest in hand, once one has room; None if nothing is asked."""
        if all(request is None for request in segment.requests):
            return None
        self._note_ended(0)
        while True:
            hands = [0] * len(self._actors)
            for place in self._at.values():
                hands[place] += 1
            place = min(range(len(hands)), key=hands.__getitem__)
            if hands[place] < _IN_HAND:
                reference = self._actors[place].run.remote(kit, segment)
                self._at[reference] = place
                return reference
            self._note_ended(None)

    def _note_ended(self, patience_s: float | None) -> None:
        """Forget which actors had segments that have ended. patience_s: how long to wait for one; None without end."""
        if self._at:
            some = len(self._at) if patience_s == 0 else 1
            ended, _ = self._ray.wait(list(self._at), num_returns=some, timeout=patience_s)
            for reference in ended:
                del self._at[reference]

    def _received(self, reference: Any, count: int) -> Sequence[Any]:
        """Return the results of a segment."""
        if reference is None:
            return [None] * count
        try:
            results, seconds = self._ray.get(reference)
        except self._ray.exceptions.RayActorError as error:
            raise StyleIDError(f"a Ray actor ended again and again: {str(error).splitlines()[0]}") from error
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause
            raise cause if isinstance(cause, StyleIDError) else StyleIDError(f"a Ray actor failed: {error}") from error
        self._at.pop(reference, None)
        self._timer.add(seconds)
        return results


class _SegmentActor:
    """An actor: makes the anonymiser once, then works on one segment at a time."""

    def __init__(self, recipe: Recipe) -> None:
        import cv2

        limit_threads(1)
        cv2.setNumThreads(1)
        self._anonymizer = recipe.make()

    def run(self, kit: tuple[Clip, Work], segment: Segment) -> tuple[Sequence[Any], dict[str, float]]:
        """Return the results of a segment, and the seconds of each stage."""
        (clip, work), timer = kit, StageTimer()
        frames = read_piece(clip, segment.first, segment.marks, threads=1)
        results = work(self._anonymizer.with_timer(timer), frames, segment.requests)
        return results, dict(timer.seconds)
