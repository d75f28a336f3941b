"""The active appearance model, fitted to cartoon faces: the meaning of its rows, its file and its exports."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from styleid.errors import TrainingError
from styleid.faces import geometry
from styleid.lab.bundling import aam128 as aam_bundle
from styleid.lab.data.pack import Pack
from styleid.lab.export.network import export_network
from styleid.lab.networks.aam import (
    ATTRIBUTE_ROW,
    EXPRESSION_ROW,
    SHAPE_EXPRESSIONS,
    SHAPE_ROW,
    AAMConfig,
    ActiveAppearanceModel,
    load_aam,
    save_aam,
    with_forehead,
)
from styleid.lab.networks.aam_networks import AAMGenerator, AAMInverter, clean_forehead, like_skin
from styleid.lab.networks.refiner import Refiner, RefinerConfig
from styleid.lab.tasks.aam_fit import fit_aam, fit_expressions
from tests.lab.synthetic import synthetic_pack

CONFIG = AAMConfig(size_px=48, texture_hw=(32, 24), width=8, shape_rows=2, texture_rows=3)
TEXTURE_ROW = SHAPE_ROW + CONFIG.shape_rows


@pytest.fixture(scope="module")
def pack() -> Pack:
    return synthetic_pack(100, 40, 4)


@pytest.fixture(scope="module")
def model(pack: Pack) -> ActiveAppearanceModel:
    return fit_aam(pack, None, CONFIG, say=lambda text: None).eval()


@pytest.fixture(scope="module")
def inputs(pack: Pack) -> dict[str, torch.Tensor]:
    """The training faces as inputs of the inverter, all uncovered."""
    rows = np.nonzero(~pack.held_out)[0]
    crop = torch.from_numpy(pack.crops(rows)).permute(0, 3, 1, 2).float() / 127.5 - 1
    landmarks = torch.from_numpy(pack.landmarks68[rows])
    return {"crop": crop, "landmarks": landmarks, "visible": torch.ones_like(crop[:, :1])}


@pytest.fixture(scope="module")
def codes(model: ActiveAppearanceModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    return model.encode(*inputs.values())


def keep(network: nn.Module) -> list[str]:
    """Return the names of the buffers that the bundle's exports keep in float32."""
    return [name for name, _ in network.named_buffers() if name.rsplit(".", 1)[-1] in aam_bundle.KEEP]


def mouth_opening(points: torch.Tensor) -> np.ndarray:
    return geometry.expression(points[:, :68].numpy()).mouth_opening


def test_a_reconstruction_is_nearer_than_the_mean_face(
    model: ActiveAppearanceModel, inputs: dict[str, torch.Tensor], codes: torch.Tensor
) -> None:
    crop = inputs["crop"]
    assert codes.shape == (len(crop), CONFIG.layers, CONFIG.width)
    rebuilt, coverage = model(codes)
    mean = model.render(torch.zeros_like(codes))
    assert rebuilt.shape == crop.shape
    assert rebuilt.abs().max() <= 1
    assert (coverage.min(), coverage.max()) == (pytest.approx(0, abs=1e-3), pytest.approx(1, abs=1e-3))
    assert torch.equal(model.render(codes), rebuilt)
    error, of_mean = (((image - crop).abs() * coverage).sum((1, 2, 3)) for image in (rebuilt, mean))
    assert (error < of_mean).float().mean() > 0.95
    assert error.mean() < 0.5 * of_mean.mean()


def test_codes_have_unit_variance_and_mean_zero(codes: torch.Tensor) -> None:
    spread, mean = codes.std(0, correction=0), codes.mean(0)
    # unused channels are zero: a row has more channels than named quantities
    alive = spread > 1e-3
    assert alive.float().mean() > 0.6
    shape = torch.cat([spread[:3], spread[SHAPE_ROW:TEXTURE_ROW]])
    assert shape[shape > 1e-3] == pytest.approx(1.0, abs=0.05)
    assert mean.abs().max() < 0.2
    assert spread[EXPRESSION_ROW, 7:].max() == 0


def test_shape_channels_round_trip(
    model: ActiveAppearanceModel, inputs: dict[str, torch.Tensor], codes: torch.Tensor
) -> None:
    points = with_forehead(inputs["landmarks"])
    read = model.shape_codes(points)
    again = model.shape_codes(model.points(codes))
    believed = (read.abs() < 3).all(1)  # coordinates are clipped at three standard deviations
    assert believed.float().mean() > 0.5
    assert torch.allclose(read[believed], again[believed], atol=2e-2)
    placed = (model.points(codes) - points).norm(dim=-1).mean()
    assert placed < 0.5 * (model.mean_shape - points).norm(dim=-1).mean()
    assert torch.allclose(model.points(torch.zeros_like(codes)), model.mean_shape.expand(len(codes), -1, -1))


@pytest.mark.parametrize("rows", [(3,), (ATTRIBUTE_ROW,), tuple(range(TEXTURE_ROW, CONFIG.layers))])
def test_texture_rows_do_not_move_landmarks(rows: tuple[int, ...], model: ActiveAppearanceModel, codes) -> None:
    other = codes.clone()
    other[:, list(rows)] = codes.roll(1, 0)[:, list(rows)]
    assert torch.equal(model.points(other), model.points(codes))
    assert (model.textures(other) - model.textures(codes)).abs().mean() > 1e-3


def test_the_expression_row_determines_the_expression(model: ActiveAppearanceModel, codes: torch.Tensor) -> None:
    own = mouth_opening(model.points(codes))
    taken = codes.clone()
    taken[:, EXPRESSION_ROW] = codes.roll(1, 0)[:, EXPRESSION_ROW]
    assert (model.points(taken) - model.points(codes)).abs().max() > 0.3
    # these faces never nod, so their pitch measures the mouth, too, and is taken with it
    taken[:, 0] = codes.roll(1, 0)[:, 0]
    given, wanted = mouth_opening(model.points(taken)), np.roll(own, 1)
    assert np.corrcoef(given, wanted)[0, 1] > 0.8
    # other rows do not hold the expression: taking them all leaves the mouth as it was
    rest = codes.roll(1, 0)
    rest[:, : EXPRESSION_ROW + 1] = codes[:, : EXPRESSION_ROW + 1]
    assert np.corrcoef(mouth_opening(model.points(rest)), own)[0, 1] > 0.8


def test_the_placement_row_determines_the_placement(model: ActiveAppearanceModel, codes: torch.Tensor) -> None:
    taken = codes.clone()
    taken[:, 1] = codes.roll(1, 0)[:, 1]
    centre, other = (model.points(w)[:, :68].mean(1) for w in (codes, taken))
    assert (other - centre.roll(1, 0)).norm(dim=1).mean() < 0.5 * (other - centre).norm(dim=1).mean()


def test_shape_rows_are_uncorrelated(codes: torch.Tensor) -> None:
    """Channels of different rows are uncorrelated, so that rows of two people can be combined."""
    expression = codes[:, EXPRESSION_ROW, :SHAPE_EXPRESSIONS]
    blocks = [codes[:, 0], codes[:, 1], expression, codes[:, SHAPE_ROW:TEXTURE_ROW].flatten(1)]
    channels = torch.cat(blocks, 1)
    owner = torch.repeat_interleave(torch.tensor([block.shape[1] for block in blocks]))
    alive = channels.std(0) > 1e-3
    correlation = torch.corrcoef(channels[:, alive].T).abs()
    assert correlation[owner[alive][:, None] != owner[alive][None, :]].max() < 0.05


def test_hidden_pixels_are_filled_in(model: ActiveAppearanceModel, inputs: dict[str, torch.Tensor], codes) -> None:
    crop, landmarks, visible = (value[:16].clone() for value in inputs.values())
    crop[:, :, :, 14:24], visible[:, :, :, 14:24] = 1.0, 0.0
    known = model.render(model.encode(crop, landmarks, visible))
    fooled = model.render(model.encode(crop, landmarks, torch.ones_like(visible)))
    wanted = model.render(codes[:16])
    assert (known - wanted).abs().mean() < 0.6 * (fooled - wanted).abs().mean()


def test_textures_round_trip_through_packing(model: ActiveAppearanceModel) -> None:
    ramp = torch.linspace(-0.5, 0.5, 24).expand(32, 24)
    smooth = torch.stack([torch.stack([ramp, ramp.flip(1) * 0.5, ramp * 0 + 0.2]), torch.full((3, 32, 24), 0.3)])
    packed = model.pack(smooth)
    assert packed.shape == (2, len(model.mean_texture))
    inside = model.mask.expand(2, 3, -1, -1)
    assert (model.unpack(packed) - smooth)[inside].abs().max() < 0.06
    noise = torch.rand(2, 3, 32, 24) - 0.5
    luma = slice(0, model.packed[0])
    assert torch.allclose(model.pack(model.unpack(model.pack(noise)))[:, luma], model.pack(noise)[:, luma], atol=2e-3)


def test_visibility_is_packed_like_textures(model: ActiveAppearanceModel) -> None:
    visible = torch.ones(1, 1, 32, 24)
    visible[..., 10:20, :] = 0
    packed = model.pack_visible(visible)
    assert packed.shape == (1, len(model.mean_texture))
    grey = visible.expand(1, 3, -1, -1)
    n = model.packed[0]
    assert torch.allclose(packed[:, :n], model.pack(grey)[:, :n], atol=1e-6)
    assert torch.equal(packed[:, n : n + model.packed[1]], packed[:, n + model.packed[1] :])


def test_pixels_outside_the_mask_get_the_nearest_value() -> None:
    mask = np.zeros((32, 24), bool)
    mask[8:24, 6:18] = True
    model = ActiveAppearanceModel(CONFIG, mask)
    image = torch.rand(1, 1, 32, 24).expand(1, 3, -1, -1)
    given = model.unpack(model.pack(image))
    assert torch.allclose(given[..., 8:24, 6:18], image[..., 8:24, 6:18], atol=2e-3)
    assert torch.allclose(given[..., :8, 6:18], image[..., 8:9, 6:18].expand(-1, -1, 8, -1), atol=2e-3)
    assert torch.allclose(given[..., 8:24, 18:], image[..., 8:24, 17:18].expand(-1, -1, -1, 6), atol=2e-3)


def test_warps_are_inverse(model: ActiveAppearanceModel, inputs: dict[str, torch.Tensor]) -> None:
    points = with_forehead(inputs["landmarks"][:8])
    # textures whose values are the coordinates of their pixels
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(24.0), indexing="ij")
    places = torch.stack([x, y]).expand(8, -1, -1, -1)
    again = model.take_texture(model.place_texture(places, points), points)
    still = model.take_texture(model.place_texture(places, model.mean_shape.expand_as(points)), points)
    inside = model.mask.expand_as(places)
    error, unmoved = ((value - places)[inside].abs().mean() for value in (again, still))
    assert error < 0.15
    assert error < 0.4 * unmoved


def test_the_forehead_agrees_with_the_runtime() -> None:
    landmarks = synthetic_pack(8, 40, 4, seed=3).landmarks68
    turned = landmarks @ np.array([[0.8, 0.6], [-0.6, 0.8]], np.float32)
    for points in (landmarks, turned):
        wanted = geometry.with_forehead(points)
        given = with_forehead(torch.from_numpy(points)).numpy()
        assert np.abs(given - wanted).max() < 1e-4
        assert given.shape == (8, geometry.POINTS_WITH_FOREHEAD, 2)


def test_file_round_trip(model: ActiveAppearanceModel, codes: torch.Tensor, tmp_path: Path) -> None:
    save_aam(model, tmp_path / "aam")
    assert [path.name for path in (tmp_path / "aam").iterdir()] == ["aam.safetensors"]
    read = load_aam(tmp_path / "aam")
    assert read.config == model.config
    assert not read.training
    assert all(torch.equal(value, read.state_dict()[name]) for name, value in model.state_dict().items())
    assert torch.equal(read.render(codes[:2]), model.render(codes[:2]))
    with pytest.raises(TrainingError, match=r"elsewhere.*is missing"):
        load_aam(tmp_path / "elsewhere")


@pytest.mark.slow
def test_inverter_exports_as_torch_computes(
    model: ActiveAppearanceModel, inputs: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    network = AAMInverter(model)
    first = {name: value[:3] for name, value in inputs.items()}
    report = export_network(network, first, ["w_plus"], tmp_path / "inverter.onnx", keep=keep(network))
    assert report.max_error <= 1e-3


@pytest.mark.slow
def test_generator_exports_as_torch_computes(model: ActiveAppearanceModel, codes: torch.Tensor, tmp_path: Path) -> None:
    torch.manual_seed(0)
    refiner = Refiner(RefinerConfig(48, (8, 8, 8, 8)))
    nn.init.normal_(refiner.leave.weight, std=0.02)
    network = AAMGenerator(model, refiner)
    outputs, path = ["image", "landmarks"], tmp_path / "generator.onnx"
    report = export_network(network, {"w_plus": codes[:3]}, outputs, path, keep=keep(network))
    assert report.max_error <= 1e-3
    with torch.no_grad():
        images, landmarks = network(codes[:3])
    assert images.abs().max() <= 1
    assert torch.equal(landmarks, model.points(codes[:3])[:, :68])


def test_traces_of_hair_get_the_hue_of_the_skin_but_not_eyes_teeth_and_highlights() -> None:
    skin, hair, highlight, teeth, iris = (
        torch.tensor(c, dtype=torch.float32) / 127.5 - 1
        for c in ((200, 150, 120), (70, 120, 125), (250, 245, 240), (230, 240, 250), (80, 110, 150))
    )
    image = skin.reshape(1, 3, 1, 1).repeat(1, 1, 20, 20)
    core, eyes, mouth = torch.ones(1, 1, 20, 20), torch.zeros(1, 1, 20, 20), torch.zeros(1, 1, 20, 20)
    for row, (colour, where) in enumerate(((hair, None), (highlight, None), (teeth, mouth), (iris, eyes))):
        image[..., row, 0] = colour
        if where is not None:
            where[..., row, 0] = 1
    out = (like_skin(image, core, eyes, mouth) + 1) * 127.5
    red, green, blue = out[0, :, 0, 0].tolist()
    assert red == pytest.approx(70, abs=0.1)
    assert blue < green < red, "a shadow on this skin is warm"
    assert out[0, :, 1, 0].tolist() == pytest.approx([250, 245, 240], abs=0.1)
    assert out[0, :, 2, 0].tolist() == pytest.approx([230, 230, 230], abs=0.1)
    assert out[0, :, 3, 0].tolist() == pytest.approx([80, 110, 150], abs=0.1)
    assert out[0, :, 10, 10].tolist() == pytest.approx([200, 150, 120], abs=0.1)


def test_the_border_of_a_texture_is_filled_from_further_inside(model: ActiveAppearanceModel) -> None:
    generator = AAMGenerator(model, nn.Identity())
    mask, taken = model.mask.numpy().reshape(-1), np.unique(generator.inward.numpy())
    assert mask[taken].all()
    assert len(taken) < 0.85 * mask.sum()
    assert (generator.inward.numpy()[taken] == taken).all(), "what lies well inside stays"


def test_traces_of_hair_on_the_forehead_become_skin(model: ActiveAppearanceModel) -> None:
    generator, mask = AAMGenerator(model, nn.Identity()), model.mask
    trusted, forehead = generator.trusted[0, 0], generator.forehead[0, :, :, 0]
    assert trusted[~mask].max() == 0
    assert 0.1 < (trusted > 0.99).float().mean() < 0.85 * mask.float().mean()
    assert (forehead[:, 0] == 1).all()
    assert (forehead[:, -1] == 0).all()
    assert (forehead.diff() <= 0).all()
    assert forehead[1].sum() < forehead[0].sum()
    skin = torch.tensor([0.4, 0.1, -0.1]).reshape(1, 3, 1, 1).expand(1, 3, *mask.shape).clone()
    skin[..., 10, 12] = -0.9  # a brow
    hairy = torch.where(trusted == 0, -0.8, skin)
    clean = clean_forehead(hairy, generator.trusted, generator.forehead)
    sure = (trusted > 0.99).expand_as(clean)
    assert torch.allclose(clean[sure], skin[sure], atol=1e-5)
    assert (clean[0, :, trusted == 0] - skin[0, :, -1, :1]).abs().max() < 0.1


def test_fitted_expressions_match_those_asked_for() -> None:
    draw, rows = np.random.default_rng(0), 7
    codes = draw.standard_normal((400, CONFIG.layers, CONFIG.width)).astype(np.float32)
    flat = codes[:, :rows].reshape(400, -1).astype(np.float64)
    own = draw.normal(0, 0.002, (flat.shape[1], 4))  # lips and lids look differently open in each face
    own[EXPRESSION_ROW * CONFIG.width :][:4] = np.diag([0.025, 0.02, 0.006, 0.006]) + 0.001

    def come(told: np.ndarray) -> np.ndarray:
        changed = flat.copy()
        changed[:, EXPRESSION_ROW * CONFIG.width :][:, :4] = told
        return changed @ own + [0.125, 0.06, 0.12, 0.12]

    told = codes[:, EXPRESSION_ROW, :4].astype(np.float64)
    asked = told * [0.03, 0.02, 0.01, 0.01] + [0.1, 0.05, 0.12, 0.12]
    express = fit_expressions(codes, asked, come(told), rows)
    assert np.abs(come(told) - asked).max() > 0.01
    assert np.allclose(come(flat @ express[:-1] + express[-1]), asked)


def test_fitted_expressions_ignore_directions_that_hardly_vary() -> None:
    draw, rows = np.random.default_rng(0), 7
    codes = draw.standard_normal((400, CONFIG.layers, CONFIG.width)).astype(np.float32)
    codes[:, 6] *= 0.02  # as in targets after a separation
    came = codes[:, EXPRESSION_ROW, :4].astype(np.float64) + draw.normal(0, 0.5, (400, 4))
    express = fit_expressions(codes, codes[:, EXPRESSION_ROW, :4].astype(np.float64), came, rows)
    photo = draw.standard_normal((50, rows, CONFIG.width))
    assert np.abs(photo.reshape(50, -1) @ express[:-1] + express[-1] - photo[:, EXPRESSION_ROW, :4]).max() < 0.7


def test_the_generator_applies_the_fitted_expressions(model: ActiveAppearanceModel, codes: torch.Tensor) -> None:
    generator = AAMGenerator(model, nn.Identity())
    with torch.no_grad():
        usual = generator(codes[:3])[1]
        generator.express[-1, 0] = -1.0
        closer = codes[:3].clone()
        closer[:, EXPRESSION_ROW, 0] -= 1
        assert torch.allclose(generator(codes[:3])[1], model.points(closer)[:, :68])
        assert not torch.allclose(generator(codes[:3])[1], usual)


def test_levels_cover_the_rows_in_order() -> None:
    rows = [row for first, last in CONFIG.levels.values() for row in range(first, last + 1)]
    assert rows == list(range(CONFIG.layers))
    assert list(CONFIG.levels)[:3] == ["pose", "placement", "expression"]


@pytest.mark.parametrize("wrong", [{"size_px": 50}, {"texture_hw": (30, 24)}, {"texture_hw": (32, 22)}, {"width": 7}])
def test_the_configuration_rejects_invalid_sizes(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"divisible by 4|width must be at least 8"):
        AAMConfig(**wrong)
