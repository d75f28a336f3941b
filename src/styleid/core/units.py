"""Choose the best units of a bundle's rankings."""

from __future__ import annotations

import re

import numpy as np

from styleid.bundles.bundle import Bundle
from styleid.core.scores import SCORES
from styleid.errors import OptionError
from styleid.types import FloatArray

_FORMS = "channels:N, groups:N, layers:best-N or windows:LENGTH, each with @ratio, @d_id or @leak for another score"


def best_units(text: str, bundle: Bundle) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return the best units of a ranking.

    Args:
        text: `channels:200` or `groups:6` for the best 200 channels or 6 groups; `layers:best-6` for the best six
            layers; `windows:3` for the best three consecutive layers. A suffix `@ratio`, `@d_id` or `@leak` selects
            that score instead of the difference.
        bundle: The bundle with its rankings.

    Returns:
        The rows of W+ and the single numbers of W+ to swap; None if the text does not refer to a ranking.

    Raises:
        OptionError: If the text has another form, or the bundle does not have the ranking or that many units.
    """
    asked, at, score = text.partition("@")
    kind, _, rest = asked.partition(":")
    count = rest.removeprefix("best-") if kind == "layers" else rest
    if kind not in ("channels", "groups", "windows") and not at and count == rest:
        return None
    if kind not in ("channels", "groups", "layers", "windows") or (kind == "layers" and count == rest):
        raise OptionError("units", f"'{text}': to choose by a ranking, write {_FORMS}.")
    scores = _scores(text, kind, score if at else SCORES[0], bundle)
    most = len(scores) if kind == "windows" else int(np.isfinite(scores).sum())
    if not re.fullmatch(r"[1-9]\d{0,8}", count) or int(count) > most:
        form = f"{kind}:{'best-' if kind == 'layers' else ''}N"
        raise OptionError("units", f"'{text}': write {form} with N from 1 to {most}.")
    if kind == "windows":
        first = int(np.nanargmax(scores[int(count) - 1]))
        return tuple(range(first, first + int(count))), ()
    best = np.sort(np.argsort(_finite(scores).ravel(), kind="stable")[-int(count) :])
    if kind == "layers":
        return tuple(int(row) for row in best), ()
    step = bundle.spec.size // scores.size
    return (), tuple(int(channel) for unit in best for channel in range(unit * step, (unit + 1) * step))


def _scores(text: str, kind: str, score: str, bundle: Bundle) -> FloatArray:
    """Return the scores of a ranking. If a file has no table of layers, its windows of one layer are used."""
    if score not in SCORES:
        raise OptionError("units", f"'{text}': the score '{score}' is unknown; the scores are {', '.join(SCORES)}.")
    known = bundle.rankings()
    ending = "" if score == SCORES[0] else f"@{score}"
    if kind == "layers" and f"layers{ending}" not in known and f"windows{ending}" in known:
        return known[f"windows{ending}"][0]
    if (scores := known.get(f"{kind}{ending}")) is None:
        name = bundle.spec.name
        has = ", ".join(name for name in known if name.partition("@")[2] in ("", *SCORES)) or "none"
        raise OptionError("units", f"'{text}': the bundle '{name}' has no such ranking; its rankings: {has}. "
                          "To make one, type `styleid rank --install`.")  # fmt: skip
    return scores


def _finite(scores: FloatArray) -> FloatArray:
    return np.where(np.isfinite(scores), scores, -np.inf)
