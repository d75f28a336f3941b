"""The commands of `styleid train` that make the context generator: its pack, its training, its bundle.

The lab is imported where it is used, so that no other command loads it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from styleid.bundles.registry import APPEARANCE_MODEL
from styleid.commands.arguments import add_options, read_options


def add_context_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands of the context generator to those of `styleid train`."""
    from styleid.lab.data.context_pack import ContextPackOptions
    from styleid.lab.tasks.context_options import BankOptions, ContextOptions
    from styleid.lab.tasks.loop import TrainingOptions

    pack = commands.add_parser("context-pack", help="cut faces and what networks see in them for context-generator")
    source = pack.add_mutually_exclusive_group(required=True)
    source.add_argument("--sources", type=Path, help="folder of the source archives (.tar)")
    source.add_argument("--shrink", type=Path, help="a context pack to make a smaller one of, by --most-mb")
    pack.add_argument("--teachers", type=Path, help="folder of a second recogniser's file; none where it is left out")
    pack.add_argument(
        "--bundle", default=APPEARANCE_MODEL, help=f"whose networks look at the faces (default: {APPEARANCE_MODEL})"
    )
    pack.add_argument("--out", type=Path, required=True, help="the pack to write, an .npz file")
    pack.add_argument("--most-mb", type=float, default=45.0, help="size of the smaller pack (default: 45)")
    add_options(pack, ContextPackOptions)
    command = commands.add_parser("context-generator", help="fills faces into their surroundings; needs a context pack")
    for cls in (ContextOptions, TrainingOptions):
        add_options(command, cls)
    command = commands.add_parser("context128", help="join a trained context generator into a bundle")
    command.add_argument("--data", type=Path, required=True, help="the context pack, whose people make the bank")
    command.add_argument(
        "--checkpoint", type=Path, required=True, help="a folder of context-generator's, or a .safetensors file"
    )
    command.add_argument("--out", type=Path, required=True, help="folder to write")
    command.add_argument(
        "--bundle", default=APPEARANCE_MODEL, help=f"whose parser and judges serve (default: {APPEARANCE_MODEL})"
    )
    command.add_argument("--whole", action="store_true", help="keep the generator's convolutions floating point")
    add_options(command, BankOptions)


def _train_context_generator(values: Mapping[str, Any], say: Callable[[str], None]) -> int:
    from styleid.lab.bundling.context_judges import judges_of_bundle
    from styleid.lab.data.context_pack import ContextPack
    from styleid.lab.tasks.context_generator import ContextTask
    from styleid.lab.tasks.context_options import ContextOptions
    from styleid.lab.tasks.loop import TrainingOptions, run

    options = read_options(ContextOptions, values)
    judges = judges_of_bundle(options.bundle, options.teachers, options.torch_device)
    run(ContextTask(ContextPack.load(options.data), judges, options), read_options(TrainingOptions, values), say)
    return 0


def _make_context_pack(values: Mapping[str, Any], say: Callable[[str], None]) -> int:
    from styleid.lab.data.context_pack import ContextPack, ContextPackOptions, build_context_pack

    options, out = read_options(ContextPackOptions, values), values["out"]
    if values["shrink"] is not None:
        small = ContextPack.load(values["shrink"]).fitted(int(values["most_mb"] * 1e6), options.quality)
        small.save(out)
        say(f"{len(small)} faces, {out.stat().st_size / 1e6:.1f} MB")
        return 0
    counts = build_context_pack(
        values["sources"], out, values["teachers"], options, bundle=str(values["bundle"]), say=say
    )
    say(", ".join(f"{count} {what}" for what, count in counts.items()))
    return 0


def _join_context_bundle(values: Mapping[str, Any], say: Callable[[str], None]) -> int:
    from styleid.lab.bundling.context128 import build_context_bundle
    from styleid.lab.data.context_pack import ContextPack
    from styleid.lab.tasks.context_options import BankOptions

    pack, bank = ContextPack.load(values["data"]), read_options(BankOptions, values)
    eight_bits = not values["whole"]
    build_context_bundle(
        pack, values["checkpoint"], values["out"], say, bundle=values["bundle"], bank=bank, eight_bits=eight_bits
    )
    return 0


CONTEXT_COMMANDS = {
    "context-pack": _make_context_pack,
    "context-generator": _train_context_generator,
    "context128": _join_context_bundle,
}
