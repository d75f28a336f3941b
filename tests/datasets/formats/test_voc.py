"""Pascal VOC: XML, image sets and label maps are kept byte for byte, or get added objects."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from styleid.datasets.formats.voc.layout import Voc
from styleid.datasets.formats.voc.xml_file import read_voc, with_faces
from styleid.datasets.options import AnnotationOptions
from styleid.datasets.run import process_dataset
from styleid.engine.local import RunOptions
from styleid.errors import OptionError
from styleid.faces.detect import FaceDetector
from styleid.media.image import read_photo
from tests.datasets.folders import contents, errors, write

BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><annotation>&c;</annotation>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/passwd">]><annotation>&f;</annotation>'


def annotation(size: tuple[int, int], *objects: str) -> str:
    width, height = size
    whole = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    inner = "".join(f"\n\t{one}" for one in ("<filename>x.jpg</filename>", whole, *objects))
    return f"<annotation>{inner}\n</annotation>\n"


def thing(name: str, corners, more: str = "") -> str:
    tags = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    return f"<object><name>{name}</name><bndbox>{''.join(f'<{t}>{v}</{t}>' for t, v in tags)}</bndbox>{more}</object>"


def label_map(size: tuple[int, int]) -> Image.Image:
    labels = Image.new("P", size)
    labels.putpalette([0, 0, 0, 192, 128, 128])
    labels.paste(15, (10, 10, 50, 50))
    return labels


@pytest.fixture
def root(tmp_path, portrait, meadow) -> Path:
    base = "VOCdevkit/VOC2012/"
    part = "<part><name>head</name><bndbox><xmin>40</xmin><ymin>10</ymin><xmax>90</xmax><ymax>80</ymax></bndbox></part>"
    files = {
        "JPEGImages/a.jpg": portrait,
        "JPEGImages/b.jpg": meadow,
        "JPEGImages/c.jpg": meadow,
        "Annotations/a.xml": annotation(portrait.size, thing("person", (1, 1, 128, 112), part)),
        "Annotations/b.xml": annotation(meadow.size, thing("dog", ("10.5", 3, 20, 9))).replace("\n", "\r\n"),
        "ImageSets/Main/train.txt": "a\nb\n",
        "ImageSets/Main/person_train.txt": "a  1\nb -1\n",
        "SegmentationClass/a.png": label_map(portrait.size),
        "SegmentationClass/b.png": meadow,
        "LICENCE": "by somebody",
    }
    return write(tmp_path / "in", {base + name: content for name, content in files.items()})


def test_a_data_set_comes_out_complete(root, run_over, tmp_path):
    summary = run_over(root, Voc())
    before, after = contents(root), contents(tmp_path / "out")
    base = "VOCdevkit/VOC2012/"
    assert after.keys() == before.keys() - {base + "LICENCE"}
    photos = {
        base + name for name in ("JPEGImages/a.jpg", "JPEGImages/b.jpg", "JPEGImages/c.jpg", "SegmentationClass/b.png")
    }
    assert all(after[name] == before[name] for name in after.keys() - photos)
    assert (summary.photos.written, summary.carried, summary.left, summary.exit_status) == (4, 5, 1, 0)
    assert "treated as a photo" in dict(summary.notes)[base + "SegmentationClass/b.png"]
    face = base + "JPEGImages/a.jpg"
    assert (read_photo(root / face).image_rgb != read_photo(tmp_path / "out" / face).image_rgb).any(-1).mean() > 0.03


def test_faces_are_added(root, run_over, tmp_path, plain):
    summary = run_over(root, Voc(), add_faces=True)
    a, b = (f"VOCdevkit/VOC2012/Annotations/{name}.xml" for name in "ab")
    before, after = contents(root), contents(tmp_path / "out")
    assert after[b] == before[b]
    assert after[a].startswith(before[a][: before[a].index(b"</annotation>")])
    assert after[a].endswith(b"\n</annotation>\n")
    found = ElementTree.fromstring(after[a]).findall("object")[-1]
    assert found.findtext("name") == "face"
    corners = np.array([float(found.findtext(f"bndbox/{tag}") or 0) for tag in ("xmin", "ymin", "xmax", "ymax")])
    photo = read_photo(root / "VOCdevkit/VOC2012/JPEGImages/a.jpg").image_rgb
    np.testing.assert_allclose(corners, FaceDetector().detect(photo).boxes_xyxy[0] + 1, atol=1.1)
    assert summary.changed == 1
    assert "no annotation to add faces to" in dict(summary.notes)["VOCdevkit/VOC2012/JPEGImages/c.jpg"]
    with pytest.raises(OptionError, match="has a class 'dog' already"):
        run_over(root, Voc(), add_faces=True, face_class="dog", resume=True)


def test_parts_count_as_classes(root, run_over, tmp_path):
    run_over(root, Voc(), boxes="from-annotations")
    plan = Voc().plan(root, AnnotationOptions("from-annotations"))
    hints = next(p.hint_source for p in plan.photos if p.relative.name == "a.jpg")
    assert [str(one.kind) for one in hints.marked] == ["person", "head"]  # type: ignore[union-attr]
    assert hints.marked[1].box == (39, 9, 90, 80)  # type: ignore[union-attr]


def test_withheld_photos_keep_their_annotations_unless_dropped(root, run_over, tmp_path):
    (root / "VOCdevkit/VOC2012/JPEGImages/a.jpg").write_bytes(b"")
    assert run_over(root, Voc()).exit_status == 3
    assert contents(tmp_path / "out").keys() == contents(root).keys() - {
        "VOCdevkit/VOC2012/JPEGImages/a.jpg",
        "VOCdevkit/VOC2012/LICENCE",
    }
    summary = run_over(root, Voc(), drop_withheld=True)
    after = {name.removeprefix("VOCdevkit/VOC2012/"): data for name, data in contents(tmp_path / "out").items()}
    assert after["ImageSets/Main/train.txt"] == b"b\n"
    assert after["ImageSets/Main/person_train.txt"] == b"b -1\n"
    assert not {"Annotations/a.xml", "SegmentationClass/a.png"} & after.keys()
    assert (summary.dropped, summary.changed) == (2, 2)


KLINGON = '<?xml version="1.0" encoding="klingon"?><annotation/>'


@pytest.mark.parametrize("text", [BOMB, OUTSIDE, KLINGON, "<annotation>", "", "<other/>"])
def test_hostile_xml_is_carried_unread_or_withholds_its_photo(root, run_over, tmp_path, text):
    name = "VOCdevkit/VOC2012/Annotations/b.xml"
    write(root, {name: text})
    with pytest.raises(ValueError, match=r"\w"):
        read_voc(text.encode())
    assert run_over(root, Voc()).exit_status == 0
    assert (tmp_path / "out" / name).read_bytes() == text.encode()
    for options in ({"boxes": "from-annotations"}, {"add_faces": True}):
        ((photo, reason),) = run_over(root, Voc(), **options).photos.failures
        assert photo == "VOCdevkit/VOC2012/JPEGImages/b.jpg"
        assert reason.startswith(f"{name}: ")
        assert errors(tmp_path / "out") == {photo: reason}


def test_annotations_without_photos_are_named(root, run_over):
    write(root, {"VOCdevkit/VOC2012/Annotations/lost.xml": "<annotation/>"})
    assert dict(run_over(root, Voc()).photos.failures) == {
        "VOCdevkit/VOC2012/Annotations/lost.xml": "no photo belongs to this annotation"
    }


@pytest.mark.parametrize(
    "corners", [("nan", 1, 5, 5), (9, 1, 5, 5), ("", 1, 5, 5), ("x", 1, 5, 5), (500, 500, 600, 600)]
)
def test_degenerate_boxes_withhold_or_are_skipped(root, run_over, corners):
    write(root, {"VOCdevkit/VOC2012/Annotations/b.xml": annotation((96, 64), thing("face", corners))})
    ((name, reason),) = run_over(root, Voc(), boxes="from-annotations").photos.failures
    assert name.endswith("b.jpg")
    assert "object 1 in VOCdevkit/VOC2012/Annotations/b.xml" in reason
    assert run_over(root, Voc(), boxes="from-annotations", bad_boxes="skip").exit_status == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (annotation((9, 9)).encode(), ""),
        (b"<annotation></annotation>", ""),
        (b'<?xml version="1.0" encoding="latin-1"?>\r\n<annotation>\r\n  <a>\xe9</a>\r\n</annotation  >', ""),
        (b"<annotation/>", "faces cannot be added to it"),
        ("<annotation>\n</annotation>".encode("utf-16"), "faces cannot be added to it"),
    ],
)
def test_objects_go_before_the_end(text, says):
    boxes = np.array([[0, 1.5, 3, 4.2], [5, 5, 9, 9]])
    if says:
        with pytest.raises(ValueError, match=says):
            with_faces(text, boxes, "face")
        return
    new = with_faces(text, boxes, "a<b & é")
    end = text.index(b"</annotation")
    assert new.startswith(text[:end].rstrip(b" \t"))
    assert new.endswith(text[end:])
    assert read_voc(new).objects == (("a<b & é", (0, 1, 3, 5)), ("a<b & é", (5, 5, 9, 9)))
    assert new.count(b"\r\n") in (0, new.count(b"\n"))
    assert with_faces(text, boxes[:0], "x") == text


CORNERS = st.lists(st.sampled_from(["1", "20", "40.50", "-3", "1e2", "nan"]), min_size=4, max_size=4)
OBJECTS = st.lists(st.tuples(st.sampled_from(["face", "dog", "person"]), CORNERS), max_size=4)


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(OBJECTS, st.booleans(), st.sampled_from(["", "face=person"]))
def test_any_annotations_come_out_whole(tmp_path_factory, plain, portrait, meadow, objects, add, classes):
    root = tmp_path_factory.mktemp("voc")
    text = annotation((64, 56), *(thing(name, corners) for name, corners in objects), thing("face", (1, 1, 9, 9)))
    files = {"JPEGImages/a.png": portrait.resize((64, 56)), "JPEGImages/b.png": b"", "Annotations/a.xml": text}
    write(root / "in", files | {"Annotations/b.xml": text, "ImageSets/Main/all.txt": "a\nb\n"})
    boxes = "from-annotations" if classes else ""
    options = AnnotationOptions(boxes, (classes,) if classes else (), "skip", add_faces=add, face_class="new")
    summary = process_dataset(root / "in", Voc(), plain, RunOptions(root / "out"), options)
    assert [name for name, _ in summary.photos.failures] == ["JPEGImages/b.png"]
    before, after = contents(root / "in"), contents(root / "out")
    assert after.keys() == before.keys() - {"JPEGImages/b.png"}
    for name in after.keys() - {"JPEGImages/a.png", "Annotations/a.xml"}:
        assert after[name] == before[name]
    new = after["Annotations/a.xml"]
    assert new.startswith(before["Annotations/a.xml"][: -len("\n</annotation>\n")])
    assert len(read_voc(new).objects) == len(objects) + 1 + (summary.photos.faces["obscured"] if add else 0)
