"""YOLO: labels, lists and data.yaml are kept byte for byte, or get added lines."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from styleid.datasets.formats.yolo.data_yaml import add_class
from styleid.datasets.formats.yolo.labels import read_labels, with_faces
from styleid.datasets.formats.yolo.layout import Yolo
from styleid.datasets.options import AnnotationOptions
from styleid.datasets.run import process_dataset
from styleid.engine.local import RunOptions
from styleid.errors import DatasetError, OptionError
from styleid.faces.detect import FaceDetector
from styleid.media.image import read_photo
from tests.datasets.folders import contents, errors, write

pytestmark = pytest.mark.versions

DATA = """# ours
path: .
train: images/train
val: val.txt
nc: 2  # two
names:
  0: person
  1: car # old
extra: 1.50
"""


@pytest.fixture
def root(tmp_path, portrait, meadow) -> Path:
    return write(
        tmp_path / "in",
        {
            "data.yaml": DATA,
            "images/train/a.jpg": portrait,
            "images/train/deep/b.png": meadow,
            "images/val/c.png": portrait,
            "labels/train/a.txt": "1 0.5 0.50 1e-1 0.2",
            "labels/train/deep/b.txt": "0 .5 .5 .2 .4\r\n",
            "val.txt": "./images/val/c.png\n",
            "notes.md": "by somebody",
        },
    )


def test_a_data_set_comes_out_complete(root, run_over, tmp_path):
    summary = run_over(root, Yolo())
    before, after = contents(root), contents(tmp_path / "out")
    assert after.keys() == before.keys() - {"notes.md"}
    assert all(after[n] == before[n] for n in after if n.endswith((".txt", ".yaml")))
    assert (summary.photos.written, summary.carried, summary.changed, summary.left, summary.exit_status) == (
        3,
        4,
        0,
        1,
        0,
    )
    for name in ("images/train/a.jpg", "images/val/c.png"):
        assert (read_photo(root / name).image_rgb != read_photo(tmp_path / "out" / name).image_rgb).any()


def test_labels_are_shares_and_nothing_else(root, run_over):
    with pytest.raises(OptionError, match=r"^box_unit: YOLO's labels are shares of the photo"):
        run_over(root, Yolo(), box_unit="percent")
    assert run_over(root, Yolo(), box_unit="shares").exit_status == 0


def test_a_data_set_without_labels_has_no_marks_to_use(tmp_path, portrait):
    root = write(tmp_path / "in", {"data.yaml": DATA, "images/a.png": portrait, "labels/a.json": "{}"})
    with pytest.raises(OptionError, match=r"^boxes: .*in contains no text files of labels"):
        Yolo().plan(root, AnnotationOptions(boxes="from-annotations"))
    assert len(Yolo().plan(root, AnnotationOptions()).photos) == 1


def test_faces_are_added_in_pixels_only():
    with pytest.raises(OptionError, match=r"^add_faces: faces are added in pixels, and `box_unit` is percent"):
        AnnotationOptions(box_unit="percent", add_faces=True)


def test_faces_are_added(root, run_over, tmp_path, plain):
    for resume in (False, True):
        summary = run_over(root, Yolo(), add_faces=True, resume=resume)
        after = contents(tmp_path / "out")
        assert after["labels/train/a.txt"].startswith(b"1 0.5 0.50 1e-1 0.2\n2 0.")
        assert after["labels/train/a.txt"].count(b"\n") == 2
        assert after["labels/train/deep/b.txt"] == b"0 .5 .5 .2 .4\r\n"
        assert after["labels/val/c.txt"].startswith(b"2 0.")
        assert after["data.yaml"].decode() == DATA.replace("nc: 2", "nc: 3").replace("# old\n", '# old\n  2: "face"\n')
        assert summary.changed == 3
    x, y, width, height = (float(v) for v in after["labels/train/a.txt"].split()[6:])
    found = (FaceDetector().detect(read_photo(root / "images/train/a.jpg").image_rgb).boxes_xyxy[0] + 0.5).tolist()
    box = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2]) * [128, 112, 128, 112]
    np.testing.assert_allclose(box, found, atol=0.11)


def test_withheld_photos_keep_their_labels_unless_dropped(root, run_over, tmp_path):
    (root / "images/val/c.png").write_bytes(b"")
    (root / "images/train/a.jpg").write_bytes(b"")
    assert run_over(root, Yolo()).exit_status == 3
    kept = contents(tmp_path / "out")
    assert {n for n in contents(root) if n.endswith(".txt")} <= kept.keys()
    summary = run_over(root, Yolo(), drop_withheld=True)
    assert summary.exit_status == 3
    after = contents(tmp_path / "out")
    assert after.keys() == {"data.yaml", "images/train/deep/b.png", "labels/train/deep/b.txt", "val.txt"}
    assert after["val.txt"] == b""
    assert errors(tmp_path / "out").keys() == {"images/val/c.png", "images/train/a.jpg"}


def test_labels_and_lists_without_photos_are_named(root, run_over, tmp_path):
    write(root, {"labels/train/lost.txt": "0 1 1 1 1", "val.txt": "./images/val/c.png\nimages/val/none.png\n"})
    summary = run_over(root, Yolo())
    assert dict(summary.photos.failures).keys() == {"labels/train/lost.txt", "images/val/none.png"}
    assert (tmp_path / "out/labels/train/lost.txt").is_file()


def test_paths_that_lead_back_to_the_originals_are_told(root, run_over):
    write(root, {"data.yaml": DATA.replace("path: .", f"path: {root}"), "val.txt": f"{root}/images/val/c.png\n"})
    summary = run_over(root, Yolo())
    assert {name for name, text in summary.notes if "reads photos from there" in text} == {"data.yaml", "val.txt"}
    assert summary.exit_status == 0


@pytest.mark.parametrize(
    ("line", "options", "hidden"),
    [
        ("0 0.5 0.5 0.4 0.5", {"classes": ("person=face",)}, True),
        ("0 0.3 0.25 0.7 0.25 0.7 0.75 0.3 0.75", {"classes": ("person=head",)}, True),
        ("0 0.5 0.5 0.4 0.5", {}, False),
        ("1 0.5 0.5 0.4 0.5", {"classes": ("person=face",)}, False),
    ],
)
def test_labels_are_used(root, run_over, tmp_path, line, options, hidden):
    write(root, {"labels/train/deep/b.txt": line})
    run_over(root, Yolo(), boxes="from-annotations", **options)
    name = "images/train/deep/b.png"
    changed = (read_photo(root / name).image_rgb != read_photo(tmp_path / "out" / name).image_rgb).any(-1)
    assert changed[24:40, 40:56].all() == hidden
    assert changed.any() == hidden


@pytest.mark.parametrize(
    "line",
    [
        *("0 nan 0.5 0.1 0.1", "0 0.5 0.5 0 0.1", "0 0.5", "x 0.5 0.5 0.1 0.1"),
        *("0 2 2 0.1 0.1", "-1 1 1 1 1", "0 a b c d", "1e999 1 1 1 1"),
    ],
)
def test_bad_lines_withhold_or_are_skipped(root, run_over, line):
    write(root, {"labels/train/deep/b.txt": f"\n{line}\n"})
    options = {"boxes": "from-annotations", "classes": ("person=face",)}
    ((name, reason),) = run_over(root, Yolo(), **options).photos.failures
    assert name == "images/train/deep/b.png"
    assert "line 2 of labels/train/deep/b.txt" in reason
    assert run_over(root, Yolo(), **options, bad_boxes="skip").exit_status == 0


def test_what_faces_cannot_be_added_to_is_refused(root, run_over, tmp_path):
    def refused(error: type[Exception], says: str, **files: str) -> None:
        for name, text in files.items():
            write(root, {name.replace("_", "/").replace("DOT", "."): text})
        with pytest.raises(error, match=says):
            run_over(root, Yolo(), add_faces=True)

    refused(OptionError, "has a class 'face' already", dataDOTyaml=DATA.replace("car", "face"))
    refused(OptionError, "has a kpt_shape", dataDOTyaml=DATA + "kpt_shape: [17, 3]\n")
    refused(DatasetError, "kpt_shape must be two numbers", dataDOTyaml=DATA + "kpt_shape: 17\n")
    refused(DatasetError, "it is not valid YAML", dataDOTyaml="names: [a")
    refused(DatasetError, "names must be a list, or numbers", dataDOTyaml="names: {a: b}")
    refused(DatasetError, "uses class 7", dataDOTyaml=DATA, labels_train_aDOTtxt="7 0.5 0.5 0.1 0.1")
    (root / "data.yaml").unlink()
    refused(OptionError, "no data.yaml with names")
    assert not (tmp_path / "out").exists()


def test_labels_beside_the_photos(tmp_path, run_over, portrait):
    root = write(tmp_path / "in", {"x/a.jpg": portrait, "x/a.txt": "0 0.5 0.5 0.1 0.1\n", "classes.txt": "face\n"})
    summary = run_over(root, Yolo(), boxes="from-annotations")
    assert contents(tmp_path / "out").keys() == {"x/a.jpg", "x/a.txt", "classes.txt"}
    assert (summary.carried, summary.exit_status) == (2, 0)


@pytest.mark.parametrize(
    "text",
    [
        "names: [a, 'b']\nnc: 2\n",
        "nc: 2\nnames: ['a', \"b\" ]",
        "names:\n- a\n- b",
        "names:\n  - a\n  - b  # last\n# end\nother: 1\n",
        "names:\r\n    0: a\r\n    1: b\r\nnc: 2\r\n",
        "{names: {0: a, 1: b}, nc: 2}",
        "names: {0: a,\n  1: b}\n",
    ],
)
def test_a_class_is_added_to_any_usual_form(text):
    new = add_class(Path("data.yaml"), text.encode(), 2, 'fa"ce: é').decode()
    before, after = yaml.safe_load(text), yaml.safe_load(new)
    names = before["names"]
    assert after["names"] == (names | {2: 'fa"ce: é'} if isinstance(names, dict) else [*names, 'fa"ce: é'])
    assert after.get("nc") == (3 if "nc" in before else None)
    assert {k: v for k, v in after.items() if k not in ("names", "nc")} == {
        k: v for k, v in before.items() if k not in ("names", "nc")
    }
    rest = iter(new)
    assert all(any(c == d for d in rest) for c in text.replace("nc: 2", "nc: 3"))  # nothing was taken out


def test_an_odd_form_is_refused():
    with pytest.raises(DatasetError, match="no class can be added"):
        add_class(Path("data.yaml"), b"x: &n [a]\nnames: *n\n", 1, "face")


def test_polygons_and_keypoints_are_told_apart():
    polygon, pose = b"0 0.1 0.1 0.5 0.1 0.5 0.6", b"0 0.5 0.5 0.2 0.2" + b" 0.5 0.5 2" * 17
    assert read_labels(polygon, 0).polygons
    np.testing.assert_allclose(read_labels(polygon, 0).rows[0][1], (0.1, 0.1, 0.5, 0.6))
    assert not read_labels(pose, 51).polygons
    np.testing.assert_allclose(read_labels(pose, 51).rows[0][1], (0.4, 0.4, 0.6, 0.6))
    face = np.array([[0.1, 0.2, 0.3, 0.4]])
    assert with_faces(polygon, face, 3, polygons=True).endswith(
        b"0.6\n3 0.100000 0.200000 0.300000 0.200000 0.300000 0.400000 0.100000 0.400000\n"
    )
    assert with_faces(b"a\r\n", face, 3, polygons=False) == b"a\r\n3 0.200000 0.300000 0.200000 0.200000\r\n"
    assert with_faces(b"", face[:0], 3, polygons=False) == b""


VALUES = st.sampled_from(["0", "0.5", "1e-3", "0.250000", "-1", "2", "nan", ".1"])
LINES = st.lists(st.tuples(st.integers(0, 1), st.lists(VALUES, min_size=4, max_size=4)), max_size=4)


@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(LINES, min_size=2, max_size=2), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
def test_any_labels_come_out_whole(tmp_path_factory, plain, portrait, meadow, labels, newline, end, add):
    root = tmp_path_factory.mktemp("yolo")
    texts = [newline.join(f"{c} {' '.join(values)}" for c, values in lines) + newline * end for lines in labels]
    files = {"images/a.png": portrait.resize((64, 56)), "images/b.png": meadow, "images/c.png": b"", "data.yaml": DATA}
    files |= dict(zip(("labels/a.txt", "labels/b.txt"), texts, strict=True)) | {"labels/c.txt": texts[0]}
    write(root / "in", files)
    options = AnnotationOptions("from-annotations", add_faces=add)
    summary = process_dataset(root / "in", Yolo(), plain, RunOptions(root / "out"), options)
    assert [name for name, _ in summary.photos.failures] == ["images/c.png"]
    before, after = contents(root / "in"), contents(root / "out")
    assert after.keys() == before.keys() - {"images/c.png"}
    added = 0
    for name in itertools.filterfalse(lambda n: n.endswith("png"), after):
        if name.startswith("labels"):
            old, new = before[name].splitlines(), after[name].splitlines()
            assert after[name].startswith(before[name])
            assert new[: len(old)] == old
            added += len(new) - len(old)
        elif not add:
            assert after[name] == before[name]
    assert added == (summary.photos.faces["obscured"] if add else 0)
