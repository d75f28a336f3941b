"""Build of a bundle from the public StyleID release's files: load them strictly, export the networks, describe them.

Recogniser, attribute network and parser can be left out; the built-in bundle's networks replace them. Landmarks always
come from the built-in parser. The built-in networks take another crop, so they are joined with the resampling between
the two crops.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from styleid.bundles.build_options import BuildOptions
from styleid.bundles.registry import load_bundle
from styleid.errors import CheckpointError, OutputError
from styleid.faces.align import CropTemplate, ffhq_matrix
from styleid.lab.export.network import ExportReport, export_network
from styleid.lab.export.stylegan2 import export_stylegan2
from styleid.lab.networks import mobilenet, unet
from styleid.lab.networks.stylegan2 import Generator
from styleid.lab.networks.wrappers import Described, FromOtherCrop, OneHot, Resized, ToOtherCrop
from styleid.lab.upstream import kinds
from styleid.lab.upstream.describe import Parts, write_description
from styleid.lab.upstream.graphs import GraphPart, join
from styleid.lab.upstream.rankings import read_rankings
from styleid.lab.upstream.thresholds import thresholds_of
from styleid.runtime import open_session

_LABELS_AT_MOST = 256
Say = Callable[[str], None]


def build_ffhq_bundle(options: BuildOptions, say: Say = print) -> Path:
    """Write a bundle to a folder, completely or not at all. An older bundle in the folder is replaced.

    Args:
        options: The files to build from, and the folder.
        say: Called with a line of progress for each file.

    Returns:
        The folder.

    Raises:
        CheckpointError: If a file cannot be read, is of another kind, or does not fit the generator.
        OptionError: If thresholds cannot be measured with `options.strangers`.
        OutputError: If `options.out` exists and is neither a bundle nor an empty folder.
        TrainingError: If an exported file differs from torch.
    """
    out = options.out
    if out.exists() and not (out.is_dir() and ((out / "bundle.json").is_file() or not any(out.iterdir()))):
        raise OutputError(out, "it exists and is not a bundle. Name a folder that does not exist yet.")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _Build(options, partial, say).run()
        shutil.rmtree(out, ignore_errors=True)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


@dataclass
class _Build:
    options: BuildOptions
    folder: Path
    say: Say
    parity: float = 0.0

    def run(self) -> None:
        generator = self._load(self.options.generator, kinds.GENERATOR).network
        assert isinstance(generator, Generator)
        self.side, self.layers = generator.config.resolution, generator.config.layers
        self.stand_in = load_bundle()
        self.matrix = ffhq_matrix(self.stand_in.spec.crop.points_px, self.side)
        width = generator.config.width
        rankings = read_rankings(self.options.rankings, self.layers, width)
        draw = torch.Generator().manual_seed(0)
        coarse = torch.randn(3, 3, 8, 8, generator=draw)
        self.crop = nn.functional.interpolate(coarse, (self.side, self.side), mode="bicubic").tanh()
        self.reports: dict[str, ExportReport] = {}
        with tempfile.TemporaryDirectory(dir=self.folder.parent) as workshop:
            self.workshop = Path(workshop)
            mean_w = generator.mean_w()
            self._generator(generator)
            del generator
            self._inverter(mean_w)
            self._mask_encoder(mean_w)
            self._swapper()
            self._parser()
            self._attributes()
            self._identity()
        crop = CropTemplate.ffhq(self.side)
        identity_crop, thresholds, origin = thresholds_of(self.options, self.stand_in, self.folder)
        parts = Parts(crop, identity_crop, self.layers, width, thresholds, origin, self.reports, rankings)
        write_description(self.folder, self.options, parts, self.stand_in)

    def _generator(self, generator: Generator) -> None:
        reports = export_stylegan2(generator, self.folder, truncation=self.options.truncation)
        for role, report in reports.items():
            self._keep(role, report)

    def _inverter(self, mean_w: torch.Tensor) -> None:
        loaded = self._load(self.options.inverter, kinds.INVERTER)
        encoder = self._fitted(loaded, mean_w, self.options.inverter)
        encoder.deltas = loaded.options.get("encoder_type", "Encoder4Editing") == "Encoder4Editing"
        network = Resized(encoder, self.side, encoder.config.side)
        self._export("inverter", network, {"crop": self.crop}, ["w_plus"])

    def _mask_encoder(self, mean_w: torch.Tensor) -> None:
        path = self.options.mask_encoder
        if path is None:
            return
        encoder = self._fitted(self._load(path, kinds.MASK_ENCODER), mean_w, path)
        side = encoder.config.side
        labels = torch.randint(0, kinds.LABELS, (3, 8, 8), generator=torch.Generator().manual_seed(1))
        labels = labels.repeat_interleave(side // 8, 1).repeat_interleave(side // 8, 2).float()
        self._export("mask_encoder", OneHot(encoder, kinds.LABELS), {"labels": labels}, ["w_plus"])

    def _swapper(self) -> None:
        if self.options.swapper is None:
            return
        mapper = self._load(self.options.swapper, kinds.SWAPPER).network
        draw = torch.Generator().manual_seed(2)
        pair = {name: torch.randn(3, self.layers, mapper.config.width, generator=draw) for name in ("source", "target")}
        self._export("swapper", mapper, pair, ["share"])

    def _parser(self) -> None:
        out, spec = min(self.side, _LABELS_AT_MOST), self.stand_in.spec
        inner = spec.crop.size_px
        logits, points = torch.randn(3, kinds.LABELS, inner // 2, inner // 2), torch.rand(3, 68, 2) * inner
        back = FromOtherCrop(self.matrix, self.side, inner, out, kinds.LABELS)
        names = ["labels", "landmarks"]
        parts = [
            self._cut(),
            self._built_in("parser", {"crop": "inner", "labels": "inner_labels", "landmarks": "inner_landmarks"}),
            self._helper("back", back, {"inner_labels": logits, "inner_landmarks": points}, names),
        ]
        if self.options.parser is not None:
            network = Resized(self._load(self.options.parser, kinds.PARSER).network, self.side, unet.SIDE_PX)
            parts[2] = GraphPart(parts[2].file, {**parts[2].names, "labels": "built_in_labels"})
            parts.append(self._helper("unet", network, {"crop": self.crop}, ["labels"], half=True))
        self._join("parser", parts, names)

    def _attributes(self) -> None:
        if self.options.attributes is None:
            names = {"crop": "inner", "attributes": "attributes"}
            self._join("attributes", [self._cut(), self._built_in("attributes", names)], ["attributes"])
            return
        attributes = self._load(self.options.attributes, kinds.ATTRIBUTES).network
        network = Resized(attributes, self.side, mobilenet.SIDE_PX)
        given = {"described": torch.rand(3, 7), "seen": torch.rand(3, attributes.config.attributes)}
        parts = [
            self._cut(),
            self._built_in("attributes", {"crop": "inner", "attributes": "described"}),
            self._helper("mobilenet", network, {"crop": self.crop}, ["seen"], half=True),
            self._helper("described", Described(), given, ["attributes", "celeba"]),
        ]
        self._join("attributes", parts, ["attributes", "celeba"])

    def _identity(self) -> None:
        if self.options.identity is None:
            self._write("identity", self._built_in("identity", {}).file.read_bytes(), 0.0)
            return
        network = self._load(self.options.identity, kinds.IDENTITY).network
        side = network.config.side
        face = nn.functional.interpolate(self.crop, (side, side), mode="bilinear")
        self._export("identity", network, {"crop": face}, ["embedding"])

    # ------------------------------------------------------------------ tools

    def _load(self, path: Path, kind: kinds.CheckpointKind) -> kinds.Loaded:
        self.say(f"reading {path.name}")
        return kinds.load_kind(path, kind)

    def _fitted(self, loaded: kinds.Loaded, mean_w: torch.Tensor, path: Path) -> kinds.StyleEncoder:
        """Return an encoder with its mean w set; raises CheckpointError if its W+ does not fit the generator's."""
        encoder = loaded.network
        if (encoder.config.rows, encoder.config.width) != (self.layers, len(mean_w)):
            raise CheckpointError(
                path,
                f"it encodes W+ of {encoder.config.rows} x {encoder.config.width}, but the generator takes "
                f"{self.layers} x {len(mean_w)}. Give the encoder that belongs to the generator.",
            )
        average = mean_w if loaded.latent_avg is None else loaded.latent_avg
        if average.shape not in ((len(mean_w),), (self.layers, len(mean_w))):
            raise CheckpointError(path, f"its latent_avg has shape {tuple(average.shape)}, which does not fit W+.")
        encoder.latent_avg = average.detach()
        return encoder

    def _cut(self) -> GraphPart:
        """Return the graph that resamples the built-in bundle's crop from this one."""
        network = ToOtherCrop(self.matrix, self.side, self.stand_in.spec.crop.size_px)
        return self._helper("cut", network, {"crop": self.crop}, ["inner"])

    def _built_in(self, role: str, names: dict[str, str]) -> GraphPart:
        self.stand_in.check(role)
        return GraphPart(self.stand_in.folder / self.stand_in.spec.networks[role].file, names)

    def _helper(
        self, name: str, network: nn.Module, inputs: dict[str, torch.Tensor], outputs: list[str], half: bool = False
    ) -> GraphPart:
        path = self.workshop / f"{name}.onnx"
        self.parity = max(self.parity, export_network(network, inputs, outputs, path, half=half).max_error)
        return GraphPart(path, {value: value for value in [*inputs, *outputs]})

    def _export(self, role: str, network: nn.Module, inputs: dict[str, torch.Tensor], outputs: list[str]) -> None:
        self._keep(role, export_network(network, inputs, outputs, self.folder / f"{role}.onnx"))

    def _join(self, role: str, parts: list[GraphPart], outputs: list[str]) -> None:
        content = join(parts, ["crop"], outputs)
        open_session(content).run(None, {"crop": self.crop[:1].numpy()})
        self._write(role, content, self.parity)
        self.parity = 0.0

    def _write(self, role: str, content: bytes, error: float) -> None:
        path = self.folder / f"{role}.onnx"
        path.write_bytes(content)
        opset = self.stand_in.spec.networks[role].opset
        self._keep(role, ExportReport(path, error, len(content), opset, hashlib.sha256(content).hexdigest()))

    def _keep(self, role: str, report: ExportReport) -> None:
        self.reports[role] = report
        self.say(f"{role}: {report.size_bytes / 1e6:.1f} MB, difference from torch {report.max_error:.1e}")
