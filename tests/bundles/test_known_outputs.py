"""Known outputs: networks that compute correct outputs pass, and those of a faulty runtime are reported."""

import json

import numpy as np
import pytest

from styleid.bundles import known_outputs
from styleid.bundles.bundle import Bundle
from styleid.bundles.example_inputs import ROWS
from styleid.bundles.known_outputs import BATCHES, KNOWN, difference, digest, scale_of, wrong_outputs
from styleid.bundles.registry import built_in
from tests.tiny_bundle import tiny_bundle

pytestmark = pytest.mark.versions

NETWORKS = [(name, role) for name, folder in built_in().items() for role in Bundle(folder).spec.networks]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Bundle:
    """Somebody's own bundle: nothing is known of its outputs."""
    return Bundle(tiny_bundle(tmp_path_factory, "copy"))


class Faulty(Bundle):
    """A bundle whose runtime spoils the outputs of batches of some lengths."""

    def __init__(self, bundle: Bundle, spoils) -> None:
        super().__init__(bundle.folder)
        self.spoils = spoils

    def run(self, role, **inputs):
        return [self.spoils(np.array(output)) for output in super().run(role, **inputs)]


@pytest.mark.parametrize(("name", "role"), NETWORKS)
def test_built_in_networks_give_what_is_known_of_them(name: str, role: str) -> None:
    bundle = Bundle(built_in()[name])
    known = json.loads(KNOWN.read_text())
    sha256 = bundle.spec.networks[role].sha256
    assert sha256 in known, "run tools/known_outputs.py: this network is new"
    assert len(known[sha256]) == len(bundle.session(role).get_outputs())
    assert wrong_outputs(bundle, role) == []


def test_nothing_is_kept_of_networks_that_are_gone() -> None:
    current = {entry.sha256 for folder in built_in().values() for entry in Bundle(folder).spec.networks.values()}
    assert set(json.loads(KNOWN.read_text())) == current


def test_own_bundles_are_checked_too(tiny: Bundle) -> None:
    assert {role: wrong_outputs(tiny, role) for role in tiny.spec.networks} == {role: [] for role in tiny.spec.networks}


def _turned(output: np.ndarray, rows: int) -> np.ndarray:
    if len(output) == rows:
        output[:] = output[..., ::-1].copy()
    return output


@pytest.mark.parametrize("rows", BATCHES)
def test_a_batch_that_goes_wrong_is_named(tiny: Bundle, rows: int) -> None:
    (found,) = wrong_outputs(Faulty(tiny, lambda output: _turned(output, rows)), "generator")
    assert found.startswith(f"outputs of generator differ for {rows} faces at once and for each alone by ")


def test_one_wrong_number_in_one_row_counts(tiny: Bundle) -> None:
    def spoil(output: np.ndarray) -> np.ndarray:
        if len(output) == ROWS:
            output[3].flat[5] = np.nan
        return output

    (found,) = wrong_outputs(Faulty(tiny, spoil), "generator")
    assert " by inf standard deviations" in found


def test_optimisations_that_change_every_batch_alike_are_named(tiny: Bundle) -> None:
    (found,) = wrong_outputs(Faulty(tiny, lambda output: -output), "generator")
    assert found.startswith("outputs of generator differ with and without ONNX Runtime's optimisations by ")


def test_what_every_way_of_running_gets_wrong_is_known(monkeypatch) -> None:
    bundle = Bundle(built_in()["aam128"])
    known = json.loads(KNOWN.read_text())
    for record in known[bundle.spec.networks["mapping"].sha256]:
        record["digest"][ROWS - 1][0] += 2 * record["scale"]
    monkeypatch.setattr(known_outputs, "KNOWN", _File(json.dumps(known)))
    known_outputs.known_digests.cache_clear()
    try:
        (found,) = wrong_outputs(bundle, "mapping")
    finally:
        known_outputs.known_digests.cache_clear()
    assert found.startswith("outputs of mapping differ from those of the reference evaluator by ")


class _File:
    def __init__(self, text: str) -> None:
        self.text = text

    def read_text(self, encoding: str) -> str:
        return self.text


def test_a_runtime_that_refuses_a_network_is_named_in_one_line(tiny: Bundle) -> None:
    def refuse(output: np.ndarray) -> np.ndarray:
        raise RuntimeError("GEMM: Dimension mismatch\nand much more")

    assert wrong_outputs(Faulty(tiny, refuse), "mapping") == ["mapping cannot be run: GEMM: Dimension mismatch"]


@pytest.mark.parametrize("shape", [(7, 59, 8), (7, 3, 64, 64), (7, 2000)])
def test_digests_differ_by_as_much_as_what_they_are_of(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(1)
    output = random.standard_normal(shape).astype(np.float32)
    assert digest(output).shape == (7, 24)
    assert np.array_equal(digest(output), digest(output.copy()))
    everywhere, once = output + 0.3 * random.standard_normal(shape).astype(np.float32), output.copy()
    once[4].flat[11] += 20
    for other in (everywhere, once):
        apart = difference(digest(other), digest(output), scale_of(output))
        assert apart == pytest.approx(difference(other, output), rel=0.5)


def test_a_constant_output_can_be_compared() -> None:
    output = np.full((7, 4), 3.0, np.float32)
    assert difference(output, output) == 0
    assert difference(output + 1, output) > 1
    assert difference(np.zeros((7, 4), np.float32), np.zeros((7, 4), np.float32)) == 0
    assert difference(output[:, :2], output) == float("inf")
