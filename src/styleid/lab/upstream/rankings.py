"""Read the authors' rankings: scores of single channels of W+ and of groups of 256, as they stored them.

`channels_rank.npy` holds one score per number of W+, `group_256_rank.npy` one per group of 256 in a row; a higher score
is better to swap (the public code's `top_n` and `expand_step`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from styleid.errors import CheckpointError
from styleid.lab.upstream.files import read_numbers
from styleid.types import FloatArray

GROUP = 256
_FILES = ("channels_rank.npy", "group_256_rank.npy")


def read_rankings(paths: Sequence[Path], layers: int, width: int) -> dict[str, FloatArray]:
    """Return scores by name, channels (layers, width) and groups (layers, width / 256).

    paths: files, or folders that hold them under upstream's names. A file is told by its number of scores. Raises
    CheckpointError for one that fits neither, and for two of one kind.
    """
    found: dict[str, FloatArray] = {}
    named = [part for path in paths for part in ([path / name for name in _FILES] if path.is_dir() else [path])]
    for path in [path for path in named if path.exists() or path in paths]:
        scores = read_numbers(path)
        if scores.size == layers * width:
            name, columns = "channels", width
        elif width % GROUP == 0 and scores.size == layers * width // GROUP:
            name, columns = "groups", width // GROUP
        else:
            raise CheckpointError(
                path,
                f"it holds {scores.size} scores; W+ of {layers} x {width} has {layers * width} channels and "
                f"{layers * width // GROUP} groups of {GROUP}.",
            )
        if not np.isfinite(scores).all():
            raise CheckpointError(path, "it holds scores that are not finite.")
        if name in found:
            raise CheckpointError(
                path,
                f"it holds the scores of {name} a second time. An early version of the release's download script "
                "saved the channels under the groups' name; download group_256_rank.npy again.",
            )
        found[name] = scores.reshape(layers, columns).astype(np.float64)
    return found
