"""The StyleGAN2 generator compared with upstream's output, and its folded convolution with the plain one."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from styleid.errors import TrainingError
from styleid.lab.networks.stylegan2 import (
    Blur,
    Generator,
    GeneratorConfig,
    ModulatedConv2d,
    Upsample,
    upstream_channels,
)

TINY = GeneratorConfig(resolution=32, width=32, mapping_layers=2, channels=dict.fromkeys((4, 8, 16, 32), 16))


def read_case(shared: Path, name: str) -> dict[str, dict]:
    return json.loads((shared / "interop" / f"{name}.json").read_text())


def state_of(case: dict[str, dict], network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Draw each tensor with a seed from its name, as the cases' README defines."""
    state = {}
    own = network.state_dict()
    for name, how in case.items():
        if how.get("fixed"):
            state[name] = own[name]
            continue
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        value = (how["offset"] + how["scale"] * rng.standard_normal(how["shape"])).astype(np.float32)
        state[name] = torch.from_numpy(np.abs(value) if how.get("abs") else value)
    return state


def assert_close(given: torch.Tensor, wanted: np.ndarray, tolerance: float = 1e-4) -> None:
    assert given.shape == wanted.shape
    assert np.abs(given.numpy() - wanted).max() <= tolerance * wanted.std()


@pytest.mark.shared
def test_upstream_numbers_at_32_px(shared: Path) -> None:
    case = read_case(shared, "stylegan2_size32")
    generator = Generator(GeneratorConfig(resolution=32)).eval()
    generator.load_state_dict(state_of(case, generator), strict=True)
    golden = np.load(shared / "interop" / "golden" / "stylegan2_size32.npz")
    w_plus = torch.from_numpy(golden["w_plus"])
    with torch.no_grad():
        assert_close(generator.mapping(torch.from_numpy(golden["z"])), golden["w"])
        assert_close(generator(w_plus), golden["image"])
        styles = generator.styles(w_plus)
        wanted = [golden[name] for name in sorted(golden.files) if name.startswith("s_")]
        assert len(styles) == len(wanted) == len(generator.config.style_channels)
        for given, style in zip(styles, wanted, strict=True):
            assert_close(given, style)
        assert_close(generator.synthesis([torch.from_numpy(style) for style in wanted]), golden["image"])


@pytest.mark.shared
@pytest.mark.parametrize("resolution", [32, 1024])
def test_upstream_names_and_shapes(resolution: int, shared: Path) -> None:
    case = read_case(shared, f"stylegan2_size{resolution}")
    with torch.device("meta"):
        generator = Generator(GeneratorConfig(resolution=resolution))
    own = {name: list(value.shape) for name, value in generator.state_dict().items()}
    assert own == {name: how["shape"] for name, how in case.items()}


@pytest.mark.parametrize("layer", [Blur(1), Blur(2), Blur(1, stride=2), Blur(1, gain=4.0), Upsample()])
def test_filters_differentiate_twice(layer: torch.nn.Module) -> None:
    torch.manual_seed(0)
    layer = layer.double()
    x = torch.randn(2, 3, 6, 6, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(layer, x, fast_mode=True)
    torch.testing.assert_close(layer(x).detach(), layer(x.detach()))


@pytest.mark.parametrize("kind", ["conv", "up", "rgb"])
def test_the_folded_convolution_equals_the_plain_one(kind: str) -> None:
    torch.manual_seed(0)
    conv = {
        "conv": ModulatedConv2d(12, 8, 3, 16),
        "up": ModulatedConv2d(12, 8, 3, 16, upsample=True),
        "rgb": ModulatedConv2d(12, 3, 1, 16, demodulate=False),
    }[kind].double()
    x = torch.randn(3, 12, 8, 8, dtype=torch.double, requires_grad=True)
    style = torch.randn(3, 12, dtype=torch.double, requires_grad=True)
    results = []
    for call in (conv.forward, conv.plain):
        y = call(x, style)
        gradients = torch.autograd.grad((y * torch.arange(y.numel()).view_as(y).sin()).sum(), [x, style, conv.weight])
        results.append((y, *gradients))
    for folded, plain in zip(*results, strict=True):
        torch.testing.assert_close(folded, plain, rtol=1e-9, atol=1e-9)
    single = [call(x.float(), style.float()) for call in (conv.float().forward, conv.plain)]
    torch.testing.assert_close(*single, rtol=1e-4, atol=1e-5)


def test_the_configuration_rejects_invalid_sizes() -> None:
    for wrong in ({"resolution": 48}, {"resolution": 4}, {"resolution": 2048}, {"width": 0}, {"mapping_layers": 0}):
        with pytest.raises(ValueError, match=r"resolution must|width and mapping_layers must|channels must"):
            GeneratorConfig(**wrong)
    ffhq = GeneratorConfig()
    assert (ffhq.layers, len(ffhq.style_channels), sum(ffhq.style_channels)) == (18, 26, 9088)
    assert upstream_channels(1)[1024] == 16


@pytest.mark.parametrize("config", [TINY, GeneratorConfig.mini(), GeneratorConfig(resolution=256)])
def test_the_configuration_is_inferred_from_a_state_dict(config: GeneratorConfig) -> None:
    with torch.device("meta"):
        state = Generator(config).state_dict()
    read = GeneratorConfig.of_state(state)
    assert (read.resolution, read.width, read.mapping_layers) == (
        config.resolution,
        config.width,
        config.mapping_layers,
    )
    assert read.style_channels == config.style_channels
    with pytest.raises(TrainingError, match="generator"):
        GeneratorConfig.of_state({"conv1.weight": torch.zeros(1)})


def test_the_stored_noise_is_used_unless_noise_is_given() -> None:
    torch.manual_seed(0)
    generator = Generator(TINY)
    with torch.no_grad():
        for conv in (generator.conv1, *generator.convs):
            conv.noise.weight.fill_(0.5)
        w_plus = generator.broadcast(generator.mapping(torch.randn(2, 32)))
        first, again = generator(w_plus), generator(w_plus)
        drawn = [generator(w_plus, generator.random_noises(2, torch.Generator().manual_seed(3))) for _ in range(2)]
    assert w_plus.shape == (2, TINY.layers, 32)
    assert torch.equal(first, again)
    assert torch.equal(*drawn)
    assert not torch.allclose(first, drawn[0])


def test_autocast_keeps_styles_in_float32() -> None:
    torch.manual_seed(0)
    generator = Generator(TINY).eval()
    z = torch.randn(2, 32)
    with torch.no_grad():
        exact = generator(generator.broadcast(generator.mapping(z)))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            w = generator.mapping(z)
            styles = generator.styles(generator.broadcast(w))
            rough = generator.synthesis(styles)
    assert {t.dtype for t in (w, *styles, rough)} == {torch.float32}
    assert (rough - exact).abs().mean() < 0.02 * exact.std()
