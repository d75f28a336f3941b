"""Recognisers: cards, names and embeddings."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from styleid import load_bundle
from styleid.errors import OptionError
from styleid.evaluate.recognisers import (
    CARD_EXAMPLE,
    BundleRecogniser,
    DlibRecogniser,
    OnnxRecogniser,
    embed,
    has_dlib,
    has_sface,
    load_recognisers,
    sface,
    unit,
)
from tests.evaluate.rig import pixel_recogniser

pytestmark = pytest.mark.versions


@pytest.fixture
def crop() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (112, 112, 3)).astype(np.uint8)


def test_a_card_is_read_and_a_negative_is_opposite(tmp_path, crop):
    one = OnnxRecogniser.from_card(pixel_recogniser(tmp_path))
    assert (one.name, one.template.size_px, one.in_gate) == ("pixels", 112, False)
    embedding = one.embed_crop(crop)
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-5)
    assert one.embed_crop(255 - crop) @ embedding == pytest.approx(-1, abs=1e-5)


def test_channels_and_statistics_count(tmp_path, crop):
    path = pixel_recogniser(tmp_path)
    card = {"name": "pixels", "size": 112}
    plain = OnnxRecogniser.from_card(path)
    for change in ({"channels": "BGR"}, {"std": [0.5, 0.25, 0.5]}):
        path.with_suffix(".json").write_text(json.dumps(card | change))
        other = OnnxRecogniser.from_card(path)
        assert other.fingerprint != plain.fingerprint
        assert not np.allclose(other.embed_crop(crop), plain.embed_crop(crop))
    path.with_suffix(".json").write_text(json.dumps(card | {"channels": "BGR"}))
    turned = OnnxRecogniser.from_card(path).embed_crop(crop[..., ::-1])
    np.testing.assert_allclose(turned, plain.embed_crop(crop), atol=1e-6)


def test_the_example_card_is_one(tmp_path):
    path = pixel_recogniser(tmp_path)
    path.with_suffix(".json").write_text(CARD_EXAMPLE)
    assert OnnxRecogniser.from_card(path).name == "arcface"


@pytest.mark.parametrize(
    "card", ["", "[]", '{"size": "x"}', '{"mean": [0.5]}', '{"std": [0, 1, 1]}', '{"channels": "RGBA"}', '{"size": 2}',
             '{"points": [[1, 2]]}']
)  # fmt: skip
def test_a_card_that_says_nothing_of_use_is_refused(tmp_path, card):
    path = pixel_recogniser(tmp_path)
    path.with_suffix(".json").write_text(card)
    with pytest.raises(OptionError, match="A card looks like"):
        OnnxRecogniser.from_card(path)


def test_a_file_that_is_no_network_is_refused(tmp_path, crop):
    path = pixel_recogniser(tmp_path)
    path.write_bytes(b"nothing")
    with pytest.raises(OptionError, match="cannot be opened as an ONNX network"):
        OnnxRecogniser.from_card(path).embed_crop(crop)


def test_names_choose_recognisers(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    bundle = load_bundle()
    file = pixel_recogniser(tmp_path)
    assert [r.name for r in load_recognisers(f"gate,{file}", bundle)] == ["gate", "pixels"]
    automatic = [r.name for r in load_recognisers("auto", bundle)]
    assert automatic == ["gate", *(["dlib"] if has_dlib() else []), *(["sface"] if has_sface() else [])]
    folder = tmp_path / ".insightface/models/buffalo_l"
    folder.mkdir(parents=True)
    file.rename(folder / "w600k_r50.onnx")
    assert [r.name for r in load_recognisers("insightface", bundle)] == ["insightface/w600k_r50"]
    for wanted, says in (("uniface", "has no recogniser"), ("", "at least one"), ("gate,typo", "'typo' is unknown")):
        with pytest.raises(OptionError, match=says):
            load_recognisers(wanted, bundle)


def test_the_gate_is_marked_as_no_independent_judge(astronaut):
    gate = BundleRecogniser(load_bundle())
    assert gate.in_gate
    points = np.array([[202, 110], [247, 110], [225, 133], [208, 158], [243, 158]], np.float32)
    own = embed(gate, astronaut, points)
    assert own @ embed(gate, astronaut, points + 1.0) > 0.8


@pytest.mark.skipif(not has_dlib(), reason="needs the extra eval")
def test_dlib_knows_a_face_again(astronaut):
    dlib = DlibRecogniser()
    points = np.array([[202, 110], [247, 110], [225, 133], [208, 158], [243, 158]], np.float32)
    own = embed(dlib, astronaut, points)
    assert own @ embed(dlib, astronaut[:, :-3], points + 0.5) > 0.95


@pytest.mark.skipif(not has_sface(), reason="needs the extra eval")
def test_sface_knows_a_face_again_and_agrees_with_its_numbers_before_they_were_unpacked(astronaut):
    one = sface()
    points = np.array([[202, 110], [247, 110], [225, 133], [208, 158], [243, 158]], np.float32)
    own = embed(one, astronaut, points)
    assert own @ embed(one, astronaut[:, :-3], points + 0.5) > 0.9
    assert own @ embed(one, astronaut[::-1], points) < 0.5
    crop = one.template.crop(astronaut, one.template.matrix(points))
    try:
        plain = with_used_inputs(one.path).run(None, {"data": crop.transpose(2, 0, 1)[None].astype(np.float32)})[0][0]
    except Exception as error:  # it raises errors of several kinds
        pytest.skip(f"ONNX Runtime {onnxruntime.__version__} does not compute with blocks of weights: {error}")
    np.testing.assert_allclose(own, plain / np.linalg.norm(plain), atol=1e-5)


def with_used_inputs(path: Path) -> onnxruntime.InferenceSession:
    """Open a network with nothing changed but that unused inputs are gone."""
    model = onnx.load(path)
    read = {name for node in model.graph.node for name in node.input}
    kept = [value for value in model.graph.input if value.name in read]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def with_more_inputs(path: Path, *names: str, used: bool) -> None:
    model = onnx.load(path)
    for name in names:
        model.graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]))
        if used:
            output = model.graph.node[-1].output[0]
            model.graph.node[-1].output[0] = f"before_{name}"
            model.graph.node.append(onnx.helper.make_node("Add", [f"before_{name}", name], [output]))
    onnx.save(model, path)


def test_inputs_that_no_node_uses_do_no_harm(tmp_path, crop):
    path = pixel_recogniser(tmp_path)
    before = OnnxRecogniser.from_card(path).embed_crop(crop)
    with_more_inputs(path, "spare", "other", used=False)
    np.testing.assert_array_equal(OnnxRecogniser.from_card(path).embed_crop(crop), before)


def test_a_network_that_asks_for_more_than_a_crop_is_refused(tmp_path, crop):
    path = pixel_recogniser(tmp_path)
    with_more_inputs(path, "age", used=True)
    with pytest.raises(OptionError, match=r"pixels\.onnx.*this one has crop, age"):
        OnnxRecogniser.from_card(path).embed_crop(crop)


def test_unit_of_nothing_is_nothing():
    assert unit(np.zeros(4, np.float32)).tolist() == [0, 0, 0, 0]
