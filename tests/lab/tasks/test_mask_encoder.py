"""The mask encoder: it predicts the rows that labels determine, and no others."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from styleid.lab.data.pack import Pack
from styleid.lab.export.network import export_network
from styleid.lab.networks.aam import EXPRESSION_ROW, SHAPE_EXPRESSIONS, SHAPE_ROW, AAMConfig, ActiveAppearanceModel
from styleid.lab.networks.mask_encoder import MaskEncoder, MaskEncoderConfig
from styleid.lab.networks.parser import CLASSES, LANDMARKS
from styleid.lab.tasks.aam_fit import fit_aam
from styleid.lab.tasks.mask_encoder import MaskEncoderTask
from styleid.lab.tasks.parser import moved_labels, moved_landmarks
from styleid.runtime import open_session
from tests.lab.synthetic import synthetic_pack
from tests.lab.training_tester import assert_a_stop_changes_nothing, fell, train


@pytest.fixture(scope="module")
def pack() -> Pack:
    return synthetic_pack(80, 56, 4)  # 64 px crops


@pytest.fixture(scope="module")
def model(pack: Pack) -> ActiveAppearanceModel:
    return fit_aam(pack, None, AAMConfig(64, (24, 20), 8, 2, 2), lambda line: None)


class Outlines(nn.Module):
    """Replaces a parser: returns the true labels of a pack's faces, which must be given in order."""

    def __init__(self, pack: Pack) -> None:
        super().__init__()
        self.landmarks, self.at = pack.landmarks68, 0

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        side = crops.shape[-1] // 2
        maps = np.zeros((len(crops), side, side), np.uint8)
        parts = {1: slice(0, 17), 6: slice(17, 22), 7: slice(22, 27), 2: slice(27, 36), 10: slice(48, 60)}
        for one, points in zip(maps, self.landmarks[self.at : self.at + len(crops)], strict=True):
            for label, part in parts.items():
                hull = cv2.convexHull((points[part] / 2 * 16).round().astype(np.int32))
                cv2.fillConvexPoly(one, hull, label, shift=4)
        self.at += len(crops)
        logits = nn.functional.one_hot(torch.from_numpy(maps).long(), CLASSES).permute(0, 3, 1, 2).float()
        return logits, torch.zeros(len(crops), LANDMARKS, 2)


def task_of(pack: Pack, model: ActiveAppearanceModel, batch: int = 16) -> MaskEncoderTask:
    shape = MaskEncoderConfig.of(model)
    config = MaskEncoderConfig(shape.side_px, (16, 24, 32, 32), 32, shape.layers, shape.width, shape.shape_rows)
    return MaskEncoderTask(pack, model, Outlines(pack), config, batch=batch, learning_rate=5e-3)


def test_the_mask_encoder_learns(pack: Pack, model: ActiveAppearanceModel) -> None:
    task = task_of(pack, model)
    before = task.evaluate()
    assert before["landmark_error"] == pytest.approx(before["landmark_error_of_mean"], rel=0.1)
    seen = train(task, 0, 200, 400)
    assert all(set(losses) == {"landmarks", "codes"} for losses in seen)
    assert fell(seen, "landmarks", 20) < 0.85  # a pixel of the map is a twelfth of the eyes' distance
    after = task.evaluate()
    assert after["landmark_error_of_mean"] == pytest.approx(before["landmark_error_of_mean"])
    assert after["landmark_error"] < 0.05  # these faces differ mainly by the rotations of the training
    height, width, _ = task.sheet().shape
    assert (width, height % 64) == (8 * 64, 0)


def test_a_stop_changes_nothing(pack: Pack, model: ActiveAppearanceModel, tmp_path: Path) -> None:
    assert_a_stop_changes_nothing(lambda: task_of(pack, model, 4), tmp_path, 6, 400)


def test_rows_that_labels_do_not_determine_are_zero(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = MaskEncoder(MaskEncoderConfig(32, (4, 4, 4, 4), 4, 12, 8, 3)).eval()
    nn.init.normal_(network.network.encoder[-1].weight)  # type: ignore[union-attr, index]
    labels = torch.randint(0, CLASSES, (5, 32, 32), generator=torch.Generator().manual_seed(1)).float()
    with torch.no_grad():
        codes = network(labels)
    assert codes.shape == (5, 12, 8)
    told = torch.zeros(12, 8, dtype=torch.bool)
    told[:EXPRESSION_ROW] = told[SHAPE_ROW : SHAPE_ROW + 3] = True
    told[EXPRESSION_ROW, :SHAPE_EXPRESSIONS] = True
    assert (codes[:, ~told] == 0).all()
    assert (codes[:, told].std(0) > 0).all()
    report = export_network(network, {"labels": labels}, ["w_plus"], tmp_path / "encoder.onnx")
    assert report.max_error <= 1e-3
    session = open_session(report.path)
    assert session.get_inputs()[0].shape[1:] == [32, 32]  # the runtime reads the size of label maps here
    assert session.run(None, {"labels": labels[:2].numpy()})[0].shape == (2, 12, 8)


def test_invalid_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="divisible by 16"):
        MaskEncoderConfig(40)
    with pytest.raises(ValueError, match="four numbers"):
        MaskEncoderConfig(widths=(8, 8))


def test_labels_and_landmarks_move_together() -> None:
    labels = torch.zeros(1, 24, 24, dtype=torch.uint8)
    labels[0, 8:12, 4:8] = 4  # the left eye, in a crop of 48 px
    landmarks = torch.zeros(1, LANDMARKS, 2)
    landmarks[0, 36:42] = torch.tensor([11.5, 19.5])
    for matrix in ([[1.0, 0, 6], [0, 1, -4]], [[-1.0, 0, 47], [0, 1, 0]]):
        moved, points = (f(x, torch.tensor([matrix]), *more) for f, x, more in (
            (moved_labels, labels, (48,)), (moved_landmarks, landmarks, ())
        ))  # fmt: skip
        mirrored = matrix[0][0] < 0
        there = torch.nonzero(moved[0] == (5 if mirrored else 4)).float()
        eye = points[0, slice(42, 48) if mirrored else slice(36, 42)].mean(0)
        assert torch.allclose(there.mean(0).flip(0) * 2 + 0.5, eye, atol=1.0)
