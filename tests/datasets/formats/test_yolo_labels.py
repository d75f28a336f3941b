"""The kind of each line of a YOLO label file, also inferred from other lines of the data set."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from styleid.datasets.classes import Kind
from styleid.datasets.formats.yolo.labels import Form, looks_like_labels, read_labels, with_forms_resolved

POINTS = "0.45 0.46 0.55 0.46 0.5 0.5 0.46 0.55 0.54 0.55"
AROUND = (0.4, 0.4, 0.6, 0.6)


def row(text: str, keypoints: int = 0):
    (one,) = read_labels(text.encode(), keypoints).rows
    return one


def ring(n: int, x: float, y: float, size: float) -> str:
    turn = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return " ".join(f"{x + size * np.cos(t):.5f} {y + size * np.sin(t):.5f}" for t in turn)


@pytest.mark.parametrize(
    ("text", "form", "box"),
    [
        ("0 0.5 0.5 0.2 0.2", Form.BOX, AROUND),
        ("0 0.5 0.5 0.2 0.2 0.9", Form.BOX, AROUND),
        (f"0 0.5 0.5 0.2 0.2 {POINTS}", Form.LANDMARKS, AROUND),
        (f"0 0.5 0.5 0.2 0.2 {' '.join(['-1'] * 10)}", Form.LANDMARKS, AROUND),
        ("0 0.5 0.5 0.2 0.2 0.45 0.46 2 0.55 0.46 1 0 0 0", Form.LANDMARKS, AROUND),
        ("0 0.4 0.4 0.6 0.4 0.6 0.6 0.4 0.6", Form.POLYGON, AROUND),
        ("0 0.4 0.4 0.6 0.4 0.6 0.6", Form.POLYGON, AROUND),
        (f"0 {ring(9, 0.8, 0.8, 0.1)}", Form.POLYGON, (0.7, 0.7, 0.9, 0.9)),
    ],
)
def test_forms(text, form, box):
    one = row(text)
    assert one.form is form
    np.testing.assert_allclose(one.box, box, atol=0.01)


def test_keypoints_are_told_by_the_data_yaml():
    np.testing.assert_allclose(row("0 0.5 0.5 0.2 0.2 " + "0.5 0.5 2 " * 17, 51).box, AROUND)
    assert math.isnan(row(f"0 0.5 0.5 0.2 0.2 {POINTS}", 51).box[0])


@pytest.mark.parametrize(
    "line", ["0", "0 a b c d", "0 0.5 0.5 0.2", f"0 0.5 0.5 0.2 0.2 {POINTS} 0.9", "0 nan 0.5 0.2 0.2 0.1 0.1",
             "0 0.5 0.5 -1 0.2 0.1 0.1", "0 1e308 1e308 1e308 1e308 inf inf"],
)  # fmt: skip
def test_lines_without_a_place_are_not_a_number(line):
    assert any(math.isnan(value) for value in row(line).box)


def test_corners_are_told_by_a_box_that_leaves_the_photo():
    np.testing.assert_allclose(row("0 0.1 0.1 0.5 0.6").box, (-0.15, -0.2, 0.5, 0.6), atol=1e-6)
    np.testing.assert_allclose(row("0 0.1 0.5 0.5 0.2").box, (-0.15, 0.4, 0.35, 0.6), atol=1e-6)


def test_other_lines_tell_what_an_unsure_one_is():
    either = f"0 {ring(9, 0.45, 0.45, 0.05)}"
    assert row(either).form is Form.EITHER
    assert row(either).box[0] < 0.3
    polygon, landmarks = f"0 {ring(9, 0.8, 0.8, 0.1)}", f"0 0.5 0.5 0.2 0.2 {POINTS}"

    def read(*texts: str):
        files = {str(n): read_labels(text.encode(), 0) for n, text in enumerate(texts)}
        return [labels.rows[0] for labels in with_forms_resolved(files).values()]

    assert [one.form for one in read(either, polygon)] == [Form.POLYGON, Form.POLYGON]
    np.testing.assert_allclose(read(either, polygon)[0].box, (0.4, 0.4, 0.5, 0.5), atol=0.01)
    beside, _ = read("0 0.5 0.5 0.2 0.2 0.3 0.46 0.35 0.46 0.3 0.5 0.3 0.55 0.35 0.55", landmarks)
    assert beside.box[0] <= 0.3
    assert beside.box[2] >= 0.6
    odd, *_ = read(landmarks, polygon, polygon)  # a polygon after all: its box holds it in either reading
    np.testing.assert_allclose(odd.box, (0.2, 0.2, 0.6, 0.6), atol=0.01)


def test_classes_without_a_name_are_told():
    labels = read_labels(b"0 0.5 0.5 0.2 0.2\n7 0.5 0.5 0.2 0.2\nx 1 1 1 1\n", 0)
    marked = list(labels.marked({0: Kind.HEAD}, {0: "head"}, "a.txt"))
    assert [(one.kind, one.where) for one in marked] == [
        (Kind.HEAD, "line 1 of a.txt"), (Kind.FACE, "line 2 of a.txt"), (Kind.FACE, "line 3 of a.txt")
    ]  # fmt: skip
    assert "nothing names its class 7" in marked[1].problem
    assert [one.where for one in labels.marked({0: Kind.HEAD}, {}, "a.txt")] == ["line 1 of a.txt", "line 3 of a.txt"]


def test_text_that_holds_labels():
    for text in (b"0 0.5 0.5 0.2 0.2\n\n1 0.1 0.2 0.3 0.4 0.9\r\n", b"0 0.5 0.5 0.2\n", b"end\nface nan 0 1 1\n"):
        assert looks_like_labels(text)
    for text in (b"", b"\n", b"train/a.png\n", b"a man of 30 years\n", b"1 2 3\n", b"\xff\xfe"):
        assert not looks_like_labels(text)


@given(st.lists(st.one_of(st.floats(), st.floats(-1, 2), st.integers(-5, 5)), max_size=20))
def test_any_numbers_are_read(numbers):
    labels = read_labels(("0 " + " ".join(map(str, numbers))).encode(), 0)
    (one,) = with_forms_resolved({"a": labels})["a"].rows
    assert len(one.box) == 4
