"""Identification and strict loading of the StyleID release's networks.

A file is unwrapped (`g_ema`, `state_dict`, `model_state_dict`; a prefix such as `encoder.`), the network's shape is
inferred from its tensors, and every name and shape is compared with the network's. Error messages name the tensors that
do not fit and what the file seems to be instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from styleid.errors import CheckpointError, TrainingError
from styleid.lab.networks.irse import EmbedderConfig, EncoderConfig, FaceEmbedder, StyleEncoder
from styleid.lab.networks.mapper import LevelsMapper, MapperConfig
from styleid.lab.networks.mobilenet import AttributeMobileNet, MobileNetConfig
from styleid.lab.networks.stylegan2 import Generator, GeneratorConfig
from styleid.lab.networks.unet import ParsingUNet, UNetConfig
from styleid.lab.upstream.files import read_tensors

State = Mapping[str, torch.Tensor]
_CONTAINERS = ("g_ema", "state_dict", "model_state_dict")
_SHOWN = 3
LABELS = 19


@dataclass(frozen=True)
class CheckpointKind:
    """One kind of network.

    Attributes:
        option: The field of `BuildOptions` that takes its file.
        text: What it is, with the usual name of its file.
        prefix: Prefix of its tensors in a larger state dict.
        marker: Name of a tensor that only this kind has.
        config: Its published shape.
        of_state: Infers the shape from a state dict.
        build: Makes the network of a shape.
        channels: Channels of its input if two kinds have the same tensor names, else 0.
    """

    option: str
    text: str
    prefix: str
    marker: str
    config: Any
    of_state: Callable[[State], Any]
    build: Callable[[Any], nn.Module]
    channels: int = 0

    def matches(self, state: State) -> bool:
        """Return whether a state dict seems to be of this kind."""
        if self.marker not in state:
            return False
        first = state.get("input_layer.0.weight")
        return not self.channels or (first is not None and first.ndim == 4 and first.shape[1] == self.channels)


GENERATOR = CheckpointKind(
    "generator",
    "a StyleGAN2 generator (stylegan2-ffhq-config-f.pt)",
    "generator",
    "conv1.conv.modulation.weight",
    GeneratorConfig(),
    GeneratorConfig.of_state,
    Generator,
)
INVERTER = CheckpointKind(
    "inverter",
    "an image encoder (e4e_ffhq_encode.pt)",
    "encoder",
    "styles.0.linear.weight",
    EncoderConfig(),
    EncoderConfig.of_state,
    StyleEncoder,
    3,
)
MASK_ENCODER = CheckpointKind(
    "mask_encoder",
    "a label map encoder (psp_celebs_seg_to_face.pt)",
    "encoder",
    "styles.0.linear.weight",
    EncoderConfig(channels=LABELS),
    EncoderConfig.of_state,
    lambda config: StyleEncoder(config, deltas=False),
    LABELS,
)
SWAPPER = CheckpointKind(
    "swapper",
    "a latent mapper (mapper.pt)",
    "mapper",
    "course_mapping.mapping.1.weight",
    MapperConfig(),
    MapperConfig.of_state,
    LevelsMapper,
)
IDENTITY = CheckpointKind(
    "identity",
    "a CurricularFace recogniser (CurricularFace_Backbone.pth)",
    "module",
    "output_layer.3.weight",
    EmbedderConfig(),
    EmbedderConfig.of_state,
    FaceEmbedder,
)
ATTRIBUTES = CheckpointKind(
    "attributes",
    "an attribute MobileNet (mobilenet_celeba.pth)",
    "module",
    "features.13.3.weight",
    MobileNetConfig(),
    MobileNetConfig.of_state,
    AttributeMobileNet,
)
PARSER = CheckpointKind(
    "parser",
    "a parsing U-Net (unet_model.pth)",
    "module",
    "up_concat1.up.weight",
    UNetConfig(),
    UNetConfig.of_state,
    ParsingUNet,
)
KINDS = (GENERATOR, INVERTER, MASK_ENCODER, SWAPPER, IDENTITY, ATTRIBUTES, PARSER)


@dataclass(frozen=True)
class Loaded:
    """A loaded network.

    Attributes:
        network: The network, in evaluation mode.
        latent_avg: The mean of w that the file stores, or None.
        options: The training options that the file stores.
    """

    network: Any
    latent_avg: torch.Tensor | None
    options: Mapping[str, Any]


def load_kind(path: Path, kind: CheckpointKind) -> Loaded:
    """Load a file strictly as one kind of network, in evaluation mode on the CPU.

    Args:
        path: The file.
        kind: The expected kind.

    Raises:
        CheckpointError: If the file cannot be read, is not of this kind, or holds values that are not finite. The
            message names the first missing, unexpected and mis-shaped tensors, and what the file seems to be.
    """
    content = read_tensors(path)
    state = unwrap(content, kind.prefix)
    if not state:
        raise CheckpointError(path, f"it holds no named tensors; expected {kind.text}.{_seems(content, kind)}")
    try:
        config = kind.of_state(state) if kind.matches(state) else kind.config
    except TrainingError:
        config = kind.config
    with torch.device("meta"):
        network = kind.build(config)
    if problems := differences(state, network.state_dict()):
        raise CheckpointError(path, f"it is not {kind.text}.{_seems(content, kind)} {problems}")
    network.load_state_dict(state, strict=True, assign=True)
    for name, buffer in network.named_buffers():
        if buffer.is_meta:  # upstream stores these buffers separately
            owner, _, last = name.rpartition(".")
            network.get_submodule(owner).register_buffer(last, torch.zeros(buffer.shape), persistent=False)
    for name, value in network.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise CheckpointError(path, f"the tensor {name} holds values that are not finite.")
    return Loaded(network.float().eval().requires_grad_(False), *_beside(content))


def unwrap(content: Any, prefix: str) -> dict[str, torch.Tensor]:
    """Return the named tensors of a checkpoint's content, without a common prefix.

    Args:
        content: What `read_tensors` returns.
        prefix: If some names begin with this prefix and a dot, only these tensors are returned.
    """
    if not isinstance(content, Mapping):
        return {}
    inside = next((content[name] for name in _CONTAINERS if isinstance(content.get(name), Mapping)), content)
    state = {str(name): value for name, value in inside.items() if isinstance(value, torch.Tensor)}
    start = f"{prefix}."
    marked = {name[len(start) :]: value for name, value in state.items() if name.startswith(start)}
    return marked or state


def differences(state: State, wanted: State) -> str:
    """Return a text that names the first tensors that do not fit, or "" if all fit.

    Args:
        state: The tensors of a file.
        wanted: The network's state dict.
    """
    missing = [name for name in wanted if name not in state]
    unexpected = [name for name in state if name not in wanted]
    shared = [name for name in wanted if name in state]
    shaped = [
        f"{name} is {_shape(state[name])} instead of {_shape(wanted[name])}"
        for name in shared
        if state[name].shape != wanted[name].shape
    ]
    parts = {"Missing": missing, "Unexpected": unexpected, "Mis-shaped": shaped}
    return " ".join(f"{what}: {_first(names)}." for what, names in parts.items() if names)


def seems(content: Any) -> CheckpointKind | None:
    """Return the kind that a checkpoint's tensors seem to be of, or None."""
    return next((kind for kind in KINDS if kind.matches(unwrap(content, kind.prefix))), None)


def _seems(content: Any, wanted: CheckpointKind) -> str:
    found = seems(content)
    if isinstance(content, torch.Tensor):
        return f" It seems to be one tensor of shape {_shape(content)}, such as a file of latent codes."
    if found is None:
        return " styleid does not recognise it."
    if "body.0.res_layer.5.fc1.weight" in unwrap(content, "module") and found is IDENTITY:
        return " It seems to be an IR-SE face recogniser (model_ir_se50.pth), which styleid does not use."
    if found is wanted:
        return " It seems to be one of another version, or incomplete."
    return f" It seems to be {found.text}; give it with `{found.option}`."


def _beside(content: Any) -> tuple[torch.Tensor | None, Mapping[str, Any]]:
    average, options = content.get("latent_avg"), content.get("opts", {})
    if not isinstance(options, Mapping):
        options = vars(options) if hasattr(options, "__dict__") else {}
    return (average.float() if isinstance(average, torch.Tensor) else None), options


def _first(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _shape(tensor: torch.Tensor) -> str:
    return " x ".join(str(length) for length in tensor.shape) or "one number"
