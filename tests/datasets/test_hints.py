"""Hints from annotations, and boxes that cannot be placed."""

import math
from dataclasses import replace

import numpy as np
import pytest

from styleid.datasets.classes import Kind, choose_classes
from styleid.datasets.hints import (
    NO_BOX,
    AnnotationHints,
    Marked,
    box_around,
    box_of,
    contradiction,
    hull,
    may_be_percent,
)
from styleid.errors import OptionError
from styleid.faces.detect import FaceDetector
from styleid.types import Faces, SearchHints

FACE = Marked(Kind.FACE, (10, 20, 40, 60), "annotation 3 in a.json")


def boxes(annotations: AnnotationHints, size=(100, 80), orientation: int = 1) -> list:
    found = annotations.hints(*size, orientation).boxes_xyxy
    return [] if found is None else found.tolist()


PERCENT = Marked(Kind.FACE, (10, 20, 40, 60), "annotation 3 in a.json", unit_of="a.json")


def test_boxes_that_may_be_percent_withhold_large_photos_and_cover_both_places_in_small_ones():
    assert boxes(AnnotationHints((PERCENT,)), (128, 120)) == [[9.5, 19.5, 39.5, 59.5]]
    assert boxes(AnnotationHints((PERCENT,)), (200, 150)) == [[9.5, 19.5, 79.5, 89.5]]
    assert boxes(AnnotationHints((PERCENT,)), (150, 80)) == [[9.5, 15.5, 59.5, 59.5]]
    (note,) = AnnotationHints((PERCENT,)).hints(200, 150, 1).notes
    assert "annotation 3 in a.json: it may be in percent of the photo's 200 x 150 px" in note
    for size in ((201, 90), (80, 4000)):
        with pytest.raises(ValueError, match=r"annotation 3 in a\.json: .* a\.json lie .* `box_unit=percent` or"):
            boxes(AnnotationHints((PERCENT,)), size)
        skipped = AnnotationHints((PERCENT,), skip_bad=True).hints(*size, 1)
        assert "may be in percent" in skipped.notes[0]
        person = replace(PERCENT, kind=Kind.PERSON)
        assert "may be in percent" in AnnotationHints((person,)).hints(*size, 1).notes[0]


@pytest.mark.parametrize(("unit", "box"), [("percent", (25, 10, 50, 40)), ("shares", (0.25, 0.1, 0.5, 0.4))])
def test_parts_of_the_photo_are_taken_as_such(unit, box):
    hints = AnnotationHints((Marked(Kind.FACE, box, "x"),), (1, 1), frame="stored", unit=unit)
    assert boxes(hints, (400, 300)) == [[99.5, 29.5, 199.5, 119.5]]
    assert boxes(hints, (400, 300), orientation=3) == [[199.5, 179.5, 299.5, 269.5]]


@pytest.mark.parametrize(
    ("every", "answer"),
    [
        ([(10, 40, 70, 100)], True),
        ([(10, 40, 70, 100), (0.1, 0.2, 0.3, 0.4), NO_BOX], True),
        ([(10, 40, 70, 100), (0, 0, 30, 101.5)], False),
        ([(0.1, 0.2, 0.3, 1.0)], False),
        ([NO_BOX], False),
        ([], False),
    ],
)
def test_boxes_that_may_be_percent_lie_within_a_hundred(every, answer):
    assert may_be_percent(every) is answer


def test_faces_become_own_boxes_by_pixel_centres():
    assert boxes(AnnotationHints((FACE,), (100, 80))) == [[9.5, 19.5, 39.5, 59.5]]
    shares = AnnotationHints((Marked(Kind.FACE, (0.1, 0.25, 0.4, 0.75), "x"),), unit="shares")
    assert boxes(shares) == [[9.5, 19.5, 39.5, 59.5]]


def test_the_size_tells_the_frame():
    as_stored = AnnotationHints((FACE,), (80, 100))  # upright it is 100 x 80
    assert boxes(as_stored, orientation=6) == [[100 - 60 - 0.5, 9.5, 100 - 20 - 0.5, 39.5]]
    assert boxes(AnnotationHints((FACE,), (100, 80)), orientation=6) == [[9.5, 19.5, 39.5, 59.5]]
    facts = as_stored.hints(100, 80, 6).facts["frame"]
    assert facts == {"size": [100, 80], "orientation": 6, "boxes": "stored"}


@pytest.mark.parametrize(
    ("size", "told", "orientation"), [((100, 80), (100, 80), 3), ((80, 80), (80, 80), 6), ((100, 80), None, 6)]
)
def test_where_nothing_tells_the_frame_both_places_are_hidden(size, told, orientation):
    hints = AnnotationHints((FACE,), told).hints(*size, orientation)
    assert hints.boxes_xyxy is not None
    assert len(hints.boxes_xyxy) == 2
    assert [9.5, 19.5, 39.5, 59.5] in hints.boxes_xyxy.tolist()
    assert hints.facts["frame"]["boxes"] == "unsure"
    assert "`frame=stored`" in hints.notes[0]
    for frame in ("stored", "upright"):
        chosen = AnnotationHints((FACE,), told, frame=frame).hints(*size, orientation)
        assert chosen.boxes_xyxy is not None
        assert len(chosen.boxes_xyxy) == 1
        assert chosen.boxes_xyxy.tolist()[0] in hints.boxes_xyxy.tolist()
        assert not chosen.notes


@pytest.mark.parametrize(
    "box",
    [
        *(NO_BOX, (math.inf, 0, math.inf, 9), (math.nan, 0, 9, 9)),
        *((5, 5, 5, 9), (40, 5, 10, 9), (100, 5, 120, 9), (-9, -9, 0, 50)),
        *((0.1, 0.2, 0.4, 0.6), (0, 0, 1, 1), (5, 5, 5.9, 60), (99.5, 5, 140, 60)),
    ],
)
def test_boxes_that_hold_nothing(box):
    for kind in (Kind.FACE, Kind.HEAD):
        bad = Marked(kind, box, "annotation 3 in a.json")
        with pytest.raises(ValueError, match=f"the {kind} box of annotation 3 in a.json.*`bad_boxes=skip`"):
            AnnotationHints((bad, FACE)).hints(100, 80, 1)
        hints = AnnotationHints((bad, FACE), skip_bad=True).hints(100, 80, 1)
        assert len(hints.notes) == 1
        assert boxes(AnnotationHints((bad, FACE), skip_bad=True)) == [[9.5, 19.5, 39.5, 59.5]]
    hints = AnnotationHints((Marked(Kind.PERSON, box, "x"),)).hints(100, 80, 1)
    assert "was skipped" in hints.notes[0]


def test_a_box_that_cannot_be_trusted_withholds():
    odd = Marked(Kind.FACE, FACE.box, "annotation 3 in a.json", problem="its area does not fit")
    with pytest.raises(ValueError, match=r"annotation 3 in a.json: its area does not fit\. Correct it"):
        AnnotationHints((odd,)).hints(100, 80, 1)
    hints = AnnotationHints((odd,), skip_bad=True).hints(100, 80, 1)
    assert hints.notes == ("annotation 3 in a.json: its area does not fit",)
    assert boxes(AnnotationHints((odd,), skip_bad=True)) == [[9.5, 19.5, 39.5, 59.5]]


def test_sizes_contradict_each_other():
    assert "100 x 80 and 200 x 160 px" in contradiction({(200, 160), (100, 80)}, [FACE])
    assert not contradiction({(200, 160), (100, 80)}, [Marked(Kind.PERSON, FACE.box, "x")])
    assert not contradiction({(100, 80)}, [FACE])


def test_boxes_are_cut_off_at_the_border():
    assert boxes(AnnotationHints((Marked(Kind.FACE, (-1e300, -5, 40, 1e300), "x"),))) == [[-0.5, -0.5, 39.5, 79.5]]


def test_a_photo_of_another_size_is_withheld():
    with pytest.raises(ValueError, match="for a photo of 640 x 480 px, but it has 100 x 80"):
        AnnotationHints((FACE,), (640, 480)).hints(100, 80, 1)
    assert boxes(AnnotationHints((FACE,), (640, 480), skip_bad=True)) == [[9.5, 19.5, 39.5, 59.5]]
    assert AnnotationHints((), (640, 480)).hints(100, 80, 1).search is None


def test_an_unreadable_annotation_withholds():
    with pytest.raises(ValueError, match="not valid XML"):
        AnnotationHints(problem="a.xml: it is not valid XML").hints(100, 80, 1)


def test_digests_tell_hints_apart():
    kinds = [
        AnnotationHints(),
        AnnotationHints((FACE,)),
        AnnotationHints((FACE,), (100, 80)),
        AnnotationHints(frame="stored"),
        AnnotationHints(problem="x"),
        AnnotationHints((Marked(Kind.HEAD, FACE.box, FACE.where),)),
        AnnotationHints((FACE,), skip_bad=True),
    ]
    assert len({hints.digest() for hints in kinds}) == len(kinds)
    assert AnnotationHints((FACE,)).digest() == AnnotationHints((FACE,)).digest()


def test_boxes_from_json():
    assert box_of(1, 2.5, 3, 4) == (1, 2.5, 4, 6.5)
    for odd in (None, "1", True, [1], 10**400):
        assert all(math.isnan(v) for v in box_of(odd, 2, 3, 4))
    assert box_around([1, 2, 5, 9, 3, 0]) == (1, 0, 5, 9)
    assert hull([(1, 2, 3, 4), (0, 3, 2, 9)]) == (0, 2, 3, 9)
    assert math.isnan(sum(hull([(1, 2, 3, 4), NO_BOX])))
    for odd in ([1, 2, 3], ["a", 1, 2, 3], None, {"counts": "x"}):
        assert all(math.isnan(v) for v in box_around(odd))


def test_a_crowd_is_looked_at_in_parts():
    crowd = Marked(Kind.PERSON, (0, 0, 4000, 3000), "x", crowd=True)
    search = AnnotationHints((crowd,)).hints(4000, 3000, 1).search
    assert search is not None
    assert 20 <= len(search.regions_xyxy) <= 60
    covered = np.zeros((3000, 4000), bool)
    for x0, y0, x1, y1 in np.clip(search.regions_xyxy, 0, 4000).round().astype(int):
        covered[y0:y1, x0:x1] = True
    assert covered.all()


def test_heads_without_a_face_are_hidden():
    heads = np.float32([[0, 0, 40, 50], [10, 5, 60, 70], [200, 0, 240, 50]])
    face = np.float32([[18, 20, 50, 60]])
    found = Faces(face, np.ones(1), np.zeros((1, 5, 2)))
    assert SearchHints(heads, heads).unseen(found).tolist() == heads[[0, 2]].tolist()  # one face accounts for one head
    assert SearchHints(heads, heads).unseen(Faces.empty()).tolist() == heads.tolist()
    speck = Faces(np.float32([[20, 20, 24, 24]]), np.ones(1), np.zeros((1, 5, 2)))
    assert len(SearchHints(heads, heads).unseen(speck)) == 3
    assert len(SearchHints(heads, heads[:0]).unseen(found)) == 0


def test_a_small_face_is_found_where_a_person_is_marked(astronaut):
    import cv2

    canvas = np.full((600, 800, 3), 127, np.uint8)
    small = cv2.resize(astronaut[:300, 60:380], (24, 22), interpolation=cv2.INTER_AREA)
    canvas[300:322, 600:624] = small
    person = Marked(Kind.PERSON, (596, 298, 628, 350), "x")
    search = AnnotationHints((person,)).hints(800, 600, 1).search
    assert search is not None
    detector = FaceDetector()
    assert len(detector.detect(canvas)) == 0
    (box,) = detector.detect(canvas, search.regions_xyxy).boxes_xyxy
    assert 600 < box[0] < box[2] < 624
    assert 300 <= box[1] < box[3] < 322


def test_classes_are_chosen():
    names = ["Person", "car", "human_face", "helmet", "Head"]
    usual = {"Person": Kind.PERSON, "human_face": Kind.FACE, "Head": Kind.HEAD}
    assert choose_classes((), names) == usual
    assert choose_classes(("head,helmet=head", "car=person"), names) == {
        "Head": Kind.HEAD,
        "helmet": Kind.HEAD,
        "car": Kind.PERSON,
    }
    with pytest.raises(OptionError, match="no class 'rider'; it has Person, car"):
        choose_classes(("rider",), names)
    with pytest.raises(OptionError, match=r"'car' has no usual name\. Give its kind: car=face"):
        choose_classes(("car",), names)
    with pytest.raises(OptionError, match="'wheel' in 'car=wheel' is unknown; choose one of face, head, person"):
        choose_classes(("car=wheel",), names)
    with pytest.raises(OptionError, match="no class of the data set is a face"):
        choose_classes((), ["car", "dog"])
