"""Subtitles are kept only if allowed; attachments and data tracks are never kept."""

from fractions import Fraction
from pathlib import Path

import pytest

from styleid.media.video.audit import find_leftovers
from styleid.media.video.side_tracks import ALLOWED, TrackOptions
from tests.media.video.test_video import FRAMES, HEIGHT, TICKS, WIDTH, frames_of, picture, rewrite

av = pytest.importorskip("av", reason="videos are read with PyAV: pip install 'styleid[video]'")

SPOKEN = "1\n00:00:00,100 --> 00:00:00,400\nAnna speaks\n\n2\n00:00:00,500 --> 00:00:00,800\nBert answers\n\n"
PLACE = b"N 59.3300 E 018.0600"
EVERYTHING = ",".join(ALLOWED)


def make_with(path: Path, *, spoken="", attached=b"", sensed=b"") -> Path:
    """Write a video with subtitles, an attachment, or a data track that has a packet with every picture."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        data = out.add_data_stream("klv") if sensed else None
        if data is not None:
            data.time_base = Fraction(1, TICKS)
        if attached:
            out.add_attachment("where.gpx", "application/gpx+xml", attached)
        words = []
        if spoken:
            beside = path.with_suffix(".srt")
            beside.write_text(spoken)
            source = av.open(str(beside))
            text = out.add_stream_from_template(source.streams.subtitles[0])
            words = [packet for packet in source.demux() if packet.size]
            source.close()
            for packet in words:
                packet.stream = text
        for i in range(FRAMES):
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture(i), "rgb24")))
            if data is not None:
                packet = av.Packet(sensed)
                packet.stream, packet.pts, packet.dts = data, 3600 * i, 3600 * i
                packet.time_base = Fraction(1, TICKS)
                out.mux(packet)
        out.mux(video.encode(None))
        out.mux(words)
    return path


def kinds(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [stream.type for stream in container.streams]


def words_of(path: Path) -> list[tuple[float, float, bytes]]:
    """Return when each subtitle is shown, for how long, and what it says."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(container.streams.subtitles[0]) if p.size]
        return [(float(p.pts * p.time_base), float(p.duration * p.time_base), bytes(p)) for p in packets]


@pytest.mark.parametrize("allow", ["", "metadata,chapters"])
def test_subtitles_go_unless_allowed(tmp_path, allow):
    source, out = make_with(tmp_path / "in.mkv", spoken=SPOKEN), tmp_path / "out.mkv"
    assert kinds(source) == ["video", "subtitle"]
    assert b"Anna speaks" in source.read_bytes()
    sink = rewrite(source, out, side=TrackOptions(allow=allow))
    assert kinds(out) == ["video"]
    assert b"Anna" not in out.read_bytes()
    assert any("subtitle" in note for note in sink.notes)


def test_subtitles_that_are_allowed_keep_words_and_times(tmp_path):
    source, out = make_with(tmp_path / "in.mkv", spoken=SPOKEN), tmp_path / "out.mkv"
    sink = rewrite(source, out, side=TrackOptions(allow="subtitles"))
    assert kinds(out) == ["video", "subtitle"]
    assert words_of(out) == words_of(source) == [(0.1, 0.3, b"Anna speaks"), (0.5, 0.3, b"Bert answers")]
    assert len(frames_of(out)) == FRAMES
    assert not any("left out" in note for note in sink.notes)


def test_subtitles_that_a_container_cannot_carry_are_named(tmp_path):
    source, out = make_with(tmp_path / "in.mkv", spoken=SPOKEN), tmp_path / "out.mp4"
    sink = rewrite(source, out, side=TrackOptions(allow="subtitles"))
    assert kinds(out) == ["video"]
    assert any("mp4 cannot store them" in note for note in sink.notes)


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov"])
@pytest.mark.parametrize(
    ("name", "what", "kind"), [("in.mkv", {"attached": PLACE}, "attachment"), ("in.ts", {"sensed": PLACE}, "data")]
)
def test_attachments_and_data_tracks_are_never_carried(tmp_path, suffix, name, what, kind):
    source, out = make_with(tmp_path / name, **what), tmp_path / f"out.{suffix}"
    assert kinds(source) == ["video", kind]
    assert PLACE in source.read_bytes()
    sink = rewrite(source, out, side=TrackOptions("keep", EVERYTHING))
    assert kinds(out) == ["video"]
    assert PLACE not in out.read_bytes()
    assert any(f"left out: {kind} track" in note for note in sink.notes)
    assert len(frames_of(out)) == FRAMES


@pytest.mark.parametrize(
    ("suffix", "beside", "found"),
    [
        (".mkv", {}, ""),
        (".mkv", {"spoken": SPOKEN}, ""),
        (".mkv", {"attached": PLACE}, "a track of type attachment"),
        (".ts", {"sensed": PLACE}, "a track of type data"),
    ],
)
def test_the_last_look_names_tracks_that_may_not_be_there(tmp_path, suffix, beside, found):
    assert find_leftovers(make_with(tmp_path / f"in{suffix}", **beside), av) == found
