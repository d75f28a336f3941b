"""Train the networks of a bundle: a table of tasks, one run contract (`styleid.lab.loop`)."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from styleid.errors import TrainingError
from styleid.lab.loop import RunOptions, Task, run
from styleid.lab.pack import Pack


@dataclass(frozen=True)
class GanOptions:
    """Shape a generator, and say what an inverter learns from.

    resolution: side of the images (0: the pack's, at most 128). width: of w. channels: at most so many anywhere.
    compiled: use torch.compile. generator, identity: checkpoints' folders, for the inverter; identity may be None.
    """

    resolution: int = 0
    width: int = 256
    channels: int = 256
    compiled: bool = False
    generator: Path | None = None
    identity: Path | None = None


def make_task(name: str, pack: Pack, teachers: Path, device: str, batch: int, *, gan: GanOptions | None = None) -> Task:
    """Build the named task on a pack."""
    size = {"batch": batch} if batch else {}
    if name == "identity":
        from styleid.lab.identity import IdentityTask

        return IdentityTask(pack, teachers, device=device, **size)
    if name == "parser":
        from styleid.lab.parser import ParserTask

        return ParserTask(pack, device=device, **size)
    if name == "attributes":
        from styleid.lab.attributes import AttributesTask

        return AttributesTask(pack, device=device, **size)
    if name == "generator":
        return _generator_task(pack, device, batch or 32, gan or GanOptions())
    if name == "inverter":
        return _inverter_task(pack, device, batch or 32, gan or GanOptions())
    raise KeyError(name)


def _generator_task(pack: Pack, device: str, batch: int, gan: GanOptions) -> Task:
    from styleid.lab.generator_task import GeneratorOptions, GeneratorTask
    from styleid.lab.inner import inner_square
    from styleid.lab.stylegan2 import GeneratorConfig

    side = gan.resolution or min(128, inner_square(pack.template)[0])
    config = GeneratorConfig.mini(side, gan.width, most_channels=gan.channels)
    return GeneratorTask(pack, config, GeneratorOptions(compiled=gan.compiled), device=device, batch=batch)


def _inverter_task(pack: Pack, device: str, batch: int, gan: GanOptions) -> Task:
    from styleid.lab.generator_task import load_discriminator, load_generator
    from styleid.lab.identity import IdentityNet
    from styleid.lab.inverter import InnerEmbedder, InverterConfig, InverterTask
    from styleid.lab.loop import load_network

    if gan.generator is None:
        raise TrainingError("An inverter needs a generator's checkpoint. Type: --generator FOLDER")
    generator = load_generator(gan.generator)
    identity = None
    if gan.identity is not None:
        identity = InnerEmbedder(load_network(IdentityNet(), gan.identity, "identity"), generator.config.resolution)
    config = InverterConfig.beside(generator.config, gan.channels)
    judge = load_discriminator(gan.generator)
    return InverterTask(pack, generator, judge, identity, config=config, device=device, batch=batch)


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--teachers", type=Path)
    parser.add_argument("--time-budget", default="8m")
    parser.add_argument("--total-time", default="0s")
    parser.add_argument("--save-every", default="5m")
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--resume-from", type=Path)
    parser.add_argument("--save-to", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--resolution", type=int, default=0)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--generator", type=Path)
    parser.add_argument("--identity", type=Path)
    a = parser.parse_args(arguments)
    gan = GanOptions(a.resolution, a.width, a.channels, a.compiled, a.generator, a.identity)
    task = make_task(a.name, Pack.load(a.data), a.teachers, a.device, a.batch, gan=gan)
    run(task, RunOptions(a.time_budget, a.total_time, a.steps, a.save_every, a.resume_from, a.save_to), say)


if __name__ == "__main__":
    main()
