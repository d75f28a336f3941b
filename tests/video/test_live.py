"""Live pictures: no visible face stays unchanged, the delay is bounded, and errors at both ends are reported."""

import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from styleid import AnonymizeOptions, Anonymizer, Faces
from styleid.errors import OptionError, OutputError, VideoError
from styleid.faces.detect import DetectorOptions, FaceDetector
from styleid.media.video.clip import Turn
from styleid.media.video.live_source import LiveFormat, LiveFrame
from styleid.media.video.planes import PixelColours
from styleid.video.live import LiveRun, process_live
from styleid.video.live_options import LiveOptions
from styleid.video.run import UNSURE_SHARE
from tests.video.scenes import HEAD, RATE, SIZE, Actor, Scene, background

pytest.importorskip("scipy", reason="faces are given to tracks by SciPy: pip install 'styleid[video]'")
STEP = 3
"""Every third picture of a scene is looked at, as on a machine that is not fast enough for all."""
FRAMES = 90
FORM = LiveFormat("raw", "rgb24", *SIZE, Fraction(RATE), PixelColours(0, 2, 2, True, SIZE[1]), Turn(), Fraction(0))


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Showing:
    """A sink that stores all pictures and their ages."""

    def __init__(self, clock=time.monotonic, failing: bool = False) -> None:
        self.frames: list[tuple[int, np.ndarray, np.ndarray]] = []
        self._clock, self._failing = clock, failing
        self.ages: list[float] = []

    def write(self, frame, image_rgb, changed, *, generated) -> None:
        if self._failing:
            raise OutputError("out", "the receiver is gone")
        image = frame.image_rgb if image_rgb is None else image_rgb
        self.frames.append((frame.index, image, np.zeros(image.shape[:2], bool) if changed is None else changed))
        self.ages.append(self._clock() - frame.arrived_s)


class Sometimes:
    """A detector that misses faces in some pictures."""

    def __init__(self, blind=lambda i: False) -> None:
        low = DetectorOptions(DetectorOptions().threshold * UNSURE_SHARE)
        self._detector, self._blind, self._shown = FaceDetector(low), blind, -1
        self.options = DetectorOptions(detector="standard")  # so that whole pictures are searched

    def detect(self, image_rgb: np.ndarray) -> Faces:
        if image_rgb.shape[:2] != SIZE[::-1]:  # to get ready
            return Faces.empty()
        self._shown += 1
        return Faces.empty() if self._blind(self._shown) else self._detector.detect(image_rgb)


class Glancing(FaceDetector):
    """The detector with the setting fast, which glances with 8 bits between cuts, and misses faces in some pictures."""

    def __init__(self, blind=lambda i: False) -> None:
        super().__init__(DetectorOptions(DetectorOptions().threshold * UNSURE_SHARE))
        self._blind, self._shown, self.glances = blind, -1, 0

    def detect(self, image_rgb: np.ndarray, regions_xyxy=None) -> Faces:
        return self._unless_blind(image_rgb, super().detect)

    def glance(self, image_rgb: np.ndarray) -> Faces:
        self.glances += 1
        return self._unless_blind(image_rgb, super().glance)

    def _unless_blind(self, image_rgb: np.ndarray, find) -> Faces:
        if image_rgb.shape[:2] != SIZE[::-1]:  # to get ready
            return Faces.empty()
        self._shown += 1
        return Faces.empty() if self._blind(self._shown) else find(image_rgb)


def frame_of(scene: Scene, i: int, arrived_s: float) -> LiveFrame:
    frame = LiveFrame(i, arrived_s, i / RATE, None, FORM)
    frame.image_rgb = scene.image(i)
    return frame


@pytest.fixture(scope="module")
def scenes(astronaut):
    from skimage import data

    x0, y0, x1, y1 = HEAD
    head, wood = astronaut[y0:y1, x0:x1], background(data.coffee())
    moon = background(np.stack([data.moon()] * 3, -1))

    def swinging(i):
        return 160 + 90 * np.sin(i / 9), 110 + 25 * np.cos(i / 7), 62 + 14 * np.sin(i / 20)

    def before(i):
        return (80 + i, 100, 60) if i < 45 else (240 - 1.2 * i, 120, 66)

    return {
        "two that swing": Scene(
            [Actor(head, swinging), Actor(head[:, ::-1], lambda i: (60 + 0.8 * i, 195, 44))], FRAMES, lambda i: wood
        ),
        "in, through and out": Scene([Actor(head, lambda i: (-60 + 5.0 * i, 120.0, 66.0))], FRAMES, lambda i: moon),
        "behind a pole": Scene([Actor(head, swinging)], FRAMES, lambda i: wood, lambda i: [(175, 0, 205, 240)]),
        "a cut": Scene([Actor(head, before)], FRAMES, lambda i: wood if i < 45 else 255 - moon),
    }


def shown_of(scene: Scene, blind=lambda i: False, kind=Sometimes) -> Showing:
    """Return the output of a scene if pictures take no time and the clock follows the scene."""
    clock = Clock()
    run = LiveRun(Anonymizer(None, AnonymizeOptions(method="none")), LiveOptions(True, 1.0), "scene",
                  kind(blind), clock)  # fmt: skip
    sink = Showing(clock)
    tracks, outlet = run.begin(*SIZE, sink)
    for i in range(0, FRAMES, STEP):
        clock.now += STEP / RATE
        run.step(run.finder.find(frame_of(scene, i, clock.now)), tracks, outlet)
        outlet.write_due()
    outlet.finish()
    return sink


def untouched(scene: Scene, sink: Showing) -> list[tuple[int, list[float]]]:
    left = []
    for i, image, changed in sink.frames:
        assert np.array_equal(image[~changed], scene.image(i)[~changed])
        left += [(i, box.round().tolist()) for box, mask in scene.visible(i) if changed[mask].mean() < 0.75]
    return left


MISSES = {
    "nothing": lambda i: False,
    "a fifth at random": lambda i: bool((np.random.default_rng(5).random(1000) < 0.2)[i]),
    "half a second": lambda i: 12 <= i < 16,
    "the first sight": lambda i: i < 2,
}


@pytest.mark.parametrize(
    ("name", "missed"),
    [(name, missed) for name in ("two that swing", "in, through and out", "a cut") for missed in MISSES]
    + [("behind a pole", "nothing")],
)
@pytest.mark.parametrize("kind", [Sometimes, Glancing])
def test_no_visible_face_is_shown_untouched(scenes, name, missed, kind):
    sink = shown_of(scenes[name], MISSES[missed], kind)
    assert [i for i, *_ in sink.frames] == list(range(0, FRAMES, STEP))
    assert sum(len(scenes[name].visible(i)) for i, *_ in sink.frames) > 12
    assert untouched(scenes[name], sink) == []
    assert np.mean([changed.mean() for *_, changed in sink.frames]) < 0.3  # most of the picture is unchanged


class Played:
    """A source that plays a scene at its own speed, or without pauses, and may fail at its end."""

    def __init__(self, scene: Scene, rate: float = RATE, lost: str = "") -> None:
        self._scene, self._rate, self._lost = scene, rate, lost

    def frames(self):
        for i in range(self._scene.frames):
            time.sleep(1 / self._rate)
            yield frame_of(self._scene, i, time.monotonic())
        if self._lost:
            raise VideoError("scene", self._lost)


def new_run(options: LiveOptions, method: str = "none", **more) -> LiveRun:
    anonymizer = Anonymizer(None, AnonymizeOptions(method="none")) if method == "none" else more.pop("anonymizer")
    return LiveRun(anonymizer, options, "scene", **more)


def test_pictures_are_dropped_and_never_shown_late(scenes):
    class Slow(Sometimes):
        def detect(self, image_rgb):
            time.sleep(0.05)
            return super().detect(image_rgb)

    run, sink, scene = new_run(LiveOptions(True, 0.5), detector=Slow()), Showing(), scenes["two that swing"]
    assert run.show(Played(scene, 100.0), *SIZE, sink) == ""
    told = run.record()
    assert told["frames"]["received"] == pytest.approx(FRAMES, abs=8)
    assert told["frames"]["shown"] == len(sink.frames) < FRAMES
    assert told["frames"]["dropped"] == told["frames"]["received"] - len(sink.frames) > 0
    assert max(sink.ages) < 0.6  # a thread may be delayed between reading the clock and writing
    assert told["delay_s"]["p50"] <= told["delay_s"]["p95"] <= told["delay_s"]["p100"]
    assert untouched(scene, sink) == []


def test_a_face_for_which_there_is_no_time_is_obscured(scenes, bundle):
    class Hurried(LiveOptions):
        drawing_s = 0.0

    anonymizer = Anonymizer(bundle, AnonymizeOptions(seed=1))
    run, sink, scene = LiveRun(anonymizer, Hurried(True, 5.0), "scene"), Showing(), scenes["two that swing"]
    tracks, outlet = run.begin(*SIZE, sink)
    for i in range(0, 12, STEP):
        run.step(run.finder.find(frame_of(scene, i, time.monotonic())), tracks, outlet)
    outlet.finish()
    told = run.record()
    assert told["faces"]["anonymised"] == 0 < told["faces"]["obscured"]
    assert told["obscured_for"] == {"there was no time to judge it": told["faces"]["obscured"]}
    assert told["frames"]["obscured"] == len(sink.frames)
    assert untouched(scene, sink) == []


def test_people_keep_their_new_faces(scenes, bundle):
    """A person keeps the new face across a cut."""
    anonymizer = Anonymizer(bundle, AnonymizeOptions(seed=1))
    run, sink, scene = LiveRun(anonymizer, LiveOptions(True, 60.0), "scene"), Showing(), scenes["a cut"]
    tracks, outlet = run.begin(*SIZE, sink)
    for i in range(30, 62, 4):
        run.step(run.finder.find(frame_of(scene, i, time.monotonic())), tracks, outlet)
    outlet.finish()
    told = run.record()
    assert told["tracks"] >= 2  # one track before the cut, one after it
    assert told["people"] == 1
    assert told["faces"]["anonymised"] >= 5
    assert untouched(scene, sink) == []


@pytest.mark.parametrize("lost", ["", "it sent nothing for 10 seconds"])
def test_a_run_ends_with_its_source(scenes, lost):
    run, sink = new_run(LiveOptions(True, 1.0), detector=Sometimes()), Showing()
    assert run.show(Played(scenes["in, through and out"], 200.0, lost), *SIZE, sink) == lost
    assert sink.frames


def test_a_run_can_be_stopped(scenes):
    run, sink, stop = new_run(LiveOptions(True, 1.0), detector=Sometimes()), Showing(), threading.Event()
    counts = []

    def told(so_far):
        counts.append(so_far.shown)
        if so_far.shown >= 3:
            stop.set()

    assert run.show(Played(scenes["two that swing"], 25.0), *SIZE, sink, stop, told) == ""
    assert 3 <= len(sink.frames) < 60
    assert counts == sorted(counts)


def test_an_error_of_the_output_ends_the_run(scenes):
    run = new_run(LiveOptions(True, 1.0), detector=Sometimes())
    with pytest.raises(OutputError, match="the receiver is gone"):
        run.show(Played(scenes["two that swing"], 25.0), *SIZE, Showing(failing=True))


def test_an_error_of_the_detector_ends_the_run(scenes):
    class Broken(Sometimes):
        def detect(self, image_rgb):
            if image_rgb.shape[:2] == SIZE[::-1]:
                raise RuntimeError("no memory")
            return Faces.empty()

    with pytest.raises(RuntimeError, match="no memory"):
        new_run(LiveOptions(True, 1.0), detector=Broken()).show(Played(scenes["a cut"]), *SIZE, Showing())


@pytest.mark.parametrize("delay", [0.1, 61.0, float("nan")])
def test_the_delay_has_bounds(delay):
    with pytest.raises(OptionError, match="max_delay"):
        LiveOptions(True, delay)


def clip_of(scene: Scene, path: Path, frames: int = 40) -> Path:
    av = pytest.importorskip("av", reason="videos are read by PyAV: pip install 'styleid[video]'")
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"crf": "12", "preset": "ultrafast"})
        (stream.width, stream.height), stream.pix_fmt = SIZE, "yuv420p"
        for i in range(frames):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(scene.image(i), "rgb24")))
        out.mux(stream.encode(None))
    return path


def test_a_file_played_live_is_anonymised_and_journalled(scenes, tmp_path):
    import json

    import av

    source = clip_of(scenes["two that swing"], tmp_path / "in.mp4")
    anonymizer = Anonymizer(None, AnonymizeOptions(method="none"))
    summary = process_live(source, tmp_path / "out.mp4", anonymizer, LiveOptions(True, 1.0))
    record = json.loads((tmp_path / "styleid-journal.jsonl").read_text(encoding="utf-8"))
    assert (summary.exit_status, summary.failure) == (0, "")
    assert summary.to_json()["frames"] == record["frames"]
    assert record["frames"]["shown"] >= 1
    assert record["video"] == {"codec": "h264", "pixel_format": "yuv420p", "size": list(SIZE)}
    assert record["notes"] == ["sound was left out"]
    assert record["settings"]["max_delay"] == 1.0
    with av.open(str(tmp_path / "out.mp4")) as made:
        shown = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in made.decode(video=0)]
    assert len(shown) == record["frames"]["shown"]
    for shown_s, image in shown:
        i = round(shown_s * RATE)
        for _, mask in scenes["two that swing"].visible(i):
            assert np.abs(image[mask].astype(int) - scenes["two that swing"].image(i)[mask]).mean() > 12


def test_a_source_that_cannot_be_opened_is_named(tmp_path):
    summary = process_live(tmp_path / "none.mp4", tmp_path / "out.mp4", Anonymizer(None, AnonymizeOptions(
        method="none")), LiveOptions(True, 1.0))  # fmt: skip
    assert (summary.exit_status, summary.failure) == (3, "it does not exist")
    assert not (tmp_path / "out.mp4").exists()


def test_the_input_is_never_overwritten(scenes, tmp_path):
    source = clip_of(scenes["a cut"], tmp_path / "in.mp4", 3)
    with pytest.raises(OptionError, match="would be overwritten"):
        process_live(source, source, Anonymizer(None, AnonymizeOptions(method="none")), LiveOptions(True, 1.0))
