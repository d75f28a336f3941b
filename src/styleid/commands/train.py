"""styleid train: make data packs, train networks, and join them into bundles.

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
from styleid.commands.messages import sentence, with_flags
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

_COMMANDS_WITH_OPTION = {
    "wide": ("target-separation", "swapper", "aam128"),
    "unchanged": ("aam128",),
    "unlocked": ("swapper",),
    "teachers": ("identity", "aam128"),
}
"""Options that few commands have."""

_ABOUT = (
    """styleid train NAME --help lists the options of a command. docs/training.md says what to run in which order."""
)

_OLD_NAMES = {"target-separation": ("spread",), "restore": ("revive",)}
"""Earlier names of commands, which still work."""


def main(arguments: Sequence[str] | None = None, say: Say = print) -> int:
    """Run one training command and return its exit status."""
    values = vars(build_parser().parse_args(arguments))
    name = _current_name(str(values.pop("name")))
    command = _RUN[name] if name in _RUN else _network(name)
    command(values, say)
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all training commands."""
    parser = argparse.ArgumentParser("styleid train", description="Make data packs, train networks, and join them into "
                                     "bundles.", epilog=_ABOUT)  # fmt: skip
    commands = parser.add_subparsers(metavar="NAME", required=True, dest="name")
    text = "cut aligned faces from the source archives into a data pack"
    pack = commands.add_parser("pack", help=text, description=sentence(text))
    pack.add_argument("--sources", type=Path, required=True, metavar="FOLDER", help="source archives (.tar)")
    pack.add_argument("--teachers", type=Path, required=True, metavar="FOLDER", help="files of the teachers")
    pack.add_argument("--out", type=Path, required=True, metavar="FILE", help="data pack to write, .npz")
    add_options(pack, PackOptions)
    for name, (text, _) in TASKS.items():
        about = with_flags(text)
        old = _OLD_NAMES.get(name, ())
        command = commands.add_parser(name, aliases=old, help=about, description=sentence(about))
        sizes = (GanOptions,) if name in ("generator", "inverter") else ()
        for cls in (TaskOptions, TrainingOptions, *sizes):
            add_options(command, cls, skip=_options_not_of(name))
    add_context_commands(commands)
    text = "write checkpoints of a bundle's networks, to train them further"
    again = commands.add_parser("restore", aliases=_OLD_NAMES["restore"], help=text, description=sentence(text))
    again.add_argument(
        "--bundle",
        default=APPEARANCE_MODEL,
        help=f"name of a built-in bundle, or a folder with a bundle.json (default: {APPEARANCE_MODEL})",
    )
    again.add_argument("--data", type=Path, metavar="FILE", help="data pack, .npz; needed for networks whose batch "
                       "normalisation was folded into their convolutions")  # fmt: skip
    again.add_argument("--checkpoints", type=Path, required=True, metavar="FOLDER", help="folder for the checkpoints, "
                       "each in a folder of its name")  # fmt: skip
    for name, text in {
        "aam": "fit the appearance model",
        "aam128": "join the appearance model and its networks into a bundle",
    }.items():
        command = commands.add_parser(name, help=text, description=sentence(text))
        skipped = ("batch", "device", *_options_not_of(name), *(("teachers",) if name == "aam" else ()))
        add_options(command, TaskOptions, skip=skipped)
        command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder to write to")
    return parser


def _current_name(command: str) -> str:
    """Return a command's present name."""
    return next((name for name, earlier in _OLD_NAMES.items() if command in earlier), command)


def _options_not_of(command: str) -> tuple[str, ...]:
    return tuple(option for option, commands in _COMMANDS_WITH_OPTION.items() if command not in commands)


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
