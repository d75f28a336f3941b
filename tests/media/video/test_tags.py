"""No tag, title, subtitle or audio header of an output contains a picture, whatever is allowed."""

import base64
import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from styleid.errors import OutputError
from styleid.media.video.side_tracks import ALLOWED, SideTracks, TrackOptions
from styleid.media.video.tags import bare_header, safe_chapters, safe_tags
from tests.media.video.test_side_tracks import kinds, make_with
from tests.media.video.test_video import audio_of, make_video, picture, rewrite
from tests.media.video.test_visible import element, number

pytestmark = pytest.mark.versions

av = pytest.importorskip("av", reason="videos are read with PyAV: pip install 'styleid[video]'")

EVERYTHING = ",".join(ALLOWED)


def cover(form: str = "JPEG") -> bytes:
    """Return a small picture in a format."""
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture(0)[::2, ::2])).save(stream, form)
    return stream.getvalue()


def flac_block(data: bytes) -> bytes:
    """Return a picture as FLAC's METADATA_BLOCK_PICTURE has it, in base64."""
    kind = b"image/jpeg"
    head = (3).to_bytes(4, "big") + len(kind).to_bytes(4, "big") + kind + bytes(20) + len(data).to_bytes(4, "big")
    return base64.b64encode(head + data)


HIDING = {
    "COVERART": base64.b64encode(cover()),
    "METADATA_BLOCK_PICTURE": flac_block(cover()),
    "comment": b"look: " + base64.urlsafe_b64encode(cover("PNG")),
    "lines": b"\n".join(base64.b64encode(cover())[i : i + 60] for i in range(0, 1200, 60)),
    "hexed": cover().hex().encode(),
    "ascii85": base64.b85encode(cover("WEBP")),
    "uri": b"data:image/jpeg;base64," + base64.b64encode(cover()),
    "drawing": b"<svg xmlns='http://www.w3.org/2000/svg'><path d='M0 0L9 9'/></svg>",
    "pixels": " ".join(str(v) for v in picture(0)[::4, ::4, 0].ravel()).encode(),
}
HARMLESS = {"title": "Anna's birthday", "artist": "Björn and 李小龍", "url": "https://example.org/v=a", "year": "2026"}


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov"])
def test_tags_with_pictures_are_left_out_and_named(tmp_path, suffix):
    source, out = tmp_path / "in.mkv", tmp_path / f"out.{suffix}"
    tags = HARMLESS | {name: value.decode() for name, value in HIDING.items()}
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.metadata.update(tags)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture(0)[:64, :64]), "rgb24")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    sink = rewrite_small(source, out)
    with av.open(str(out)) as container:
        left = {name.lower(): value for name, value in container.metadata.items()}
    assert not {name.lower() for name in HIDING} & left.keys()
    assert left["title"] == HARMLESS["title"]
    if suffix == "mkv":
        assert {k: left[k] for k in HARMLESS} == HARMLESS
    data = out.read_bytes()
    assert not any(value[20:60] in data for value in HIDING.values())
    (note,) = (n for n in sink.notes if "contain a picture" in n)
    assert all(name.lower() in note.lower() for name in HIDING)


def rewrite_small(source: Path, out: Path):
    from styleid.media.video.reader import VideoClip
    from styleid.media.video.writer import EncodeOptions, VideoSink

    clip = VideoClip(source)
    sink = VideoSink(clip, out, EncodeOptions(), TrackOptions("keep", EVERYTHING))
    for frame in clip.frames():
        sink.write(frame, None, None)
    sink.finish()
    return sink


def test_a_picture_in_pieces_is_a_picture():
    text = base64.b64encode(cover()).decode()
    pieces = {f"part{i}": text[i : i + 200] for i in range(0, len(text), 200)}
    kept, left_out = safe_tags(pieces)
    assert kept == {}
    assert left_out == list(pieces)
    made, names = safe_chapters({"id": i, "metadata": {"title": one}} for i, one in enumerate(pieces.values()))
    assert [chapter["metadata"] for chapter in made] == [{}] * len(pieces)
    assert names[-1] == "titles of chapters"


def test_names_and_bytes_that_are_no_text_are_left_out():
    long = base64.b64encode(cover()).decode()
    kept, left_out = safe_tags({"title": "a", long: "b", "raw": "\x01\x02\x03JFIF", "": "\x00"})
    assert kept == {"title": "a"}
    assert left_out == [long[:40], "raw", "a tag without a name"]


def test_titles_of_chapters_hold_no_picture(tmp_path):
    source, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    make_video(source)
    titles = ["The cake", base64.b64encode(cover()).decode()]
    chapters = [
        {"id": i, "start": 300 * i, "end": 300 * i + 300, "time_base": Fraction(1, 1000), "metadata": {"title": title}}
        for i, title in enumerate(titles)
    ]
    made, names = safe_chapters(chapters)
    assert [c["metadata"] for c in made] == [{"title": "The cake"}, {}]
    assert names == ["title"]
    with av.open(str(source)) as before, av.open(str(tmp_path / "with.mkv"), "w") as after:
        stream = after.add_stream_from_template(before.streams.video[0])
        after.set_chapters(chapters)
        for packet in before.demux(video=0):
            if packet.size:
                packet.stream = stream
                after.mux(packet)
    sink = rewrite(tmp_path / "with.mkv", out, side=TrackOptions(allow="chapters"))
    with av.open(str(out)) as container:
        assert [c["metadata"].get("title") for c in container.chapters()] == ["The cake", None]
    assert any("left out: title" in note for note in sink.notes)


def lines_of(text: bytes) -> str:
    """Return subtitles that show a text in lines, a hundred characters every 20 ms."""
    pieces = [text[i : i + 100].decode() for i in range(0, len(text), 100)][:40]
    times = [f"00:00:00,{20 * i:03d}" for i in range(41)]
    return "\n\n".join(f"{i + 1}\n{times[i]} --> {times[i + 1]}\n{piece}" for i, piece in enumerate(pieces))


def test_subtitles_that_spell_a_picture_are_left_out(tmp_path):
    spoken = lines_of(base64.b64encode(cover()))
    source, out = make_with(tmp_path / "in.mkv", spoken=spoken), tmp_path / "out.mkv"
    sink = rewrite(source, out, side=TrackOptions(allow="subtitles"))
    assert kinds(out) == ["video"]
    assert any("contain a picture or an attached file" in note for note in sink.notes)


@pytest.mark.parametrize(
    ("codec", "header", "why"),
    [
        (b"S_HDMV/PGS", b"", "they are pictures"),
        (b"S_VOBSUB", b"size: 720x576\n", "they are pictures"),
        (b"S_TEXT/ASS", b"[Script Info]\n\n[Graphics]\nfilename: a.png\n!!!!\n", "an attached file"),
        (b"S_TEXT/ASS", b"[Script Info]\n; " + base64.b64encode(cover()), "contain a picture"),
    ],
)
def test_subtitles_that_show_pictures_are_left_out(tmp_path, codec, header, why):
    plain, source, out = tmp_path / "plain.mkv", tmp_path / "in.mkv", tmp_path / "out.mkv"
    make_video(plain)
    private = [element(0x63A2, header)] if header else []
    track = element(0xAE, number(0xD7, 2), number(0x73C5, 2), number(0x83, 0x11), element(0x86, codec), *private)
    source.write_bytes(with_track(plain.read_bytes(), track))
    assert kinds(source) == ["video", "subtitle"]
    sink = rewrite(source, out, side=TrackOptions(allow="subtitles"))
    assert kinds(out) == ["video"]
    assert any(why in note for note in sink.notes)


def with_track(data: bytes, track: bytes) -> bytes:
    """Add a track to a Matroska file of PyAV's; what points to places further on is taken out."""
    cluster = data.index(b"\x1f\x43\xb6\x75")
    at, end = (data.rindex(name, 0, cluster) for name in (b"\x16\x54\xae\x6b", b"\x12\x54\xc3\x67"))
    width = 9 - data[at + 4].bit_length()
    entries = data[at + 4 + width + 6 : end]  # without the check sum
    segment = data.index(b"\x18\x53\x80\x67")
    clusters = data[cluster : data.rindex(b"\x1c\x53\xbb\x6b")]
    info = element(0x1549A966, number(0x2AD7B1, 1_000_000))
    return data[:segment] + element(0x18538067, info, element(0x1654AE6B, entries, track), clusters)


def vorbis_header(*comments: bytes) -> bytes:
    first, setup = b"\x01vorbis" + bytes(23), b"\x05vorbis" + bytes(900)
    told = b"".join(len(c).to_bytes(4, "little") + c for c in comments)
    second = b"\x03vorbis" + (4).to_bytes(4, "little") + b"Xiph" + len(comments).to_bytes(4, "little") + told + b"\x01"
    return laced(first, second, setup)


def laced(*parts: bytes) -> bytes:
    """Return three parts as Ogg laces them, the sizes of all but the last before them."""
    sizes = b"".join(b"\xff" * (len(part) // 255) + bytes([len(part) % 255]) for part in parts[:-1])
    return bytes([len(parts) - 1]) + sizes + b"".join(parts)


def test_comments_in_the_header_of_vorbis_go():
    header = bare_header("vorbis", vorbis_header(b"METADATA_BLOCK_PICTURE=" + flac_block(cover()), b"ARTIST=Anna"))
    assert header is not None
    assert b"Anna" not in header
    assert b"PICTURE" not in header
    assert header == bare_header("vorbis", header)
    assert header.endswith(b"\x05vorbis" + bytes(900))


@pytest.mark.parametrize("header", [b"\x02\x1e", b"\x02\xff\xff", b"\x00\x1e\x01vorbis", b"\x02\x01\x01ab", b"\x01"])
def test_headers_of_vorbis_that_are_not_known_are_not_carried(header):
    assert bare_header("vorbis", header) is None


def test_headers_of_other_sound_are_carried_where_they_are_short():
    assert bare_header("aac", b"\x12\x10") == b"\x12\x10"
    assert bare_header("mp3", None) == b""
    assert bare_header("alac", bytes(9000)) is None
    assert bare_header("flac", bytes(34)) == bytes(34)
    block = b"\x86" + len(flac_block(cover())).to_bytes(3, "big") + flac_block(cover())
    assert bare_header("flac", b"fLaC\0\0\0\x22" + b"s" * 34 + block) == b"fLaC\x80\0\0\x22" + b"s" * 34
    assert bare_header("flac", block) is None


def test_vorbis_is_copied_without_its_comments(tmp_path):
    source, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    with av.open(str(source), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 192, 112, "yuv420p"
        sound = container.add_stream("vorbis", rate=48_000, layout="stereo", options={"strict": "experimental"})
        for i in range(24):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture(i), "rgb24")))
        container.mux(video.encode(None))
        wave = 0.3 * np.sin(np.arange(48_000) / 30).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), "fltp", "stereo")
        frame.sample_rate, frame.pts = 48_000, 0
        container.mux([*sound.encode(frame), *sound.encode(None)])
    tagged = tmp_path / "tagged.mkv"
    with av.open(str(source)) as before, av.open(str(tagged), "w") as after:
        copies = {s.index: after.add_stream_from_template(s) for s in before.streams}
        bare = before.streams.audio[0].codec_context.extradata
        setup = bare[bare.index(b"\x05vorbis") :]
        comment = b"\x03vorbis" + bytes(4) + (1).to_bytes(4, "little") + (11).to_bytes(4, "little") + b"ARTIST=Anna\x01"
        copies[1].codec_context.extradata = laced(bare[3:33], comment, setup)
        for packet in before.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                after.mux(packet)
    assert b"Anna" in tagged.read_bytes()
    sink = rewrite(tagged, out, side=TrackOptions(audio="keep"))
    assert b"Anna" not in out.read_bytes()
    with av.open(str(out)) as container:
        assert container.streams.audio[0].codec_context.name == "vorbis"
    assert np.allclose(audio_of(source)[1], audio_of(out)[1], atol=1e-5)
    assert not any("audio" in note for note in sink.notes)


@pytest.mark.parametrize("what", ["tags", "chapters", "track"])
def test_a_finished_file_is_looked_at_before_it_is_named(tmp_path, monkeypatch, what):
    """Should the writer let something through, nothing is written."""
    source, out = tmp_path / "in.mkv", tmp_path / "to" / "out.mkv"
    make_video(source)
    text = base64.b64encode(cover()).decode()
    chapter = {"id": 1, "start": 0, "end": 300, "time_base": Fraction(1, 1000), "metadata": {"title": text}}
    usual = SideTracks.__init__

    def let_through(self, clip, output, *options):
        if what == "tags":
            output.metadata["cover"] = text
        elif what == "chapters":
            output.set_chapters([chapter])
        else:
            output.add_attachment("cover.jpg", "image/jpeg", cover())
        usual(self, clip, output, *options)

    monkeypatch.setattr(SideTracks, "__init__", let_through)
    with pytest.raises(OutputError, match="it would contain"):
        rewrite(source, out)
    assert list(out.parent.iterdir()) == []
