"""Settings for the trainings' tests."""

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Keep torch on one thread: these networks are tiny, and a second one waits for whatever else the machine does."""
    torch.set_num_threads(1)
