"""The commands of `styleid train` for the context generator: data pack, training, bundle, trait predictor.

The lab is imported where it is used, so that no other command loads it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from styleid.bundles.registry import APPEARANCE_MODEL
from styleid.commands.arguments import add_options, read_options
from styleid.commands.messages import sentence


def add_context_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands of the context generator to those of `styleid train`."""
    for name, text, fill in (
        ("context-pack", "cut and measure faces for the training of the context generator", _fill_pack),
        (
            "context-generator",
            "train the context generator, which fills faces into their surroundings; needs a context pack",
            _fill_generator,
        ),
        ("context128", "join a trained context generator into a bundle", _fill_bundle),
        (
            "predictor",
            "fit a bundle's trait predictor, which helps to choose targets that fit the head",
            _fill_predictor,
        ),
    ):
        fill(commands.add_parser(name, help=text, description=sentence(text)))


def _fill_pack(parser: argparse.ArgumentParser) -> None:
    from styleid.lab.data.context_pack import ContextPackOptions

    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--sources", type=Path, metavar="FOLDER", help="source archives (.tar)")
    source.add_argument("--shrink", type=Path, metavar="FILE", help="instead of a new pack, write a smaller copy of "
                        "this context pack, of at most --most-mb")  # fmt: skip
    parser.add_argument("--teachers", type=Path, metavar="FOLDER", help="folder with a second recogniser; by default "
                        "there is none")  # fmt: skip
    parser.add_argument(
        "--bundle",
        default=APPEARANCE_MODEL,
        help=f"bundle whose networks measure the faces (default: {APPEARANCE_MODEL})",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="context pack to write, .npz")
    parser.add_argument(
        "--most-mb",
        type=float,
        default=45.0,
        metavar="X",
        help="with --shrink, maximum size of the smaller pack in MB (default: 45)",
    )
    add_options(parser, ContextPackOptions)


def _fill_generator(parser: argparse.ArgumentParser) -> None:
    from styleid.lab.tasks.context_options import ContextOptions
    from styleid.lab.tasks.loop import TrainingOptions

    for cls in (ContextOptions, TrainingOptions):
        add_options(parser, cls)


def _fill_bundle(parser: argparse.ArgumentParser) -> None:
    from styleid.lab.tasks.context_options import BankOptions

    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="context pack, .npz, from whose "
                        "generated people the bank of targets is chosen")  # fmt: skip
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="PATH", help="checkpoint of the context "
                        "generator: the folder that it was saved to, or a .safetensors file")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder to write to")
    parser.add_argument(
        "--bundle",
        default=APPEARANCE_MODEL,
        help=f"bundle whose other networks are taken over (default: {APPEARANCE_MODEL})",
    )
    parser.add_argument(
        "--whole", action="store_true", help="keep the generator's convolutions in floating point instead of 8 bits"
    )
    add_options(parser, BankOptions)


def _fill_predictor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the bundle, which is changed")
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos with faces, a thousand or more")
    parser.add_argument("--rounds", type=int, default=2, help="new faces to draw for each face (default: 2)")


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


def _fit_predictor(values: Mapping[str, Any], say: Callable[[str], None]) -> None:
    from styleid.lab.training import fit_trait_predictor

    fit_trait_predictor(values["bundle"], values["photos"], values["rounds"], say)


CONTEXT_COMMANDS = {
    "context-pack": _make_context_pack,
    "context-generator": _train_context_generator,
    "context128": _join_context_bundle,
    "predictor": _fit_predictor,
}
