"""A face is kept only if it surely shows a person to keep; doubtful faces are hidden."""

import shutil

import numpy as np
import pytest
from PIL import Image

from styleid import Action, AnonymizeOptions, Anonymizer
from styleid.bundles.spec import SimilarityRange
from styleid.errors import ImageError, OptionError
from styleid.faces.detect import FaceDetector
from styleid.faces.views import embed_faces
from styleid.people.keep import MARGIN, Keep, keep_threshold, read_keep
from tests.tiny_bundle import likeness

RATES = {rate: SimilarityRange(-0.5, high) for rate, high in ((1e-2, 0.4), (1e-3, 0.5), (1e-4, 0.6))}


def at(similarity: float) -> np.ndarray:
    """Return a unit vector so like the first axis, and not at all like the second."""
    return np.float32([similarity, 0, np.sqrt(1 - similarity**2)])


@pytest.fixture
def two(bundle) -> Keep:
    """Two kept people, on the first two axes."""
    return Keep(bundle, {"one": np.float32([[1, 0, 0]]), "two": np.float32([[0, 1, 0]])}, "")


def test_more_kept_people_ask_for_more():
    asked = [keep_threshold(RATES, n) for n in (1, 10, 100)]
    assert asked == pytest.approx([0.6, 0.7, 0.8])
    assert keep_threshold({1e-3: SimilarityRange(-0.5, 0.5)}, 1) == 0.5
    assert keep_threshold({1e-3: SimilarityRange(-0.5, 0.5)}, 10) > 0.5


def test_only_sure_faces_are_kept(two, bundle):
    asked = two.threshold
    strictest = min(bundle.spec.thresholds)
    assert asked > bundle.spec.thresholds[strictest].high
    sure, doubtful = two.match(np.stack([at(asked + 0.01)]))[0], two.match(np.stack([at(asked - 0.01)]))[0]
    assert (sure.person, sure.sure) == (0, True)
    assert (doubtful.person, doubtful.sure) == (0, False)
    assert two.match(np.stack([at(asked + 0.1)]))[0].similarity == pytest.approx(asked + 0.1)


def test_a_face_between_two_kept_people_is_hidden(two):
    between = np.float32([[0.75, 0.75 - MARGIN + 0.02, 0]])
    clear = np.float32([[0.75, 0.75 - MARGIN - 0.02, 0]])
    assert [two.match(face)[0].sure for face in (between, clear)] == [False, True]


def test_of_two_faces_that_are_one_kept_person_both_are_hidden(two):
    faces = np.stack([at(0.95), at(0.9), np.float32([0, 1, 0])])
    assert [(m.person, m.sure) for m in two.match(faces)] == [(0, False), (0, False), (1, True)]


def test_several_photos_of_a_person_count_by_their_mean_direction(bundle):
    keep = Keep(bundle, {"one": np.float32([[1, 0, 0], [0, 1, 0]])}, "")
    assert keep.match(np.float32([[1, 0, 0]]))[0].similarity == pytest.approx(0.5**0.5)
    assert keep.match(np.float32([[1, 1, 0]]) / np.float32(2**0.5))[0].similarity == pytest.approx(1)


def test_what_lies_over_a_kept_face_wins(astronaut, bundle):
    look = Anonymizer(bundle, AnonymizeOptions(method="none"))
    faces = look.find(astronaut)
    own = embed_faces(bundle, astronaut, faces.landmarks_px[:1])
    look = look.with_people(keep=Keep(bundle, {"eve": own}, ""))
    x0, y0, _, y1 = faces.boxes_xyxy[0]
    left = np.float32([[x0 - 60, y0, x0 + 20, y1]])
    alone, beside = look.anonymize(astronaut), look.anonymize(astronaut, boxes_xyxy=left)
    assert np.array_equal(alone.image_rgb, astronaut)
    assert not alone.region_mask.any()
    assert [face.action for face in beside.faces] == [Action.KEPT, Action.OBSCURED]
    assert np.array_equal(beside.image_rgb[~beside.region_mask], astronaut[~beside.region_mask])
    assert beside.region_mask[int(y0 + y1) // 2, int(x0) + 10]
    assert likeness(astronaut, beside.image_rgb, left[0]) < 0.35


@pytest.fixture(scope="module")
def eve(tmp_path_factory, astronaut):
    """A photo of one face."""
    path = tmp_path_factory.mktemp("eve") / "eve.png"
    Image.fromarray(astronaut[:260, 96:352]).save(path)
    return path


def test_a_folder_names_one_person_by_subfolder_or_by_photo(tmp_path, eve, bundle):
    for name in ("one/a.png", "one/b.png", "two.png", "two.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if name.endswith("webp"):
            Image.open(eve).save(tmp_path / name, lossless=True)
        else:
            shutil.copy(eve, tmp_path / name)
    keep = read_keep(tmp_path, bundle, FaceDetector())
    assert [len(own) for own in keep.people.values()] == [2, 1, 1], "photos of one name in two formats are two people"
    assert next(iter(keep.people)) == "one"
    assert keep.mark == read_keep(tmp_path, bundle, FaceDetector()).mark
    (tmp_path / "two.webp").unlink()
    assert keep.mark != read_keep(tmp_path, bundle, FaceDetector()).mark


def test_of_a_bystander_and_a_large_face_the_large_one_counts(tmp_path, eve, bundle):
    canvas = Image.new("RGB", (420, 280), (110, 110, 110))
    with Image.open(eve) as photo:
        canvas.paste(photo, (0, 10))
        canvas.paste(photo.resize((128, 130)), (270, 60))
    (tmp_path / "keep").mkdir()
    canvas.save(tmp_path / "keep/eve.png")
    keep = read_keep(tmp_path / "keep", bundle, FaceDetector())
    own = keep.people["eve\0eve.png"]
    photo = np.asarray(canvas)
    faces = FaceDetector().detect(photo)
    assert len(faces) == 2
    largest = int(np.argmax(faces.min_sides_px))
    assert np.allclose(own, embed_faces(bundle, photo, faces.landmarks_px[largest : largest + 1]), atol=1e-5)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "^keep: .*gone is not a folder. Give a folder with photos"),
        ({}, "^keep: .* contains no photos"),
        ({"notes.txt": b"x"}, "^keep: .* contains no photos"),
        ({"who.png": b"text"}, "who.png: .*"),
        ({"who.png": np.zeros((64, 64, 3), np.uint8)}, "who.png: no face was found, and a photo of a person to keep"),
        ({"who.png": "two"}, "who.png: it shows 2 faces, and none is clearly the largest"),
    ],
)
def test_a_folder_that_does_not_say_whom_to_keep_is_refused(tmp_path, astronaut, bundle, content, says):
    folder = tmp_path / ("gone" if content is None else "keep")
    if content is not None:
        folder.mkdir()
        for name, what in content.items():
            head = astronaut[:260, 96:352]
            pixels = np.concatenate([head, head[:, ::-1]], 1) if isinstance(what, str) else what
            if isinstance(pixels, bytes):
                (folder / name).write_bytes(pixels)
            else:
                Image.fromarray(pixels).save(folder / name)
    with pytest.raises((OptionError, ImageError), match=says):
        read_keep(folder, bundle, FaceDetector())
