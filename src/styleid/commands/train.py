"""Train the networks of a bundle: a table of tasks, one run contract (`styleid.lab.tasks.loop`).

`pack` and `context-pack` make the data, `aam` fits the appearance model, `aam128` joins what was trained into a bundle,
`context128` joins a context generator into another, `restore` makes checkpoints of a bundle's networks; the others
train one network each.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import torch

from styleid.bundles.registry import APPEARANCE_MODEL
from styleid.commands.arguments import add_options, read_options
from styleid.commands.train_context import CONTEXT_COMMANDS, add_context_commands
from styleid.errors import TrainingError
from styleid.lab.data.pack import Pack, PackOptions, build_pack
from styleid.lab.tasks.loop import Task, TrainingOptions, load_network, run

if TYPE_CHECKING:
    from styleid.lab.networks.identity import IdentityNet
    from styleid.lab.networks.parser import ParserNet


class Sized(TypedDict, total=False):
    """Arguments that size a task."""

    batch: int


@dataclass(frozen=True)
class TaskOptions:
    """Say what a task learns from and where it runs.

    data: the data pack, an .npz file that `styleid train pack` made.
    teachers: folder of the teachers' files, where the task has one.
    checkpoints: folder of the other networks' checkpoints, each in a folder of its name, where the task needs them.
    batch: images per step; 0 takes the task's own.
    faces: most training faces of each archive, for what needs the appearance model; 0 takes the task's own.
    wide: a pack of 40 px of margin, in whose photos new faces are tried, and by which aam128 sets thresholds.
    device: cpu or cuda; auto takes cuda where there is one.
    unchanged: for aam128, the bundle that the checkpoints were restored from, whose parser, recogniser, attributes,
      inverter, mask encoder and generator go on byte for byte instead of being rounded again.
    unlocked: let a swapper weigh shape and coarse texture too, which the identity lock takes from the target whole.
    """

    data: Path
    teachers: Path = Path("teachers")
    checkpoints: Path = Path("checkpoints")
    batch: int = 0
    faces: int = 0
    wide: Path | None = None
    device: str = "auto"
    unchanged: Path | None = None
    unlocked: bool = False

    @property
    def torch_device(self) -> str:
        """The device, with auto resolved."""
        if self.device != "auto":
            return self.device
        return "cuda" if torch.cuda.is_available() else "cpu"

    def sized(self) -> Sized:
        """Return the batch as an argument, nothing where the task's own is wanted."""
        return {"batch": self.batch} if self.batch else {}


@dataclass(frozen=True)
class GanOptions:
    """Shape a generator and its inverter.

    resolution: side of the images; 0 takes the pack's inner square, at most 128 px.
    width: of w.
    channels: at most so many anywhere.
    compiled: use torch.compile.
    """

    resolution: int = 0
    width: int = 256
    channels: int = 256
    compiled: bool = False


def _identity(options: TaskOptions, gan: GanOptions) -> Task:
    from styleid.lab.tasks.identity import IdentityTask, require_whole_views

    pack = require_whole_views(Pack.load(options.data))
    return IdentityTask(pack, options.teachers, device=options.torch_device, **options.sized())


def _recogniser(options: TaskOptions) -> IdentityNet:
    from styleid.lab.networks.identity import IdentityNet

    network = IdentityNet()
    load_network(network, options.checkpoints / "identity", "identity")
    return network


def _trained_parser(options: TaskOptions, size_px: int) -> ParserNet:
    from styleid.lab.networks.parser import ParserConfig, ParserNet

    network = ParserNet(ParserConfig(size_px))
    load_network(network, options.checkpoints / "parser", "parser")
    return network


def _parser(options: TaskOptions, gan: GanOptions) -> Task:
    from styleid.lab.tasks.parser import ParserTask

    return ParserTask(Pack.load(options.data), device=options.torch_device, **options.sized())


def _attributes(options: TaskOptions, gan: GanOptions) -> Task:
    from styleid.lab.tasks.attributes import AttributesTask

    pack, recogniser = Pack.load(options.data), _recogniser(options)
    return AttributesTask(pack, recogniser, device=options.torch_device, **options.sized())


def _refiner(options: TaskOptions, gan: GanOptions) -> Task:
    from styleid.lab.networks.aam import load_aam
    from styleid.lab.networks.refiner import RefinerConfig
    from styleid.lab.tasks.refiner import RefinerTask

    pack, model = Pack.load(options.data).thinned(options.faces or 2000), load_aam(options.checkpoints / "aam")
    side = pack.template.size_px
    parser = _trained_parser(options, side)
    return RefinerTask(pack, model, parser, RefinerConfig(side), device=options.torch_device, **options.sized())


def _mask_encoder(options: TaskOptions, gan: GanOptions) -> Task:
    from styleid.lab.networks.aam import load_aam
    from styleid.lab.tasks.mask_encoder import MaskEncoderTask

    pack, model = Pack.load(options.data).thinned(options.faces or 2000), load_aam(options.checkpoints / "aam")
    parser = _trained_parser(options, pack.template.size_px)
    return MaskEncoderTask(pack, model, parser, device=options.torch_device, **options.sized())


def _target_separation(options: TaskOptions, gan: GanOptions) -> Task:
    from styleid.lab.bundling.bank import ReadFaces, fit_bank
    from styleid.lab.tasks.differentiable_composite import DifferentiableComposite
    from styleid.lab.tasks.target_separation import TargetSeparationTask
    from styleid.lab.tasks.trained import Trained

    pack, wide, trained = _pack_of_bank(options), _wide_pack(options), Trained.load(options.checkpoints)
    mapping = fit_bank(pack, ReadFaces.of(pack, trained), trained)
    quick = trained.quick()
    return TargetSeparationTask(DifferentiableComposite(wide, quick), mapping, quick, **options.sized())


def _swapper(options: TaskOptions, gan: GanOptions) -> Task:
    from styleid.lab.bundling.bank import ReadFaces, fit_bank
    from styleid.lab.tasks.differentiable_composite import DifferentiableComposite
    from styleid.lab.tasks.swapper import SwapperTask
    from styleid.lab.tasks.target_separation import load_target_separation
    from styleid.lab.tasks.trained import Trained

    pack, wide, trained = _pack_of_bank(options), _wide_pack(options), Trained.load(options.checkpoints)
    faces = ReadFaces.of(pack, trained)
    mapping = fit_bank(pack, faces, trained, load_target_separation(options.checkpoints, trained.model.config))
    people = faces.codes[torch.from_numpy(~pack.held_out)]
    quick, locked = trained.quick(), not options.unlocked
    return SwapperTask(DifferentiableComposite(wide, quick), mapping, quick, people, locked=locked, **options.sized())


def _pack_of_bank(options: TaskOptions) -> Pack:
    return Pack.load(options.data).thinned(options.faces or 2000, photos_only=True)


def _wide_pack(options: TaskOptions) -> Pack:
    from styleid.lab.tasks.identity import require_whole_views

    if options.wide is None:
        raise TrainingError("--wide is missing: the recogniser sees more of a photo than the other networks do.")
    return require_whole_views(Pack.load(options.wide))


def _generator(options: TaskOptions, gan: GanOptions) -> Task:
    from styleid.lab.data.inner import inner_square
    from styleid.lab.networks.stylegan2 import GeneratorConfig
    from styleid.lab.tasks.generator import GeneratorOptions, GeneratorTask

    pack = Pack.load(options.data)
    side = gan.resolution or min(128, inner_square(pack.template)[0])
    config = GeneratorConfig.mini(side, gan.width, most_channels=gan.channels)
    how = GeneratorOptions(compiled=gan.compiled)
    return GeneratorTask(pack, config, how, device=options.torch_device, batch=options.batch or 32)


def _inverter(options: TaskOptions, gan: GanOptions) -> Task:
    from styleid.lab.networks.inverter import InnerEmbedder, InverterConfig
    from styleid.lab.tasks.generator import load_discriminator, load_generator
    from styleid.lab.tasks.inverter import InverterTask

    pack, folder = Pack.load(options.data), options.checkpoints / "generator"
    generator, judge = load_generator(folder), load_discriminator(folder)
    identity = None
    if (options.checkpoints / "identity").is_dir():
        identity = InnerEmbedder(_recogniser(options), generator.config.resolution)
    return InverterTask(
        pack,
        generator,
        judge,
        identity,
        config=InverterConfig.beside(generator.config, gan.channels),
        device=options.torch_device,
        batch=options.batch or 32,
    )


TASKS: dict[str, tuple[str, Callable[[TaskOptions, GanOptions], Task]]] = {
    "identity": ("the identity network, distilled from a teacher", _identity),
    "parser": ("labels and landmarks", _parser),
    "attributes": ("age, sex, group; needs identity", _attributes),
    "refiner": ("sharpens what the appearance model renders; needs aam and parser", _refiner),
    "mask-encoder": ("labels to W+ of the appearance model, for the method pixel; needs aam and parser", _mask_encoder),
    "target-separation": (
        "sets targets apart; needs --wide, aam, refiner, parser, identity and attributes",
        _target_separation,
    ),
    "swapper": (
        "weighs source against target, for the method swapper; needs target-separation and what that needs",
        _swapper,
    ),
    "generator": ("a StyleGAN2 with adaptive augmentation", _generator),
    "inverter": ("crops to W+ of a generator; needs generator, uses identity", _inverter),
}

_ONLY = {
    "wide": ("target-separation", "swapper", "aam128"),
    "unchanged": ("aam128",),
    "unlocked": ("swapper",),
    "teachers": ("identity", "aam128"),
}
"""Options that few commands have."""

_FORMERLY = {"target-separation": ("spread",), "restore": ("revive",)}
"""Earlier names of commands, which are still taken."""


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> int:
    """Run one training command."""
    values = vars(build_parser().parse_args(arguments))
    return _run(_today(str(values.pop("name"))), values, say)


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
        command = commands.add_parser(name, aliases=_FORMERLY.get(name, ()), help=text)
        shape = (GanOptions,) if name in ("generator", "inverter") else ()
        for cls in (TaskOptions, TrainingOptions, *shape):
            add_options(command, cls, skip=_unknown_to(name))
    add_context_commands(commands)
    again = commands.add_parser(
        "restore", aliases=_FORMERLY["restore"], help="checkpoints of a bundle's own networks, to train them on"
    )
    again.add_argument(
        "--bundle",
        default=APPEARANCE_MODEL,
        help=f"a built-in bundle's name, or a folder (default: {APPEARANCE_MODEL})",
    )
    again.add_argument("--data", type=Path, help="data pack; needed to train on what had its normalisation folded")
    again.add_argument("--checkpoints", type=Path, required=True, help="folder to write a checkpoint of each into")
    for name, text in {"aam": "fit the appearance model", "aam128": "join what was trained into a bundle"}.items():
        command = commands.add_parser(name, help=text)
        add_options(
            command,
            TaskOptions,
            skip=("batch", "device", *_unknown_to(name), *(("teachers",) if name == "aam" else ())),
        )
        command.add_argument("--out", type=Path, required=True, help="folder to write")
    return parser


def _today(command: str) -> str:
    """Return a command's name of today."""
    return next((name for name, earlier in _FORMERLY.items() if command in earlier), command)


def _unknown_to(command: str) -> tuple[str, ...]:
    return tuple(option for option, commands in _ONLY.items() if command not in commands)


def _run(name: str, values: dict[str, object], say: Callable[[str], None]) -> int:
    if name == "pack":
        counts = build_pack(values["sources"], values["out"], values["teachers"], read_options(PackOptions, values))  # type: ignore[arg-type]
        say(", ".join(f"{count} {what}" for what, count in counts.items()))
        return 0
    if name in CONTEXT_COMMANDS:
        return CONTEXT_COMMANDS[name](values, say)
    if name == "restore":
        from styleid.lab.bundling.restore import restore_bundle

        data = values["data"]
        restore_bundle(
            str(values["bundle"]), Path(str(values["checkpoints"])), data if isinstance(data, Path) else None, say
        )
        return 0
    options = read_options(TaskOptions, values)
    if name in TASKS:
        gan = read_options(GanOptions, values) if "channels" in values else GanOptions()
        run(TASKS[name][1](options, gan), read_options(TrainingOptions, values), say)
        return 0
    out = values["out"]
    if not isinstance(out, Path):
        raise TrainingError("--out is missing.")
    if name == "aam":
        from styleid.lab.networks.aam import AAMConfig, save_aam
        from styleid.lab.tasks.aam_fit import fit_aam

        pack = Pack.load(options.data).thinned(options.faces or 3000)
        side = pack.template.size_px
        save_aam(fit_aam(pack, _trained_parser(options, side), AAMConfig(side), say), out)
        return 0
    from styleid.lab.bundling.aam128 import build_aam_bundle

    wide, folder = _wide_pack(options), options.checkpoints
    build_aam_bundle(_pack_of_bank(options), wide, folder, options.teachers, out, say, unchanged=options.unchanged)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
