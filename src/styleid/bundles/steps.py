"""Swap steps of the method `latent`, settings of the method `pixel`, and presets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import index
from typing import Any

from styleid.bundles.rows import Levels, Row, rows_of
from styleid.types import REGIONS, Region

MOST_COVER = 0.25
"""Largest `cover` of a step, face widths."""
LIGHT_CELLS, MOST_LIGHT_CELLS = 3, 8
"""Usual and largest `light_cells` of a step."""
MOST_EXPRESSION_NOISE = 2.0
"""Largest `expression_noise` of a step."""
EXPRESSION = "expression"
"""Name of the level to which `expression_noise` is added."""
STEP_KEYS = (
    "levels",
    "strength",
    "channels",
    "cover",
    "leak",
    "passes",
    "light_cells",
    "expression_noise",
)
"""Keys of a step in bundle format 2."""


@dataclass(frozen=True)
class SwapStep:
    """What one attempt takes from its target.

    rows: rows of W+ that are swapped.
    strength: share of the target in them, more than 0 and at most 1.
    channels: indices of single numbers of the flat W+ that are swapped, too.
    cover: None if hair, glasses and hands in front of the face stay. Otherwise the new face covers them and extends
        this far beyond its outline, in face widths.
    leak: measured leak: a trained attacker's rank-1 among 150 people minus the floor; None without measurement.
    passes: measured share of faces within the similarity limit at the first attempt, by false-match rate; empty without
        measurement.
    light_cells: number of cells per side of the coarse light that the generator sees.
    expression_noise: standard deviation of the noise that is added to the rows of the level `expression`.
    """

    rows: tuple[int, ...]
    strength: float = 1.0
    channels: tuple[int, ...] = ()
    cover: float | None = None
    leak: float | None = None
    passes: Mapping[float, float] = field(default_factory=dict)
    light_cells: int = LIGHT_CELLS
    expression_noise: float = 0.0


@dataclass(frozen=True)
class PixelStyle:
    """Settings of the method `pixel`.

    steps: rows of W+ that are taken from the target, for each swap step from the smallest change to the largest.
    region: region that is replaced, full or inner.
    side_px: side at which faces are composited, pixels; 0 for the photo's resolution.
    outlined: whether the generator draws nothing outside its landmarks' outline, so that the new face must end there.
    """

    steps: tuple[tuple[int, ...], ...]
    region: Region = "full"
    side_px: int = 0
    outlined: bool = False


@dataclass(frozen=True)
class Preset:
    """A named set of settings.

    units: units that the method `latent` swaps; empty for the bundle's choice. See `AnonymizeOptions.units`.
    pixel: settings of the method `pixel`; None for the bundle's.
    """

    units: str = ""
    pixel: PixelStyle | None = None


def read_steps(records: Sequence[Mapping[str, Any]], levels: Levels, rows: Sequence[Row]) -> tuple[SwapStep, ...]:
    """Read the entry `swaps` of bundle.json.

    Args:
        records: The entry.
        levels: The bundle's levels.
        rows: The rows of W+.

    Raises:
        KeyError: If a step lacks an entry.
        TypeError: If light_cells is not an integer.
        ValueError: If a step names an unknown level, or channels that do not exist.
    """
    return tuple(_step(record, levels, rows) for record in records)


def _step(record: Mapping[str, Any], levels: Levels, rows: Sequence[Row]) -> SwapStep:
    channels: list[int] = []
    for name, numbers in record.get("channels", {}).items():
        (place, *more) = rows_of((name,), levels)
        row = rows[place]
        if more or not all(0 <= int(number) < row.width for number in numbers):
            raise ValueError(
                f"the channels of a swap must be below {row.width}, of a level of one row; those of {name} are not."
            )
        channels += [row.first + int(number) for number in numbers]
    leak, cover = record.get("leak"), record.get("cover")
    return SwapStep(
        rows_of(record["levels"], levels),
        float(record["strength"]),
        tuple(channels),
        None if cover is None else float(cover),
        None if leak is None else float(leak),
        {float(fmr): float(share) for fmr, share in record.get("passes", {}).items()},
        index(record.get("light_cells", LIGHT_CELLS)),
        float(record.get("expression_noise", 0.0)),
    )


def check_steps(steps: Sequence[SwapStep], levels: Levels) -> None:
    """Raise ValueError if there is no step, or a step swaps nothing or has a value outside its range (or NaN)."""
    if not steps or not all(step.rows for step in steps):
        raise ValueError("'swaps' is empty or has a swap without levels; every swap must name at least one level.")
    for step in steps:
        if not 0 < step.strength <= 1:
            raise ValueError(f"the strength of a swap must be more than 0 and at most 1, not {step.strength}.")
        if step.cover is not None and not 0 <= step.cover <= MOST_COVER:
            raise ValueError(f"the cover of a swap must be from 0 to {MOST_COVER} face widths, not {step.cover}.")
        if not 1 <= step.light_cells <= MOST_LIGHT_CELLS:
            raise ValueError(f"light_cells of a swap must be from 1 to {MOST_LIGHT_CELLS}, not {step.light_cells}.")
        if not 0 <= step.expression_noise <= MOST_EXPRESSION_NOISE:
            raise ValueError(
                f"expression_noise of a swap must be from 0 to {MOST_EXPRESSION_NOISE:g}, not {step.expression_noise}."
            )
        if step.expression_noise and EXPRESSION not in levels:
            raise ValueError(f"a swap has expression_noise, but the bundle does not have the level '{EXPRESSION}'.")


def read_preset(record: Mapping[str, Any], levels: Levels, layers: int) -> Preset:
    """Read one preset of bundle.json.

    Args:
        record: The preset.
        levels: The bundle's levels.
        layers: Number of rows of W+.

    Raises:
        KeyError: If `pixel` lacks an entry.
        ValueError: If `pixel` has a wrong value.
    """
    return Preset(str(record.get("units", "")), read_pixel(record.get("pixel"), levels, layers))


def read_pixel(record: Mapping[str, Any] | None, levels: Levels, layers: int) -> PixelStyle | None:
    """Read the settings of the method pixel. Each step lists names of levels, or gives its first and last row.

    Args:
        record: The settings; None if there are none.
        levels: The bundle's levels.
        layers: Number of rows of W+.

    Raises:
        KeyError: If an entry is missing.
        ValueError: If there is no step, or a step has no rows or rows that do not exist, or the region is unknown.
    """
    if record is None:
        return None
    if "levels" in record:
        steps = tuple(rows_of(names, levels) for names in record["levels"])
    else:
        steps = tuple(tuple(range(int(first), int(last) + 1)) for first, last in record["rows"])
    if not steps or not all(rows and rows[0] >= 0 and rows[-1] < layers for rows in steps):
        raise ValueError(
            f"the method pixel takes the rows {record.get('levels', record.get('rows'))}; every step must have at least"
            f" one row, from 0 to {layers - 1}."
        )
    if record["region"] not in REGIONS:
        raise ValueError(f"the region '{record['region']}' is unknown; the regions are {', '.join(REGIONS)}.")
    return PixelStyle(steps, record["region"], int(record.get("side", 0)), bool(record.get("outlined", False)))
