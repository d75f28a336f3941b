"""Packs for the context generator: building, sampling weights, smaller packs."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from styleid.errors import TrainingError
from styleid.faces.geometry import five_points, inter_ocular
from styleid.lab.data.context_pack import CONTEXT_SOURCES, ContextPack, ContextPackOptions, build_context_pack
from styleid.lab.data.pack import ARCHIVES, SOURCES, read_labels
from styleid.pixel.guides import Part
from tests.lab.context import synthetic_context_pack


def test_numbers_of_archives_do_not_change() -> None:
    assert ARCHIVES[: len(SOURCES)] == SOURCES
    assert "portraits" not in CONTEXT_SOURCES
    assert read_labels("female_asian_0", "beauty")[1:] == (1, 2)
    assert read_labels("male_white_0", "beauty")[1:] == (0, 0)


def test_round_trip(tmp_path: Path) -> None:
    pack = synthetic_context_pack(12)
    pack.save(tmp_path / "pack.npz")
    again = ContextPack.load(tmp_path / "pack.npz")
    for field in fields(ContextPack):
        if field.name != "template":
            wanted, given = getattr(pack, field.name), getattr(again, field.name)
            assert np.array_equal(wanted, given, equal_nan=wanted.dtype == np.float32), field.name
    assert again.template.size_px == pack.template.size_px


def test_a_pack_without_network_outputs_is_refused(tmp_path: Path) -> None:
    from tests.lab.synthetic import synthetic_pack, write_pack

    write_pack(synthetic_pack(4), tmp_path / "plain.npz")
    with pytest.raises(TrainingError, match=r"plain\.npz is not a data pack"):
        ContextPack.load(tmp_path / "plain.npz")


def test_rare_faces_are_drawn_more_often() -> None:
    pack = synthetic_context_pack(12)
    pack.luma[:], pack.landmarks68[:] = 120, pack.landmarks68[0]
    pack.landmarks68[:, 65:68] = pack.landmarks68[:, 63:60:-1]  # lips that touch
    even = pack.odds()
    pack.luma[2] = 60
    pack.landmarks68[4, 30, 0] += 0.3 * (pack.landmarks68[4, 14, 0] - pack.landmarks68[4, 2, 0])
    pack.landmarks68[6, 65:68, 1] += 0.3 * inter_ocular(pack.landmarks68[6])
    changed = pack.odds() / even
    assert changed[[2, 4, 6]].tolist() == pytest.approx([2.0, 2.5, 1.7])
    assert np.delete(changed, [2, 4, 6]).tolist() == [1.0] * 9


def test_labels_have_priority_over_estimates() -> None:
    pack = synthetic_context_pack(28)
    looks = pack.known_looks()
    labelled = pack.sex >= 0
    assert np.array_equal(looks[labelled, 1], pack.sex[labelled])
    assert np.array_equal(looks[labelled, 2:].argmax(1), pack.group[labelled])
    assert np.array_equal(looks[~labelled, 1:], pack.looks[~labelled, 1:].astype(np.float32))
    aged = np.isfinite(pack.age)
    assert np.array_equal(looks[aged, 0], pack.age[aged])
    assert 0 < aged.sum() < len(pack)


@pytest.mark.parametrize("share", [0.4, 0.8])
def test_smaller_packs_have_the_requested_size(share: float, tmp_path: Path) -> None:
    pack = synthetic_context_pack(40)
    whole = len(pack.webp) + len(pack.labels_png) + 40 * (2 * 128 + 700)
    small = pack.fitted(int(share * whole), quality=95)
    assert 0 < len(small) < len(pack)
    small.save(tmp_path / "small.npz")
    assert (tmp_path / "small.npz").stat().st_size < 1.15 * share * whole
    names = list(pack.names)
    rows = [names.index(name) for name in small.names]
    assert rows == sorted(rows)
    assert np.array_equal(small.embedding, pack.embedding[rows])
    assert np.abs(small.crops().astype(int) - pack.crops(rows)).mean() < 6
    assert all(np.array_equal(small.labels(i), pack.labels(row)) for i, row in enumerate(rows))


@pytest.mark.shared
def test_build_from_the_archives(shared: Path, tmp_path: Path) -> None:
    data = shared / "data"
    if not all((data / f"{source}.tar").is_file() for source in CONTEXT_SOURCES):
        pytest.skip("the shared data folder holds no source archives")
    said = list[str]()
    counts = build_context_pack(
        data, tmp_path / "pack.npz", data / "teachers", ContextPackOptions(faces=3), say=said.append
    )
    pack = ContextPack.load(tmp_path / "pack.npz")
    assert len(pack) == sum(counts[source] for source in CONTEXT_SOURCES) >= 3 * len(CONTEXT_SOURCES) - 4
    assert len(said) == len(CONTEXT_SOURCES)
    assert sorted({ARCHIVES[k] for k in pack.source}) == sorted(CONTEXT_SOURCES)
    assert pack.template.size_px == 160
    assert pack.second.shape == pack.embedding.shape == (len(pack), 128)
    lengths = np.linalg.norm(np.stack([pack.embedding, pack.second]).astype(float), axis=-1)
    assert np.abs(lengths - 1).max() < 0.01
    apart = np.linalg.norm(five_points(pack.landmarks68) - pack.landmarks5, axis=-1).mean(1)
    assert (apart < 0.25 * inter_ocular(pack.landmarks68)).all()
    for i in range(len(pack)):
        labels = pack.labels(i)
        assert labels is not None
        assert labels.shape == (80, 80)
        x, y = (pack.landmarks68[i, 27:31].mean(0) / 2).round().astype(int)
        assert labels[y, x] in (Part.FACE, Part.GLASSES)


@pytest.mark.shared
def test_missing_archives_are_named(tmp_path: Path, shared: Path) -> None:
    with pytest.raises(TrainingError, match=r"generated\.tar is missing.*portraits320\.tar"):
        build_context_pack(tmp_path, tmp_path / "pack.npz")
