"""Live sources and outputs: addresses, local streams, lost pictures and changes of size."""

import io
import itertools
import socket
import subprocess
import sys
import threading
import time
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from styleid.errors import OptionError, OutputError, VideoError
from styleid.media.provenance import MarkOptions
from styleid.media.video.live_address import LiveAddress, live_place
from styleid.media.video.live_sink import LiveSink, live_container
from styleid.media.video.live_source import LiveSource
from styleid.media.video.writer import EncodeOptions
from tests.media.video.rtsp_camera import RtspCamera

av = pytest.importorskip("av", reason="videos are read by PyAV: pip install 'styleid[video]'")
RATE = 25
PLAIN = MarkOptions(mark="none")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("clip.mp4", Path("clip.mp4")),
        ("/dev/video0", Path("/dev/video0")),
        ("file:///a/b.mp4", Path("/a/b.mp4")),
        ("rtsp://camera/1", LiveAddress("rtsp://camera/1")),
        ("UDP://0.0.0.0:9", LiveAddress("UDP://0.0.0.0:9")),
        ("s3://bucket/clip.mp4", None),
    ],
)
def test_a_text_names_a_path_or_a_stream(text, found):
    assert live_place(text) == found


def test_an_address_is_shown_without_its_secrets():
    assert str(LiveAddress("rtsp://me:secret@camera:554/1?token=abc")) == "rtsp://camera:554/1"


def test_ffmpeg_may_open_no_file_for_an_address():
    for scheme in ("rtsp", "rtmp", "udp", "tcp", "http", "https", "srt"):
        assert "file" not in LiveAddress(f"{scheme}://host/x").protocols.split(",")


@pytest.mark.parametrize(
    ("out", "encode", "marking", "option"),
    [
        (LiveAddress("http://host/x"), EncodeOptions(), PLAIN, "out"),
        (LiveAddress("udp://host:9"), EncodeOptions("ffv1"), PLAIN, "codec"),
        (Path("out.avi"), EncodeOptions(), PLAIN, "out"),
        (Path("out.mp4"), EncodeOptions("ffv1"), PLAIN, "codec"),
    ],
)
def test_outputs_that_cannot_be_are_refused(out, encode, marking, option):
    with pytest.raises(OptionError, match=option):
        live_container(out, encode, marking)


def picture(i: int, size=(96, 64)) -> np.ndarray:
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[..., 0], image[..., 1] = 40 + 3 * i, np.linspace(0, 200, size[0], dtype=np.uint8)
    return image


def clip(path: Path, frames: int = 8, size=(96, 64), codec: str = "libx264", pixels: str = "yuv420p") -> Path:
    with av.open(str(path), "w") as out:
        _send(out, frames, size, codec=codec, pixels=pixels)
    return path


def _send(out, frames: int, size=(96, 64), codec: str = "libx264", pixels: str = "yuv420p"):
    options = {"crf": "10", "preset": "ultrafast", "tune": "zerolatency", "g": "5"} if codec == "libx264" else {}
    stream = out.add_stream(codec, rate=RATE, options=options)
    (stream.width, stream.height), stream.pix_fmt = size, pixels
    for i in range(frames):
        out.mux(stream.encode(av.VideoFrame.from_ndarray(picture(i, size), "rgb24")))
    out.mux(stream.encode(None))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Peer:
    """The other end of a stream on this machine: sends bytes to whoever connects, or keeps those that come."""

    def __init__(self, sent: bytes = b"", then_s: float = 0.0) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = LiveAddress(f"tcp://127.0.0.1:{self._listening.getsockname()[1]}")
        self.got, self._sent, self._then = bytearray(), sent, then_s
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._listening, self._listening.accept()[0] as other:
            other.sendall(self._sent)
            time.sleep(self._then)
            if not self._sent:
                while part := other.recv(1 << 16):
                    self.got += part

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()


def stream_of(frames: int) -> bytes:
    made = io.BytesIO()
    with av.open(made, "w", format="mpegts") as out:
        _send(out, frames)
    return made.getvalue()


def test_a_stream_is_read_to_its_end():
    peer = Peer(stream_of(30))
    source = LiveSource(peer.address)
    got = list(source.frames())
    source.close()
    peer.join()
    assert (source.form.width, source.form.height, source.form.codec) == (96, 64, "h264")
    assert len(got) == 30
    assert [frame.time_s for frame in got] == sorted(frame.time_s for frame in got)
    assert got[-1].time_s == pytest.approx(29 / RATE, abs=0.01)
    assert np.abs(got[20].image_rgb.astype(int) - picture(20)).mean() < 4


def test_a_stream_that_stops_sending_is_lost(monkeypatch):
    monkeypatch.setattr("styleid.media.video.live_source.TIMEOUT_S", 1.0)
    peer = Peer(stream_of(30), then_s=2.0)
    source = LiveSource(peer.address)
    with pytest.raises(VideoError, match="sent nothing for 1 seconds"):
        list(source.frames())
    peer.join()


def coded(frames: int) -> list[bytes]:
    """Return coded pictures, each with what the decoder needs at key pictures."""
    made = io.BytesIO()
    with av.open(made, "w", format="h264") as out:
        _send(out, frames)
    made.seek(0)
    with av.open(made, format="h264") as container:
        return [bytes(packet) for packet in container.demux() if packet.size]


def test_a_camera_is_read_by_rtsp():
    camera = RtspCamera(coded(30), RATE)
    source = LiveSource(camera.address)
    got = list(source.frames())
    source.close()
    camera.join()
    assert (source.form.width, source.form.height, source.form.codec) == (96, 64, "h264")
    assert camera.asked[-1] == "PLAY"
    assert len(got) == 30
    assert got[-1].time_s == pytest.approx(29 / RATE, abs=0.01)
    assert np.abs(got[20].image_rgb.astype(int) - picture(20)).mean() < 4


def test_a_camera_that_refuses_the_password_is_named_without_it():
    camera = RtspCamera(coded(1), RATE)
    other = LiveAddress(camera.address.text.replace("secret", "wrong"))
    with pytest.raises(VideoError, match="cannot be opened or read") as raised:
        LiveSource(other)
    assert "wrong" not in str(raised.value)
    assert "PLAY" not in camera.asked


def test_nobody_at_an_address_is_named_without_the_password():
    with pytest.raises(VideoError, match=r"cannot be opened or read \(Connection refused\)") as raised:
        LiveSource(LiveAddress(f"rtsp://me:secret@127.0.0.1:{free_port()}/x"))
    assert "secret" not in str(raised.value)


def test_a_device_that_is_no_camera_is_named():
    with pytest.raises(VideoError, match="cannot be opened or read"):
        LiveSource(Path("/dev/null"))


def test_a_file_is_played_at_its_own_speed(tmp_path):
    source, begun = LiveSource(clip(tmp_path / "in.mp4", 11)), time.monotonic()
    got = list(source.frames())
    assert len(got) == 11
    assert time.monotonic() - begun > 10 / RATE - 0.02
    assert all(b.arrived_s > a.arrived_s for a, b in itertools.pairwise(got))


def test_pictures_that_change_size_end_the_source(tmp_path):
    parts = [clip(tmp_path / f"{k}.h264", 5, size) for k, size in enumerate([(96, 64), (64, 48)])]
    joined = tmp_path / "joined.h264"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    source, seen = LiveSource(joined), []
    with pytest.raises(VideoError, match="change size, from 96 x 64 to 64 x 48"):
        seen.extend(frame.index for frame in source.frames())


@pytest.mark.parametrize("name", ["sound.wav", "list.m3u8", "text.mp4"])
def test_what_has_no_picture_is_refused(tmp_path, name):
    path = tmp_path / name
    if name == "sound.wav":
        with wave.open(str(path), "wb") as out:
            out.setparams((1, 2, 8000, 0, "NONE", ""))
            out.writeframes(bytes(1600))
    else:
        path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nin.ts\n" if name == "list.m3u8" else "no video")
    with pytest.raises(VideoError):
        LiveSource(path)


@pytest.mark.parametrize(
    ("name", "codec", "coded"),
    [
        ("a.mp4", "h264", "h264"),
        ("a.mov", "h265", "hevc"),
        ("a.mkv", "ffv1", "ffv1"),
        ("a.mkv", "h264", "h264"),
    ],
)
def test_a_file_is_written_whole_and_marked(tmp_path, name, codec, coded):
    source = LiveSource(clip(tmp_path / "in.mp4"))
    sink = LiveSink(tmp_path / name, source.form, EncodeOptions(codec), MarkOptions())
    changed = np.zeros((64, 96), bool)
    changed[20:40, 30:60] = True
    for frame in source.frames():
        painted = frame.image_rgb.copy()
        painted[changed] = 250
        sink.write(frame, painted, changed, generated=True)
    digest = sink.finish()
    assert (len(digest), sink.mark) == (64, "iptc")
    with av.open(str(tmp_path / name)) as made:
        assert made.streams.video[0].codec_context.codec.canonical_name == coded
        shown = [frame.to_ndarray(format="rgb24") for frame in made.decode(video=0)]
    assert len(shown) == 8
    assert shown[3][22:38, 34:56].mean() > 235
    assert np.abs(shown[3][:16].astype(int) - picture(3)[:16]).mean() < 6
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".part"] == []


def test_an_untouched_matroska_loses_its_tag(tmp_path):
    source = LiveSource(clip(tmp_path / "in.mp4"))
    sink = LiveSink(tmp_path / "a.mkv", source.form, EncodeOptions(), MarkOptions())
    for frame in source.frames():
        sink.write(frame, None, None, generated=False)
    sink.finish()
    assert sink.mark == ""
    assert b"digitalsourcetype" not in (tmp_path / "a.mkv").read_bytes()


def test_turned_pictures_are_written_upright(tmp_path):
    with av.open(str(tmp_path / "in.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"crf": "10"})
        (stream.width, stream.height), stream.pix_fmt = (96, 64), "yuv420p"
        stream.set_display_matrix((0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30))
        for i in range(4):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture(i), "rgb24")))
        out.mux(stream.encode(None))
    source = LiveSource(tmp_path / "in.mp4")
    assert (source.form.width, source.form.height) == (64, 96)
    sink = LiveSink(tmp_path / "a.mp4", source.form, EncodeOptions(), PLAIN)
    frames = list(source.frames())
    for frame in frames:
        sink.write(frame, None, None, generated=False)
    sink.finish()
    with av.open(str(tmp_path / "a.mp4")) as made:
        shown = next(made.decode(video=0))
        assert not [side for side in shown.side_data if "DISPLAYMATRIX" in str(side.type)]
        assert np.abs(shown.to_ndarray(format="rgb24").astype(int) - frames[0].image_rgb).mean() < 6


def test_a_stream_is_sent_to_who_listens(tmp_path):
    peer = Peer()
    source = LiveSource(clip(tmp_path / "in.mp4", 20))
    sink = LiveSink(peer.address, source.form, EncodeOptions(), MarkOptions())
    for frame in source.frames():
        sink.write(frame, None, None, generated=False)
    assert sink.finish() == ""
    peer.join()
    with av.open(io.BytesIO(bytes(peer.got))) as made:
        assert made.format.name == "mpegts"
        got = [frame.to_ndarray(format="rgb24") for frame in made.decode(video=0)]
    assert len(got) == 20
    assert np.abs(got[10].astype(int) - picture(10)).mean() < 6


def test_a_receiver_that_is_not_there_is_named(tmp_path):
    source = LiveSource(clip(tmp_path / "in.mp4", 2))
    with pytest.raises(OutputError, match=r"cannot be written \(Connection refused\)"):
        LiveSink(LiveAddress(f"tcp://127.0.0.1:{free_port()}"), source.form, EncodeOptions(), PLAIN)


def test_an_abandoned_file_leaves_nothing(tmp_path):
    source = LiveSource(clip(tmp_path / "in.mp4", 2))
    sink = LiveSink(tmp_path / "a.mp4", source.form, EncodeOptions(), PLAIN)
    sink.abandon()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4"]


def test_odd_sizes_are_written(tmp_path):
    source = LiveSource(clip(tmp_path / "in.mkv", 3, (95, 63), "ffv1", "bgr0"))
    sink = LiveSink(tmp_path / "a.mp4", source.form, EncodeOptions(quality="12"), PLAIN)
    for frame in source.frames():
        sink.write(frame, None, None, generated=False)
    sink.finish()
    with av.open(str(tmp_path / "a.mp4")) as made:
        shown = next(made.decode(video=0))
    assert (shown.width, shown.height) == (95, 63)
    assert source.form.rate == Fraction(RATE)
    assert np.abs(shown.to_ndarray(format="rgb24").astype(int) - picture(0, (95, 63))).mean() < 6


RECEIVER = """
import sys
import av
options = {"rtsp_flags": "listen", "listen_timeout": "20"}
with av.open(sys.argv[1], options=options, timeout=20) as coming:
    print(sum(1 for frame in coming.decode(video=0)), coming.streams.video[0].codec_context.name)
"""
"""In a process of its own: opening an output holds Python's lock until somebody answers."""


def test_a_stream_is_published_by_rtsp(tmp_path):
    address = f"rtsp://127.0.0.1:{free_port()}/live"
    receiver = subprocess.Popen([sys.executable, "-c", RECEIVER, address], stdout=subprocess.PIPE, text=True)
    source = LiveSource(clip(tmp_path / "in.mp4", 20))
    sink = _once_it_listens(LiveAddress(address), source)
    for frame in source.frames():
        sink.write(frame, None, None, generated=False)
    sink.finish()
    assert receiver.communicate(timeout=30)[0].split() == ["20", "h264"]


def _once_it_listens(address: LiveAddress, source: LiveSource) -> LiveSink:
    for _ in range(100):
        try:
            return LiveSink(address, source.form, EncodeOptions(), PLAIN)
        except OutputError:
            time.sleep(0.1)
    raise AssertionError(f"nobody listens at {address}")
