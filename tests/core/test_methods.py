"""Which methods a bundle supports, and what its swap steps take from a target."""

import dataclasses

import numpy as np
import pytest

from styleid import AnonymizeOptions, Bundle
from styleid.bundles.rows import Row
from styleid.bundles.steps import PixelStyle, Preset, SwapStep
from styleid.core.methods import choose_method
from styleid.core.privacy import privacy_level
from styleid.errors import OptionError

PRESETS = {
    "inner": Preset(pixel=PixelStyle(((0,),), "inner", 64)),
    "shape": Preset(units="levels:shape"),
}


ROWS = (Row("look", 0, 1), Row("shape", 1, 3), Row("skin", 4, 2))


class Swapping:
    """A bundle with a swapper, which takes an eighth of every number from the target."""

    def __init__(self, spec) -> None:
        self.spec = spec

    def has(self, role: str) -> bool:
        return role == "swapper"

    def weigh(self, own: np.ndarray, targets: np.ndarray) -> np.ndarray:
        assert own.shape == targets.shape
        return np.full_like(own, 0.125)


@pytest.fixture
def bundle(appearance_model):
    """A bundle of format 1, whose rows have names and one width."""
    return appearance_model


@pytest.fixture
def level(bundle):
    return privacy_level("standard", bundle.spec.thresholds)


@pytest.fixture
def preset_bundle(bundle, monkeypatch) -> Bundle:
    """The built-in bundle, as if its description had presets."""
    monkeypatch.setattr(bundle, "spec", dataclasses.replace(bundle.spec, presets=PRESETS))
    return bundle


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"preset": "paper"}, r"^preset: the bundle 'aam128' has no preset 'paper'; its presets: inner, shape\."),
        ({"method": "pixel", "units": "layers:1"}, "^units: only `method=latent` uses it, not pixel"),
        ({"region": "inner"}, "^region: only `method=pixel` uses it, not latent"),
    ],
)
def test_what_a_bundle_cannot_do_is_refused(preset_bundle, level, options, says):
    with pytest.raises(OptionError, match=says):
        choose_method(AnonymizeOptions(**options), preset_bundle, level)


@pytest.mark.parametrize(("method", "network"), [("swapper", "swapper"), ("pixel", "mask_encoder")])
def test_a_method_needs_its_network(bundle, level, monkeypatch, method, network):
    networks = {role: file for role, file in bundle.spec.networks.items() if role != network}
    monkeypatch.setattr(bundle, "spec", dataclasses.replace(bundle.spec, networks=networks))
    with pytest.raises(OptionError, match=f"^method: {method} needs {network}.onnx, which the bundle 'aam128' does"):
        choose_method(AnonymizeOptions(method=method), bundle, level)


def test_a_bundle_without_presets_says_so(bundle, level, monkeypatch):
    monkeypatch.setattr(bundle, "spec", dataclasses.replace(bundle.spec, presets={}))
    with pytest.raises(OptionError, match=r"no preset 'paper'; its presets: none\."):
        choose_method(AnonymizeOptions(preset="paper"), bundle, level)


def test_pixel_needs_a_bundle_that_says_how(bundle, level, monkeypatch):
    monkeypatch.setattr(bundle, "spec", dataclasses.replace(bundle.spec, pixel=None, presets={}))
    with pytest.raises(OptionError, match="'aam128' has no settings for pixel"):
        choose_method(AnonymizeOptions(method="pixel"), bundle, level)


@pytest.mark.parametrize(
    ("options", "style"),
    [
        ({"preset": "inner"}, PRESETS["inner"].pixel),
        ({"preset": "inner", "region": "full"}, PixelStyle(((0,),), "full", 64)),
    ],
)
def test_pixel_works_as_the_preset_and_the_region_say(preset_bundle, level, options, style):
    method = choose_method(AnonymizeOptions(method="pixel", strength=0.5, **options), preset_bundle, level)
    assert (method.name, method.pixel, method.steps) == ("pixel", style, (SwapStep((0,), 0.5),))


def test_less_strength_weakens_every_step(bundle, level):
    steps = choose_method(AnonymizeOptions(strength=0.5), bundle, level).steps
    assert steps == tuple(SwapStep(s.rows, s.strength * 0.5, s.channels, s.cover) for s in bundle.spec.swaps)


@pytest.mark.parametrize(("options", "strength"), [({"strength": 0.5}, 0.25), ({"method": "swapper"}, 1.0)])
def test_steps_keep_what_they_say_of_light_and_expression(bundle, level, options, strength):
    own = SwapStep((1,), 0.5, light_cells=2, expression_noise=0.1, leak=0.0, passes={1e-3: 1.0})
    swapping = Swapping(dataclasses.replace(bundle.spec, rows=ROWS, swaps=(own,)))
    step = choose_method(AnonymizeOptions(**options), swapping, level).steps[-1]
    assert step == dataclasses.replace(own, strength=strength, leak=None, passes={})


def test_the_swapper_adds_the_noise_of_a_step(bundle, level):
    steps = (SwapStep((1,)), SwapStep((1,), expression_noise=0.5))
    spec = dataclasses.replace(bundle.spec, rows=ROWS, swaps=steps, levels={"expression": (2, 2)})
    method = choose_method(AnonymizeOptions(method="swapper"), Swapping(spec), level)
    own, targets = np.zeros((2, 6), np.float32), np.ones((2, 6), np.float32)
    swapped = method.swap(Swapping(spec), own, targets, [1, 2])
    assert swapped[0].tolist() == [0.125, 1, 1, 1, 0.125, 0.125]
    assert np.array_equal(swapped[1, :4], swapped[0, :4])
    assert (swapped[1, 4:] != 0.125).all()


@pytest.mark.parametrize(
    ("options", "step"),
    [
        ({"units": "layers:3-5"}, SwapStep((3, 4, 5))),
        ({"units": "layers:3-5", "strength": 0.25}, SwapStep((3, 4, 5), 0.25)),
        ({"preset": "shape"}, SwapStep(tuple(range(5, 11)))),
        ({"units": "layers:2", "preset": "shape"}, SwapStep((2,))),
    ],
)
def test_units_are_the_users_then_the_presets(preset_bundle, level, options, step):
    assert choose_method(AnonymizeOptions(**options), preset_bundle, level).steps == (step,)


def test_units_can_be_the_best_of_a_ranking(bundle, level, monkeypatch):
    width = bundle.spec.rows[0].width
    scores = np.zeros((bundle.spec.layers, width))
    scores[2, 1], scores[0, 3] = 2, 1
    monkeypatch.setattr(bundle, "rankings", lambda: {"channels": scores})
    method = choose_method(AnonymizeOptions(units="channels:2", strength=0.5), bundle, level)
    assert method.steps == (SwapStep((), 0.5, (3, 2 * width + 1)),)


def test_latent_takes_each_faces_own_step(bundle, level, monkeypatch):
    method = dataclasses.replace(
        choose_method(AnonymizeOptions(), bundle, level), steps=(SwapStep((0,)), SwapStep((0, 1), 0.5))
    )
    monkeypatch.setattr(bundle, "spec", dataclasses.replace(bundle.spec, rows=ROWS))
    own, targets = np.zeros((2, 6), np.float32), np.ones((2, 6), np.float32)
    swapped = method.swap(bundle, own, targets, [0, 1])
    assert swapped.tolist() == [[1, 0, 0, 0, 0, 0], [0.5, 0.5, 0.5, 0.5, 0, 0]]


def test_the_swapper_weighs_and_later_steps_take_whole_rows(bundle, level):
    spec = dataclasses.replace(bundle.spec, rows=ROWS, swaps=(SwapStep((1,), cover=0.06), SwapStep((0, 1))))
    swapping = Swapping(spec)
    method = choose_method(AnonymizeOptions(method="swapper", strength=0.5), swapping, level)
    assert method.steps == (SwapStep((), 0.5), SwapStep((1,), 0.5, cover=0.06), SwapStep((0, 1), 0.5))
    own, targets = np.zeros((3, 6), np.float32), np.ones((3, 6), np.float32)
    swapped = method.swap(swapping, own, targets, [0, 1, 2])
    assert swapped.dtype == np.float32
    assert swapped[:, [0, 1, 5]].tolist() == [[0.0625] * 3, [0.0625, 0.5, 0.0625], [0.5, 0.5, 0.0625]]


@pytest.mark.parametrize("method", ["latent", "pixel"])
def test_labels_serve_the_method_pixel_alone(bundle, level, method):
    chosen = choose_method(AnonymizeOptions(method=method), bundle, level)
    logits = np.zeros((2, 19, 8, 8), np.float32)
    logits[0, 1, :4] = 1
    logits[1, 17] = 1
    first, second = chosen.labels(logits, 16)
    crop = np.zeros((16, 16, 3), np.uint8)
    if method == "latent":
        assert (first, second) == (None, None)
        assert chosen.matched(crop, np.zeros((16, 16), np.uint8)) is None
        return
    assert first.shape == (16, 16)
    assert first[0, 0] == 1
    assert first[15, 15] == 0
    assert (second == 17).all()
    assert chosen.matched(crop, None) is None
    assert chosen.matched(crop, first) is not None
