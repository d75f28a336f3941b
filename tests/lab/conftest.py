"""Settings and fixtures for the tests of training."""

from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Limit torch to one thread, because the networks are tiny and several threads would wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def teachers(shared: Path) -> Path:
    """The folder of the teachers' files."""
    folder = shared / "data" / "teachers"
    if not (folder / "identity_mobilefacenet.safetensors").is_file():
        pytest.skip("the shared data folder holds no identity teacher")
    return folder
