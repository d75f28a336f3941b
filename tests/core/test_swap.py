import numpy as np
import pytest

from styleid.bundles.spec import SwapStep
from styleid.core.swap import parse_units, swap_units
from styleid.core.targets import FreshTargets
from styleid.errors import OptionError


def test_only_the_named_rows_move():
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(2, 3, 6, 4)).astype(np.float32)
    out = swap_units(source, target, SwapStep((1, 4), 0.25))
    assert np.array_equal(out[:, [0, 2, 3, 5]], source[:, [0, 2, 3, 5]])
    assert np.allclose(out[:, [1, 4]], 0.75 * source[:, [1, 4]] + 0.25 * target[:, [1, 4]], atol=1e-6)


def test_single_numbers_move_beside_whole_rows():
    source, target = np.zeros((2, 3, 4), np.float32), np.ones((2, 3, 4), np.float32)
    out = swap_units(source, target, SwapStep((0,), 0.25, channels=(5, 11)))
    expected = np.zeros((3, 4))
    expected[0] = expected[1, 1] = expected[2, 3] = 0.25
    assert out.tolist() == [expected.tolist()] * 2
    assert not source.any()


def test_full_strength_leaves_nothing_of_the_source():
    source, target = np.float32([[[1e6], [5]]]), np.float32([[[1e-3], [7]]])
    assert swap_units(source, target, SwapStep((0, 1))).tolist() == target.tolist()


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
    with pytest.raises(OptionError, match="--units"):
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
