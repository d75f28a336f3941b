"""Folders of frames: which files are frames, their order, and complete output folders."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from styleid.errors import OptionError, OutputError, VideoError
from styleid.media.provenance import PACKET, MarkOptions
from styleid.media.video.frames import FramesClip, FramesSink
from tests.media import samples

SHAPE = (24, 32)


def picture(number: int) -> np.ndarray:
    return samples.smooth(*SHAPE, seed=number)


@pytest.fixture
def folder(tmp_path):
    """Frames 1, 2 and 10, and files that are none."""
    path = tmp_path / "in"
    path.mkdir()
    for number in (1, 2, 10):
        Image.fromarray(picture(number)).save(path / f"shot_{number}.png")
    Image.fromarray(picture(0)).save(path / "shot_a.png")
    (path / "notes.txt").write_text("no frame")
    return path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.png", ["shot_1.png", "shot_2.png", "shot_10.png", "shot_a.png"]),
        ("shot_%d.png", ["shot_1.png", "shot_2.png", "shot_10.png"]),
        ("shot_%05d.png", ["shot_1.png", "shot_2.png", "shot_10.png"]),
        ("*_%d.*", ["shot_1.png", "shot_2.png", "shot_10.png"]),
        ("shot_1.png", ["shot_1.png"]),
    ],
)
def test_numbers_order_frames_as_numbers(folder, pattern, names):
    clip = FramesClip(folder, pattern, 10.0)
    assert sorted(path.name for path in clip.paths) == sorted(names)
    numbered = [path.name for path in clip.paths if path.name != "shot_a.png"]
    assert numbered == [name for name in names if name != "shot_a.png"]


def test_frames_have_times_and_pictures(folder):
    clip = FramesClip(folder, "shot_%d.png", 8.0)
    assert (clip.info.width, clip.info.height, clip.info.frames, clip.info.rate) == (32, 24, 3, 8)
    frames = list(clip.frames())
    assert [(f.index, f.time_s, f.duration_s) for f in frames] == [(0, 0, 0.125), (1, 0.125, 0.125), (2, 0.25, 0.125)]
    assert all(np.array_equal(f.image_rgb, picture(n)) for f, n in zip(frames, (1, 2, 10), strict=True))
    assert frames[0].further_views() == []


def test_what_a_viewer_may_show_of_a_frame_is_looked_at_too(folder):
    dots = (samples.noise(*SHAPE, channels=1) > 127).astype(np.uint8) * 255
    Image.fromarray(dots).save(folder / "fax.png")
    (frame,) = FramesClip(folder, "fax.png", 1.0).frames()
    views = frame.further_views()
    assert views
    assert all(image.ndim == 3 and 0 < scale <= 1 for image, scale in views)


@pytest.mark.parametrize(
    ("pattern", "error", "says"),
    [
        ("other_%d.png", VideoError, "no file in it matches 'other_%d.png'"),
        ("in/*.png", OptionError, "^frames: 'in/.*' names a folder; name the folder as `source`"),
        ("in\\*.png", OptionError, "names a folder"),
        ("notes.txt", VideoError, "notes.txt: .*text"),
    ],
)
def test_patterns_without_frames_are_refused(folder, pattern, error, says):
    with pytest.raises(error, match=says):
        FramesClip(folder, pattern, 10.0)


def test_a_file_is_no_folder_of_frames(folder):
    with pytest.raises(VideoError, match="needs a folder of frames"):
        FramesClip(folder / "notes.txt", "*.png", 10.0)


def test_a_frame_of_another_size_is_named(folder):
    Image.fromarray(picture(3)[:-1]).save(folder / "shot_3.png")
    with pytest.raises(VideoError, match=r"shot_3\.png: it has another size than the first frame, 32 x 24"):
        list(FramesClip(folder, "shot_%d.png", 10.0).frames())


def test_an_output_has_the_frames_names_and_the_new_pixels(folder, tmp_path):
    clip = FramesClip(folder, "shot_%d.png", 10.0)
    sink = FramesSink(clip, tmp_path / "out")
    mask = np.zeros(SHAPE, bool)
    mask[4:9, 6:20] = True
    for frame in clip.frames():
        if frame.index == 1:
            sink.write(frame, 255 - frame.image_rgb, mask)
        else:
            sink.write(frame, None, None)
        assert not (tmp_path / "out").exists()
    digest = sink.finish()
    written = sorted((tmp_path / "out").iterdir(), key=lambda path: len(path.name))
    assert [path.name for path in written] == ["shot_1.png", "shot_2.png", "shot_10.png"]
    sums = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in written)
    assert digest == hashlib.sha256(sums).hexdigest()
    first, second, _ = (np.asarray(Image.open(path)) for path in written)
    assert np.array_equal(first, picture(1))
    assert np.array_equal(second, np.where(mask[..., None], 255 - picture(2), picture(2)))
    assert (sink.mark, sink.notes) == ("", ())


def test_only_frames_with_new_faces_are_marked(folder, tmp_path):
    Image.fromarray(picture(3)).save(folder / "shot_3.bmp")
    clip = FramesClip(folder, "shot_%d.*", 10.0)
    sink = FramesSink(clip, tmp_path / "out", MarkOptions(mark="iptc", mark_scope="generated"))
    for frame in clip.frames():
        sink.write(frame, frame.image_rgb, np.ones(SHAPE, bool), generated=frame.index != 0)
    sink.finish()
    assert sink.mark == "iptc"
    assert sink.notes == ("BMP cannot hold a mark: the file does not say that it contains generated faces",)
    marked = {path.name for path in (tmp_path / "out").iterdir() if PACKET in path.read_bytes()}
    assert marked == {"shot_2.png", "shot_10.png"}


def test_outputs_that_are_in_the_way_are_refused(folder, tmp_path):
    clip = FramesClip(folder, "shot_%d.png", 10.0)
    for taken in (folder, folder / "notes.txt"):
        with pytest.raises(OptionError, match=r"^out: .* exists already\. Name a folder that is new or empty"):
            FramesSink(clip, taken)
    with pytest.raises(OutputError, match="a file is in the way"):
        FramesSink(clip, folder / "notes.txt/out")
    (tmp_path / "empty").mkdir()
    sink = FramesSink(clip, tmp_path / "empty")
    sink.write(next(iter(clip.frames())), None, None)
    (tmp_path / "empty/late").write_bytes(b"")
    with pytest.raises(OutputError, match="empty"):
        sink.finish()
    sink.abandon()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "in"]


def test_an_abandoned_output_leaves_nothing(folder, tmp_path):
    clip = FramesClip(folder, "shot_%d.png", 10.0)
    sink = FramesSink(clip, tmp_path / "out")
    sink.write(next(iter(clip.frames())), None, None)
    sink.abandon()
    sink.abandon()
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_frame_that_would_leak_is_withheld(folder, tmp_path):
    clip = FramesClip(folder, "shot_%d.png", 10.0)
    frame = next(iter(clip.frames()))
    frame.native = replace(frame.native, kept=replace(frame.native.kept, icc_profile=samples.rgb_profile()))
    with pytest.raises(VideoError, match=r"shot_1\.png: .*disallowed metadata"):
        FramesSink(clip, tmp_path / "out").write(frame, None, None)
