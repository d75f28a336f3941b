"""COCO's run-length masks that show areas are removed before the search; all others are searched."""

import pytest

from styleid.media.text.masks import set_masks_aside

LEFT = b'{"size": [4, 5], "counts": [8, 4, 8]}'
DITHER = b'{"size": [40, 40], "counts": [' + b", ".join([b"1"] * 1600) + b"]}"
COMPRESSED = b'{"counts": "848", "size": [4, 5]}'


@pytest.mark.parametrize(
    ("mask", "left"),
    [
        (LEFT, b'{"size": [4, 5], }'),
        (COMPRESSED, b'{, "size": [4, 5]}'),
        (b'{"size": [4, 5], "counts": [0, 20]}', b'{"size": [4, 5], }'),
    ],
)
def test_the_counts_of_an_area_are_set_aside(mask: bytes, left: bytes) -> None:
    assert set_masks_aside(b'[1, {"segmentation": ' + mask + b"}]") == b'[1, {"segmentation": ' + left + b"}]"


@pytest.mark.parametrize(
    "mask",
    [
        b'{"counts": [8, 4, 8]}',
        b'{"size": [4], "counts": [8, 4, 8]}',
        b'{"size": [4, 5], "counts": {"a": 1}}',
        b'{"size": [4, 5], "counts": [8, 4, 9]}',
        b'{"size": [0, 0], "counts": "P"}',
        b'{"size": [4, 5], "counts": ""}',
        b'{"size": [4, 5], "counts": "8 48"}',
        b'{"size": [4, 5], "counts": "84~"}',
        b'{"size": [4, 5], "counts": "84P"}',
        b'{"size": [4, 5], "counts": "PPPPPPPP0"}',
        b'{"size": [4, 5], "counts": "8@48"}',
        DITHER,
        b"no mask",
    ],
)
def test_what_is_no_area_stays(mask: bytes) -> None:
    assert set_masks_aside(mask) == mask
