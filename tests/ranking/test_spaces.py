"""Spaces of bundles whose rows differ in width."""

import numpy as np
import pytest

from styleid.bundles.bundle import Bundle
from styleid.ranking import spaces
from styleid.ranking.run import RankOptions, rank_units
from styleid.ranking.spaces import WPlusSpace
from tests.bundles.tiny_format2 import SIZE, WIDTHS, tiny_format2


@pytest.fixture
def tiny(tmp_path) -> Bundle:
    return Bundle(tiny_format2(tmp_path / "tiny"))


def test_rows_of_w_plus_are_those_of_the_bundle(tiny, appearance_model):
    space = WPlusSpace(tiny)
    assert list(space.sizes) == list(WIDTHS.values())
    assert list(space.ranked) == list(range(len(WIDTHS)))
    assert space.flat
    assert not WPlusSpace(appearance_model).flat
    wplus = np.zeros((2, SIZE), np.float32)
    assert np.array_equal(space.codes(wplus), wplus)


def test_tables_of_uneven_rows_are_flat_and_each_row_is_ranked(tiny, monkeypatch):
    def drawn(one: Bundle, wplus: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        size_px = one.spec.crop.size_px
        colour = (wplus[:, SIZE - 4 : SIZE - 1] + 1) * 127.5
        ramp = np.linspace(0, 1, size_px, dtype=np.float32)
        images = np.clip(colour[:, None, None] * ramp[:, None, None], 0, 255)
        return np.broadcast_to(images, (len(wplus), size_px, size_px, 3)).copy(), one.geometry(wplus)

    monkeypatch.setattr(spaces, "render", drawn)
    monkeypatch.setattr("styleid.ranking.subjects.render", drawn)
    start = tiny.neutral().landmarks.reshape(1, -1)
    monkeypatch.setattr(tiny, "sample", _around(start, tiny.sample))
    ranking = rank_units(tiny, RankOptions(units="channels,groups:4,layers", pairs=2, people=10))
    arrays = ranking.arrays()
    assert arrays["channels"].shape == (SIZE,)
    assert arrays["groups@leak"].shape == (SIZE // 4,)
    assert arrays["layers"].shape == (len(WIDTHS), 1)
    fine, medium = arrays["layers@d_id"][-1, 0], arrays["layers@d_id"][-2, 0]
    assert fine > 0
    assert medium == pytest.approx(0, abs=1e-6)


def _around(start, sample):
    """Sample people whose landmarks are a face's."""

    def sampled(z, attributes, source):
        wplus = sample(z, attributes, source)
        wplus[:, : start.shape[1]] = start
        return wplus

    return sampled
