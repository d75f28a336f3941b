"""The commands of `styleid train` for the context generator: its data pack, its training, its bundle.

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
    _fill_pack(commands.add_parser("context-pack", help="cut and measure faces for context-generator"))
    text = "train the generator that fills faces into their surroundings; needs a context pack"
    _fill_generator(commands.add_parser("context-generator", help=text))
    _fill_bundle(commands.add_parser("context128", help="join a trained context generator into a bundle"))


def _fill_pack(parser: argparse.ArgumentParser) -> None:
    from styleid.lab.data.context_pack import ContextPackOptions

    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--sources", type=Path, help="folder of the source archives (.tar)")
    source.add_argument("--shrink", type=Path, help="a context pack to make a smaller one of, of --most-mb")
    parser.add_argument("--teachers", type=Path, help="folder with a second recogniser; by default there is none")
    parser.add_argument(
        "--bundle",
        default=APPEARANCE_MODEL,
        help=f"bundle whose networks measure the faces (default: {APPEARANCE_MODEL})",
    )
    parser.add_argument("--out", type=Path, required=True, help="the pack to write, an .npz file")
    parser.add_argument(
        "--most-mb", type=float, default=45.0, help="largest size of the smaller pack, in MB (default: 45)"
    )
    add_options(parser, ContextPackOptions)


def _fill_generator(parser: argparse.ArgumentParser) -> None:
    from styleid.lab.tasks.context_options import ContextOptions
    from styleid.lab.tasks.loop import TrainingOptions

    for cls in (ContextOptions, TrainingOptions):
        add_options(parser, cls)


def _fill_bundle(parser: argparse.ArgumentParser) -> None:
    from styleid.lab.tasks.context_options import BankOptions

    parser.add_argument("--data", type=Path, required=True, help="context pack, whose people make the bank of targets")
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="folder that context-generator saved to, or a .safetensors file"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--bundle",
        default=APPEARANCE_MODEL,
        help=f"bundle whose other networks are taken over (default: {APPEARANCE_MODEL})",
    )
    parser.add_argument(
        "--whole", action="store_true", help="keep the generator's convolutions in floating point instead of 8 bits"
    )
    add_options(parser, BankOptions)


def _train_context_generator(values: Mapping[str, Any], say: Callable[[str], None]) -> None:
    from styleid.lab.tasks.context_options import ContextOptions
    from styleid.lab.tasks.loop import TrainingOptions
    from styleid.lab.training import train_context_generator

    train_context_generator(read_options(ContextOptions, values), read_options(TrainingOptions, values), say)


def _make_context_pack(values: Mapping[str, Any], say: Callable[[str], None]) -> None:
    from styleid.lab.data.context_pack import ContextPackOptions, build_context_pack
    from styleid.lab.training import shrink_context_pack

    options, out = read_options(ContextPackOptions, values), values["out"]
    if values["shrink"] is not None:
        small = shrink_context_pack(values["shrink"], out, values["most_mb"], options.quality)
        say(f"{len(small)} faces, {out.stat().st_size / 1e6:.1f} MB")
        return
    counts = build_context_pack(values["sources"], out, values["teachers"], options, bundle=values["bundle"], say=say)
    say(", ".join(f"{count} {what}" for what, count in counts.items()))


def _join_context_bundle(values: Mapping[str, Any], say: Callable[[str], None]) -> None:
    from styleid.lab.tasks.context_options import BankOptions
    from styleid.lab.training import join_context_bundle

    join_context_bundle(
        values["data"],
        values["checkpoint"],
        values["out"],
        bundle=values["bundle"],
        bank=read_options(BankOptions, values),
        whole=values["whole"],
        say=say,
    )


CONTEXT_COMMANDS = {
    "context-pack": _make_context_pack,
    "context-generator": _train_context_generator,
    "context128": _join_context_bundle,
}
