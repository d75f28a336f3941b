"""YOLO labels in all common forms and folders: each marked face is hidden, or its photo is withheld."""

import numpy as np
import pytest

from tests.cases.runner import pixels, share_changed
from tests.cases.test_coco_marks import MARK, RUN, hidden
from tests.datasets.folders import write

BOX = "0.156250 0.250000 0.234375 0.233333"
POINTS = "0.09766 0.20000 0.21484 0.20000 0.15625 0.25000 0.10938 0.31667 0.20312 0.31667"
CORNERS = "0.0390625 0.1333333 0.2734375 0.1333333 0.2734375 0.3666667 0.0390625 0.3666667"
FACES = {"classes.txt": "face\n"}


@pytest.mark.parametrize(
    "line",
    [
        f"0 {BOX}",
        f"0 {BOX} 0.9",
        f"0 {CORNERS}",
        f"0 {BOX} {POINTS}",
        f"0 {BOX} {' '.join(['-1'] * 10)}",
        f"0 {BOX} {' '.join(['0'] * 10)}",
        f"0 {BOX} 0.09766 0.20000 {' '.join(['-1'] * 8)}",
        f"0 {BOX} 0.09766 0.2 2 0.21484 0.2 2 0.15625 0.25 1 0.10938 0.31667 0 0.20312 0.31667 2",
        f"0 {BOX} 0.28 0.20000 0.29 0.20000 0.31 0.25000 0.27 0.31667 0.28 0.31667",  # in profile, beside the box
        "0 0.0390625 0.1333333 0.2734375 0.3666667",  # corners
    ],
)
def test_lines_hide_what_they_mark_in_every_reading(head, styleid, tmp_path, line):
    root = write(tmp_path / "in", {"images/a.png": head, "labels/a.txt": line, **FACES})
    result = styleid("dataset", "yolo", root, *RUN)
    assert result.status == 0
    assert hidden(result, root, "images/a.png")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0 40 75 60 70", "its numbers are no shares"),
        ("0 15.6 25.0 23.4 23.3", "its numbers are no shares"),
        ("0 0.94 1.46 1.88 2.5", "its numbers are no shares"),
        ("0 10 40 70 40 70 110", "its numbers are no shares"),
        ("0 0.15625 0.25 -0.234375 0.233333", "covers no part"),
        ("0 0.15625 0.25 0.001 0.233333", "less than a pixel"),
        ("0 nan 0.25 0.23 0.23", "covers no part"),
        ("0 0.1,0.2,0.3,0.4", "covers no part"),
        ("0 0.15 0.25 0.23", "covers no part"),
        (f"0 {BOX} {POINTS} 0.9", "covers no part"),
        (f"0 {BOX} inf {POINTS[8:]}", "covers no part"),
        (f"0 1e300 1e308 1e308 {POINTS}", "its numbers are no shares"),
        (f"0.5 {BOX}", "covers no part"),
        (f"face {BOX}", "covers no part"),
        (f"3 {BOX}", "nothing names its class 3"),
    ],
)
def test_lines_that_mark_nothing_withhold_their_photo(head, styleid, tmp_path, line, says):
    root = write(tmp_path / "in", {"images/a.png": head, "labels/a.txt": f"0 {BOX}\n{line}\n", **FACES})
    result = styleid("dataset", "yolo", root, *RUN)
    assert (result.status, "images/a.png" in result.files) == (3, False)
    assert says in result.errors["images/a.png"]
    assert "line 2 of labels/a.txt" in result.errors["images/a.png"]


def test_polygons_stay_polygons_where_others_tell(head, styleid, tmp_path):
    """A small polygon may also read as a large box with landmarks."""
    small = "0 " + " ".join(f"{0.2 + 0.07 * np.cos(t):.4f} {0.55 + 0.07 * np.sin(t):.4f}" for t in np.arange(0, 6, 0.8))
    alone = write(tmp_path / "one", {"images/a.png": head, "labels/a.txt": small, **FACES})
    both = {"images/b.png": head, "labels/b.txt": f"0 {CORNERS}"}
    several = write(tmp_path / "two", {"images/a.png": head, "labels/a.txt": small, **both, **FACES})
    corner = (40, 200, 80, 240)
    one = styleid("dataset", "yolo", alone, *RUN, out=tmp_path / "out1")
    two = styleid("dataset", "yolo", several, *RUN, out=tmp_path / "out2")
    before = np.asarray(head)
    assert share_changed(before, pixels(one.out / "images/a.png"), corner) == 1
    assert share_changed(before, pixels(two.out / "images/a.png"), corner) < 0.5
    assert "may be polygons, or boxes with landmarks" in one.stderr
    assert "may be polygons" not in two.stderr


@pytest.mark.parametrize(
    ("photo", "label"),
    [
        ("images/train/a.png", "labels/train/a.txt"),
        ("JPEGImages/a.png", "labels/a.txt"),
        ("VOC2012/JPEGImages/a.png", "VOC2012/labels/a.txt"),
        ("images/a.png", "images/a.txt"),
        ("photos/train/a.png", "labels/train/a.txt"),
        ("train/photos/a.png", "train/annotations/a.txt"),
        ("a.png", "yolo/a.txt"),
        ("deep/down/a.png", "labels/a.txt"),
        ("images/A.PNG", "labels/a.txt"),
        ("images/a b.png", "labels/a_b.txt"),
        ("images/a.png", "labels/3f2a9c1d-a.txt"),
        ("images/a.png", "labels/a.png.txt"),
        ("images/a.png", "images/a.TXT"),
        ("images/a.b.png", "labels/a.b.txt"),
    ],
)
def test_labels_are_found_under_other_folders_names(head, styleid, tmp_path, photo, label):
    root = write(tmp_path / "in", {photo: head, label: f"0 {BOX}\n", **FACES})
    result = styleid("dataset", "yolo", root, *RUN)
    assert result.status == 0
    assert hidden(result, root, photo)
    assert result.files[label] == f"0 {BOX}\n".encode()


def test_all_label_files_of_a_photo_are_used(head, styleid, tmp_path):
    files = {"images/a.png": head, "labels/a.txt": "0 0.8 0.2 0.1 0.1\n", "images/a.txt": f"0 {BOX}\n", **FACES}
    root = write(tmp_path / "in", files)
    result = styleid("dataset", "yolo", root, *RUN)
    assert hidden(result, root, "images/a.png")
    assert hidden(result, root, "images/a.png", (193, 46, 216, 74))


def test_labels_that_may_be_several_photos_withhold_them(head, styleid, tmp_path):
    photos = {"one/a.png": head, "two/a.png": head, "two/b.png": head, "two/b.txt": "0 0.8 0.2 0.1 0.1\n"}
    root = write(tmp_path / "in", {**photos, "labels/a.txt": f"0 {BOX}\n", **FACES})
    result = styleid("dataset", "yolo", root, *RUN)
    assert result.errors.keys() == {"one/a.png", "two/a.png", "labels/a.txt"}
    assert "line 1 of labels/a.txt marks a face" in result.errors["one/a.png"]
    assert result.status == 3
    assert "two/b.png" in result.files


def test_labels_of_a_missing_photo_go_to_no_namesake(head, styleid, tmp_path):
    files = {"images/train/a.png": head, "labels/train/a.txt": "", "labels/val/a.txt": f"0 {BOX}\n", **FACES}
    root = write(tmp_path / "in", files)
    result = styleid("dataset", "yolo", root, *RUN)
    assert result.errors == {"labels/val/a.txt": "no photo belongs to these labels"}
    assert share_changed(np.asarray(head), pixels(result.out / "images/train/a.png"), MARK) < 0.5


def test_lists_of_classes_that_contradict_each_other_are_refused(head, styleid, tmp_path):
    files = {"one/a.png": head, "one/a.txt": f"0 {BOX}", "one/classes.txt": "face\ncar\n"}
    files |= {"two/classes.txt": "car\nface\n"}
    result = styleid("dataset", "yolo", write(tmp_path / "in", files), *RUN)
    assert (result.status, result.files) == (2, {})
    assert "one/classes.txt and two/classes.txt" in result.stderr


CVAT = {"obj.data": "classes = 1\ntrain = data/train.txt\nnames = data/obj.names\n", "obj.names": "face\n"}


@pytest.mark.parametrize(
    "listed",
    ["data/obj_train_data/a.png", "/home/me/data/obj_train_data/a.png", "data\\obj_train_data\\a.png",
     "./obj_train_data/a.png", "../in/obj_train_data/a.png"],
)  # fmt: skip
@pytest.mark.parametrize("drop", [False, True])
def test_lists_name_photos_as_cvat_does(head, styleid, tmp_path, listed, drop):
    files = {"obj_train_data/a.png": head, "obj_train_data/a.txt": f"0 {BOX}\n", "obj_train_data/b.png": b"no picture"}
    root = write(tmp_path / "in", {**files, **CVAT, "train.txt": f"{listed}\n{listed.replace('a.png', 'b.png')}\n"})
    result = styleid("dataset", "yolo", root, *RUN, *(["--drop-withheld"] if drop else []))
    assert result.errors.keys() == {"obj_train_data/b.png"}
    assert hidden(result, root, "obj_train_data/a.png")
    assert result.files["train.txt"].decode().count("\n") == (1 if drop else 2)


@pytest.mark.parametrize(
    ("path", "train", "noted"),
    [
        ("../in", "images", True),
        ("in", "images", True),
        ("./../in/", "images", True),
        ("..", "in/images", True),
        (".", "../in/images", True),
        ("C:\\data\\in", "images", True),
        (".", "images", False),
        ("", "../train/images", False),  # Roboflow's
        ("images", ".", False),
    ],
)
def test_paths_that_lead_back_are_noted(head, styleid, tmp_path, path, train, noted):
    data = f"path: {path}\ntrain: {train}\nval: {train}\nnames:\n  0: face\n"
    root = write(tmp_path / "in", {"images/a.png": head, "labels/a.txt": f"0 {BOX}\n", "data.yaml": data})
    result = styleid("dataset", "yolo", root, *RUN)
    assert ("a training with the copy reads photos from there" in result.stderr) == noted
    assert result.status == 0


def rows(text: bytes) -> list[list[float]]:
    return [[float(word) for word in line.split()] for line in text.decode().splitlines()]


@pytest.mark.parametrize(
    ("own", "others", "form"),
    [
        ("0 0.5 0.5 1 1\n", [CORNERS, CORNERS], "box"),
        (f"0 {CORNERS}\n", ["0.5 0.5 1 1", "0.5 0.5 1 1"], "polygon"),
        ("", [CORNERS, CORNERS, "0.5 0.5 1 1"], "polygon"),
        ("", [CORNERS, "0.5 0.5 1 1", "0.5 0.5 1 1"], "box"),
        (None, [CORNERS, CORNERS], "polygon"),
        (None, ["0.5 0.5 1 1"], "box"),
        (None, [], "box"),
    ],
)
def test_added_faces_keep_a_files_lines_of_one_form(head, styleid, tmp_path, own, others, form):
    """Ultralytics reads every line of a file as a polygon as soon as one has more than six fields."""
    data = "path: .\ntrain: images\nval: images\nnames: {0: person}\n"
    files = {"images/a.png": head, "data.yaml": data} | ({} if own is None else {"labels/a.txt": own})
    for number, line in enumerate(others):
        files |= {f"images/{number}.png": head, f"labels/{number}.txt": f"0 {line}\n"}
    root = write(tmp_path / "in", files)
    result = styleid("dataset", "yolo", root, "--add-faces", "--method", "none")
    assert result.status == 0
    lines = rows(result.files["labels/a.txt"])
    assert {len(line) > 6 for line in lines} == {form == "polygon"}
    *_, face = lines
    xs, ys = (face[1::2], face[2::2]) if form == "polygon" else ([face[1]] * 2, [face[2]] * 2)
    assert 85 < np.mean([min(xs), max(xs)]) * 256 < 173
    assert 58 < np.mean([min(ys), max(ys)]) * 300 < 177
    for number in range(len(others)):
        assert len({len(row) > 6 for row in rows(result.files[f"labels/{number}.txt"])}) == 1


def test_faces_are_not_added_to_boxes_with_landmarks(head, styleid, tmp_path):
    files = {"images/a.png": head, "labels/a.txt": f"0 {BOX} {POINTS}\n", "data.yaml": "names: [person]\n"}
    result = styleid("dataset", "yolo", write(tmp_path / "in", files), "--add-faces", "--method", "none")
    assert (result.status, result.files) == (2, {})
    assert "labels/a.txt has boxes with landmarks" in result.stderr


@pytest.mark.shared
def test_the_case_of_landmarks_is_hidden(case, styleid):
    root = case("yolo-landmarks-without-kpt_shape") / "positive"
    result = styleid("dataset", "yolo", root, *RUN)
    assert hidden(result, root, "images/a.png")


@pytest.mark.shared
@pytest.mark.parametrize(
    ("layout", "photo"),
    [
        ("cvat11", "obj_train_data/frame_000000.png"),
        ("JPEGImages", "JPEGImages/a.png"),
        ("relpath", "images/train/a.png"),
    ],
)
def test_the_case_of_layouts_holds(case, styleid, layout, photo):
    root = case("yolo-layouts") / layout
    result = styleid("dataset", "yolo", root, *RUN)
    assert result.status == 0
    assert hidden(result, root, photo)
    assert ("reads photos from there" in result.stderr) == (layout == "relpath")


@pytest.mark.parametrize(("form", "name"), [("yolo", "YOLO"), ("voc", "Pascal VOC")])
def test_a_data_set_of_another_format_is_noted(head, styleid, tmp_path, form, name):
    root = write(tmp_path / "in", {"images/a.png": head, "instances.json": '{"images": [], "annotations": []}'})
    result = styleid("dataset", form, root, "--method", "none")
    assert f"no {name} annotations were found. Are they in another format?" in result.stderr
