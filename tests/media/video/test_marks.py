"""Videos with new faces are marked where readers look; without a mark, files are unchanged."""

import json
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

from styleid.media.provenance import PACKET, SOURCE_TYPE, MarkOptions
from styleid.media.video.headers import elements
from styleid.media.video.reader import VideoClip
from styleid.media.video.side_tracks import TrackOptions
from styleid.media.video.writer import EncodeOptions, VideoSink
from tests.media.video.test_video import make_video

av = pytest.importorskip("av", reason="videos are read with PyAV: pip install 'styleid[video]'")

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")
UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("video") / "source.mp4"
    make_video(path, tags=True, sound=True)
    return path


def written(
    source: Path, out: Path, marking: MarkOptions, *, generated=True, changed=True, allow="", quality="source"
) -> VideoSink:
    clip = VideoClip(source)
    sink = VideoSink(clip, out, EncodeOptions(quality=quality), TrackOptions(allow=allow), marking)
    for frame in clip.frames():
        image, mask = frame.image_rgb.copy(), np.zeros(frame.image_rgb.shape[:2], bool)
        mask[40:60, 40:70] = changed
        image[mask] = 0, 200, 0
        here = frame.index == 3
        sink.write(frame, image if changed else None, mask if changed else None, generated=generated and here)
    sink.finish()
    return sink


def run(*command: object) -> dict:
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run([str(word) for word in command], capture_output=True, check=True)
    found = json.loads(done.stdout)
    return found[0] if isinstance(found, list) else found


def exiftool(path: Path) -> dict:
    found = run("exiftool", "-j", "-n", "-a", "-G1", path)
    assert not [key for key in found if "Warning" in key]
    return {key: value for key, value in found.items() if "XMP" in key or "DigitalSource" in key}


def ffprobe(path: Path) -> dict:
    found = run("ffprobe", "-v", "error", "-export_xmp", "1", "-show_format", "-of", "json", path)
    tags = found["format"].get("tags", {})
    return {key: tags[key] for key in ("xmp", "DIGITAL_SOURCE_TYPE") if key in tags}


@pytest.mark.parametrize("allow", ["", "metadata"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_exiftool_and_ffprobe_read_the_mark(source, tmp_path, suffix, allow):
    out = tmp_path / f"out{suffix}"
    assert written(source, out, MarkOptions(), allow=allow).mark == "iptc"
    matroska = suffix == ".mkv"
    assert exiftool(out) == {"Matroska:DigitalSourceType" if matroska else "XMP-iptcExt:DigitalSourceType": SOURCE_TYPE}
    assert ffprobe(out) == ({"DIGITAL_SOURCE_TYPE": SOURCE_TYPE} if matroska else {"xmp": PACKET.decode()})


@pytest.mark.parametrize("allow", ["", "metadata"])
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("marking", "generated", "changed"),
    [
        (MarkOptions(), False, True),
        (MarkOptions(mark_scope="changed"), False, False),
        (MarkOptions("none"), True, True),
    ],
)
def test_no_trace_is_left_where_no_mark_is_wanted(source, tmp_path, suffix, allow, marking, generated, changed):
    out = tmp_path / f"out{suffix}"
    assert written(source, out, marking, generated=generated, changed=changed, allow=allow).mark == ""
    data = out.read_bytes()
    assert b"digitalsourcetype" not in data.lower()
    assert b"DIGITAL_SOURCE_TYPE" not in data
    assert exiftool(out) == ffprobe(out) == {}
    with av.open(str(out)) as container:
        assert ("title" in {key.lower() for key in container.metadata}) == bool(allow)
        assert len(list(container.decode(video=0))) == 24


@pytest.mark.parametrize(
    ("scope", "generated", "changed", "expected"),
    [("generated", True, True, "iptc"), ("changed", False, True, "iptc"), ("all", False, False, "iptc")],
)
def test_the_scope_says_which_videos_are_marked(source, tmp_path, scope, generated, changed, expected):
    marking = MarkOptions(mark_scope=scope)
    assert written(source, tmp_path / "a.mp4", marking, generated=generated, changed=changed).mark == expected


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_the_mark_is_the_one_thing_that_differs(source, tmp_path, suffix):
    plain, marked, again = (tmp_path / f"{name}{suffix}" for name in ("plain", "marked", "again"))
    # Aiming at a bit rate with several threads, libx264 now and then writes other bytes; without loss it never does.
    written(source, plain, MarkOptions("none"), quality="0")
    for out in (marked, again):
        written(source, out, MarkOptions(), quality="0")
    before, after = plain.read_bytes(), marked.read_bytes()
    assert after == again.read_bytes()
    assert after.count(PACKET) == 1
    if suffix == ".mp4":
        box = UUID + PACKET
        assert after == before + (8 + len(box)).to_bytes(4, "big") + b"uuid" + box
    else:
        at = before.index(b"moov") - 4
        assert after[:at] == before[:at]
        assert after[at + 8 :].startswith(before[at + 8 : at + 116])  # the movie's own header
        assert len(after) - len(before) in (len(PACKET) + 8, len(PACKET) + 16)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_mark_of_the_source_stays(source, tmp_path, suffix):
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    written(source, first, MarkOptions())
    assert written(first, second, MarkOptions(), generated=False).mark == "iptc"
    assert written(first, second, MarkOptions("none"), generated=False).mark == ""


@pytest.mark.parametrize("generated", [True, False])
def test_matroska_checksums_hold(source, tmp_path, generated):
    out = tmp_path / "out.mkv"
    written(source, out, MarkOptions(), generated=generated)
    data = out.read_bytes()
    segment = next(e for e in elements(data, 0, len(data)) if e.kind == 0x18538067)
    tags = [e for e in elements(data, segment.start, segment.end) if e.kind == 0x1254C367]
    assert tags
    for one in tags:
        first = next(elements(data, one.start, one.end))
        assert first.kind == 0xBF
        assert data[first.start : first.end] == zlib.crc32(data[first.end : one.end]).to_bytes(4, "little")
