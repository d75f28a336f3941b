"""Readers of weight files that never run code from a file.

A .pt or .pth file is a pickle, and loading a pickle can run code. `torch.load(weights_only=True)` allows only the calls
that build tensors and plain values. Files that need other calls are refused, and the error names the call. A .npy file
of numbers contains no code; one of Python objects does and is refused.
"""

from __future__ import annotations

import argparse
import collections
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from styleid.errors import CheckpointError

_TORCH_LEGACY = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
"""The magic number of files of torch before 1.6, which follows the pickle's header."""
_HEAD_BYTES = 1 << 16
_NVIDIA = (b"dnnlib", b"torch_utils.persistence", b"torch_utils\npersistence")
_DEMANDS = re.compile(r"(?:Unsupported global: GLOBAL|GLOBAL|class) '?([\w.]+)'?")


def read_tensors(path: Path) -> Any:
    """Read a torch checkpoint.

    Returns:
        The content: tensors, plain values, and dictionaries and lists of them.

    Raises:
        CheckpointError: If the file is missing, empty, damaged, of another format, or needs to run code. No code of the
            file has run then.
    """
    head = _head(path)
    zipped = zipfile.is_zipfile(path)
    if not zipped and any(word in head for word in _NVIDIA):
        raise CheckpointError(path, _NVIDIA_REFUSED)
    if not zipped and _TORCH_LEGACY not in head[:64]:
        raise CheckpointError(path, _not_torch(head))
    try:
        with torch.serialization.safe_globals(_plain_values()):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True if zipped else None)
    except pickle.UnpicklingError as error:
        found = _DEMANDS.search(str(error))
        asks = f" ({found.group(1)})" if found else ""
        raise CheckpointError(
            path,
            f"it asks to run code{asks}, which a weight file does not need. It was refused, and no code was run. "
            "Download the file from its authors again. If the authors' file is like this, load it in an isolated "
            "environment and save only its state dict.",
        ) from error
    except (RuntimeError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OSError) as error:
        first = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise CheckpointError(path, f"it is damaged or cut off ({first}). Download it again.") from error


def read_numbers(path: Path) -> np.ndarray[Any, Any]:
    """Read the array of a .npy file.

    Raises:
        CheckpointError: If the file is missing, damaged, of another format, or does not hold numbers.
    """
    head = _head(path)
    if not head.startswith(b"\x93NUMPY"):
        raise CheckpointError(path, "it is not a .npy file of numbers.")
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError, SyntaxError) as error:
        if "allow_pickle" in str(error):
            raise CheckpointError(
                path, "it holds Python objects, which can run code, not numbers. It was refused, and no code was run."
            ) from error
        raise CheckpointError(path, f"it is damaged or cut off ({error}). Download it again.") from error
    if values.dtype.kind not in "fiu":
        raise CheckpointError(path, f"it holds values of type {values.dtype}, not numbers.")
    return values


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise CheckpointError(path, f"it cannot be read: {error.strerror}.") from error
    if not head:
        raise CheckpointError(path, "it is empty. Download it again.")
    return head


def _plain_values() -> list[Any]:
    """Return the types of plain data that checkpoints hold besides tensors, such as options and losses."""
    from numpy._core.multiarray import scalar

    dtypes = [type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")]
    return [
        argparse.Namespace,
        collections.OrderedDict,
        (scalar, "numpy.core.multiarray.scalar"),
        scalar,
        np.dtype,
        *dtypes,
    ]


def _not_torch(head: bytes) -> str:
    start = head.lstrip()[:64].lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "it is a web page, not a weight file: the download site shows a page first. Open the link in a browser."
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the weight file itself. Type: git lfs pull"
    if head.startswith(b"PK"):
        return "it is a torch file that was cut off. Download it again."
    if head.startswith(b"\x80"):
        return (
            "it is a pickle that was not written by torch.save, and loading it could run any code. It was refused, and "
            "no code was run."
        )
    if head.startswith(b"\x93NUMPY"):
        return "it is a NumPy array, not a network. Give rankings with `rankings`."
    return "it is not a torch file (.pt or .pth)."


_NVIDIA_REFUSED = (
    "it is one of NVIDIA's .pkl files. They contain program code that runs when they are loaded, so styleid does not "
    "load them. Use the same network as a .pt file, which the StyleID release links. Or convert it with "
    "convert_weight.py of rosinality/stylegan2-pytorch in an isolated environment, such as a container without network "
    "access, and give styleid the resulting .pt file."
)
