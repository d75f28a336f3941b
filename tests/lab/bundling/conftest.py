"""What the tests of bundles' builders share."""

import pytest

from styleid import Bundle


@pytest.fixture(scope="session")
def bundle(appearance_model: Bundle) -> Bundle:
    """The bundle of the appearance model, whose networks the builders go on from."""
    return appearance_model
