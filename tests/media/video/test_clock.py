"""Joined recordings, segments that start late, and tracks in any order are written completely."""

import itertools
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from styleid.errors import VideoError
from styleid.media.video.clock import Clock
from styleid.media.video.reader import VideoClip
from styleid.media.video.side_tracks import TrackOptions
from styleid.media.video.writer import EncodeOptions
from tests.media.video.test_video import FRAMES, HEIGHT, TICKS, WIDTH, frames_of, make_video, picture, rewrite

pytestmark = pytest.mark.versions

av = pytest.importorskip("av", reason="videos are read with PyAV: pip install 'styleid[video]'")

LOSSLESS = EncodeOptions("ffv1")
RATE = 10


def record(path: Path, codec="libx264", *, first=0, frames=12, sound=0.0, start=0, container=None) -> Path:
    """Write a recording at ten frames a second. first: the picture it begins with. start: its first time stamp, s."""
    with av.open(str(path), "w", format=container) as out:
        video = out.add_stream(codec, rate=RATE, options={} if codec == "wmv2" else {"bf": "2"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = out.add_stream("mp2", rate=48_000, layout="mono") if sound else None
        packets = []
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(first + i), "rgb24")
            frame.pts, frame.time_base = i + start * RATE, Fraction(1, RATE)
            packets += video.encode(frame)
        out.mux([*packets, *video.encode(None)])
        if audio is not None:
            wave = np.full((1, round(48_000 * sound)), (1 + first) * 1000, np.int16)
            frame = av.AudioFrame.from_ndarray(wave, "s16p", "mono")
            frame.sample_rate, frame.time_base, frame.pts = 48_000, Fraction(1, 48_000), 48_000 * start
            out.mux([*audio.encode(frame), *audio.encode(None)])
    return path


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


@pytest.mark.parametrize(
    ("suffix", "codec", "starts"),
    [
        ("ts", "libx264", (0, 0)),
        ("ts", "mpeg2video", (0, 0)),
        ("ts", "libx264", (3600, 0)),  # FFmpeg takes it for a clock that went round: a leap ahead of a day
        ("ts", "libx264", (0, 3600)),
        ("ts", "libx264", (0, 0, 0)),
        ("mpg", "mpeg2video", (0, 0)),
        ("mkv", "libx264", (0, 0)),
        ("avi", "mpeg4", (0, 0)),
    ],
)
def test_joined_recordings_go_on(tmp_path, suffix, codec, starts):
    parts = [record(tmp_path / f"{i}.{suffix}", codec, first=12 * i, start=s) for i, s in enumerate(starts)]
    source, out = joined(tmp_path / f"in.{suffix}", *parts), tmp_path / "out.mkv"
    rewrite(source, out, encode=LOSSLESS)
    frames = frames_of(out)
    assert [f.time_s for f in frames] == pytest.approx([i / RATE for i in range(12 * len(starts))], abs=1e-3)
    assert frames[-1].time_s + frames[-1].duration_s == pytest.approx(1.2 * len(starts), abs=1e-3)
    for i in (3, 12 + 3):
        assert np.abs(frames[i].image_rgb.astype(int) - picture(i)).mean() < 12
    clip = VideoClip(source)
    list(clip.frames())
    assert len(clip.info.notes) == (0 if suffix == "avi" else 1)  # FFmpeg joins AVI itself


@pytest.mark.parametrize(
    ("suffix", "codec"), [("flv", "libx264"), ("wmv", "wmv2"), ("ivf", "libvpx"), ("mp4", "libx264")]
)
def test_joined_recordings_of_which_one_is_read_are_refused(tmp_path, suffix, codec):
    parts = [record(tmp_path / f"{i}.{suffix}", codec, first=12 * i) for i in range(2)]
    assert len(frames_of(parts[0])) == 12
    with pytest.raises(VideoError, match="several recordings were joined"):
        VideoClip(joined(tmp_path / f"in.{suffix}", *parts))


@pytest.mark.parametrize("audio", ["keep", "pitch"])
@pytest.mark.parametrize("length", [1.2, 1.5, 1.0])
@pytest.mark.parametrize("starts", [(0, 0), (0, 3600)])
def test_kept_sound_follows_its_recording(tmp_path, audio, length, starts):
    parts = [record(tmp_path / f"{i}.ts", first=12 * i, sound=length, start=s) for i, s in enumerate(starts)]
    source, out = joined(tmp_path / "in.ts", *parts), tmp_path / "out.mp4"
    rewrite(source, out, side=TrackOptions(audio=audio))
    with av.open(str(out)) as container:
        assert container.duration / 1e6 == pytest.approx(1.2 + max(1.2, length), abs=0.15)
        times = [float(p.pts * p.time_base) for p in container.demux(audio=0) if p.size]
    assert all(b > a for a, b in itertools.pairwise(times))
    assert times[-1] == pytest.approx(1.2 + length, abs=0.2)


def test_a_clock_counts_only_real_leaps():
    def run(stamps, jumps=False):
        clock = Clock(Fraction(1, 1000), Fraction(1, 10), Fraction(1, 2), jumps=jumps)
        return [clock.place(s, 0) for s in stamps], clock.shifts

    assert run([500, 600, 700]) == ([500, 600, 700], [0])
    assert run([None, None, None]) == ([500, 600, 700], [0])
    assert run([0, 5000, 60_000]) == ([0, 5000, 60_000], [0])
    assert run([0, 100, 60_000], jumps=True) == ([0, 100, 200], [0, -59_800])
    assert run([0, 100, 90, 200]) == ([0, 100, 101, 200], [0])  # a stamp out of order
    assert run([0, 100, 200, 0, 100]) == ([0, 100, 200, 300, 400], [0, 300])
    assert run([0, 100, 0, None, 200]) == ([0, 100, 200, 300, 400], [0, 200])


@pytest.mark.parametrize("name", ["in.mkv", "in.mp4", "in.mov", "in.ts", "in.nut", "in.flv", "in.webm"])
@pytest.mark.parametrize("start", [2, 5000])
def test_segments_that_start_late_are_whole(tmp_path, name, start):
    codec = "libvpx" if name.endswith("webm") else "libx264"
    source, out = record(tmp_path / name, codec, start=start), tmp_path / "out.mkv"
    rewrite(source, out, encode=LOSSLESS)
    frames = frames_of(out)
    assert len(frames) == 12
    assert [f.time_s for f in frames] == pytest.approx([i / RATE for i in range(12)], abs=2e-3)


def test_fragments_that_start_late_end_with_their_last_picture(tmp_path):
    """Their track's duration counts from zero, not from where they start."""
    source, out = tmp_path / "in.mp4", tmp_path / "out.mkv"
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "use_editlist": "0"}
    with av.open(str(source), "w", container_options=options) as container:
        stream = container.add_stream("libx264", rate=RATE, options={"g": "4", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for i in range(24):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(i), "rgb24")))
        container.mux(stream.encode(None))
    data = source.read_bytes()
    starts = [m.start() - 4 for m in re.finditer(b"moof", data)]
    late = data[: starts[0]] + data[starts[3] :]
    source.write_bytes(late)
    rewrite(source, out, encode=LOSSLESS)
    frames = frames_of(out)
    assert len(frames) == 12
    assert frames[-1].time_s + frames[-1].duration_s == pytest.approx(1.2, abs=2e-3)
    source.write_bytes(late[: len(late) - 2000])
    with pytest.raises(VideoError, match=r"cut short|damaged"):
        list(VideoClip(source).frames())


@pytest.mark.parametrize("name", ["in.mkv", "in.webm"])
def test_late_segments_that_are_cut_short_are_refused(tmp_path, name):
    source = record(tmp_path / name, "libvpx" if name.endswith("webm") else "libx264", start=30, frames=24)
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 9 // 10])
    with pytest.raises(VideoError, match="cut short"):
        list(VideoClip(source).frames())


def test_pictures_of_avi_keep_their_order(tmp_path):
    """AVI says when a picture is decoded, not when it is shown."""
    source, out = record(tmp_path / "in.avi", frames=24), tmp_path / "out.mkv"
    rewrite(source, out, encode=LOSSLESS)
    frames = frames_of(out)
    steps = np.diff([f.time_s for f in frames])
    assert steps == pytest.approx(np.full(23, 1 / RATE), abs=2e-3)
    for i in (4, 5, 6, 17):
        assert np.abs(frames[i].image_rgb.astype(int) - picture(i)).mean() < 12


def test_raw_streams_without_any_time_get_one(tmp_path):
    source, out = record(tmp_path / "in.h264", container="h264"), tmp_path / "out.mkv"
    rewrite(source, out, encode=LOSSLESS)
    assert np.diff([f.time_s for f in frames_of(out)]) == pytest.approx(np.full(11, 0.1), abs=2e-3)


def with_edit(source: Path, out: Path, begin: int, ticks: int) -> Path:
    """Have an MP4 show only a part: from a time of its track, in its ticks, for so many of the movie's."""
    data = bytearray(source.read_bytes())
    at = data.index(b"elst") + 12
    data[at : at + 8] = ticks.to_bytes(4, "big") + begin.to_bytes(4, "big")
    out.write_bytes(data)
    return out


def test_pictures_that_an_edit_list_leaves_out_stay_away(tmp_path):
    plain, out = tmp_path / "plain.mp4", tmp_path / "out.mkv"
    make_video(plain)
    with av.open(str(plain)) as container:
        lead = next(iter(container.demux(video=0))).pts
        base = container.streams.video[0].time_base
    begin = round(Fraction(10, 25) / base) + round(Fraction(2, 25) / base) * bool(lead == 0)
    source = with_edit(plain, tmp_path / "in.mp4", begin, 320)
    rewrite(source, out, encode=LOSSLESS)
    frames = frames_of(out)
    assert len(frames) == 8
    assert frames[0].time_s == 0
    unlike = [[np.abs(f.image_rgb.astype(int) - picture(i)).mean() for i in range(FRAMES)] for f in frames]
    shown = np.argmin(unlike, 1).tolist()
    assert shown == list(range(shown[0], shown[0] + 8))
    assert shown[0] >= 8


def two_tracks(path: Path, *, first: tuple[str, int, bool], second: tuple[str, int, bool]) -> Path:
    """Write two picture tracks: codec, frames and whether each is default; the second is half as large."""
    with av.open(str(path), "w") as out:
        streams = []
        for k, (codec, _, default) in enumerate((first, second)):
            stream = out.add_stream(codec, rate=RATE)
            stream.width, stream.height = (WIDTH, HEIGHT) if k == 0 else (WIDTH // 2, HEIGHT // 2)
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            if codec == "mjpeg":
                stream.codec_context.color_range = 2
            stream.disposition = av.stream.Disposition.default if default else av.stream.Disposition(0)
            streams.append(stream)
        for k, (stream, (_, frames, _)) in enumerate(zip(streams, (first, second), strict=True)):
            packets = []
            for i in range(frames):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture(i)[:: k + 1, :: k + 1]), "rgb24")
                frame = frame.reformat(format=stream.pix_fmt)
                frame.pts, frame.time_base = i, Fraction(1, RATE)
                packets += stream.encode(frame)
            out.mux([*packets, *stream.encode(None)])
    return path


STILL, MOVES = ("mjpeg", 1), ("libx264", 12)


@pytest.mark.parametrize(
    ("first", "second", "chosen"),
    [
        ((*STILL, False), (*MOVES, True), 1),
        ((*MOVES, True), (*STILL, False), 0),
        ((*STILL, True), (*MOVES, True), 1),
        ((*STILL, False), (*MOVES, False), 1),
        ((*MOVES, False), (*MOVES, True), 1),
        ((*MOVES, True), (*MOVES, True), 0),
        ((*MOVES, False), (*MOVES, False), 0),
    ],
)
def test_the_default_track_is_the_picture(tmp_path, first, second, chosen):
    source, out = two_tracks(tmp_path / "in.mkv", first=first, second=second), tmp_path / "out.mkv"
    sink = rewrite(source, out, encode=LOSSLESS)
    frames = frames_of(out)
    assert len(frames) == 12
    assert frames[0].image_rgb.shape[1] == WIDTH // (1 + chosen)
    assert any("further picture track" in note for note in sink.notes)


def test_an_attached_picture_is_never_the_picture(tmp_path):
    source = tmp_path / "in.mp4"
    with av.open(str(source), "w") as out:
        cover = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.codec_context.color_range = 2
        cover.disposition = av.stream.Disposition.attached_pic
        video = out.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture(0)[:64, :64]), "rgb24")
        out.mux([*cover.encode(frame.reformat(format="yuvj420p")), *cover.encode(None)])
        for i in range(5):
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture(i), "rgb24")))
        out.mux(video.encode(None))
    assert [f.image_rgb.shape for f in frames_of(source)] == [(HEIGHT, WIDTH, 3)] * 5
    rewrite(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert len(container.streams) == 1


def test_times_before_zero_are_kept_in_step(tmp_path):
    source, out = tmp_path / "in.mkv", tmp_path / "out.mp4"
    make_video(source, start=-TICKS // 4, sound=True)
    rewrite(source, out)
    assert [f.time_s for f in frames_of(out)][:3] == pytest.approx([0, 0.04, 0.08], abs=2e-3)
