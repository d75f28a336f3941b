"""Videos that hide parts of the picture, are joined or cut, or whose first track is not the picture."""

import re
import subprocess

import numpy as np
import pytest

from styleid.media.video.reader import VideoClip
from tests.cases.runner import needs_tool

av = pytest.importorskip("av", reason="videos are read with PyAV: pip install 'styleid[video]'")

PLAIN = "--method", "none"

pytestmark = pytest.mark.shared


@pytest.fixture
def video(case, styleid, tmp_path):
    """Run the command over a file of a case, by default to hide faces; return the result and the output's frames."""

    def of(folder: str, file: str, out: str = "out.mp4", *arguments: str):
        result = styleid("video", case(folder) / file, *(arguments or PLAIN), out=tmp_path / out)
        return result, list(VideoClip(result.out).frames()) if result.out.exists() else []

    return of


def test_what_alpha_hides_stays_hidden(video):
    result, frames = video("video-alpha-revealed", "alpha.webm")
    assert (result.status, len(frames)) == (0, 12)
    assert "transparent parts were filled" in result.stdout
    for frame in frames:
        hidden = frame.image_rgb[:, :112].astype(int)
        assert np.ptp(hidden, axis=(0, 1)).max() <= 6
        assert frame.image_rgb[:, 130:].std() > 20


def test_what_the_container_crops_stays_away(video):
    result, frames = video("video-crop-revealed", "clap.mp4")
    assert (result.status, len(frames)) == (0, 12)
    assert {frame.image_rgb.shape for frame in frames} == {(280, 100, 3)}
    assert "crops were left out" in result.stdout


def test_a_joined_recording_goes_on(video):
    result, frames = video("video-concatenated", "cat.ts")
    assert (result.status, len(frames)) == (0, 24)
    assert [f.time_s for f in frames] == pytest.approx([i / 10 for i in range(24)], abs=1e-3)
    assert frames[-1].time_s + frames[-1].duration_s == pytest.approx(2.4, abs=1e-3)
    assert "it consists of 2 joined recordings" in result.stdout


def test_a_segment_that_starts_late_is_whole(video):
    result, frames = video("mkv-start-offset", "seg1.mkv")
    assert (result.status, len(frames)) == (0, 24)


def test_the_default_track_is_the_picture(video):
    result, frames = video("video-main-track-not-first", "twodef.mkv")
    assert (result.status, len(frames)) == (0, 12)
    assert "further picture track" in result.stdout


@pytest.mark.parametrize("method", ["none", "latent"])
def test_a_face_in_samples_of_ten_bits_is_found(case, video, method):
    result, frames = video("low-range-16-bit", "gray16low.mkv", "out.mkv", "--codec", "ffv1", "--method", method)
    assert (result.status, len(frames)) == (0, 12)
    assert "1 track of 1 person" in result.stdout
    before = list(VideoClip(case("low-range-16-bit") / "gray16low.mkv").frames())
    for one, other in zip(before, frames, strict=True):
        assert np.abs(one.image_rgb[120:200, 100:180].astype(int) - other.image_rgb[120:200, 100:180]).mean() > 10
        assert np.array_equal(one.image_rgb[:40], other.image_rgb[:40])


@pytest.mark.parametrize("out", ["out.mkv", "out.mp4"])
def test_no_tag_holds_a_picture(case, video, out):
    result, frames = video("mkv-cover-in-tags", "metapic.mkv", out, *PLAIN, "--allow", "metadata,chapters,subtitles")
    assert (result.status, len(frames)) == (0, 12)
    assert "left out: COVERART, METADATA_BLOCK_PICTURE" in result.stdout
    with av.open(str(case("mkv-cover-in-tags") / "metapic.mkv")) as container:
        covers = [value for value in container.metadata.values() if len(value) > 1000]
    assert len(covers) == 2
    data = result.out.read_bytes()
    for cover in covers:
        assert not any(cover[at : at + 40].encode() in data for at in range(0, len(cover) - 40, 500))
    with av.open(str(result.out)) as container:
        assert container.metadata["title"] == "holiday"
        assert max(map(len, container.metadata.values())) < 100


@pytest.mark.parametrize("tool", ["exiftool", "ffprobe"])
def test_other_tools_see_no_cover_and_one_track(video, tool):
    program = needs_tool(tool)
    result, _ = video("mkv-cover-in-tags", "metapic.mkv", "out.mkv", *PLAIN, "--allow", "metadata")
    asked = {"exiftool": ["-a", "-G1"], "ffprobe": ["-v", "error", "-show_format", "-show_streams"]}[tool]
    told = subprocess.run([program, *asked, str(result.out)], capture_output=True, text=True, check=True).stdout
    assert "holiday" in told
    assert not re.search(r"coverart|block_?picture|/9j/", told, re.IGNORECASE)
    assert max(map(len, told.splitlines())) < 300
