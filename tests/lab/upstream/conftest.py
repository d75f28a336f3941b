"""A bundle built once from small checkpoints in the release's layout."""

from pathlib import Path

import numpy as np
import pytest

from styleid.bundles.build_options import BuildOptions
from styleid.bundles.registry import APPEARANCE_MODEL, built_in
from styleid.lab.upstream.bundle import build_ffhq_bundle
from tests.lab.upstream.checkpoints import ROWS, WIDTH, write_checkpoints


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_checkpoints(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="session")
def built(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete bundle of small networks."""
    if APPEARANCE_MODEL not in built_in():
        pytest.skip("no bundle is built in, so none can stand in")
    folder = tmp_path_factory.mktemp("built")
    np.save(folder / "channels_rank.npy", np.arange(ROWS * WIDTH).reshape(ROWS, WIDTH) / 7)
    out = folder / "small"
    options = BuildOptions(out=out, rankings=(folder / "channels_rank.npy",), **checkpoints)
    return build_ffhq_bundle(options, lambda line: None)
