"""The stages of a live run. Reading, detecting and writing run in a thread each; drawing runs between them.

Times are seconds on the run's clock.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
from jaxtyping import Float

from styleid.faces.detect import FaceDetector, views_of
from styleid.faces.parts import look_at_part, suppress_overlaps
from styleid.media.video.live_source import LiveFrame
from styleid.pixel.obscure import Obscuring, obscure_face
from styleid.types import Faces, ImageRGB, MaskArray
from styleid.video.live_options import LiveOptions
from styleid.video.live_tracks import Grey
from styleid.video.scan import CutFinder

T = TypeVar("T")
_WAIT_S = 0.2
"""Longest wait for a picture before `stop` is checked again, seconds."""
_NEWEST = 0.2
"""Weight of the newest picture in the estimated time to write one."""


class LivePictures(Protocol):
    """A source of live pictures."""

    def frames(self) -> Iterator[LiveFrame]:
        """Yield pictures as they arrive."""
        ...


class LiveOutput(Protocol):
    """A writer of finished pictures."""

    def write(
        self, frame: LiveFrame, image_rgb: ImageRGB | None, changed: MaskArray | None, *, generated: bool
    ) -> None:
        """Write a picture.

        Args:
            frame: The picture of the source.
            image_rgb: The new picture, uint8 (h, w, 3), used where `changed` is true; None keeps the source.
            changed: Changed pixels, bool (h, w); None for none.
            generated: Whether the picture shows a new face.
        """
        ...


class Slot(Generic[T]):
    """Passes items from one thread to another; it holds at most one.

    Attributes:
        dropped: Number of items that were replaced by newer ones.
    """

    def __init__(self, *, newest: bool) -> None:
        """Create an empty slot.

        Args:
            newest: Whether a new item replaces one that has not been taken. Otherwise, `put` waits until it
                has been taken.
        """
        self._newest, self._held, self._ended = newest, deque[T](), False
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self.dropped = 0

    def put(self, thing: T) -> None:
        """Put an item into the slot."""
        with self._changed:
            while self._held and not self._newest and not self._ended:
                self._changed.wait()
            if self._held:
                self._held.clear()
                self.dropped += 1
            self._held.append(thing)
            self._changed.notify_all()

    def get(self, timeout_s: float) -> T | None:
        """Return the next item, or None if none arrives in time.

        Args:
            timeout_s: Longest wait, seconds.

        Raises:
            BaseException: The error that the other thread passed to `end`, once all items have been taken.
        """
        with self._changed:
            if not self._held and not self._ended:
                self._changed.wait(timeout_s)
            if self._held:
                thing = self._held.popleft()
                self._changed.notify_all()
                return thing
            if self._error is not None:
                raise self._error
            return None

    def end(self, error: BaseException | None = None) -> None:
        """Announce that no more items follow. error: why the other thread ended early."""
        with self._changed:
            self._ended, self._error = True, error if self._error is None else self._error
            self._changed.notify_all()

    @property
    def ended(self) -> bool:
        """Whether no more items follow and all have been taken."""
        return self._ended and not self._held


@dataclass(frozen=True)
class Found:
    """A picture and its detected faces.

    Attributes:
        frame: The picture of the source.
        image_rgb: The picture, uint8 (h, w, 3).
        faces: The detected faces, including low-score ones.
        cut: Whether the picture begins a new shot.
    """

    frame: LiveFrame
    image_rgb: ImageRGB
    faces: Faces
    cut: bool


class Finder:
    """Detects faces in consecutive pictures.

    With the detector setting fast, only a part of each picture is searched closely: besides the whole picture, one tile
    in turn. If there is only one tile, it alternates with the whole picture. The first picture of a shot is searched
    completely, and so is every picture with the other settings.
    """

    def __init__(self, detector: FaceDetector) -> None:
        self._detector, self._cuts, self._turn = detector, CutFinder(), 0

    def warm_up(self) -> None:
        """Run the detector once, so that the first picture does not wait for it."""
        self._detector.detect(np.zeros((720, 1280, 3), np.uint8))

    def find(self, frame: LiveFrame) -> Found:
        """Detect the faces of the next picture."""
        image = frame.image_rgb
        cut = self._cuts.is_cut(image) or self._turn == 0
        faces = self._detector.detect(image) if cut or not self._plain else self._part(image)
        self._turn += 1
        return Found(frame, image, faces, cut)

    @property
    def _plain(self) -> bool:
        return self._detector.options.detector == "fast"

    def _part(self, image: ImageRGB) -> Faces:
        options, look = self._detector.options, self._detector.look
        whole, *tiles = views_of(image.shape[0], image.shape[1], options.min_face_px)
        if len(tiles) == 1:
            views = [[whole, *tiles][self._turn % 2]]
        else:
            views = [whole, *tiles[self._turn % max(len(tiles), 1) :][:1]]
        found = [
            self._glanced(image) if view is whole else look_at_part(image, look, *view, options.threshold)
            for view in views
        ]
        return suppress_overlaps(Faces.concatenate(found))

    def _glanced(self, image: ImageRGB) -> Faces:
        """Return what a look at the whole picture finds; on the CPU it has 8-bit arithmetic."""
        faces = self._detector.glance(image)
        return faces[faces.scores > self._detector.options.threshold]


@dataclass
class Held:
    """A finished picture that waits to be written.

    Attributes:
        frame: The picture of the source.
        grey: Its reduced grey copy.
        image_rgb: The new picture, uint8 (h, w, 3).
        changed: Changed pixels, bool (h, w).
        due_s: Time at which it is written.
        hidden: Number of its faces that are obscured.
        generated: Whether it shows a new face.
    """

    frame: LiveFrame
    grey: Grey
    image_rgb: ImageRGB
    changed: MaskArray
    due_s: float
    hidden: int
    generated: bool


@dataclass
class LiveCounts:
    """Counts of the pictures that were written.

    Attributes:
        shown: Number of pictures.
        obscured: Number of pictures with an obscured face.
        delays_ms: Number of pictures by delay from arrival until written, milliseconds.
    """

    shown: int = 0
    obscured: int = 0
    delays_ms: Counter[int] = field(default_factory=Counter[int])

    def delay_s(self, share: float) -> float:
        """Return a quantile of the delay in seconds, 0 if no picture was written.

        Args:
            share: Share of the pictures whose delay is at most the result, 0 to 1.
        """
        if not self.delays_ms:
            return 0.0
        times, counts = np.array(sorted(self.delays_ms.items())).T
        reached = np.cumsum(counts) >= share * counts.sum()
        return float(times[int(reached.argmax())]) / 1000


class Outlet:
    """Writes finished pictures when they are due. Pictures that would be written later than allowed are dropped.

    Attributes:
        counts: What was written so far.
    """

    def __init__(self, sink: LiveOutput, options: LiveOptions, clock: Callable[[], float] = time.monotonic) -> None:
        self._sink, self._options, self._clock = sink, options, clock
        self._held, self._changed, self._ended = deque[Held](), threading.Condition(), False
        self._error: BaseException | None = None
        self._writing_s = 0.0
        self._thread: threading.Thread | None = None
        self.counts = LiveCounts()

    def start(self) -> None:
        """Start writing in a thread. It ends with `finish`."""
        self._thread = _started(self._run, "writer")

    def due_s(self, frame: LiveFrame) -> float:
        """Return the time at which a picture that is finished now is written."""
        return min(self._clock() + self._options.hold_s, frame.arrived_s + self._options.latest_s)

    def add(self, held: Held) -> None:
        """Add a finished picture. Raises the error that ended the writer."""
        with self._changed:
            if self._error is not None:
                raise self._error
            self._held.append(held)
            self._changed.notify_all()

    def hide(self, places: Callable[[Sequence[Grey]], list[Float[np.ndarray, " 4"]]], how: Obscuring) -> int:
        """Obscure a face that was detected later in the pictures that wait.

        Args:
            places: Takes the grey copies of the waiting pictures, newest first. Returns the face's boxes, (4,), in as
                many of them, from the newest, as show the face.
            how: How to obscure it.

        Returns:
            Number of pictures in which it was obscured.
        """
        with self._changed:
            waiting = list(reversed(self._held))
            boxes = places([held.grey for held in waiting])
            for held, box in zip(waiting, boxes, strict=False):
                held.changed |= obscure_face(held.image_rgb, box, how)
                held.hidden += 1
            return len(boxes)

    def write_due(self) -> None:
        """Write the pictures that are due now."""
        while (held := self._due()) is not None:
            self._write(held)

    def finish(self) -> None:
        """Write all waiting pictures and end the thread. Raises the error that ended the writer."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread is None:
            self.write_due()
        else:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while self._waits():
                self.write_due()
        except Exception as error:  # `add` and `finish` raise it
            with self._changed:
                self._error = error

    def _waits(self) -> bool:
        """Wait until a picture may be due; return False if there is none and no more follow."""
        with self._changed:
            while not self._held and not self._ended:
                self._changed.wait()
            if self._held and not self._ended:
                self._changed.wait(max(self._held[0].due_s - self._clock(), 0.0))
            return bool(self._held)

    def _due(self) -> Held | None:
        with self._changed:
            due = bool(self._held) and (self._ended or self._held[0].due_s <= self._clock())
            return self._held.popleft() if due else None

    def _write(self, held: Held) -> None:
        counts, frame, begun = self.counts, held.frame, self._clock()
        if begun + self._writing_s - frame.arrived_s > self._options.max_delay:
            self._writing_s *= 1 - _NEWEST
            return
        changed = held.changed if held.changed.any() else None
        self._sink.write(frame, held.image_rgb if changed is not None else None, changed, generated=held.generated)
        counts.shown += 1
        counts.obscured += held.hidden > 0
        ended = self._clock()
        counts.delays_ms[round(1000 * (ended - frame.arrived_s))] += 1
        self._writing_s += _NEWEST * (ended - begun - self._writing_s)


def start_reading(source: LivePictures, slot: Slot[LiveFrame], stop: threading.Event) -> threading.Thread:
    """Start a thread that reads pictures into a slot until the source ends or `stop` is set.

    Args:
        source: The source.
        slot: Receives the pictures, and the error if the source fails.
        stop: Ends the thread.
    """

    def read() -> None:
        try:
            for frame in source.frames():
                slot.put(frame)
                if stop.is_set():
                    break
            slot.end()
        except Exception as error:  # `slot.get` raises it
            slot.end(error)

    return _started(read, "reader")


def start_finding(
    finder: Finder, coming: Slot[LiveFrame], slot: Slot[Found], stop: threading.Event
) -> threading.Thread:
    """Start a thread that detects the faces of the newest picture, repeatedly.

    Args:
        finder: Detects faces.
        coming: Provides the pictures.
        slot: Receives the results, and the error if reading or detecting fails.
        stop: Ends the thread.
    """

    def find() -> None:
        try:
            while not stop.is_set() and not coming.ended:
                frame = coming.get(_WAIT_S)
                if frame is not None:
                    slot.put(finder.find(frame))
            coming.get(0.0)  # raises the error that ended the reading
            slot.end()
        except Exception as error:  # `slot.get` raises it
            slot.end(error)

    return _started(find, "finder")


def _started(run: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=run, name=f"styleid-live-{name}", daemon=True)
    thread.start()
    return thread
