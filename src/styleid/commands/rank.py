"""styleid rank: which units of a bundle's latent space change identity, and little else."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from styleid.bundles.bundle import Bundle
from styleid.bundles.registry import DEFAULT, load_bundle
from styleid.commands.progress import progress
from styleid.engine.journal import to_json_line
from styleid.errors import OptionError
from styleid.evaluate.recognisers import load_recognisers
from styleid.media.storage.files import write_atomic
from styleid.ranking.curves import BASELINES, RANKED, between, cost
from styleid.ranking.metric import CHANGES
from styleid.ranking.probe import Identity
from styleid.ranking.run import RankedTable, Ranking, RankOptions, rank_units
from styleid.ranking.store import install
from styleid.runtime import Device

_SHOWN = 20


@dataclass(frozen=True)
class RankCommandOptions:
    """Choose what the command uses, writes and says.

    out: file for the scores, .npz.
    bundle: a built-in bundle's name, or a folder with a bundle.json.
    device: where networks run: cpu, cuda or openvino.
    identity: recogniser to rank with: gate (the bundle's own), dlib, or an .onnx file with a card as styleid evaluate
        reads it.
    judge: recogniser that measures the curves; another than the one that ranks shows more.
    plot: also measure privacy/utility curves, and draw them and heat maps as PNG beside the scores.
    install: put the scores into the bundle's folder and name them in its bundle.json.
    json: print a one-line JSON summary on standard output instead of the readable one.
    quiet: show no progress bar.
    """

    out: Path
    bundle: str = DEFAULT
    device: Device = "cpu"
    identity: str = "gate"
    judge: str = "gate"
    plot: bool = False
    install: bool = False
    json: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.out.suffix != ".npz":
            raise OptionError("--out", f"{self.out} holds scores: name a file that ends in .npz.")


def rank(options: RankOptions, command: RankCommandOptions) -> int:
    """Rank a bundle's units and write the scores; return the exit status."""
    bundle = load_bundle(command.bundle, command.device)
    recognisers = {name: _identity(f"--{name}", getattr(command, name), bundle) for name in ("identity", "judge")}
    state = command.out.with_name(f".{command.out.stem}.under-way.npz")
    try:
        with progress(command.quiet or command.json) as watch:
            ranking = rank_units(bundle, options, **recognisers, curves=command.plot, state=state, watch=watch)
    except KeyboardInterrupt:
        print("styleid: interrupted; the same command goes on from here", file=sys.stderr)
        return 1
    content = ranking.content()
    write_atomic(command.out, content)
    written = [command.out, *(_plots(ranking, command.out, bundle) if command.plot else [])]
    if command.install:
        written.append(install(content, bundle))
    state.unlink(missing_ok=True)
    for name, reason in ranking.skipped[:_SHOWN]:
        print(f"styleid: {name}: {reason} (not used)", file=sys.stderr)
    record = summary(ranking) | {"written": [str(path) for path in written]}
    print(to_json_line(record) if command.json else _readable(record))
    return 0


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


def _readable(record: dict[str, Any]) -> str:
    settings = record["settings"]
    lines = [f"{settings['bundle']}, {settings['pairs_measured']} pairs ({settings['faces']}), {settings['identity']}"]
    for name, table in record["tables"].items():
        lines.append(f"{name}: {table['units']} units, Spearman of difference and ratio {table['spearman']:.3f}")
        for said, apart in table.get("between", {}).get("d_attr", {}).items():
            lines.append(f"  {said}: saves {apart['value']:+.3f} ({apart['low']:+.3f} to {apart['high']:+.3f}) of the "
                         "change of attributes")  # fmt: skip
    return "\n".join([*lines, "written: " + ", ".join(record["written"])])


def _rounded(figures: dict[str, Any]) -> dict[str, float]:
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


def _plots(ranking: Ranking, out: Path, bundle: Bundle) -> list[Path]:
    from styleid.ranking.plots import draw_all

    pictures = draw_all(ranking, bundle.spec)
    paths = [out.with_name(f"{out.stem}-{name}.png") for name in pictures]
    for path, picture in zip(paths, pictures.values(), strict=True):
        write_atomic(path, picture)
    return paths
