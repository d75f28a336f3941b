"""styleid rank: which units of a bundle's latent space change identity, and little else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from styleid.api.ranking import rank_bundle
from styleid.bundles.registry import DEFAULT
from styleid.commands.messages import warn, warn_of_each, with_flags
from styleid.commands.progress import progress
from styleid.engine.journal import to_json_line
from styleid.ranking.run import RankOptions
from styleid.runtime import Device


@dataclass(frozen=True)
class RankCommandOptions:
    """Choose what the command uses, writes and prints.

    out: file for the scores, .npz.
    bundle: name of a built-in bundle, or a folder with a bundle.json.
    device: where networks run: cpu, cuda, tensorrt or coreml.
    identity: recogniser that ranks: gate (the bundle's own), dlib, or an .onnx file with a card as styleid evaluate
        reads it.
    judge: recogniser that measures the curves; a recogniser that did not rank shows more.
    plot: also measure curves of privacy and utility, and draw them and heat maps as PNG beside the scores;
      needs matplotlib, of the extra eval.
    install: also write the scores into the bundle's folder and name them in its bundle.json.
    json: print a summary as one line of JSON on standard output.
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


def rank(options: RankOptions, command: RankCommandOptions) -> int:
    """Rank a bundle's units and write the scores; print what was found and return the exit status."""
    try:
        with progress(command.quiet or command.json) as watch:
            ranked = rank_bundle(
                command.out,
                options,
                bundle=command.bundle,
                device=command.device,
                identity=command.identity,
                judge=command.judge,
                plot=command.plot,
                install=command.install,
                watch=watch,
            )
    except KeyboardInterrupt:
        warn("interrupted; the same command continues from here")
        return 1
    skipped = [f"{name}: {with_flags(reason)} (not used)" for name, reason in ranked.ranking.skipped]
    warn_of_each(skipped, " photos that were not used")
    print(to_json_line(ranked.record) if command.json else _readable(ranked.record))
    return 0


def _readable(record: Mapping[str, Any]) -> str:
    settings = record["settings"]
    lines = [f"{settings['bundle']}, {settings['pairs_measured']} pairs ({settings['faces']}), {settings['identity']}"]
    for name, table in record["tables"].items():
        lines.append(f"{name}: {table['units']} units, Spearman of difference and ratio {table['spearman']:.3f}")
        for said, apart in table.get("between", {}).get("d_attr", {}).items():
            lines.append(f"  {said}: saves {apart['value']:+.3f} ({apart['low']:+.3f} to {apart['high']:+.3f}) of the "
                         "change of attributes")  # fmt: skip
    return "\n".join([*lines, "written: " + ", ".join(record["written"])])
