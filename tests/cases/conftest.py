"""Fixtures that the tests of the cases share.

Each kind of case has a module here. Its tests make their own inputs with their own libraries; those that are marked
`shared` run the same checks over the small files of the shared folder's `cases/`, and say why they skip without it.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cases.runner import Result, run


@pytest.fixture
def case(shared) -> Callable[[str], Path]:
    """Return the folder of a case; a test that asks for it also wears the marker `shared`."""

    def of(name: str) -> Path:
        folder = shared / "cases" / name
        if not folder.is_dir():
            pytest.skip(f"the shared folder holds no case {name}")
        return folder

    return of


@pytest.fixture(scope="session")
def head(astronaut) -> Image.Image:
    """Return a sharp head and shoulders, RGB, 256 x 300 px; the face lies at about 85, 58 to 173, 177."""
    return Image.fromarray(np.ascontiguousarray(astronaut[:300, 96:352]))


@pytest.fixture
def styleid(tmp_path) -> Callable[..., Result]:
    """Run the command with its output in tmp_path/out.

    styleid("anonymize", folder, "--method", "none") and styleid("dataset", "coco", folder, "--method", "none") know
    where the output goes; out= names another place.
    """

    def of(command: str, *arguments: str | Path, out: Path | None = None) -> Result:
        target = out or tmp_path / "out"
        if command == "dataset":
            form, source, *rest = arguments
            return run(command, form, source, target, *rest, out=target)
        return run(command, *arguments, "--out", target, out=target)

    return of
