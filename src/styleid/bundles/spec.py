"""What a bundle says of itself: `bundle.json`, read strictly.

Everything the runtime does is written against these numbers, never against one network's.
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
NETWORKS = {
    "inverter": "crop (and landmarks, visible, identity, where it asks for them) -> W+",
    "mapping": "z (and attributes, source, where it asks for them) -> W+",
    "generator": "W+ -> image (and its landmarks, where it places them)",
    "parser": "crop -> label logits, landmarks",
    "identity": "crop -> unit embedding",
    "attributes": "crop -> age in years, P(female), P(group) x 5",
    "affines": "W+ -> S",
    "synthesis": "S -> image",
    "mask_encoder": "labels -> W+",
    "swapper": "(source W+, target W+) -> mixing weights",
    "geometry": "W+ -> landmarks",
}
REQUIRED = ("inverter", "mapping", "generator", "parser", "identity", "attributes")
_OF_FORMAT_2 = ("geometry",)
_FILLING = "W+ and maps of the photo -> image"


@dataclass(frozen=True)
class NetworkFile:
    """Name one file. bytes: its size; sha256: of its content; opset: ONNX operator set of a network."""

    file: str
    sha256: str
    bytes: int
    opset: int


@dataclass(frozen=True)
class SimilarityRange:
    """Bound the cosine similarity of strangers at one FMR: a share `fmr` lies above `high`, one below `low`."""

    low: float
    high: float


@dataclass(frozen=True)
class BundleSpec:
    """Describe a bundle.

    resolution: side of crops, and of images that are drawn from W+ alone, pixels. rows: those of W+, in order. z:
    length of z. levels: first and last row of each level. swaps: what the attempts of the method `latent` swap, from
    the least change to the most. thresholds: similarity ranges of strangers by false-match rate. max_landmark_error:
    how far the anonymised face's landmarks may lie from the original's, in inter-ocular distances. quality: measured
    figures by name. pixel: how the method `pixel` works, None where the bundle has no mask encoder. rankings: the file
    that scores units of W+, None where there is none. presets: settings of others, by name. format: of bundle.json.
    generators: those of format 2, which fill faces into their photos, by the face's size; none in format 1. neutral: in
    format 2, the file with surroundings of nobody.
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

    @classmethod
    def read(cls, folder: Path) -> BundleSpec:
        """Read and check a bundle's description; raises BundleError that names what is wrong."""
        path = folder / "bundle.json"
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise BundleError(folder, "bundle.json is missing; a bundle is a folder that holds one.") from error
        except (OSError, ValueError) as error:
            raise BundleError(folder, f"bundle.json cannot be read: {error}") from error
        try:
            if not isinstance(record, dict):
                raise ValueError("it must hold a JSON object.")
            return cls.from_json(record)
        except KeyError as error:
            raise BundleError(folder, f"bundle.json lacks {error}.") from error
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise BundleError(folder, f"bundle.json: {error}") from error

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> BundleSpec:
        """Build from the parsed `bundle.json`; raises KeyError or ValueError where it is not one."""
        if record["format"] not in FORMATS:
            raise ValueError(
                f"format {record['format']} is none of those that this version of styleid reads, "
                f"{', '.join(map(str, FORMATS))}."
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
        )
        spec._check()
        return spec

    def _check(self) -> None:
        """Raise ValueError where numbers would let every face pass, or contradict each other; NaN does the former."""
        check_steps(self.swaps, self.levels)
        if not self.thresholds:
            raise ValueError("'thresholds' is empty: there is nothing to judge by.")
        for fmr, strangers in self.thresholds.items():
            if not (0 < fmr < 1 and -1 <= strangers.low < strangers.high < 1):
                raise ValueError(f"the threshold {fmr:g} bounds similarities by {strangers.low} and {strangers.high}.")
        if not 0 < self.max_landmark_error < float("inf"):
            raise ValueError(f"max_landmark_error is {self.max_landmark_error}; it must be positive.")
        if self.crop.size_px != self.resolution:
            raise ValueError(
                f"crops have {self.crop.size_px} px and generated images {self.resolution}; they must agree."
            )

    @property
    def layers(self) -> int:
        """How many rows W+ has."""
        return len(self.rows)

    @property
    def size(self) -> int:
        """How many numbers W+ has."""
        return self.rows[-1].first + self.rows[-1].width

    @property
    def code_shape(self) -> tuple[int, ...]:
        """The shape of one face's W+ as the bundle's networks take and give it."""
        return (self.layers, self.rows[0].width) if self.format == 1 else (self.size,)

    @property
    def told_shape(self) -> str:
        """The sizes of W+ in words."""
        widths = {row.width for row in self.rows}
        return f"{self.layers} x {widths.pop()}" if len(widths) == 1 else f"{self.layers} rows, {self.size} numbers"

    def rows_of(self, levels: Iterable[str]) -> tuple[int, ...]:
        """Return the rows of the named levels; raises ValueError for a level that the bundle does not have."""
        return rows_of(levels, self.levels)

    def numbers(self, rows: Iterable[int]) -> RowNumbers:
        """Return which numbers of the flat W+ the rows hold, row after row."""
        return numbers_of(rows, self.rows)


def _template(record: Mapping[str, Any]) -> CropTemplate:
    points = tuple((float(x), float(y)) for x, y in record["points"])
    return CropTemplate(int(record["size"]), points, record.get("rule", "points"))


def purpose(role: str, spec: BundleSpec | None = None) -> str:
    """Say what a network takes and gives, by its role; spec: whose network it is."""
    fills = spec is not None and role in {one.network for one in spec.generators}
    return _FILLING if fills else NETWORKS.get(role, "an unknown role")


def _networks(record: Mapping[str, Any], generators: tuple[Generator, ...]) -> dict[str, NetworkFile]:
    """Read `networks`; generators: those of format 2, none for format 1."""
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
        raise ValueError(f"the networks {', '.join(missing)} are missing.")
    return networks


def _file(entry: Mapping[str, Any], what: str) -> NetworkFile:
    if Path(entry["file"]).name != entry["file"]:
        raise ValueError(f"{what} lies outside the bundle: {entry['file']}")
    return NetworkFile(entry["file"], entry["sha256"], int(entry["bytes"]), int(entry.get("opset", 0)))
