"""Trainings of parser, identity, attributes and refiner, a few steps each."""

from pathlib import Path

import numpy as np
import pytest
import torch

from styleid.lab.data import augment
from styleid.lab.data.teachers import MIRRORED_68
from styleid.lab.networks.aam import AAMConfig
from styleid.lab.networks.identity import TEMPLATE, IdentityNet
from styleid.lab.networks.parser import ParserConfig
from styleid.lab.tasks import identity as identity_module
from styleid.lab.tasks.aam_fit import fit_aam
from styleid.lab.tasks.attributes import AttributesTask
from styleid.lab.tasks.identity import FaceViews, IdentityTask, blend_people, photo_mask
from styleid.lab.tasks.parser import ParserTask
from styleid.lab.tasks.refiner import RefinerTask
from tests.lab.small import ATTRIBUTES, IDENTITY, PARSER, REFINER, Bare, crops, lived_in
from tests.lab.standin import Teacher
from tests.lab.synthetic import synthetic_pack
from tests.lab.training_tester import assert_a_stop_changes_nothing, fell, train


@pytest.fixture(scope="module")
def pack():
    return synthetic_pack(80, 24, 4)  # 32 px crops


def test_a_photo_mask_falls_from_one_inside_to_zero_at_the_border() -> None:
    square = torch.tensor([[[20.0, 10.0], [90.0, 10.0], [90.0, 100.0], [20.0, 100.0]]])
    same = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    mask = photo_mask(square, same, 112)[0, 0]
    assert mask[30:80, 40:70].min() == 1
    assert mask[:10].max() == mask[:, :20].max() == mask[:, 91:].max() == mask[101:].max() == 0
    assert 0 < mask[50, 23] < 1
    assert 0.9 < mask.sum() / ((70 - 6) * (90 - 6)) < 1.1  # as if it ended inside the feather
    turned = photo_mask(square, torch.tensor([[[0.0, -1.0, 111.0], [1.0, 0.0, 0.0]]]), 112)[0, 0]
    assert torch.allclose(turned, mask.T.flip(0), atol=1e-5)


def test_a_face_cropped_tightly_gets_the_surroundings_of_another_instead_of_a_mirrored_border() -> None:
    pack = synthetic_pack(12, 64, 22)
    tight = np.arange(12) % 2 == 1
    pack.valid_quads[tight] = [[22, 22], [85, 22], [85, 85], [22, 85]]
    base = augment.base_matrix(pack.template, TEMPLATE)
    faces = FaceViews(pack, np.arange(12), base, "cpu")
    matrices = base.expand(12, 2, 3)
    plain = augment.cut_views(torch.from_numpy(pack.crops()), matrices, TEMPLATE.size_px)
    filled = faces.views(torch.arange(12), matrices, torch.Generator().manual_seed(0))
    shown = photo_mask(torch.from_numpy(pack.valid_quads), matrices, pack.template.size_px).expand_as(plain)
    assert shown[tight].mean() < 0.9 < shown[~tight].mean()
    assert torch.allclose(filled[shown == 1], plain[shown == 1], atol=1e-6)
    outside = shown[:, 0] == 0
    for i in np.nonzero(tight)[0]:
        there = outside[i] & (filled[i].abs().amax(0) < 0.99)  # not clipped
        light = [(filled[i] - plain[j])[:, there] for j in np.nonzero(~tight)[0]]
        assert min(float((d - d.median(1, keepdim=True).values).abs().median()) for d in light) < 1e-5


def test_parser_learns(pack) -> None:
    task = ParserTask(pack, PARSER, batch=8, learning_rate=5e-3)
    seen = train(task, 0, 30, 30)
    measured = task.evaluate()
    assert set(seen[0]) == {"labels", "landmarks"}
    assert fell(seen, "labels") < 0.95
    assert fell(seen, "landmarks") < 0.95
    assert 0 < measured["landmark_error"] < 2
    assert 0 <= measured["iou_skin"] <= 1
    assert task.sheet().shape == (64, 256, 3)


def test_mirrored_views_keep_landmarks_and_labels_on_the_face() -> None:
    faces = ParserTask(synthetic_pack(12, 88, 4), ParserConfig(96, PARSER.widths), batch=4).labelled
    mirror = torch.tensor([[[-1.0, 0.0, 95.0], [0.0, 1.0, 0.0]]])
    straight = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    (image, points, labels), (there, mirrored, swapped) = (
        faces.cut(torch.tensor([0]), matrix) for matrix in (straight, mirror)
    )
    assert torch.allclose(there, image.flip(3), atol=1e-5)
    assert torch.allclose(mirrored[0, MIRRORED_68, 0], 95 - points[0, :, 0], atol=1e-3)
    assert mirrored[0, 36:42, 0].mean() < mirrored[0, 42:48, 0].mean()  # the image's left eye stays the first
    across = torch.arange(48.0).expand(1, 48, 48)
    for maps in (labels, swapped):
        left_brow, right_brow = across[maps == 6], across[maps == 7]
        assert min(len(left_brow), len(right_brow)) > 4
        assert left_brow.max() < right_brow.min()


def test_attributes_learn(pack) -> None:
    task = AttributesTask(pack, config=ATTRIBUTES, batch=16, learning_rate=1e-2)
    seen = train(task, 0, 30, 30, one_batch=True)
    assert set(seen[0]) == {"age", "sex", "group"}
    assert fell(seen, "age") < 0.9
    measured = task.evaluate()
    assert set(measured) == {"age_error_years", "sex_right", "sex_right_from_12", "group_right"}
    assert 0 < measured["age_error_years"] < 60
    assert task.sheet() is None


def test_attributes_start_from_the_convolutions_of_the_recogniser(pack) -> None:
    torch.manual_seed(5)
    recogniser = lived_in(IdentityNet(IDENTITY))
    task = AttributesTask(pack, recogniser, ATTRIBUTES, batch=4)
    view = crops(2)
    known = recogniser.eval().trunk(view)
    for network in task.networks.values():
        assert torch.allclose(network.eval().get_submodule("trunk")(view), known, atol=1e-5)
    train(task, 0, 1, 1)
    assert torch.equal(recogniser.trunk(view), known)  # it is not trained itself


def test_rare_cells_are_drawn_more_often(pack) -> None:
    weights = AttributesTask(pack, config=ATTRIBUTES).training.weights
    assert weights.max() > weights.min() > 0


def test_identity_learns_from_a_teacher(pack, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(identity_module, "IdentityTeacher", Teacher)
    task = IdentityTask(pack, tmp_path, IDENTITY, batch=8, learning_rate=1e-2)
    seen = train(task, 0, 20, 20, one_batch=True)
    assert set(seen[0]) == {"distance", "relations"}
    assert fell(seen, "distance") < 0.8
    measured = task.evaluate()
    assert -1 <= measured["teacher_similarity_p05"] <= measured["teacher_similarity"] <= 1
    assert task.sheet() is None


def test_blends_lie_between_two_people() -> None:
    views = torch.arange(64.0)[:, None, None, None].expand(64, 3, 4, 4)
    blended = blend_people(views, torch.Generator().manual_seed(0), chance=0.5)
    moved = (blended - views).abs().amax((1, 2, 3)) > 1e-6
    assert 0.2 < moved.float().mean() < 0.8
    assert blended.min() >= 0
    assert blended.max() <= 63
    assert torch.equal(blend_people(views, torch.Generator().manual_seed(0), chance=0.0), views)


@pytest.fixture(scope="module")
def model(pack):
    config = AAMConfig(size_px=32, texture_hw=(24, 20), width=8, shape_rows=2, texture_rows=1)
    return fit_aam(pack, None, config, say=lambda text: None).eval()


def test_refiner_learns_and_a_stop_changes_nothing(pack, model, tmp_path: Path) -> None:
    def make() -> RefinerTask:
        return RefinerTask(pack, model, Bare(), REFINER, batch=4)

    straight, seen = assert_a_stop_changes_nothing(make, tmp_path, 18, 20, stop=15)  # past the first step with R1
    assert set(seen[0]) == {"critic", "on_real", "on_fake", "adversarial", "features", "pixels", "low_pass"}
    assert len({losses["pixels"] for losses in seen}) == len(seen)
    measured = straight.evaluate()
    assert set(measured) == {"rebuilt", "detail_rendered", "detail_refined"}
    assert all(value > 0 for value in measured.values())
    height, width, _ = straight.sheet().shape
    assert width == 8 * 32
    assert height % 32 == 0


def test_mixed_codes_keep_the_first_rows_of_one_face(pack, model) -> None:
    task = RefinerTask(pack, model, Bare(), REFINER, batch=4)
    mixed = task.mixed_codes(30, torch.Generator().manual_seed(0))
    first = (mixed[:, None, :4] - task.codes[None, :, :4]).abs().amax((2, 3)).min(1)
    assert first.values.max() == 0
    assert not pack.held_out[first.indices.numpy()].any()
    assert (mixed[:, None, 5:] - task.codes[None, :, 5:]).abs().amax((2, 3)).min() > 1e-2


@pytest.mark.shared
def test_identity_is_distilled_from_the_real_teacher(teachers: Path, pack) -> None:
    task = IdentityTask(pack, teachers, IDENTITY, batch=8, learning_rate=1e-2)
    seen = train(task, 0, 16, 16, one_batch=True)
    assert fell(seen, "distance") < 0.95
    assert not task.teacher.training
    assert not any(p.requires_grad for p in task.teacher.parameters())
