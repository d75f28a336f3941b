"""Rank a bundle's latent units and write the scores: what `styleid rank` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from styleid.bundles.bundle import Bundle
from styleid.bundles.registry import DEFAULT, load_bundle
from styleid.errors import OptionError
from styleid.evaluate.recognisers import load_recognisers
from styleid.media.storage.files import write_atomic
from styleid.ranking.curves import BASELINES, RANKED, between, cost
from styleid.ranking.metric import CHANGES
from styleid.ranking.probe import Identity
from styleid.ranking.run import RankedTable, Ranking, RankOptions, rank_units
from styleid.ranking.store import install as install_scores
from styleid.ranking.subjects import Watch
from styleid.runtime import Device


@dataclass(frozen=True)
class RankingFiles:
    """A ranking and the files that were written.

    ranking: Scores of every unit. record: A summary as plain numbers. written: The files.
    """

    ranking: Ranking
    record: Mapping[str, Any]
    written: tuple[Path, ...]


def rank_bundle(
    out: Path,
    options: RankOptions | None = None,
    *,
    bundle: str | Path = DEFAULT,
    device: Device = "cpu",
    identity: str = "gate",
    judge: str = "gate",
    plot: bool = False,
    install: bool = False,
    watch: Watch | None = None,
) -> RankingFiles:
    """Rank a bundle's units by how much identity, and how little else, they change, as `styleid rank` does.

    What was measured is kept in a hidden file beside `out`. If the run is interrupted, the same call continues it.

    Args:
        out: File for the scores; it ends in .npz.
        options: Which units are ranked, and on whom.
        bundle: Name of a built-in bundle, or a folder with a `bundle.json`.
        device: Where networks run: cpu, cuda, tensorrt or coreml.
        identity: Recogniser that ranks: gate (the bundle's own), dlib, or an .onnx file with a card.
        judge: Recogniser that measures the curves of privacy and utility.
        plot: Also measure those curves, and draw them and heat maps as PNG beside `out` (needs matplotlib, of the
            extra `eval`).
        install: Also write the scores into the bundle's folder and name them in its `bundle.json`.
        watch: Called after each batch with the number of batches done, the number of all, and the stage.

    Returns:
        The ranking and the files that were written.

    Raises:
        OptionError: The options cannot work, or a file beside `out` is of a ranking with other options.
        BundleError: The bundle cannot be used.
        OutputError: A file cannot be written.
        MissingDependencyError: matplotlib is not installed, and plot is set.

    Examples:
        >>> from pathlib import Path
        >>> from styleid import RankOptions, rank_bundle
        >>> options = RankOptions("layers", pairs=2, people=20, batch=8)
        >>> ranked = rank_bundle(Path("scores.npz"), options, bundle="aam128")
        >>> list(ranked.ranking.tables), ranked.written[0].name
        (['layers'], 'scores.npz')
    """
    if out.suffix != ".npz":
        raise OptionError("out", f"{out} holds scores: name a file that ends in .npz.")
    if plot:
        _check_plots()
    loaded = load_bundle(bundle, device)
    recognisers = {name: _identity(name, wanted, loaded) for name, wanted in (("identity", identity), ("judge", judge))}
    state = out.with_name(f".{out.stem}.under-way.npz")
    ranking = rank_units(loaded, options or RankOptions(), **recognisers, curves=plot, state=state, watch=watch)
    content = ranking.content()
    write_atomic(out, content)
    written = [out, *(_plots(ranking, out, loaded) if plot else [])]
    if install:
        written.append(install_scores(content, loaded))
    state.unlink(missing_ok=True)
    record = summary(ranking) | {"written": [str(path) for path in written]}
    return RankingFiles(ranking, record, tuple(written))


def summary(ranking: Ranking) -> dict[str, Any]:
    """Return a ranking's figures as plain numbers."""
    return {
        "settings": dict(ranking.settings),
        "tables": {name: _summary(table) for name, table in ranking.tables.items()},
        "own_swaps": [_rounded(dict(zip(CHANGES, change.mean(0), strict=True))) for change in ranking.own],
        "skipped": len(ranking.skipped),
    }


def _summary(table: RankedTable) -> dict[str, Any]:
    record: dict[str, Any] = {"units": len(table.d_id), "spearman": round(table.spearman, 4)}
    cells = table.units.cells
    order = np.argsort(-table.scores["difference"], kind="stable")
    record["best"] = [cells[unit].tolist() for unit in order[:5]]
    record["worst"] = [cells[unit].tolist() for unit in order[:-6:-1]]
    if table.curves is None:
        return record
    means = {name: curve.mean(0) for name, curve in table.curves.items()}
    record["cost"] = _rounded({name: float(cost(mean)) for name, mean in means.items()})
    record["cost_landmarks"] = _rounded({name: float(cost(mean, "landmarks")) for name, mean in means.items()})
    record["between"] = {
        utility: {
            f"{ranked} against {baseline}": _rounded(vars(between(table.curves, ranked, baseline, utility)))
            for ranked in RANKED
            for baseline in BASELINES
        }
        for utility in CHANGES[1:]
    }
    return record


def _rounded(figures: Mapping[str, Any]) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in figures.items()}


def _identity(option: str, wanted: str, bundle: Bundle) -> Identity:
    if wanted == "gate":
        return Identity.of_bundle(bundle)
    if wanted != "dlib" and not wanted.endswith(".onnx"):
        raise OptionError(option, f"'{wanted}' is unknown; give gate, dlib or an .onnx file.")
    try:
        (one,) = load_recognisers(wanted, bundle)
    except OptionError as error:
        raise OptionError(option, error.reason) from error
    return Identity(
        one.name, one.fingerprint, one.template, lambda crops: np.stack([one.embed_crop(crop) for crop in crops])
    )


def _check_plots() -> None:
    from styleid.ranking.plots import require_matplotlib

    require_matplotlib()


def _plots(ranking: Ranking, out: Path, bundle: Bundle) -> list[Path]:
    from styleid.ranking.plots import draw_all

    pictures = draw_all(ranking, bundle.spec)
    paths = [out.with_name(f"{out.stem}-{name}.png") for name in pictures]
    for path, picture in zip(paths, pictures.values(), strict=True):
        write_atomic(path, picture)
    return paths
