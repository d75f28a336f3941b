"""Plots of a ranking: heat maps of tables, and curves of privacy against utility. They need matplotlib."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from styleid.bundles.spec import BundleSpec
from styleid.errors import MissingDependencyError
from styleid.ranking.curves import between
from styleid.ranking.run import RankedTable, Ranking

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = {
    "score": ("score", "h(identity) - h(everything else);\nred: better to swap"),
    "d_id": ("identity", "|| F(x) - F(x') ||"),
    "d_attr": ("everything else", "|| A(x) - A(x') ||, standard deviations"),
    "landmarks": ("landmarks", "mean displacement,\ninter-ocular distances"),
    "leak": ("leak", "explained share of the\nembedding's variance"),
}
"""Title of each heat map, and what it shows."""
_LINES = {
    "difference": ("tab:red", "ranked by difference"),
    "ratio": ("tab:orange", "ranked by ratio"),
    "d_id": ("tab:blue", "ranked by identity alone"),
    "random": ("0.6", "random orders"),
}
_OWN = "tab:green"
_SETTINGS: Any = {
    "font.size": 8.0,
    "text.parse_math": False,  # a "$" in a bundle's name is no formula
    "axes.spines.right": False,
    "axes.spines.top": False,
    "legend.frameon": False,
    "savefig.dpi": 110,
}
_LEAST_ROW_IN = 0.13
"""Least height of a heat map's row whose number is readable, inches."""


def draw_all(ranking: Ranking, spec: BundleSpec) -> dict[str, bytes]:
    """Draw a heat map of each table, and the curves if there are any.

    Args:
        ranking: The ranking.
        spec: The bundle's description.

    Returns:
        PNG files by name.

    Raises:
        MissingDependencyError: matplotlib is not installed.
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

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    values = {"score": table.scores["difference"], "d_id": table.d_id, "d_attr": table.d_attr,
              "landmarks": table.landmarks, "leak": table.leak}  # fmt: skip
    rows, columns = table.units.shape
    beside = rows >= columns
    high = max(2.0, min(9.0, rows * 0.16))
    size = (2.3 * len(values), high + 1.4) if beside else (9.0, (high + 0.9) * len(values))
    kind = name.removeprefix("s.")
    with _figure(*size) as figure:
        figure.suptitle(f"{spec.name}: {len(table.d_id)} {kind}", x=0.01, ha="left", fontsize=12)
        grid = (1, len(values)) if beside else (len(values), 1)
        for number, (key, value) in enumerate(values.items()):
            axes = figure.add_subplot(*grid, number + 1)
            _panel(figure, axes, table.units.grid(value), key)
            axes.set_xlabel(_column_label(kind))
            _mark_rows(axes, rows, high, windows=not table.units.is_partition)
            if table.units.is_partition and kind == name and (number == 0 or not beside):
                _name_levels(axes, spec.levels)
        return _png(figure)


def require_matplotlib() -> None:
    """Raise MissingDependencyError if plots cannot be drawn."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("matplotlib, which draws plots,", "'styleid[eval]'") from error


@contextmanager
def _figure(width_in: float, height_in: float) -> Iterator[Figure]:
    require_matplotlib()
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS):
        yield Figure((width_in, height_in), layout="constrained")


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _panel(figure: Figure, axes: Axes, grid: Float[np.ndarray, "rows columns"], key: str) -> None:
    """Draw one grid with its colour bar. Changes have a root scale, so that small ones are visible."""
    from matplotlib.colors import CenteredNorm, PowerNorm

    title, what = _PANELS[key]
    most = max(float(np.nanmax(np.abs(grid))), 1e-12)
    norm = CenteredNorm(0, most) if key == "score" else PowerNorm(0.5, 0, most)
    image = axes.imshow(
        np.ma.masked_invalid(grid), cmap="RdBu_r" if key == "score" else "Blues", norm=norm, aspect="auto"
    )
    axes.set_facecolor("0.94")  # cells without a unit
    axes.set_title(title, loc="left")
    bar = figure.colorbar(image, ax=axes, location="top", ticks=[-most, 0, most] if key == "score" else [0, most])
    bar.ax.set_xticklabels([f"{tick:.2f}" for tick in bar.get_ticks()])
    bar.set_label(what, fontsize=7)


def _mark_rows(axes: Axes, rows: int, height_in: float, windows: bool) -> None:
    """Write the rows' numbers, from 0; for windows their lengths, from 1."""
    every = next(step for step in (1, 2, 5, 10, 20, 50) if step * height_in / rows >= _LEAST_ROW_IN or step == 50)
    ticks = np.arange(0, rows, every)
    axes.set_yticks(ticks, [str(tick + windows) for tick in ticks], fontsize=6)
    if windows:
        axes.set_ylabel("rows in the window")


def _name_levels(axes: Axes, levels: Mapping[str, tuple[int, int]]) -> None:
    """Write the name of each level beside its rows."""
    second = axes.secondary_yaxis(-0.12 if axes.get_position().width > 0.5 else -0.25)
    second.set_yticks([(first + last) / 2 for first, last in levels.values()], list(levels), fontsize=7)
    second.tick_params(length=0)
    second.spines["left"].set_visible(False)


def _column_label(kind: str) -> str:
    return {"channels": "channel", "groups": "group", "windows": "first row of the window"}.get(kind, "")


# ------------------------------------------------------------------ curves


def curves(tables: Mapping[str, RankedTable], own: Sequence[Float[np.ndarray, "pairs 3"]]) -> bytes:
    """Draw the curves of tables: attributes over identity above, landmarks over identity below.

    Args:
        tables: Tables with curves, by name.
        own: Changes by each of the bundle's own swap steps, (pairs, 3).

    Returns:
        A PNG file.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    with _figure(4.6 * len(tables), 9.4) as figure:
        grid: Any = figure.subplots(2, len(tables), squeeze=False)
        for across, (name, table) in enumerate(tables.items()):
            title = f"{len(table.d_id)} {name.removeprefix('s.')}\n"
            _curve_plot(grid[0, across], table, own, 1, title, "change of everything else, standard deviations")
            _curve_plot(grid[1, across], table, own, 2, "", "landmarks, inter-ocular distances")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=3)
        return _png(figure)


def _curve_plot(
    axes: Axes, table: RankedTable, own: Sequence[Float[np.ndarray, "pairs 3"]], column: int, title: str, label: str
) -> None:
    assert table.curves is not None
    labelled = set[str]()
    for order, curve in _mean_curves(table.curves).items():
        kind = order.partition(" ")[0]
        colour, words = _LINES[kind]
        style: dict[str, Any] = {"lw": 0.8} if kind == "random" else {"lw": 1.6, "marker": "o", "ms": 3}
        axes.plot(curve[:, 0], curve[:, column], color=colour, label="" if kind in labelled else words, **style)
        labelled.add(kind)
    for number, change in enumerate(own):
        x, y = change.mean(0)[[0, column]]
        axes.plot(x, y, "D", color=_OWN, ms=5, label="" if number else "the bundle's own swap steps")
        axes.annotate(str(number + 1), (x, y), (5, 3), textcoords="offset points", color=_OWN)
    utility = "d_attr" if column == 1 else "landmarks"
    axes.set_title(title + _savings(table.curves, utility), loc="left", fontsize=6)
    axes.set(xlabel="change of identity, || F(x) - F(x') ||", ylabel=label, xlim=(0, None), ylim=(0, None))
    axes.grid(color="0.92")


def _mean_curves(
    measured: Mapping[str, Float[np.ndarray, "pairs points 3"]],
) -> dict[str, Float[np.ndarray, "points 3"]]:
    """Return each order's mean over pairs, (points, 3); random orders first, so that the others are drawn over them."""
    names = sorted(measured, key=lambda name: not name.startswith("random"))
    return {name: np.asarray(measured[name]).mean(0) for name in names}


def _savings(measured: Mapping[str, Float[np.ndarray, "pairs points 3"]], utility: str) -> str:
    """Return two lines that say how much less than a baseline each ranked order costs."""
    lines: list[str] = []
    for baseline, words in (("random", "saved against random"), ("d_id", "against identity alone")):
        apart = {ranked: between(measured, ranked, baseline, utility) for ranked in ("difference", "ratio")}
        parts = [f"{name} {one.value:+.2f} ({one.low:+.2f} to {one.high:+.2f})" for name, one in apart.items()]
        lines.append(f"{words}: {', '.join(parts)}")
    return "\n".join(lines)
