"""Nothing that shows a person is carried unchanged."""

import base64
import io

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from styleid.datasets.passthrough import hidden_picture, is_label_map, is_panoptic


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_pictures_are_known_whatever_their_name(meadow, kind):
    data = encoded(meadow, kind)
    assert "it is a picture" in hidden_picture(data)
    if kind in ("PNG", "JPEG", "WEBP"):
        text = b'{"imageData": "' + base64.b64encode(data) + b'"}'
        assert "in base64" in hidden_picture(text)
        assert "in base64" in hidden_picture(text.replace(b"/", b"\\/"))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\0\0\0\x18ftypmp42", "a video"),
        (b"RIFF\0\0\0\0AVI LIST", "a video"),
        (b"PK\x03\x04", "an archive"),
        (b"\x1f\x8b\x08", "an archive"),
        (b"a" * 257 + b"ustar\0", "an archive"),
        (b'{"annotations": [[1, 2]]}', ""),
        (b"0 0.5 0.5 0.1 0.1\n", ""),
        (b"<annotation/>", ""),
        (b"", ""),
        (b'{"counts": "PPYo1i0d;9E;F6M1O2O/9j0000000000000"}', ""),
    ],
)
def test_what_is_carried(data, says):
    assert says in hidden_picture(data)
    assert bool(says) == bool(hidden_picture(data))


def test_panoptic_maps_show_their_segments_and_nothing_else(meadow):
    ids = np.zeros((40, 60), np.uint32)
    ids[5:20, 5:30], ids[25:, :] = 70_000, 257
    rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
    data = encoded(Image.fromarray(rgb))
    assert is_panoptic(data, {70_000, 257})
    assert is_panoptic(data, {70_000, 257, 9})
    assert not is_panoptic(data, {70_000})
    assert not is_panoptic(encoded(meadow), {70_000, 257})
    assert not is_panoptic(data[:50], {70_000, 257})
    assert not is_panoptic(encoded(Image.fromarray(rgb), "BMP"), {70_000, 257})


def test_label_maps_are_flat_and_plain(portrait):
    labels = Image.new("P", (60, 40))
    labels.putpalette([0, 0, 0, 128, 0, 0])
    labels.paste(1, (5, 5, 30, 30))
    labels.paste(255, (30, 5, 31, 30))
    assert is_label_map(encoded(labels))
    assert is_label_map(encoded(labels.convert("L")))
    assert not is_label_map(encoded(labels.convert("RGB")))
    assert not is_label_map(encoded(labels, "GIF"))
    for photo in (portrait.convert("L"), portrait.quantize(64), portrait.quantize(16), portrait.convert("1")):
        assert not is_label_map(encoded(photo))
    comment = PngImagePlugin.PngInfo()
    comment.add_text("Author", "somebody")
    assert not is_label_map(encoded(labels, pnginfo=comment))
