"""Plots of a report, as SVG that stands in the page itself."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from styleid.evaluate.statistics import Estimate

FloatArray = np.ndarray[Any, Any]
_LEFT, _TOP, _WIDE, _HIGH = 64, 20, 620, 340
_LABEL_WIDE, _LABEL_HIGH = 90, 13


@dataclass(frozen=True)
class Point:
    """One tool in the scatter. found: share of people whom the strongest attack finds; useful: the utility score."""

    name: str
    found: Estimate
    useful: Estimate
    is_baseline: bool


def scatter(points: Sequence[Point], chance: float, floor: float | None) -> str:
    """Draw privacy against utility: the lower and the further right, the better."""
    top = max([0.05, *(p.found.high for p in points if np.isfinite(p.found.high))])
    top = min(1.0, np.ceil(top * 11) / 10)

    def x(value: float) -> float:
        return _LEFT + _WIDE * value

    def y(value: float) -> float:
        return _TOP + _HIGH * (1 - min(value, top) / top)

    parts = [
        f'<svg viewBox="0 0 {_LEFT + _WIDE + 40} {_TOP + _HIGH + 60}" role="img" aria-label="privacy and utility">'
    ]
    parts.append(f'<rect x="{x(0.5)}" y="{y(top / 4)}" width="{_WIDE / 2}" height="{y(0) - y(top / 4):.1f}" '
                 'fill="#e4f2ea"/>')  # fmt: skip
    parts.append(f'<text x="{x(1) - 6}" y="{y(top / 4) + 16:.1f}" text-anchor="end">private and useful</text>')
    for tick in np.linspace(0, 1, 6):
        parts.append(f'<line x1="{x(tick)}" x2="{x(tick)}" y1="{y(0)}" y2="{y(0) + 5}" stroke="#888"/>')
        parts.append(f'<text x="{x(tick)}" y="{y(0) + 18}" text-anchor="middle">{tick:.1f}</text>')
    for tick in np.linspace(0, top, 6):
        parts.append(f'<line x1="{_LEFT}" x2="{x(1)}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#eee"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.0%}</text>')
    middle = _TOP + _HIGH / 2
    parts.append(f'<text x="{x(0.5)}" y="{y(0) + 42}" text-anchor="middle">what is kept (utility score)</text>')
    parts.append(f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">people found by the '
                 'strongest attack</text>')  # fmt: skip
    for value, name in ((chance, "chance"), (floor, "the surroundings alone")):
        if value is not None and np.isfinite(value):
            parts.append(f'<line x1="{_LEFT}" x2="{x(1)}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#999" '
                         'stroke-dasharray="4 3"/>')  # fmt: skip
            parts.append(f'<text x="{x(0.22)}" y="{y(value) - 4:.1f}">{name} {value:.1%}</text>')
    names = _spread([(x(p.useful.value), y(p.found.value)) for p in points])
    for point, label_y in zip(points, names, strict=True):
        at_x, at_y = x(point.useful.value), y(point.found.value)
        parts.append(_point(point, at_x, at_y, label_y))
        parts.append(_line(point, at_x, y(point.found.low), at_x, y(point.found.high)))
        parts.append(_line(point, x(max(point.useful.low, 0)), at_y, x(min(point.useful.high, 1)), at_y))
    return "".join(parts) + "</svg>"


def _line(point: Point, x1: float, y1: float, x2: float, y2: float) -> str:
    """Draw an interval."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{_colour(point)}"/>'


def _spread(places: Sequence[tuple[float, float]]) -> list[float]:
    """Return the heights of labels beside points so that neighbours' do not cover each other."""
    heights = [0.0] * len(places)
    placed: list[tuple[float, float]] = []
    for index in sorted(range(len(places)), key=lambda one: -places[one][1]):
        at_x, height = places[index]
        while any(abs(at_x - x) < _LABEL_WIDE and abs(height - y) < _LABEL_HIGH for x, y in placed):
            height -= 2
        placed.append((at_x, height))
        heights[index] = height
    return heights


def _point(point: Point, at_x: float, at_y: float, label_y: float) -> str:
    name, colour = html.escape(point.name), _colour(point)
    after, anchor = (-9, "end") if at_x > _LEFT + 0.75 * _WIDE else (9, "start")
    title = f"{name}: finds {point.found.value:.1%}, keeps {point.useful.value:.2f}"
    weight = "normal" if point.is_baseline else "bold"
    return (
        f'<circle cx="{at_x:.1f}" cy="{at_y:.1f}" r="5" fill="{colour}"><title>{title}</title></circle>'
        f'<text x="{at_x + after:.1f}" y="{label_y + 4:.1f}" text-anchor="{anchor}" font-weight="{weight}" '
        f'style="fill:{colour}">{name}</text>'
    )


def _colour(point: Point) -> str:
    return "#7a7a7a" if point.is_baseline else "#1f6f54"


def histograms(kinds: Mapping[str, FloatArray], thresholds: Mapping[float, float]) -> str:
    """Draw how similar faces are, each kind with its own height of 1, and where the thresholds lie."""
    colours = ("#9aa4ad", "#3b6ea5", "#c1603a", "#7d4fa0")
    edges = np.linspace(-1, 1, 81)
    wide, high = 700, 170
    parts = [f'<svg viewBox="0 0 {wide + 20} {high + 40}" role="img" aria-label="similarities">']
    for (name, values), colour in zip(kinds.items(), colours, strict=False):
        counts = np.histogram(values[np.isfinite(values)], edges)[0]
        heights = counts / max(int(counts.max(initial=0)), 1)
        steps = " ".join(
            f"{10 + (e + 1) / 2 * wide:.1f},{high - h * (high - 20):.1f}"
            for edge, h in zip(pairwise(edges), heights, strict=True)
            for e in edge
        )
        parts.append(f'<polyline points="{steps}" fill="none" stroke="{colour}" stroke-width="2"><title>'
                     f"{html.escape(name)}</title></polyline>")  # fmt: skip
    for order, (fmr, value) in enumerate(thresholds.items()):
        at = 10 + (value + 1) / 2 * wide
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="14" y2="{high}" stroke="#444" stroke-dasharray="3 3"/>'
                     f'<text x="{at + 3:.1f}" y="{12 + 13 * order}">{fmr:g}</text>')  # fmt: skip
    parts += [
        f'<text x="{10 + (v + 1) / 2 * wide:.0f}" y="{high + 16}" text-anchor="middle">{v:g}</text>'
        for v in np.linspace(-1, 1, 9)
    ]
    legend = " ".join(
        f'<span style="color:{c}">&#9632; {html.escape(name)}</span>' for name, c in zip(kinds, colours, strict=False)
    )
    return "".join(parts) + f"</svg><p>{legend}; dashed: thresholds, by false-match rate</p>"
