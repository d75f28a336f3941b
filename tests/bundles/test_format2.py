"""Bundle format 2: rows of different widths, generators by face size, and neutral surroundings."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from styleid.bundles import neutral as neutral_file
from styleid.bundles.bundle import Bundle
from styleid.bundles.generators import MAPS, Generator
from styleid.bundles.known_outputs import ROWS, example_inputs, wrong_outputs
from styleid.bundles.registry import verify
from styleid.bundles.rows import Row
from styleid.bundles.spec import BundleSpec
from styleid.bundles.steps import SwapStep
from styleid.cli import main
from styleid.errors import BundleError
from styleid.pixel.guides import Part
from tests.bundles.tiny_format2 import (
    GEOMETRY,
    SIZE,
    WIDTHS,
    entry_of,
    generator_parts,
    geometry_parts,
    landmarks_of,
    tiny_format2,
    write_network,
)
from tests.tiny_bundle import edit_bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_format2(tmp_path_factory.mktemp("format2") / "tiny")


@pytest.fixture(scope="module")
def tiny(folder) -> Bundle:
    return Bundle(folder)


def _record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "bundle.json").read_text())


def test_a_description_is_read_as_it_stands(tiny):
    spec = tiny.spec
    assert spec.rows[:2] == (Row("pose", 0, 8), Row("placement", 8, 8))
    assert [row.width for row in spec.rows] == list(WIDTHS.values())
    assert (spec.format, spec.layers, spec.size, spec.code_shape) == (2, len(WIDTHS), SIZE, (SIZE,))
    assert spec.numbers((4, 0)).tolist() == [*range(136, 144), *range(8)]
    assert spec.numbers(()).tolist() == []
    assert spec.generators == (Generator("generator", 32, 40.0), Generator("generator64", 64))
    assert spec.neutral.file == "neutral.npz"
    assert spec.swaps[1] == SwapStep((4, 5, 6), 1.0, light_cells=2)
    assert spec.swaps[2] == SwapStep((3, 4, 5, 6), 1.0, light_cells=2, expression_noise=0.1)


def test_a_channel_is_a_number_of_its_own_row(folder, tmp_path):
    steps = [{"levels": ["fine"], "strength": 1.0, "channels": {"coarse": [0, 7], "pose": [3]}}]
    assert Bundle(edit_bundle(folder, tmp_path / "b", swaps=steps)).spec.swaps[0].channels == (136, 143, 3)
    steps[0]["channels"] = {"medium": [4]}
    with pytest.raises(BundleError, match="must be below 4, of a level of one row; those of medium are not"):
        Bundle(edit_bundle(folder, tmp_path / "c", swaps=steps))


ROW = {"name": "more", "first": SIZE, "width": 2}
LAST = {"network": "generator64", "side": 64}
FIRST = {"network": "generator", "side": 32, "most_face_px": 40}


@pytest.mark.parametrize(
    ("entry", "change", "says"),
    [
        ("format", lambda _: 3, "format 3 is unknown; this version of styleid reads the formats 1 and 2"),
        ("rows", lambda _: [], "'rows' must list every row"),
        ("rows", lambda rows: [*rows, ROW | {"name": "pose"}], "'rows' must list every row of W+ once"),
        ("rows", lambda rows: [*rows, ROW | {"first": SIZE + 1}], f"has first {SIZE + 1} and width 2; it must begin at "
         f"{SIZE}"),
        ("rows", lambda rows: [*rows, ROW | {"width": 0}], f"row 'more' has first {SIZE} and width 0"),
        ("rows", lambda rows: [*rows, ROW | {"width": 2.5}], "cannot be interpreted as an integer"),
        ("rows", lambda rows: [*rows, ROW | {"last": 3}], "unknown key 'last'; known keys: name, first, width"),
        ("rows", lambda rows: [*rows, {"name": "more"}], "lacks 'first'"),
        ("levels", lambda levels: levels | {"fine": [6, 7]}, "level 'fine' has the rows 6 to 7; W+ has the"),
        ("generators", lambda _: [], "'generators' is empty"),
        ("generators", lambda _: [FIRST, LAST | {"network": "geometry"}], "'generators' lists 'geometry'; write gener"),
        ("generators", lambda _: [FIRST, LAST | {"opset": 18}], "a generator has the unknown key 'opset'"),
        ("generators", lambda _: [FIRST, LAST | {"most_face_px": 90}], "the last generator, generator64, draws faces"),
        ("generators", lambda _: [FIRST | {"most_face_px": None}, LAST], "every generator but the last must have"),
        ("generators", lambda _: [FIRST | {"most_face_px": 0}, LAST], "generator has side 32 and most_face_px 0.0"),
        ("generators", lambda _: [FIRST | {"most_face_px": float("nan")}, LAST], "and most_face_px nan"),
        ("generators", lambda _: [FIRST | {"side": 4}, LAST], "generator has side 4"),
        ("generators", lambda _: [FIRST | {"side": 64}, LAST], "with rising side and most_face_px"),
        ("generators", lambda _: [FIRST, FIRST | {"side": 48, "most_face_px": 90}, LAST], "list each network once"),
        ("generators", lambda _: [FIRST, LAST | {"network": "generator128"}], "network 'generator64' is unknown"),
        ("generators", lambda _: [FIRST | {"most_face_px": None}], "network 'generator64' is unknown; the roles are"),
        ("networks", lambda n: {k: v for k, v in n.items() if k != "generator64"}, "'networks' lacks generator64"),
        ("networks", lambda n: {k: v for k, v in n.items() if k != "geometry"}, "the entry 'networks' lacks geometry"),
        ("neutral", lambda _: None, "lacks 'neutral'"),
        ("neutral", lambda n: n | {"file": "../n.npz"}, "the file of the neutral surroundings lies outside"),
        ("swaps", lambda s: [s[0] | {"lightcells": 3}], "a swap has the unknown key 'lightcells'; known keys: levels"),
        ("swaps", lambda s: [s[0] | {"light_cells": 0}], "light_cells of a swap must be from 1 to 8, not 0"),
        ("swaps", lambda s: [s[0] | {"light_cells": 2.5}], "cannot be interpreted as an integer"),
        ("swaps", lambda s: [s[0] | {"expression_noise": float("nan")}], "expression_noise of a swap must be from 0"),
        ("levels", lambda levels: {"mimic" if k == "expression" else k: v for k, v in levels.items()}, "the bundle "
         "does not have the level 'expression'"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("unchecked_types")
def test_broken_descriptions_are_refused_with_their_reason(folder, tmp_path, entry, change, says):
    edited = edit_bundle(folder, tmp_path / "edited", **{entry: change(_record(folder)[entry])})
    with pytest.raises(BundleError, match=re.escape(says)) as caught:
        BundleSpec.read(edited)
    assert [str(caught.value)] == verify(edited)


@pytest.mark.parametrize("role", ["geometry", "generator64"])
def test_format_1_knows_no_networks_of_format_2(folder, tmp_path, role):
    networks = {name: file for name, file in _record(folder)["networks"].items() if name in (role, "generator")}
    changes = {"format": 1, "layers": 7, "width": 8, "networks": networks}
    with pytest.raises(BundleError, match=f"network '{role}' is unknown"):
        BundleSpec.read(edit_bundle(folder, tmp_path / "edited", **changes))


def test_the_bundle_verifies_and_computes_what_it_must(tiny):
    assert verify(tiny.folder) == []
    assert {role: wrong_outputs(tiny, role) for role in tiny.spec.networks} == {r: [] for r in tiny.spec.networks}


def test_examples_of_maps_are_what_photos_give(tiny):
    inputs = example_inputs(tiny, "generator64")
    for name, channels in MAPS.items():
        assert (inputs[name].shape, inputs[name].dtype) == ((ROWS, channels, 64, 64), np.float32)
        assert (-1 if channels == 3 else 0) <= inputs[name].min() < inputs[name].max() <= 1
    region = inputs["region"]
    assert not (inputs["context"] * (region > 0)).any()
    assert not (inputs["light"] * (region == 0)).any()
    assert not (inputs["glasses"] * (region == 0)).any()


@pytest.mark.parametrize("n", [1, 3, 17])
def test_what_is_seen_comes_back_through_w_plus(tiny, n):
    size_px, rng = tiny.spec.crop.size_px, np.random.default_rng(0)
    crops = rng.integers(0, 256, (n, size_px, size_px, 3)).astype(np.uint8)
    landmarks = rng.uniform(0, size_px, (n, 68, 2)).astype(np.float32)
    identity = tiny.embed(crops)
    wplus = tiny.invert(crops, landmarks, np.ones((n, 1, size_px, size_px), np.float32), identity)
    assert (wplus.shape, wplus.dtype) == ((n, SIZE), np.float32)
    assert np.array_equal(tiny.geometry(wplus), landmarks)
    assert np.array_equal(wplus[:, GEOMETRY:], identity)
    z = rng.standard_normal((n, tiny.spec.z)).astype(np.float32)
    target = tiny.sample(z, tiny.describe(crops), wplus)
    assert target.shape == wplus.shape
    assert np.array_equal(target[:, :GEOMETRY], wplus[:, :GEOMETRY])
    assert np.allclose(tiny.weigh(wplus, target), 1 / (1 + np.exp(target - wplus)), atol=1e-6)


def test_an_inverter_that_asks_for_the_identity_must_be_given_it(tiny):
    size_px = tiny.spec.crop.size_px
    crops, points = np.zeros((1, size_px, size_px, 3), np.uint8), landmarks_of(size_px)[None]
    with pytest.raises(BundleError, match="inverter needs the input identity, which is not given"):
        tiny.invert(crops, points, np.ones((1, 1, size_px, size_px), np.float32))


@pytest.mark.parametrize(
    ("face_px", "network"), [(1, "generator"), (40, "generator"), (40.5, "generator64"), (900.0, "generator64")]
)
def test_a_face_gets_the_generator_of_its_size(tiny, face_px, network):
    assert tiny.generator_for(face_px).network == network


@pytest.mark.parametrize("network", [0, 1])
def test_each_generator_draws_into_what_it_is_told(tiny, network):
    generator, rng = tiny.spec.generators[network], np.random.default_rng(1)
    side = generator.side
    maps = {name: rng.uniform(0, 0.4, (3, n, side, side)).astype(np.float32) for name, n in MAPS.items()}
    wplus = rng.uniform(-0.2, 0.2, (3, SIZE)).astype(np.float32)
    images = tiny.draw(generator, wplus, maps)
    bright = maps["region"] * (maps["light"] + wplus[:, SIZE - 4 : SIZE - 1, None, None])
    face = (bright - maps["lines"].mean(1, keepdims=True) - maps["glasses"]) / 2
    assert images.shape == (3, side, side, 3)
    assert np.allclose(images.transpose(0, 3, 1, 2), (maps["context"] + face + 1) * 127.5, atol=1e-3)
    del maps["lines"]
    with pytest.raises(BundleError, match=f"{generator.network} needs the input lines"):
        tiny.draw(generator, wplus, maps)


def test_neither_format_draws_in_the_other_s_way(tiny, appearance_model):
    wplus = np.zeros((1, SIZE), np.float32)
    for draw in (tiny.render, tiny.generate):
        with pytest.raises(BundleError, match="its generators fill faces into surroundings"):
            draw(wplus)
    with pytest.raises(BundleError, match="it has one generator for all faces"):
        appearance_model.generator_for(80)
    with pytest.raises(BundleError, match="it has no neutral surroundings"):
        appearance_model.neutral()
    with pytest.raises(BundleError, match=r"it has no geometry \(W\+ -> landmarks\)"):
        appearance_model.geometry(np.zeros((1, appearance_model.spec.size), np.float32))


def test_the_neutral_surroundings_are_read(tiny):
    size_px, neutral = tiny.spec.crop.size_px, tiny.neutral()
    assert neutral.crop.shape == (size_px, size_px, 3)
    assert neutral.parts.shape == (size_px // 2, size_px // 2)
    assert np.array_equal(neutral.landmarks, landmarks_of(size_px))
    assert len(Part) == neutral_file.PARTS


def _archive(**changes: Any) -> bytes:
    arrays = {
        "crop": np.zeros((64, 64, 3), np.uint8),
        "parts": np.zeros((32, 32), np.uint8),
        "landmarks": np.zeros((68, 2), np.float32),
    }
    out = io.BytesIO()
    np.savez(out, **{name: value for name, value in (arrays | changes).items() if value is not None})
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no archive", r"neutral\.npz: .*(cannot be read|pickled)"),
        (_archive(parts=None), r"neutral\.npz: it cannot be read"),
        (_archive(crop=np.zeros((32, 32, 3), np.uint8)), r"its crop must be uint8 \(64, 64, 3\), not uint8 \(32,"),
        (_archive(crop=np.zeros((64, 64, 3))), r"its crop must be uint8 .*, not float64"),
        (_archive(parts=np.full((4, 4), 5, np.uint8)), r"must be a uint8 map of values below 5, not uint8 \(4, 4\)"),
        (_archive(parts=np.zeros((0, 4), np.uint8)), r"must be a uint8 map of values below 5, not uint8 \(0, 4\)"),
        (_archive(landmarks=np.zeros((68, 2))), "its landmarks must be 68 finite float32 points, not float64"),
        (_archive(landmarks=np.full((68, 2), np.nan, np.float32)), "its landmarks must be 68 finite float32 points"),
    ],
)
def test_other_surroundings_are_refused(folder, tmp_path, content, says):
    edited = edit_bundle(folder, tmp_path / "edited")
    (edited / "neutral.npz").write_bytes(content)
    (problem,) = verify(edited)
    assert "neutral.npz has the SHA-256" in problem
    record = _record(edited) | {"neutral": entry_of(edited / "neutral.npz")}
    (edited / "bundle.json").write_text(json.dumps(record))
    (problem,) = verify(edited)
    assert re.search(says, problem)


def _altered(part: int, **sizes: tuple[int, ...]) -> Iterator[Any]:
    """Yield the parts of a generator of 32 px, its inputs (0) or outputs (1) with other sizes."""
    for number, value in enumerate(generator_parts(32)):
        yield value | sizes if number == part else value


WITHOUT_MIDDLE = (
    *geometry_parts()[:1],
    {"landmarks": (34, 4)},
    geometry_parts()[2],
    geometry_parts()[3] | {"shape": np.array([-1, 34, 4])},
)


@pytest.mark.parametrize(
    ("role", "parts", "says"),
    [
        ("generator", tuple(generator_parts(48)), "takes context of shape .*; by bundle.json it is [3, 32, 32]"),
        (
            "generator",
            tuple(_altered(0, w_plus=(SIZE + 8,))),
            f"takes w_plus of shape .*; by bundle.json it is [{SIZE}]",
        ),
        ("generator", tuple(_altered(0, depth=(1, 32, 32))), "needs the input depth, which styleid does not give"),
        ("geometry", WITHOUT_MIDDLE, "geometry returns landmarks of shape .*; it must contain 68"),
    ],
)
def test_networks_that_contradict_the_description_are_named(folder, tmp_path, role, parts, says):
    edited = edit_bundle(folder, tmp_path / "edited")
    record = _record(edited)
    record["networks"][role] = write_network(edited / f"{role}.onnx", *parts)
    (edited / "bundle.json").write_text(json.dumps(record))
    (problem,) = verify(edited)
    assert re.search(says.replace("[", r"\[").replace("]", r"\]"), problem)


def test_a_file_that_is_not_named_is_told(folder, tmp_path):
    edited = edit_bundle(folder, tmp_path / "edited")
    (edited / "generator512.onnx").write_bytes(b"")
    assert ["generator512.onnx is not named" in problem for problem in verify(edited)] == [True]


@pytest.mark.parametrize(
    ("name", "shape", "fits"),
    [
        ("channels", (SIZE,), True),
        ("groups", (SIZE // 4,), True),
        ("groups@ratio", (SIZE // 8,), False),
        ("channels", (7, 22), False),
        ("channels", (SIZE, 1), False),
        ("layers", (7, 1), True),
        ("layers", (7,), False),
        ("windows", (7, 7), True),
        ("windows", (SIZE,), False),
    ],
)
def test_rankings_must_fit_the_rows(folder, tmp_path, name, shape, fits):
    edited = edit_bundle(folder, tmp_path / "edited")
    np.savez(edited / "rankings.npz", **{name: np.zeros(shape)})
    record = _record(edited) | {"rankings": entry_of(edited / "rankings.npz")}
    (edited / "bundle.json").write_text(json.dumps(record))
    assert [f"the ranking {name} has shape" in problem for problem in verify(edited)] == ([] if fits else [True])


def test_the_command_shows_what_a_bundle_of_format_2_is(folder, capsys):
    assert main(["bundles", "show", str(folder)]) == 0
    said = capsys.readouterr().out
    assert f"64 px, W+ 7 rows, {SIZE} numbers, levels:" in said
    assert re.search(r"generator +up to 40 px, drawn at 32 px\n +generator64 +any, drawn at 64 px", said)
    assert re.search(r"generator64 .* W\+ and maps of the photo -> image", said)
    assert main(["bundles", "verify", str(folder)]) == 0
