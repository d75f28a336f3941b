"""A bundle's description, `bundle.json`.

It is read strictly: contradictory entries and unknown networks are refused, and in format 2 unknown keys of rows,
generators and swaps. Other unknown entries, such as `made_with`, are ignored.

The runtime takes every size, threshold and crop from here; nothing depends on one particular network.
docs/architecture.md describes both formats.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from styleid.bundles.generators import Generator, read_generators
from styleid.bundles.rows import (
    Row,
    RowNumbers,
    check_keys,
    equal_rows,
    numbers_of,
    read_levels,
    read_rows,
    rows_of,
)
from styleid.bundles.steps import (
    STEP_KEYS,
    PixelStyle,
    Preset,
    SwapStep,
    check_steps,
    read_pixel,
    read_preset,
    read_steps,
)
from styleid.errors import BundleError
from styleid.faces.align import CropTemplate

FORMATS = (1, 2)
"""The formats of bundle.json that this version reads."""
NETWORKS = {
    "inverter": "crop (optionally landmarks, visible, identity) -> W+",
    "mapping": "z (optionally attributes, source) -> W+",
    "generator": "W+ -> image (optionally its landmarks)",
    "parser": "crop -> label logits, landmarks",
    "identity": "crop -> unit embedding",
    "attributes": "crop -> age in years, P(female), P(group) x 5",
    "affines": "W+ -> S",
    "synthesis": "S -> image",
    "mask_encoder": "labels -> W+",
    "swapper": "(source W+, target W+) -> share of the target",
    "geometry": "W+ -> landmarks",
}
"""Inputs and outputs of each network, by role."""
REQUIRED = ("inverter", "mapping", "generator", "parser", "identity", "attributes")
_OF_FORMAT_2 = ("geometry",)
_FILLING = "W+ and maps of the photo -> image"
"""Inputs and outputs of the generators of format 2."""


@dataclass(frozen=True)
class NetworkFile:
    """One file of a bundle.

    file: its name.
    sha256: SHA-256 of its content, hexadecimal.
    bytes: its size.
    opset: version of the ONNX operator set of a network, 0 for other files.
    """

    file: str
    sha256: str
    bytes: int
    opset: int


@dataclass(frozen=True)
class SimilarityRange:
    """Range of the cosine similarity of strangers at one false-match rate.

    low: similarity below which this share of the pairs of strangers lies.
    high: similarity above which this share lies; the threshold at this rate.
    """

    low: float
    high: float


@dataclass(frozen=True)
class BundleSpec:
    """A bundle's description.

    name: the bundle's name.
    version: its version.
    licence: its licence.
    provenance: where its networks and training data come from.
    resolution: side of the crops, and of images that are drawn without a photo, pixels.
    rows: the rows of W+, in order.
    z: length of the mapping network's random input.
    levels: first and last row of each level, by name.
    swaps: the swap steps of the method latent, from the smallest change to the largest.
    crop: template of the crops that the parser, inverter and attribute network take.
    identity_crop: template of the crops that the recogniser takes.
    thresholds: similarity ranges of strangers by false-match rate, in ascending order.
    max_landmark_error: largest landmark error with which a new face passes, in inter-ocular distances.
    networks: the networks' files, by role.
    quality: measured figures, by name.
    pixel: settings of the method pixel; None without a mask encoder.
    rankings: file with scores of units of W+; None if there is none.
    presets: named sets of settings.
    format: format of bundle.json, 1 or 2.
    generators: in format 2, the generators, from small to large faces; empty in format 1.
    neutral: in format 2, the file with the neutral surroundings; None in format 1.
    predictor: file of the trait predictor; None if there is none.
    """

    name: str
    version: str
    licence: str
    provenance: str
    resolution: int
    rows: tuple[Row, ...]
    z: int
    levels: Mapping[str, tuple[int, int]]
    swaps: tuple[SwapStep, ...]
    crop: CropTemplate
    identity_crop: CropTemplate
    thresholds: Mapping[float, SimilarityRange]
    max_landmark_error: float
    networks: Mapping[str, NetworkFile]
    quality: Mapping[str, Any] = field(default_factory=dict)
    pixel: PixelStyle | None = None
    rankings: NetworkFile | None = None
    presets: Mapping[str, Preset] = field(default_factory=dict)
    format: int = 1
    generators: tuple[Generator, ...] = ()
    neutral: NetworkFile | None = None
    predictor: NetworkFile | None = None

    @classmethod
    def read(cls, folder: Path) -> BundleSpec:
        """Read and check the description in a folder.

        Args:
            folder: Folder with a bundle.json.

        Raises:
            BundleError: If bundle.json is missing, cannot be read, or has a wrong entry, which the error names.
        """
        path = folder / "bundle.json"
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise BundleError(folder, "bundle.json is missing. Give a folder that contains one.") from error
        except (OSError, ValueError) as error:
            raise BundleError(folder, f"bundle.json cannot be read: {error}") from error
        try:
            if not isinstance(record, dict):
                raise ValueError("it must contain a JSON object.")
            return cls.from_json(record)
        except KeyError as error:
            raise BundleError(folder, f"bundle.json lacks {error}.") from error
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise BundleError(folder, f"bundle.json: {error}") from error

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> BundleSpec:
        """Build a description from the parsed content of `bundle.json`.

        Raises:
            KeyError: If an entry is missing.
            ValueError: If an entry has a wrong value, or entries contradict each other. Values of a wrong type may also
                raise TypeError, AttributeError or OverflowError.
        """
        if record["format"] not in FORMATS:
            raise ValueError(
                f"format {record['format']} is unknown; this version of styleid reads the formats "
                f"{' and '.join(map(str, FORMATS))}."
            )
        filling = record["format"] == 2
        rows = read_rows(record["rows"]) if filling else equal_rows(int(record["layers"]), int(record["width"]))
        levels = read_levels(record["levels"], len(rows))
        if filling:
            for step in record["swaps"]:
                check_keys(step, STEP_KEYS, "a swap")
        generators = read_generators(record["generators"]) if filling else ()
        networks = _networks(record["networks"], generators)
        ranges = record["thresholds"].items()
        thresholds = {float(fmr): SimilarityRange(float(r["low"]), float(r["high"])) for fmr, r in ranges}
        spec = cls(
            name=str(record["name"]),
            version=str(record["version"]),
            licence=str(record["licence"]),
            provenance=str(record["provenance"]),
            resolution=int(record["resolution"]),
            rows=rows,
            z=int(record["z"]),
            levels=levels,
            swaps=read_steps(record["swaps"], levels, rows),
            crop=_template(record["crop"]),
            identity_crop=_template(record["identity_crop"]),
            thresholds=dict(sorted(thresholds.items())),
            max_landmark_error=float(record["max_landmark_error"]),
            networks=networks,
            quality=dict(record.get("quality", {})),
            pixel=read_pixel(record.get("pixel"), levels, len(rows)),
            rankings=_file(record["rankings"], "the rankings") if record.get("rankings") else None,
            presets={
                str(name): read_preset(entry, levels, len(rows)) for name, entry in record.get("presets", {}).items()
            },
            format=int(record["format"]),
            generators=generators,
            neutral=_file(record["neutral"], "the neutral surroundings") if filling else None,
            predictor=_file(record["predictor"], "the trait predictor") if record.get("predictor") else None,
        )
        spec._check()
        return spec

    def _check(self) -> None:
        """Raise ValueError if limits would let every face pass (as NaN would), or if sizes contradict each other."""
        check_steps(self.swaps, self.levels)
        if not self.thresholds:
            raise ValueError("'thresholds' is empty; it must have at least one false-match rate.")
        for fmr, strangers in self.thresholds.items():
            if not (0 < fmr < 1 and -1 <= strangers.low < strangers.high < 1):
                raise ValueError(
                    f"the threshold {fmr:g} has low {strangers.low} and high {strangers.high}; the rate must be between"
                    " 0 and 1, and -1 <= low < high < 1."
                )
        if not 0 < self.max_landmark_error < float("inf"):
            raise ValueError(f"max_landmark_error is {self.max_landmark_error}; it must be positive and finite.")
        if self.crop.size_px != self.resolution:
            raise ValueError(f"crop.size is {self.crop.size_px} and resolution {self.resolution}; they must be equal.")

    @property
    def others(self) -> tuple[NetworkFile, ...]:
        """The files, other than networks and rankings, that bundle.json names."""
        return tuple(file for file in (self.neutral, self.predictor) if file is not None)

    @property
    def layers(self) -> int:
        """Number of rows of W+."""
        return len(self.rows)

    @property
    def size(self) -> int:
        """Number of numbers of W+."""
        return self.rows[-1].first + self.rows[-1].width

    @property
    def code_shape(self) -> tuple[int, ...]:
        """Shape of one face's W+ in the networks' inputs and outputs: (layers, width) in format 1, (size,) in 2."""
        return (self.layers, self.rows[0].width) if self.format == 1 else (self.size,)

    @property
    def shape_text(self) -> str:
        """The size of W+ as text, such as "18 x 512" or "14 rows, 168 numbers"."""
        widths = {row.width for row in self.rows}
        return f"{self.layers} x {widths.pop()}" if len(widths) == 1 else f"{self.layers} rows, {self.size} numbers"

    def rows_of(self, levels: Iterable[str]) -> tuple[int, ...]:
        """Return the rows of some levels.

        Args:
            levels: Names of levels.

        Returns:
            Indices of rows, in ascending order.

        Raises:
            ValueError: If the bundle does not have a level.
        """
        return rows_of(levels, self.levels)

    def numbers(self, rows: Iterable[int]) -> RowNumbers:
        """Return the indices of some rows' numbers in the flat W+, row after row."""
        return numbers_of(rows, self.rows)


def _template(record: Mapping[str, Any]) -> CropTemplate:
    points = tuple((float(x), float(y)) for x, y in record["points"])
    return CropTemplate(int(record["size"]), points, record.get("rule", "points"))


def purpose(role: str, spec: BundleSpec | None = None) -> str:
    """Return a text with the inputs and outputs of a network.

    Args:
        role: The network's role.
        spec: The bundle that has the network; generators of format 2 differ from those of format 1.
    """
    fills = spec is not None and role in {one.network for one in spec.generators}
    return _FILLING if fills else NETWORKS.get(role, "an unknown role")


def _networks(record: Mapping[str, Any], generators: tuple[Generator, ...]) -> dict[str, NetworkFile]:
    """Read the entry `networks`. generators: those of format 2, empty for format 1."""
    drawing = [one.network for one in generators] or ["generator"]
    others = _OF_FORMAT_2 if generators else ()
    known = [role for role in NETWORKS if role not in ("generator", *_OF_FORMAT_2)] + [*others, *drawing]
    networks: dict[str, NetworkFile] = {}
    for role, entry in record.items():
        if role not in known:
            raise ValueError(f"network '{role}' is unknown; the roles are {', '.join(known)}.")
        networks[role] = _file(entry, f"network '{role}'")
    required = [role for role in REQUIRED if role != "generator"] + [*others, *drawing]
    if missing := [role for role in required if role not in networks]:
        raise ValueError(f"the entry 'networks' lacks {', '.join(missing)}.")
    return networks


def _file(entry: Mapping[str, Any], what: str) -> NetworkFile:
    if Path(entry["file"]).name != entry["file"]:
        raise ValueError(f"the file of {what} lies outside the bundle: {entry['file']}")
    return NetworkFile(entry["file"], entry["sha256"], int(entry["bytes"]), int(entry.get("opset", 0)))
