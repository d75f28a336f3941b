"""What several tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The project's shared data folder; a test that asks for it also wears the marker `shared`."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("STYLEID_SHARED", beside))
    if not folder.is_dir():
        pytest.skip("the shared data folder is not here: set STYLEID_SHARED to it")
    return folder
