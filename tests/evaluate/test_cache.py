"""Cached outputs are found by content alone, and only the owner can read them."""

import numpy as np
import pytest

from styleid.errors import OptionError
from styleid.evaluate.cache import Cache


def test_the_same_content_is_computed_once_even_by_another_process(tmp_path):
    calls = []

    def make() -> np.ndarray:
        calls.append(1)
        return np.arange(3, dtype=np.float32)

    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    first = Cache(tmp_path / "cache")
    second = Cache(tmp_path / "cache")
    values = [cache.get("net", image, make) for cache in (first, first, second)]
    assert len(calls) == 1
    assert all(value.tolist() == [0, 1, 2] and value.dtype == np.float32 for value in values)
    assert (first.hits, first.misses, second.hits) == (1, 1, 1)


@pytest.mark.parametrize("change", ["network", "content", "shape", "type"])
def test_whatever_differs_is_computed_anew(tmp_path, change):
    cache, image = Cache(tmp_path / "cache"), np.zeros((2, 6), np.uint8)
    other = {"content": image + 1, "shape": image.reshape(3, 4), "type": image.view(np.int8)}.get(change, image)
    cache.get("net", image, lambda: np.zeros(1))
    assert cache.get("net-2" if change == "network" else "net", other, lambda: np.ones(1)).tolist() == [1]


def test_only_the_owner_may_read_it(tmp_path):
    Cache(tmp_path / "deep" / "cache").close()
    assert (tmp_path / "deep" / "cache").stat().st_mode & 0o077 == 0


def test_another_file_is_not_overwritten(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8" * 4096)
    with pytest.raises(OptionError, match="cannot be used as a cache"):
        Cache(tmp_path / "photo.jpg")
    assert (tmp_path / "photo.jpg").read_bytes() == b"\xff\xd8" * 4096
    with pytest.raises(OptionError):
        Cache(tmp_path)
