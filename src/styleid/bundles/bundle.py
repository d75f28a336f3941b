"""A bundle's networks. Each is opened when it is first used, after its file was checked against bundle.json."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from styleid.bundles.generators import Generator
from styleid.bundles.neutral import Neutral, read_neutral
from styleid.bundles.predictor import TraitPredictor, read_predictor
from styleid.bundles.spec import BundleSpec, NetworkFile, purpose
from styleid.errors import BundleError
from styleid.runtime import Device, open_session, run_batched
from styleid.types import FloatArray, ImagesRGB, WPlusArray

_PIXELS_AT_ONCE = 1 << 20
"""Largest number of crop pixels in one call of a network; the memory between its layers grows with the pixels."""
_LARGE_BYTES = 1 << 25
"""File size from which a network is opened from its file instead of from its content, to save memory."""


class Bundle:
    """Runs a bundle's networks on batches of any length.

    Crops are uint8 (n, s, s, 3), RGB; they are normalised to [-1, 1] here for all networks. Every method that runs a
    network raises BundleError if the bundle does not have the network, its file was changed, or it needs an input that
    is not given.

    folder: the bundle's folder.
    device: where the networks run.
    spec: the bundle's description.
    """

    def __init__(self, folder: Path, device: Device = "cpu") -> None:
        """Read the description of a bundle.

        Args:
            folder: Folder with a bundle.json.
            device: Where the networks run.

        Raises:
            BundleError: If bundle.json is missing, cannot be read or contradicts itself.
        """
        self.folder = folder
        self.device: Device = device
        self.spec = BundleSpec.read(folder)
        self._sessions: dict[str, Any] = {}
        self._lock, self._opening = threading.Lock(), dict[str, threading.Lock]()

    def has(self, role: str) -> bool:
        """Return whether the bundle has a network for a role, such as `mask_encoder`."""
        return role in self.spec.networks

    def session(self, role: str) -> Any:
        """Return the ONNX Runtime session of a network; it is checked and opened on first use."""
        with self._lock:
            opening = self._opening.setdefault(role, threading.Lock())
        with opening:
            if role not in self._sessions:
                self._sessions[role] = open_session(self._source(role), self.device)
            return self._sessions[role]

    def plain_session(self, role: str) -> Any:
        """Open a network on the CPU without ONNX Runtime's optimisations, as a slow reference to compare with."""
        return open_session(self._source(role), plain=True)

    def check(self, role: str) -> None:
        """Check a network's file against the SHA-256 in bundle.json.

        Raises:
            BundleError: If the bundle does not have the network, or its file is missing or was changed.
        """
        self._source(role)

    def run(self, role: str, **inputs: np.ndarray) -> list[np.ndarray]:
        """Run a network.

        Args:
            role: The network's role, such as `inverter`.
            **inputs: Arrays by input name, each of length n along the first axis. They are converted to float32; those
                that the network does not take are left out.

        Returns:
            The network's outputs, each of length n along the first axis.

        Raises:
            BundleError: If the network needs an input that is not given.
        """
        session = self.session(role)
        wanted = [value.name for value in session.get_inputs()]
        if missing := [name for name in wanted if name not in inputs]:
            raise BundleError(self.spec.name, f"{role} needs the input {', '.join(missing)}, which is not given.")
        feeds = {name: np.ascontiguousarray(inputs[name], np.float32) for name in wanted}
        return run_batched(session, feeds, min(16, max(1, _PIXELS_AT_ONCE // self.spec.resolution**2)))

    def parse(self, crops: ImagesRGB) -> tuple[Float[np.ndarray, "n 19 h w"], Float[np.ndarray, "n 68 2"]]:
        """Label the pixels of crops and find landmarks.

        Args:
            crops: uint8 (n, s, s, 3), cut with `spec.crop`.

        Returns:
            Logits of CelebAMask-HQ's 19 classes, (n, 19, h, w), and landmarks, (n, 68, 2), pixels of the crops.
        """
        logits, landmarks = self.run("parser", crop=to_float(crops))
        return logits, landmarks

    def embed(self, identity_crops: ImagesRGB) -> Float[np.ndarray, "n d"]:
        """Return unit embeddings.

        Args:
            identity_crops: uint8 (n, s, s, 3), cut with `spec.identity_crop`.

        Returns:
            (n, d), rows of length 1.
        """
        return self.run("identity", crop=to_float(identity_crops))[0]

    def describe(self, crops: ImagesRGB) -> Float[np.ndarray, "n 7"]:
        """Estimate attributes.

        Args:
            crops: uint8 (n, s, s, 3), cut with `spec.crop`.

        Returns:
            (n, 7): age in years, P(female), and P(group) for White, Black, Asian, Indian and other.
        """
        return self.run("attributes", crop=to_float(crops))[0]

    def invert(
        self,
        crops: ImagesRGB,
        landmarks: Float[np.ndarray, "n 68 2"],
        visible: Float[np.ndarray, "n 1 s s"],
        identity: Float[np.ndarray, "n d"] | None = None,
    ) -> WPlusArray:
        """Return the latent codes of faces.

        Args:
            crops: uint8 (n, s, s, 3), cut with `spec.crop`.
            landmarks: (n, 68, 2), pixels of the crops.
            visible: Probability that the face is visible, (n, 1, s, s), 0 to 1; 0 where something covers it.
            identity: Unit embeddings from `embed`, (n, d); only some inverters of format 2 need them.

        Returns:
            W+, (n, size).
        """
        known = {"crop": to_float(crops), "landmarks": landmarks, "visible": visible}
        return _flat(self.run("inverter", **known, **({} if identity is None else {"identity": identity}))[0])

    def sample(
        self, z: Float[np.ndarray, "n z"], attributes: Float[np.ndarray, "n 7"], source: WPlusArray
    ) -> WPlusArray:
        """Return targets for random inputs.

        Args:
            z: Standard normal numbers, (n, z).
            attributes: Attributes of the sources from `describe`, (n, 7).
            source: Latent codes of the sources, W+ (n, size).

        Returns:
            W+, (n, size).
        """
        w = self.run("mapping", z=z, attributes=attributes, source=self._shaped(source))[0]
        one_row = w.ndim < 1 + len(self.spec.code_shape)
        return _flat(np.repeat(w[:, None], self.spec.layers, 1) if one_row else w)

    def encode_labels(self, labels: UInt8[np.ndarray, "n s s"]) -> WPlusArray:
        """Return the latent codes of label maps; needs a bundle with a mask encoder.

        Args:
            labels: Classes of CelebAMask-HQ, uint8 (n, s, s), of any side s.

        Returns:
            W+, (n, size).
        """
        height, width = self.session("mask_encoder").get_inputs()[0].shape[1:3]
        small = [cv2.resize(one, (width, height), interpolation=cv2.INTER_NEAREST) for one in labels]
        return _flat(self.run("mask_encoder", labels=np.stack(small))[0])

    def weigh(self, source: WPlusArray, target: WPlusArray) -> WPlusArray:
        """Return how much of the target to take for each number of W+; needs a bundle with a swapper.

        Args:
            source: Latent codes of the sources, W+ (n, size).
            target: Latent codes of the targets, W+ (n, size).

        Returns:
            Shares, (n, size), 0 to 1.
        """
        return _flat(self.run("swapper", source=self._shaped(source), target=self._shaped(target))[0])

    def rankings(self) -> dict[str, FloatArray]:
        """Return the bundle's rankings: scores of units of W+, higher for units that are better to swap.

        Returns:
            Scores by name; empty for a bundle without rankings. `channels` has the default score, `channels@ratio`
            another. Tables are (layers, units per row); channels and groups of rows that differ in width are (units,).

        Raises:
            BundleError: If the file was changed or cannot be read.
        """
        if self.spec.rankings is None:
            return {}
        content = self._checked(self.spec.rankings)
        try:
            with np.load(content if isinstance(content, Path) else io.BytesIO(content), allow_pickle=False) as file:
                return {name: np.asarray(file[name], np.float64) for name in file.files if "." not in name}
        except (OSError, ValueError, EOFError) as error:
            raise BundleError(self.spec.name, f"{self.spec.rankings.file} cannot be read: {error}") from error

    def geometry(self, wplus: WPlusArray) -> Float[np.ndarray, "n 68 2"]:
        """Return the landmarks of latent codes; format 2 only.

        Args:
            wplus: Latent codes, W+ (n, size).

        Returns:
            (n, 68, 2), pixels of the crop.
        """
        return self.run("geometry", w_plus=wplus)[0].reshape(-1, 68, 2)

    def generator_for(self, face_px: float) -> Generator:
        """Return the generator that draws faces of a size; format 2 only.

        Args:
            face_px: Width of the face in its photo, pixels.

        Raises:
            BundleError: If the bundle is of format 1.
        """
        if not self.spec.generators:
            raise BundleError(self.spec.name, "it has one generator for all faces; only bundles of format 2 have more.")
        *smaller, last = self.spec.generators
        return next((one for one in smaller if one.most_face_px is not None and face_px <= one.most_face_px), last)

    def draw(
        self, generator: Generator, wplus: WPlusArray, maps: Mapping[str, FloatArray]
    ) -> Float[np.ndarray, "n s s 3"]:
        """Draw faces into their surroundings; format 2 only.

        Args:
            generator: The generator, of side s.
            wplus: Latent codes, W+ (n, size).
            maps: The generator's maps by name, each (n, channels, s, s); see `generators.MAPS`.

        Returns:
            Images, float32 (n, s, s, 3) in [0, 255].

        Raises:
            BundleError: If the generator needs a map that is not given.
        """
        return self._images(self.run(generator.network, w_plus=wplus, **maps)[0])

    def neutral(self) -> Neutral:
        """Return the bundle's neutral surroundings, into which faces without a photo are drawn; format 2 only.

        Raises:
            BundleError: If the bundle is of format 1, or the file was changed or cannot be read.
        """
        if self.spec.neutral is None:
            raise BundleError(self.spec.name, "it has no neutral surroundings; only bundles of format 2 have them.")
        content = self._checked(self.spec.neutral)
        try:
            return read_neutral(content, self.spec.crop.size_px)
        except ValueError as error:
            raise BundleError(self.spec.name, f"{self.spec.neutral.file}: {error}.") from error

    @cached_property
    def predictor(self) -> TraitPredictor | None:
        """The bundle's trait predictor; None if it has none.

        Raises:
            BundleError: If the file was changed or cannot be read.
        """
        if self.spec.predictor is None:
            return None
        content = self._checked(self.spec.predictor)
        try:
            return read_predictor(content, self.spec.size)
        except ValueError as error:
            raise BundleError(self.spec.name, f"{self.spec.predictor.file}: {error}.") from error

    def generate(self, wplus: WPlusArray) -> Float[np.ndarray, "n s s 3"]:
        """Return images like `render`, without landmarks."""
        return self._images(self._drawn(wplus)[0])

    def render(self, wplus: WPlusArray) -> tuple[Float[np.ndarray, "n s s 3"], Float[np.ndarray, "n 68 2"]]:
        """Draw faces from latent codes alone; format 1 only. `styleid.core.rendering.render` works with both formats.

        If the generator does not return landmarks, the images are parsed to find them.

        Args:
            wplus: Latent codes, W+ (n, size).

        Returns:
            Images, float32 (n, s, s, 3) in [0, 255], and their landmarks, (n, 68, 2), pixels.

        Raises:
            BundleError: If the bundle is of format 2, whose generators need surroundings.
        """
        first, *rest = self._drawn(wplus)
        images = self._images(first)
        return images, rest[0] if rest else self.parse(images.round().astype(np.uint8))[1]

    def _drawn(self, wplus: WPlusArray) -> list[FloatArray]:
        if self.spec.generators:
            raise BundleError(self.spec.name, "its generators fill faces into surroundings and cannot draw without.")
        return self.run("generator", w_plus=self._shaped(wplus))

    def styles(self, wplus: WPlusArray) -> list[FloatArray]:
        """Return the style codes S of latent codes; needs a bundle with the network `affines`.

        Args:
            wplus: Latent codes, W+ (n, size).

        Returns:
            One array (n, channels) per modulated convolution.
        """
        return self.run("affines", w_plus=self._shaped(wplus))

    def render_styles(
        self, styles: Sequence[Float[np.ndarray, "n _"]]
    ) -> tuple[Float[np.ndarray, "n s s 3"], Float[np.ndarray, "n 68 2"]]:
        """Draw faces from style codes; needs a bundle with the network `synthesis`.

        Args:
            styles: One array (n, channels) per modulated convolution, as `styles` returns them.

        Returns:
            Images, float32 (n, s, s, 3) in [0, 255], and their landmarks, (n, 68, 2), pixels.
        """
        names = [value.name for value in self.session("synthesis").get_inputs()]
        images = self._images(self.run("synthesis", **dict(zip(names, styles, strict=True)))[0])
        return images, self.parse(images.round().astype(np.uint8))[1]

    def _shaped(self, wplus: WPlusArray) -> FloatArray:
        """Return W+ (n, size) in the shape of the networks' inputs: (n, layers, width) in format 1."""
        return wplus.reshape(len(wplus), *self.spec.code_shape)

    @staticmethod
    def _images(outputs: FloatArray) -> FloatArray:
        return ((outputs.transpose(0, 2, 3, 1) + 1) * 127.5).clip(0, 255)

    def _source(self, role: str) -> bytes | Path:
        """Check a network's file; return its content, or its path if it is large."""
        entry = self.spec.networks.get(role)
        if entry is None:
            raise BundleError(self.spec.name, f"it has no {role} ({purpose(role, self.spec)}).")
        return self._checked(entry)

    def _checked(self, entry: NetworkFile) -> bytes | Path:
        path, digest, parts = self.folder / entry.file, hashlib.sha256(), []
        large = entry.bytes > _LARGE_BYTES
        try:
            with path.open("rb") as file:
                while part := file.read(_LARGE_BYTES):
                    digest.update(part)
                    if not large:
                        parts.append(part)
        except OSError as error:
            raise BundleError(self.spec.name, f"{path} cannot be read: {error.strerror}.") from error
        found = digest.hexdigest()
        if found != entry.sha256:
            raise BundleError(
                self.spec.name,
                f"{entry.file} has the SHA-256 {found[:12]}..., bundle.json says {entry.sha256[:12]}...: "
                "the file was changed or is incomplete. Reinstall styleid, or build the bundle again.",
            )
        return path if large else b"".join(parts)


def to_float(crops: ImagesRGB) -> Float[np.ndarray, "n 3 s s"]:
    """Convert crops, uint8 (n, s, s, 3), to float32 (n, 3, s, s) in [-1, 1]."""
    return crops.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1


def _flat(codes: FloatArray) -> WPlusArray:
    """Return a network's W+ as (n, size)."""
    return codes.reshape(len(codes), -1)


@cache
def bundle_hash(folder: Path) -> str:
    """Return the SHA-256 of bundle.json, which contains the SHA-256 of every other file of the bundle."""
    return hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()
