"""Kinds of files that are not read, by their first bytes and by their names."""

import io

import pytest
from PIL import Image

from styleid.media.formats.parse.sniff import IMAGE_SUFFIXES
from styleid.media.formats.parse.unread_kinds import Shows, kind_of, unread_kind


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("PPM", "a PPM picture"),
        ("JPEG2000", "a JPEG 2000 picture"),
        ("PCX", "a PCX picture"),
        ("SGI", "a Silicon Graphics picture"),
        ("ICO", "an icon"),
        ("EPS", "a PostScript picture"),
        ("DDS", "a DDS texture"),
    ],
)
def test_what_pillow_writes_is_known_by_its_first_bytes(kind, name):
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (9, 99, 200)).save(file, kind)
    found = kind_of(file.getvalue()[:512])
    assert found is not None
    assert (found.name, found.shows) == (name, Shows.PICTURE)


@pytest.mark.parametrize(
    ("head", "shows"),
    [
        (b"8BPS\0\1", Shows.PICTURE),
        (b"\xff\x4f\xff\x51", Shows.PICTURE),
        (b"P2\n# x\n2 2\n", Shows.PICTURE),
        (b"qoif", Shows.PICTURE),
        (b'<?xml version="1.0"?>\n<!-- a --><svg width="1">', Shows.PICTURE),
        (bytes(128) + b"DICM", Shows.PICTURE),
        (b"\0\0\0\x18ftypisom", Shows.VIDEO),
        ((b"G" + bytes(187)) * 2, Shows.VIDEO),
        (b"\0\0\0\1\x67\x42", Shows.VIDEO),
        (b"PK\3\4", Shows.ANYTHING),
        (b"\x93NUMPY", Shows.ANYTHING),
        (b"\x80\x04\x95", Shows.ANYTHING),
        (b"PAR1", Shows.ANYTHING),
    ],
)
def test_signatures(head, shows):
    found = kind_of(head)
    assert found is not None
    assert found.shows is shows


@pytest.mark.parametrize(
    "head", [b"", b"some text", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"{}", b"Great words", b"P.S."]
)
def test_text_and_photos_are_no_unread_kind(head):
    assert kind_of(head) is None
    assert unread_kind("a.txt", head) is None
    assert unread_kind("README", head) is None


@pytest.mark.parametrize("ending", "dng jp2 ppm tga qoi psd cr3 nef exr hdr svg xcf dcm heics".split())  # noqa: SIM905
def test_endings_of_pictures(ending):
    found = unread_kind(f"a.{ending.upper()}", b"")
    assert found is not None
    assert found.shows is Shows.PICTURE
    assert f".{ending}" not in IMAGE_SUFFIXES


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "wmv", "m2ts"])
def test_endings_of_videos(ending):
    found = unread_kind(f"a.{ending}", b"")
    assert found is not None
    assert found.shows is Shows.VIDEO


def test_archives_are_no_pictures_but_their_names_may_say_so():
    assert unread_kind("a.zip", b"PK\3\4") is None
    found = unread_kind("a.kra", b"PK\3\4")
    assert found is not None
    assert found.name == "a painting program's picture"
