"""Marked faces are hidden, or their photo is withheld, however the mark, the photo's name and its id are written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from styleid.datasets.formats.coco.layout import Coco
from styleid.datasets.formats.voc.layout import Voc
from styleid.datasets.formats.yolo.layout import Yolo
from styleid.datasets.options import AnnotationOptions
from styleid.datasets.plan import Plan
from styleid.errors import StyleIDError
from tests.datasets.folders import write

WIDTH, HEIGHT = 640, 480
FOLDERS = ("train", "images", "images/train", "JPEGImages", "photos", "data/deep/er")
BOXES = st.tuples(st.integers(0, 560), st.integers(0, 400), st.integers(12, 80), st.integers(12, 80))
SETTINGS = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def covered(plan: Plan, photo: str, box: tuple[int, int, int, int]) -> bool:
    """Say whether what is hidden in a photo covers a mark, x y width height; True too where the photo is withheld."""
    source = next(one.hint_source for one in plan.photos if one.relative.as_posix() == photo)
    assert source is not None
    try:
        boxes = source.hints(WIDTH, HEIGHT, 1).boxes_xyxy
    except ValueError as error:
        assert photo not in str(error) or len(str(error)) > len(photo)
        return True
    x, y, width, height = box
    seen = np.zeros((HEIGHT, WIDTH), bool)
    for x0, y0, x1, y1 in np.round(np.asarray(() if boxes is None else boxes).reshape(-1, 4) + 0.5).astype(int):
        seen[y0:y1, x0:x1] = True
    return seen[y : y + height, x : x + width].mean() >= 0.95


def corners(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    x, y, width, height = box
    return x, y, x + width, y + height


def as_coco(draw: Any, box: tuple[int, int, int, int]) -> dict[str, Any]:
    """Draw a way to write a mark: in its units, in others beside what gives them away, or not at all."""
    x0, y0, x1, y1 = corners(box)
    size, area = np.array([WIDTH, HEIGHT] * 2), {"area": box[2] * box[3]}
    polygon = {"segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]]}
    shares = (np.array(box) / size).tolist()
    return draw(
        st.sampled_from(
            [
                {"bbox": list(box)},
                {"bbox": list(box)} | polygon | area,
                polygon,
                {"bbox": shares},
                {"bbox": shares} | polygon,
                {"bbox": (np.array(corners(box)) / size).tolist()} | area,
                {"bbox": [round(100 * v, 2) for v in shares]} | polygon,
                {"bbox": [round(100 * v, 2) for v in shares]},
                {"bbox": [x0 + box[2] / 2, y0 + box[3] / 2, *box[2:]]} | polygon,
                {"bbox": [x0, y0, x1, y1]},
                {"bbox": [x1, y1, -box[2], -box[3]]},
                {"bbox": [str(v) for v in box]},
                {"bbox": [float("nan"), *box[1:]]},
                {"bbox": None},
                {},
                {"bbox": {"x": x0, "y": y0}},
                {"bbox": [list(box)]},
            ]
        )
    )


def names_of(photo: str) -> list[dict[str, Any]]:
    """Return ways to name a photo."""
    name = Path(photo).name
    paths = [photo, name, f"../{photo}", f"/mnt/data/{photo}", f"/{name}", "C:\\d\\" + photo.replace("/", "\\"),
             f"./{photo}", photo.replace("/", "\\"), f"file:///x/{photo}", f"../../{name}", name.upper(),
             Path(name).stem, f"0a1b2c3d-{name}", f"/renamed/{name[::-1]}"]  # fmt: skip
    return [
        *({"file_name": path} for path in paths),
        {"coco_url": f"http://images.example/{photo}"},
        {"flickr_url": f"https://live.example/{name}?s=1"},
        {"flickr_url": "https://live.example/other.jpg"},
        {"file_name": None},
        {},
    ]


@st.composite
def coco_sets(draw) -> tuple[dict[str, bytes | str], str, tuple[int, int, int, int]]:
    """Draw a data set with one mark, beside which photos of the same name may lie, listed or not."""
    name, folder = draw(st.sampled_from(["a.png", "000012.jpg", "b c.jpg"])), draw(st.sampled_from(FOLDERS))
    photo, box = f"{folder}/{name}", draw(BOXES)
    number = draw(st.sampled_from([12, "12", "x", 7, 7.0]))
    image_id = draw(st.sampled_from([number, str(number), 99, None, name]))
    entry = {"id": number, "width": WIDTH, "height": HEIGHT} | draw(st.sampled_from(names_of(photo)))
    kind = draw(st.sampled_from([1, "1", "face", 5, None]))
    row = {"id": 1, "image_id": image_id, "category_id": kind} | as_coco(draw, box)
    if draw(st.booleans()) and "segmentation" not in row and "area" not in row:
        row |= {"bbox": [0, 0, WIDTH, HEIGHT], "category_id": 2, "face_box": row.get("bbox"), "face_valid": True}
    files: dict[str, bytes | str] = {photo: b"", f"{folder}/listed.png": b""}
    listed = {"id": 1000, "width": WIDTH, "height": HEIGHT, "file_name": f"{folder}/listed.png"}
    if draw(st.booleans()):
        files[f"val/{name}"] = b""
        if draw(st.booleans()):
            other = {"images": [listed | {"id": 3, "file_name": name}], "annotations": [], "categories": []}
            files["annotations/instances_val.json"] = json.dumps(other)
    categories = [{"id": 1, "name": "face"}, {"id": 2, "name": "person"}]
    record = {"images": [entry, listed], "annotations": [row], "categories": categories}
    files["annotations/instances_train.json"] = json.dumps(record)
    return files, photo, box


@SETTINGS
@given(coco_sets())
def test_coco(tmp_path_factory, drawn):
    files, photo, box = drawn
    root = write(tmp_path_factory.mktemp("coco"), files)
    try:
        plan = Coco().plan(root, AnnotationOptions("from-annotations"))
    except StyleIDError:
        return  # nothing is written
    row = json.loads(files["annotations/instances_train.json"])["annotations"][0]
    told = row.get("face_box", row.get("bbox", ()))
    unmarked = row["category_id"] == 2 and not told  # a face_box of null marks no face
    assert unmarked or covered(plan, photo, box)


@SETTINGS
@given(st.data())
def test_yolo(tmp_path_factory, data):
    photo = data.draw(st.sampled_from([f"{folder}/a.png" for folder in FOLDERS]))
    x, y, width, height = box = data.draw(BOXES)
    size = np.array([WIDTH, HEIGHT] * 2)
    centre = np.array([x + width / 2, y + height / 2, width, height]) / size
    inside = np.array([[0.3, 0.3], [0.7, 0.3], [0.5, 0.5], [0.35, 0.75], [0.65, 0.75]]) * box[2:] + box[:2]
    x0, y0, x1, y1 = np.array(corners(box)) / size
    numbers = data.draw(
        st.sampled_from(
            [
                centre,
                [x0, y0, x1, y0, x1, y1, x0, y1],
                np.concatenate([centre, (inside / size[:2]).ravel()]),
                np.concatenate([centre, -np.ones(10)]),
                centre * size,
                centre * 100,
                [*centre[:2], -centre[2], centre[3]],
                [*centre[:3], np.nan],
                centre[:3],
            ]
        )
    )
    kind = data.draw(st.sampled_from(["0", "0.0", "5", "face"]))
    base = photo.rsplit("/", 1)[0]
    labels = ["labels/a.txt", f"{base}/a.txt", "labels/train/a.txt", "other/a.txt", "labels/a.png.txt", "labels/A.TXT"]
    files: dict[str, bytes | str] = {photo: b"", "data.yaml": "names: [face]\n"}
    files[data.draw(st.sampled_from(labels))] = f"{kind} {' '.join(f'{v:.6f}' for v in numbers)}\n"
    if data.draw(st.booleans()):
        files |= {"val/a.png": b""} | ({"val/a.txt": "0 0.5 0.5 0.1 0.1\n"} if data.draw(st.booleans()) else {})
    root = write(tmp_path_factory.mktemp("yolo"), files)
    assert covered(Yolo().plan(root, AnnotationOptions("from-annotations")), photo, box)


@SETTINGS
@given(st.data())
def test_voc(tmp_path_factory, data):
    photo = data.draw(st.sampled_from([f"{folder}/a.png" for folder in FOLDERS]))
    x0, y0, x1, y1 = corners(box := data.draw(BOXES))
    shares = (x0 / WIDTH, y0 / HEIGHT, x1 / WIDTH, y1 / HEIGHT)
    edges = data.draw(st.sampled_from([(x0 + 1, y0 + 1, x1, y1), shares, (x1, y1, x0, y0), ("", 1, 2, 3)]))
    told = data.draw(st.sampled_from([one for one in names_of(photo) if one.get("file_name")]))
    name = data.draw(st.sampled_from(["face", ""]))
    tags = "".join(f"<{t}>{v}</{t}>" for t, v in zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True))
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
    corner = "<xmin>2</xmin><ymin>400</ymin><xmax>9</xmax><ymax>409</ymax>"
    objects = f"<object><name>face</name><bndbox>{corner}</bndbox></object>"
    shown = f"{objects}<object><name>{name}</name><bndbox>{tags}</bndbox></object>"
    tag = data.draw(st.sampled_from(["filename", "path"]))
    place = data.draw(st.sampled_from(["Annotations/a.xml", "xmls/a.xml", "x/y/a.png.xml"]))
    named = f"<{tag}>{told['file_name']}</{tag}>"
    files: dict[str, bytes | str] = {photo: b"", place: f"<annotation>{named}{size}{shown}</annotation>"}
    if data.draw(st.booleans()):
        files |= {"val/a.png": b""} | ({"val/a.xml": "<annotation/>"} if data.draw(st.booleans()) else {})
    root = write(tmp_path_factory.mktemp("voc"), files)
    assert covered(Voc().plan(root, AnnotationOptions("from-annotations")), photo, box)
