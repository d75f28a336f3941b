"""The methods that make a new face: how the source's latent code is found, and what is swapped in it.

latent swaps rows or single numbers of the source's code for the target's. swapper lets a network decide how much of
each number to take from the target. pixel encodes the label map of the face's parts instead of the face, and takes the
appearance from the target.
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
"""Label map of a crop: one class of CelebAMask-HQ per pixel."""
_NEEDS = {"pixel": "mask_encoder", "swapper": "swapper"}
"""The network that a method needs in the bundle."""


@dataclass(frozen=True)
class Method:
    """A method with its settings.

    name: latent, pixel or swapper.
    steps: what the attempts take from the target, from the smallest change to the largest.
    pixel: settings of the method pixel; None for the others.
    weighed: whether the bundle's swapper decides how much of each number to take.
    fills: whether the generator fills a region of the photo (bundle format 2), so that nothing is composited by labels.
    """

    name: str
    steps: tuple[SwapStep, ...]
    pixel: PixelStyle | None = None
    weighed: bool = False
    fills: bool = False

    def labels(self, logits: Float[np.ndarray, "n 19 h w"], size_px: int) -> list[LabelMap | None]:
        """Return the label maps that the method needs.

        Args:
            logits: The parser's logits, (n, 19, h, w).
            size_px: Side of the label maps, pixels.

        Returns:
            One uint8 (size_px, size_px) per face, or None for each if the method needs no labels.
        """
        if self.pixel is None:
            return [None] * len(logits)
        labels = logits.argmax(1).astype(np.uint8)
        return [cv2.resize(one, (size_px, size_px), interpolation=cv2.INTER_NEAREST) for one in labels]

    def matched(self, crop: ImageRGB, labels: LabelMap | None) -> MatchedFace | None:
        """Return what composites a new face by its label map, or None if the method does not do this.

        Args:
            crop: The original crop, uint8 (s, s, 3).
            labels: Its label map, uint8 (s, s).
        """
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
        """Return the source's latent codes, from the crops or from the label maps.

        Args:
            bundle: The networks.
            crops: uint8 (n, s, s, 3).
            landmarks: (n, 68, 2), pixels of the crops.
            visible: Probability that the face is visible, (n, 1, s, s), 0 to 1.
            labels: The label maps that `labels` returned.
            identity: Unit embeddings, (n, d).

        Returns:
            W+, (n, size).
        """
        known = [one for one in labels if one is not None]
        return bundle.encode_labels(np.stack(known)) if known else bundle.invert(crops, landmarks, visible, identity)

    def swap(self, bundle: Bundle, own: WPlusArray, targets: WPlusArray, steps: Sequence[int]) -> WPlusArray:
        """Return the latent codes of the new faces.

        Args:
            bundle: The networks and the layout of W+.
            own: The sources' codes, W+ (n, size).
            targets: The targets' codes, W+ (n, size).
            steps: Index of the swap step of each face, n numbers.

        Returns:
            W+, (n, size).
        """
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
    """Return the method that the options request, with the settings of a bundle.

    Args:
        options: The options. The method must not be none.
        bundle: The networks.
        level: The privacy level, which decides with which step the method latent begins.

    Raises:
        OptionError: If the bundle lacks what the method needs, an option does not belong to the method, or every step
            leaks more than the level allows.
    """
    role, spec = _NEEDS.get(options.method, ""), bundle.spec
    if role and not bundle.has(role):
        raise OptionError(
            "method",
            f"{options.method} needs {role}.onnx, which the bundle '{spec.name}' does not have. Use "
            f"`bundle={APPEARANCE_MODEL}`, which has one, or `method=latent`, or build a bundle from the StyleID "
            f"release with `{role}` (docs/ffhq1024.md).",
        )
    preset = _preset(options, bundle)
    if options.units and options.method != "latent":
        raise OptionError("units", f"only `method=latent` uses it, not {options.method}.")
    if options.method == "pixel":
        style = preset.pixel or spec.pixel
        if style is None:
            raise OptionError("method", f"the bundle '{spec.name}' has no settings for pixel ('pixel' in bundle.json).")
        if spec.generators and options.region:
            raise OptionError("region", f"the generator of the bundle '{spec.name}' determines the region itself.")
        style = replace(style, region=options.region or style.region)
        steps = tuple(SwapStep(rows, options.strength) for rows in style.steps)
        return Method("pixel", steps, style, fills=bool(spec.generators))
    if options.region:
        raise OptionError("region", f"only `method=pixel` uses it, not {options.method}.")
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
    if not units:  # the measurements were made at full strength
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
            "preset", f"the bundle '{bundle.spec.name}' has no preset '{options.preset}'; its presets: {names}."
        )
    return known[options.preset]
