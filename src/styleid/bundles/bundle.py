"""A bundle at work: its networks, opened when they are first needed and only if they are what bundle.json says."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from styleid.bundles.generators import Generator
from styleid.bundles.neutral import Neutral, read_neutral
from styleid.bundles.spec import BundleSpec, NetworkFile, purpose
from styleid.errors import BundleError
from styleid.runtime import Device, open_session, run_batched
from styleid.types import FloatArray, ImagesRGB, WPlusArray

_PIXELS_AT_ONCE = 1 << 20
"""How many pixels of crops a network sees in one call: what lies between its layers takes memory by the pixel."""
_LARGE_BYTES = 1 << 25
"""From this size on a network is opened from its file, since its content beside it would double what it takes."""


class Bundle:
    """Run a bundle's networks on batches of any length.

    Crops go in as uint8 (n, s, s, 3) RGB and are normalised to [-1, 1] here, once for every network.
    """

    def __init__(self, folder: Path, device: Device = "cpu") -> None:
        self.folder = folder
        self.device: Device = device
        self.spec = BundleSpec.read(folder)
        self._sessions: dict[str, Any] = {}
        self._lock = threading.Lock()

    def has(self, role: str) -> bool:
        """Say whether the bundle brings a network for this role."""
        return role in self.spec.networks

    def session(self, role: str) -> Any:
        """Return the network's session, opening and checking it on first use."""
        with self._lock:
            if role not in self._sessions:
                self._sessions[role] = open_session(self._source(role), self.device)
            return self._sessions[role]

    def plain_session(self, role: str) -> Any:
        """Open the network anew on the CPU without ONNX Runtime's optimisations, slowly, to compare with."""
        return open_session(self._source(role), plain=True)

    def check(self, role: str) -> None:
        """Raise BundleError unless the network's file is the one that bundle.json names."""
        self._source(role)

    def run(self, role: str, **inputs: np.ndarray) -> list[np.ndarray]:
        """Run a network; of the inputs given, those are fed that it asks for."""
        session = self.session(role)
        wanted = [value.name for value in session.get_inputs()]
        if missing := [name for name in wanted if name not in inputs]:
            raise BundleError(self.spec.name, f"{role} asks for {', '.join(missing)}, which styleid does not know.")
        feeds = {name: np.ascontiguousarray(inputs[name], np.float32) for name in wanted}
        return run_batched(session, feeds, min(16, max(1, _PIXELS_AT_ONCE // self.spec.resolution**2)))

    def parse(self, crops: ImagesRGB) -> tuple[Float[np.ndarray, "n 19 h w"], Float[np.ndarray, "n 68 2"]]:
        """Return label logits (n, 19, h, w) and landmarks (n, 68, 2) in pixels of the crops."""
        logits, landmarks = self.run("parser", crop=to_float(crops))
        return logits, landmarks

    def embed(self, identity_crops: ImagesRGB) -> Float[np.ndarray, "n d"]:
        """Return unit embeddings, (n, d), of crops under the bundle's identity template."""
        return self.run("identity", crop=to_float(identity_crops))[0]

    def describe(self, crops: ImagesRGB) -> Float[np.ndarray, "n 7"]:
        """Return (n, 7): age in years, P(female), P(group) for White, Black, Asian, Indian, other."""
        return self.run("attributes", crop=to_float(crops))[0]

    def invert(
        self,
        crops: ImagesRGB,
        landmarks: Float[np.ndarray, "n 68 2"],
        visible: Float[np.ndarray, "n 1 s s"],
        identity: Float[np.ndarray, "n d"] | None = None,
    ) -> WPlusArray:
        """Return W+ (n, size).

        visible: (n, 1, s, s) in [0, 1], 0 where something hides the face. identity: unit embeddings as `embed` gives
        them, (n, d), which inverters of format 2 may ask for.
        """
        known = {"crop": to_float(crops), "landmarks": landmarks, "visible": visible}
        return _flat(self.run("inverter", **known, **({} if identity is None else {"identity": identity}))[0])

    def sample(
        self, z: Float[np.ndarray, "n z"], attributes: Float[np.ndarray, "n 7"], source: WPlusArray
    ) -> WPlusArray:
        """Return targets' W+ (n, size) for z (n, z) and what is known of the sources."""
        w = self.run("mapping", z=z, attributes=attributes, source=self._shaped(source))[0]
        one_row = w.ndim < 1 + len(self.spec.code_shape)
        return _flat(np.repeat(w[:, None], self.spec.layers, 1) if one_row else w)

    def encode_labels(self, labels: UInt8[np.ndarray, "n s s"]) -> WPlusArray:
        """Return W+ of label maps (n, s, s) over CelebAMask-HQ's classes, at any side."""
        height, width = self.session("mask_encoder").get_inputs()[0].shape[1:3]
        small = [cv2.resize(one, (width, height), interpolation=cv2.INTER_NEAREST) for one in labels]
        return _flat(self.run("mask_encoder", labels=np.stack(small))[0])

    def weigh(self, source: WPlusArray, target: WPlusArray) -> WPlusArray:
        """Return the target's share in each number of W+, (n, size) in [0, 1]."""
        return _flat(self.run("swapper", source=self._shaped(source), target=self._shaped(target))[0])

    def rankings(self) -> dict[str, FloatArray]:
        """Return scores of units of W+ by name, higher the better to swap.

        Tables are (layers, units per row); those of channels and groups are (units,) where rows differ in width.
        `name` is a table's usual score, `name@other` another. What has a dot in its name is no score of W+.
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
        """Return where landmarks of W+ (n, size) will lie, (n, 68, 2) pixels of the crop; of format 2."""
        return self.run("geometry", w_plus=wplus)[0].reshape(-1, 68, 2)

    def generator_for(self, face_px: float) -> Generator:
        """Return the generator that draws a face this wide in its photo, in pixels.

        Raises BundleError for format 1.
        """
        if not self.spec.generators:
            raise BundleError(self.spec.name, "it has one generator for all faces; only bundles of format 2 have more.")
        *smaller, last = self.spec.generators
        return next((one for one in smaller if one.most_face_px is not None and face_px <= one.most_face_px), last)

    def draw(
        self, generator: Generator, wplus: WPlusArray, maps: Mapping[str, FloatArray]
    ) -> Float[np.ndarray, "n s s 3"]:
        """Return faces drawn into their surroundings, float32 (n, s, s, 3) in [0, 255], s the generator's side.

        maps: by name, see `generators.MAPS`, each (n, channels, s, s). Raises BundleError where the generator asks for
        one that is not given.
        """
        return self._images(self.run(generator.network, w_plus=wplus, **maps)[0])

    def neutral(self) -> Neutral:
        """Return the surroundings of nobody that format 2 brings; raises BundleError where they cannot be read."""
        if self.spec.neutral is None:
            raise BundleError(self.spec.name, "it has no neutral surroundings; only bundles of format 2 have.")
        content = self._checked(self.spec.neutral)
        try:
            return read_neutral(content, self.spec.crop.size_px)
        except ValueError as error:
            raise BundleError(self.spec.name, f"{self.spec.neutral.file}: {error}.") from error

    def generate(self, wplus: WPlusArray) -> Float[np.ndarray, "n s s 3"]:
        """Return images as `render` does, without their landmarks."""
        return self._images(self._drawn(wplus)[0])

    def render(self, wplus: WPlusArray) -> tuple[Float[np.ndarray, "n s s 3"], Float[np.ndarray, "n 68 2"]]:
        """Return images of W+ alone, float32 (n, s, s, 3) in [0, 255], and their landmarks (n, 68, 2) in pixels.

        A generator that places landmarks itself says where; the images of any other are parsed. For format 1;
        `styleid.core.rendering.render` draws with any bundle. Raises BundleError for format 2, whose generators fill
        faces into surroundings.
        """
        first, *rest = self._drawn(wplus)
        images = self._images(first)
        return images, rest[0] if rest else self.parse(images.round().astype(np.uint8))[1]

    def _drawn(self, wplus: WPlusArray) -> list[FloatArray]:
        if self.spec.generators:
            raise BundleError(self.spec.name, "its generators fill faces into surroundings and draw nothing alone.")
        return self.run("generator", w_plus=self._shaped(wplus))

    def styles(self, wplus: WPlusArray) -> list[FloatArray]:
        """Return S of W+ (n, size): one (n, channels) per modulated convolution."""
        return self.run("affines", w_plus=self._shaped(wplus))

    def render_styles(
        self, styles: Sequence[Float[np.ndarray, "n _"]]
    ) -> tuple[Float[np.ndarray, "n s s 3"], Float[np.ndarray, "n 68 2"]]:
        """Return images and landmarks as `render` does, of S."""
        names = [value.name for value in self.session("synthesis").get_inputs()]
        images = self._images(self.run("synthesis", **dict(zip(names, styles, strict=True)))[0])
        return images, self.parse(images.round().astype(np.uint8))[1]

    def _shaped(self, wplus: WPlusArray) -> FloatArray:
        """Return W+ (n, size) as the networks take it: rows beside each other in format 1."""
        return wplus.reshape(len(wplus), *self.spec.code_shape)

    @staticmethod
    def _images(outputs: FloatArray) -> FloatArray:
        return ((outputs.transpose(0, 2, 3, 1) + 1) * 127.5).clip(0, 255)

    def _source(self, role: str) -> bytes | Path:
        """Return a network's checked content, or the path of its checked file where it is large."""
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
    """Turn uint8 (n, s, s, 3) into float32 (n, 3, s, s) in [-1, 1]."""
    return crops.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1


def _flat(codes: FloatArray) -> WPlusArray:
    """Return the W+ of a network as one row of numbers a face, (n, size)."""
    return codes.reshape(len(codes), -1)


@cache
def bundle_hash(folder: Path) -> str:
    """Return the SHA-256 of bundle.json, which names the SHA-256 of everything else."""
    return hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()
