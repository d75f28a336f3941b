"""What files contain besides their picture."""

import io

import numpy as np
import pytest
from PIL import Image

from styleid.evaluate.side_channels import embedded_pictures, find_side_channels
from tests.evaluate.rig import with_thumbnail


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """An original and what was made of it, smooth enough to be told apart at a thumbnail's size."""
    y, x = np.mgrid[0:128, 0:128] / 128
    original = np.stack([np.sin(6 * x) * 100 + 128, np.cos(5 * y) * 100 + 128, 255 * x * y], -1).astype(np.uint8)
    made = original.copy()
    made[30:100, 30:100] = 127
    return original, made


def jpeg(image: np.ndarray, **more) -> bytes:
    packed = io.BytesIO()
    Image.fromarray(image).save(packed, "JPEG", quality=92, **more)
    return packed.getvalue()


def test_a_clean_file_tells_nothing(pictures):
    original, made = pictures
    found = find_side_channels(jpeg(made), made, jpeg(original), original)
    assert not found.may_identify
    assert (found.thumbnails, found.leftovers) == (0, ())


def test_a_copy_tells_everything(pictures):
    original, _ = pictures
    found = find_side_channels(jpeg(original), original, jpeg(original), original)
    assert found.identical
    assert found.may_identify


@pytest.mark.parametrize("shows_original", [True, False])
def test_a_thumbnail_is_compared_with_both(pictures, shows_original):
    original, made = pictures
    content = with_thumbnail(made, original if shows_original else made)
    found = find_side_channels(content, made, jpeg(original), original)
    assert found.thumbnails == 1
    assert found.showing_original == shows_original
    assert found.leftovers  # a thumbnail is none of the allowed fields, whatever it shows


def test_what_the_original_said_and_the_output_still_says_is_carried(pictures):
    original, made = pictures
    exif = Image.Exif()
    exif[0x010E] = "Ann at the beach"
    found = find_side_channels(jpeg(made, exif=exif), made, jpeg(original, exif=exif), original)
    assert found.carried
    assert found.carried == found.leftovers
    added = find_side_channels(jpeg(made, exif=exif), made, jpeg(original), original)
    assert added.leftovers
    assert not added.carried


def test_bytes_that_only_look_like_a_picture_are_none(pictures):
    _, made = pictures
    assert embedded_pictures(jpeg(made) + b"\xff\xd8\xff" + b"nothing") == []
    assert len(embedded_pictures(b"head" + jpeg(made))) == 1
