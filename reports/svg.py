"""Pictures as inline SVG: lines with intervals, and histograms.

The one decision: they are made as a tree of elements, so whatever is written into them is escaped, and drawn in the
page's own colours, so they follow its light and its dark.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

from markupsafe import Markup

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360, 200, 52, 10, 10, 30


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point and its interval."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Line:
    """Points under a name; ``color`` is a number from 0 on."""

    name: str
    color: int
    points: Sequence[Point]


def lines(drawn: Sequence[Line], x_names: dict[float, str] | None = None) -> Markup:
    """Lines over whole numbers, with a bar for each interval. Hovering over a point tells its number."""
    points = [point for line in drawn for point in line.points]
    low, high, ticks = _axis(min(point.low for point in points), max(point.high for point in points))
    first, last = min(point.x for point in points), max(point.x for point in points)
    svg = _canvas(low, high, ticks)

    def x(value: float) -> float:
        inset = 14
        return LEFT + inset + (value - first) / ((last - first) or 1) * (WIDTH - LEFT - RIGHT - 2 * inset)

    names = x_names or {value: f"{value:g}" for value in sorted({first, (first + last) // 2, last})}
    for value, name in names.items():
        _text(svg, x(value), HEIGHT - 10, name, "middle")
    for beside, line in enumerate(drawn):
        shift = 4 * beside if x_names else 0  # intervals of several runs stand beside each other
        places = [
            (x(each.x) + shift, _y(each.y, low, high), _y(each.low, low, high), _y(each.high, low, high))
            for each in line.points
        ]
        _draw(svg, line, places)
    return _markup(svg)


def _draw(svg: Element, line: Line, places: Sequence[tuple[float, ...]]) -> None:
    """A line, and of each of its points the interval, a dot, and its numbers."""
    group = SubElement(svg, "g", {"class": f"c{line.color % 6}"})
    SubElement(group, "polyline", {"points": " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in places), "class": "line"})
    for point, (x, y, low, high) in zip(line.points, places, strict=True):
        told, at = f"{line.name}: {point.y:.4g}", f"{x:.1f}"
        if point.low < point.high:
            SubElement(group, "line", {"x1": at, "x2": at, "y1": f"{low:.1f}", "y2": f"{high:.1f}"})
            told += f" [{point.low:.4g}, {point.high:.4g}]"
        SubElement(SubElement(group, "circle", {"cx": at, "cy": f"{y:.1f}", "r": "3"}), "title").text = told


def histogram(counts: Sequence[int], edges: Sequence[float], color: int) -> Markup:
    """How many values lie between each two edges."""
    low, high, ticks = _axis(0, max(*counts, 1))
    svg = _canvas(low, high, ticks)
    wide = (WIDTH - LEFT - RIGHT) / len(counts)
    group = SubElement(svg, "g", {"class": f"c{color % 6}"})
    for place, count in enumerate(counts):
        top = _y(count, low, high)
        bar = {"x": f"{LEFT + place * wide:.1f}", "y": f"{top:.1f}", "width": f"{max(wide - 1, 0.5):.1f}"}
        rect = SubElement(group, "rect", {**bar, "height": f"{_y(0, low, high) - top:.1f}"})
        SubElement(rect, "title").text = f"{edges[place]:.4g} to {edges[place + 1]:.4g}: {count}"
    for place, anchor in ((0, "start"), (len(counts) // 2, "middle"), (len(counts), "end")):
        _text(svg, LEFT + place * wide, HEIGHT - 10, f"{edges[place]:.3g}", anchor)
    return _markup(svg)


def _canvas(low: float, high: float, ticks: Sequence[float]) -> Element:
    svg = Element("svg", {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img", "xmlns": "http://www.w3.org/2000/svg"})
    for tick in ticks:
        y = _y(tick, low, high)
        ends = {"x1": str(LEFT), "x2": str(WIDTH - RIGHT), "y1": f"{y:.1f}", "y2": f"{y:.1f}", "class": "tick"}
        SubElement(svg, "line", ends)
        _text(svg, LEFT - 6, y + 4, f"{tick:.4g}", "end")
    return svg


def _axis(low: float, high: float) -> tuple[float, float, list[float]]:
    """Round ends that hold both numbers, and round steps between them."""
    span = (high - low) or abs(high) or 1.0
    step = next(
        size for size in (m * 10.0 ** math.floor(math.log10(span / 4)) for m in (1, 2, 2.5, 5, 10)) if size >= span / 4
    )
    first, last = math.floor(low / step), max(math.ceil(high / step), math.floor(low / step) + 1)
    return first * step, last * step, [place * step for place in range(first, last + 1)]


def _y(value: float, low: float, high: float) -> float:
    return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def _text(svg: Element, x: float, y: float, text: str, anchor: str) -> None:
    SubElement(svg, "text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}).text = text


def _markup(svg: Element) -> Markup:
    return Markup(tostring(svg, encoding="unicode"))
