"""Reader of the StyleID authors' rankings of W+: scores of channels and of groups of 256 channels.

`channels_rank.npy` holds one score per number of W+, `group_256_rank.npy` one per group of 256 consecutive numbers. The
channels with the highest scores are swapped first (`top_n` and `expand_step` in the public code).
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
    """Read rankings. The number of scores determines which ranking a file holds.

    Args:
        paths: Files, or folders that hold them under upstream's names.
        layers: Rows of W+.
        width: Width of W+.

    Returns:
        Scores by name, `channels` (layers, width) and `groups` (layers, width / 256), as far as files are given.

    Raises:
        CheckpointError: If a file cannot be read, its number of scores fits neither ranking, a score is not finite, or
            two files hold the same ranking.
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
                f"it holds {scores.size} scores, but W+ of {layers} x {width} has {layers * width} channels and "
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
