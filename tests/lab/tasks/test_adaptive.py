"""Adaptive augmentation: no change at p = 0, differentiable and repeatable above, and p follows the scores."""

import pytest
import torch

from styleid.lab.tasks.adaptive import AdaptiveAugment, AdaptiveOptions
from tests.lab.synthetic import synthetic_pack


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images() -> torch.Tensor:
    crops = synthetic_pack(8, 32, 0).crops()
    return torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_p_of_zero_changes_nothing() -> None:
    before = images()
    torch.testing.assert_close(AdaptiveAugment()(before, seeded(0)), before, rtol=0, atol=1e-4)


def test_augmentation_is_repeatable_differentiable_and_grows_with_p() -> None:
    before = images().requires_grad_()
    distances = []
    for p in (0.1, 0.4, 0.8):
        augment = AdaptiveAugment(AdaptiveOptions(start=p))
        after = augment(before, seeded(1))
        assert after.shape == before.shape
        assert torch.equal(after, augment(before, seeded(1)))
        distances.append(float((after - before).abs().mean().detach()))
        (gradient,) = torch.autograd.grad(after.square().sum(), before)
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0
    assert distances == sorted(distances)
    assert distances[0] > 0.01


def test_p_follows_the_scores_within_its_bounds() -> None:
    augment = AdaptiveAugment(AdaptiveOptions(target=0.6, images=100, most=0.5))
    for _ in range(20):
        augment.adapt(torch.ones(8))
    assert float(augment.p) == pytest.approx(0.5)
    for _ in range(40):
        augment.adapt(-torch.ones(8))
    assert float(augment.p) == 0
    assert set(augment.state_dict()) == {"p", "sign"}


def test_invalid_options_are_refused() -> None:
    for wrong in ({"start": 0.9}, {"most": 1.0}, {"target": 1.0}, {"images": 0}):
        with pytest.raises(ValueError, match=r"most < 1 must hold|images must be"):
            AdaptiveOptions(**wrong)
