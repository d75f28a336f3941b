"""AVIF: refused kinds, and the source's quality, range and colours."""

import struct
import sys

import numpy as np
import pytest

from styleid.errors import ImageError
from styleid.media.containers.errors import BadFileError
from styleid.media.formats import avif
from styleid.media.image import encode_photo, read_photo_bytes
from tests.media import samples

MOST = 10**6
RGB = samples.smooth()
PLAIN = samples.pillow(RGB, "AVIF")


def replaced(old: bytes, new: bytes, data: bytes = PLAIN) -> bytes:
    assert data.count(old) >= 1
    assert len(old) == len(new)
    return data.replace(old, new)


KINDS = {
    "a film": (replaced(b"mif1", b"isom", replaced(b"avif", b"iso2")), "a video or a file of an unknown kind"),
    "a crop": (replaced(b"pixi", b"clap"), "an AVIF with a crop, which decoders apply differently"),
    "a huge picture": (
        replaced(b"ispe" + struct.pack(">III", 0, 53, 37), b"ispe" + struct.pack(">III", 0, 5300, 3700)),
        "5300 x 3700 = 20 million pixels, over the limit",
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_what_is_refused_and_why(name: str) -> None:
    data, says = KINDS[name]
    with pytest.raises(BadFileError, match=says):
        avif.decode(data, MOST)


def test_without_pillows_plugin_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import AvifImagePlugin

    with monkeypatch.context() as patched:
        patched.setattr(AvifImagePlugin, "SUPPORTED", False)
        with pytest.raises(ImageError, match=r"built without AVIF\. Type: pip install 'pillow>=11\.3'"):
            read_photo_bytes(PLAIN, "a.avif")
    monkeypatch.delattr("PIL.AvifImagePlugin")
    monkeypatch.setitem(sys.modules, "PIL.AvifImagePlugin", None)
    with pytest.raises(ImageError, match=r"built without AVIF\. Type: pip install"):
        read_photo_bytes(PLAIN, "a.avif")


def test_an_unknown_quantiser_counts_as_good_quality() -> None:
    assert avif.quality_of(None) == 80
    assert avif.quality_of(0) == 100
    assert avif.quality_of(255) < 5


@pytest.mark.parametrize("quality", [20, 60, 90])
@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_quality_and_subsampling_are_kept(quality: int, sampling: str) -> None:
    photo = read_photo_bytes(samples.pillow(RGB, "AVIF", quality=quality, subsampling=sampling), "a.avif")
    assert photo.encoding.subsampling == sampling
    written = encode_photo(photo, photo.image_rgb, np.zeros(RGB.shape[:2], bool))
    again = read_photo_bytes(written, "a.avif").encoding
    assert (again.quantiser, again.subsampling) == (photo.encoding.quantiser, sampling)


@pytest.mark.parametrize("points", [(1, 13), (9, 16), (12, 13)])
@pytest.mark.parametrize("limited", [False, True])
def test_colour_code_points_and_range_are_kept(points: tuple[int, int], limited: bool) -> None:
    data = bytearray(samples.pillow(RGB, "AVIF", range="limited" if limited else "full"))
    at = bytes(data).index(b"colrnclx")
    data[at + 8 : at + 12] = struct.pack(">HH", *points)
    photo = read_photo_bytes(bytes(data), "a.avif")
    assert (photo.encoding.points, photo.encoding.full_range) == (points, not limited)
    again = read_photo_bytes(encode_photo(photo, photo.image_rgb, np.zeros(RGB.shape[:2], bool)), "a.avif")
    assert again.encoding == photo.encoding


def test_unspecified_colours_and_none_are_no_code_points() -> None:
    at = PLAIN.index(b"colrnclx") + 8
    assert avif.decode(PLAIN[:at] + struct.pack(">HH", 2, 2) + PLAIN[at + 4 :], MOST).encoding.points is None
    none = avif.decode(replaced(b"colrnclx", b"freenclx"), MOST).encoding
    assert (none.points, none.full_range) == (None, True)


def test_grey_stays_grey() -> None:
    photo = read_photo_bytes(samples.pillow(RGB[..., 0], "AVIF"), "a.avif")
    assert photo.is_grey
    again = read_photo_bytes(encode_photo(photo, photo.image_rgb, np.zeros(RGB.shape[:2], bool)), "a.avif")
    assert (again.is_grey, again.encoding.subsampling) == (True, "4:0:0")
