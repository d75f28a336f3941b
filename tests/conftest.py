"""Fixtures that all tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from jaxtyping import config, install_import_hook

import tests.typechecker  # noqa: F401  (named below)
from tests.browser import browser  # noqa: F401  (a fixture)

# Every call of a function in these rooms is checked against the shapes and types of its signature.
install_import_hook(
    [
        "styleid.types",
        "styleid.faces",
        "styleid.bundles",
        "styleid.pixel",
        "styleid.core",
        "styleid.people",
        "styleid.ranking",
        "styleid.video",
    ],
    "tests.typechecker.check",
)

settings.register_profile("ci", derandomize=True)
if "CI" in os.environ:  # the same examples in every run there; elsewhere new ones are tried each time
    settings.load_profile("ci")


@pytest.fixture
def unchecked_types() -> Iterator[None]:
    """Let a test pass values of a wrong type, to see the library's own error."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The project's shared data folder; a test that asks for it also wears the marker `shared`."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("STYLEID_SHARED", beside))
    if not folder.is_dir():
        pytest.skip("the shared data folder is not here: set STYLEID_SHARED to it")
    return folder


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """The public-domain portrait that scikit-image carries, uint8 (512, 512, 3)."""
    from skimage import data

    return data.astronaut()


@pytest.fixture(scope="session")
def bundle():
    """The built-in default bundle."""
    from styleid import load_bundle

    return load_bundle()


@pytest.fixture(scope="session")
def appearance_model():
    """The built-in bundle of the appearance model, which is of format 1."""
    from styleid import load_bundle
    from styleid.bundles.registry import APPEARANCE_MODEL

    return load_bundle(APPEARANCE_MODEL)
