"""The plots of an evaluation report, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from styleid.evaluate.statistics import Estimate
from styleid.reports.plots import GOOD, SERIES, SOFT, figure, printable, to_svg

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

FloatArray = np.ndarray[Any, Any]
_LABEL_WIDE, _LABEL_HIGH = 0.2, 0.045
"""Room that a label takes, as a share of the plot's width and height."""


@dataclass(frozen=True)
class Point:
    """One tool in the plot of privacy and utility.

    name: of the tool. found: share of people whom the strongest attack finds. useful: the utility score. is_baseline:
    whether it is a baseline, not a folder that is judged.
    """

    name: str
    found: Estimate
    useful: Estimate
    is_baseline: bool


def scatter(points: Sequence[Point], chance: float, floor: float | None) -> Markup:
    """Plot the privacy of each tool against its utility.

    Args:
        points: The tools; values in [0, 1].
        chance: Share of people that guessing finds.
        floor: Share of people that the attack finds with every face filled; None if unknown.

    Returns:
        An SVG element. Its x axis is the utility score, its y axis the share of people found.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    top = max([0.05, *(p.found.high for p in points if np.isfinite(p.found.high))])
    top = float(min(1.0, np.ceil(top * 11) / 10))
    with figure(7.6, 4.4) as drawn:
        plot = drawn.add_subplot()
        plot.axvspan(0.5, 1, ymax=0.25, color=GOOD, linewidth=0)
        plot.text(0.99, top * 0.235, "private and useful", ha="right", va="top", color=SOFT)
        for value, name in ((chance, "chance"), (floor, "faces filled")):
            if value is not None and np.isfinite(value):
                plot.axhline(value, color=SOFT, linestyle="--", linewidth=1)
                plot.text(0.2, value, f"{name}: {value:.1%}", va="bottom", color=SOFT)
        labels = _spread([(p.useful.value, p.found.value / top) for p in points])
        for point, label_y in zip(points, labels, strict=True):
            _draw(plot, point, label_y * top)
        plot.set(xlim=(0, 1), ylim=(0, top), xlabel="utility score", ylabel="people found by the strongest attack")
        plot.yaxis.set_major_formatter("{x:.0%}")
        plot.grid(axis="y")
        plot.set_axisbelow(True)
        return to_svg(drawn, "scatter", _described(points))


def histograms(kinds: Mapping[str, FloatArray], thresholds: Mapping[float, float], name: str) -> Markup:
    """Plot how similar faces are, each kind scaled to a height of 1.

    Args:
        kinds: Cosine similarities in [-1, 1] by the name of the kind; at most four kinds. Others than finite values
            are left out.
        thresholds: Similarity by false-match rate; each becomes a dashed line.
        name: A name that no other plot on the page has.

    Returns:
        An SVG element.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    edges = np.linspace(-1, 1, 81)
    with figure(7.6, 2.9) as drawn:
        plot = drawn.add_subplot()
        for (kind, values), colour in zip(kinds.items(), SERIES, strict=False):
            counts = np.histogram(values[np.isfinite(values)], edges)[0]
            heights = counts / max(int(counts.max(initial=0)), 1)
            plot.stairs(heights, edges, color=colour, linewidth=1.8, label=printable(kind))
        for order, (rate, value) in enumerate(sorted(thresholds.items(), reverse=True)):
            plot.axvline(value, color=SOFT, linestyle="--", linewidth=1)
            plot.text(value, 1.17 - 0.09 * order, f" FMR {rate:g}", va="top", color=SOFT)
        plot.set(xlim=(-1, 1), ylim=(0, 1.18), xlabel="cosine similarity", ylabel="share, largest = 1", yticks=(0, 1))
        plot.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=1)
        medians = [
            f"{kind}: median {np.median(values[np.isfinite(values)]):.2f}"
            for kind, values in kinds.items()
            if np.isfinite(values).any()
        ]
        return to_svg(drawn, name, printable(f"Distribution of similarities. {'; '.join(medians)}."))


def _draw(plot: Axes, point: Point, label_y: float) -> None:
    """Draw a tool with its intervals and its name."""
    colour = SOFT if point.is_baseline else SERIES[1]
    x, y = point.useful.value, point.found.value
    plot.plot([max(point.useful.low, 0), min(point.useful.high, 1)], [y, y], color=colour, linewidth=1)
    plot.plot([x, x], [point.found.low, point.found.high], color=colour, linewidth=1)
    plot.plot([x], [y], "o", color=colour, markersize=6, clip_on=False)
    shift, side = (-0.01, "right") if x > 0.75 else (0.01, "left")
    weight = "normal" if point.is_baseline else "bold"
    plot.text(x + shift, label_y, printable(point.name), ha=side, va="bottom", color=colour, weight=weight)


def _spread(places: Sequence[tuple[float, float]]) -> list[float]:
    """Return the heights of labels beside points so that they do not cover each other; shares of width and height."""
    heights = [0.0] * len(places)
    placed: list[tuple[float, float]] = []
    for index in sorted(range(len(places)), key=lambda one: places[one][1]):
        x, height = places[index]
        while any(abs(x - other) < _LABEL_WIDE and abs(height - y) < _LABEL_HIGH for other, y in placed):
            height += 0.005
        placed.append((x, height))
        heights[index] = height
    return heights


def _described(points: Sequence[Point]) -> str:
    """Return what the plot of privacy and utility shows."""
    tools = "; ".join(f"{p.name}: {p.found.value:.1%} found, utility {p.useful.value:.2f}" for p in points)
    return printable(f"People found by the strongest attack, against the utility score. {tools}.")
