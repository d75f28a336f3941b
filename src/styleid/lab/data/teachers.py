"""Third-party networks that serve as teachers. They are read from the user's folder and never shipped."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from styleid.errors import TrainingError
from styleid.faces.align import CropTemplate, fit_similarity, invert, transform_points, warp_to
from styleid.runtime import open_session, tidy_model
from styleid.types import Faces, FloatArray, ImageRGB

MIRRORED_68 = np.array(
    [
        *(*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)),
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
        *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65),
    ]
)
"""Index of the landmark that takes each landmark's place when the image is mirrored."""


class LandmarkTeacher:
    """Locates 68 landmarks with PFLD, as the median over shifted, scaled, rotated and mirrored views.

    Args:
        folder: Folder of `landmarks68_pfld.onnx`.
        views: Number of views; two are the face itself and its mirror image.

    Raises:
        TrainingError: If the file is missing.
    """

    side_px = 112
    _enlarge = 1.1

    def __init__(self, folder: Path, views: int = 8) -> None:
        path = folder / "landmarks68_pfld.onnx"
        if not path.is_file():
            raise TrainingError(f"The landmark teacher {path} is missing.")
        self._session = open_session(tidy_model(path))
        rng = np.random.default_rng(0)
        self._views = [(1.0, 0.0, 0.0, 0.0, False), (1.0, 0.0, 0.0, 0.0, True)]
        while len(self._views) < views:
            scale, (dx, dy) = rng.uniform(0.97, 1.08), rng.uniform(-0.03, 0.03, 2)
            self._views.append((scale, dx, dy, rng.uniform(-6, 6), len(self._views) % 2 == 1))

    def locate(
        self, image_rgb: ImageRGB, face: Faces, matrix: FloatArray, template: CropTemplate
    ) -> tuple[FloatArray, float]:
        """Locate one face's landmarks.

        Args:
            image_rgb: The photo.
            face: One face of it.
            matrix: (2, 3), the face's image-to-crop similarity.
            template: Template of the crop.

        Returns:
            The landmarks, (68, 2) in crop pixels, and how much the views disagree: the standard deviation over the
            views of a landmark's distance from the result, median over the landmarks, in inter-ocular distances.
        """
        quad = face.boxes_xyxy[0][[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2)
        corners = transform_points(quad, matrix)
        centre = corners.mean(0)
        side = float(np.ptp(face.boxes_xyxy[0].reshape(2, 2), axis=0).max() * np.hypot(*matrix[:, 0])) * self._enlarge
        crops, backs = [], []
        for scale, dx, dy, degrees, mirrored in self._views:
            view = _square_view(centre + np.array([dx, dy]) * side, side * scale, degrees, self.side_px)
            to_view = _compose(view, matrix)
            crop = warp_to(image_rgb, to_view, self.side_px)
            crops.append(cv2.flip(crop, 1) if mirrored else crop)
            backs.append((invert(view), mirrored))
        batch = np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32) / 255
        raw = self._session.run(None, {self._session.get_inputs()[0].name: batch})[0].reshape(-1, 68, 2)
        points = []
        for relative, (back, mirrored) in zip(raw, backs, strict=True):
            px = relative * self.side_px - 0.5
            if mirrored:
                px = (np.array([self.side_px - 1, 0]) + px * np.array([-1, 1]))[MIRRORED_68]
            points.append(transform_points(px, back))
        stacked = np.stack(points)
        located = np.median(stacked, axis=0).astype(np.float32)
        eyes = np.linalg.norm(located[36:42].mean(0) - located[42:48].mean(0))
        spread = np.median(np.linalg.norm(stacked - located, axis=-1).std(0)) / max(float(eyes), 1e-3)
        return located, float(spread)


def _square_view(centre: FloatArray, side: float, degrees: float, side_px: int) -> FloatArray:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    square = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]) * side
    onto = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * side_px - 0.5
    return fit_similarity((square @ turn.T + centre).astype(np.float32), onto.astype(np.float32))


def _compose(second: FloatArray, first: FloatArray) -> FloatArray:
    """Return the (2, 3) matrix that applies `first`, then `second`."""
    return np.column_stack([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2] + second[:, 2]]).astype(
        np.float32
    )


class IdentityTeacher(nn.Module):
    """MobileFaceNet, frozen and differentiable with respect to its input.

    Input: float (n, 3, 112, 112) in [-1, 1], RGB, aligned to `CropTemplate.arcface112`. Output: (n, 128), unit length.

    Args:
        folder: Folder of `identity_mobilefacenet.safetensors`.

    Raises:
        TrainingError: If the file is missing.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        path = folder / "identity_mobilefacenet.safetensors"
        if not path.is_file():
            raise TrainingError(f"The identity teacher {path} is missing.")
        self.conv1 = _conv_bn_relu6(3, 64, 3, stride=2)
        self.dw_conv = _SeparableConv(64)
        widths = [64] * 5 + [128] * 7 + [128] * 3
        inner = [128] * 5 + [256] * 7 + [512, 256, 256]
        strides = [2 if i in (0, 5, 12) else 1 for i in range(15)]
        before = [64, *widths[:-1]]
        self.features = nn.Sequential(
            *(_InvertedResidual(*shape) for shape in zip(before, inner, widths, strides, strict=True))
        )
        self.conv2 = _conv_bn_relu6(128, 512, 1)
        self.gdconv = nn.Sequential()
        self.gdconv.depthwise = nn.Conv2d(512, 512, 7, groups=512, bias=False)
        self.gdconv.bn = nn.BatchNorm2d(512)
        self.conv3 = nn.Conv2d(512, 128, 1)
        self.bn = nn.BatchNorm2d(128)
        self.load_state_dict(load_file(path), strict=True)
        self.eval().requires_grad_(False)
        fuse_normalisation(self)

    def train(self, mode: bool = True) -> IdentityTeacher:
        """Stay in evaluation mode, because a teacher is not trained."""
        del mode
        return super().train(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return unit embeddings, (n, 128)."""
        mean = x.new_tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
        std = x.new_tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
        x = ((x + 1) / 2 - mean) / std
        x = self.conv2(self.features(self.dw_conv(self.conv1(x))))
        return functional.normalize(self.bn(self.conv3(self.gdconv(x))).flatten(1).float())


def fuse_normalisation(network: nn.Module) -> None:
    """Fold each batch normalisation into the convolution before it, in place.

    Args:
        network: A frozen network in evaluation mode. Only pairs inside an `nn.Sequential` are folded.
    """
    for child in network.children():
        fuse_normalisation(child)
    if isinstance(network, nn.Sequential):
        named = list(network.named_children())
        for (name, layer), (next_name, following) in pairwise(named):
            if isinstance(layer, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
                setattr(network, name, fuse_conv_bn_eval(layer, following))
                setattr(network, next_name, nn.Identity())


def _conv_bn_relu6(before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU6())


class _SeparableConv(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.pointwise = nn.Conv2d(width, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn1(self.depthwise(x)).relu()
        return self.bn2(self.pointwise(x)).relu()


class _InvertedResidual(nn.Module):
    def __init__(self, before: int, inner: int, after: int, stride: int) -> None:
        super().__init__()
        self.residual = stride == 1 and before == after
        self.conv = nn.Sequential(
            _conv_bn_relu6(before, inner, 1),
            _conv_bn_relu6(inner, inner, 3, stride, groups=inner),
            nn.Conv2d(inner, after, 1, bias=False),
            nn.BatchNorm2d(after),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)
