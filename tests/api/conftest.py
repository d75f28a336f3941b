"""A folder with the files that the examples of the documentation use."""

import json
import shutil
import tarfile
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The working directory of an example: a photo of four people, and the same photo in a data set and in a shard."""
    monkeypatch.chdir(tmp_path)
    for place in ("photos", "coco/images", "coco/annotations", "shards"):
        (tmp_path / place).mkdir(parents=True)
    for place in ("photos", "coco/images"):
        shutil.copy(EXAMPLES / "group.jpg", tmp_path / place)
    (tmp_path / "coco/annotations/instances.json").write_text(
        json.dumps({"images": [{"id": 1, "file_name": "group.jpg", "width": 1, "height": 1}], "annotations": []})
    )
    with tarfile.open(tmp_path / "shards/000.tar", "w") as shard:
        shard.add(EXAMPLES / "group.jpg", "group.jpg")
    return tmp_path
