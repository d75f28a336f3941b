"""The stages of a live run, each in a thread: read, find faces, and write; drawing runs between them."""

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
_NEWEST = 0.2


class LivePictures(Protocol):
    """A source of live pictures."""

    def frames(self) -> Iterator[LiveFrame]:
        """Yield pictures as they come."""
        ...


class LiveOutput(Protocol):
    """Take finished pictures."""

    def write(
        self, frame: LiveFrame, image_rgb: ImageRGB | None, changed: MaskArray | None, *, generated: bool
    ) -> None:
        """Write one."""
        ...


class Slot(Generic[T]):
    """Hand things from one thread to another. newest: a thing that nobody has taken gives way to the next.

    Otherwise whoever puts waits until the one before was taken. dropped: how many gave way.
    """

    def __init__(self, *, newest: bool) -> None:
        self._newest, self._held, self._ended = newest, deque[T](), False
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self.dropped = 0

    def put(self, thing: T) -> None:
        """Put a thing."""
        with self._changed:
            while self._held and not self._newest and not self._ended:
                self._changed.wait()
            if self._held:
                self._held.clear()
                self.dropped += 1
            self._held.append(thing)
            self._changed.notify_all()

    def get(self, timeout_s: float) -> T | None:
        """Return the next thing, None where none came in time; raises the error that ended the other side."""
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
        """Say that nothing more comes."""
        with self._changed:
            self._ended, self._error = True, error if self._error is None else self._error
            self._changed.notify_all()

    @property
    def ended(self) -> bool:
        """Whether nothing more comes and all was taken."""
        return self._ended and not self._held


@dataclass(frozen=True)
class Found:
    """A picture and the faces that the detector saw in it. cut: whether it begins a new shot."""

    frame: LiveFrame
    image_rgb: ImageRGB
    faces: Faces
    cut: bool


class Finder:
    """Detect in one picture after another, at a part of the sizes each time; after a cut at all of them.

    A single tile and the overview take turns. Otherwise every picture gets the overview and the next tile.
    """

    def __init__(self, detector: FaceDetector) -> None:
        self._detector, self._cuts, self._turn = detector, CutFinder(), 0

    def warm_up(self) -> None:
        """Run the detector once, so that the first picture does not wait for it."""
        self._detector.detect(np.zeros((720, 1280, 3), np.uint8))

    def find(self, frame: LiveFrame) -> Found:
        """Detect in a picture."""
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
        found = [look_at_part(image, look, box, scale, options.threshold) for box, scale in views]
        return suppress_overlaps(Faces.concatenate(found))


@dataclass
class Held:
    """A finished picture that waits to be written. due_s: when. hidden: how many of its faces are obscured."""

    frame: LiveFrame
    grey: Grey
    image_rgb: ImageRGB
    changed: MaskArray
    due_s: float
    hidden: int
    generated: bool


@dataclass
class LiveCounts:
    """What was shown. delays: pictures by milliseconds from arrival until they were written."""

    shown: int = 0
    obscured: int = 0
    delays_ms: Counter[int] = field(default_factory=Counter[int])

    def delay_s(self, share: float) -> float:
        """Return the delay that this share of the shown pictures stays within, 0 where none was shown."""
        if not self.delays_ms:
            return 0.0
        times, counts = np.array(sorted(self.delays_ms.items())).T
        reached = np.cumsum(counts) >= share * counts.sum()
        return float(times[int(reached.argmax())]) / 1000


class Outlet:
    """Write finished pictures when they are due; those that are too late by then are dropped."""

    def __init__(self, sink: LiveOutput, options: LiveOptions, clock: Callable[[], float] = time.monotonic) -> None:
        self._sink, self._options, self._clock = sink, options, clock
        self._held, self._changed, self._ended = deque[Held](), threading.Condition(), False
        self._error: BaseException | None = None
        self._writing_s = 0.0
        self._thread: threading.Thread | None = None
        self.counts = LiveCounts()

    def start(self) -> None:
        """Write in a thread, until `finish`."""
        self._thread = _started(self._run, "writer")

    def due_s(self, frame: LiveFrame) -> float:
        """Return when a picture that is finished now is to be written."""
        return min(self._clock() + self._options.hold_s, frame.arrived_s + self._options.latest_s)

    def add(self, held: Held) -> None:
        """Take a finished picture; raises what ended the writing."""
        with self._changed:
            if self._error is not None:
                raise self._error
            self._held.append(held)
            self._changed.notify_all()

    def hide(self, places: Callable[[Sequence[Grey]], list[Float[np.ndarray, " 4"]]], how: Obscuring) -> int:
        """Obscure in waiting pictures a face that was found after them; return in how many.

        places: from grey pictures, newest first, to boxes in as many of them as show the face.
        """
        with self._changed:
            waiting = list(reversed(self._held))
            boxes = places([held.grey for held in waiting])
            for held, box in zip(waiting, boxes, strict=False):
                held.changed |= obscure_face(held.image_rgb, box, how)
                held.hidden += 1
            return len(boxes)

    def write_due(self) -> None:
        """Write what is due now."""
        while (held := self._due()) is not None:
            self._write(held)

    def finish(self) -> None:
        """Write what waits and end the thread; raises what went wrong in it."""
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
        except Exception as error:  # whoever adds the next picture gets it
            with self._changed:
                self._error = error

    def _waits(self) -> bool:
        """Wait until a picture may be due; return whether there is one."""
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
    """Read pictures into a slot in a thread, until the source ends or `stop` is set."""

    def read() -> None:
        try:
            for frame in source.frames():
                slot.put(frame)
                if stop.is_set():
                    break
            slot.end()
        except Exception as error:  # whoever takes the next picture gets it
            slot.end(error)

    return _started(read, "reader")


def start_finding(
    finder: Finder, coming: Slot[LiveFrame], slot: Slot[Found], stop: threading.Event
) -> threading.Thread:
    """Find the faces of the newest picture, again and again, in a thread."""

    def find() -> None:
        try:
            while not stop.is_set() and not coming.ended:
                frame = coming.get(_WAIT_S)
                if frame is not None:
                    slot.put(finder.find(frame))
            coming.get(0.0)  # raises what ended the reading
            slot.end()
        except Exception as error:  # whoever takes the next picture gets it
            slot.end(error)

    return _started(find, "finder")


def _started(run: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=run, name=f"styleid-live-{name}", daemon=True)
    thread.start()
    return thread
