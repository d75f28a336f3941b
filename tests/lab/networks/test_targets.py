"""The mapping of the appearance model: from whom a target's parts come, and whether it has the wanted traits."""

import itertools

import numpy as np
import pytest
import torch

from styleid.lab.bundling.bank import fit_mapping, limit_distances
from styleid.lab.data.pack import GROUPS
from styleid.lab.export.network import export_network
from styleid.lab.networks.aam import ATTRIBUTE_ROW, BEARD
from styleid.lab.networks.targets import TargetMapping, Z, exaggerated, round_traits

WIDTH, EACH = 8, 16
CELLS = list(itertools.product((20.0, 40.0, 60.0), (0.0, 1.0), (0, 1, 2)))
PEOPLE = len(CELLS) * EACH
FIRST = ATTRIBUTE_ROW + 1
"""The first row of the parts. Each of these rows encodes the person's number, one octal digit per channel."""
PARTS = (2, 3, 5)
LAYERS = FIRST + sum(PARTS)
DIGITS = 8 ** torch.arange(3)


def attributes(age: float, female: float, group: int) -> list[float]:
    return [age, female, *(float(group == k) for k in range(len(GROUPS)))]


@pytest.fixture(scope="module")
def traits() -> torch.Tensor:
    return torch.tensor([attributes(*cell) for cell in CELLS for _ in range(EACH)])


@pytest.fixture(scope="module")
def bank() -> np.ndarray:
    return np.arange(PEOPLE) % 4 != 3


@pytest.fixture(scope="module")
def codes(traits: torch.Tensor) -> torch.Tensor:
    """W+ of people whose attribute row is linear in their traits, and whose later rows encode their numbers."""
    draw = torch.Generator().manual_seed(0)
    out = torch.randn(PEOPLE, LAYERS, WIDTH, generator=draw)
    out[:, ATTRIBUTE_ROW] = (traits - traits.mean(0)) @ torch.randn(2 + len(GROUPS), WIDTH, generator=draw) / 10
    digits = (torch.arange(PEOPLE)[:, None] // DIGITS % 8).float()
    filler = (3 * 7**2 - (digits**2).sum(1, keepdim=True)).sqrt()  # all have the same norm
    out[:, FIRST:] = torch.cat([digits, filler, torch.zeros(PEOPLE, WIDTH - 4)], 1)[:, None]
    return out


def numbers(wplus: torch.Tensor) -> torch.Tensor:
    """Return the person that each row after the attribute row comes from, (n, rows)."""
    return (wplus[:, FIRST:, :3].round().long() * DIGITS).sum(2)


@pytest.fixture(scope="module")
def mapping(codes: torch.Tensor, traits: torch.Tensor, bank: np.ndarray) -> TargetMapping:
    return fit_mapping(codes, traits, bank, PARTS).eval()


def draws(n: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(n, Z, generator=torch.Generator().manual_seed(seed))


def draw_from(mapping: TargetMapping, z: torch.Tensor, wanted: torch.Tensor, beard: float = 0.0) -> torch.Tensor:
    """Draw targets for sources whose W+ is 0 except for the beard."""
    source = torch.zeros(len(z), LAYERS, WIDTH)
    source[:, ATTRIBUTE_ROW, BEARD] = beard
    return mapping(z, wanted, source)


def test_only_the_rounded_beard_of_the_source_is_used(mapping: TargetMapping, traits: torch.Tensor) -> None:
    z = draws(PEOPLE)
    bearded, shaven = draw_from(mapping, z, traits, 1.9), draw_from(mapping, z, traits, 0.1)
    assert torch.equal(bearded[:, ATTRIBUTE_ROW, BEARD], torch.full((PEOPLE, 2), 2.0))
    assert torch.equal(shaven, draw_from(mapping, z, traits, -0.4))
    bearded[:, ATTRIBUTE_ROW, BEARD] = 0
    assert torch.equal(bearded, shaven)


def test_each_part_comes_from_one_person_of_the_bank(
    mapping: TargetMapping, bank: np.ndarray, traits: torch.Tensor
) -> None:
    wplus = draw_from(mapping, draws(PEOPLE), traits)
    assert wplus.shape == (PEOPLE, LAYERS, WIDTH)
    assert wplus.isfinite().all()
    parts = [part.unique(dim=1) for part in numbers(wplus).split(PARTS, 1)]
    assert [part.shape for part in parts] == [(PEOPLE, 1)] * len(PARTS)  # one person each
    chosen = torch.cat(parts, 1)
    assert bank[chosen].all()
    for one, other in itertools.combinations(range(len(PARTS)), 2):  # seldom the same of twelve people
        assert (chosen[:, one] == chosen[:, other]).float().mean() < 0.2
    for part in chosen.T:
        assert len(part.unique()) > 0.4 * bank.sum()
    together = {tuple(row) for row in chosen.tolist()}
    assert len(together) > 0.95 * PEOPLE  # far more combinations than people


def test_parts_must_add_up_to_the_rows(codes: torch.Tensor, traits: torch.Tensor, bank: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"parts must add up to 10 rows, not 2 \+ 3"):
        fit_mapping(codes, traits, bank, PARTS[:2])


def test_a_separation_is_applied_to_the_bank(
    mapping: TargetMapping, codes: torch.Tensor, traits: torch.Tensor, bank: np.ndarray
) -> None:
    class Longer(torch.nn.Module):
        def forward(self, people: torch.Tensor) -> torch.Tensor:
            out = people.clone()
            out[:, FIRST + 1] *= 1.5
            return out

    enlarged = draw_from(fit_mapping(codes, traits, bank, PARTS, Longer()).eval(), draws(PEOPLE), traits)
    usual = draw_from(mapping, draws(PEOPLE), traits)
    assert torch.allclose(enlarged[:, FIRST + 1], 1.5 * usual[:, FIRST + 1], atol=1e-5)
    assert torch.equal(enlarged[:, FIRST + 2 :], usual[:, FIRST + 2 :])


def test_wanted_sex_age_and_group_are_respected(mapping: TargetMapping, traits: torch.Tensor) -> None:
    z = draws(40)
    for age, female, group in CELLS:
        wanted = torch.tensor([attributes(age, female, group)]).expand(len(z), -1)
        given = traits[numbers(draw_from(mapping, z, wanted))]  # (n, rows, 7)
        assert (given[..., 1] == female).all()
        assert (given[..., 2 + group] == 1).float().mean() > 0.9
        assert (given[..., 0] - age).abs().mean() < 8


def test_the_attribute_row_matches_the_wanted_traits(
    mapping: TargetMapping, codes: torch.Tensor, traits: torch.Tensor
) -> None:
    # the first person has the wanted traits, so the row is theirs plus the exaggeration
    z, row = draws(60), codes[::EACH, ATTRIBUTE_ROW]
    for cell, wanted in enumerate(traits[::EACH]):
        wplus = draw_from(mapping, z, wanted.expand(len(z), -1))
        same = (traits[numbers(wplus)[:, 0]] == wanted).all(1)
        assert same.any()
        more = 2 * (exaggerated(wanted[None]) - wanted) @ mapping.trait_row[:-1]
        expected = (row[cell] + more[0]).clamp(-5, 5)  # the limit of the attribute row
        off = wplus[same, ATTRIBUTE_ROW, : BEARD.start] - expected[: BEARD.start]
        assert off.abs().max() < 0.05 * row.std()
    # the age is beyond the bank's, so the row overshoots towards it
    old, oldest = (torch.tensor([attributes(age, 0.0, 0)]).expand(60, -1) for age in (90.0, 60.0))
    along = row[CELLS.index((60.0, 0.0, 0))] - row[CELLS.index((40.0, 0.0, 0))]
    apart = draw_from(mapping, z, old) - draw_from(mapping, z, oldest)
    assert (apart[:, ATTRIBUTE_ROW] @ along > 0).float().mean() > 0.95


def test_ages_sexes_and_groups_are_exaggerated() -> None:
    given = exaggerated(torch.tensor([attributes(20, 0, 1), attributes(70, 1, 2)]))
    assert torch.allclose(given[:, :2], torch.tensor([[20, -0.5], [100, 1.5]]))
    assert torch.allclose(given[:, 2:], torch.tensor([[-0.2, 1.8, -0.2, -0.2, -0.2], [-0.2, -0.2, 1.8, -0.2, -0.2]]))


def test_a_target_depends_on_rounded_traits_only(mapping: TargetMapping) -> None:
    z = draws(8)
    exact = torch.tensor([[37.9, 0.93, 0.1, 0.5, 0.2, 0.1, 0.1]]).expand(8, -1)
    rough = torch.tensor([[40.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0]]).expand(8, -1)
    assert torch.equal(draw_from(mapping, z, exact), draw_from(mapping, z, rough))


def test_z_determines_the_target(mapping: TargetMapping, traits: torch.Tensor) -> None:
    wanted, z = traits[:1].expand(30, -1), draws(30)
    first = draw_from(mapping, z, wanted)
    assert torch.equal(first, draw_from(mapping, z, wanted))
    assert torch.allclose(first[4:5], draw_from(mapping, z[4:5], wanted[4:5]), atol=1e-5)
    apart = torch.cdist(first.flatten(1), first.flatten(1)) + 10 * torch.eye(30)
    assert (apart > 0.01).float().mean() > 0.99  # three parts seldom come from the same of twelve people


@pytest.mark.slow
def test_mapping_exports(mapping: TargetMapping, traits: torch.Tensor, tmp_path) -> None:
    source = torch.randn(3, LAYERS, WIDTH, generator=torch.Generator().manual_seed(4))
    inputs = {"z": draws(3), "attributes": traits[::EACH][:3] + 1.0, "source": source}
    keep = ["directions", "people_scale"]
    assert export_network(mapping, inputs, ["w_plus"], tmp_path / "mapping.onnx", keep=keep).max_error <= 1e-3


@pytest.mark.parametrize(
    ("given", "rounded"),
    [
        ((34.9, 0.2, 0.6, 0.1, 0.1, 0.1, 0.1), (30, 0, 1, 0, 0, 0, 0)),
        ((35.1, 0.51, 0.1, 0.1, 0.1, 0.1, 0.6), (40, 1, 0, 0, 0, 0, 1)),
        ((4.9, 0.5, 0.1, 0.3, 0.2, 0.2, 0.2), (0, 0, 0, 1, 0, 0, 0)),
        ((96.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0), (100, 1, 0, 0, 1, 0, 0)),
    ],
)
def test_rounded_traits(given: tuple[float, ...], rounded: tuple[float, ...]) -> None:
    assert round_traits(torch.tensor([given])).tolist() == [list(rounded)]


def test_distant_people_are_moved_towards_the_mean_in_their_direction() -> None:
    people = torch.randn(200, 12, 6, generator=torch.Generator().manual_seed(5))
    people[:10] *= 5
    drawn = limit_distances(people)
    own, before = drawn[:, ATTRIBUTE_ROW + 1 :].flatten(1), people[:, ATTRIBUTE_ROW + 1 :].flatten(1)
    assert torch.equal(drawn[:, : ATTRIBUTE_ROW + 1], people[:, : ATTRIBUTE_ROW + 1])
    assert own[:10].norm(dim=1).max() <= before[10:].norm(dim=1).max()
    assert torch.allclose(torch.cosine_similarity(own, before), torch.ones(200))
    assert (own == before).all(1).float().mean() > 0.8
