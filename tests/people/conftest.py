"""Fixtures that the tests of people share."""

import numpy as np
import pytest

from styleid import AnonymizeOptions, Anonymizer


@pytest.fixture(scope="module")
def sources(astronaut, bundle):
    """The astronaut as she is, mirrored, and smaller."""
    anonymizer = Anonymizer(bundle, AnonymizeOptions())
    found = []
    for cut in (astronaut[:260, 96:352], astronaut[:260, 351:95:-1], astronaut[:260:2, 96:352:2]):
        image = np.ascontiguousarray(cut)
        found += anonymizer.analyse(image, anonymizer.find(image), np.array([0]))
    return found
