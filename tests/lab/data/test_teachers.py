"""Teachers compute the same as their published files."""

from pathlib import Path

import numpy as np
import pytest
import torch

from styleid.lab.data.teachers import IdentityTeacher
from styleid.runtime import open_session, tidy_model
from tests.lab.small import crops


@pytest.mark.shared
def test_teacher_computes_what_its_onnx_file_does(teachers: Path) -> None:
    views = crops(2, 112)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    scaled = (((views + 1) / 2 - mean) / std).numpy()
    session = open_session(tidy_model(teachers / "identity_mobilefacenet.onnx"))
    name = session.get_inputs()[0].name
    raw = np.concatenate([session.run(None, {name: row[None]})[0] for row in scaled])
    wanted = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    assert np.abs(IdentityTeacher(teachers)(views).numpy() - wanted).max() < 1e-3
