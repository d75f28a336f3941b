"""Synthetic glasses and occluding objects for training views, with their labels."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch.nn import functional

from styleid.lab.data.augment import uniform

_GLASSES, _BACKGROUND = 3, 0


def draw_glasses(
    images: torch.Tensor, labels: torch.Tensor, landmarks: torch.Tensor, generator: torch.Generator, chance: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw glasses on some faces.

    Args:
        images: (n, 3, s, s) in [-1, 1].
        labels: uint8 (n, s/2, s/2), CelebAMask-HQ classes.
        landmarks: (n, 68, 2) in pixels of the views.
        generator: Source of random numbers.
        chance: Probability that a face gets glasses.

    Returns:
        The images, and the labels with the class glasses where a frame or lens is drawn, except over hair.
    """
    chosen = torch.nonzero(torch.rand(len(images), generator=generator) < chance)[:, 0]
    if not len(chosen):
        return images, labels
    images, labels, size = images.clone(), labels.clone(), images.shape[-1]
    rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
    for i in chosen.tolist():
        frame, lens = _glasses(landmarks[i].cpu().numpy(), size, rng)
        colour = torch.tensor(_frame_colour(rng), dtype=torch.float32).view(3, 1, 1)
        dark = rng.random() < 0.3
        tint = torch.tensor(rng.uniform(-1, -0.3, 3) if dark else rng.uniform(-1, 1, 3), dtype=torch.float32)
        opacity = rng.uniform(0.6, 0.97) if dark else rng.uniform(0, 0.12)
        frame_t, lens_t = (torch.from_numpy(m).to(images.device) for m in (frame, lens))
        shade = lens_t * opacity
        image = images[i] * (1 - shade) + tint.view(3, 1, 1).to(images.device) * shade
        images[i] = image * (1 - frame_t) + colour.to(images.device) * frame_t
        covered = functional.avg_pool2d(torch.maximum(frame_t, lens_t)[None, None], 2)[0, 0] > 0.5
        labels[i] = torch.where(covered & (labels[i] != 13), torch.full_like(labels[i], _GLASSES), labels[i])
    return images, labels


def draw_objects(
    images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator, chance: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw an object in front of some faces: an ellipse or bar of one colour or of another view's texture.

    Args:
        images: (n, 3, s, s) in [-1, 1].
        labels: uint8 (n, s/2, s/2).
        generator: Source of random numbers.
        chance: Probability that a face gets an object.

    Returns:
        The images, and the labels with 0 (background) where an object is drawn.
    """
    n, _, size, _ = images.shape
    device = images.device
    centre = uniform(generator, 0.1, 0.9, n, 2) * size
    centre[:, 1] = uniform(generator, 0.35, 1.0, n) * size
    half = torch.exp(uniform(generator, -3.0, -1.5, n, 2)) * size
    long = torch.rand(n, generator=generator) < 0.4
    half[:, 1] = torch.where(long, half[:, 1] * 4, half[:, 1])
    angle = uniform(generator, -1.6, 1.6, n)
    ticks = torch.arange(size, dtype=torch.float32)
    y, x = torch.meshgrid(ticks, ticks, indexing="ij")
    dx, dy = x[None] - centre[:, :1, None], y[None] - centre[:, 1:, None]
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    u, v = (dx * cos + dy * sin) / half[:, :1, None], (dy * cos - dx * sin) / half[:, 1:, None]
    power = torch.where(torch.rand(n, generator=generator) < 0.5, 2.0, 8.0)[:, None, None]
    inside = torch.sigmoid((1 - (u.abs() ** power + v.abs() ** power)) * half.min(1).values[:, None, None])
    inside = inside * (torch.rand(n, 1, 1, generator=generator) < chance)
    flat = uniform(generator, -1, 1, n, 3, 1, 1).expand(n, 3, size, size)
    other = images[torch.randperm(n, generator=generator).to(device)].roll((size // 3, size // 3), (2, 3))
    textured = (torch.rand(n, 1, 1, 1, generator=generator) < 0.25).to(device)
    surface = torch.where(textured, other, flat.to(device))
    inside = inside.to(device)[:, None]
    hidden = functional.avg_pool2d(inside, 2)[:, 0] > 0.5
    return images + (surface - images) * inside, torch.where(hidden, torch.full_like(labels, _BACKGROUND), labels)


def _glasses(points: np.ndarray, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the coverage of frames and of lenses, float32 (size, size) in [0, 1]."""
    frame, lens = np.zeros((size, size), np.uint8), np.zeros((size, size), np.uint8)
    eyes = [points[36:42].mean(0), points[42:48].mean(0)]
    axis = eyes[1] - eyes[0]
    span = float(np.hypot(*axis))
    angle = float(np.degrees(np.arctan2(axis[1], axis[0])))
    half = np.array([rng.uniform(0.33, 0.44), rng.uniform(0.22, 0.36)]) * span
    drop = rng.uniform(0.0, 0.1) * span
    thick = max(1, round(rng.uniform(0.015, 0.08) * span))
    round_lens = rng.random() < 0.5
    rimless_below = rng.random() < 0.15
    down = np.array([-axis[1], axis[0]]) / max(span, 1e-3)
    sides = []
    for eye in eyes:
        centre = eye + down * drop
        if round_lens:
            circle = cv2.ellipse2Poly((0, 0), (100, 100), 0, 0, 360, 10)
            outline = np.asarray(circle, np.float32) / 100 * half
        else:
            corner = rng.uniform(0.7, 1.0)
            box = np.array([[-1, -1], [1, -1], [1, 0.4], [corner, 1], [-corner, 1], [-1, 0.4]], np.float32)
            outline = box * half
        turn = np.deg2rad(angle)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        polygon = np.round((outline @ rotation.T + centre) * 8).astype(np.int32)
        cv2.fillPoly(lens, [polygon], 255, cv2.LINE_AA, shift=3)
        drawn = polygon[: len(polygon) // 2 + 1] if rimless_below else polygon
        cv2.polylines(frame, [drawn], not rimless_below, 255, thick, cv2.LINE_AA, shift=3)
        sides.append(centre)
    unit = axis / max(span, 1e-3)
    bridge = [sides[0] + unit * half[0], sides[1] - unit * half[0]]
    arms = [(sides[0] - unit * half[0], points[0]), (sides[1] + unit * half[0], points[16])]
    for start, end in [(bridge[0], bridge[1]), *arms]:
        low, high = (tuple(int(c) for c in np.round(p * 8)) for p in (start, end))
        cv2.line(frame, low, high, 255, thick, cv2.LINE_AA, shift=3)
    lens = cv2.subtract(lens, frame)
    return frame.astype(np.float32) / 255, lens.astype(np.float32) / 255


def _frame_colour(rng: np.random.Generator) -> np.ndarray:
    dark = rng.uniform(-1, -0.6, 3)
    metal = np.full(3, rng.uniform(-0.2, 0.7)) + rng.uniform(-0.1, 0.1, 3)
    return dark if rng.random() < 0.65 else metal
