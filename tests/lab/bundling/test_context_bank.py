"""The bank of a context bundle: whom it holds, and whom the mapping takes of it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from styleid.lab.bundling.context_bank import chosen_people, unlike
from styleid.lab.bundling.context_parts import Parts
from styleid.lab.networks.context_mapping import ContextMapping
from styleid.lab.tasks.context_options import BankOptions
from tests.lab.small_context import GEOMETRY, SIZE, pack, write_checkpoint

PACK = pack()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    checkpoint: Path = write_checkpoint(tmp_path_factory.mktemp("checkpoint"))
    return Parts.gather(PACK, checkpoint, "aam128", BankOptions(most_alike=0.9))


def test_targets_are_somebody_of_the_bank(parts: Parts) -> None:
    mapping, n = parts.mapping, 40
    draw = torch.Generator().manual_seed(4)
    looks = torch.tensor([[30.0, 0.9, 0.2, 0.5, 0.1, 0.1, 0.1]]).expand(n, -1)
    source = torch.cat([torch.zeros(n, GEOMETRY), torch.randn(n, SIZE - GEOMETRY, generator=draw)], 1)
    with torch.no_grad():
        targets = mapping(torch.randn(n, 64, generator=draw), looks, source)
        geometry, identity, appearance = mapping.people(mapping.people_q)
        whole = torch.cat([geometry, parts.styles(identity, appearance)], 1)
    apart = torch.cdist(targets, whole)
    assert apart.min(1).values.max() < 0.1
    chosen = apart.argmin(1)
    assert len(set(chosen.tolist())) > 1
    if (mapping.traits[:, 1] > 0.5).any():
        assert (mapping.traits[chosen, 1] > 0.5).all()
    assert parts.pack.is_target[parts.bank].all()


def test_targets_are_strangers_to_their_source(parts: Parts) -> None:
    """Whoever the source is, among people of one sex, age and group the one who is the source is not taken."""
    styles, people = parts.styles, 12
    mapping = ContextMapping(people, GEOMETRY, styles)
    draw = torch.Generator().manual_seed(6)
    identity = functional.normalize(torch.randn(people, 128, generator=draw))
    numbers = torch.cat([torch.randn(people, GEOMETRY, generator=draw), identity, torch.zeros(people, 4)], 1)
    mapping.people_scale.fill_(numbers.abs().max() / 127)
    mapping.people_q.copy_((numbers / mapping.people_scale).round().to(torch.int8))
    with torch.no_grad():
        sources = torch.cat([numbers[:, :GEOMETRY], styles(identity, None)], 1)
        w = styles(identity, None)[:, :16].double()
        told = torch.cat([w, torch.ones(people, 1)], 1)
        mapping.reading.copy_(torch.linalg.lstsq(told, identity.double()).solution.float())
        read = mapping.read_identity(sources)
        assert (read * identity).sum(1).min() > 0.95
        for seed in range(20):
            z = torch.randn(people, 64, generator=torch.Generator().manual_seed(seed))
            chosen = mapping.choose(z, torch.zeros(people, 7), read)
            assert (chosen != torch.arange(people)).all()


def test_nobody_in_the_bank_is_like_another() -> None:
    rows, embedding = chosen_people(PACK, BankOptions(most_alike=0.1))
    alike = embedding @ embedding.T
    assert 1 < len(rows) < PACK.is_target.sum()
    assert (alike - 2 * torch.eye(len(rows))).max() < 0.1
    near = np.array([[1, 0], [0.99, 0.14], [0, 1]], np.float32)
    assert unlike(near, 0.9).tolist() == [0, 2]
    assert unlike(near, 1.1).tolist() == [0, 1, 2]
    _, apart = chosen_people(PACK, BankOptions(most_alike=1.1, apart=1.0))
    assert apart.mean(0).norm() < embedding.mean(0).norm()
