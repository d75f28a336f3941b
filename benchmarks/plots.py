"""Save the plots of benchmarks as small SVG files, the same for the same figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "styleid",
    "font.size": 9.0,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "legend.frameon": False,
}


def save_plots(path: Path, size_in: tuple[float, float], grid: tuple[int, int], *plots: Callable[[Axes], None]) -> None:
    """Draw plots into the cells of a grid and save them.

    Args:
        path: The SVG file.
        size_in: Width and height of the picture in inches.
        grid: Number of rows and columns.
        plots: Draw into the cells, in their order.
    """
    with mpl.rc_context(_SETTINGS):
        figure = Figure(size_in, layout="constrained")
        for place, plot in enumerate(plots, 1):
            axes = figure.add_subplot(*grid, place)
            axes.grid(color="#e4e4e4", linewidth=0.8)
            plot(axes)
        figure.savefig(path, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
