"""Videos keep their times, colours, depth and orientation, and nothing else of the source."""

import itertools
import resource
import signal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from styleid.errors import OptionError, OutputError, VideoError
from styleid.media.video.clip import Turn
from styleid.media.video.reader import VideoClip, VideoFacts
from styleid.media.video.side_tracks import TrackOptions
from styleid.media.video.writer import EncodeOptions, VideoSink, pixel_format_for

pytestmark = pytest.mark.versions

av = pytest.importorskip("av", reason="videos are read with PyAV: pip install 'styleid[video]'")

WIDTH, HEIGHT, FRAMES, TICKS = 192, 112, 24, 90_000
STEADY = itertools.repeat(3600)
CODECS = {"h264": "libx264", "h265": "libx265", "vp9": "libvpx-vp9", "av1": "libsvtav1", "ffv1": "ffv1"}
QUIET = {"h265": {"x265-params": "log-level=none"}, "av1": {"svtav1-params": "fast-decode=0"}}


def picture(i: int) -> np.ndarray:
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    image = np.stack([x, 255 - x, 2 * y], -1).astype(np.uint8)
    image[30:60, 20 + 3 * i : 60 + 3 * i] = 230, 40, 60
    return image


def make_video(
    path: Path,
    codec="h264",
    pixels="yuv420p",
    *,
    steps=STEADY,
    sound=False,
    matrix=1,
    full=False,
    turn=0,
    tags=False,
    start=0,
) -> list[int]:
    """Write a video with frames `steps` ticks apart, and return their times in ticks."""
    times, span, pts = [], 2 if full else 1, start
    with av.open(str(path), "w") as out:
        video = out.add_stream(CODECS[codec], rate=25, options=QUIET.get(codec, {}))
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, pixels
        context = video.codec_context
        video.time_base = context.time_base = Fraction(1, TICKS)
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = matrix, 1, 1, span
        if turn:
            video.set_display_rotation(turn)
        audio = out.add_stream("aac", rate=48_000, layout="mono") if sound else None
        if tags:
            out.metadata["title"], out.metadata["location"] = "Anna's birthday", "+59.33+018.06/"
            out.set_chapters(
                [{"id": 1, "start": 0, "end": 500, "time_base": Fraction(1, 1000), "metadata": {"title": "Anna"}}]
            )
        lasts = {}
        for i, step in zip(range(FRAMES), steps, strict=False):
            frame = av.VideoFrame.from_ndarray(picture(i), "rgb24").reformat(
                format=pixels, dst_colorspace=1 if matrix == 1 else 5, dst_color_range=span
            )
            frame.pts, frame.time_base = pts, Fraction(1, TICKS)
            times.append(pts)
            lasts[pts] = step
            pts += step
            for packet in video.encode(frame):
                packet.duration = lasts[packet.pts]
                out.mux(packet)
        for packet in video.encode(None):
            packet.duration = lasts[packet.pts]
            out.mux(packet)
        if audio is not None:
            wave = 0.3 * np.sin(2 * np.pi * 300 * np.arange(48_000 * (pts - start) // TICKS) / 48_000)
            frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
            for packet in [*audio.encode(frame), *audio.encode(None)]:
                out.mux(packet)
    return times


def rewrite(source: Path, out: Path, paint=False, encode=None, side=None) -> VideoSink:
    clip = VideoClip(source)
    sink = VideoSink(clip, out, encode or EncodeOptions(), side or TrackOptions())
    try:
        for frame in clip.frames():
            image, changed = frame.image_rgb.copy(), np.zeros(frame.image_rgb.shape[:2], bool)
            changed[40:60, 40:70] = True
            image[changed] = 0, 200, 0
            sink.write(frame, image if paint else None, changed if paint else None)
        sink.finish()
    except BaseException:
        sink.abandon()
        raise
    return sink


def frames_of(path: Path) -> list:
    return list(VideoClip(path).frames())


def audio_of(path: Path) -> tuple[float, np.ndarray]:
    with av.open(str(path)) as container:
        frames = list(container.decode(container.streams.audio[0]))
        begin = next(f.pts for f in frames if f.pts is not None)
        return float(begin * frames[0].time_base), np.concatenate([f.to_ndarray()[0] for f in frames])


def same_sound(wave: np.ndarray, other: np.ndarray) -> int:
    """Return by how many samples other is late, and check that it holds the same sound."""
    for shift in (0, 1024, 2048, -1024):
        a, b = (wave, other[shift:]) if shift >= 0 else (wave[-shift:], other)
        n = min(len(a), len(b))
        if n > 20_000 and np.allclose(a[2048:n], b[2048:n], atol=1e-4):
            return shift
    raise AssertionError("it is another sound")


@pytest.mark.parametrize("codec", ["h264", "h265", "vp9", "av1", "ffv1"])
def test_these_codecs_are_read(tmp_path, codec):
    source = tmp_path / "in.mkv"
    make_video(source, codec)
    frames = frames_of(source)
    assert len(frames) == FRAMES
    assert np.abs(frames[3].image_rgb.astype(int) - picture(3)).mean() < 12


@pytest.mark.parametrize(
    ("codec", "suffix"), [("h264", "mp4"), ("h264", "mov"), ("h265", "mp4"), ("ffv1", "mkv"), ("h264", "mkv")]
)
def test_uneven_times_and_the_end_are_kept_to_a_millisecond(tmp_path, codec, suffix):
    steps = np.random.default_rng(1).integers(1500, 9000, FRAMES).tolist()
    source, out = tmp_path / "in.mp4", tmp_path / f"out.{suffix}"
    times = make_video(source, steps=steps)
    rewrite(source, out, encode=EncodeOptions(codec))
    frames = frames_of(out)
    assert [f.time_s for f in frames] == pytest.approx([t / TICKS for t in times], abs=1e-3)
    with av.open(str(source)) as before, av.open(str(out)) as after:
        assert after.duration == pytest.approx(before.duration, abs=1000)  # microseconds


@pytest.mark.parametrize("turn", [0, 90, 180, -90])
def test_turned_videos_are_seen_upright_and_stay_turned(tmp_path, turn):
    source, out = tmp_path / "in.mp4", tmp_path / "out.mp4"
    make_video(source, turn=turn)
    rewrite(source, out, paint=True)
    before, after = (frames_of(p)[2].image_rgb for p in (source, out))
    upright = np.rot90(picture(2), {0: 0, 90: 1, 180: 2, -90: 3}[turn])
    assert before.shape == after.shape == upright.shape
    assert np.abs(before.astype(int) - upright).mean() < 12
    assert VideoClip(out).facts.matrix == VideoClip(source).facts.matrix
    assert np.abs(after[44:56, 44:66].astype(int) - (0, 200, 0)).mean() < 12


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_turn_is_undone(quarters, mirrored):
    turn, stored = Turn(quarters, mirrored), picture(1)
    assert np.array_equal(turn.stored(turn.upright(stored)), stored)


@pytest.mark.parametrize(
    ("pixels", "matrix", "full"),
    [
        ("yuv420p", 1, False),
        ("yuv420p", 6, True),
        ("yuv420p10le", 9, False),
        ("yuv444p", 1, True),
        ("yuv422p10le", 1, False),
    ],
)
def test_lossless_output_is_the_source_outside_the_change(tmp_path, pixels, matrix, full):
    source, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    make_video(source, "ffv1", pixels, matrix=matrix, full=full)
    rewrite(source, out, paint=True, encode=EncodeOptions("ffv1"))
    before, after = VideoClip(source), VideoClip(out)
    assert after.facts.pixel_format == before.facts.pixel_format == pixels
    assert (after.facts.colours.matrix, after.facts.colours.full_range) == (matrix, full)
    for one, other in zip(before.frames(), after.frames(), strict=True):
        for k, (a, b) in enumerate(zip(one.native.planes, other.native.planes, strict=True)):
            kind = np.uint16 if "10le" in pixels else np.uint8
            x, y = (np.frombuffer(p, kind).reshape(p.height, -1)[:, : p.width] for p in (a, b))
            fy, fx = HEIGHT // a.height, WIDTH // a.width
            kept = np.ones(x.shape, bool)
            kept[40 // fy : 60 // fy, 40 // fx : 70 // fx] = False
            assert np.array_equal(x[kept], y[kept]), k
        assert np.abs(other.image_rgb[44:56, 44:66].astype(int) - (0, 200, 0)).max() < 8


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_colours_and_depth_go_through_an_encoder(tmp_path, codec):
    source, out = tmp_path / "in.mkv", tmp_path / "out.mp4"
    make_video(source, "ffv1", "yuv420p10le", matrix=9)
    rewrite(source, out, encode=EncodeOptions(codec))
    facts: VideoFacts = VideoClip(out).facts
    assert (facts.pixel_format, facts.colours.matrix, facts.colours.full_range) == ("yuv420p10le", 9, False)
    errors = [
        np.abs(a.image_rgb.astype(int) - b.image_rgb).mean()
        for a, b in zip(frames_of(source), frames_of(out), strict=True)
    ]
    assert max(errors) < 4


def test_odd_sizes_get_whole_chroma():
    assert pixel_format_for("yuv420p", "h264", (191, 112)) == "yuv444p"
    assert pixel_format_for("nv12", "h264", (192, 112)) == "yuv420p"
    assert pixel_format_for("p010le", "h265", (192, 112)) == "yuv420p10le"
    assert pixel_format_for("rgb24", "ffv1", (191, 111)) == "gbrp"


def test_sound_is_dropped_with_a_line_that_says_so(tmp_path):
    source, out = tmp_path / "in.mp4", tmp_path / "out.mp4"
    make_video(source, sound=True)
    sink = rewrite(source, out)
    assert any("a voice identifies" in note for note in sink.notes)
    with av.open(str(out)) as container:
        assert [s.type for s in container.streams] == ["video"]


@pytest.mark.parametrize(
    ("source_name", "out_name", "start"),
    [("in.mp4", "out.mp4", 0), ("in.mkv", "out.mov", 18_000), ("in.mp4", "out.mkv", 9_000)],
)
def test_sound_that_is_kept_stays_in_step(tmp_path, source_name, out_name, start):
    source, out = tmp_path / source_name, tmp_path / out_name
    make_video(source, sound=True, start=start)
    rewrite(source, out, side=TrackOptions(audio="keep"))
    (at, wave), (at_now, wave_now) = audio_of(source), audio_of(out)
    shift = same_sound(wave, wave_now)  # a container may show the coder's lead-in
    pictures, pictures_now = (frames_of(p)[0].time_s + float(VideoClip(p).facts.start) for p in (source, out))
    assert pictures_now - (at_now + shift / 48_000) == pytest.approx(pictures - at, abs=1e-3)


def test_a_lower_pitch_keeps_the_length(tmp_path):
    source, out = tmp_path / "in.mp4", tmp_path / "out.mp4"
    make_video(source, sound=True)
    rewrite(source, out, side=TrackOptions(audio="pitch"))
    (at, wave), (at_now, wave_now) = audio_of(source), audio_of(out)
    assert at_now == pytest.approx(at, abs=1e-3)
    assert abs(len(wave_now) - len(wave)) <= 2048  # whole packets of the coder
    loudest = [np.abs(np.fft.rfft(w[8000:40_000] * np.hanning(32_000))).argmax() * 1.5 for w in (wave, wave_now)]
    assert loudest[0] == pytest.approx(300, abs=3)
    assert loudest[1] == pytest.approx(300 * 0.82, abs=8)


def test_tags_and_chapters_go_unless_allowed(tmp_path):
    source = tmp_path / "in.mp4"
    make_video(source, tags=True)
    assert b"Anna" in source.read_bytes()
    out = tmp_path / "out.mp4"
    sink = rewrite(source, out)
    assert b"Anna" not in out.read_bytes()
    assert b"59.33" not in out.read_bytes()
    assert any("chapters" in note for note in sink.notes)
    rewrite(source, tmp_path / "allowed.mp4", side=TrackOptions(allow="chapters,metadata"))
    with av.open(str(tmp_path / "allowed.mp4")) as container:
        assert container.metadata["title"] == "Anna's birthday"
        assert [c["metadata"]["title"] for c in container.chapters()] == ["Anna"]


def test_bit_rate_follows_the_source(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (90, HEIGHT, WIDTH, 3), np.uint8)
    source, out = tmp_path / "in.mp4", tmp_path / "out.mp4"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", 1_500_000
        for image in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))
    rewrite(source, out)
    assert out.stat().st_size == pytest.approx(source.stat().st_size, rel=0.35)


def damaged(tmp_path: Path) -> dict[str, Path]:
    whole = tmp_path / "whole.mp4"
    make_video(whole, steps=itertools.repeat(9000))
    long = tmp_path / "whole.mkv"
    make_video(long, steps=itertools.repeat(9000))
    paths = {name: tmp_path / name for name in ("cut.mp4", "cut.mkv", "empty.mp4", "text.mp4", "sound.mp4")}
    paths["cut.mp4"].write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    paths["cut.mkv"].write_bytes(long.read_bytes()[: long.stat().st_size * 4 // 10])
    paths["empty.mp4"].write_bytes(b"")
    paths["text.mp4"].write_text("no video at all\n" * 100)
    with av.open(str(paths["sound.mp4"]), "w") as container:
        stream = container.add_stream("aac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), "fltp", "mono")
        frame.sample_rate = 48_000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return paths | {"missing.mp4": tmp_path / "missing.mp4"}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("cut.mp4", "damaged|cut short"),
        ("cut.mkv", "cut short|damaged"),
        ("empty.mp4", "damaged"),
        ("text.mp4", "damaged"),
        ("sound.mp4", "it contains no video track"),
        ("missing.mp4", "not exist"),
    ],
)
def test_bad_files_are_named_and_nothing_is_written(tmp_path, name, why):
    source, out = damaged(tmp_path)[name], tmp_path / "to" / "out.mp4"
    with pytest.raises(VideoError, match=why) as raised:
        rewrite(source, out)
    assert raised.value.path == source
    assert not out.parent.exists() or not any(out.parent.iterdir())


def test_a_codec_that_nothing_here_reads_is_named(tmp_path):
    source = tmp_path / "in.mp4"
    make_video(source)
    content = source.read_bytes()
    source.write_bytes(content.replace(b"avc1", b"zzz9"))
    with pytest.raises(VideoError, match="codec"):
        VideoClip(source)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("in.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\npart.ts\n#EXT-X-ENDLIST\n"),
        ("in.ffconcat", "ffconcat version 1.0\nfile part.ts\n"),
    ],
)
def test_lists_of_other_files_are_refused(tmp_path, name, text):
    make_video(tmp_path / "part.ts")
    source = tmp_path / name
    source.write_text(text)
    with pytest.raises(VideoError, match="list of other files"):
        VideoClip(source)


def test_a_full_disk_leaves_nothing(tmp_path):
    source, out = tmp_path / "in.mp4", tmp_path / "to" / "out.mkv"
    make_video(source)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        with pytest.raises(OutputError, match="largest size"):
            rewrite(source, out, encode=EncodeOptions("ffv1"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert list(out.parent.iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path):
    source, out = tmp_path / "in.mp4", tmp_path / "to" / "out.mp4"
    make_video(source)
    clip = VideoClip(source)
    sink = VideoSink(clip, out, EncodeOptions(), TrackOptions())
    frames = clip.frames()
    sink.write(next(frames), None, None)
    assert [p.name.startswith(".styleid-") for p in out.parent.iterdir()] == [True]
    sink.abandon()
    assert list(out.parent.iterdir()) == []


@pytest.mark.usefixtures("unchecked_types")
def test_options_that_cannot_work(tmp_path):
    source = tmp_path / "in.mp4"
    make_video(source)
    with pytest.raises(OptionError, match=r"\.mkv"):
        rewrite(source, tmp_path / "out.mp4", encode=EncodeOptions("ffv1"))
    with pytest.raises(OptionError, match="must have one of the suffixes"):
        rewrite(source, tmp_path / "out.gif")
    with pytest.raises(OptionError, match=r"^quality: "):
        EncodeOptions(quality="best")
    with pytest.raises(OptionError, match=r"^codec: 'mpeg2' is unknown"):
        EncodeOptions("mpeg2")
    with pytest.raises(OptionError, match=r"^allow: "):
        TrackOptions(allow="thumbnails")
    with pytest.raises(OptionError, match=r"^audio: 'loud' is unknown"):
        TrackOptions(audio="loud")


def test_an_output_that_cannot_be_opened_leaves_nothing(tmp_path, monkeypatch):
    make_video(tmp_path / "in.mp4")

    def refuse(*_):
        raise ValueError("no room for a track")

    monkeypatch.setattr("styleid.media.video.writer.SideTracks", refuse)
    with pytest.raises(OutputError, match=r"out\.mp4: it cannot be encoded \(no room for a track\)"):
        rewrite(tmp_path / "in.mp4", tmp_path / "to/out.mp4")
    assert list((tmp_path / "to").iterdir()) == []
