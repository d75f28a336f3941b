"""The boxes of one annotation."""

import math

import pytest

from styleid.datasets.formats.coco.marks import boxes_of, part_boxes_of

BOX = [10, 40, 60, 70]
EDGES = (10.0, 40.0, 70.0, 110.0)


@pytest.mark.parametrize(
    ("row", "boxes"),
    [
        ({"bbox": BOX}, [EDGES]),
        ({"bbox": BOX, "segmentation": [[12, 42, 60, 42, 60, 100]]}, [EDGES]),
        ({"bbox": BOX, "segmentation": [[9, 40, 71, 40, 71, 111]]}, [EDGES]),
        ({"bbox": BOX, "segmentation": [[9, 40, 90, 40, 71, 111]]}, [(9, 40, 90, 111)]),
        ({"bbox": BOX, "segmentation": [[200, 200, 240, 200, 240, 250]]}, [EDGES, (200, 200, 240, 250)]),
        ({"bbox": [0, 0, 0.5, 0.5], "segmentation": [[0, 0, 9, 0, 9, 9]]}, [(0, 0, 0.5, 0.5), (0, 0, 9, 9)]),
        ({"bbox": BOX, "segmentation": {"counts": "x"}}, [EDGES]),
        ({"bbox": BOX, "segmentation": [[1, 2]]}, [EDGES]),
        ({"segmentation": [[1, 2, 3, 4, 5, 0], [9, 9, 10, 10]]}, [(1, 0, 10, 10)]),
    ],
)
def test_a_bbox_and_polygons_that_differ_both_count(row, boxes):
    assert boxes_of(row) == (tuple(boxes), "")


@pytest.mark.parametrize("row", [{}, {"bbox": None}, {"bbox": [1]}, {"bbox": ["a", 1, 2, 3]}, {"segmentation": [[1]]}])
def test_what_has_no_place_is_not_a_number(row):
    (box,), doubt = boxes_of(row)
    assert not doubt
    assert any(math.isnan(value) for value in box)


def test_an_area_that_does_not_fit_is_told():
    assert "its area of 9000 does not fit" in boxes_of({"bbox": BOX, "area": 9000})[1]
    huge = {"bbox": BOX, "area": 10**400}
    assert "its area of 1e+15 does not fit" in boxes_of(huge)[1]
    for row in ({"bbox": BOX, "area": 4200}, {"bbox": BOX, "area": "9000"}, {"bbox": BOX}, {"area": 9000},
                {"bbox": BOX, "area": 9000, "segmentation": [[10, 40, 70, 40, 70, 110]]},
                {"bbox": [math.nan] * 4, "area": 9000}, {"bbox": BOX, "area": math.nan},
                {"bbox": BOX, "area": 9000, "iscrowd": 1}):  # fmt: skip
        assert not boxes_of(row)[1]


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        *(("face_box", "face"), ("faceBBox", "face"), ("bbox_face", "face"), ("human-face.rect", "face")),
        *(("head_bbox", "head"), ("bbox_head", "head"), ("heads_boxes", "head"), ("hbox", "head"), ("HBox", "head")),
        *((key, "") for key in ("bbox", "surface_box", "lefthand_box", "foot_box", "face_kpts", "forehead_box")),
        *((key, "") for key in ("vbox", "headline_boxed", "fbox", "keypoints")),
    ],
)  # fmt: skip
def test_keys_of_parts(key, kind):
    found = list(part_boxes_of({key: BOX}))
    assert found == ([(kind, EDGES, key)] if kind else [])
    assert not list(part_boxes_of({key: 0.5})) + list(part_boxes_of({key: True})) + list(part_boxes_of({key: None}))
