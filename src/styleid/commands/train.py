"""styleid train: the commands that make data packs, train networks and join them into bundles.

`pack` and `context-pack` make the data, `aam` fits the appearance model, `aam128` and `context128` join what was
trained into a bundle, `restore` writes checkpoints of a bundle's networks; the others train one network each.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from styleid.bundles.registry import APPEARANCE_MODEL
from styleid.commands.arguments import add_options, read_options
from styleid.commands.messages import with_flags
from styleid.commands.train_context import CONTEXT_COMMANDS, add_context_commands
from styleid.lab.bundling.restore import restore_bundle
from styleid.lab.data.pack import PackOptions, build_pack
from styleid.lab.tasks.loop import TrainingOptions
from styleid.lab.training import (
    TASKS,
    GanOptions,
    TaskOptions,
    join_appearance_bundle,
    train_appearance_model,
    train_network,
)

Say = Callable[[str], None]

_ONLY = {
    "wide": ("target-separation", "swapper", "aam128"),
    "unchanged": ("aam128",),
    "unlocked": ("swapper",),
    "teachers": ("identity", "aam128"),
}
"""Options that few commands have."""

_FORMERLY = {"target-separation": ("spread",), "restore": ("revive",)}
"""Earlier names of commands, which still work."""


def main(arguments: Sequence[str] | None = None, say: Say = print) -> int:
    """Run one training command and return its exit status."""
    values = vars(build_parser().parse_args(arguments))
    name = _today(str(values.pop("name")))
    command = _RUN[name] if name in _RUN else _network(name)
    command(values, say)
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all training commands."""
    parser = argparse.ArgumentParser("styleid train", description=__doc__.split("\n")[0] if __doc__ else None)
    commands = parser.add_subparsers(metavar="NAME", required=True, dest="name")
    pack = commands.add_parser("pack", help="cut aligned faces from the source archives into a data pack")
    pack.add_argument("--sources", type=Path, required=True, help="folder of the source archives (.tar)")
    pack.add_argument("--teachers", type=Path, required=True, help="folder of the teachers' files")
    pack.add_argument("--out", type=Path, required=True, help="the pack to write, an .npz file")
    add_options(pack, PackOptions)
    for name, (text, _) in TASKS.items():
        command = commands.add_parser(name, aliases=_FORMERLY.get(name, ()), help=with_flags(text))
        sizes = (GanOptions,) if name in ("generator", "inverter") else ()
        for cls in (TaskOptions, TrainingOptions, *sizes):
            add_options(command, cls, skip=_unknown_to(name))
    add_context_commands(commands)
    again = commands.add_parser(
        "restore", aliases=_FORMERLY["restore"], help="write checkpoints of a bundle's networks, to train them further"
    )
    again.add_argument(
        "--bundle",
        default=APPEARANCE_MODEL,
        help=f"name of a built-in bundle, or a folder with a bundle.json (default: {APPEARANCE_MODEL})",
    )
    again.add_argument("--data", type=Path, help="data pack; needed for networks whose normalisation was folded in")
    again.add_argument("--checkpoints", type=Path, required=True, help="folder for one checkpoint of each network")
    for name, text in {
        "aam": "fit the appearance model",
        "aam128": "join the appearance model and its networks into a bundle",
    }.items():
        command = commands.add_parser(name, help=text)
        skipped = ("batch", "device", *_unknown_to(name), *(("teachers",) if name == "aam" else ()))
        add_options(command, TaskOptions, skip=skipped)
        command.add_argument("--out", type=Path, required=True, help="folder to write")
    return parser


def _today(command: str) -> str:
    """Return a command's present name."""
    return next((name for name, earlier in _FORMERLY.items() if command in earlier), command)


def _unknown_to(command: str) -> tuple[str, ...]:
    return tuple(option for option, commands in _ONLY.items() if command not in commands)


def _pack(values: Mapping[str, Any], say: Say) -> None:
    counts = build_pack(values["sources"], values["out"], values["teachers"], read_options(PackOptions, values))
    say(", ".join(f"{count} {what}" for what, count in counts.items()))


def _restore(values: Mapping[str, Any], say: Say) -> None:
    restore_bundle(values["bundle"], values["checkpoints"], values["data"], say)


def _network(name: str) -> Callable[[Mapping[str, Any], Say], None]:
    def train(values: Mapping[str, Any], say: Say) -> None:
        gan = read_options(GanOptions, values) if "channels" in values else None
        train_network(name, read_options(TaskOptions, values), read_options(TrainingOptions, values), gan, say)

    return train


_RUN: dict[str, Callable[[Mapping[str, Any], Say], None]] = {
    "pack": _pack,
    "restore": _restore,
    "aam": lambda values, say: train_appearance_model(read_options(TaskOptions, values), values["out"], say),
    "aam128": lambda values, say: join_appearance_bundle(read_options(TaskOptions, values), values["out"], say),
    **CONTEXT_COMMANDS,
}


if __name__ == "__main__":
    raise SystemExit(main())
