"""Train one network of a bundle, or fit the appearance model, from a data pack: one function each.

`styleid.lab.tasks` has a module for each network; `styleid.lab.tasks.loop` runs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import torch

from styleid.bundles.registry import APPEARANCE_MODEL
from styleid.errors import OptionError, TrainingError
from styleid.lab.data.context_pack import ContextPack
from styleid.lab.data.pack import Pack
from styleid.lab.tasks.context_options import BankOptions, ContextOptions
from styleid.lab.tasks.device import resolve_device
from styleid.lab.tasks.loop import RunState, Task, TrainingOptions, load_network, run
from styleid.media.formats.parse.sniff import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from styleid.lab.networks.identity import IdentityNet
    from styleid.lab.networks.parser import ParserNet

Say = Callable[[str], None]


class _Sized(TypedDict, total=False):
    batch: int


@dataclass(frozen=True)
class TaskOptions:
    """Options of a network's training: data, folders, sizes and device.

    data: the data pack, an .npz file that `styleid train pack` wrote.
    teachers: folder of the teachers' files, for networks that are distilled from a teacher.
    checkpoints: folder of the checkpoints of other networks, each in a folder of its name, for networks that need them.
    batch: images per step; 0 means the default of the network.
    faces: maximum number of training faces of each archive, for networks that need the appearance model; 0 means the
      default of the network.
    wide: data pack with a margin of 40 px. New faces are drawn into its photos, and aam128 measures its thresholds on
      it.
    device: auto, cpu, cuda or cuda:N; auto uses cuda if there is a CUDA device.
    unchanged: for aam128, the bundle that the checkpoints were restored from. Its parser, recogniser, attribute
      network, inverter, mask encoder and generator are copied byte for byte instead of being quantised again.
    unlocked: let the swapper also weigh shape and coarse texture, which otherwise come from the target alone.
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

    def __post_init__(self) -> None:
        for name in ("batch", "faces"):
            if getattr(self, name) < 0:
                raise OptionError(name, f"it must be at least 0, not {getattr(self, name)}.")

    @property
    def torch_device(self) -> str:
        """The torch device, with auto resolved; raises OptionError if it cannot be used."""
        return resolve_device(self.device)

    def sized(self) -> _Sized:
        """Return `batch` as a keyword argument, or nothing if the network's own number is to be used."""
        return {"batch": self.batch} if self.batch else {}


@dataclass(frozen=True)
class GanOptions:
    """Sizes of a generator and its inverter.

    resolution: side of the images in pixels, a power of two from 8 to 128; 0 means the side of the pack's inner square,
      but at most 128 px.
    width: length of w.
    channels: upper limit of the channels of a layer.
    compiled: use torch.compile, which pays off in runs of more than a few minutes.
    """

    resolution: int = 0
    width: int = 256
    channels: int = 256
    compiled: bool = False

    def __post_init__(self) -> None:
        if self.resolution not in (0, 8, 16, 32, 64, 128):
            raise OptionError("resolution", f"it must be 0 or a power of two from 8 to 128, not {self.resolution}.")
        for name in ("width", "channels"):
            if getattr(self, name) < 1:
                raise OptionError(name, f"it must be at least 1, not {getattr(self, name)}.")


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
    frozen = trained.with_autocast()
    return TargetSeparationTask(DifferentiableComposite(wide, frozen), mapping, frozen, **options.sized())


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
    frozen, locked = trained.with_autocast(), not options.unlocked
    return SwapperTask(DifferentiableComposite(wide, frozen), mapping, frozen, people, locked=locked, **options.sized())


def _pack_of_bank(options: TaskOptions) -> Pack:
    return Pack.load(options.data).thinned(options.faces or 2000, photos_only=True)


def _wide_pack(options: TaskOptions) -> Pack:
    from styleid.lab.tasks.identity import require_whole_views

    if options.wide is None:
        raise TrainingError("`wide` is missing. Give a pack with a margin of 40 px, which the recogniser's view needs.")
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
    "identity": ("train the identity network, distilled from a teacher", _identity),
    "parser": ("train the network of labels and landmarks", _parser),
    "attributes": ("train the network of age, sex and ethnic group; needs identity", _attributes),
    "refiner": ("train the network that sharpens the appearance model's faces; needs aam and parser", _refiner),
    "mask-encoder": (
        "train the network from labels to W+ of the appearance model, for the method pixel; needs aam and parser",
        _mask_encoder,
    ),
    "target-separation": (
        "train the map that makes targets distinct; needs `wide`, aam, refiner, parser, identity and attributes",
        _target_separation,
    ),
    "swapper": (
        "train the network that weighs source and target, for the method swapper; needs target-separation and all that "
        "it needs",
        _swapper,
    ),
    "generator": ("train a StyleGAN2 generator with adaptive augmentation", _generator),
    "inverter": (
        "train the network from crops to W+ of a generator; needs generator, and uses identity if there is one",
        _inverter,
    ),
}
"""A description of each network's training, and the function that makes its task, by the network's name."""


def train_network(
    name: str, options: TaskOptions, training: TrainingOptions, gan: GanOptions | None = None, say: Say = print
) -> RunState:
    """Train one network, as `styleid train NAME` does, and write its checkpoint to `training.save_to`.

    Args:
        name: identity, parser, attributes, refiner, mask-encoder, target-separation, swapper, generator or inverter.
        options: Data, folders, sizes and device.
        training: Time budget, checkpoints and seed.
        gan: Sizes of a generator or inverter.
        say: Called with lines of progress.

    Returns:
        Steps, images and seconds of all slices so far, and the figures on held-out faces.

    Raises:
        OptionError: The name is unknown.
        TrainingError: The data pack or a checkpoint is missing or does not fit, or a loss is not finite.

    Examples:
        >>> from pathlib import Path
        >>> from styleid import TaskOptions, TrainingOptions, train_network
        >>> training = TrainingOptions("5m", steps=1, save_to=Path("parser"))
        >>> state = train_network("parser", TaskOptions(Path("pack.npz"), batch=2), training, say=lambda line: None)
        >>> state.step
        1
    """
    if name not in TASKS:
        raise OptionError("name", f"'{name}' is unknown; choose one of {', '.join(TASKS)}.")
    return run(TASKS[name][1](options, gan or GanOptions()), training, say)


def train_appearance_model(options: TaskOptions, out: Path, say: Say = print) -> None:
    """Fit the appearance model, as `styleid train aam` does.

    Args:
        options: `data`, `checkpoints` (for the parser's) and `faces` are used.
        out: Folder to write.
        say: Called with lines of progress.

    Raises:
        TrainingError: The data pack or the parser's checkpoint is missing or does not fit.
    """
    from styleid.lab.networks.aam import AAMConfig, save_aam
    from styleid.lab.tasks.aam_fit import fit_aam

    pack = Pack.load(options.data).thinned(options.faces or 3000)
    side = pack.template.size_px
    save_aam(fit_aam(pack, _trained_parser(options, side), AAMConfig(side), say), out)


def train_context_generator(options: ContextOptions, training: TrainingOptions, say: Say = print) -> RunState:
    """Train the context generator, as `styleid train context-generator` does.

    Args:
        options: Data, sizes and weights of the training.
        training: Time budget, checkpoints and seed.
        say: Called with lines of progress.

    Returns:
        Steps, images and seconds of all slices so far, and the figures on held-out faces.

    Raises:
        TrainingError: The context pack or a checkpoint is missing or does not fit, or a loss is not finite.
        BundleError: The bundle whose networks compute losses cannot be used.
    """
    from styleid.lab.bundling.context_judges import judges_of_bundle
    from styleid.lab.tasks.context_generator import ContextTask

    judges = judges_of_bundle(options.bundle, options.teachers, options.torch_device)
    return run(ContextTask(ContextPack.load(options.data), judges, options), training, say)


def join_appearance_bundle(options: TaskOptions, out: Path, say: Say = print) -> None:
    """Join the appearance model and the networks trained for it into a bundle, as `styleid train aam128` does.

    Args:
        options: `data`, `wide`, `teachers`, `checkpoints`, `faces` and `unchanged` are used.
        out: Folder to write.
        say: Called with lines of progress.

    Raises:
        TrainingError: A data pack or a checkpoint is missing or does not fit.
        BundleError: The bundle `unchanged` cannot be used.
    """
    from styleid.lab.bundling.aam128 import build_aam_bundle

    wide, folder = _wide_pack(options), options.checkpoints
    build_aam_bundle(_pack_of_bank(options), wide, folder, options.teachers, out, say, unchanged=options.unchanged)


def join_context_bundle(
    data: Path,
    checkpoint: Path,
    out: Path,
    *,
    bundle: str = APPEARANCE_MODEL,
    bank: BankOptions | None = None,
    whole: bool = False,
    say: Say = print,
) -> None:
    """Join a trained context generator into a bundle, as `styleid train context128` does.

    Args:
        data: The context pack, whose generated people form the target bank.
        checkpoint: A checkpoint's folder of `train_context_generator`, or a .safetensors file.
        out: Folder to write.
        bundle: The bundle that provides parser, recogniser, attribute network and appearance model.
        bank: Options of the target bank.
        whole: Keep the generator's convolutions in floating point instead of 8 bits.
        say: Called with lines of progress.

    Raises:
        TrainingError: The context pack or the checkpoint is missing or does not fit.
        BundleError: The bundle cannot be used.
    """
    from styleid.lab.bundling.context128 import build_context_bundle

    pack = ContextPack.load(data)
    build_context_bundle(pack, checkpoint, out, say, bundle=bundle, bank=bank or BankOptions(), eight_bits=not whole)


def fit_trait_predictor(bundle: Path, photos: Path, rounds: int = 2, say: Say = print) -> None:
    """Fit a bundle's trait predictor on a folder of photos, as `styleid train predictor` does.

    Args:
        bundle: The bundle's folder; its `bundle.json` is changed and `predictor.npz` written.
        photos: Folder of photos with faces; other files in it are ignored.
        rounds: New faces to draw for each face in the photos, at least 1.
        say: Called with lines of progress.

    Raises:
        TrainingError: The photos show too few faces.
        OptionError: rounds is below 1.
        BundleError: The bundle cannot be used.
        ImageError: A photo cannot be read.
    """
    from styleid.lab.bundling.predictor import write_predictor

    if rounds < 1:
        raise OptionError("rounds", f"it must be at least 1, not {rounds}.")
    paths = sorted(path for path in photos.glob("**/*") if path.suffix.lower() in IMAGE_SUFFIXES)
    write_predictor(bundle, paths, rounds, say)


def shrink_context_pack(source: Path, out: Path, most_mb: float = 45.0, quality: int = 88) -> ContextPack:
    """Write a smaller context pack: crops at another quality, and as many faces as fit.

    Args:
        source: A context pack.
        out: The pack to write, an .npz file.
        most_mb: Largest size of the new pack, in MB.
        quality: WebP quality of its pictures, 1 to 100.

    Returns:
        The new pack.

    Raises:
        TrainingError: The source is no context pack.
    """
    small = ContextPack.load(source).fitted(int(most_mb * 1e6), quality)
    small.save(out)
    return small
