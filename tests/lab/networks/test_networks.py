"""Parser, identity, attributes and refiner: shapes, ranges, exports."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from styleid.lab.export.network import export_network
from styleid.lab.networks.attributes import AttributesConfig, AttributesNet, mean_age
from styleid.lab.networks.identity import IdentityConfig, IdentityNet
from styleid.lab.networks.parser import CLASSES, LANDMARKS, ParserConfig, ParserNet
from styleid.lab.networks.refiner import FaceCritic, Refiner, RefinerConfig
from tests.lab.small import ATTRIBUTES, IDENTITY, PARSER, REFINER, crops, lived_in


def test_parser_gives_labels_and_landmarks() -> None:
    torch.manual_seed(0)
    network = lived_in(ParserNet(PARSER))
    with torch.no_grad():
        labels, landmarks = network(crops(3))
        alone = network(crops(3)[1:2])
    assert labels.shape == (3, CLASSES, 16, 16)
    assert landmarks.shape == (3, LANDMARKS, 2)
    # a mean over positions in 1.25 times the crop
    assert landmarks.min() > -0.25 * 32
    assert landmarks.max() < 1.25 * 32
    assert torch.allclose(alone[1], landmarks[1:2], atol=1e-3)


@pytest.mark.parametrize("place", [(0, 0), (3, 5), (7, 2)])
def test_landmarks_of_heat_maps_are_in_pixels_of_the_crop(place: tuple[int, int]) -> None:
    network, (x, y) = ParserNet(PARSER), place
    heat = torch.zeros(1, LANDMARKS, 8, 8)
    heat[:, :, y, x] = 50.0
    read = network.read_heat(heat)[0, 0]
    # positions are 5 px apart and centred on the crop's centre, 15.5
    assert read.tolist() == pytest.approx([15.5 + (x - 3.5) * 5, 15.5 + (y - 3.5) * 5], abs=1e-3)


def test_identity_gives_unit_embeddings() -> None:
    torch.manual_seed(0)
    network = lived_in(IdentityNet(IDENTITY))
    with torch.no_grad():
        embeddings = network(crops(3, 112))
    assert embeddings.shape == (3, 128)
    assert embeddings.norm(dim=1) == pytest.approx(1, abs=1e-5)
    assert (embeddings[0] - embeddings[1]).norm() > 1e-3


def test_attributes_are_an_age_and_probabilities() -> None:
    torch.manual_seed(0)
    network = lived_in(AttributesNet(ATTRIBUTES))
    with torch.no_grad():
        given = network(crops(3))
    assert given.shape == (3, 7)
    assert ((given[:, 0] >= 0) & (given[:, 0] <= 100)).all()
    assert ((given[:, 1:] > 0) & (given[:, 1:] < 1)).all()
    assert given[:, 2:].sum(1) == pytest.approx(1, abs=1e-5)
    years = torch.full((2, 101), -50.0)
    years[0, 30], years[1, [20, 40]] = 50.0, 50.0
    assert mean_age(years).tolist() == pytest.approx([30, 30], abs=1e-3)


def test_a_new_refiner_changes_nothing_and_a_critic_scores_positions() -> None:
    torch.manual_seed(0)
    network, images = Refiner(REFINER), crops(2)
    assert torch.equal(network(images), images)
    nn.init.normal_(network.leave.weight, std=0.1)
    assert network(images).shape == images.shape
    assert not torch.equal(network(images), images)
    logits, features = FaceCritic((4, 6, 8, 8, 8))(images)
    assert logits.shape == (2, 1)  # 32 px, halved five times
    assert [f.shape[1:] for f in features] == [(6, 16, 16), (8, 8, 8), (8, 4, 4), (8, 2, 2), (8, 1, 1)]


@pytest.mark.parametrize(
    ("kind", "wrong", "says"),
    [
        (ParserConfig, {"size_px": 100}, "divisible by 16"),
        (ParserConfig, {"widths": (8, 8)}, "four numbers"),
        (AttributesConfig, {"view_px": 40}, "divisible by 16"),
        (IdentityConfig, {"widths": (8, 8)}, "four numbers"),
        (IdentityConfig, {"blocks": (1, 0, 1, 1)}, "at least 1"),
        (RefinerConfig, {"size_px": 24}, "divisible by 16"),
        (RefinerConfig, {"widths": (8,)}, "four numbers"),
    ],
)
def test_configurations_reject_invalid_sizes(kind: type, wrong: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        kind(**wrong)


EXPORTS: dict[str, tuple[Callable[[], nn.Module], int, list[str]]] = {
    "parser": (lambda: ParserNet(PARSER), 32, ["labels", "landmarks"]),
    "identity": (lambda: IdentityNet(IDENTITY), 112, ["embedding"]),
    "attributes": (lambda: AttributesNet(ATTRIBUTES), 32, ["attributes"]),
    "refiner": (lambda: Refiner(REFINER), 32, ["image"]),
}


@pytest.mark.parametrize("name", EXPORTS)
def test_exports_agree_with_torch(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    make, size, outputs = EXPORTS[name]
    network = lived_in(make())
    if isinstance(network, Refiner):
        nn.init.normal_(network.leave.weight, std=0.1)
    report = export_network(network, {"crop": crops(3, size)}, outputs, tmp_path / f"{name}.onnx")
    assert report.max_error <= 1e-3
