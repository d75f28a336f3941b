"""bundle.json is read strictly, and only networks that it names are run."""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from styleid import Anonymizer
from styleid.bundles.bundle import Bundle, bundle_hash, to_float
from styleid.bundles.registry import built_in, find_bundle, load_bundle, verify
from styleid.bundles.spec import REQUIRED, BundleSpec, SimilarityRange
from styleid.bundles.steps import PixelStyle, SwapStep
from styleid.errors import BundleError, OptionError
from styleid.faces.geometry import inter_ocular
from tests.tiny_bundle import edit_bundle, tiny_bundle

POINTS = [[10, 10], [20, 10], [15, 15], [11, 20], [19, 20]]
FILES = {role: f"content of {role}".encode() for role in REQUIRED}


def _entry(role: str) -> dict[str, Any]:
    content = FILES[role]
    return {"file": f"{role}.onnx", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "opset": 18}


def _record() -> dict[str, Any]:
    return {
        "format": 1,
        "name": "test",
        "version": "1",
        "licence": "none",
        "provenance": "a test",
        "resolution": 32,
        "layers": 4,
        "width": 8,
        "z": 2,
        "levels": {"light": [0, 0], "shape": [1, 2], "texture": [3, 3]},
        "swaps": [{"levels": ["shape"], "strength": 0.5}, {"levels": ["texture", "shape"], "strength": 1}],
        "crop": {"size": 32, "points": POINTS},
        "identity_crop": {"size": 112, "points": POINTS},
        "thresholds": {"0.01": {"low": -0.2, "high": 0.3}, "0.001": {"low": -0.3, "high": 0.4}},
        "max_landmark_error": 0.15,
        "networks": {role: _entry(role) for role in REQUIRED},
    }


def _written(folder: Path, record: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "bundle.json").write_text(record if isinstance(record, str) else json.dumps(record))
    for role, content in FILES.items():
        (folder / f"{role}.onnx").write_bytes(content)
    return folder


def _with(path: str, value: Any) -> dict[str, Any]:
    """Return the record with another value at a path such as networks.parser.file; `...` takes the entry out."""
    record = _record()
    *way, last = path.split("/")
    place: Any = record
    for key in way:
        place = place[int(key) if isinstance(place, list) else key]
    if value is ...:
        del place[last]
    else:
        place[int(last) if isinstance(place, list) else last] = value
    return record


def test_a_description_is_read_as_it_stands(tmp_path):
    spec = BundleSpec.read(_written(tmp_path, _record()))
    assert (spec.name, spec.resolution, spec.layers, spec.size, spec.z) == ("test", 32, 4, 32, 2)
    assert spec.swaps == (SwapStep((1, 2), 0.5), SwapStep((1, 2, 3), 1.0))
    assert spec.rows_of(("texture", "light")) == (0, 3)
    assert spec.thresholds == {0.001: SimilarityRange(-0.3, 0.4), 0.01: SimilarityRange(-0.2, 0.3)}
    assert list(spec.thresholds) == [0.001, 0.01]
    assert spec.crop.size_px == 32
    assert spec.identity_crop.points_px[2] == (15.0, 15.0)
    assert spec.networks["parser"].opset == 18
    assert spec.quality == {}


def test_steps_of_the_method_pixel_are_named_by_levels_or_rows() -> None:
    by_levels = {"levels": [["texture", "light"], ["shape", "texture"]], "region": "inner", "side": 64}
    by_rows = {"rows": [[1, 3]], "region": "full", "outlined": True}
    spec = BundleSpec.from_json(_record() | {"pixel": by_levels, "presets": {"mine": {"pixel": by_rows}}})
    assert spec.pixel == PixelStyle(((0, 3), (1, 2, 3)), "inner", 64)
    assert spec.presets["mine"].pixel == PixelStyle(((1, 2, 3),), "full", outlined=True)


@pytest.mark.parametrize("entry", sorted(_record()))
def test_every_entry_is_required(tmp_path, entry):
    with pytest.raises(BundleError, match=f"lacks '{entry}'") as caught:
        BundleSpec.read(_written(tmp_path, _with(entry, ...)))
    assert caught.value.bundle == str(tmp_path)


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[]", "must contain a JSON object"),
        ("null", "must contain a JSON object"),
        (_with("format", 3), "format 3 is unknown; this version of styleid reads the formats 1 and 2"),
        (_with("format", 2), "lacks 'rows'"),
        (_with("layers", "many"), "many"),
        (_with("resolution", None), "None"),
        (_with("resolution", 64), "crop.size is 32 and resolution 64; they must be equal"),
        (_with("resolution", float("inf")), "infinity"),
        (_with("levels/shape", [1, 4]), "level 'shape' has the rows 1 to 4; W+ has the rows 0 to 3"),
        (_with("levels/shape", [2, 1]), "level 'shape' has the rows 2 to 1; W+ has the rows 0 to 3"),
        (_with("levels/shape", [-1, 1]), "level 'shape' has the rows -1 to 1; W+ has the rows 0 to 3"),
        (_with("levels/shape", [1]), "values to unpack"),
        (_with("levels", [1]), "items"),
        (_with("swaps", []), "'swaps' is empty"),
        (_with("swaps/0/levels", []), "'swaps' is empty"),
        (_with("swaps/0/levels", ["nose"]), "level 'nose' is unknown; the bundle's levels are light, shape, texture"),
        (_with("swaps/0/strength", 0), "strength of a swap must be more than 0 and at most 1, not 0.0"),
        (_with("swaps/0/strength", 1.5), "strength of a swap must be more than 0 and at most 1, not 1.5"),
        (_with("swaps/0/strength", float("nan")), "strength of a swap must be more than 0 and at most 1, not nan"),
        (_with("swaps/0/strength", ...), "lacks 'strength'"),
        (_with("crop/size", 4), "at least 8 px"),
        (_with("crop/points", POINTS[:4]), "five (x, y) points"),
        (_with("identity_crop/points", 3), "iterable"),
        (_with("thresholds", {}), "'thresholds' is empty"),
        (_with("thresholds/0.01/high", ...), "lacks 'high'"),
        (_with("thresholds/0.01/high", float("nan")), "the threshold 0.01 has low -0.2 and high nan"),
        (_with("thresholds/0.01/high", 1), "the threshold 0.01 has low -0.2 and high 1"),
        (_with("thresholds/0.01/low", 0.3), "the threshold 0.01 has low 0.3 and high 0.3"),
        (_with("thresholds/0.01/low", float("nan")), "the threshold 0.01 has low nan"),
        (_with("thresholds/2", {"low": 0, "high": 0.5}), "the threshold 2 has low 0.0 and high 0.5"),
        (_with("thresholds/some", {"low": 0, "high": 0.5}), "some"),
        (_with("max_landmark_error", 0), "max_landmark_error is 0.0"),
        (_with("max_landmark_error", float("nan")), "max_landmark_error is nan"),
        (_with("max_landmark_error", float("inf")), "max_landmark_error is inf"),
        (_with("pixel", {"levels": [["nose"]], "region": "full"}), "level 'nose' is unknown"),
        (_with("pixel", {"levels": [[]], "region": "full"}), "the method pixel takes the rows [[]]; every step"),
        (_with("pixel", {"rows": [[2, 4]], "region": "full"}), "at least one row, from 0 to 3"),
        (_with("networks/eyes", _entry("parser")), "network 'eyes' is unknown; the roles are inverter, mapping"),
        (_with("networks/parser", ...), "the entry 'networks' lacks parser"),
        (_with("networks/parser/file", "../parser.onnx"), "the file of network 'parser' lies outside the bundle"),
        (_with("networks/parser/file", "/etc/passwd"), "the file of network 'parser' lies outside the bundle"),
        (_with("networks/parser/sha256", ...), "lacks 'sha256'"),
        (_with("networks/parser/bytes", "big"), "big"),
        (_with("networks/parser", "parser.onnx"), "string indices"),
    ],
)
@pytest.mark.usefixtures("unchecked_types")
def test_broken_descriptions_are_refused_with_their_reason(tmp_path, record, says):
    with pytest.raises(BundleError, match=re.escape(says)) as caught:
        BundleSpec.read(_written(tmp_path, record))
    assert "bundle.json" in caught.value.reason
    assert [str(caught.value)] == verify(tmp_path)


def test_a_folder_without_a_description_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match=r"bundle\.json is missing"):
        BundleSpec.read(tmp_path)
    with pytest.raises(OptionError, match=r"nor a folder with a bundle\.json"):
        find_bundle(tmp_path)
    (tmp_path / "bundle.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(BundleError, match="cannot be read"):
        BundleSpec.read(tmp_path)


def test_a_bundle_is_found_by_its_folder(tmp_path):
    folder = _written(tmp_path, _record())
    assert find_bundle(folder) == find_bundle(str(folder)) == folder
    assert load_bundle(folder).spec.name == "test"
    assert load_bundle(folder).has("parser")
    assert not load_bundle(folder).has("swapper")


@pytest.mark.parametrize("change", ["flip", "cut", "add", "swap"])
def test_altered_files_are_refused(tmp_path, change):
    folder = _written(tmp_path, _record())
    content = FILES["identity"]
    altered = {
        "flip": bytes([content[0] ^ 1]) + content[1:],
        "cut": content[:-1],
        "add": content + b"\n",
        "swap": FILES["parser"],
    }
    Bundle(folder).check("identity")
    (folder / "identity.onnx").write_bytes(altered[change])
    bundle = Bundle(folder)
    for use in (bundle.check, bundle.session):
        with pytest.raises(
            BundleError, match=r"identity\.onnx has the SHA-256 .* the file was changed or is incomplete"
        ):
            use("identity")
    bundle.check("parser")


def test_missing_files_and_roles_are_named(tmp_path):
    folder = _written(tmp_path, _record())
    (folder / "parser.onnx").unlink()
    bundle = Bundle(folder)
    with pytest.raises(BundleError, match=r"parser\.onnx cannot be read"):
        bundle.session("parser")
    with pytest.raises(BundleError, match=r"it has no swapper \(\(source W\+, target W\+\)"):
        bundle.session("swapper")


def test_the_hash_follows_the_description(tmp_path):
    one, two = _written(tmp_path / "one", _record()), _written(tmp_path / "two", _with("version", "2"))
    assert bundle_hash(one) == hashlib.sha256((one / "bundle.json").read_bytes()).hexdigest()
    assert bundle_hash(one) != bundle_hash(two)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"z": 5}, "mapping takes z of shape"),
        ({"width": 99}, "generator takes w_plus of shape"),
        ({"identity_crop": {"size": 112, "points": POINTS}}, "identity takes crop of shape"),
        ({"resolution": 96, "crop": {"size": 96, "points": POINTS}}, "parser takes crop of shape"),
    ],
)
def test_networks_must_fit_the_description(tmp_path, tmp_path_factory, changes, says):
    folder = tiny_bundle(tmp_path_factory, "copy")
    assert verify(folder) == []
    assert any(says in problem for problem in verify(edit_bundle(folder, tmp_path / "edited", **changes)))


@pytest.mark.parametrize("n", [1, 3, 16, 17])
def test_batches_of_any_length_give_the_same_rows(tmp_path_factory, n):
    bundle = Bundle(tiny_bundle(tmp_path_factory, "copy"))
    side = bundle.spec.resolution
    crops = np.random.default_rng(0).integers(0, 256, (n, side, side, 3)).astype(np.uint8)
    logits, landmarks = bundle.parse(crops)
    wplus = bundle.invert(crops, landmarks, np.ones((n, 1, side, side), np.float32))
    assert (logits.shape[:2], landmarks.shape, wplus.shape) == ((n, 19), (n, 68, 2), (n, 3 * side * side))
    assert np.allclose(np.linalg.norm(bundle.embed(crops), axis=1), 1, atol=1e-5)
    assert bundle.describe(crops).shape == (n, 7)
    target = bundle.sample(np.zeros((n, 4), np.float32), bundle.describe(crops), wplus)
    assert np.array_equal(bundle.generate(target).round().astype(np.uint8), crops)
    assert np.allclose(bundle.embed(crops[-1:]), bundle.embed(crops)[-1:], atol=1e-5)


def test_a_generator_that_places_no_landmarks_is_parsed(tmp_path_factory):
    bundle = Bundle(tiny_bundle(tmp_path_factory, "copy"))
    wplus = np.random.default_rng(0).uniform(-1, 1, (2, bundle.spec.size)).astype(np.float32)
    images, landmarks = bundle.render(wplus)
    assert np.array_equal(images, bundle.generate(wplus))
    assert np.array_equal(landmarks, bundle.parse(images.round().astype(np.uint8))[1])


def test_landmarks_that_a_generator_places_are_those_of_its_image():
    bundle = load_bundle("aam128")
    z = np.random.default_rng(1).standard_normal((4, bundle.spec.z)).astype(np.float32)
    traits = np.tile(np.float32([[35, 0, 1, 0, 0, 0, 0]]), (4, 1))
    wplus = bundle.sample(z, traits, np.zeros((4, bundle.spec.size), np.float32))
    images, landmarks = bundle.render(wplus)
    parsed = bundle.parse(images.round().astype(np.uint8))[1]
    assert np.abs(landmarks - parsed).mean() < 2.5  # pixels of a 160 px crop


def test_an_unknown_input_is_named(tmp_path, tmp_path_factory):
    import onnx

    folder = tmp_path / "odd"
    shutil.copytree(tiny_bundle(tmp_path_factory, "copy"), folder)
    model = onnx.load(folder / "parser.onnx")
    model.graph.input[0].name = "mystery"
    for node in model.graph.node:
        node.input[:] = ["mystery" if name == "crop" else name for name in node.input]
    content = model.SerializeToString()
    (folder / "parser.onnx").write_bytes(content)
    record = json.loads((folder / "bundle.json").read_text())
    record["networks"]["parser"]["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(record))
    with pytest.raises(BundleError, match="parser needs the input mystery"):
        Bundle(folder).parse(np.zeros((1, 128, 128, 3), np.uint8))


def test_crops_are_normalised_once():
    crops = np.zeros((1, 2, 2, 3), np.uint8)
    crops[0, 0, 1] = (255, 0, 51)
    given = to_float(crops)
    assert given.shape == (1, 3, 2, 2)
    assert np.allclose(given[0, :, 0, 1], [1, -1, -0.6])


@pytest.mark.parametrize("name", sorted(built_in()))
def test_built_in_bundles_are_whole(name):
    assert verify(built_in()[name]) == []


def test_the_appearance_model_draws_a_face_from_its_own_codes(appearance_model, astronaut):
    group = np.asarray(Image.open(Path(__file__).parents[2] / "examples/group.jpg").convert("RGB"))
    anonymizer, missed = Anonymizer(appearance_model), []
    for photo in (astronaut, astronaut[:, ::-1].copy(), group):
        faces = anonymizer.find(photo)
        sources = anonymizer.analyse(photo, faces, np.arange(len(faces)))
        _, drawn = appearance_model.render(np.stack([source.wplus for source in sources]))
        seen = np.stack([source.observation.landmarks for source in sources])
        missed += list(np.linalg.norm(drawn - seen, axis=2).mean(1) / inter_ocular(seen))
    assert len(missed) >= 5
    assert max(missed) < 0.03
