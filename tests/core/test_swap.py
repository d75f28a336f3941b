import dataclasses

import numpy as np
import pytest

from styleid.bundles.rows import Row
from styleid.bundles.steps import SwapStep
from styleid.core.swap import parse_units, swap_units
from styleid.core.targets import FreshTargets
from styleid.errors import OptionError


@pytest.fixture
def bundle(appearance_model):
    """A bundle of format 1, whose rows have names and one width."""
    return appearance_model


@pytest.fixture
def spec(bundle):
    """Rows of 1, 3, 2 and 4 numbers."""
    widths = (1, 3, 2, 4)
    firsts = np.cumsum((0, *widths[:-1])).tolist()
    rows = tuple(Row(f"row {k}", *place) for k, place in enumerate(zip(firsts, widths, strict=True)))
    return dataclasses.replace(bundle.spec, rows=rows)


def test_only_the_named_rows_move(spec):
    source, target = np.random.default_rng(0).normal(size=(2, 3, 10)).astype(np.float32)
    out = swap_units(source, target, SwapStep((1, 3), 0.25), spec)
    moved, kept = [1, 2, 3, 6, 7, 8, 9], [0, 4, 5]
    assert np.array_equal(out[:, kept], source[:, kept])
    assert np.allclose(out[:, moved], 0.75 * source[:, moved] + 0.25 * target[:, moved], atol=1e-6)


def test_single_numbers_move_beside_whole_rows(spec):
    source, target = np.zeros((2, 10), np.float32), np.ones((2, 10), np.float32)
    out = swap_units(source, target, SwapStep((1,), 0.25, channels=(0, 9)), spec)
    assert out.tolist() == [[0.25, 0.25, 0.25, 0.25, 0, 0, 0, 0, 0, 0.25]] * 2
    assert not source.any()


def test_noise_moves_the_expression_alone_and_depends_on_the_target(spec):
    spec = dataclasses.replace(spec, levels={"look": (0, 1), "expression": (2, 2), "skin": (3, 3)})
    source, target = np.zeros((3, 10), np.float32), np.ones((3, 10), np.float32)
    target[2] = 2
    step = SwapStep((3,), 1.0, expression_noise=0.25)
    plain, out = swap_units(source, target, SwapStep((3,)), spec), swap_units(source, target, step, spec)
    assert np.array_equal(np.delete(out, [4, 5], 1), np.delete(plain, [4, 5], 1))
    assert np.array_equal(out[0], out[1])
    assert not np.array_equal(out[0, 4:6], out[2, 4:6])
    assert out.dtype == np.float32
    assert not source.any()
    many = np.random.default_rng(0).normal(size=(2000, 10)).astype(np.float32)
    moved = swap_units(np.zeros_like(many), many, step, spec)[:, 4:6]
    assert moved.mean() == pytest.approx(0, abs=0.02)
    assert moved.std() == pytest.approx(0.25, abs=0.01)


def test_full_strength_leaves_nothing_of_the_source(spec):
    source, target = np.full((1, 10), 1e6, np.float32), np.full((1, 10), 1e-3, np.float32)
    assert swap_units(source, target, SwapStep((0, 1, 2, 3)), spec).tolist() == target.tolist()


@pytest.mark.parametrize(
    ("text", "rows"),
    [("layers:3", (3,)), ("layers:0-2,5", (0, 1, 2, 5)), ("levels:pose", (0,)), ("levels:pose,light", (0, 3))],
)
def test_units_name_rows(bundle, text, rows):
    assert parse_units(text, bundle.spec) == rows


@pytest.mark.parametrize(
    "text", ["", "layers:", "layers:900", "layers:a", "levels:", "levels:soul", "channels:x", "3-5"]
)
def test_unknown_units_are_refused_with_what_exists(bundle, text):
    with pytest.raises(OptionError, match=r"^units: "):
        parse_units(text, bundle.spec)


def test_seeded_targets_repeat_and_differ_by_photo_face_try_and_seed():
    draw = FreshTargets(7)
    first = draw.z("a.jpg", 0, 0, 16)
    assert np.array_equal(first, FreshTargets(7).z("a.jpg", 0, 0, 16))
    others = [draw.z(*of, 16) for of in (("b.jpg", 0, 0), ("a.jpg", 1, 0), ("a.jpg", 0, 1))]
    others.append(FreshTargets(8).z("a.jpg", 0, 0, 16))
    assert all(not np.allclose(first, other) for other in others)


def test_unseeded_targets_never_repeat():
    draw = FreshTargets()
    assert not np.allclose(draw.z("a", 0, 0, 16), draw.z("a", 0, 0, 16))
