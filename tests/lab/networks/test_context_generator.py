"""The context generator and its discriminator: new stages that add nothing, loading, export."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from styleid.errors import TrainingError
from styleid.lab.export.context_generator import INPUTS, export_context_generator, random_maps
from styleid.lab.networks import context_discriminator, context_generator
from styleid.lab.networks.appearance_encoder import SIDE, AppearanceView, without_light
from styleid.lab.networks.context_discriminator import ContextDiscriminator, ContextDiscriminatorConfig
from styleid.lab.networks.context_generator import ContextGenerator, ContextGeneratorConfig, config_of
from styleid.runtime import open_session
from tests.lab.training_tester import assert_export_agrees

TINY = (4, 4, 6, 8, 8)


def network(side: int) -> ContextGenerator:
    torch.manual_seed(side)
    return ContextGenerator(ContextGeneratorConfig(side, TINY, width=16, identity=8, appearance=4)).eval()


def maps(side: int) -> dict[str, torch.Tensor]:
    return random_maps(side, torch.Generator().manual_seed(1))


def test_each_layer_has_a_row_of_w() -> None:
    assert [ContextGeneratorConfig(side).layers for side in (64, 128, 256)] == [7, 10, 11]


@pytest.mark.parametrize("side", [64, 128])
def test_a_new_stage_adds_nothing_at_first(side: int) -> None:
    coarse, fine = network(side), network(2 * side)
    context_generator.load_weights(fine, coarse.state_dict())
    large = maps(2 * side)
    w = torch.randn(3, 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        wanted = coarse(*(functional.avg_pool2d(m, 2) for m in large.values()), coarse.broadcast(w))
        given = fine(*large.values(), fine.broadcast(w))
    assert given.shape == (3, 3, 2 * side, 2 * side)
    enlarged = functional.interpolate(wanted, scale_factor=2.0, mode="bilinear", align_corners=False)
    torch.testing.assert_close(given, enlarged)


def test_a_smaller_generator_loads_the_weights_of_a_larger_one() -> None:
    small, large = network(64), network(256)
    context_generator.load_weights(small, large.state_dict())
    state = large.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in small.state_dict().items())


@pytest.mark.parametrize("side", [64, 128, 256])
def test_strided_stems_compute_the_same(side: int) -> None:
    generator, given = network(side), maps(side)
    w_plus = generator.broadcast(torch.randn(3, 16, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        for name in ("d32", "d64"):
            if hasattr(generator, name):
                getattr(generator, name).weight.normal_(std=0.1)
        wanted = generator(*given.values(), w_plus)
        found = context_generator.with_strided_stems(generator)(*given.values(), w_plus)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_rows_of_w_act_on_their_own_layer() -> None:
    generator, given = network(128), maps(128)
    w_plus = torch.zeros(3, 10, 16)
    with torch.no_grad():
        plain = generator(*given.values(), w_plus)
        for row in range(10):
            other = w_plus.clone()
            other[:, row] = 1
            changed = (generator(*given.values(), other) - plain).abs().max() > 0
            assert changed == (row < 7)  # the last stage adds nothing at first


@pytest.mark.parametrize("kind", ["generator", "discriminator"])
def test_tensors_that_do_not_fit_are_named(kind: str) -> None:
    if kind == "generator":
        one, load = network(64), context_generator.load_weights
    else:
        one, load = ContextDiscriminator(ContextDiscriminatorConfig(64, TINY)), context_discriminator.load_weights
    state = dict(one.state_dict())
    name = next(iter(state))
    for wrong in ({**state, name: torch.zeros(1)}, {k: v for k, v in state.items() if k != name}, {**state, "odd": 0}):
        tensors = {k: torch.as_tensor(v) for k, v in wrong.items()}
        with pytest.raises(TrainingError, match="odd" if "odd" in tensors else name):
            load(one, tensors)


@pytest.mark.parametrize("side", [64, 128, 256])
def test_discriminators_score_crops_and_patches(side: int) -> None:
    judge = ContextDiscriminator(ContextDiscriminatorConfig(side, TINY))
    scores, patches = judge(torch.randn(4, 6, side, side))
    assert scores.shape == (4,)
    assert patches.shape == (4, 256)
    assert [f.shape[-1] for f in judge.features(torch.randn(2, 6, side, side))][-3:] == [16, 8, 4]


@pytest.mark.parametrize("wrong", [{"side": 100}, {"channels": (3, 4, 4, 4, 4)}, {"channels": (4, 4)}])
def test_invalid_sizes_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"channels must|side must"):
        ContextGeneratorConfig(**wrong)


@pytest.mark.slow
def test_export_computes_what_torch_does(tmp_path: Path) -> None:
    generator, given = network(64), maps(64)
    report = export_context_generator(generator, tmp_path / "generator.onnx", geometry=5)
    assert report.max_error <= 1e-3
    session = open_session(tmp_path / "generator.onnx")
    assert [value.name for value in session.get_inputs()] == list(INPUTS)
    w_plus = torch.randn(2, 5 + 7 * 16, generator=torch.Generator().manual_seed(0))
    inputs = {name: value[:2] for name, value in given.items()} | {"w_plus": w_plus}

    def clamped(*maps: torch.Tensor) -> torch.Tensor:
        return generator(*maps[:-1], maps[-1][:, 5:].reshape(-1, 7, 16)).clamp(-1, 1)

    assert_export_agrees(tmp_path / "generator.onnx", clamped, inputs, atol=0.02)  # weights are kept in half precision


@pytest.mark.parametrize("side", [64, 128, 256])
def test_sizes_are_inferred_from_the_tensors(side: int) -> None:
    own = network(side)
    found = config_of(own.state_dict())
    assert (found.side, found.width, found.identity, found.appearance) == (side, 16, 8, 4)
    assert found.channels == (TINY if side > 64 else (24, 48, *TINY[2:]))
    with pytest.raises(TrainingError, match=r"'m32a\.c\.weight' is missing"):
        config_of({})


@pytest.mark.parametrize("side", [64, 80, 160])
def test_the_appearance_encoder_gets_averages_of_visible_pixels(side: int) -> None:
    draw = torch.Generator().manual_seed(side)
    crop, visible = torch.rand(2, 3, side, side, generator=draw) * 2 - 1, torch.zeros(2, 1, side, side)
    visible[..., side // 4 :, :] = 1
    seen = AppearanceView(side)(crop, visible)
    small = functional.interpolate(torch.cat([crop, visible], 1), SIDE, mode="area")
    shown = (small[:, 3:] > 0.5).float()
    torch.testing.assert_close(seen, torch.cat([without_light(small[:, :3], shown), shown], 1), atol=1e-5, rtol=1e-5)
    # hidden pixels, and the brightness and colour of the light, make no difference
    lit = torch.where(visible > 0, crop * 0.5 + torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.ones(()))
    torch.testing.assert_close(AppearanceView(side)(lit, visible), seen, atol=1e-4, rtol=1e-4)
