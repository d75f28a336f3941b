"""Pascal VOC under other names, folders and encodings: each marked face is hidden, or its photo is withheld."""

import numpy as np
import pytest

from tests.cases.runner import pixels, share_changed
from tests.cases.test_coco_marks import MARK, RUN, hidden
from tests.datasets.folders import write


def annotation(corners=(11, 41, 70, 110), names: str = "", name: str = "face") -> str:
    tags = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in tags)
    size = "<size><width>256</width><height>300</height><depth>3</depth></size>"
    return f"<annotation>{names}{size}<object><name>{name}</name><bndbox>{box}</bndbox></object></annotation>"


def called(*names: str) -> str:
    return "".join(f"<{tag}>{name}</{tag}>" for tag, name in zip(("filename", "folder", "path"), names, strict=False))


@pytest.mark.parametrize(
    ("photo", "xml", "names"),
    [
        ("JPEGImages/a.png", "Annotations/a.xml", ""),
        ("JPEGImages/sub/a.png", "Annotations/sub/a.xml", called("other.jpg")),
        ("a.png", "a.xml", ""),
        ("pictures/a.png", "Annotations/a.xml", ""),
        ("pictures/a.png", "xmls/a.xml", ""),
        ("pictures/a.png", "xmls/1.xml", called("a.png")),
        ("pictures/a.png", "xmls/1.xml", called("a")),
        ("pictures/a.png", "xmls/1.xml", called("a.png", "pictures")),
        ("pictures/a.png", "xmls/1.xml", called("1.png", "x", "C:\\me\\pictures\\a.png")),
        ("pictures/a.png", "xmls/1.xml", called("", "", "/home/me/pictures/a.png")),
        ("pictures/a.png", "xmls/1.xml", called("../pictures/a.png")),
        ("pictures/A.PNG", "Annotations/a.xml", ""),
        ("pictures/a.png", "Annotations/a.png.xml", ""),
    ],
)
def test_annotations_find_their_photo(head, styleid, tmp_path, photo, xml, names):
    root = write(tmp_path / "in", {photo: head, xml: annotation(names=names)})
    result = styleid("dataset", "voc", root, *RUN)
    assert result.status == 0
    assert hidden(result, root, photo)


def test_boxes_in_percent_withhold_their_photo_until_the_user_says_so(head, styleid, tmp_path):
    xml = annotation(tuple(round(100 * v, 2) for v in (10 / 256, 40 / 300, 70 / 256, 110 / 300)))
    root = write(tmp_path / "in", {"JPEGImages/a.png": head, "Annotations/a.xml": xml})
    result = styleid("dataset", "voc", root, *RUN)
    assert (result.status, "JPEGImages/a.png" in result.files) == (3, False)
    assert "object 1 in Annotations/a.xml" in result.errors["JPEGImages/a.png"]
    assert "Annotations/*.xml lie within 100 x 100" in result.errors["JPEGImages/a.png"]
    said = styleid("dataset", "voc", root, *RUN, "--box-unit", "percent", out=tmp_path / "said")
    assert said.status == 0
    assert hidden(said, root, "JPEGImages/a.png")
    outside = share_changed(np.asarray(head), pixels(said.out / "JPEGImages/a.png"), (0, 200, 256, 300))
    assert outside < 0.5


def test_a_box_in_the_corner_is_fine_where_others_reach_further(head, styleid, tmp_path):
    files = {"JPEGImages/a.png": head, "JPEGImages/b.png": head, "Annotations/a.xml": annotation((11, 21, 70, 90))}
    root = write(tmp_path / "in", {**files, "Annotations/b.xml": annotation()})
    result = styleid("dataset", "voc", root, *RUN)
    assert result.status == 0
    assert hidden(result, root, "JPEGImages/a.png", (10, 20, 70, 90))


def test_photos_of_one_name_all_get_the_marks(head, styleid, tmp_path):
    files = {"JPEGImages/a.png": head, "JPEGImages/a.bmp": head, "Annotations/a.xml": annotation(names=called("a.bmp"))}
    root = write(tmp_path / "in", files)
    result = styleid("dataset", "voc", root, *RUN, "--add-faces", "--face-class", "found")
    assert all(hidden(result, root, f"JPEGImages/a.{kind}") for kind in ("png", "bmp"))


def test_an_annotation_that_names_another_photo_than_its_own_hides_both(head, styleid, tmp_path):
    files = {f"JPEGImages/{name}.png": head for name in "abc"}
    files |= {"Annotations/a.xml": annotation(names=called("b.png")), "Annotations/c.xml": annotation(name="dog")}
    root = write(tmp_path / "in", files)
    result = styleid("dataset", "voc", root, *RUN)
    assert all(hidden(result, root, f"JPEGImages/{name}.png") for name in "ab")
    assert share_changed(np.asarray(head), pixels(result.out / "JPEGImages/c.png"), MARK) < 0.5


@pytest.mark.parametrize("text", [annotation(), "<annotation>"])
def test_annotations_that_may_be_several_photos_withhold_them(head, styleid, tmp_path, text):
    files = {"one/a.png": head, "two/a.png": head, "two/b.png": head, "two/b.xml": annotation(), "xmls/a.xml": text}
    root = write(tmp_path / "in", files)
    result = styleid("dataset", "voc", root, *RUN)
    assert result.errors.keys() == {"one/a.png", "two/a.png", "xmls/a.xml"}
    assert "xmls/a.xml" in result.errors["one/a.png"]
    assert result.status == 3
    assert hidden(result, root, "two/b.png")


def test_an_annotation_of_a_missing_photo_goes_to_no_namesake(head, styleid, tmp_path):
    files = {"one/JPEGImages/a.png": head, "one/Annotations/a.xml": annotation(name="dog")}
    root = write(tmp_path / "in", {**files, "two/Annotations/a.xml": annotation()})
    result = styleid("dataset", "voc", root, *RUN)
    assert result.errors == {"two/Annotations/a.xml": "no photo belongs to this annotation"}
    assert share_changed(np.asarray(head), pixels(result.out / "one/JPEGImages/a.png"), MARK) < 0.5


@pytest.mark.parametrize(
    ("corners", "says"),
    [
        ((0.04, 0.13, 0.27, 0.37), "less than a pixel"),
        ((0, 0, 1, 1), "less than a pixel"),
        ((70, 110, 11, 41), "covers no part"),
        (("11,5", 41, 70, 110), "covers no part"),
        (("", 41, 70, 110), "covers no part"),
        ((300, 41, 370, 110), "covers no part"),
    ],
)
def test_boxes_that_hold_no_face_withhold_their_photo(head, styleid, tmp_path, corners, says):
    root = write(tmp_path / "in", {"JPEGImages/a.png": head, "Annotations/a.xml": annotation(corners)})
    result = styleid("dataset", "voc", root, *RUN)
    assert (result.status, "JPEGImages/a.png" in result.files) == (3, False)
    assert says in result.errors["JPEGImages/a.png"]
    assert "object 1 in Annotations/a.xml" in result.errors["JPEGImages/a.png"]


def test_every_box_of_an_object_counts_and_one_without_a_name_withholds(head, styleid, tmp_path):
    second = "<bndbox><xmin>190</xmin><ymin>200</ymin><xmax>240</xmax><ymax>280</ymax></bndbox></object>"
    two = annotation().replace("</object>", second)
    nameless = annotation().replace("</annotation>", "<objects><object>" + second + "</objects></annotation>")
    photos = {"JPEGImages/a.png": head, "JPEGImages/b.png": head}
    root = write(tmp_path / "in", {**photos, "Annotations/a.xml": two, "Annotations/b.xml": nameless})
    result = styleid("dataset", "voc", root, *RUN)
    assert hidden(result, root, "JPEGImages/a.png")
    assert hidden(result, root, "JPEGImages/a.png", (189, 199, 240, 280))
    assert not hidden(result, root, "JPEGImages/b.png")
    assert "object 2 in Annotations/b.xml: it has no name" in result.errors["JPEGImages/b.png"]


@pytest.mark.parametrize("encoding", ["gb2312", "gbk", "shift_jis", "unknown-8"])
@pytest.mark.parametrize("declared", [True, False])
def test_encodings_that_are_not_read_say_what_to_do(head, styleid, tmp_path, encoding, declared):
    text = annotation(names=called("中.png"))
    first = f'<?xml version="1.0" encoding="{encoding}"?>' if declared else ""
    data = (first + text).encode("shift_jis" if encoding == "unknown-8" else encoding)
    root = write(tmp_path / "in", {"JPEGImages/a.png": head, "Annotations/a.xml": data})
    result = styleid("dataset", "voc", root, *RUN)
    assert (result.status, "JPEGImages/a.png" in result.files) == (3, False)
    assert result.errors["JPEGImages/a.png"].startswith("Annotations/a.xml: ")
    assert "Save it as UTF-8" in result.errors["JPEGImages/a.png"]
    assert result.files.get("Annotations/a.xml", data) == data
    assert ("Annotations/a.xml" in result.files) != ("Annotations/a.xml" in result.errors)
