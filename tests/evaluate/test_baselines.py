"""Baselines change pixels as their names say."""

import numpy as np
import pytest

from styleid import load_bundle
from styleid.errors import OptionError
from styleid.evaluate.baselines import BASELINES, K, draw, patches_for, read_names
from styleid.evaluate.originals import CropMeasurements, Subject
from styleid.faces.align import invert, transform_points
from styleid.faces.geometry import with_forehead


@pytest.fixture(scope="module")
def template():
    return load_bundle().spec.crop


@pytest.fixture(scope="module")
def subject(template) -> Subject:
    """A face in the middle of a photo of 200 px, where the template's points lie at half their size."""
    from tests.faces.test_geometry import neutral_face

    landmarks = np.asarray(template.points_px, np.float32) * 0.5 + 60
    neutral = np.asarray(neutral_face(), np.float32)
    size = template.size_px
    neutral = (neutral - neutral.min(0)) / np.ptp(neutral, axis=0).max() * size * 0.6 + size * 0.2
    outline = transform_points(with_forehead(neutral), invert(template.matrix(landmarks)))
    look = CropMeasurements(neutral, np.array([30, 0, 1, 0, 0, 0, 0], np.float32), 1.0, 20.0)
    box = np.array([70, 70, 130, 130], np.float32)
    return Subject("a.png", 0, "ann", box, landmarks, True, outline, look, b"", b"")


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)


@pytest.mark.parametrize("name", BASELINES)
def test_only_the_neighbourhood_of_the_face_changes(name, photo, subject, template):
    patch = np.full((1, template.size_px, template.size_px, 3), 200, np.uint8)
    before = photo.copy()
    drawn = draw(name, photo, [subject], template, patch)
    assert (photo == before).all()
    changed = (drawn != photo).any(-1)
    assert changed.any() == (name != "none")
    assert not changed[:45].any()
    assert not changed[:, :45].any()
    assert not changed[156:].any()
    assert not changed[:, 156:].any()
    if name not in ("none", "eye-bar"):
        assert changed[90:105, 92:108].mean() > 0.95


def test_strength_follows_the_name(photo, subject, template):
    def rest(name: str) -> float:
        return float(draw(name, photo, [subject], template, None)[85:115, 85:115].astype(float).std((0, 1)).mean())

    assert rest("blur5") > rest("blur15") > rest("blur30")
    assert rest("pixelate16") > rest("pixelate8")
    assert rest("solid") == 0.0


def test_names_are_read_once_each_and_typos_refused():
    assert read_names("solid, none,solid") == ("solid", "none")
    assert read_names("all") == BASELINES
    assert read_names("") == ()
    with pytest.raises(OptionError, match="'typo' is unknown"):
        read_names("solid,typo")


def test_k_same_shows_the_mean_of_k_people_including_oneself():
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (3 * K, 16, 16, 3)).astype(np.uint8)
    labels = [f"p{i // 2}" for i in range(3 * K)]
    made = patches_for("ksame-pixel", crops, labels)
    distinct = np.unique(made.reshape(len(made), -1), axis=0)
    # nobody is alone behind a face: each is shown for several photos, and is no photo's own
    assert 3 <= len(distinct) < len(made)
    assert not any((made == crop).all((1, 2, 3)).any() for crop in crops)
    # means of ten noises have a tenth of the variance
    assert made.astype(float).std() == pytest.approx(crops.astype(float).std() / np.sqrt(K), rel=0.1)


def test_k_same_eigen_is_the_same_where_all_components_are_kept_and_smoother_where_not():
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (2 * K, 12, 12, 3)).astype(np.uint8)
    labels = [f"p{i}" for i in range(2 * K)]
    pixel, eigen = (patches_for(f"ksame-{kind}", crops, labels).astype(int) for kind in ("pixel", "eigen"))
    assert np.abs(pixel - eigen).max() <= 1
    many = rng.integers(0, 256, (150, 12, 12, 3)).astype(np.uint8)
    names = [f"p{i}" for i in range(150)]
    pixel, eigen = (patches_for(f"ksame-{kind}", many, names) for kind in ("pixel", "eigen"))
    assert eigen.astype(float).std() < pixel.astype(float).std()


def test_swap_never_gives_a_person_their_own_face():
    crops = np.repeat(np.arange(6, dtype=np.uint8)[:, None, None, None], 3, -1)
    labels = ["a", "a", "b", "b", "c", "c"]
    made = patches_for("swap", crops, labels, seed=1)[:, 0, 0, 0]
    assert all(labels[shown] != own for shown, own in zip(made, labels, strict=True))


@pytest.mark.parametrize(("name", "people"), [("swap", 1), ("ksame-pixel", K - 1), ("ksame-eigen", K - 1)])
def test_too_few_people_are_refused(name, people):
    crops = np.zeros((people, 8, 8, 3), np.uint8)
    with pytest.raises(OptionError, match="or more"):
        patches_for(name, crops, [str(i) for i in range(people)])
