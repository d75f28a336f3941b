"""Measurements of a face are stored in few bytes and restored."""

from dataclasses import fields

import numpy as np
import pytest

from styleid import AnonymizeOptions, Anonymizer
from styleid.core.analysis import PACKED_LEVELS, pack_maps, unpack_maps


@pytest.mark.parametrize("name", ["bundle", "appearance_model"])
def test_a_face_that_was_measured_is_recalled_without_networks(request, astronaut, name, monkeypatch):
    bundle = request.getfixturevalue(name)
    anonymizer = Anonymizer(bundle, AnonymizeOptions(seed=1))
    faces = anonymizer.find(astronaut)
    (source,) = anonymizer.analyse(astronaut, faces, np.array([0]))
    maps = unpack_maps(pack_maps(source), len(source.crop))
    monkeypatch.setattr(type(bundle), "run", None)
    again = anonymizer.recall(astronaut, faces, 0, source.observation, maps, source.wplus)
    for field in fields(source):
        was, now = getattr(source, field.name), getattr(again, field.name)
        if field.name in ("bare", "glasses"):
            assert np.abs(was - now).max() <= 0.51 / PACKED_LEVELS
        elif field.name == "shown":  # where the face is surely bare
            assert np.mean(np.abs(np.subtract(was, now)) > 1e-6) < 2e-3
        elif isinstance(was, np.ndarray):
            assert np.array_equal(was, now), field.name
    assert (again.index, again.window, again.method) == (source.index, source.window, source.method)


def test_attributes_are_measured_only_where_they_are_asked_for(bundle, astronaut):
    anonymizer = Anonymizer(bundle, AnonymizeOptions(seed=1))
    faces = anonymizer.find(astronaut)
    with_them, without = (
        anonymizer.analyse(astronaut, faces, np.array([0]), attributes=wanted)[0].observation
        for wanted in (True, False)
    )
    assert np.isfinite(with_them.attributes).all() and np.isnan(without.attributes).all()
    assert np.array_equal(with_them.embedding, without.embedding)
