"""A piece of a clip has the pictures that reading from the beginning gives, however the file is coded."""

import pickle

import numpy as np
import pytest
from PIL import Image

from styleid.errors import VideoError
from styleid.media.video.frames import FramesClip
from styleid.media.video.pieces import mark_of, read_piece
from styleid.media.video.reader import VideoClip

av = pytest.importorskip("av", reason="videos are read with PyAV: pip install 'styleid[video]'")
FRAMES = 30


def moving(number: int) -> np.ndarray:
    """Return a picture with a moving pattern, so that wrong references show."""
    rng = np.random.default_rng(number // 12)
    return np.roll(rng.integers(0, 255, (48, 64, 3), np.uint8), (number, 2 * number), (0, 1))


def write(path, codec: str, options: dict[str, str], form: str | None = None, pixels: str = "yuv420p"):
    with av.open(str(path), "w", format=form) as out:
        stream = out.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        for number in range(FRAMES):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(moving(number), "rgb24")))
        out.mux(stream.encode(None))
    return path


OPEN = {"x264-params": "open-gop=1:keyint=8:bframes=3:scenecut=0"}
CODED = {
    "open groups of pictures": ("a.mp4", "libx264", OPEN, None, "yuv420p"),
    "gradual refresh": ("a.mp4", "libx264", {"x264-params": "intra-refresh=1:keyint=10"}, None, "yuv420p"),
    "transport stream": ("a.ts", "libx264", OPEN, None, "yuv420p"),
    "decoding times only": ("a.avi", "mpeg4", {"bf": "2", "g": "9"}, None, "yuv420p"),
    "no times": ("a.h264", "libx264", OPEN, "h264", "yuv420p"),
    "one key picture": ("a.mkv", "libx264", {"x264-params": "keyint=infinite:scenecut=0"}, None, "yuv420p"),
    "lossless, packed": ("a.mkv", "ffv1", {}, None, "bgr0"),
    "H.265": ("a.mkv", "libx265", {"x265-params": "log-level=none:keyint=8:bframes=3"}, None, "yuv420p"),
}


@pytest.mark.parametrize("name", CODED)
def test_a_piece_has_the_same_pictures_as_the_whole(name, tmp_path):
    file, codec, options, form, pixels = CODED[name]
    clip = VideoClip(write(tmp_path / file, codec, options, form, pixels))
    marks, pictures = [], []
    for frame in clip.frames():
        marks.append(mark_of(frame))
        pictures.append(frame.image_rgb)
    assert len(marks) == FRAMES
    other = pickle.loads(pickle.dumps(clip))
    for first in range(0, FRAMES, 3):
        piece = list(read_piece(other, first, marks[first : first + 5], threads=1))
        assert [frame.index for frame in piece] == list(range(first, min(first + 5, FRAMES)))
        assert all(np.array_equal(frame.image_rgb, pictures[frame.index]) for frame in piece)


def test_joined_recordings_whose_times_begin_again(tmp_path):
    one = write(tmp_path / "one.ts", "libx264", OPEN).read_bytes()
    joined = tmp_path / "joined.ts"
    joined.write_bytes(one + one)
    clip = VideoClip(joined)
    marks = [mark_of(frame) for frame in clip.frames()]
    assert len(marks) == 2 * FRAMES
    for first in (0, 20, FRAMES - 2, FRAMES, FRAMES + 13):
        found = [mark_of(frame).checksum for frame in read_piece(clip, first, marks[first : first + 6])]
        assert found == [mark.checksum for mark in marks[first : first + 6]]


def test_another_video_is_refused(tmp_path):
    clip = VideoClip(write(tmp_path / "a.mp4", "libx264", OPEN))
    marks = [mark_of(frame) for frame in clip.frames()]
    write(clip.path, "libx264", OPEN | {"crf": "40"})
    with pytest.raises(VideoError, match="was changed while it was processed"):
        list(read_piece(clip, 10, marks[10:12]))


def test_frames_of_a_folder(tmp_path):
    for number in range(12):
        Image.fromarray(moving(number)).save(tmp_path / f"{number}.png")
    clip = FramesClip(tmp_path, "*.png", 10)
    marks = [mark_of(frame) for frame in clip.frames()]
    piece = list(read_piece(pickle.loads(pickle.dumps(clip)), 3, marks[3:7]))
    assert [frame.index for frame in piece] == [3, 4, 5, 6]
    assert all(np.array_equal(frame.image_rgb, moving(frame.index)) for frame in piece)
    Image.fromarray(moving(0)).save(tmp_path / "5.png")
    with pytest.raises(VideoError, match=r"5\.png.*changed"):
        list(read_piece(clip, 3, marks[3:7]))
