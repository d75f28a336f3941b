"""Synthetic sightings, for tests of the choice of targets."""

import numpy as np

from styleid import Bundle
from styleid.people.targets import Sighting


def sighting(
    bundle: Bundle, person: int, *, age_years: float = 30.0, female: float = 0.9, photo: str = "a.png"
) -> Sighting:
    """Return a face of one of a few people, none of whom is like any other."""
    spec = bundle.spec
    embedding = np.eye(8, 128, dtype=np.float32)[person]
    attributes = np.float32([age_years, female, 1, 0, 0, 0, 0])
    wplus = np.zeros(spec.size, np.float32)
    return Sighting(photo, 0, f"{person} in {photo}".encode(), embedding, attributes, wplus, 100.0)
