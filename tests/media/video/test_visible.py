"""Parts of pictures that a file hides, by transparency or a crop, are not written."""

import io
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from styleid.errors import VideoError
from styleid.media.containers.errors import BadFileError
from styleid.media.video.headers import CleanAperture, PixelCrop, read_headers
from styleid.media.video.planes import PixelColours, planes_of
from styleid.media.video.reader import VideoClip
from styleid.media.video.visible import Visible
from styleid.media.video.writer import EncodeOptions
from tests.media.video.test_video import frames_of, make_video, rewrite

av = pytest.importorskip("av", reason="videos are read with PyAV: pip install 'styleid[video]'")

WIDTH, HEIGHT, FRAMES = 96, 64, 5
HIDDEN = 48
LOSSLESS = EncodeOptions("ffv1")


def picture(i: int, alpha: np.ndarray | int = 255) -> np.ndarray:
    """Return a patterned picture, RGBA."""
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    return np.stack([100 + x, 255 - 2 * y, 60 + 10 * i + 0 * x, np.full_like(x, 0) + alpha], -1).astype(np.uint8)


def half_hidden() -> np.ndarray:
    alpha = np.full((HEIGHT, WIDTH), 255)
    alpha[:, :HIDDEN] = 0
    return alpha


def write(path: Path, codec: str, pixels: str, alpha, frames: int = FRAMES, **options: str) -> Path:
    """Write pictures with an alpha channel through PyAV."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(i, alpha), "rgba").reformat(format=pixels)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def element(name: int, *parts: bytes) -> bytes:
    """Return an element of Matroska with a size of eight bytes."""
    body = b"".join(parts)
    return name.to_bytes((name.bit_length() + 7) // 8, "big") + (len(body) | 1 << 56).to_bytes(8, "big") + body


def number(name: int, value: int) -> bytes:
    return element(name, value.to_bytes(4, "big"))


def webm_with_alpha(path: Path, codec: str, alpha: np.ndarray, name: bytes = b"") -> Path:
    """Write VP8 or VP9 with the alpha as a second picture beside each packet, as browsers and FFmpeg do."""
    coded = []
    for i, pixels in enumerate((picture(0)[..., :3], np.repeat(alpha[..., None], 3, -1).astype(np.uint8))):
        coder = av.CodecContext.create(codec, "w")
        coder.width, coder.height, coder.pix_fmt, coder.time_base = WIDTH, HEIGHT, "yuv420p", Fraction(1, 10)
        coder.options = {"auto-alt-ref": "0", "lag-in-frames": "0", "crf": "4", "b": "2M"}
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
        planar = frame.reformat(format="yuv420p", dst_color_range=2 if i else 1)
        packets = []
        for at in range(FRAMES):
            planar.pts, planar.time_base = at, Fraction(1, 10)
            packets += coder.encode(planar)
        coded.append([bytes(p) for p in (*packets, *coder.encode(None))])
    shape = element(0xE0, number(0xB0, WIDTH), number(0xBA, HEIGHT), number(0x53C0, 1))
    name = name or {"libvpx": b"V_VP8", "libvpx-vp9": b"V_VP9"}[codec]
    track = element(0xAE, number(0xD7, 1), number(0x73C5, 1), number(0x83, 1), element(0x86, name), shape)
    groups = []
    for at, (colours, veil) in enumerate(zip(*coded, strict=True)):
        block = element(0xA1, b"\x81" + (100 * at).to_bytes(2, "big") + b"\x00" + colours)
        more = element(0x75A1, element(0xA6, number(0xEE, 1), element(0xA5, veil)))
        groups.append(element(0xA0, block, more, number(0x9B, 100), *([element(0xFB, b"\x9c")] if at else [])))
    head = element(0x1A45DFA3, element(0x4282, b"webm"))
    info = element(0x1549A966, number(0x2AD7B1, 1_000_000))
    cluster = element(0x1F43B675, number(0xE7, 0), *groups)
    path.write_bytes(head + element(0x18538067, info, element(0x1654AE6B, track), cluster))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.mov", "prores_ks", "yuva444p10le"),
        ("a.mov", "qtrle", "argb"),
        ("a.mov", "png", "rgba"),
        ("a.mov", "png", "rgba64be"),
        ("a.mov", "png", "ya8"),
        ("a.mkv", "ffv1", "yuva420p"),
        ("a.mkv", "ffv1", "bgra"),
        ("a.avi", "utvideo", "gbrap"),
        ("a.avi", "rawvideo", "bgra"),
        ("a.apng", "apng", "rgba"),
    ],
)
def test_transparent_parts_are_one_colour(tmp_path, name, codec, pixels):
    source, out = write(tmp_path / name, codec, pixels, half_hidden()), tmp_path / "out.mkv"
    rewrite(source, out, encode=LOSSLESS)
    frames = frames_of(out)
    assert len(frames) == FRAMES
    for i, frame in enumerate(frames):
        rim = 2 if pixels == "yuva420p" else 0  # RGB mixes neighbours' chroma; the planes are looked at below
        assert not frame.image_rgb[:, : HIDDEN - rim].any()
        if pixels != "ya8":
            seen = frame.image_rgb[:, HIDDEN + 2 :].astype(int)
            assert np.abs(seen - picture(i)[:, HIDDEN + 2 :, :3]).mean() < 6
    clip = VideoClip(source)
    list(clip.frames())
    assert clip.info.notes == ("transparent parts were filled with black",)


def test_every_format_with_transparency_is_filled():
    clear = av.VideoFrame.from_ndarray(picture(0, 0), "rgba")
    tried = 0
    for name in sorted(av.video.format.names):
        if not any(part.is_alpha for part in av.VideoFormat(name).components):
            continue
        try:
            frame = clear.reformat(format=name)
        except (OSError, ValueError):  # formats that FFmpeg converts nothing to
            continue
        frame.pts, frame.time_base = 0, Fraction(1, 10)
        visible = Visible("png", b"", None, av)
        shown, hidden = visible.of(frame)
        assert not any(part.is_alpha for part in shown.format.components), name
        assert hidden is not None
        assert hidden.all(), name
        assert not PixelColours.of(frame).to_rgb(shown).any(), name
        assert (visible.filled, visible.shown) == (True, False), name
        tried += 1
    assert tried > 40


def test_a_transparent_colour_of_a_palette_is_filled(tmp_path):
    source, out = tmp_path / "a.mov", tmp_path / "out.mkv"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("png", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "pal8"
        for i in range(FRAMES):
            image = Image.fromarray(picture(i)[..., :3]).quantize(200)
            image.paste(201, (0, 0, HIDDEN, HEIGHT))
            image.putpalette([*image.getpalette()[:600], 0, 0, 0, 250, 90, 30])
            coded = io.BytesIO()
            image.save(coded, "PNG", transparency=201)
            packet = av.Packet(coded.getvalue())
            packet.pts = packet.dts = i
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 10), stream, True
            container.mux(packet)
    with av.open(str(source)) as container:
        assert next(container.decode(video=0)).format.name == "pal8"
    rewrite(source, out, encode=LOSSLESS)
    for frame in frames_of(out):
        assert not frame.image_rgb[:, :HIDDEN].any()
        assert frame.image_rgb[:, HIDDEN:].std() > 20


def test_a_transparent_colour_of_a_gif_is_filled(tmp_path):
    source, out = tmp_path / "a.gif", tmp_path / "out.mkv"
    images = [Image.fromarray(picture(i, half_hidden()), "RGBA") for i in range(FRAMES)]
    images[0].save(source, save_all=True, append_images=images[1:], duration=100, loop=0, disposal=2)
    rewrite(source, out, encode=LOSSLESS)
    assert all(not frame.image_rgb[:, :HIDDEN].any() for frame in frames_of(out))


@pytest.mark.parametrize(("codec", "pixels"), [("ffv1", "yuva420p"), ("png", "rgba"), ("prores_ks", "yuva444p10le")])
@pytest.mark.parametrize("edge", [HIDDEN, HIDDEN - 1])
def test_hidden_pixels_stay_black_under_a_new_face(tmp_path, codec, pixels, edge):
    alpha = np.full((HEIGHT, WIDTH), 255)
    alpha[:, :edge] = 0
    name = "a.mkv" if codec == "ffv1" else "a.mov"
    source, out = write(tmp_path / name, codec, pixels, alpha), tmp_path / "out.mkv"
    rewrite(source, out, encode=LOSSLESS, paint=True)
    with av.open(str(out)) as container:
        for frame in container.decode(video=0):
            for samples in planes_of(frame.reformat(format="gbrp") if frame.format.is_rgb else frame):
                assert np.unique(samples[:, : edge * samples.shape[1] // WIDTH]).size == 1


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_alpha_beside_the_pictures_of_webm_hides(tmp_path, codec):
    source, out = webm_with_alpha(tmp_path / "a.webm", codec, half_hidden()), tmp_path / "out.mkv"
    with av.open(str(source)) as container:
        assert next(container.decode(video=0)).format.name == "yuv420p"  # the decoder alone passes over it
    rewrite(source, out, encode=LOSSLESS)
    for frame in frames_of(out):
        assert frame.image_rgb[:, : HIDDEN - 8].max() <= 2
        seen = frame.image_rgb[:, HIDDEN + 8 :].astype(int)
        assert np.abs(seen - picture(0)[:, HIDDEN + 8 :, :3]).mean() < 6


def test_what_is_opaque_stays_bit_for_bit(tmp_path):
    source, out = write(tmp_path / "a.mkv", "ffv1", "yuva420p", half_hidden()), tmp_path / "out.mkv"
    rewrite(source, out, encode=LOSSLESS)
    with av.open(str(source)) as before, av.open(str(out)) as after:
        for one, other in zip(before.decode(video=0), after.decode(video=0), strict=True):
            assert other.format.name == "yuv420p"
            for a, b in zip(one.planes, other.planes, strict=False):
                x, y = (np.frombuffer(p, np.uint8).reshape(p.height, -1)[:, : p.width] for p in (a, b))
                hidden = HIDDEN * a.width // WIDTH
                assert np.array_equal(x[:, hidden:], y[:, hidden:])
                assert np.unique(y[:, :hidden]).size == 1


def test_half_transparent_parts_fade_and_faint_ones_go(tmp_path):
    alpha = np.full((HEIGHT, WIDTH), 128)
    alpha[:, :HIDDEN] = 15
    source, out = write(tmp_path / "a.mov", "png", "rgba", alpha), tmp_path / "out.mkv"
    rewrite(source, out, encode=LOSSLESS)
    image = frames_of(out)[0].image_rgb
    assert not image[:, :HIDDEN].any()
    assert np.abs(image[:, HIDDEN:] - picture(0)[:, HIDDEN:, :3] * (128 / 255)).max() <= 1


def test_alpha_that_hides_everything_is_no_picture(tmp_path):
    source = write(tmp_path / "a.mov", "qtrle", "argb", 0)
    with pytest.raises(VideoError, match="all of its pictures are transparent"):
        list(VideoClip(source).frames())


def test_alpha_beside_a_codec_that_has_none_is_refused(tmp_path):
    source = webm_with_alpha(tmp_path / "a.mkv", "libvpx-vp9", half_hidden(), name=b"V_MJPEG")
    with pytest.raises(VideoError, match="with the codec mjpeg"):
        VideoClip(source)


ALPHA_TOLD = bytes([39 << 1, 1, 165, 4, 0, 255, 0, 128, 128])
SECOND_MESSAGE = ALPHA_TOLD[:2] + b"\x05\x03abc" + ALPHA_TOLD[2:]
OTHER_MESSAGE = ALPHA_TOLD.replace(b"\xa5", b"\x93")


@pytest.mark.parametrize("name", ["in.mp4", "in.mov", "in.mkv", "in.ts", "in.hevc"])
@pytest.mark.parametrize("told", [ALPHA_TOLD, SECOND_MESSAGE, OTHER_MESSAGE])
def test_alpha_in_a_layer_of_h265_is_refused(tmp_path, name, told):
    with av.open(str(tmp_path / name), "w") as out:
        stream = out.add_stream("libx265", rate=10, options={"x265-params": "log-level=none"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for i in range(3):
            for packet in stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture(i)[..., :3]), "rgb24")):
                out.mux(_with_unit(packet, told))
        for i, packet in enumerate(stream.encode(None)):
            out.mux(_with_unit(packet, told) if i == 0 else packet)
    if told is OTHER_MESSAGE:
        assert len(list(VideoClip(tmp_path / name).frames())) == 3
        return
    with pytest.raises(VideoError, match="transparency in a second layer"):
        VideoClip(tmp_path / name)


def _with_unit(packet, unit: bytes):
    changed = av.Packet(b"\0\0\0\1" + unit + bytes(packet))
    for name in ("pts", "dts", "time_base", "stream", "is_keyframe", "duration"):
        setattr(changed, name, getattr(packet, name))
    return changed


CLAP = CleanAperture(Fraction(50), Fraction(40), Fraction(-20), Fraction(10))


def with_clap(source: Path, out: Path, clap: CleanAperture) -> Path:
    """Put a clean aperture into the sample entry of an MP4 whose header comes last."""
    data = bytearray(source.read_bytes())
    numbers = [n for f in (clap.width, clap.height, clap.across, clap.down) for n in (f.numerator, f.denominator)]
    box = struct.pack(">I4s8i", 40, b"clap", *numbers)
    at = data.index(b"avc1", data.index(b"stsd")) - 4
    end = at + int.from_bytes(data[at : at + 4], "big")
    data[end:end] = box
    outer = [data.rindex(kind, 0, at) - 4 for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")]
    for place in (*outer, at):
        size = int.from_bytes(data[place : place + 4], "big")
        data[place : place + 4] = (size + len(box)).to_bytes(4, "big")
    out.write_bytes(data)
    return out


def with_pixel_crop(source: Path, out: Path, crop: PixelCrop) -> Path:
    """Give a Matroska file's picture a crop of numbers below 256, in the place of what it says of its colours."""
    data = source.read_bytes()
    at = data.index(b"\x55\xb0\x90")  # Colour, 16 bytes
    names = b"\x54\xcc", b"\x54\xbb", b"\x54\xdd", b"\x54\xaa"
    cut = crop.left, crop.top, crop.right, crop.bottom
    told = b"".join(name + bytes([0x81, number]) for name, number in zip(names, cut, strict=True))
    out.write_bytes(data[:at] + told + b"\xec\x81\x00" + data[at + 19 :])
    return out


def cropped(tmp_path: Path, how: str, **more) -> tuple[Path, tuple[int, int, int, int]]:
    """Return a video that crops its pictures of 192 x 112, and what it shows."""
    plain = tmp_path / ("plain.mkv" if how == "mkv" else "plain.mp4")
    make_video(plain, **more)
    if how == "mkv":
        return with_pixel_crop(plain, tmp_path / "in.mkv", PixelCrop(20, 6, 40, 0)), (20, 6, 152, 112)
    return with_clap(plain, tmp_path / "in.mp4", CLAP), (51, 46, 101, 86)


@pytest.mark.parametrize(("how", "turn"), [("mkv", 0), ("mp4", 0), ("mp4", 90)])
def test_what_the_container_crops_stays_away(tmp_path, how, turn):
    source, (x0, y0, x1, y1) = cropped(tmp_path, how, turn=turn)
    whole = frames_of(tmp_path / f"plain.{how}")[3].image_rgb
    out = tmp_path / "out.mkv"
    rewrite(source, tmp_path / "out.mp4")
    rewrite(source, out, encode=LOSSLESS)
    x0, y0 = x0 + x0 % 2, y0 + y0 % 2  # whole samples of chroma
    stored = np.rot90(whole, -turn // 90)[y0:y1, x0:x1]
    shown = np.rot90(stored, turn // 90)
    for path, most in ((out, 1), (tmp_path / "out.mp4", 12)):
        image = frames_of(path)[3].image_rgb
        assert image.shape == shown.shape
        assert np.abs(image.astype(int) - shown).mean() <= most
    clip = VideoClip(source)
    list(clip.frames())
    assert clip.info.notes == ("the parts that the file crops were left out",)


def test_columns_that_the_stream_crops_stay_away(tmp_path):
    """Decoders may show up to 31 of them where they may choose, since that is faster."""
    source = write(tmp_path / "in.mp4", "libx264", "yuv420p", 255, **{"x264-params": "crop-rect=10,0,6,0"})
    assert VideoClip(source).info.width == WIDTH - 16


@pytest.mark.parametrize(
    ("aperture", "size", "box"),
    [
        (CleanAperture(Fraction(100), Fraction(280), Fraction(-70), Fraction(0)), (240, 280), (0, 0, 100, 280)),
        (CleanAperture(Fraction(100), Fraction(279), Fraction(0), Fraction(1, 2)), (240, 280), (70, 1, 170, 280)),
        (CleanAperture(Fraction(1407, 2), Fraction(480), Fraction(0), Fraction(0)), (720, 480), (9, 0, 711, 480)),
        (CleanAperture(Fraction(800), Fraction(600), Fraction(0), Fraction(0)), (720, 480), (0, 0, 720, 480)),
        (PixelCrop(1, 2, 3, 4), (100, 50), (1, 2, 97, 46)),
    ],
)
def test_apertures_show_no_part_of_a_pixel_that_they_cut(aperture, size, box):
    assert aperture.box(*size) == box


@pytest.mark.parametrize("crop", [PixelCrop(left=192), PixelCrop(left=100, right=100), PixelCrop(bottom=200)])
def test_a_crop_that_leaves_nothing_is_refused(tmp_path, crop):
    plain = tmp_path / "plain.mkv"
    make_video(plain)
    with pytest.raises(VideoError, match="crop"):
        VideoClip(with_pixel_crop(plain, tmp_path / "in.mkv", crop))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"edts", b"clip", "clipping region"),
        (b"edts", b"matt", "clipping region or a matte"),
        (b"vide", b"auxv", "transparency in a separate track"),
    ],
)
def test_what_hides_in_ways_that_are_not_read_is_refused(tmp_path, old, new, why):
    source = tmp_path / "in.mov"
    make_video(source)
    data = source.read_bytes()
    assert old in data
    source.write_bytes(data.replace(old, new))
    with pytest.raises(VideoError, match=why):
        VideoClip(source)


def test_entries_that_disagree_are_refused(tmp_path):
    plain = tmp_path / "plain.mkv"
    make_video(plain)
    cut = with_pixel_crop(plain, tmp_path / "cut.mkv", PixelCrop(left=10)).read_bytes()
    for first, second in ((plain.read_bytes(), cut), (_open_ended(plain.read_bytes()), _open_ended(cut))):
        (tmp_path / "both.mkv").write_bytes(first + second)
        with pytest.raises(VideoError, match="headers disagree"):
            VideoClip(tmp_path / "both.mkv")


def _open_ended(data: bytes) -> bytes:
    """Return a Matroska file without the sizes of its segment and cluster, as programs write that cannot go back."""
    for name in (b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"):
        at = data.rindex(name) + 4
        width = 9 - data[at].bit_length()
        data = data[:at] + ((1 << 7 * width + 1) - 1).to_bytes(width, "big") + data[at + width :]
    return data


def test_headers_that_lie_are_errors_not_endless(tmp_path):
    rng = np.random.default_rng(0)
    source = tmp_path / "in.mp4"
    for suffix in ("mp4", "mkv"):
        make_video(tmp_path / f"plain.{suffix}")
        data = (tmp_path / f"plain.{suffix}").read_bytes()
        for _ in range(150):
            broken = bytearray(data)
            for at in rng.integers(0, min(len(data), 900), 4):
                broken[at if suffix == "mkv" else -at - 1] = rng.integers(256)
            source.write_bytes(broken)
            try:
                read_headers(source, "mov" if suffix == "mp4" else "matroska")
            except BadFileError:
                continue
