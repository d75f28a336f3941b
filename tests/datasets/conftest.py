"""Fixtures for data sets: small photos, a fast anonymiser, and a function that runs it on a folder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from styleid import AnonymizeOptions, Anonymizer
from styleid.datasets.options import AnnotationOptions
from styleid.datasets.plan import Format
from styleid.datasets.run import DatasetSummary, process_dataset
from styleid.engine.local import RunOptions


@pytest.fixture(scope="session")
def portrait(astronaut) -> Image.Image:
    """A face of about 40 px in 128 x 112 px."""
    return Image.fromarray(astronaut[:224, 96:352]).resize((128, 112), Image.Resampling.LANCZOS)


@pytest.fixture(scope="session")
def meadow() -> Image.Image:
    """A photo without a face, 96 x 64 px: a slope with a little grain, which nobody takes for a printer's screen."""
    across, down = np.meshgrid(np.linspace(40, 160, 96), np.linspace(60, 140, 64))
    slope = np.dstack([across, down, 220 - across])
    return Image.fromarray((slope + np.random.default_rng(0).integers(0, 12, (64, 96, 3))).astype(np.uint8))


@pytest.fixture(scope="session")
def plain() -> Anonymizer:
    return Anonymizer(None, AnonymizeOptions(method="none", seed=1))


@pytest.fixture
def run_over(plain, tmp_path) -> Callable[..., DatasetSummary]:
    """Run over a data set into tmp_path/out."""

    def of(root: Path, form: Format, *, resume: bool = False, **options) -> DatasetSummary:
        run = RunOptions(tmp_path / "out", resume=resume)
        return process_dataset(root, form, plain, run, AnnotationOptions(**options))

    return of
