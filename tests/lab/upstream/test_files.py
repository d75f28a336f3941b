"""Damaged files, files of other formats and files with code: each gives its error, and no code runs."""

import collections
import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from styleid.errors import CheckpointError
from styleid.lab.upstream.files import read_numbers, read_tensors

STATE = {"a.weight": torch.arange(600.0).reshape(2, 300), "steps": 3, "loss": np.float64(0.5)}


class Canary:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch '{self.path}'",)


def zipped(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def old(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


@pytest.mark.parametrize("write", [zipped, old])
def test_tensors_and_plain_values_are_read(write, tmp_path: Path) -> None:
    path = tmp_path / "good.pt"
    path.write_bytes(write(collections.OrderedDict(STATE)))
    found = read_tensors(path)
    assert torch.equal(found["a.weight"], STATE["a.weight"])
    assert (found["steps"], found["loss"]) == (3, 0.5)


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (zipped, r"asks to run code \(posix\.system\)"),
        (old, r"asks to run code \(posix\.system\)"),
        (pickle.dumps, r"not written by torch\.save"),
        (
            lambda c: b"\x80\x03cdnnlib.tflib.network\nNetwork\n" + pickle.dumps(c),
            r"NVIDIA's \.pkl.*convert_weight\.py",
        ),
    ],
    ids=["zip", "old", "pickle", "nvidia"],
)
def test_code_is_refused_and_does_not_run(write, says: str, tmp_path: Path) -> None:
    path, canary = tmp_path / "hostile.pt", tmp_path / "canary"
    path.write_bytes(write({"state_dict": Canary(canary), **STATE}))
    with pytest.raises(CheckpointError, match=says) as caught:
        read_tensors(path)
    assert caught.value.path == path
    assert not canary.exists()


def test_code_in_a_ranking_is_refused_and_does_not_run(tmp_path: Path) -> None:
    path, canary = tmp_path / "rank.npy", tmp_path / "canary"
    np.save(path, np.array([Canary(canary)], object), allow_pickle=True)
    with pytest.raises(CheckpointError, match="Python objects"):
        read_numbers(path)
    assert not canary.exists()


def test_the_canary_runs_when_unpickled(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    pickle.loads(pickle.dumps(Canary(canary)))
    assert canary.exists()


@pytest.mark.parametrize("write", [zipped, old])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_files_that_were_cut_off_are_named(write, share: float, tmp_path: Path) -> None:
    path, whole = tmp_path / "cut.pt", write(STATE)
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=r"cut off|not a torch file|not written by torch\.save"):
        read_tensors(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><title>Google Drive - Virus scan warning</title>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x93NUMPY\x01\x00", "Give rankings with `rankings`"),
        (b"something else", "not a torch file"),
    ],
)
def test_files_of_other_formats_are_named(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=says):
        read_tensors(path)


def test_other_archives_and_missing_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "archive.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no weights here")
    with pytest.raises(CheckpointError, match="damaged or cut off"):
        read_tensors(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_tensors(tmp_path / "missing.pt")
    with pytest.raises(CheckpointError, match=r"not a \.npy file"):
        read_numbers(path)
