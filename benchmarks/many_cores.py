"""Measure how photos and videos a second grow with the number of cores and workers.

    python benchmarks/many_cores.py                      both parts, about 25 minutes
    python benchmarks/many_cores.py --only stand-in --most 8

Part 1, `cores`: real runs, pinned to one core and to two.

Part 2, `stand-in`: 1 to 64 workers (processes of this machine, and Ray actors), in which networks are replaced by a
sleep of a known time: one second for a photo, a tenth of a second to find and a tenth to draw the face of a frame. So
64 workers can be tried on a machine with two cores, and what limits them is shown: reading, writing, handing over, and
what only one process does. Their start does not count. Writes `results/many_cores.json` and the picture of
`docs/scale.md`. Needs the extras `ray` and `video`, scikit-image and matplotlib, and for 64 Ray actors about 10 GB.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import ray
from matplotlib.axes import Axes
from plots import save_plots
from processes import finished
from video_clips import make

from styleid import AnonymizeOptions, Anonymizer
from styleid.engine import workers
from styleid.engine.local import RunOptions, process_files
from styleid.faces.detect import FaceDetector
from styleid.types import Faces
from styleid.video import cluster
from styleid.video.options import EngineOptions, VideoOptions
from styleid.video.run import process_video
from styleid.video.segment_work import Segment

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "many_cores.json"
PICTURE = HERE.parent / "docs" / "scale-workers.svg"
COUNTS = (1, 2, 4, 8, 16, 32, 64)
_PHOTO_S, _STAGE_S = 1.0, 0.1
"""Time that networks are taken to need for a photo, and for finding or drawing the face of a frame, seconds."""
_SETTLED_S, _WATCHED_S = 3.0, 12.0
"""How long after all workers have begun photos are counted, and for how long, seconds. Until then, those that were done
out of order wait for the others."""
_LEAST_CLIP_S, _CLIP_S_EACH = 3.0, 1.0
"""Least length of the clip, and length for each worker, seconds."""
_PINNED_PHOTOS, _FEW = 60, 2


class Sleeper(FaceDetector):
    """A detector that sleeps, one image at a time, and finds a face in the middle.

    cost_s: how long. seen: folder in which each process leaves its number when it is first used.
    """

    def __init__(self, cost_s: float, seen: str) -> None:
        super().__init__()
        self._cost_s, self._seen, self._turn = cost_s, Path(seen), threading.Lock()

    def with_options(self, options: object) -> Sleeper:
        return self

    def detect(self, image_rgb: np.ndarray, regions_xyxy: np.ndarray | None = None) -> Faces:
        (self._seen / str(os.getpid())).touch()
        with self._turn:
            time.sleep(self._cost_s)
        height, width = image_rgb.shape[:2]
        box = np.float32([[0.4 * width, 0.3 * height, 0.6 * width, 0.7 * height]])
        return Faces(box, np.ones(1, np.float32), np.full((1, 5, 2), np.nan, np.float32))

    def glance(self, image_rgb: np.ndarray) -> Faces:
        return self.detect(image_rgb)

    def look_closer(self, image_rgb: np.ndarray, glanced: Faces, near: Faces | None = None) -> Faces:
        return glanced


class SleepyDrawer(Anonymizer):
    """An anonymiser that sleeps before it obscures a face of a video's frame."""

    def obscure(self, *given: object, **named: object) -> None:
        time.sleep(_STAGE_S)
        super().obscure(*given, **named)


@dataclass(frozen=True)
class StandIn(workers.Recipe):
    """A recipe of an anonymiser that sleeps. seen: see `Sleeper`. draws: whether it is for videos."""

    seen: str = ""
    draws: bool = False

    def make(self) -> Anonymizer:
        detector = Sleeper(_STAGE_S if self.draws else _PHOTO_S, self.seen)
        return (SleepyDrawer if self.draws else Anonymizer)(None, self.options, detector=detector)


class EnoughError(Exception):
    """Photos were counted for long enough."""


def photos_a_second(engine: str, count: int, photos: Path, folder: Path) -> dict[str, float]:
    """Return the photos that a number of workers do in a second, once all have begun."""
    seen, options = folder / "seen", AnonymizeOptions(method="none", seed=0)
    seen.mkdir()
    recipe = StandIn(None, options, "cpu", str(seen))
    workers.Recipe.of = staticmethod(lambda _: recipe)
    marks: list[tuple[int, float, float]] = []
    begun_at = float("inf")

    def watch(done: int, total: int, name: str) -> None:
        nonlocal begun_at
        now = time.perf_counter()
        if begun_at == float("inf") and len(list(seen.iterdir())) >= count:
            begun_at = now + _SETTLED_S
        if now >= begun_at:
            marks.append((done, now, time.process_time()))
            if now - begun_at > _WATCHED_S:
                raise EnoughError

    with contextlib.suppress(EnoughError):
        process_files([photos], recipe.make(), RunOptions(folder / "out", engine=engine, workers=count), watch=watch)
    (first, begun, cpu), (last, ended, cpu_end) = marks[0], marks[-1]
    return {
        "a second": round((last - first) / (ended - begun), 2),
        "CPU ms of the main process each": round(1000 * (cpu_end - cpu) / max(1, last - first), 2),
    }


class Ready(cluster.RayEngine):
    """An engine that waits for its actors and notes when they are ready."""

    at = 0.0

    def _start(self) -> None:
        if not self._actors:
            super()._start()
            nothing = Segment(0, [], [])
            ray.get([actor.run.remote((None, lambda *_: []), nothing) for actor in self._actors])
            Ready.at = time.perf_counter()


def frames_a_second(count: int, clip: Path, folder: Path) -> dict[str, float]:
    """Return the frames of a clip that a number of Ray actors do in a second, once all are ready."""
    seen, options = folder / "seen", AnonymizeOptions(method="none", seed=0)
    seen.mkdir()
    recipe = StandIn(None, options, "cpu", str(seen), draws=True)
    cluster.Recipe, cluster.RayEngine = (lambda *_: recipe), Ready
    cpu = time.process_time()
    summary = process_video(clip, Anonymizer(None, options), VideoOptions(folder / "out.mp4"),
                            where=EngineOptions("ray", count))  # fmt: skip
    seconds, cpu = time.perf_counter() - Ready.at, time.process_time() - cpu
    frames = summary.record["video"]["frames"]
    return {
        "frames": frames,
        "a second": round(frames / seconds, 2),
        "CPU ms of the main process each": round(1000 * cpu / frames, 2),
    }


def stand_ins(counts: Sequence[int], work: Path) -> dict[str, dict[int, dict[str, float]]]:
    """Return the figures of all engines by the number of workers."""
    photos = work / "photos"
    _write_photos(photos, 100 * max(counts))
    made: dict[str, dict[int, dict[str, float]]] = {"photos, processes": {}, "photos, Ray": {}, "video, Ray": {}}
    for count in counts:
        ray.init(num_cpus=count, include_dashboard=False, log_to_driver=False, logging_level="error")
        for name, figures in made.items():
            with tempfile.TemporaryDirectory(dir=work) as folder:
                if name == "video, Ray":
                    clip = make("example", work, max(_LEAST_CLIP_S, _CLIP_S_EACH * count))
                    figures[count] = frames_a_second(count, clip, Path(folder))
                else:
                    engine = "ray" if "Ray" in name else "local"
                    figures[count] = photos_a_second(engine, count, photos, Path(folder))
            print(f"{name}, {count}: {figures[count]}", file=sys.stderr)
        ray.shutdown()
    return made


def _write_photos(folder: Path, count: int) -> None:
    """Write copies of a photo of 160 x 90 px, a thousand in each folder."""
    import skimage.data
    from PIL import Image

    Image.fromarray(skimage.data.coffee()).resize((160, 90)).save(folder.with_suffix(".jpg"))
    content = folder.with_suffix(".jpg").read_bytes()
    for number in range(count):
        path = folder / f"{number // 1000:03d}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def pinned(work: Path, repeats: int) -> dict[str, dict[int, list[float]]]:
    """Return photos and frames a second of real runs on one core and on two, start-up left out."""
    from PIL import Image

    from styleid.media.video.reader import VideoClip

    clips = [make("example", work, seconds) for seconds in (0.4, 10.0)]
    folders = [work / "few", work / "many"]
    for folder, count in zip(folders, (_FEW, _PINNED_PHOTOS), strict=True):
        folder.mkdir()
        for frame in VideoClip(clips[1]).frames():
            if frame.index < count:
                Image.fromarray(frame.image_rgb).save(folder / f"{frame.index:03d}.jpg", quality=95)
    cores = sorted(os.sched_getaffinity(0))[:2]
    made: dict[str, dict[int, list[float]]] = {"photos": {}, "video": {}}
    for _ in range(repeats):
        for count in range(1, len(cores) + 1):
            for name, sources, items in (
                ("photos", folders, _PINNED_PHOTOS - _FEW),
                ("video", clips, 240),
            ):
                seconds = [_pinned_run(name, source, cores[:count], work) for source in sources]
                made[name].setdefault(count, []).append(round(items / (seconds[1] - seconds[0]), 3))
                print(f"{name}, {count} cores: {made[name][count]}", file=sys.stderr)
    return made


def _pinned_run(name: str, source: Path, cores: Sequence[int], work: Path) -> float:
    """Return the seconds of a run on these cores."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        command = "anonymize" if name == "photos" else "video"
        out = folder if name == "photos" else f"{folder}/out.mp4"
        pin = ["taskset", "-c", ",".join(map(str, cores))]
        given = [sys.executable, "-m", "styleid", command, str(source), "--out", out, "--seed", "5", "--quiet"]
        done = finished([*pin, *given])
        if done.status not in (0, 3):
            raise SystemExit(done.stderr)
        return done.seconds


def draw(made: dict[str, dict[int, dict[str, float]]], path: Path) -> None:
    """Plot photos and frames a second against the number of workers."""

    def plot(what: str, cost_s: float, *names: str) -> Callable[[Axes], None]:
        def fill(axes: Axes) -> None:
            counts = sorted(made[names[0]])
            axes.plot(counts, [count / cost_s for count in counts], "--", color="#8a8a8a", label="proportional")
            for name, colour in zip(names, ("#2a7f62", "#b8562f"), strict=False):
                axes.plot(counts, [made[name][n]["a second"] for n in counts], "o-", color=colour, markersize=4,
                          label=name.partition(", ")[2])  # fmt: skip
            axes.set_xscale("log", base=2)
            axes.set_yscale("log", base=2)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.set_title(f"{what} a second", loc="left", fontsize=9, fontweight="bold")
            axes.set_xlabel("workers")
            axes.legend()

        return fill

    save_plots(
        path,
        (7.2, 3.0),
        (1, 2),
        plot("photos", _PHOTO_S, "photos, processes", "photos, Ray"),
        plot("frames", 2 * _STAGE_S, "video, Ray"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("cores", "stand-in"), help="which part (default: both)")
    parser.add_argument("--most", type=int, default=64, help="the largest number of workers (default: 64)")
    parser.add_argument("--repeats", type=int, default=3, help="how often to run on one core and on two (default: 3)")
    parser.add_argument("--out", type=Path, default=RESULT, help="the JSON file to write")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="the SVG to write")
    given = parser.parse_args()
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  (Ray's own spelling)
    known = json.loads(given.out.read_text()) if given.out.is_file() else {}
    known |= {"system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
              "load_average": round(os.getloadavg()[0], 2)}  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="styleid-bench-") as name:
        if given.only != "stand-in":
            known["a second, by cores"] = pinned(Path(name), given.repeats)
        if given.only != "cores":
            made = stand_ins([count for count in COUNTS if count <= given.most], Path(name))
            known["stand-in, by workers"] = made
            draw(made, given.picture)
    given.out.write_text(json.dumps(known, indent=1) + "\n")
    print(json.dumps(known, indent=1))


if __name__ == "__main__":
    main()
