"""The target bank of a context bundle: which people it holds, and whom the mapping chooses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from styleid.lab.bundling.context_bank import chosen_people, identity_directions, keep_dissimilar
from styleid.lab.bundling.context_parts import Parts
from styleid.lab.networks.context_mapping import ContextMapping
from styleid.lab.networks.targets import round_traits
from styleid.lab.tasks.context_options import BankOptions
from tests.lab.small_context import GEOMETRY, SIZE, pack, write_checkpoint

PACK = pack()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    checkpoint: Path = write_checkpoint(tmp_path_factory.mktemp("checkpoint"))
    return Parts.gather(PACK, checkpoint, "aam128", BankOptions(most_alike=0.9, variety=0, truncation=1))


def test_targets_are_people_of_the_bank(parts: Parts) -> None:
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


def test_truncated_targets_are_nearer_to_the_mean_of_similar_people(parts: Parts) -> None:
    mapping, n = parts.mapping, 8
    draw = torch.Generator().manual_seed(5)
    looks = torch.tensor([[30.0, 0.9, 0.2, 0.5, 0.1, 0.1, 0.1]]).expand(n, -1)
    inputs = (torch.randn(n, 64, generator=draw), looks, torch.randn(n, SIZE, generator=draw))
    found = []
    with torch.no_grad():
        for truncation in (1.0, 0.5, 0.0):
            mapping.truncation.fill_(truncation)
            found.append(mapping(*inputs))
        mapping.truncation.fill_(1.0)
    whole, half, usual = found
    assert torch.equal(half[:, :GEOMETRY], whole[:, :GEOMETRY])
    assert torch.allclose(half - usual, 0.5 * (whole - usual), atol=1e-5)
    chosen = mapping.choose(inputs[0], round_traits(looks), mapping.read_identity(inputs[2]))
    assert torch.allclose(usual[:, GEOMETRY:], mapping.mean_styles(mapping.traits[chosen]), atol=1e-5)


def test_targets_are_strangers_to_their_source(parts: Parts) -> None:
    """If the source is a person of the bank, that person is not chosen, even if all have the same traits."""
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


def test_no_two_people_of_the_bank_are_similar() -> None:
    rows, embedding = chosen_people(PACK, BankOptions(most_alike=0.1))
    alike = embedding @ embedding.T
    assert 1 < len(rows) < PACK.is_target.sum()
    assert (alike - 2 * torch.eye(len(rows))).max() < 0.1
    near = np.array([[1, 0], [0.99, 0.14], [0, 1]], np.float32)
    assert keep_dissimilar(near, 0.9).tolist() == [0, 2]
    assert keep_dissimilar(near, 1.1).tolist() == [0, 1, 2]
    _, apart = chosen_people(PACK, BankOptions(most_alike=1.1, apart=1.0))
    assert apart.mean(0).norm() < embedding.mean(0).norm()


def test_variety_changes_identities_but_not_age_sex_and_group() -> None:
    ways, z = identity_directions(PACK), torch.randn(2000, 64, generator=torch.Generator().manual_seed(7))
    added = z @ ways
    assert abs(float(added.square().sum(1).mean()) - 1) < 0.1
    # nothing is added along the direction that predicts the sex by ridge regression
    looks, embedding = PACK.known_looks().astype(np.float64), PACK.embedding.astype(np.float64)
    centred, female = embedding - embedding.mean(0), looks[:, 1] - looks[:, 1].mean()
    strength = 1e-3 * len(centred) * centred.var(0).mean()
    telling = np.linalg.solve(centred.T @ centred + strength * np.eye(128), centred.T @ female)
    along = added.numpy() @ (telling / np.linalg.norm(telling))
    assert np.abs(along).max() < 0.01


def test_a_person_of_the_bank_gives_different_targets(parts: Parts) -> None:
    mapping = ContextMapping(1, GEOMETRY, parts.styles)
    mapping.load_state_dict({name: value[:1] if name in ("people_q", "traits") else value[:, :1] if name == "directions"
                             else value for name, value in parts.mapping.state_dict().items()})  # fmt: skip
    mapping.variety.copy_(identity_directions(PACK))
    with torch.no_grad():
        targets = mapping(torch.randn(2, 64), torch.zeros(2, 7), torch.zeros(2, SIZE))
    assert torch.equal(targets[0, :GEOMETRY], targets[1, :GEOMETRY])
    assert (targets[0] - targets[1])[GEOMETRY:].abs().max() > 1e-4
