"""Trainings that composite new faces into photos: the composite, the target separation, the latent swapper."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from styleid.errors import TrainingError
from styleid.lab.bundling.bank import ReadFaces, fit_bank
from styleid.lab.data.pack import SOURCES, Pack
from styleid.lab.export.network import export_network
from styleid.lab.networks.aam import ATTRIBUTE_ROW, AAMConfig
from styleid.lab.networks.aam_networks import AAMGenerator
from styleid.lab.networks.attributes import AttributesConfig, AttributesNet
from styleid.lab.networks.identity import IdentityConfig, IdentityNet
from styleid.lab.networks.parser import ParserConfig, ParserNet
from styleid.lab.networks.refiner import Refiner, RefinerConfig
from styleid.lab.networks.swapper import Swapper
from styleid.lab.networks.target_separation import TargetSeparation
from styleid.lab.networks.targets import TargetMapping, Z, parts_of
from styleid.lab.tasks.aam_fit import fit_aam
from styleid.lab.tasks.differentiable_composite import DifferentiableComposite
from styleid.lab.tasks.loop import RunState, save_checkpoint, save_networks
from styleid.lab.tasks.swapper import SwapperTask, load_swapper
from styleid.lab.tasks.target_separation import TargetSeparationTask, load_target_separation
from styleid.lab.tasks.trained import Trained
from tests.lab.synthetic import synthetic_pack
from tests.lab.training_tester import assert_a_stop_changes_nothing, assert_export_agrees, train

SIDE, MARGIN = 64, 8
SMALL = IdentityConfig((4, 6, 8, 8), (1, 1, 1, 1), 16)


class Skin(ParserNet):
    """A parser that labels everything as skin."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = torch.zeros(len(x), 19, x.shape[-1] // 2, x.shape[-1] // 2)
        logits[:, 1] = 9.0
        return logits, torch.zeros(len(x), 68, 2)


class Colours(IdentityNet):
    """A recogniser that embeds faces by the difference of their colours from `usual`."""

    usual: torch.Tensor | float = 0.0

    def colours(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(x[:, :, 35:90, 30:82], 8).flatten(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(self.colours(x) - self.usual)


class Groups(AttributesNet):
    """An attribute network: all faces are male and about thirty, and of two groups by their brightness."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = x.mean((1, 2, 3))[:, None]
        second = (40 * (bright - 0.1)).sigmoid()
        return torch.cat([30 + 5 * bright, 0 * bright, 1 - second, second, torch.zeros(len(x), 3)], 1)


@pytest.fixture(scope="module")
def packs() -> tuple[Pack, Pack]:
    """Return a pack and the same faces with a wider margin; every second face is a photo."""
    narrow, wide = (synthetic_pack(160, 56, margin_px) for margin_px in (4, 4 + MARGIN))
    source = np.where(narrow.source == 3, SOURCES.index("portraits"), narrow.source).astype(np.int8)
    return replace(narrow, source=source), replace(wide, source=source)


@pytest.fixture(scope="module")
def trained(packs: tuple[Pack, Pack]) -> Trained:
    torch.manual_seed(0)
    model = fit_aam(packs[0], None, AAMConfig(SIDE, (24, 20), 8, 2, 8), lambda line: None)
    generator = AAMGenerator(model, Refiner(RefinerConfig(SIDE, (4, 4, 4, 4))))
    networks = Skin(ParserConfig(SIDE)), Colours(SMALL), Groups(AttributesConfig(SIDE, 48, SMALL)), generator
    return Trained(*(network.eval().requires_grad_(False) for network in networks))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def faces(packs: tuple[Pack, Pack], trained: Trained) -> ReadFaces:
    return ReadFaces.of(packs[0], trained)


@pytest.fixture(scope="module")
def mapping(packs: tuple[Pack, Pack], faces: ReadFaces, trained: Trained) -> TargetMapping:
    return fit_bank(packs[0], faces, trained).eval()


@pytest.fixture(scope="module")
def composite(packs: tuple[Pack, Pack], trained: Trained) -> DifferentiableComposite:
    composite = DifferentiableComposite(packs[1], trained)
    assert isinstance(trained.identity, Colours)
    trained.identity.usual = trained.identity.colours(composite.originals(torch.arange(len(composite)))).mean(0)
    return composite


@pytest.fixture(params=["target-separation", "swapper"])
def task_of(
    request: pytest.FixtureRequest,
    composite: DifferentiableComposite,
    mapping: TargetMapping,
    trained: Trained,
    faces: ReadFaces,
) -> Callable[[], TargetSeparationTask | SwapperTask]:
    if request.param == "target-separation":
        return lambda: TargetSeparationTask(composite, mapping, trained, batch=12)
    return lambda: SwapperTask(composite, mapping, trained, faces.codes, batch=8)


# ------------------------------------------------------------------- composite


def test_a_new_face_changes_only_its_region(composite: DifferentiableComposite) -> None:
    rows = torch.arange(6)
    before, codes = composite.originals(rows), composite.codes[rows].flip(0).clone().requires_grad_(True)
    after = composite.put(rows, codes)
    changed = (after.views - before).abs().amax((0, 1)) > 1e-5
    height, width = changed.shape
    middle = changed[3 * height // 8 : 5 * height // 8, 3 * width // 8 : 5 * width // 8]
    assert middle.all()
    assert not changed[0].any()  # hair
    assert not changed[: height // 8, : width // 8].any()  # backdrop
    after.views.sum().backward()
    assert codes.grad is not None
    assert (codes.grad[:, ATTRIBUTE_ROW + 1 :].abs().amax((0, 2)) > 0).all()


def test_crops_are_the_photos_with_new_faces(composite: DifferentiableComposite, packs: tuple[Pack, Pack]) -> None:
    wide = packs[1]
    shown = np.nonzero(np.isin(wide.source, [SOURCES.index(name) for name in ("parsing", "portraits")]))[0][:6]
    own = torch.from_numpy(wide.crops(shown)[:, MARGIN:-MARGIN, MARGIN:-MARGIN]).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        crops = composite.put(torch.arange(6), composite.codes[:6].flip(0)).crops
    assert crops.shape == own.shape
    kept = (crops - own).abs().amax((0, 1)) < 1e-5
    assert kept[[0, 0, -1, -1], [0, -1, 0, -1]].all()  # backdrop
    assert not kept[SIDE // 2 - 8 : SIDE // 2 + 8, SIDE // 2 - 8 : SIDE // 2 + 8].any()


def test_an_original_face_put_back_hardly_changes(composite: DifferentiableComposite, packs: tuple[Pack, Pack]) -> None:
    rows, middle = torch.arange(12), slice(3 * SIDE // 8, 5 * SIDE // 8)  # without hair, which new faces do not have
    wide = packs[1]
    shown = np.nonzero(np.isin(wide.source, [SOURCES.index(name) for name in ("parsing", "portraits")]))[0][:12]
    photos = torch.from_numpy(wide.crops(shown)[:, MARGIN:-MARGIN, MARGIN:-MARGIN]).permute(0, 3, 1, 2) / 127.5 - 1
    off = []
    for codes in (composite.codes[rows], composite.codes[rows].flip(0)):
        with torch.no_grad():
            faces_there = composite.put(rows, codes)
        colours = (faces_there.images - photos)[..., middle, middle].abs().mean()
        off.append((colours, (faces_there.landmarks - composite.landmarks[rows]).norm(dim=2).mean()))
    own, other = off
    assert own[0] < 0.5 * other[0]
    assert own[1] < 0.5 * other[1]


def test_networks_with_autocast_give_similar_outputs(packs: tuple[Pack, Pack], trained: Trained) -> None:
    torch.manual_seed(4)
    plain = replace(trained, identity=IdentityNet(SMALL).eval(), attributes=AttributesNet(trained.attributes.config))
    plain.generator.refiner.requires_grad_(False)
    quick, rows = plain.with_autocast(), torch.arange(6)
    seen = []
    for networks in (plain, quick):
        composite = DifferentiableComposite(packs[1], networks)
        codes = composite.codes[rows].flip(0).clone().requires_grad_(True)
        faces_there = composite.put(rows, codes)
        embeddings, traits = networks.identity(faces_there.views), networks.attributes.eval()(faces_there.crops)
        embeddings[:, 0].sum().backward()
        assert embeddings.dtype == traits.dtype == faces_there.images.dtype == torch.float32
        seen.append((faces_there.images.detach(), embeddings.detach(), traits[:, 1:].detach(), codes.grad))
    for one, other in zip(*seen, strict=True):
        assert (one - other).norm() < 0.1 * one.norm()
    assert not isinstance(plain.generator.refiner, type(quick.generator.refiner))


def test_similar_photos_share_sex_group_and_split(composite: DifferentiableComposite) -> None:
    for row in (0, 5, 11):
        chosen = composite.alike(row, 6, torch.Generator().manual_seed(row))
        assert chosen[0] == row
        assert len(set(chosen.tolist())) == 6
        assert (composite.traits[chosen][:, 1:] == composite.traits[row, 1:]).all()
        assert (composite.held_out[chosen] == composite.held_out[row]).all()


def test_a_composite_needs_photos_with_surroundings(packs: tuple[Pack, Pack], trained: Trained) -> None:
    narrow, wide = packs
    small = synthetic_pack(20, 40, 2)
    for pack in (replace(wide, source=np.zeros_like(wide.source)), replace(small, source=narrow.source[:20])):
        with pytest.raises(TrainingError, match="faces of parsing or portraits in crops of at least 64 px"):
            DifferentiableComposite(pack, trained)


# ------------------------------------------------------------------------ bank


def test_only_generated_faces_are_in_the_bank(
    packs: tuple[Pack, Pack], faces: ReadFaces, trained: Trained, mapping: TargetMapping
) -> None:
    nobody = packs[0].synthetic & ~packs[0].held_out
    assert 0 < len(mapping.traits) <= nobody.sum()
    moved = replace(faces, codes=torch.where(torch.from_numpy(nobody)[:, None, None], faces.codes, 0.0))
    assert torch.equal(fit_bank(packs[0], moved, trained).people_q, mapping.people_q)


def test_a_target_combines_the_chosen_people(mapping: TargetMapping, composite: DifferentiableComposite) -> None:
    z = torch.randn(9, Z, generator=torch.Generator().manual_seed(0))
    traits, source = composite.traits[:9], composite.codes[:9]
    chosen = mapping.choose(z, traits)
    joined = mapping.join(mapping.people()[chosen], chosen, traits, source)
    assert torch.equal(mapping(z, traits, source), joined)


# ----------------------------------------------------------- target separation


def turned_separation(people: torch.Tensor, mapping: TargetMapping) -> TargetSeparation:
    separation = TargetSeparation(mapping.parts, people.shape[2])
    separation.fit_whitening(people)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for turn in separation.turns:
            turn.normal_(std=0.1, generator=draw)
    return separation


def test_a_separation_stretches_its_parts_and_keeps_other_rows(mapping: TargetMapping) -> None:
    people = mapping.people()
    separation = turned_separation(people, mapping)
    with torch.no_grad():
        for stretch in (1.0, 1.2):
            separation.stretch.fill_(stretch)
            turned = separation(people)
            assert torch.equal(turned[:, : ATTRIBUTE_ROW + 1], people[:, : ATTRIBUTE_ROW + 1])
            for number, (start, end) in enumerate(separation.rows):
                even = separation.get_buffer(f"even{number}")
                before, after = ((codes[:, start:end].flatten(1) @ even).square().sum() for codes in (people, turned))
                assert after == pytest.approx(stretch**2 * float(before), rel=0.02)  # a few numbers are clipped
        for turn in separation.turns:
            turn.zero_()
        separation.stretch.fill_(1.0)
        assert torch.allclose(separation(people), people, atol=1e-5)
        assert torch.allclose(separation.deviations(), torch.ones(1), atol=1e-4)


def test_a_separation_is_recovered_from_its_results(mapping: TargetMapping) -> None:
    people = mapping.people()
    separation = turned_separation(people, mapping)
    with torch.no_grad():
        given = separation(people)
    some = torch.randperm(len(people), generator=torch.Generator().manual_seed(1))[: 4 * len(people) // 5]
    noise = 0.01 * torch.randn(given.shape, generator=torch.Generator().manual_seed(2))
    found = TargetSeparation(mapping.parts, people.shape[2]).recover(people, (given + noise)[some])
    assert torch.allclose(found.stretch, separation.stretch, atol=0.05)
    with torch.no_grad():
        off = (found(people) - given).square().mean().sqrt()
    assert off < 0.1 * given[:, ATTRIBUTE_ROW + 1 :].std()
    with pytest.raises(TrainingError, match="do not match this pack"):
        found.recover(people, torch.randn(people.shape, generator=torch.Generator().manual_seed(3)))


@pytest.mark.slow
def test_target_separation_learns(composite: DifferentiableComposite, mapping: TargetMapping, trained: Trained) -> None:
    task = TargetSeparationTask(composite, mapping, trained, batch=12, learning_rate=3e-2, far=0.9)
    seen = train(task, 0, 160, 160)
    assert set(seen[0]) == {"strangers", "itself", "sex", "group", "age", "plain"}
    measured = task.evaluate()
    pairs = [f"as_one_{pair}" for pair in ("same_photo", "other_photo", "itself")]
    assert set(measured) == {name + when for name in (*pairs, "sex", "group") for when in ("", "_before")}
    assert measured["as_one_same_photo"] < 0.9 * measured["as_one_same_photo_before"]
    assert measured["as_one_other_photo"] <= measured["as_one_other_photo_before"]
    assert task.sheet().shape[2] == 3


# --------------------------------------------------------------------- swapper


def test_the_lock_takes_shape_and_coarse_texture_completely_and_keeps_expressions(trained: Trained) -> None:
    config = trained.model.config
    source, target = torch.randn(2, 5, config.layers, config.width, generator=torch.Generator().manual_seed(0))
    locked, free = (Swapper(parts_of(config), config.width, locked=lock) for lock in (True, False))
    with torch.no_grad():
        share = locked(source, target)
        assert ((share >= 0) & (share <= 1)).all()
        first, after = ATTRIBUTE_ROW + 1, ATTRIBUTE_ROW + 1 + sum(parts_of(config)[:3])
        assert (share[:, first:after] == 1).all()
        assert (share[:, :3] == 0).all()  # pose, placement, expression
        assert ((share[:, 3:first] > 0) & (share[:, 3:first] < 1)).all()
        assert (share[:, after:] < 1).all()
        assert (free(source, target) < 1).all()


@pytest.mark.parametrize("locked", [True, False])
def test_whether_the_swapper_is_locked_is_inferred_from_its_checkpoint(
    locked: bool, trained: Trained, tmp_path: Path
) -> None:
    config = trained.model.config
    network = Swapper(parts_of(config), config.width, locked=locked)
    save_networks({"student": network, "swapper": network}, RunState(1), tmp_path / "swapper")
    assert load_swapper(tmp_path, config).whole == network.whole


def test_a_checkpoint_of_another_size_is_refused(trained: Trained, tmp_path: Path) -> None:
    config = trained.model.config
    network = Swapper(parts_of(config), config.width + 1)
    save_networks({"swapper": network}, RunState(1), tmp_path / "swapper")
    with pytest.raises(TrainingError, match=r"The network 'swapper' in .* does not fit this task"):
        load_swapper(tmp_path, config)
    with pytest.raises(TrainingError, match="holds no checkpoint with a network 'swapper'"):
        load_swapper(tmp_path / "empty", config)


@pytest.mark.slow
def test_the_swapper_learns(
    composite: DifferentiableComposite, mapping: TargetMapping, trained: Trained, faces: ReadFaces, tmp_path: Path
) -> None:
    task = SwapperTask(composite, mapping, trained, faces.codes, locked=False, batch=8)
    before = train(task, 0, 10, 1000)
    train(task, 10, 90, 1000)
    after = train(task, 0, 10, 1000)  # the same photos, people and targets again
    assert set(after[0]) == {"identity", "landmarks", "latent", "traits"}
    weights = {"identity": 4.0, "landmarks": 0.4, "latent": 0.2, "traits": 0.2}
    lost = [sum(weight * one[name] for one in seen for name, weight in weights.items()) for seen in (before, after)]
    assert lost[1] < 0.985 * lost[0]  # no swapper can change most of this loss
    measured = task.evaluate()
    assert set(measured) == {"alike", "as_one", "share"}
    assert 0 < measured["share"] < 1
    save_checkpoint(task, RunState(60), tmp_path / "swapper")
    network = load_swapper(tmp_path, trained.model.config)
    assert not network.whole
    inputs = {"source": composite.codes[:3], "target": composite.codes[3:6]}
    report = export_network(network, inputs, ["share"], tmp_path / "swapper.onnx")
    assert_export_agrees(report.path, network, inputs, atol=2e-3)


# ------------------------------------------------------------------------ both


def test_a_stop_changes_nothing(task_of: Callable[[], TargetSeparationTask | SwapperTask], tmp_path: Path) -> None:
    assert_a_stop_changes_nothing(task_of, tmp_path, 4, 1000)


def test_a_separation_is_read_from_its_checkpoint(
    composite: DifferentiableComposite, mapping: TargetMapping, trained: Trained, tmp_path: Path
) -> None:
    task = TargetSeparationTask(composite, mapping, trained, batch=6)
    train(task, 0, 2, 1000)
    save_checkpoint(task, RunState(2), tmp_path / "spread")
    people = mapping.people()
    with torch.no_grad():
        given = load_target_separation(tmp_path, trained.model.config)(people)
        assert torch.equal(given, task.networks["spread"](people))
