"""What a bundle says of itself: `bundle.json`, read strictly.

Everything the runtime does is written against these numbers, never against one network's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from styleid.errors import BundleError
from styleid.faces.align import CropTemplate
from styleid.types import REGIONS, Region

FORMAT = 1
NETWORKS = {
    "inverter": "crop (and landmarks, visible, where it asks for them) -> W+",
    "mapping": "z (and attributes, source, where it asks for them) -> W+",
    "generator": "W+ -> image (and its landmarks, where it places them)",
    "parser": "crop -> label logits, landmarks",
    "identity": "crop -> unit embedding",
    "attributes": "crop -> age in years, P(female), P(group) x 5",
    "affines": "W+ -> S",
    "synthesis": "S -> image",
    "mask_encoder": "labels -> W+",
    "swapper": "(source W+, target W+) -> mixing weights",
}
MOST_COVER = 0.25
REQUIRED = ("inverter", "mapping", "generator", "parser", "identity", "attributes")


@dataclass(frozen=True)
class NetworkFile:
    """Name one network's file. bytes: its size; sha256: of its content; opset: ONNX operator set."""

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
class SwapStep:
    """Say what one attempt swaps.

    rows: rows of W+ taken from the target; strength: share of the target in them, 0 to 1. channels: single numbers of
    W+ besides, counted row by row. cover: where not None, the new face lies over what is before it (hair, glasses,
    hands), and reaches this far beyond its outline, in face widths. Measured, where the bundle was: leak, by how much
    more of people a trained attacker finds again than from their surroundings alone (rank-1 among 150 people), None
    where unknown; passes, the share of faces far enough from their original at the first attempt, by false-match rate.
    """

    rows: tuple[int, ...]
    strength: float = 1.0
    channels: tuple[int, ...] = ()
    cover: float | None = None
    leak: float | None = None
    passes: Mapping[float, float] = field(default_factory=dict)


@dataclass(frozen=True)
class PixelStyle:
    """Say how the method `pixel` works.

    steps: rows of W+ that the target gives, for the first attempt and for stronger ones. region: full or inner, what is
    replaced. side_px: side at which faces are composited; 0 for the photo's own resolution. outlined: whether the
    generator draws nothing beyond its landmarks' outline, so that new faces must end there.
    """

    steps: tuple[tuple[int, ...], ...]
    region: Region = "full"
    side_px: int = 0
    outlined: bool = False


@dataclass(frozen=True)
class Preset:
    """Settings of somebody else's, by method. units: what `latent` swaps, as in `--units`; "" for the bundle's own."""

    units: str = ""
    pixel: PixelStyle | None = None


@dataclass(frozen=True)
class BundleSpec:
    """Describe a bundle.

    resolution: side of generated images and of crops, pixels. layers, width: shape of W+. z: length of z. levels: first
    and last row of each level. swaps: what the attempts of the method `latent` swap, from the least change to the most.
    thresholds: similarity ranges of strangers by false-match rate. max_landmark_error: how far the anonymised face's
    landmarks may lie from the original's, in inter-ocular distances. quality: measured figures by name. pixel: how the
    method `pixel` works, None where the bundle has no mask encoder. rankings: the file that scores units of W+, None
    where there is none. presets: settings of others, by name.
    """

    name: str
    version: str
    licence: str
    provenance: str
    resolution: int
    layers: int
    width: int
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
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']} is not {FORMAT}, the one this version of styleid reads.")
        layers = int(record["layers"])
        levels = {str(name): (int(first), int(last)) for name, (first, last) in record["levels"].items()}
        for name, (first, last) in levels.items():
            if not 0 <= first <= last < layers:
                raise ValueError(f"level '{name}' holds rows {first} to {last} of {layers}.")
        swaps = read_steps(record["swaps"], levels, int(record["width"]))
        networks = {}
        for role, entry in record["networks"].items():
            if role not in NETWORKS:
                raise ValueError(f"network '{role}' is unknown; the roles are {', '.join(NETWORKS)}.")
            networks[role] = _file(entry, f"network '{role}'")
        if missing := [role for role in REQUIRED if role not in networks]:
            raise ValueError(f"the networks {', '.join(missing)} are missing.")
        ranges = record["thresholds"].items()
        thresholds = {float(fmr): SimilarityRange(float(r["low"]), float(r["high"])) for fmr, r in ranges}
        spec = cls(
            name=str(record["name"]),
            version=str(record["version"]),
            licence=str(record["licence"]),
            provenance=str(record["provenance"]),
            resolution=int(record["resolution"]),
            layers=layers,
            width=int(record["width"]),
            z=int(record["z"]),
            levels=levels,
            swaps=swaps,
            crop=_template(record["crop"]),
            identity_crop=_template(record["identity_crop"]),
            thresholds=dict(sorted(thresholds.items())),
            max_landmark_error=float(record["max_landmark_error"]),
            networks=networks,
            quality=dict(record.get("quality", {})),
            pixel=_pixel(record.get("pixel"), levels, layers),
            rankings=_file(record["rankings"], "the rankings") if record.get("rankings") else None,
            presets={str(name): _preset(entry, levels, layers) for name, entry in record.get("presets", {}).items()},
        )
        spec._check()
        return spec

    def _check(self) -> None:
        """Raise ValueError where numbers would let every face pass, or contradict each other; NaN does the former."""
        if not self.swaps or not all(step.rows for step in self.swaps):
            raise ValueError("'swaps' is empty: there is nothing to anonymise with.")
        for step in self.swaps:
            if not 0 < step.strength <= 1:
                raise ValueError(f"a swap's strength lies in (0, 1], not at {step.strength}.")
            if step.cover is not None and not 0 <= step.cover <= MOST_COVER:
                raise ValueError(f"a swap's cover lies in [0, {MOST_COVER}] face widths, not at {step.cover}.")
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

    def rows_of(self, levels: tuple[str, ...]) -> tuple[int, ...]:
        """Return the rows of the named levels; raises KeyError for a level that the bundle does not have."""
        return _rows(levels, self.levels)


def read_steps(
    records: Sequence[Mapping[str, Any]], levels: Mapping[str, tuple[int, int]], width: int
) -> tuple[SwapStep, ...]:
    """Read `swaps` of bundle.json; raises KeyError or ValueError where a step is none."""
    steps = []
    for record in records:
        channels = []
        for name, numbers in record.get("channels", {}).items():
            (row, *more) = _rows((name,), levels)
            if more or not all(0 <= int(number) < width for number in numbers):
                raise ValueError(f"a swap's channels are numbers below {width} of a level of one row, not {name}.")
            channels += [row * width + int(number) for number in numbers]
        leak, cover = record.get("leak"), record.get("cover")
        passes = {float(fmr): float(share) for fmr, share in record.get("passes", {}).items()}
        steps.append(
            SwapStep(
                _rows(record["levels"], levels),
                float(record["strength"]),
                tuple(channels),
                None if cover is None else float(cover),
                None if leak is None else float(leak),
                passes,
            )
        )
    return tuple(steps)


def _rows(names: Any, levels: Mapping[str, tuple[int, int]]) -> tuple[int, ...]:
    rows: set[int] = set()
    for name in names:
        if name not in levels:
            raise ValueError(f"level '{name}' is unknown; the bundle's levels are {', '.join(levels)}.")
        first, last = levels[name]
        rows.update(range(first, last + 1))
    return tuple(sorted(rows))


def _template(record: Mapping[str, Any]) -> CropTemplate:
    points = tuple((float(x), float(y)) for x, y in record["points"])
    return CropTemplate(int(record["size"]), points, record.get("rule", "points"))


def _file(entry: Mapping[str, Any], what: str) -> NetworkFile:
    if Path(entry["file"]).name != entry["file"]:
        raise ValueError(f"{what} lies outside the bundle: {entry['file']}")
    return NetworkFile(entry["file"], entry["sha256"], int(entry["bytes"]), int(entry.get("opset", 0)))


def _preset(record: Mapping[str, Any], levels: Mapping[str, tuple[int, int]], layers: int) -> Preset:
    return Preset(str(record.get("units", "")), _pixel(record.get("pixel"), levels, layers))


def _pixel(record: Mapping[str, Any] | None, levels: Mapping[str, tuple[int, int]], layers: int) -> PixelStyle | None:
    """Read how the method pixel works: each step's rows by the names of levels, or as first and last row."""
    if record is None:
        return None
    if "levels" in record:
        steps = tuple(_rows(names, levels) for names in record["levels"])
    else:
        steps = tuple(tuple(range(int(first), int(last) + 1)) for first, last in record["rows"])
    if not steps or not all(rows and rows[0] >= 0 and rows[-1] < layers for rows in steps):
        raise ValueError(f"the method pixel takes rows {record.get('levels', record.get('rows'))} of {layers}.")
    if record["region"] not in REGIONS:
        raise ValueError(f"the region '{record['region']}' is unknown; the regions are {', '.join(REGIONS)}.")
    return PixelStyle(steps, record["region"], int(record.get("side", 0)), bool(record.get("outlined", False)))
