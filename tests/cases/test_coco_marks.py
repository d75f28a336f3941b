"""COCO files as tools, scripts and people write them: each marked face is hidden, or its photo is withheld."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cases.runner import Result, pixels, share_changed
from tests.datasets.folders import with_orientation, write

MARK = (10, 40, 70, 110)
BBOX = [10, 40, 60, 70]
CORNERS = [10, 40, 70, 40, 70, 110, 10, 110]
RUN = ("--boxes", "from-annotations", "--method", "none")
FACE = {"id": 1, "name": "face"}


def entry(name: str | None = "a.png", number: object = 1, **more: object) -> dict:
    return {"id": number, "width": 256, "height": 300} | ({} if name is None else {"file_name": name}) | more


def mark(image: object = 1, **more: object) -> dict:
    row = {"id": 1, "image_id": image, "category_id": 1, "bbox": BBOX, "iscrowd": 0}
    return {key: value for key, value in (row | more).items() if value is not ...}


def data_set(root: Path, photos: dict, images: list[dict], rows: list[dict], place="annotations/instances_train.json",
             categories=(FACE,)) -> Path:  # fmt: skip
    record = {"images": images, "annotations": rows, "categories": [*categories]}
    return write(root, photos | {place: json.dumps(record)})


def hidden(result: Result, root: Path, photo: str, box=MARK) -> bool:
    """Say whether a mark is hidden; the other answer is that its photo is withheld, and nothing else is let pass."""
    if photo not in result.files:
        assert result.status == 3
        return False
    assert share_changed(pixels(root / photo), pixels(result.out / photo), box) >= 0.95
    return True


SHARES = [10 / 256, 40 / 300, 60 / 256, 70 / 300]
POLYGONS = [CORNERS]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"bbox": SHARES, "area": 4200.0, "segmentation": POLYGONS}, "less than a pixel"),
        ({"bbox": SHARES}, "less than a pixel"),
        ({"bbox": [0, 0, 1, 1]}, "less than a pixel"),
        ({"bbox": [0.1, 0.2, 0.9, 0.8]}, "less than a pixel"),
        ({"bbox": [10, 40, 0.4, 70]}, "less than a pixel"),
        ({"bbox": ..., "segmentation": [[v / 300 for v in CORNERS]]}, "less than a pixel"),
        ({"segmentation": [[v / 300 for v in CORNERS]]}, "less than a pixel"),
        ({"bbox": [3.9, 13.3, 23.4, 23.3], "area": 4200}, "its area of 4200 does not fit into its bbox"),
        ({"bbox": [70, 110, -60, -70]}, "covers no part"),
        ({"bbox": [float("nan"), 40, 60, 70]}, "covers no part"),
        ({"bbox": ["10", "40", "60", "70"]}, "covers no part"),
        ({"bbox": [300, 40, 60, 70]}, "covers no part"),
        ({"bbox": [10, 40, 60]}, "covers no part"),
        ({"bbox": None}, "covers no part"),
        ({"bbox": ...}, "covers no part"),
        ({"category_id": 7}, "its category_id 7 is not among"),
        ({"category_id": None}, ""),
    ],
)
def test_boxes_that_hold_no_face_withhold_their_photo(head, styleid, tmp_path, row, says):
    root = data_set(tmp_path / "in", {"train/a.png": head}, [entry()], [mark(**row)])
    result = styleid("dataset", "coco", root, *RUN)
    if not says:  # one class alone: the mark is of that class
        assert hidden(result, root, "train/a.png")
        return
    assert (result.status, "train/a.png" in result.files) == (3, False)
    assert says in result.errors["train/a.png"]
    assert "annotation 0 in annotations/instances_train.json" in result.errors["train/a.png"]
    again = styleid("dataset", "coco", root, *RUN, "--bad-boxes", "skip", out=tmp_path / "skipped")
    assert (again.status, "train/a.png" in again.files) == (0, True)


PERCENT = {"bbox": [3.90625, 13.3333, 23.4375, 23.3333]}


@pytest.mark.parametrize(
    "row",
    [
        PERCENT,
        PERCENT | {"area": 546.9},
        PERCENT | {"segmentation": [[3.9, 13.3, 27.4, 13.3, 27.4, 36.7]]},
        {"bbox": ..., "segmentation": [[3.9, 13.3, 27.4, 13.3, 27.4, 36.7]]},
        {"bbox": [4, 13, 24, 24]},
        {"category_id": 2, "bbox": [0, 0, 100, 100], "face_box": PERCENT["bbox"], "face_valid": True},
        {"category_id": 2, "bbox": [0, 0, 256, 300], "face_box": PERCENT["bbox"], "face_valid": True},
    ],
)
def test_boxes_in_percent_withhold_their_photo_until_the_user_says_so(head, styleid, tmp_path, row):
    categories = (FACE, {"id": 2, "name": "person"})
    root = data_set(tmp_path / "in", {"train/a.png": head}, [entry()], [mark(**row)], categories=categories)
    result = styleid("dataset", "coco", root, *RUN)
    assert (result.status, "train/a.png" in result.files) == (3, False)
    assert "annotation 0 in annotations/instances_train.json" in result.errors["train/a.png"]
    assert "`box_unit=percent`" in result.errors["train/a.png"]
    said = styleid("dataset", "coco", root, *RUN, "--box-unit", "percent", out=tmp_path / "said")
    assert said.status == 0
    assert hidden(said, root, "train/a.png")
    pixel = styleid("dataset", "coco", root, *RUN, "--box-unit", "pixels", out=tmp_path / "pixels")
    assert (pixel.status, "train/a.png" in pixel.files) == (0, True)


def test_areas_in_pixels_beside_boxes_in_percent_are_no_fault_once_the_unit_is_told(head, styleid, tmp_path):
    root = data_set(tmp_path / "in", {"train/a.png": head}, [entry()], [mark(**PERCENT, area=4200.0)])
    assert styleid("dataset", "coco", root, *RUN).status == 3
    said = styleid("dataset", "coco", root, *RUN, "--box-unit", "percent", out=tmp_path / "said")
    assert said.status == 0
    assert hidden(said, root, "train/a.png")


def test_shares_are_taken_where_the_user_says_so(head, styleid, tmp_path):
    root = data_set(tmp_path / "in", {"train/a.png": head}, [entry()], [mark(bbox=SHARES)])
    said = styleid("dataset", "coco", root, *RUN, "--box-unit", "shares")
    assert said.status == 0
    assert hidden(said, root, "train/a.png")


def test_a_mark_in_the_corner_is_fine_where_others_reach_further(head, styleid, tmp_path):
    """One photo's mark lies within 100 x 100, another's does not, so the file counts pixels."""
    corner = (10, 20, 70, 90)
    rows = [mark(bbox=[10, 20, 60, 70]), mark(2, bbox=[100, 110, 60, 70], category_id=2)]
    images = [entry("a.png"), entry("b.png", 2)]
    photos = {"train/a.png": head, "train/b.png": head}
    categories = (FACE, {"id": 2, "name": "dog"})
    root = data_set(tmp_path / "in", photos, images, rows, categories=categories)
    result = styleid("dataset", "coco", root, *RUN)
    assert result.status == 0
    assert hidden(result, root, "train/a.png", corner)


def test_a_file_in_percent_beside_one_in_pixels_is_told_by_itself(head, styleid, tmp_path):
    record = {"images": [entry()], "annotations": [mark(**PERCENT)], "categories": [FACE]}
    others = {"images": [entry()], "annotations": [mark(bbox=[90, 90, 100, 100])], "categories": [FACE]}
    files = {"train/a.png": head, "annotations/faces_train.json": json.dumps(record),
             "annotations/instances_train.json": json.dumps(others)}  # fmt: skip
    result = styleid("dataset", "coco", write(tmp_path / "in", files), *RUN)
    assert "annotations/faces_train.json lie within 100 x 100" in result.errors["train/a.png"]


@pytest.mark.parametrize(
    "row",
    [
        {"bbox": [3.9, 13.3, 23.4, 23.3], "segmentation": POLYGONS},  # percent
        {"bbox": [40, 75, 60, 70], "segmentation": POLYGONS},  # centre and size
        {"bbox": [10, 40, 70, 110]},  # corners
        {"bbox": [-20, -30, 90, 140]},
        {"bbox": [1], "segmentation": POLYGONS},
        {"category_id": "1"},
        {"category_id": 1.0},
        {"category_id": "face"},
        {"image_id": "1"},
        {"image_id": "001"},
        {"image_id": 1.0},
        {"image_id": "a.png"},
        {"image_id": "a"},
        {"image_id": ..., "file_name": "a.png"},
    ],
)
def test_marks_that_contradict_themselves_are_hidden_in_every_reading(head, styleid, tmp_path, row):
    root = data_set(tmp_path / "in", {"train/a.png": head}, [entry()], [mark(**row)])
    result = styleid("dataset", "coco", root, *RUN)
    assert result.status == 0
    assert hidden(result, root, "train/a.png")


@pytest.mark.parametrize(
    ("photo", "image"),
    [
        ("images/a.png", entry("../images/a.png")),
        ("images/a.png", entry("../../in/images/a.png")),
        ("images/a.png", entry("/mnt/data/project/images/a.png")),
        ("images/a.png", entry("file:///mnt/images/a.png")),
        ("images/a.png", entry("s3://bucket/images/a.png")),
        ("images/a.png", entry("C:\\Users\\me\\images\\a.png")),
        ("images/a.png", entry("..\\images\\a.png")),
        ("train/a.png", entry("train\\a.png")),
        ("train/sub/a.png", entry("sub\\a.png")),
        ("train/a b.png", entry("http://localhost/train/a%20b.png?size=full")),
        ("train/a.png", entry("/data/local-files/?d=train/a.png")),
        ("train/a.png", entry("./a.png")),
        ("train/A.PNG", entry("/x/a.png")),
        ("train/a.png", entry(None, coco_url="http://images.cocodataset.org/train/a.png")),
        (
            "train2017/000000000001.png",
            entry(None, coco_url="http://images.cocodataset.org/train2017/000000000001.png"),
        ),
        ("train/000000000007.png", entry(None, 7, flickr_url="http://farm1.staticflickr.com/5/639_4_z.jpg")),
        ("train/000000000007.png", entry(None, "7")),
        ("train/a.png", entry("", url="https://example.org/a.png")),
        ("train/a.png", entry(None, coco_url="")),
        ("train/a.png", entry("/x/b.png")),
        ("train/a.png", entry("../../../b.png")),
        ("train/a.png", entry("http://example.org/b.png")),
        ("train/a.png", entry("..\\x\\b.png")),
    ],
)
def test_names_are_resolved_or_the_photo_is_withheld(head, styleid, tmp_path, photo, image):
    root = data_set(tmp_path / "in", {photo: head}, [image], [mark(image["id"])])
    result = styleid("dataset", "coco", root, *RUN)
    named = {Path(str(text).replace("\\", "/")).name for text in image.values()}
    may_be_told = bool(named & {Path(photo).name, "a.png", "?d=train", "a%20b.png?size=full", "639_4_z.jpg", "7"})
    assert hidden(result, root, photo) == (may_be_told or image["id"] in (7, "7"))
    if photo in result.errors:
        assert "annotation 0 in annotations/instances_train.json" in result.errors[photo]


def test_a_name_that_fits_several_photos_withholds_them(head, styleid, tmp_path):
    photos = {"one/a.png": head, "two/a.png": head, "two/b.png": head}
    root = data_set(tmp_path / "in", photos, [entry("/mnt/a.png"), entry("two/b.png", 2)], [mark()])
    result = styleid("dataset", "coco", root, *RUN)
    assert {"one/a.png", "two/a.png"} <= result.errors.keys()
    assert "annotation 0 in annotations/instances_train.json" in result.errors["one/a.png"]
    assert {name for name in result.files if name.endswith(".png")} == {"two/b.png"}
    assert result.status == 3


def test_a_missing_photo_gives_its_marks_to_no_namesake(head, styleid, tmp_path):
    photos = {"train/a.png": head, "val/b.png": head}
    root = data_set(tmp_path / "in", photos, [entry("a.png"), entry("b.png", 2)], [mark(2)])
    data_set(root, {}, [entry("b.png")], [], "annotations/instances_val.json")
    result = styleid("dataset", "coco", root, *RUN)
    assert result.errors == {"train/b.png": "annotations name it, but it is not there"}
    assert share_changed(np.asarray(head), pixels(result.out / "val/b.png"), MARK) < 0.5


@pytest.mark.parametrize("image_id", [99, "b.png", None, ...])
def test_marks_of_no_image_are_named_and_withhold_what_no_entry_names(head, styleid, tmp_path, image_id):
    photos = {"train/a.png": head, "train/unlisted.png": head}
    root = data_set(tmp_path / "in", photos, [entry()], [mark(), mark(image_id)])
    result = styleid("dataset", "coco", root, *RUN)
    assert result.status == 3
    assert "annotation 1 in annotations/instances_train.json" in result.errors
    assert "train/unlisted.png" in result.errors
    assert hidden(result, root, "train/a.png")


def test_a_mark_of_no_image_withholds_the_photos_that_its_file_marks_nothing_in(head, styleid, tmp_path):
    photos = {"train/a.png": head, "train/b.png": head}
    root = data_set(tmp_path / "in", photos, [entry(), entry("b.png", 2)], [mark(), mark(99)])
    result = styleid("dataset", "coco", root, *RUN)
    assert result.errors.keys() == {"annotation 1 in annotations/instances_train.json", "train/b.png"}
    assert "annotation 1 in annotations/instances_train.json" in result.errors["train/b.png"]
    assert hidden(result, root, "train/a.png")
    person = [{"id": 1, "name": "person"}]
    data_set(root, {}, [entry(), entry("b.png", 2)], [mark(), mark(99)], categories=person)
    again = styleid("dataset", "coco", root, *RUN, out=tmp_path / "again")
    assert again.errors.keys() == {"annotation 1 in annotations/instances_train.json"}


@pytest.mark.parametrize(
    ("more", "seen"),
    [
        ({"face_box": BBOX, "face_valid": True, "lefthand_box": [200, 200, 30, 30]}, True),
        ({"face_box": BBOX}, True),
        ({"bbox_head": BBOX}, True),
        ({"hbox": BBOX}, True),
        ({"h_bbox": BBOX}, True),
        ({"f_bbox": BBOX}, True),
        ({"face_bbox": BBOX}, True),
        ({"attributes": {"head_box": BBOX}}, True),
        ({"faceBox_xyxy": list(MARK)}, True),
        ({"face_boxes": [BBOX, [100, 100, 50, 50]]}, True),
        ({"head_rect": {"x": 10, "y": 40, "width": 60, "height": 70}}, True),
        ({"face_box": SHARES, "face_valid": True}, None),
        ({"face_box": [0, 0, 0, 0], "face_valid": True}, None),
        ({"face_box": "10 40 60 70"}, None),
        ({"face_box": [0, 0, 0, 0], "face_valid": False}, False),
        ({"face_box": [0.0, 0.0, 0.0, 0.0]}, False),
        ({"head_box": None, "face_valid": False, "surface_box": BBOX, "lefthand_box": BBOX}, False),
        ({"f_bbox": [0, 0, 250, 290]}, False),
    ],
)
@pytest.mark.parametrize("category", ["person", "car"])
def test_boxes_of_faces_and_heads_beside_a_persons_own_are_used(head, styleid, tmp_path, more, seen, category):
    row = mark(bbox=[0, 0, 256, 300], **more)
    root = data_set(tmp_path / "in", {"train/a.png": head}, [entry()], [row], categories=[{"id": 1, "name": category}])
    result = styleid("dataset", "coco", root, *RUN)
    if category == "car" and seen is False:
        assert (result.status, result.files) == (2, {})  # nothing to use
    elif seen is None:
        assert (result.status, "train/a.png" in result.files) == (3, False)
        assert "of annotation 0 in annotations/instances_train.json" in result.errors["train/a.png"]
    else:
        assert result.status == 0
        changed = share_changed(pixels(root / "train/a.png"), pixels(result.out / "train/a.png"), MARK)
        assert (changed >= 0.95) == seen


def test_annotations_apart_from_their_images_are_used(head, styleid, tmp_path):
    root = data_set(tmp_path / "in", {"train/a.png": head, "train/b.png": head}, [entry(), entry("b.png", 2)], [])
    marks = {"annotations": [mark("1")], "categories": [FACE]}
    write(root, {"annotations/marks_train.json": json.dumps(marks)})
    result = styleid("dataset", "coco", root, *RUN)
    assert result.status == 0
    assert hidden(result, root, "train/a.png")
    assert share_changed(np.asarray(head), pixels(result.out / "train/b.png"), MARK) < 0.5
    assert result.files["annotations/marks_train.json"] == json.dumps(marks).encode()


@pytest.mark.parametrize("order", [1, -1])
def test_a_category_with_two_names_is_a_face_where_one_says_so(head, styleid, tmp_path, order):
    both = [FACE, {"id": 1, "name": "car"}][::order]
    root = data_set(tmp_path / "in", {"train/a.png": head}, [entry()], [mark()], categories=both)
    assert hidden(styleid("dataset", "coco", root, *RUN), root, "train/a.png")


@pytest.mark.parametrize("annotations", [{"1": mark()}, [[1, 10, 40, 60, 70]], "none"])
def test_annotations_that_are_no_list_of_objects_are_refused(head, styleid, tmp_path, annotations):
    record = {"images": [entry()], "annotations": annotations, "categories": [FACE]}
    root = write(tmp_path / "in", {"train/a.png": head, "annotations/instances_train.json": json.dumps(record)})
    result = styleid("dataset", "coco", root, *RUN)
    assert (result.status, result.files) == (1, {})
    assert "its annotations are not a list of objects" in result.stderr
    assert styleid("dataset", "coco", root, "--method", "none").status == 0


def test_a_photo_among_label_maps_is_a_photo(head, styleid, tmp_path):
    areas = Image.new("L", (256, 300))
    areas.paste(9, (10, 40, 70, 110))
    photos = {"train/a.png": head, "maps/b.png": areas, "maps/c.png": areas}
    root = data_set(tmp_path / "in", photos, [entry(), entry("../maps/b.png", 2)], [mark(2)])
    result = styleid("dataset", "coco", root, *RUN, "--masks", "maps")
    assert hidden(result, root, "maps/b.png")
    assert result.files["maps/c.png"] == (root / "maps/c.png").read_bytes()


@pytest.mark.parametrize("place", ["train/_annotations.coco.json", "labels/deep/truth.json", "train.json"])
def test_files_of_annotations_are_read_wherever_they_lie(head, styleid, tmp_path, place):
    root = data_set(tmp_path / "in", {"train/a.png": head}, [entry("train/a.png")], [mark()], place)
    write(root, {"train/notes.json": '{"by": "somebody"}'})
    if place.startswith("train/"):
        data_set(root, {}, [entry("a.png")], [mark()], place)
    result = styleid("dataset", "coco", root, *RUN)
    assert result.files.keys() == {"train/a.png", place}
    assert hidden(result, root, "train/a.png")


def test_sizes_that_contradict_each_other_withhold(head, styleid, tmp_path):
    root = data_set(tmp_path / "in", {"train/a.png": head}, [entry()], [mark()])
    other = entry() | {"width": 512, "height": 600}
    data_set(root, {}, [other], [mark(bbox=[20, 80, 120, 140])], "annotations/boxes_train.json")
    result = styleid("dataset", "coco", root, *RUN)
    assert (result.status, "train/a.png" in result.files) == (3, False)
    assert "256 x 300 and 512 x 600" in result.errors["train/a.png"]


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("told", ["stored", "upright", "nothing"])
def test_turned_photos_hide_their_marks_in_the_frame_that_their_size_tells(head, styleid, tmp_path, orientation, told):
    (root := tmp_path / "in").mkdir()
    head.save(root / "a.png", **with_orientation(head, orientation))
    size = {"stored": head.size, "upright": head.size[::-1] if orientation > 4 else head.size, "nothing": (None, None)}
    image = {"id": 1, "file_name": "a.png", "width": size[told][0], "height": size[told][1]}
    data_set(root, {}, [image], [mark()], "truth.json")
    result = styleid("dataset", "coco", root, *RUN)
    stored, new = pixels(root / "a.png"), pixels(result.out / "a.png")
    turn = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}[orientation]
    upright = [np.asarray(Image.fromarray(one).transpose(turn)) for one in (stored, new)]
    shares = {"stored": share_changed(stored, new, MARK), "upright": share_changed(upright[0], upright[1], MARK)}
    for frame, share in shares.items():
        if told in (frame, "nothing") or orientation == 3:
            assert share >= 0.95


def masks_of(path: Path) -> list[int]:
    """Read a file as pycocotools does, and count the pixels of every annotation's mask."""
    from pycocotools.coco import COCO

    coco = COCO(str(path))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
        return [int(coco.annToMask(row).sum()) for row in coco.dataset["annotations"]]


@pytest.mark.parametrize(
    "rows",
    [
        [mark(bbox=[0, 0, 256, 300], area=76800, segmentation=[[0, 0, 256, 0, 256, 300, 0, 300]])],
        [mark(bbox=[0, 0, 256, 300], area=76800, iscrowd=1, segmentation={"counts": [0, 76800], "size": [300, 256]})],
        [],
    ],
)
def test_added_faces_have_masks(head, styleid, tmp_path, capsys, rows):
    person = {"id": 1, "name": "person"}
    root = data_set(tmp_path / "in", {"train/a.png": head}, [entry()], rows, categories=[person])
    result = styleid("dataset", "coco", root, "--add-faces", "--method", "none")
    assert result.status == 0
    path = result.out / "annotations/instances_train.json"
    *_, face = json.loads(path.read_text())["annotations"]
    counts = masks_of(path)
    assert len(counts) == len(rows) + 1
    assert counts[-1] == pytest.approx(face["bbox"][2] * face["bbox"][3], rel=0.05)
    x, y, width, height = face["bbox"]
    (polygon,) = face["segmentation"]
    np.testing.assert_allclose(polygon, [x, y, x + width, y, x + width, y + height, x, y + height], atol=0.01)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "photo"),
    [
        ("normalised-boxes/coco", "train/a.png"),
        ("coco-names-unresolved/dotdot", "images/a.png"),
        ("coco-names-unresolved/lvis", "train2017/000000000001.png"),
    ],
)
def test_cases_hide_or_withhold(case, styleid, name, photo):
    folder, _, below = name.partition("/")
    root = case(folder) / below
    result = styleid("dataset", "coco", root, *RUN)
    assert hidden(result, root, photo) == (folder != "normalised-boxes")


@pytest.mark.shared
def test_the_case_of_masks_holds(case, styleid):
    root = case("coco-added-faces-no-segmentation") / "in"
    result = styleid("dataset", "coco", root, "--add-faces")
    counts = masks_of(result.out / "annotations/instances_train.json")
    assert len(counts) > 1
    assert all(count > 0 for count in counts)
