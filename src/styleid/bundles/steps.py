"""What an attempt takes from its target: steps of the method `latent`, settings of `pixel`, and presets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import index
from typing import Any

from styleid.bundles.rows import Levels, Row, rows_of
from styleid.types import REGIONS, Region

MOST_COVER = 0.25
LIGHT_CELLS, MOST_LIGHT_CELLS = 3, 8
MOST_EXPRESSION_NOISE = 2.0
EXPRESSION = "expression"
"""The level that `expression_noise` is added to."""
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
"""What a step of format 2 may say."""


@dataclass(frozen=True)
class SwapStep:
    """Say what one attempt swaps.

    rows: rows of W+ taken from the target; strength: share of the target in them, 0 to 1. channels: single numbers of
    the flat W+ besides. cover: where not None, the new face lies over what is before it (hair, glasses, hands), and
    reaches this far beyond its outline, in face widths. light_cells: cells a side of the coarse light that a generator
    which is told the light may see. expression_noise: deviation of the noise added to the rows of the level
    `expression`. Measured, where the bundle was: leak, by how much more of people a trained attacker finds again than
    from their surroundings alone (rank-1 among 150 people), None where unknown; passes, the share of faces far enough
    from their original at the first attempt, by false-match rate.
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
    """Settings of somebody else's, by method. units: what `latent` swaps; "" for the bundle's own choice."""

    units: str = ""
    pixel: PixelStyle | None = None


def read_steps(records: Sequence[Mapping[str, Any]], levels: Levels, rows: Sequence[Row]) -> tuple[SwapStep, ...]:
    """Read `swaps` of bundle.json; raises KeyError or ValueError where a step is none."""
    return tuple(_step(record, levels, rows) for record in records)


def _step(record: Mapping[str, Any], levels: Levels, rows: Sequence[Row]) -> SwapStep:
    channels: list[int] = []
    for name, numbers in record.get("channels", {}).items():
        (place, *more) = rows_of((name,), levels)
        row = rows[place]
        if more or not all(0 <= int(number) < row.width for number in numbers):
            raise ValueError(f"a swap's channels are numbers below {row.width} of a level of one row, not {name}.")
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
    """Raise ValueError where there is no step, or one swaps nothing or lies outside its bounds; NaN does, too."""
    if not steps or not all(step.rows for step in steps):
        raise ValueError("'swaps' is empty: there is nothing to anonymise with.")
    for step in steps:
        if not 0 < step.strength <= 1:
            raise ValueError(f"a swap's strength lies in (0, 1], not at {step.strength}.")
        if step.cover is not None and not 0 <= step.cover <= MOST_COVER:
            raise ValueError(f"a swap's cover lies in [0, {MOST_COVER}] face widths, not at {step.cover}.")
        if not 1 <= step.light_cells <= MOST_LIGHT_CELLS:
            raise ValueError(f"a swap's light has 1 to {MOST_LIGHT_CELLS} cells a side, not {step.light_cells}.")
        if not 0 <= step.expression_noise <= MOST_EXPRESSION_NOISE:
            raise ValueError(
                f"a swap's expression_noise lies in [0, {MOST_EXPRESSION_NOISE:g}], not at {step.expression_noise}."
            )
        if step.expression_noise and EXPRESSION not in levels:
            raise ValueError(f"a swap adds noise to the level '{EXPRESSION}', which the bundle does not have.")


def read_preset(record: Mapping[str, Any], levels: Levels, layers: int) -> Preset:
    """Read one of `presets` of bundle.json; raises KeyError or ValueError where it is none."""
    return Preset(str(record.get("units", "")), read_pixel(record.get("pixel"), levels, layers))


def read_pixel(record: Mapping[str, Any] | None, levels: Levels, layers: int) -> PixelStyle | None:
    """Read how the method pixel works: each step's rows by the names of levels, or as first and last row.

    Raises KeyError or ValueError where it cannot work so.
    """
    if record is None:
        return None
    if "levels" in record:
        steps = tuple(rows_of(names, levels) for names in record["levels"])
    else:
        steps = tuple(tuple(range(int(first), int(last) + 1)) for first, last in record["rows"])
    if not steps or not all(rows and rows[0] >= 0 and rows[-1] < layers for rows in steps):
        raise ValueError(f"the method pixel takes rows {record.get('levels', record.get('rows'))} of {layers}.")
    if record["region"] not in REGIONS:
        raise ValueError(f"the region '{record['region']}' is unknown; the regions are {', '.join(REGIONS)}.")
    return PixelStyle(steps, record["region"], int(record.get("side", 0)), bool(record.get("outlined", False)))
