"""Hardware encoders are used if present, and otherwise refused with a reason."""

import numpy as np
import pytest

from styleid.errors import OptionError
from styleid.media.provenance import MarkOptions
from styleid.media.video.encoders import ENCODERS, encoder_name, hardware_settings, require_encoder, usual_bit_rate
from styleid.media.video.live_sink import LiveSink
from styleid.media.video.live_source import LiveSource
from styleid.media.video.reader import VideoClip
from styleid.media.video.side_tracks import TrackOptions
from styleid.media.video.writer import EncodeOptions, VideoSink, container_of

av = pytest.importorskip("av", reason="videos are read by PyAV: pip install 'styleid[video]'")
HARDWARE = [name for name in ENCODERS if name != "software"]


class Opened:
    """A context that opens, or does not."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def open(self) -> None:
        if self._error is not None:
            raise self._error


class Linked:
    """An FFmpeg with all encoders, which open or do not."""

    codecs_available = frozenset(f"{codec}_{name}" for codec in ("h264", "hevc") for name in HARDWARE)
    error = av.error

    def __init__(self, error: Exception | None = None) -> None:
        self.CodecContext = type("CodecContext", (), {"create": staticmethod(lambda name, mode: Opened(error))})


@pytest.mark.parametrize(
    ("codec", "encoder", "name"),
    [
        ("h264", "software", "libx264"),
        ("h265", "software", "libx265"),
        ("ffv1", "software", "ffv1"),
        ("h264", "nvenc", "h264_nvenc"),
        ("h265", "vaapi", "hevc_vaapi"),
        ("h264", "videotoolbox", "h264_videotoolbox"),
    ],
)
def test_encoders_have_ffmpegs_names(codec, encoder, name):
    assert encoder_name(codec, encoder) == name


@pytest.mark.parametrize(
    ("codec", "encoder", "quality", "says"),
    [
        ("ffv1", "nvenc", "source", "encoder: nvenc does not write ffv1"),
        ("h264", "videotoolbox", "18", "quality: videotoolbox has no constant quality"),
    ],
)
def test_what_an_encoder_cannot_do_is_said(codec, encoder, quality, says):
    with pytest.raises(OptionError, match=says):
        require_encoder(codec, encoder, quality)


def test_an_unknown_encoder_is_refused():
    with pytest.raises(OptionError, match="choose one of software, nvenc"):
        EncodeOptions(encoder="quicksync")  # type: ignore[arg-type]


def test_an_encoder_that_is_not_linked_is_named(monkeypatch):
    linked = Linked()
    linked.codecs_available = frozenset({"libx264"})
    monkeypatch.setattr("styleid.media.video.encoders.import_av", lambda: linked)
    with pytest.raises(OptionError, match="has no h264_vaapi"):
        require_encoder("h264", "vaapi", "source")


def test_an_encoder_without_its_hardware_is_named(monkeypatch):
    monkeypatch.setattr("styleid.media.video.encoders.import_av", lambda: Linked(PermissionError(1, "not permitted")))
    with pytest.raises(OptionError, match=r"hevc_nvenc cannot be opened: .*\(not permitted\)"):
        require_encoder("h265", "nvenc", "20")


def test_an_encoder_that_opens_is_taken(monkeypatch):
    monkeypatch.setattr("styleid.media.video.encoders.import_av", Linked)
    require_encoder("h264", "nvenc", "18")


@pytest.mark.parametrize(
    ("encoder", "quality", "live", "expected"),
    [
        ("nvenc", "source", False, {"rc": "vbr"}),
        ("nvenc", "19", False, {"rc": "vbr", "cq": "19"}),
        ("vaapi", "19", False, {"qp": "19"}),
        ("videotoolbox", "source", True, {"realtime": "1", "prio_speed": "1"}),
    ],
)
def test_settings(encoder, quality, live, expected):
    assert hardware_settings(encoder, quality, live=live) == expected


def test_the_usual_bit_rate_grows_with_pixels_and_frames():
    assert usual_bit_rate(1280, 720, 25) == 2_304_000


@pytest.mark.parametrize("encoder", HARDWARE)
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_hardware_writes_what_software_writes(encoder, codec, tmp_path):
    """Runs where the hardware is: the pictures must be those that were given."""
    encode = EncodeOptions(codec, encoder=encoder)
    try:
        container_of(tmp_path / "out.mp4", encode)
    except OptionError as error:
        pytest.skip(error.reason)
    source = tmp_path / "in.mp4"
    image = np.zeros((256, 256, 3), np.uint8)
    image[:, :128] = (180, 90, 40)
    with av.open(str(source), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "10"})
        (stream.width, stream.height), stream.pix_fmt = (256, 256), "yuv420p"
        for _ in range(10):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        out.mux(stream.encode(None))
    clip = VideoClip(source)
    sink = VideoSink(clip, tmp_path / "out.mp4", encode, TrackOptions())
    for frame in clip.frames():
        sink.write(frame, None, None)
    sink.finish()
    pictures = LiveSource(source)
    live = LiveSink(tmp_path / "live.mp4", pictures.form, encode, MarkOptions(mark="none"))
    for frame in pictures.frames():
        live.write(frame, None, None, generated=False)
    live.finish()
    for name in ("out.mp4", "live.mp4"):
        with av.open(str(tmp_path / name)) as made:
            shown = [frame.to_ndarray(format="rgb24") for frame in made.decode(video=0)]
        assert len(shown) == 10
        assert all(np.abs(one.astype(int) - image).mean() < 4 for one in shown)
