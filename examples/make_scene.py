"""Make `group.jpg`, the demo's picture of several people who do not exist.

The body of the public-domain astronaut (NASA, carried by scikit-image) stands several times before her own background,
scaled, mirrored and dyed; each copy is given the face of another nobody, drawn by the built-in bundle.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from skimage import data

from styleid.bundles.bundle import Bundle
from styleid.bundles.registry import load_bundle
from styleid.core.rendering import render
from styleid.core.swap import swap_units
from styleid.faces.detect import FaceDetector
from styleid.pixel.composite import NewFace, composite
from styleid.pixel.regions import GLASSES, bare_face, class_probability
from styleid.types import ImageRGB

CANVAS_HW = (720, 1280)
# left edge, top edge, scale, mirrored, hue shift of clothes and hair, age, P(female), group, seed
PEOPLE = (
    (-10, 190, 1.05, False, 95, 62, 0, 0, 1),
    (820, 170, 1.10, True, 150, 27, 1, 2, 12),
    (250, 120, 1.22, True, 60, 34, 0, 1, 5),
    (560, 230, 1.00, False, 0, 45, 1, 3, 6),
)


def main() -> int:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("group.jpg")
    bundle, photo = load_bundle(), data.astronaut()
    matte = cut_out(photo)
    height, width = CANVAS_HW
    scene = cv2.GaussianBlur(cv2.resize(photo[:220, 330:], (width, height)), (0, 0), 25)
    for x, y, scale, mirrored, hue, age, female, group, seed in PEOPLE:
        attributes = np.zeros((1, 7), np.float32)
        attributes[0, :2], attributes[0, 2 + group] = (age, female), 1
        person = with_new_face(bundle, dyed(photo, hue), attributes, seed)
        place(scene, person, matte, (x, y), scale, mirrored)
    cv2.imwrite(str(out), scene[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    return 0


def cut_out(photo: ImageRGB) -> np.ndarray:
    """Return the astronaut's opacity, float32 (height, width) in [0, 1]."""
    mask = np.full(photo.shape[:2], cv2.GC_PR_BGD, np.uint8)
    left = [[20, 511], [30, 420], [110, 330], [175, 280], [150, 120], [180, 20]]
    right = [[270, 10], [300, 120], [310, 250], [430, 320], [480, 420], [500, 511]]
    cv2.fillPoly(mask, [np.array(left + right)], cv2.GC_PR_FGD)
    cv2.ellipse(mask, (225, 120), (45, 70), 0, 0, 360, cv2.GC_FGD, -1)
    cv2.grabCut(photo[..., ::-1].copy(), mask, None, np.zeros((1, 65)), np.zeros((1, 65)), 6, cv2.GC_INIT_WITH_MASK)
    inside = ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.uint8)
    outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    whole = np.zeros_like(inside)
    cv2.drawContours(whole, [max(outlines, key=cv2.contourArea)], 0, 1, cv2.FILLED)
    return cv2.GaussianBlur(whole.astype(np.float32), (0, 0), 1.5)


def dyed(photo: ImageRGB, hue: int) -> ImageRGB:
    """Rotate the hue of everything except the face by `hue`, in 180 steps."""
    hsv = cv2.cvtColor(photo, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(int) + hue) % 180
    turned = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    skin = np.zeros(photo.shape[:2], np.float32)
    cv2.ellipse(skin, (224, 120), (62, 85), 0, 0, 360, 1, -1)
    cv2.ellipse(skin, (224, 200), (45, 45), 0, 0, 360, 1, -1)
    skin = cv2.GaussianBlur(skin, (0, 0), 8)[..., None]
    return (photo * skin + turned * (1 - skin)).round().astype(np.uint8)


def with_new_face(bundle: Bundle, photo: ImageRGB, attributes: np.ndarray, seed: int) -> ImageRGB:
    """Return the photo with the face of a generated person with the given attributes, (1, 7)."""
    spec = bundle.spec
    face = FaceDetector().detect(photo)[0]
    matrix = spec.crop.matrix(face.landmarks_px[0])
    crop = spec.crop.crop(photo, matrix)[None]
    logits, landmarks = bundle.parse(crop)
    bare = bare_face(logits, landmarks, spec.crop.size_px)
    glasses = class_probability(logits, (GLASSES,), spec.crop.size_px)
    source = bundle.invert(crop, landmarks, bare[:, None])
    z = np.random.default_rng(seed).standard_normal((1, spec.z)).astype(np.float32)
    image, moved = render(bundle, swap_units(source, bundle.sample(z, attributes, source), spec.swaps[-1], spec))
    new = NewFace(image[0], crop[0].astype(np.float32), moved[0], landmarks[0], bare[0], glasses[0])
    photo = photo.copy()
    composite(photo, new, matrix)
    return photo


def place(
    scene: ImageRGB, person: ImageRGB, matte: np.ndarray, at: tuple[int, int], scale: float, mirrored: bool
) -> None:
    """Draw a person into the scene, in place."""
    step = -1 if mirrored else 1
    matrix = np.float32([[scale, 0, at[0]], [0, scale, at[1]]])
    size = scene.shape[1::-1]
    moved = cv2.warpAffine(np.ascontiguousarray(person[:, ::step]), matrix, size, flags=cv2.INTER_CUBIC)
    opacity = cv2.warpAffine(np.ascontiguousarray(matte[:, ::step]), matrix, size)[..., None]
    scene[:] = (scene * (1 - opacity) + moved * opacity).round().clip(0, 255).astype(np.uint8)


if __name__ == "__main__":
    sys.exit(main())
