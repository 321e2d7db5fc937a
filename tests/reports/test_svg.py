"""Pictures: what is drawn is where the numbers say, and what is written is escaped."""

from xml.etree import ElementTree

import pytest

from reports.svg import Line, Point, histogram, lines


def parsed(markup):
    root = ElementTree.fromstring(str(markup))
    return root, [element for element in root.iter() if isinstance(element.tag, str)]


def drawn(*points, name="run"):
    return Line(name=name, color=0, points=[Point(x=x, y=y, low=low, high=high) for x, y, low, high in points])


def of(elements, tag):
    return [element for element in elements if element.tag.endswith(f"}}{tag}")]


def test_a_point_has_its_interval_as_a_bar_and_says_its_numbers():
    _, elements = parsed(lines([drawn((0, 0.5, 0.4, 0.6), (1, 0.7, 0.7, 0.7))]))
    bars = [line for line in of(elements, "line") if line.get("class") != "tick"]
    assert len(bars) == 1
    circles = of(elements, "circle")
    assert float(circles[1].get("cy")) < float(circles[0].get("cy")), "higher is further up"
    assert float(bars[0].get("y1")) > float(circles[0].get("cy")) > float(bars[0].get("y2"))
    assert [title.text for title in of(elements, "title")] == ["run: 0.5 [0.4, 0.6]", "run: 0.7"]


@pytest.mark.parametrize(
    "values", [[0.0], [3.0, 3.0], [-1e-9, 1e-9], [1e9, -1e9], [0.25, 0.75], [1e-300, 2e-300], [12345678, 12345679]]
)
def test_every_range_of_numbers_has_an_axis_that_holds_it(values):
    _, elements = parsed(lines([drawn(*((x, y, y, y) for x, y in enumerate(values)))]))
    for circle in of(elements, "circle"):
        assert 0 <= float(circle.get("cy")) <= 200
        assert 0 <= float(circle.get("cx")) <= 360
    assert 2 <= len([line for line in of(elements, "line") if line.get("class") == "tick"]) <= 8


def test_bars_are_as_high_as_their_counts():
    _, elements = parsed(histogram([1, 4, 0, 2], [0, 1, 2, 3, 4], 0))
    heights = [float(rect.get("height")) for rect in of(elements, "rect")]
    assert heights[1] == pytest.approx(4 * heights[0], abs=0.5)
    assert heights[2] == 0


def test_a_name_with_markup_stays_a_name():
    hostile = "</svg><script>alert(1)</script>"
    markup = str(lines([drawn((0, 1, 1, 1), name=hostile)], {0: hostile}))
    assert "<script" not in markup
    _, elements = parsed(markup)
    assert any(hostile in (element.text or "") for element in elements)
