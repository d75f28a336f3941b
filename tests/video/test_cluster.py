"""Ray actors that work on segments of a video write the bytes that this process writes, and may die."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from styleid import AnonymizeOptions, Anonymizer
from styleid.cli import main
from styleid.engine.journal import NAME
from styleid.errors import OptionError
from styleid.media.video.writer import EncodeOptions
from styleid.video.options import EngineOptions, VideoOptions
from styleid.video.run import process_video
from tests.ray_cluster import actors, two_cores
from tests.video.scenes import HEAD, RATE, Actor, Scene, background

av = pytest.importorskip("av", reason="videos are read with PyAV: pip install 'styleid[video]'")
pytest.importorskip("ray", reason="Ray is not installed: pip install 'styleid[ray]'")
FRAMES, CUT = 26, 14
ON_RAY = EngineOptions("ray", 2)
pytestmark = pytest.mark.filterwarnings("default")  # Ray leaves files and sockets to the garbage collector


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One small cluster for all tests, since to start one takes seconds."""
    with two_cores():
        yield


@pytest.fixture(scope="module")
def source(astronaut, tmp_path_factory) -> Path:
    """A clip in H.264 with open groups of pictures, of one person on both sides of a cut, with a gap at its end."""
    from skimage import data

    x0, y0, x1, y1 = HEAD
    wood, moon = background(data.coffee()), background(np.stack([255 - data.moon()] * 3, -1))

    def path(i: int) -> tuple[float, float, float] | None:
        return (110 + 3 * i, 110, 84) if i < CUT else (210 - 2.5 * (i - CUT), 120, 78) if i < FRAMES - 4 else None

    scene = Scene([Actor(astronaut[y0:y1, x0:x1], path)], FRAMES, lambda i: wood if i < CUT else moon)
    made = tmp_path_factory.mktemp("cluster") / "in.mp4"
    with av.open(str(made), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"x264-params": "open-gop=1:keyint=7:bframes=3"})
        (stream.width, stream.height), stream.pix_fmt = scene.size, "yuv420p"
        for i in range(scene.frames):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(scene.image(i), "rgb24")))
        out.mux(stream.encode(None))
    return made


@pytest.fixture(scope="module")
def usual(bundle) -> Anonymizer:
    return Anonymizer(bundle, AnonymizeOptions(seed=4, tries=2))


@pytest.fixture(scope="module")
def once(source, usual, tmp_path_factory) -> Path:
    """What this process writes: the video, and beside it the journal and the review."""
    out = tmp_path_factory.mktemp("once") / "out.mp4"
    process_video(source, usual, VideoOptions(out, review=True))
    return out


def told(out: Path) -> dict:
    (line,) = (out.parent / NAME).read_text().splitlines()
    return {name: value for name, value in json.loads(line).items() if name != "seconds"}


def contents(out: Path) -> dict[str, bytes]:
    files = [out, *(out.parent / f"{out.name}.review").iterdir()]
    return {path.name: path.read_bytes() for path in files if path.suffix != ".html"}


def test_actors_write_the_same(source, usual, once, tmp_path):
    out = tmp_path / "out.mp4"
    summary = process_video(source, usual, VideoOptions(out, review=True), where=ON_RAY)
    assert [track["person"] for track in summary.record["tracks"]] == [1, 1]
    assert summary.record["video"]["cuts"] == 1
    assert sum(track["anonymised"] for track in summary.record["tracks"]) > FRAMES // 2
    assert contents(out) == contents(once)
    assert told(out) == told(once)
    assert summary.stage_seconds["faces: generate"] > 0


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="the actors' processes are found through /proc")
@pytest.mark.parametrize("stage", ["finding faces", "rendering"])
def test_an_actor_that_is_killed_changes_nothing(source, usual, once, tmp_path, stage):
    killed: list[int] = []

    def kill(now: str, done: int, total: int) -> None:
        if (now, done) == (stage, 2):
            killed.append(next(actors("_SegmentActor")))
            os.kill(killed[0], signal.SIGKILL)

    out = tmp_path / "out.mp4"
    process_video(source, usual, VideoOptions(out, review=True), watch=kill, where=ON_RAY)
    assert len(killed) == 1
    assert contents(out) == contents(once)
    assert told(out) == told(once)


def test_lossless_output_is_the_same_when_faces_are_only_obscured(source, tmp_path):
    anonymizer = Anonymizer(None, AnonymizeOptions(method="none", obscure="pixelate"))
    made = []
    for name, where in (("here", None), ("there", EngineOptions("ray", 9))):  # more than there are cores
        options = VideoOptions(tmp_path / name / "out.mkv")
        options.out.parent.mkdir()
        process_video(source, anonymizer, options, EncodeOptions("ffv1"), where=where)
        made.append(options.out.read_bytes())
    assert made[0] == made[1]


def test_corrected_tracks(source, usual, once, tmp_path):
    """Nothing is detected where the tracks are given, so the actors only measure and draw."""
    edited = once.parent / f"{once.name}.review" / "tracks.json"
    options = VideoOptions(tmp_path / "out.mp4", tracks=edited)
    process_video(source, usual, options, where=ON_RAY)
    assert options.out.read_bytes() == once.read_bytes()


def test_frames_of_a_folder(source, tmp_path):
    folder, anonymizer, made = tmp_path / "frames", Anonymizer(None, AnonymizeOptions(method="none")), []
    folder.mkdir()
    with av.open(str(source)) as container:
        for number, frame in zip(range(12), container.decode(video=0), strict=False):
            Image.fromarray(frame.to_ndarray(format="rgb24")).save(folder / f"{number}.png")
    for name, where in (("here", EngineOptions()), ("there", ON_RAY)):
        process_video(folder, anonymizer, VideoOptions(tmp_path / name, frames="*.png"), where=where)
        made.append([path.read_bytes() for path in sorted((tmp_path / name).iterdir())])
    assert len(made[0]) == 12
    assert made[0] == made[1]


def test_a_file_that_changes_is_withheld(source, usual, tmp_path):
    copy = tmp_path / "in.mp4"
    copy.write_bytes(source.read_bytes())

    def cut(now: str, done: int, total: int) -> None:
        if (now, done) == ("following faces", 1):
            content = copy.read_bytes()
            copy.write_bytes(content[: len(content) // 2])

    options = VideoOptions(tmp_path / "out.mp4")
    summary = process_video(copy, usual, options, watch=cut, where=ON_RAY)
    assert summary.exit_status == 3
    assert summary.failure
    assert not options.out.exists()


def test_the_command_runs_on_ray(source, tmp_path, capsys):
    given = ["video", str(source), "--out", str(tmp_path / "out.mp4"), "--method", "none"]
    assert main([*given, "--engine", "ray", "--workers", "1"]) == 0
    assert "26 frames" in capsys.readouterr().out
    assert main([*given, "--workers", "2"]) == 2
    assert "--engine ray" in capsys.readouterr().err
    assert main([*given, "--engine", "ray", "--live"]) == 2
    assert "processed on one machine" in capsys.readouterr().err


def test_what_another_process_cannot_make_is_refused(source, tmp_path):
    class Own(Anonymizer):
        pass

    with pytest.raises(OptionError, match="engine=local"):
        process_video(source, Own(None, AnonymizeOptions(method="none")), VideoOptions(tmp_path / "o.mp4"),
                      where=ON_RAY)  # fmt: skip
