"""Fixtures for the tests of bundle building."""

import pytest

from styleid import Bundle


@pytest.fixture(scope="session")
def bundle(appearance_model: Bundle) -> Bundle:
    """The appearance model's bundle, whose networks are restored and copied."""
    return appearance_model
