"""Motion photos: the video is found where readers find it, never copied, and audited when written."""

import struct

import numpy as np
import pytest

from styleid.errors import ImageError
from styleid.media.audit import find_leftovers
from styleid.media.containers.errors import BadFileError
from styleid.media.formats.parse.movie import movie_leftovers
from styleid.media.image import encode_photo, read_photo_bytes
from styleid.media.provenance import ISO_XMP, PACKET
from tests.media import further_parts as parts
from tests.media import samples

RGB = samples.smooth(64, 96)
GAIN = samples.smooth(32, 48, 1)
KINDS = ("motion", "elements", "micro", "samsung")


def box(kind, *bodies):
    body = b"".join(bodies)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full(kind, *bodies):
    return box(kind, bytes(4), *bodies)


ENTRY = box(b"avc1", bytes(78), box(b"avcC", b"\x01\x64\x00\x0d"))
HANDLER = box(b"hdlr", bytes(8), b"vide", bytes(12), b"VideoHandler\0")


def movie(frames=b"\1\2\3\4", *, entry=ENTRY, sizes=None, more=b"", dates=bytes(8), top=b"", handler=HANDLER):
    """An MP4 by hand, of one frame, with what a test puts into it."""
    sizes = full(b"stsz", struct.pack(">III", 0, 1, len(frames))) if sizes is None else sizes
    table = box(b"stbl", full(b"stsd", struct.pack(">I", 1), entry), sizes, full(b"stco", struct.pack(">II", 1, 48)))
    data = box(b"dinf", full(b"dref", struct.pack(">I", 1), full(b"url ")[:-1] + b"\1"))
    media = box(b"mdia", full(b"mdhd", dates, bytes(12)), handler, box(b"minf", full(b"vmhd", bytes(8)), data, table))
    track = box(b"trak", full(b"tkhd", dates, bytes(72)), media)
    head = box(b"ftyp", b"isom\0\0\2\0isomavc1") + box(b"free") + box(b"mdat", frames)
    return head + box(b"moov", full(b"mvhd", dates, bytes(88)), track, more) + top


SOURCE, OUTPUT = movie(b"the old face"), movie(b"new")


def written(photo, **options):
    nothing = np.zeros(photo.image_rgb.shape[:2], bool)
    return encode_photo(photo, photo.image_rgb, nothing, marked=True, **options)


@pytest.mark.parametrize(("kind", "gain"), [*((kind, None) for kind in KINDS), ("motion", GAIN)])
def test_a_motion_photo_has_the_same_structure_with_another_video(kind, gain) -> None:
    photo = read_photo_bytes(parts.motion_photo(RGB, SOURCE, kind, gain=gain), "p.jpg")
    assert photo.moving.data == SOURCE
    assert photo.notes == ()
    still = written(photo)
    assert b"the old face" not in still
    assert b"MotionPhoto" not in still
    data = written(photo.with_moving(OUTPUT))
    picture, video = parts.split_motion(data)
    assert video == OUTPUT
    assert b"the old face" not in data
    assert samples.SECRET not in data
    assert np.array_equal(parts.pixels(data), parts.pixels(still))
    assert np.array_equal(parts.pixels(picture), parts.pixels(still))
    own = parts.descriptions(data)[0]
    time = "-1" if kind == "samsung" else "250000"
    assert own.get(f"{{{parts.CAMERA}}}MotionPhotoPresentationTimestampUs") == time
    micro = str(len(OUTPUT)) if kind == "micro" else None
    assert own.get(f"{{{parts.CAMERA}}}MicroVideoOffset") == micro
    if gain is not None:
        first, second = parts.mpf_pictures(data)
        assert first + second + OUTPUT == data
    assert find_leftovers(still) == find_leftovers(data, "strip") == []
    assert read_photo_bytes(data, "p.jpg").moving.data == OUTPUT


@pytest.mark.parametrize("time", ["99999999999", "soon", "-5"])
def test_an_impossible_time_is_unknown(time) -> None:
    photo = read_photo_bytes(parts.motion_photo(RGB, SOURCE, time=time), "p.jpg")
    assert photo.moving.motion.shown_at_us == -1


MICRO, OFFSET = parts.motion_photo(RGB, SOURCE, "micro"), f'Offset="{len(SOURCE)}"'.encode()
WRONG = {
    "no video there": parts.motion_photo(RGB, SOURCE) + b"more",
    "offset too large": MICRO.replace(OFFSET, b'Offset="' + b"9" * (len(OFFSET) - 9) + b'"'),
    "offset of no number": MICRO.replace(OFFSET, b'Offset="' + b"x" * (len(OFFSET) - 9) + b'"'),
    "declarations": parts.motion_photo(RGB, SOURCE).replace(b'xmptk="Adobe', b'xmptk="<!obe'),
    "no XML": parts.motion_photo(RGB, SOURCE).replace(b"</x:xmpmeta>", b"</x:xmpmet> "),
    "trailer without a list": parts.motion_photo(RGB, SOURCE, "samsung").replace(b"SEFH", b"SEFI"),
    "trailer with another list": parts.motion_photo(RGB, SOURCE, "samsung")[:-8] + b"\xff\xff\xff\x7fSEFT",
    "trailer with another part": parts.motion_photo(RGB, SOURCE, "samsung").replace(b"\0\0\x30\x0a", b"\0\0\x31\x0a"),
    "a video that nobody names": samples.pillow(RGB, "JPEG") + SOURCE,
}


@pytest.mark.parametrize("name", WRONG)
def test_bytes_that_are_no_motion_photo_are_left_out_as_before(name) -> None:
    photo = read_photo_bytes(WRONG[name], "p.jpg")
    assert photo.moving is None
    assert "bytes after the picture" in photo.notes[0]
    assert b"the old face" not in written(photo)


def test_the_video_ends_where_its_boxes_end() -> None:
    large = box(b"ftyp", b"isom") + struct.pack(">I4sQ", 1, b"mdat", 20) + b"abcd"
    for video in (SOURCE, large, large + struct.pack(">I4s", 0, b"free")):
        photo = read_photo_bytes(parts.motion_photo(RGB, video, "samsung"), "p.jpg")
        assert photo.moving.data.startswith(video)
    assert read_photo_bytes(parts.motion_photo(RGB, SOURCE, "samsung"), "p.jpg").moving.data == SOURCE


FOUR = full(b"stsz", struct.pack(">III", 0, 1, 4))
PLAIN = {
    "plain": movie(),
    "marked": movie(top=box(b"uuid", ISO_XMP, PACKET)),
    "without tags": movie(
        more=box(
            b"udta",
            struct.pack(">I4s", 53, b"meta") + bytes(4) + struct.pack(">I4s", 33, b"hdlr") + bytes(8) + b"mdirappl"
            + bytes(9) + struct.pack(">I4s", 8, b"ilst"),
        )
    ),
    "frames of one size": movie(b"abcd", sizes=full(b"stsz", struct.pack(">II", 2, 2))),
}  # fmt: skip
SOILED = {
    "a box": (movie(top=box(b"skip", b"Jane")), "a box 'skip'"),
    "a box in the header": (movie(more=box(b"meta", b"Jane")), "a box 'meta'"),
    "tags": (movie(more=box(b"udta", b"Jane")), "a box 'udta' with unneeded content"),
    "dates": (movie(dates=b"\0\0\0\1" * 2), "a box 'mvhd' with unneeded content"),
    "other XMP": (movie(top=box(b"uuid", ISO_XMP, b"Jane")), "a box 'uuid' with unneeded content"),
    "the mark twice": (movie(top=2 * box(b"uuid", ISO_XMP, PACKET)), "a second uuid"),
    "filler": (movie(top=box(b"free", b"Jane")), "a box 'free' with unneeded content"),
    "two tracks": (movie(more=box(b"trak", full(b"tkhd", bytes(80)))), "a second tkhd"),
    "a name": (movie(handler=HANDLER.replace(b"VideoHandler", b"Jane Handler")), "a box 'hdlr' with unneeded content"),
    "sound": (movie(entry=box(b"mp4a", bytes(90))), "a box 'stsd' with unneeded content"),
    "an encoder's name": (
        movie(entry=box(b"avc1", bytes(42), b"\4Jane", bytes(31))),
        "a box 'stsd' with unneeded content",
    ),
    "more in an entry": (
        movie(entry=box(b"avc1", bytes(78), box(b"free", b"Jane"))),
        "a box 'stsd' with unneeded content",
    ),
    "a cut entry": (movie(entry=b"abcd"), "a box 'stsd' with unneeded content"),
    "more than frames": (
        movie(b"Jane and frames", sizes=full(b"stsz", struct.pack(">III", 0, 1, 4))),
        "11 bytes besides",
    ),
    "a longer list": (movie(sizes=full(b"stsz", struct.pack(">III", 0, 1, 4), b"Jane")), "whose length is wrong"),
    "no frames": (box(b"ftyp", b"isom\0\0\2\0"), "no frames"),
    "a brand": (movie().replace(b"isomavc1", b"isomJane"), "a box 'ftyp' with unneeded content"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_movies_are_clean(name) -> None:
    assert movie_leftovers(PLAIN[name]) == []


@pytest.mark.parametrize("name", SOILED)
def test_what_else_a_movie_holds_is_named(name) -> None:
    data, words = SOILED[name]
    assert any(words in line for line in movie_leftovers(data)), movie_leftovers(data)
    photo = read_photo_bytes(parts.motion_photo(RGB, SOURCE), "p.jpg")
    with pytest.raises(ImageError, match=r"p\.jpg: .*motion photo: "):
        written(photo.with_moving(data))


def test_a_cut_movie_is_refused() -> None:
    with pytest.raises(BadFileError, match="cut short"):
        movie_leftovers(OUTPUT[:-3])


def test_the_audit_refuses_everything_else() -> None:
    photo = read_photo_bytes(parts.motion_photo(RGB, SOURCE), "p.jpg")
    data = written(photo.with_moving(OUTPUT))
    for old, new, words in [
        (b"MotionPhotoVersion", b"MotionPhotoversion", "that describes only what follows"),
        (b'TimestampUs="250000"', b'TimestampUs="25000x"', "that describes only what follows"),
        (OUTPUT, OUTPUT + b"x", "after the picture"),
        (OUTPUT, b"", "(XMP)"),
        (OUTPUT, OUTPUT[:-4], "after the picture"),
    ]:
        found = find_leftovers(data.replace(old, new))
        assert any(words in line for line in found), (old, found)
