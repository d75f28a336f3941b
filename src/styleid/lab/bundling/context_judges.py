"""The frozen networks of a bundle that compute losses of the context generator."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from styleid.bundles.bundle import Bundle
from styleid.bundles.registry import find_bundle
from styleid.lab.bundling.restore import appearance_model, restore
from styleid.lab.data.teachers import IdentityTeacher, fuse_normalisation
from styleid.lab.networks.attributes import AttributesConfig, AttributesNet
from styleid.lab.networks.identity import IdentityNet
from styleid.lab.networks.parser import ParserConfig, ParserNet
from styleid.lab.tasks.context_losses import Judges
from styleid.lab.tasks.optim import channels_last


def judges_of_bundle(bundle: str | Path, teachers: Path | None = None, device: str = "cpu") -> Judges:
    """Load a bundle's parser, recogniser, attribute network and shape model for training, frozen.

    Args:
        bundle: A bundle's name or folder.
        teachers: Folder of a second recogniser's file; None uses no second recogniser.
        device: cpu or cuda.

    Raises:
        TrainingError: If the bundle's networks are of other kinds, or the second recogniser is missing.
        BundleError: If the bundle is missing or damaged.
    """
    found = Bundle(find_bundle(bundle))
    crop = found.spec.crop
    networks: dict[str, nn.Module] = {
        "parser": ParserNet(ParserConfig(crop.size_px)),
        "identity": IdentityNet(),
        "attributes": AttributesNet(AttributesConfig(crop.size_px)),
    }
    for role, network in networks.items():
        found.check(role)
        restore(network, found.folder / found.spec.networks[role].file)
    if teachers is not None:
        networks["second"] = IdentityTeacher(teachers)
    for network in networks.values():
        network.eval().requires_grad_(False)
        fuse_normalisation(network)
        channels_last(network, device)
    return Judges(**networks, shapes=appearance_model(found), crop=crop, device=device)  # type: ignore[arg-type]
