"""The fit of the trait predictor: it finds a linear relation, and is added to a bundle."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from styleid.bundles.bundle import Bundle
from styleid.bundles.predictor import TRAITS, model_inputs
from styleid.bundles.registry import DEFAULT, find_bundle, verify
from styleid.commands.train import main as train
from styleid.errors import OptionError, TrainingError
from styleid.lab.bundling import predictor
from styleid.lab.training import fit_trait_predictor
from tests.bundles.tiny_format2 import landmarks_of


@pytest.fixture
def faces_folder(tmp_path, astronaut) -> Path:
    """A folder with two photos of the astronaut."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, picture in (("a.png", astronaut[:260, 96:352]), ("b.png", astronaut[:260, 351:95:-1])):
        cv2.imwrite(str(folder / name), picture[..., ::-1])
    return folder


def examples(count: int, noise: float = 0.0) -> list[predictor.Example]:
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((5 + TRAITS, TRAITS))
    made = []
    for number in range(count):
        target, before = (rng.standard_normal(n).astype(np.float32) for n in (5, 7))
        traits = (model_inputs(target[None], before[None]) @ weights)[0] + noise * rng.standard_normal(TRAITS)
        made.append(predictor.Example(number, target, before, traits))
    return made


def test_a_linear_relation_is_found():
    known = examples(200)
    model = predictor.fit(known, ridge=1e-6)
    one = known[7]
    assert np.allclose((model_inputs(one.target[None], one.before[None]) @ model.weights)[0], one.traits, atol=1e-3)
    explained = predictor.measure_fit(known)
    assert min(explained[0], explained[7]) > 0.9, "age and shade, which are not clipped"
    assert predictor.measure_fit(examples(200, noise=30)).max() < 0.6


@pytest.mark.parametrize(("lip", "shade"), [(200, 0.0), (100, -0.5), (250, 0.25)])
def test_the_upper_lip_is_compared_with_the_cheeks(lip, shade):
    points = landmarks_of(128)
    image = np.full((128, 128, 3), 200, np.float32)
    hull = cv2.convexHull(points[[31, 35, 48, 54]].round().astype(np.int32))
    cv2.fillConvexPoly(image, hull, (lip,) * 3)
    assert predictor.lip_shade(image, points) == pytest.approx(shade, abs=0.02)
    assert np.isnan(predictor.lip_shade(image[:8, :8], points / 16))


def test_a_predictor_is_fitted_and_added(tmp_path: Path, monkeypatch, faces_folder):
    folder = shutil.copytree(find_bundle(DEFAULT), tmp_path / "bundle")
    before = json.loads((folder / "bundle.json").read_text())
    with pytest.raises(TrainingError, match=r"new faces were drawn; at least 100 are needed"):
        fit_trait_predictor(folder, faces_folder, 1)
    assert json.loads((folder / "bundle.json").read_text()) == before
    monkeypatch.setattr(predictor, "FEWEST", 4)
    said: list[str] = []
    assert (
        train(["predictor", "--bundle", str(folder), "--photos", str(faces_folder), "--rounds", "3"], said.append) == 0
    )
    assert said[-1].startswith("6 new faces")
    assert verify(folder) == []
    after = json.loads((folder / "bundle.json").read_text())
    assert {name for name in after if after[name] != before.get(name)} == {"predictor", "quality"}
    assert Bundle(folder).predictor is not None
    with pytest.raises(OptionError, match="rounds"):
        fit_trait_predictor(folder, faces_folder, 0)
