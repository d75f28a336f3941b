"""Plots of a ranking: heat maps of tables, and curves of privacy against utility."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from styleid.bundles.spec import BundleSpec
from styleid.ranking.canvas import FAINT, INK, Canvas, Colour, colours
from styleid.ranking.curves import between
from styleid.ranking.run import RankedTable, Ranking

_PANELS = {
    "score": ("score", "h(identity) - h(everything else): warm, better to swap", "warm: better to swap"),
    "d_id": ("identity", "|| F(x) - F(x') ||", "|| F(x) - F(x') ||"),
    "d_attr": ("everything else", "|| A(x) - A(x') ||, standard deviations", "|| A(x) - A(x') ||"),
    "landmarks": ("landmarks", "mean displacement, in inter-ocular distances", "inter-ocular distances"),
    "leak": ("leak", "share of the embedding's variance that the unit's values explain", "explained variance"),
}
_LINES: dict[str, tuple[Colour, str]] = {
    "difference": ((176, 58, 30), "ranked by difference"),
    "ratio": ((214, 146, 36), "ranked by ratio"),
    "d_id": ((58, 110, 165), "ranked by identity alone"),
    "random": ((140, 146, 152), "random orders"),
}
_OWN: Colour = (31, 111, 84)
_PICTURE_HIGH, _PICTURE_WIDE = 700, 900
_LEFT, _TOP, _GAP = 104, 78, 44
_SIDE = 300


def draw_all(ranking: Ranking, spec: BundleSpec) -> dict[str, bytes]:
    """Draw a heat map of each table, and the curves if there are any.

    Args:
        ranking: The ranking.
        spec: The bundle's description.

    Returns:
        PNG files by name.
    """
    made = {name: heat_map(name, table, spec) for name, table in ranking.tables.items()}
    curved = {name: table for name, table in ranking.tables.items() if table.curves is not None}
    if curved:
        made["curves"] = curves(curved, ranking.own)
    return made


def heat_map(name: str, table: RankedTable, spec: BundleSpec) -> bytes:
    """Draw a table's score, changes and leak, one grid each.

    Args:
        name: Name of the table.
        table: The table.
        spec: The bundle's description.

    Returns:
        A PNG file.
    """
    units = table.units
    values = {"score": table.scores["difference"], "d_id": table.d_id, "d_attr": table.d_attr,
              "landmarks": table.landmarks, "leak": table.leak}  # fmt: skip
    grids = {key: units.grid(value) for key, value in values.items()}
    rows, columns = units.shape
    windows = not units.is_partition
    beside = rows >= columns
    wide, high = _cell(rows, columns, beside)
    step_x, step_y = max(columns * wide, 150) + _GAP, rows * high + _TOP
    across, down = (len(grids), 1) if beside else (1, len(grids))
    canvas = Canvas(round(_LEFT + across * step_x), round(30 + down * step_y + 34))
    canvas.text((16, 24), f"{spec.name}: {len(table.d_id)} {name.removeprefix('s.')}", 15)
    for k, (key, grid) in enumerate(grids.items()):
        x, y = _LEFT + (k if beside else 0) * step_x, 30 + _TOP - 14 + (0 if beside else k * step_y)
        _panel(canvas, (x, y), grid, (wide, high), key, beside)
        if k == 0 or not beside:
            _rows(canvas, (x, y), rows, high, windows, spec.levels if not name.startswith("s.") else {})
        canvas.text((x, y + rows * high + 16), _column_label(name, windows), 10, colour=FAINT)
    return canvas.png()


def _cell(rows: int, columns: int, beside: bool) -> tuple[float, float]:
    """Return width and height of a cell, in units of the canvas."""
    if not beside:
        return max(_PICTURE_WIDE / columns, 1 / 4), min(18.0, _PICTURE_HIGH / rows)
    high = min(24.0, _PICTURE_HIGH / rows)
    return min(max(high, 150 / columns), 40.0) if columns > 1 else 40.0, high


def _panel(
    canvas: Canvas,
    at: tuple[float, float],
    grid: Float[np.ndarray, "rows columns"],
    cell: tuple[float, float],
    key: str,
    beside: bool,
) -> None:
    x, y = at
    title, what, short = _PANELS[key]
    low, high = 0.0, float(np.nanmax(grid))
    if key == "score":
        high = float(np.nanmax(np.abs(grid)))
        low = -high
    canvas.text((x, y - 34), title, 13)
    words = short if beside else what
    canvas.text((x if beside else x + 130, y - (21 if beside else 34)), words, 9, colour=FAINT)
    canvas.cells(x, y - 15, colours(np.linspace(low, high, 60)[None], low, high, diverging=key == "score"), 1, 6)
    canvas.text((x + 64, y - 9), f"{low:.2f} to {high:.2f}", 9, colour=FAINT)
    canvas.cells(x, y, colours(grid, low, high, diverging=key == "score"), *cell)


def _rows(
    canvas: Canvas,
    at: tuple[float, float],
    rows: int,
    high: float,
    windows: bool,
    levels: Mapping[str, tuple[int, int]],
) -> None:
    """Label the rows of a grid with numbers and levels."""
    x, y = at
    every = next(step for step in (1, 2, 5, 10, 20, 50) if step * high >= 11 or step == 50)
    for row in range(0, rows, every):
        words = str(row + 1) if windows else str(row)
        canvas.text((x - 6, y + (row + 0.5) * high), words, 9, "rm", FAINT)
    if windows:
        canvas.turned_text((x - 40, y + rows * high / 2), "rows in the window", 10, FAINT)
        return
    below = y - 20.0
    for name, (first, last) in levels.items():
        middle = y + (first + last + 1) / 2 * high
        below = max(middle, below + 10)
        canvas.text((x - 26, below), name, 10, "rm")
        if first > 0:
            canvas.line([(x - 24, y + first * high), (x - 2, y + first * high)], FAINT, 0.5)


def _column_label(name: str, windows: bool) -> str:
    if windows:
        return "first row of the window"
    kind = name.removeprefix("s.")
    return {"channels": "channel", "groups": "group", "layers": ""}[kind]


# ------------------------------------------------------------------ curves


@dataclass(frozen=True)
class _Axes:
    """The axes of one plot: its upper left corner, and the largest values."""

    x0: float
    y0: float
    x_most: float
    y_most: float

    def place(self, x: float, y: float) -> tuple[float, float]:
        return self.x0 + _SIDE * x / self.x_most, self.y0 + _SIDE * (1 - y / self.y_most)


def curves(tables: Mapping[str, RankedTable], own: Sequence[Float[np.ndarray, "pairs 3"]]) -> bytes:
    """Draw the curves of tables: attributes over identity above, landmarks over identity below.

    Args:
        tables: Tables with curves, by name.
        own: Changes by each of the bundle's own swap steps, (pairs, 3).

    Returns:
        A PNG file.
    """
    canvas = Canvas(70 + len(tables) * (_SIDE + 60), 2 * (_SIDE + 104) + 96)
    for across, (name, table) in enumerate(tables.items()):
        assert table.curves is not None
        means = _mean_curves(table.curves)
        for down, (column, label) in enumerate(
            ((1, "change of everything else, standard deviations"), (2, "landmarks, inter-ocular distances"))
        ):
            most = [max(float(curve[:, k].max()) for curve in means.values()) * 1.05 for k in (0, column)]
            axes = _Axes(60 + across * (_SIDE + 60), 62 + down * (_SIDE + 104), *most)
            _frame(canvas, axes, f"{len(table.d_id)} {name.removeprefix('s.')}" if down == 0 else "", label)
            for order, curve in means.items():
                colour = _LINES[order.partition(" ")[0]][0]
                chance = order.startswith("random")
                places = [axes.place(*point) for point in curve[:, [0, column]]]
                canvas.line(places, colour, 1 if chance else 2)
                for place in places[1:-1] if not chance else ():
                    canvas.dot(place, 2.5, colour)
            before = (0.0, 0.0)
            for k, change in enumerate(own):
                at = axes.place(*change.mean(0)[[0, column]])
                canvas.dot(at, 4, _OWN)
                if k == 0 or abs(at[1] - before[1]) > 9:
                    canvas.text((at[0] + 7, at[1]), f"own {k + 1}", 9, "lm", _OWN)
                before = at
            _savings(canvas, axes, table, "d_attr" if column == 1 else "landmarks")
    _legend(canvas, 60, 2 * (_SIDE + 104) + 36, bool(own))
    return canvas.png()


def _mean_curves(
    measured: Mapping[str, Float[np.ndarray, "pairs points 3"]],
) -> dict[str, Float[np.ndarray, "points 3"]]:
    """Return each order's mean over pairs, (points, 3); random orders first, so that the others are drawn over them."""
    names = sorted(measured, key=lambda name: not name.startswith("random"))
    return {name: np.asarray(measured[name]).mean(0) for name in names}


def _frame(canvas: Canvas, axes: _Axes, title: str, label: str) -> None:
    x0, y0 = axes.x0, axes.y0
    canvas.text((x0, y0 - 38), title, 13)
    for share in (0, 0.25, 0.5, 0.75, 1):
        x, y = x0 + _SIDE * share, y0 + _SIDE * (1 - share)
        canvas.line([(x0, y), (x0 + _SIDE, y)], (232, 232, 232), 0.5)
        canvas.text((x, y0 + _SIDE + 14), f"{axes.x_most * share:.2f}", 9, "ms", FAINT)
        canvas.text((x0 - 5, y), f"{axes.y_most * share:.2f}", 9, "rm", FAINT)
    canvas.line([(x0, y0), (x0, y0 + _SIDE), (x0 + _SIDE, y0 + _SIDE)], INK, 1)
    canvas.text((x0 + _SIDE / 2, y0 + _SIDE + 32), "change of identity, || F(x) - F(x') ||", 10, "ms")
    canvas.turned_text((x0 - 42, y0 + _SIDE / 2), label, 10)


def _savings(canvas: Canvas, axes: _Axes, table: RankedTable, utility: str) -> None:
    """Write above a plot how much less than a baseline each ranked order costs."""
    assert table.curves is not None
    for k, baseline in enumerate(("random", "d_id")):
        parts = []
        for ranked in ("difference", "ratio"):
            apart = between(table.curves, ranked, baseline, utility)
            parts.append(f"{ranked} {apart.value:+.2f} ({apart.low:+.2f} to {apart.high:+.2f})")
        against = {"random": "saved against random", "d_id": "against identity alone"}[baseline]
        canvas.text((axes.x0, axes.y0 - 20 + 12 * k), f"{against}: {', '.join(parts)}", 8.5, colour=FAINT)


def _legend(canvas: Canvas, x0: float, y: float, own: bool) -> None:
    """Draw the legend in two columns, which fit below a single table."""
    for k, (colour, words) in enumerate(_LINES.values()):
        x, below = x0 + k % 2 * 180, y + k // 2 * 20
        canvas.line([(x, below), (x + 22, below)], colour, 2)
        canvas.text((x + 28, below), words, 11, "lm")
    if own:
        canvas.dot((x0 + 11, y + 40), 4, _OWN)
        canvas.text((x0 + 28, y + 40), "the bundle's own swap steps", 11, "lm")
