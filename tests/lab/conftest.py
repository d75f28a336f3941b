"""Settings for the trainings' tests."""

from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Keep torch on one thread: these networks are tiny, and a second one waits for whatever else the machine does."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def teachers(shared: Path) -> Path:
    """The teachers' files of the shared data folder."""
    folder = shared / "data" / "teachers"
    if not (folder / "identity_mobilefacenet.safetensors").is_file():
        pytest.skip("the shared data folder holds no identity teacher")
    return folder
