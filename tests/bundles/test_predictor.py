"""The trait predictor: its file is read and checked, and it computes the linear model that its file describes."""

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from styleid.bundles.bundle import Bundle
from styleid.bundles.predictor import TRAITS, model_inputs, read_predictor
from styleid.bundles.registry import verify
from styleid.errors import BundleError
from tests.bundles.tiny_format2 import entry_of, tiny_format2

SIZE = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_format2(tmp_path_factory.mktemp("tiny"))


def archive(weights: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, weights=weights)
    return out.getvalue()


def test_the_model_takes_target_attributes_and_a_constant():
    weights = np.zeros((SIZE + TRAITS, TRAITS), np.float32)
    weights[1, 0], weights[SIZE, 0], weights[-1, 0] = 2, 0.5, 10  # the second number of W+, the age, the constant
    targets, attributes = np.float32([[0, 3, 0], [0, -1, 0]]), np.zeros((2, 7), np.float32)
    attributes[:, 0] = 40, 20
    assert model_inputs(targets, attributes).shape == (2, SIZE + TRAITS)
    traits = read_predictor(archive(weights), SIZE).predict(targets, attributes)
    assert traits[:, 0].tolist() == [2 * 3 + 20 + 10, -2 + 10 + 10]
    assert not traits[:, 1:].any()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no archive", "it cannot be read"),
        (archive(np.zeros((SIZE, TRAITS), np.float32)), "finite float32 (11, 8), not float32 (3, 8)"),
        (archive(np.zeros((SIZE + TRAITS, TRAITS))), "not float64 (11, 8)"),
        (archive(np.full((SIZE + TRAITS, TRAITS), np.nan, np.float32)), "its weights must be finite"),
    ],
)
def test_other_files_are_refused(content, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        read_predictor(content, SIZE)


def test_a_bundle_names_its_predictor(folder):
    assert Bundle(folder).predictor is None
    size = Bundle(folder).spec.size
    weights = np.random.default_rng(0).standard_normal((size + TRAITS, TRAITS)).astype(np.float32)
    (folder / "predictor.npz").write_bytes(archive(weights))
    assert [line for line in verify(folder) if "predictor.npz is not named" in line]
    record = json.loads((folder / "bundle.json").read_text()) | {"predictor": entry_of(folder / "predictor.npz")}
    (folder / "bundle.json").write_text(json.dumps(record))
    assert verify(folder) == []
    predictor = Bundle(folder).predictor
    assert predictor is not None
    assert np.array_equal(predictor.weights, weights)
    (folder / "predictor.npz").write_bytes(archive(weights[:1]))
    assert "predictor.npz has the SHA-256" in verify(folder)[0]
    with pytest.raises(BundleError, match=r"predictor\.npz"):
        _ = Bundle(folder).predictor
