"""The methods that make a new face: where its codes come from, and what a target gives to them.

latent swaps rows or single numbers of the face's own codes; swapper lets a network say how much of each number to take
from the target; pixel draws a face from the labels alone and gives it the target's identity, so that nothing but the
outline of its parts comes from the face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from styleid.bundles.bundle import Bundle
from styleid.bundles.registry import APPEARANCE_MODEL
from styleid.bundles.steps import PixelStyle, Preset, SwapStep
from styleid.core.options import AnonymizeOptions
from styleid.core.privacy import PrivacyLevel, sufficient
from styleid.core.swap import parse_units, swap_units, with_noise
from styleid.core.units import best_units
from styleid.errors import OptionError
from styleid.pixel.matched import MatchedFace
from styleid.types import ImageRGB, ImagesRGB, WPlusArray

LabelMap = UInt8[np.ndarray, "s s"]
"""One class of CelebAMask-HQ per pixel of a crop."""
_NEEDS = {"pixel": "mask_encoder", "swapper": "swapper"}


@dataclass(frozen=True)
class Method:
    """One method with its settings.

    steps: what the attempts take from the target, from the least change to the most. pixel: how the method `pixel`
    composites, else None. weighed: ask the bundle's swapper how much of each number to take. fills: whether the
    generator fills a region of the photo, so that nothing is matched by labels.
    """

    name: str
    steps: tuple[SwapStep, ...]
    pixel: PixelStyle | None = None
    weighed: bool = False
    fills: bool = False

    def labels(self, logits: Float[np.ndarray, "n 19 h w"], size_px: int) -> list[LabelMap | None]:
        """Return each face's label map, uint8 (size_px, size_px), where the method needs them."""
        if self.pixel is None:
            return [None] * len(logits)
        labels = logits.argmax(1).astype(np.uint8)
        return [cv2.resize(one, (size_px, size_px), interpolation=cv2.INTER_NEAREST) for one in labels]

    def matched(self, crop: ImageRGB, labels: LabelMap | None) -> MatchedFace | None:
        """Return what puts a new face into the photo by its labels, where that is the method's way."""
        if self.pixel is None or labels is None or self.fills:
            return None
        return MatchedFace(crop, labels, self.pixel.region, self.pixel.side_px, self.pixel.outlined)

    def invert(
        self,
        bundle: Bundle,
        crops: ImagesRGB,
        landmarks: Float[np.ndarray, "n 68 2"],
        visible: Float[np.ndarray, "n 1 s s"],
        labels: Sequence[LabelMap | None],
        identity: Float[np.ndarray, "n d"],
    ) -> WPlusArray:
        """Return the codes to start from, W+ (n, size); visible, identity: as `Bundle.invert` takes them."""
        known = [one for one in labels if one is not None]
        return bundle.encode_labels(np.stack(known)) if known else bundle.invert(crops, landmarks, visible, identity)

    def swap(self, bundle: Bundle, own: WPlusArray, targets: WPlusArray, steps: Sequence[int]) -> WPlusArray:
        """Return the new faces' codes; steps: which of the method's steps each face is at."""
        if not self.weighed:
            taken = [self.steps[step] for step in steps]
            parts = [swap_units(own[k : k + 1], targets[k : k + 1], one, bundle.spec) for k, one in enumerate(taken)]
            return np.concatenate(parts)
        share = bundle.weigh(own, targets)
        for k, step in enumerate(steps):
            share[k, bundle.spec.numbers(self.steps[step].rows)] = 1
            share[k] *= np.float32(self.steps[step].strength)
        swapped = ((1 - share) * own + share * targets).astype(np.float32)
        for k, step in enumerate(steps):
            one = slice(k, k + 1)
            swapped[one] = with_noise(swapped[one], targets[one], self.steps[step], bundle.spec)
        return swapped


def choose_method(options: AnonymizeOptions, bundle: Bundle, level: PrivacyLevel) -> Method:
    """Return the asked method in a bundle, strong enough for the level.

    Raises OptionError where the bundle lacks what the method needs, or leaks more than the level grants.
    """
    role, spec = _NEEDS.get(options.method, ""), bundle.spec
    if role and not bundle.has(role):
        raise OptionError(
            "method",
            f"{options.method} needs {role}.onnx, which the bundle '{spec.name}' does not have. Take "
            f"`bundle={APPEARANCE_MODEL}`, which has one, or `method=latent`, or build a bundle from the StyleID "
            f"release with `{role}` (docs/ffhq1024.md).",
        )
    preset = _preset(options, bundle)
    if options.units and options.method != "latent":
        raise OptionError("units", f"it says what latent swaps; the method {options.method} has no such choice.")
    if options.method == "pixel":
        style = preset.pixel or spec.pixel
        if style is None:
            raise OptionError("method", f"the bundle '{spec.name}' does not say how pixel works ('pixel').")
        if spec.generators and options.region:
            raise OptionError("region", f"the generator of the bundle '{spec.name}' says itself what it replaces.")
        style = replace(style, region=options.region or style.region)
        steps = tuple(SwapStep(rows, options.strength) for rows in style.steps)
        return Method("pixel", steps, style, fills=bool(spec.generators))
    if options.region:
        raise OptionError("region", f"it says what pixel replaces; the method {options.method} has no such choice.")
    if options.method == "swapper":
        own = tuple(replace(_unmeasured(step), strength=options.strength, channels=()) for step in spec.swaps)
        return Method("swapper", (SwapStep((), options.strength), *own), weighed=True)
    return Method("latent", _latent_steps(options, preset, bundle, level))


def _latent_steps(
    options: AnonymizeOptions, preset: Preset, bundle: Bundle, level: PrivacyLevel
) -> tuple[SwapStep, ...]:
    units = options.units or preset.units
    if not units and options.strength == 1:
        return sufficient(bundle.spec.swaps, level, bundle.spec.name)
    if not units:  # what was measured holds for full strength only
        return tuple(replace(_unmeasured(s), strength=s.strength * options.strength) for s in bundle.spec.swaps)
    if (best := best_units(units, bundle)) is not None:
        return (SwapStep(best[0], options.strength, best[1]),)
    return (SwapStep(parse_units(units, bundle.spec), options.strength),)


def _unmeasured(step: SwapStep) -> SwapStep:
    return replace(step, leak=None, passes={})


def _preset(options: AnonymizeOptions, bundle: Bundle) -> Preset:
    if not options.preset:
        return Preset()
    known = bundle.spec.presets
    if options.preset not in known:
        names = ", ".join(known) or "none"
        raise OptionError(
            "preset", f"the bundle '{bundle.spec.name}' has no preset '{options.preset}' (it has {names})."
        )
    return known[options.preset]
