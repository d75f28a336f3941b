"""Samples that use a small part of their range are stretched for detection, and written in their range."""

from pathlib import Path

import numpy as np
import pytest

from styleid.media.video.levels import StretchedColours
from styleid.media.video.reader import VideoClip
from styleid.media.video.writer import EncodeOptions
from tests.media.video.test_video import make_video, rewrite

av = pytest.importorskip("av", reason="videos are read with PyAV: pip install 'styleid[video]'")

HEIGHT, WIDTH, FRAMES = 64, 96, 4
LOSSLESS = EncodeOptions("ffv1")


def ramp(i: int) -> np.ndarray:
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    return (8 * x + 3 * y + 10 * i).astype(np.uint16)  # 0 to 979, ten bits


def write(path: Path, pixels: str, factors) -> Path:
    """Write a ramp of ten bits times a factor a frame as it is, without scaling."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        for i, factor in enumerate(factors):
            frame = av.VideoFrame(WIDTH, HEIGHT, pixels)
            for k, plane in enumerate(frame.planes):
                bright = k == 0 or "gbr" in pixels
                samples = ramp(i) * factor if bright else np.full((plane.height, plane.width), 1 << 15)
                rows = np.frombuffer(plane, np.uint16).reshape(plane.height, -1)
                rows[:, : plane.width] = samples
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def planes(path: Path) -> list[list[np.ndarray]]:
    with av.open(str(path)) as container:
        return [
            [np.frombuffer(p, np.uint16).reshape(p.height, -1)[:, : p.width].copy() for p in frame.planes]
            for frame in container.decode(video=0)
        ]


@pytest.mark.parametrize("pixels", ["gray16le", "yuv444p16le", "yuv420p16le", "gbrp16le"])
def test_low_samples_are_seen_and_stay_low(tmp_path, pixels):
    source, out = write(tmp_path / "in.mkv", pixels, [1] * FRAMES), tmp_path / "out.mkv"
    clip = VideoClip(source)
    for i, frame in enumerate(clip.frames()):
        assert frame.image_rgb.shape == (HEIGHT, WIDTH, 3)
        expected = ramp(i) / 979 * 255
        assert np.abs(frame.image_rgb[..., 1] - expected).mean() < 24
        assert np.ptp(frame.image_rgb) > 200
        assert frame.further_views() == []
    assert any("small part of their range" in note for note in clip.info.notes)
    rewrite(source, out, encode=LOSSLESS, paint=True)
    changed = np.zeros((HEIGHT, WIDTH), bool)
    changed[40:60, 40:70] = True
    for before, after in zip(planes(source), planes(out), strict=True):
        for a, b in zip(before, after, strict=True):
            whole = a.shape == changed.shape
            kept = ~changed if whole else ~changed[::2, ::2]
            assert np.array_equal(a[kept], b[kept])
        assert after[0].max() < 1100
        assert np.unique(after[0][changed]).size == 1


def test_low_samples_go_into_another_depth(tmp_path):
    source, out = write(tmp_path / "in.mkv", "gray16le", [1] * FRAMES), tmp_path / "out.mp4"
    sink = rewrite(source, out, paint=True)
    assert any("are written as yuv420p10le" in note for note in sink.notes)
    after = planes(out)
    assert len(after) == FRAMES
    assert np.ptp([p[0] for p in after]) < 24  # of 1023


def test_clips_of_8_bits_are_seen_as_they_are(tmp_path):
    make_video(tmp_path / "in.mp4")
    clip = VideoClip(tmp_path / "in.mp4")
    assert not isinstance(clip.facts.colours, StretchedColours)
    assert not any(frame.further_views() for frame in clip.frames())


@pytest.mark.parametrize("factors", [[64] * 4, [64, 64, 1, 1]])
def test_single_frames_are_looked_at_stretched_too(tmp_path, factors):
    clip = VideoClip(write(tmp_path / "in.mkv", "gray16le", factors))
    assert not isinstance(clip.facts.colours, StretchedColours)
    views = [frame.further_views() for frame in clip.frames()]
    assert [bool(v) for v in views] == [factor == 1 for factor in factors]
    for view, scale in (v for found in views for v in found):
        assert np.ptp(view) > 200
        assert scale == 1


def test_dark_clips_in_colour_are_drawn_in_colour(tmp_path):
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as out:
        stream = out.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv444p16le"
        for i in range(FRAMES):
            frame = av.VideoFrame(WIDTH, HEIGHT, "yuv444p16le")
            for plane, factor in zip(frame.planes, (16, 8, 24), strict=True):
                np.frombuffer(plane, np.uint16).reshape(HEIGHT, -1)[:, :WIDTH] = ramp(i) * factor + 4096
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    clip = VideoClip(source)
    assert not isinstance(clip.facts.colours, StretchedColours)
    assert all(len(frame.further_views()) == 1 for frame in clip.frames())


def test_a_dark_frame_at_the_beginning_does_not_count(tmp_path):
    assert isinstance(VideoClip(write(tmp_path / "a.mkv", "gray16le", [0, 1, 1])).facts.colours, StretchedColours)
    assert not isinstance(VideoClip(write(tmp_path / "b.mkv", "gray16le", [0, 0])).facts.colours, StretchedColours)


@pytest.mark.parametrize(("codec", "pixels"), [("libx264rgb", "rgb24"), ("png", "rgb24"), ("png", "rgba")])
@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_rgb_keeps_its_colours_in_formats_without_rgb(tmp_path, codec, pixels, kind):
    """Such files say that their matrix is that of RGB, which is not true of what is written."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8) + np.array([200, 96, 60], np.uint8)
    image[:, : WIDTH // 2] = 20, 180, 240
    source = tmp_path / "in.mov"
    with av.open(str(source), "w") as file:
        stream = file.add_stream(codec, rate=10, options={"qp": "0"} if codec == "libx264rgb" else {})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        for _ in range(FRAMES):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pixels)))
        file.mux(stream.encode(None))
    with av.open(str(source)) as file:
        before = next(file.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    out = tmp_path / f"out.{kind}"
    rewrite(source, out, encode=EncodeOptions("ffv1") if kind == "mkv" else EncodeOptions())
    with av.open(str(out)) as file:
        after = next(file.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    away = [slice(4, -4), slice(4, WIDTH // 2 - 4)], [slice(4, -4), slice(WIDTH // 2 + 4, -4)]
    assert max(np.abs(after[y, x] - before[y, x]).mean() for y, x in away) < 4
