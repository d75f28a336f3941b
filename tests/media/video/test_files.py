"""Video files that cannot be opened, and the temporary file of an output."""

import hashlib
import sys

import pytest

from styleid.errors import MissingDependencyError, OutputError, VideoError
from styleid.media.video.part_file import PartFile
from styleid.media.video.pyav import import_av
from styleid.media.video.reader import VideoClip

pytest.importorskip("av", reason="videos are read with PyAV: pip install 'styleid[video]'")


def test_without_pyav_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'styleid\[video\]'"):
        import_av()


@pytest.mark.parametrize(
    ("name", "says"),
    [("gone.mp4", "it does not exist"), ("folder", "it is a folder: name the pattern of its frames with `frames`")],
)
def test_what_is_no_file_is_named(tmp_path, name, says):
    (tmp_path / "folder").mkdir()
    with pytest.raises(VideoError, match=says) as caught:
        VideoClip(tmp_path / name)
    assert caught.value.path == tmp_path / name


def test_a_part_takes_its_name_when_it_is_whole(tmp_path):
    part = PartFile(tmp_path / "deep/out.mp4")
    assert part.write(b"head....") == 8
    assert (part.tell(), part.seek(4)) == (8, 4)
    part.write(b"tail")
    assert part.publish() == hashlib.sha256(b"headtail").hexdigest()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out.mp4"]


def test_a_broken_part_takes_no_more_and_leaves_nothing(tmp_path):
    part = PartFile(tmp_path / "out.mp4")
    part.broken = True
    assert part.write(b"trailer") == 7
    assert part.path.stat().st_size == 0
    part.remove()
    part.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_cannot_take_its_name_stays_refused(tmp_path):
    (tmp_path / "out.mp4/inside").mkdir(parents=True)
    part = PartFile(tmp_path / "out.mp4")
    for _ in range(2):
        with pytest.raises(OSError, match=r"out\.mp4"):
            part.publish()
    part.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_a_part_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="a file is in the way where a folder of that name is needed"):
        PartFile(tmp_path / "file/out.mp4")
