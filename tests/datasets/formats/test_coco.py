"""COCO: annotations are kept byte for byte, or value for value if faces are added or photos removed."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from styleid.datasets.formats.coco.layout import Coco
from styleid.datasets.options import AnnotationOptions, CocoOptions
from styleid.datasets.run import process_dataset
from styleid.engine.local import RunOptions
from styleid.errors import DatasetError, OptionError
from styleid.faces.detect import FaceDetector
from styleid.media.image import read_photo
from tests.datasets.folders import contents, errors, with_orientation, write

CAR = {"id": 3, "name": "car"}
PERSON = {"id": 1, "name": "person", "supercategory": "person"}


def instances(images: list[dict], annotations: list[dict] = (), categories: list[dict] = (CAR, PERSON)) -> str:  # type: ignore[assignment]
    record = {"info": {"year": 2017, "gps": 1.50}, "images": images, "annotations": [*annotations]}
    return json.dumps(record | {"categories": [*categories]}, indent=1)


def entry(number: int, name: str, image: Image.Image) -> dict:
    return {"id": number, "file_name": name, "width": image.width, "height": image.height, "coco_url": "http://x/9j/"}


def box(number: int, image: int, xywh, category: int = 1, **more) -> dict:
    return {"id": number, "image_id": image, "category_id": category, "bbox": xywh, "iscrowd": 0} | more


@pytest.fixture
def root(tmp_path, portrait, meadow) -> Path:
    """The layout of COCO 2017, with odd values in the annotations."""
    images = [entry(9, "a.jpg", portrait), entry(12, "sub/b.png", meadow)]
    boxes = [box(7, 9, [20, 10, 80, 100], area=8000.50), box(10**20, 12, [1, 1, 5.25, 5e0], category=3)]
    captions = {"images": images, "annotations": [{"id": 1, "image_id": 9, "caption": "Ein Mensch, ça va \u2028"}]}
    return write(
        tmp_path / "in",
        {
            "train2017/a.jpg": portrait,
            "train2017/sub/b.png": meadow,
            "train2017/unlisted.png": portrait,
            "annotations/instances_train2017.json": instances(images, boxes),
            "annotations/captions_train2017.json": json.dumps(captions, ensure_ascii=False),
            "annotations/results.json": '[{"image_id": 9, "bbox": [1, 2, 3, 4]}]',
            "README.txt": "photographed by somebody",
        },
    )


def test_a_data_set_comes_out_complete(root, run_over, tmp_path):
    summary = run_over(root, Coco())
    before, after = contents(root), contents(tmp_path / "out")
    assert after.keys() == before.keys() - {"README.txt"}
    for name in before:
        if name.endswith(".json"):
            assert after[name] == before[name]
    for name in ("train2017/a.jpg", "train2017/unlisted.png"):
        old, new = (read_photo(folder / name).image_rgb for folder in (root, tmp_path / "out"))
        assert old.shape == new.shape
        assert (old != new).any(-1).mean() > 0.03
    old, new = (read_photo(folder / "train2017/sub/b.png").image_rgb for folder in (root, tmp_path / "out"))
    np.testing.assert_array_equal(old, new)
    assert (summary.photos.written, summary.carried, summary.changed, summary.left) == (3, 3, 0, 1)
    assert summary.exit_status == 0


def test_faces_are_added_as_a_class_and_the_rest_stays(root, run_over, tmp_path):
    name = "annotations/instances_train2017.json"
    summary = run_over(root, Coco(), add_faces=True, face_class="visage é")
    text, new = (folder.joinpath(name).read_text() for folder in (root, tmp_path / "out"))
    before, after = json.loads(text), json.loads(new)
    assert after["categories"] == [*before["categories"], {"id": 4, "name": "visage é", "supercategory": "person"}]
    assert after["annotations"][:2] == before["annotations"]
    (added,) = after["annotations"][2:]
    assert (added["id"], added["image_id"], added["category_id"]) == (10**20 + 1, 9, 4)
    x, y, width, height = added["bbox"]
    assert 0 < x < x + width < 128
    assert 0 < y < y + height < 112
    assert added["area"] == pytest.approx(width * height, abs=0.01)
    assert {k: v for k, v in after.items() if k not in ("annotations", "categories")} == {
        k: v for k, v in before.items() if k not in ("annotations", "categories")
    }
    assert "8000.5" in new
    assert new.startswith(text[: text.index('"categories"') - 20].rstrip().removesuffix("]").rstrip()[:400])
    assert (
        contents(tmp_path / "out")["annotations/captions_train2017.json"]
        == contents(root)["annotations/captions_train2017.json"]
    )
    assert (summary.changed, summary.carried) == (1, 2)
    with pytest.raises(OptionError, match=r"^face_class: .*has a class 'car' already"):
        run_over(root, Coco(), add_faces=True, face_class="car", resume=True)


def test_the_faces_lie_where_they_were_found(root, run_over, tmp_path, plain, portrait):
    run_over(root, Coco(), add_faces=True)
    record = json.loads((tmp_path / "out/annotations/instances_train2017.json").read_text())
    x, y, width, height = record["annotations"][-1]["bbox"]
    found = FaceDetector().detect(read_photo(root / "train2017/a.jpg").image_rgb).boxes_xyxy[0]
    np.testing.assert_allclose([x, y, x + width, y + height], found + 0.5, atol=0.11)


@pytest.mark.parametrize("drop", [False, True])
def test_withheld_photos_keep_their_entries_unless_dropped(root, run_over, tmp_path, drop):
    (root / "train2017/sub/b.png").write_bytes(b"no picture")
    summary = run_over(root, Coco(), drop_withheld=drop)
    assert summary.exit_status == 3
    assert [name for name, _ in summary.photos.failures] == ["train2017/sub/b.png"]
    assert errors(tmp_path / "out").keys() == {"train2017/sub/b.png"}
    before = (root / "annotations/instances_train2017.json").read_bytes()
    after = (tmp_path / "out/annotations/instances_train2017.json").read_bytes()
    if not drop:
        assert after == before
        assert summary.kept_entries == 1
        return
    record = json.loads(after)
    assert [image["id"] for image in record["images"]] == [9]
    assert [one["id"] for one in record["annotations"]] == [7]
    assert record["categories"] == [CAR, PERSON]
    assert len(before) - len(after) > 100
    assert b'"area": 8000.5' in after
    captions = json.loads((tmp_path / "out/annotations/captions_train2017.json").read_text(encoding="utf-8"))
    assert ([image["id"] for image in captions["images"]], len(captions["annotations"])) == ([9], 1)


def test_photos_that_are_absent_or_lead_out_are_named(root, run_over, tmp_path, portrait, meadow):
    write(tmp_path, {"secret.jpg": portrait})
    images = [entry(1, "a.jpg", portrait), entry(2, "gone.jpg", meadow), entry(3, "../../secret.jpg", meadow),
              entry(4, "/etc/passwd", meadow), entry(5, "", meadow)]  # fmt: skip
    write(
        root, {"annotations/instances_train2017.json": instances(images, [box(i, i, [1, 1, 9, 9]) for i in range(6)])}
    )
    summary = run_over(root, Coco(), drop_withheld=True)
    reasons = dict(summary.photos.failures)
    assert reasons.keys() == {"train2017/gone.jpg", "../../secret.jpg", "/etc/passwd", "''"}
    assert "not there" in reasons["train2017/gone.jpg"]
    assert all("leads out of the data set" in reasons[name] for name in reasons.keys() - {"train2017/gone.jpg"})
    record = json.loads((tmp_path / "out/annotations/instances_train2017.json").read_text())
    assert [image["id"] for image in record["images"]] == [1]
    assert [one["id"] for one in record["annotations"]] == [0, 1]
    assert (tmp_path / "secret.jpg").read_bytes() == write(tmp_path / "x", {"s.jpg": portrait}).joinpath(
        "s.jpg"
    ).read_bytes()


@pytest.mark.parametrize("name", ["face", "head", "person"])
def test_boxes_of_the_annotations_are_used(root, run_over, tmp_path, meadow, name):
    images = [entry(12, "sub/b.png", meadow)]
    marked = [box(1, 12, [20, 10, 30, 40], category=2), box(2, 12, [60, 10, 30, 40], category=3)]
    write(root, {"annotations/instances_train2017.json": instances(images, marked, [{"id": 2, "name": name}, CAR])})
    summary = run_over(root, Coco(), boxes="from-annotations")
    old, new = (read_photo(folder / "train2017/sub/b.png").image_rgb for folder in (root, tmp_path / "out"))
    changed = (old != new).any(-1)
    assert summary.photos.faces["obscured"] == (2 if name == "person" else 3)
    assert changed[20:40, 28:42].all() == (name != "person")
    assert not changed[:, 60:].any()
    write(root, {"annotations/instances_train2017.json": instances(images, marked[:1], [{"id": 2, "name": name}, CAR])})
    again = run_over(root, Coco(), boxes="from-annotations", resume=True)
    assert again.photos.resumed == 3
    moved = [box(1, 12, [22, 10, 30, 40], category=2)]
    write(root, {"annotations/instances_train2017.json": instances(images, moved, [{"id": 2, "name": name}, CAR])})
    assert run_over(root, Coco(), boxes="from-annotations", resume=True).photos.resumed == 2


def test_degenerate_boxes_withhold_or_are_skipped(root, run_over, tmp_path, meadow):
    images = [entry(12, "sub/b.png", meadow)]
    faces = [{"id": 2, "name": "face"}]
    rle = box(1, 12, None, category=2, iscrowd=1, segmentation={"counts": "abc", "size": [64, 96]})
    for bad in ([5, 5, 0, 9], [200, 5, 9, 9], ["a", 1, 2, 3], None, [1, 2], [float("nan"), 1, 2, 3]):
        row = rle if bad is None else box(1, 12, bad, category=2)
        write(root, {"annotations/instances_train2017.json": instances(images, [row], faces)})
        summary = run_over(root, Coco(), boxes="from-annotations", resume=True)
        ((name, reason),) = summary.photos.failures
        assert name == "train2017/sub/b.png"
        assert "annotation 0 in annotations/instances_train2017.json" in reason
        assert not (tmp_path / "out/train2017/sub/b.png").exists()
    summary = run_over(root, Coco(), boxes="from-annotations", bad_boxes="skip", resume=True)
    assert summary.exit_status == 0
    assert "was skipped" in dict(summary.notes)["train2017/sub/b.png"]


def test_polygons_stand_in_for_missing_boxes(root, run_over, meadow):
    row = box(1, 12, None, category=2, segmentation=[[20, 10, 40, 10, 40, 30], [50, 40, 52, 44, 50, 46]])
    del row["bbox"]
    text = instances([entry(12, "sub/b.png", meadow)], [row], [{"id": 2, "name": "face"}])
    write(root, {"annotations/instances_train2017.json": text})
    plan = Coco().plan(root, AnnotationOptions(boxes="from-annotations"))
    hints = next(p.hint_source for p in plan.photos if p.relative.name == "b.png")
    assert hints is not None
    assert hints.hints(96, 64, 1).boxes_xyxy.tolist() == [[19.5, 9.5, 51.5, 45.5]]  # type: ignore[union-attr]


@pytest.mark.parametrize("told", ["stored", "upright"])
def test_exif_turned_photos_stay_as_their_annotations_say(run_over, tmp_path, portrait, told):
    """The file is stored turned; the JSON's width and height tell which way up its boxes mean it."""
    turned = portrait.transpose(Image.Transpose.ROTATE_90)  # orientation 6 turns it back
    (root := tmp_path / "in").mkdir()
    turned.save(root / "a.jpg", quality=95, **with_orientation(turned, 6))
    size = turned.size if told == "stored" else portrait.size
    image = {"id": 1, "file_name": "a.jpg", "width": size[0], "height": size[1]}
    corner = [2, 80, 20, 30] if told == "stored" else [18, 2, 30, 20]  # the same pixels
    text = instances([image], [box(1, 1, corner, category=2)], [{"id": 2, "name": "head"}])
    write(root, {"annotations/a.json": text})
    summary = run_over(root, Coco(), boxes="from-annotations", add_faces=True)
    assert summary.exit_status == 0
    with Image.open(tmp_path / "out/a.jpg") as out:
        assert out.size == turned.size
        assert out.getexif()[0x112] == 6
        after = np.asarray(out).astype(int)
    changed = np.abs(after - np.asarray(Image.open(root / "a.jpg")).astype(int)).max(-1) > 25
    assert changed[84:104, 6:18].mean() > 0.75
    record = json.loads((tmp_path / "out/annotations/a.json").read_text())
    assert record["images"] == [image]
    added = [one["bbox"] for one in record["annotations"][1:]]
    assert len(added) == 2
    for x, y, width, height in added:
        assert 0 <= x < x + width <= size[0]
        assert 0 <= y < y + height <= size[1]
    head = min(added, key=lambda b: b[2] * b[3])
    np.testing.assert_allclose(head, corner, atol=0.2)


def test_panoptic_maps_are_carried_and_photos_among_them_are_not(root, run_over, tmp_path, portrait):
    ids = np.zeros((112, 128), np.uint32)
    ids[10:60, 10:60], ids[60:] = 5_000, 7
    rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
    segments = [{"id": 5_000, "category_id": 1}, {"id": 7, "category_id": 3}]
    rows = [{"image_id": 9, "file_name": f"{name}.png", "segments_info": segments} for name in ("a", "trap")]
    panoptic = instances([entry(9, "a.jpg", portrait)], rows)
    write(root, {"annotations/panoptic_train2017.json": panoptic, "annotations/panoptic_train2017/a.png":
                 Image.fromarray(rgb), "annotations/panoptic_train2017/trap.png": portrait})  # fmt: skip
    summary = run_over(root, Coco())
    before, after = contents(root), contents(tmp_path / "out")
    assert after["annotations/panoptic_train2017/a.png"] == before["annotations/panoptic_train2017/a.png"]
    assert after["annotations/panoptic_train2017.json"] == before["annotations/panoptic_train2017.json"]
    trap = "annotations/panoptic_train2017/trap.png"
    assert (read_photo(root / trap).image_rgb != read_photo(tmp_path / "out" / trap).image_rgb).any(-1).mean() > 0.03
    assert trap in dict(summary.notes)

    (root / "train2017/a.jpg").write_bytes(b"")
    run_over(root, Coco(), drop_withheld=True)
    after = contents(tmp_path / "out")
    assert "annotations/panoptic_train2017/a.png" not in after
    assert json.loads(after["annotations/panoptic_train2017.json"])["annotations"] == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b'{"images": [', "it is not valid JSON"),
        (b'{"images": [{"id": 1,}]}', "it is not valid JSON"),
        (b'{"images": [], "x": ' + b"[" * 10**5, "nested too deeply"),
        (b'{"images": [{"id": 1' + b"0" * 5000 + b"}]}", "it is not valid JSON"),
        ('{"images": "ü"}'.encode("latin-1"), "not UTF-8"),
    ],
)
def test_unreadable_annotations_are_named_and_nothing_is_written(root, run_over, tmp_path, text, says):
    write(root, {"annotations/instances_train2017.json": text})
    with pytest.raises(DatasetError, match=f"instances_train2017.json: .*{says}"):
        run_over(root, Coco())
    assert not (tmp_path / "out").exists()


def test_annotations_with_a_picture_inside_are_withheld(root, run_over, tmp_path, meadow):
    import base64

    (file := io.BytesIO()).name = "a.jpg"
    meadow.save(file)
    write(root, {"annotations/labelme.json": json.dumps({"imageData": base64.b64encode(file.getvalue()).decode()})})
    summary = run_over(root, Coco())
    assert dict(summary.photos.failures)["annotations/labelme.json"].startswith("it contains a picture in base64")
    assert errors(tmp_path / "out").keys() == {"annotations/labelme.json"}
    assert not (tmp_path / "out/annotations/labelme.json").exists()
    write(root, {"annotations/labelme.json": "{}"})
    assert run_over(root, Coco(), resume=True).exit_status == 0
    assert errors(tmp_path / "out") == {}


def test_places_can_be_named(tmp_path, run_over, portrait):
    root = write(
        tmp_path / "in", {"pictures/x/a.jpg": portrait, "truth.json": instances([entry(1, "a.jpg", portrait)])}
    )
    with pytest.raises(
        OptionError, match=r"^images: the photos that truth.json names, such as 'a.jpg', are in none of the folders"
    ):
        run_over(root, Coco())
    with pytest.raises(OptionError, match=r"^annotations: other\.json is not a file of the data set"):
        run_over(root, Coco(CocoOptions((Path("other.json"),))))
    where = CocoOptions((Path("truth.json"),), Path("pictures/x"))
    assert run_over(root, Coco(where)).photos.written == 1
    (root / "truth.json").unlink()
    with pytest.raises(OptionError, match="contains no COCO file"):
        run_over(root, Coco(), resume=True)


NUMBERS = st.one_of(st.integers(-5, 150), st.floats(-5, 150), st.just(10**25), st.just(float("nan")))
ODD = st.dictionaries(st.text('aé"\\\n', max_size=4), st.one_of(NUMBERS, st.none(), st.lists(NUMBERS)), max_size=3)


@st.composite
def data_sets(draw) -> str:
    """Draw an annotation file about four photos, of which c.png is damaged and d.png is missing."""
    names = ("a.png", "b.png", "c.png", "d.png")
    images = [draw(ODD) | {"file_name": n, "id": draw(st.sampled_from([i, str(i)]))} for i, n in enumerate(names)]
    ids = [image["id"] for image in images] + [99]
    rows = draw(st.lists(st.tuples(st.sampled_from(ids), st.lists(NUMBERS, min_size=4, max_size=4), ODD), max_size=5))
    boxes = [
        odd | box(i, image, xywh, category=draw(st.sampled_from([1, 3]))) for i, (image, xywh, odd) in enumerate(rows)
    ]
    record = draw(ODD) | {"images": images, "annotations": boxes, "categories": [CAR, PERSON]}
    return json.dumps(record, indent=draw(st.sampled_from([None, 1])), ensure_ascii=draw(st.booleans()))


def as_written(text: str):
    return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)


@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data_sets(), st.booleans(), st.booleans(), st.sampled_from(["", "from-annotations"]))
def test_any_data_set_comes_out_whole(tmp_path_factory, plain, portrait, meadow, text, add, drop, boxes):
    root = tmp_path_factory.mktemp("coco")
    small = portrait.resize((64, 56))
    write(root / "in", {"images/a.png": small, "images/b.png": meadow, "images/c.png": b"x", "a.json": text})
    options = AnnotationOptions(boxes, add_faces=add, drop_withheld=drop)
    summary = process_dataset(root / "in", Coco(), plain, RunOptions(root / "out"), options)
    failed = {name for name, _ in summary.photos.failures if not name.startswith("annotation ")}
    assert failed == {"images/c.png", "images/d.png"}
    new = (root / "out/a.json").read_text(encoding="utf-8")
    if not add and not drop:
        assert (root / "out/a.json").read_bytes() == (root / "in/a.json").read_bytes()
        return
    before, after = as_written(text), as_written(new)
    gone = {image["id"] for image in before["images"][2:]} if drop else set()
    assert after["images"] == [image for image in before["images"] if image["id"] not in gone]
    kept = [one for one in before["annotations"] if one["image_id"] not in gone]
    assert after["annotations"][: len(kept)] == kept
    added = after["annotations"][len(kept) :]
    assert len(added) == (summary.photos.faces["obscured"] if add else 0)
    ids = [one["id"] for one in after["annotations"]]
    assert len(set(ids)) == len(ids)
    assert after["categories"][:2] == before["categories"]
    assert len(after["categories"]) == (3 if add else 2)
    assert {k: v for k, v in after.items() if k not in ("images", "annotations", "categories")} == {
        k: v for k, v in before.items() if k not in ("images", "annotations", "categories")
    }
