"""Restoration of a bundle's networks: from its ONNX files to checkpoints from which training can continue.

It is needed if the checkpoints are lost. A bundle's files keep the names of the weights, so parser, identity network,
attribute network, mask encoder, refiner and appearance model can be read back, 8-bit convolutions with their rounded
values. The target separation is multiplied into the bank, and is estimated by comparing the bundle's bank with the
pack's people. A bundle does not hold the optimisers' moments and the refiner's critic; the refiner can therefore be
used but not trained further. The swapper is not restored, because it is trained anew in ten minutes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from styleid.bundles.bundle import Bundle
from styleid.bundles.registry import find_bundle
from styleid.errors import TrainingError
from styleid.lab.bundling.bank import ReadFaces, fit_bank
from styleid.lab.data.augment import base_matrix, cut_views
from styleid.lab.data.pack import Pack
from styleid.lab.networks.aam import SHAPE_ROW, AAMConfig, ActiveAppearanceModel, save_aam
from styleid.lab.networks.attributes import AttributesConfig, AttributesNet
from styleid.lab.networks.identity import TEMPLATE, IdentityNet
from styleid.lab.networks.mask_encoder import MaskEncoder, MaskEncoderConfig
from styleid.lab.networks.parser import ParserConfig, ParserNet
from styleid.lab.networks.refiner import Refiner, RefinerConfig
from styleid.lab.networks.target_separation import TargetSeparation
from styleid.lab.tasks.aam_fit import rectangle_around
from styleid.lab.tasks.loop import RunState, save_networks
from styleid.lab.tasks.target_separation import CHECKPOINT
from styleid.lab.tasks.trained import Trained

_STATISTICS_FACES = 256
"""Number of faces for the statistics of batch normalisation."""
_EPSILON = 1e-5
"""Epsilon of batch normalisation, torch's default, which all our networks use."""
_FACES = 1000
"""Most photos of each source for the linear model of the attribute row. Generated faces are all used."""
_MODEL = "network.model."
_COUNTERS = ("num_batches_tracked",)


def restore_bundle(
    bundle: str | Path, checkpoints: Path, data: Path | None = None, say: Callable[[str], None] = print
) -> None:
    """Write checkpoints of a bundle's networks except the swapper, each in a folder of its name.

    The checkpoints record the training time that bundle.json states.

    Args:
        bundle: A built-in bundle's name, or a folder.
        checkpoints: The folder to write to.
        data: A data pack. Without it the batch statistics of folded normalisations are not recomputed, so the networks
            can be used but not trained further, and the target separation is not restored.
        say: Called with a line for each network.

    Raises:
        TrainingError: If the bundle's networks are of other kinds, a checkpoint exists already, or the pack's people do
            not match the bundle's bank; in the last case all checkpoints but the target separation are written.
        BundleError: If the bundle is missing or altered.
    """
    found = Bundle(find_bundle(bundle))
    side, quality = found.spec.crop.size_px, found.spec.quality
    networks: dict[str, tuple[nn.Module, str, str, tuple[str, ...]]] = {
        "parser": (ParserNet(ParserConfig(side)), "parser", "network.", ("student", "parser")),
        "identity": (IdentityNet(), "identity", "network.", ("student", "identity")),
        "attributes": (AttributesNet(AttributesConfig(side)), "attributes", "network.", ("student", "attributes")),
        "refiner": (Refiner(RefinerConfig(side)), "generator", "network.refiner.", ("refiner",)),
    }
    if found.has("mask_encoder"):
        first, last = found.spec.levels["shape"]
        layers, width, rows = found.spec.layers, found.spec.rows[0].width, last - first + 1
        shape = MaskEncoderConfig(side // 2, layers=layers, width=width, shape_rows=rows)
        networks["mask-encoder"] = MaskEncoder(shape), "mask_encoder", "network.", ("student", "mask_encoder")
    if taken := [name for name in (*networks, "aam", CHECKPOINT) if any((checkpoints / name).glob("*"))]:
        raise TrainingError(f"{checkpoints / taken[0]} already holds a checkpoint. Name another folder.")
    pack = Pack.load(data) if data is not None else None
    inputs = _inputs(pack) if pack is not None else {}
    for name, (network, role, prefix, parts) in networks.items():
        found.check(role)
        restore(network, found.folder / found.spec.networks[role].file, prefix)
        if name in inputs:
            recompute_statistics(network, inputs[name])
            if name == "parser":  # the first network; its labels are the mask encoder's input
                with torch.no_grad():
                    inputs["mask-encoder"] = network(inputs[name])[0].argmax(1).float()
        _save(name, dict.fromkeys(parts, network), quality, checkpoints, say)
    for role in ("generator", "inverter"):
        found.check(role)
    save_aam(appearance_model(found), checkpoints / "aam")
    say("aam: the appearance model was restored")
    if pack is not None and CHECKPOINT in quality:
        separation = _separation_of(found, pack, Trained.load(checkpoints))
        _save(CHECKPOINT, {"student": separation, CHECKPOINT: separation}, quality, checkpoints, say)


def _separation_of(bundle: Bundle, pack: Pack, trained: Trained) -> TargetSeparation:
    """Return the separation that maps a pack's people to the bank of a bundle."""
    bundle.check("mapping")
    raw = _weights(bundle.folder / bundle.spec.networks["mapping"].file)
    (people,) = (value for value in raw.values() if value.dtype == np.int8)
    given = torch.from_numpy(people.astype(np.float32) * raw["network.people_scale"].astype(np.float32))
    few = pack.thinned(_FACES, photos_only=True)
    mapping = fit_bank(few, ReadFaces.of(few, trained), trained)
    return TargetSeparation(mapping.parts, given.shape[2]).recover(mapping.people(), given)


def _save(
    name: str,
    networks: dict[str, nn.Module],
    quality: Mapping[str, Any],
    checkpoints: Path,
    say: Callable[[str], None],
) -> None:
    record = quality.get(name)
    history: dict[str, float] = dict(record) if isinstance(record, Mapping) else {}
    state = RunState(
        int(history.get("step", 0)),
        float(history.get("seconds", 0.0)),
        int(history.get("images", 0)),
        [history] if history else [],
    )
    save_networks(networks, state, checkpoints / name)
    say(f"{name}: {state.images / 1000:.0f} k images seen")


def appearance_model(bundle: Bundle) -> ActiveAppearanceModel:
    """Return the appearance model whose tensors a bundle's inverter and generator hold.

    Raises:
        TrainingError: If the bundle has no appearance model, or lacks a tensor.
    """
    raw = dict[str, np.ndarray[Any, Any]]()
    for role in ("inverter", "generator"):
        raw |= _weights(bundle.folder / bundle.spec.networks[role].file, _MODEL)
    own = {name.removeprefix(_MODEL): value for name, value in raw.items()}
    spec, levels = bundle.spec, bundle.spec.levels
    if "mask" not in own or "texture" not in levels:
        raise TrainingError(f"The bundle {bundle.folder} holds no appearance model. Name a bundle such as aam128.")
    texture, mask = levels["texture"], own["mask"].astype(bool)
    height, width = mask.shape
    rows = texture[0] - SHAPE_ROW, texture[1] - texture[0] + 1
    config = AAMConfig(spec.crop.size_px, (height, width), spec.rows[0].width, *rows)
    model = ActiveAppearanceModel(config, mask)
    own["rectangle"] = rectangle_around(own["mean_shape"], config)
    state = model.state_dict()
    for name, value in state.items():
        if name in own:
            state[name] = torch.from_numpy(np.array(own[name])).to(value.dtype).reshape(value.shape)
        elif not name.startswith("pack_index"):  # these follow from the mask
            raise TrainingError(f"The appearance model of the bundle {bundle.folder} lacks the tensor '{name}'.")
    model.load_state_dict(state)
    return model.eval()


def _inputs(pack: Pack) -> dict[str, torch.Tensor]:
    """Return inputs of the networks, by checkpoint name, for some of a pack's faces."""
    rows = np.random.default_rng(0).permutation(np.nonzero(~pack.held_out)[0])[:_STATISTICS_FACES]
    crops = torch.from_numpy(pack.crops(rows))
    whole = crops.permute(0, 3, 1, 2).float() / 127.5 - 1
    views = cut_views(crops, base_matrix(pack.template, TEMPLATE).expand(len(rows), 2, 3), TEMPLATE.size_px)
    return {"parser": whole, "identity": views, "attributes": whole}


def restore(network: nn.Module, path: Path, prefix: str = "network.") -> nn.Module:
    """Load a network's weights from an ONNX file that `export_network` wrote.

    A batch normalisation that was folded into a convolution is restored as one that only adds the convolution's bias.
    Call `recompute_statistics` before training.

    Args:
        network: The network, changed in place.
        path: The file.
        prefix: Prefix of the network's tensor names in the file.

    Returns:
        The network, in evaluation mode.

    Raises:
        TrainingError: If a tensor is missing or has another shape; nothing is loaded then.
    """
    given, state = _weights(path), network.state_dict()
    for norm, conv in _normalized(network):
        bias = given.get(f"{prefix}{conv}.bias")
        if bias is not None and f"{prefix}{norm}.weight" not in given:
            neutral = {"weight": np.full_like(bias, np.sqrt(1 + _EPSILON)), "bias": bias}
            neutral |= {"running_mean": np.zeros_like(bias), "running_var": np.ones_like(bias)}
            given |= {f"{prefix}{norm}.{name}": value for name, value in neutral.items()}
    for name, own in state.items():
        if name.rsplit(".", 1)[-1] in _COUNTERS:
            continue
        value = given.get(prefix + name)
        if value is None or value.shape != tuple(own.shape):
            what = "is missing" if value is None else f"has the shape {value.shape}, not {tuple(own.shape)}"
            raise TrainingError(f"{path} does not fit {type(network).__name__}: '{prefix + name}' {what}.")
        state[name] = torch.from_numpy(np.array(value)).to(own.dtype)
    network.load_state_dict(state)
    return network.eval()


def recompute_statistics(network: nn.Module, *inputs: torch.Tensor) -> nn.Module:
    """Set the statistics of all batch normalisations to those of some inputs, without changing the network's output.

    Weights and biases are adjusted to the new statistics. With wrong statistics, the first training batch would change
    the network's function.

    Args:
        network: The network, changed in place.
        inputs: The arguments of its `forward`.

    Returns:
        The network, in evaluation mode.
    """

    def take(norm: nn.Module, given: tuple[torch.Tensor]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        x, eps = given[0].transpose(0, 1).flatten(1), norm.eps
        mean, variance = x.mean(1), x.var(1, unbiased=False)
        scale = norm.weight / (norm.running_var + eps).sqrt()
        shift = norm.bias - norm.running_mean * scale
        norm.weight.copy_(scale * (variance + eps).sqrt())
        norm.bias.copy_(shift + mean * scale)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(take) for norm in norms]
    with torch.no_grad():
        network.eval()(*inputs)
    for hook in hooks:
        hook.remove()
    return network


def _normalized(network: nn.Module) -> list[tuple[str, str]]:
    """Return the names of each batch normalisation and of the convolution just before it."""
    pairs = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Sequential):
            for (before, conv), (after, norm) in itertools.pairwise(module.named_children()):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    pairs.append((f"{name}.{after}".lstrip("."), f"{name}.{before}".lstrip(".")))
    return pairs


def _weights(path: Path, prefix: str = "") -> dict[str, np.ndarray[Any, Any]]:
    """Return the tensors of an ONNX file whose names begin with a prefix, dequantised, by their original names."""
    from onnx import load, numpy_helper

    raw = {tensor.name: numpy_helper.to_array(tensor) for tensor in load(path).graph.initializer}
    raw = {name: value for name, value in raw.items() if name.startswith(prefix)}
    found = dict[str, np.ndarray[Any, Any]]()
    for name, value in raw.items():
        if name.endswith("_quantized"):
            plain = name.removesuffix("_quantized")
            scale = raw.get(f"{plain}_scale", raw.get(f"{name}_scale"))
            if scale is not None:
                rows = scale.reshape(-1, *[1] * (value.ndim - 1))
                found[plain] = value.astype(np.float32) * rows
        else:
            found[name.removesuffix(".half")] = value
    return found
