"""Draws the curves of perf/results/latest.json: ``python -m perf.charts`` (`make perf-charts`).

In: the curves that families recorded. Out: an SVG of each in perf/charts, and what perf/README.md says of them, between
its two marks. Rules: nothing is drawn that was not measured; a chart holds the points it was drawn from, so that a test
sees one that is not of the results.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perf.figures import RESULTS, read

PAGE = Path(__file__).parent / "README.md"
CHARTS = PAGE.parent / "charts"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
TITLES = {
    "load": "Latency against load",
    "drain": "Drain under throttle",
    "memory": "Memory against backlog",
    "table": "Cost against table size",
}
POWERS = frozenset({"memory", "table"})
"""Curves whose x are sizes: each tick is ten times the one before."""


def svg_of(name: str, curve: Mapping[str, Any]) -> str:
    """The chart as SVG, without scripts and with its points as its description."""
    # Here, because pygal adds a finder to the imports of its process that pytest cannot ask.
    import pygal
    from pygal.style import CleanStyle

    by_power = name in POWERS
    chart = pygal.XY(
        style=CleanStyle(font_family="sans-serif", background="white"), js=[], width=800, height=400, pretty_print=True,
        title=TITLES[name], x_title=curve["axes"][0], y_title=curve["axes"][1], legend_at_bottom=True,
        stroke_style={"width": 2}, dots_size=3, include_x_axis=True, disable_xml_declaration=True,
    )  # fmt: skip
    chart.uuid = name
    if by_power:
        powers = sorted({len(str(int(x))) - 1 for points in curve["series"].values() for x, _ in points})
        chart.x_labels = powers
        chart.x_value_formatter = _size
    for label, points in curve["series"].items():
        chart.add(label, [(_power(x) if by_power else x, y) for x, y in points])
    drawn: str = chart.render(is_unicode=True)
    drawn = re.sub(r"<script.*?</script>|<!--.*?-->", "", drawn, flags=re.DOTALL)
    head, _, rest = drawn.partition(">")
    return f"{head}><desc>{points_of(curve)}</desc>{rest.rstrip()}\n"


def points_of(curve: Mapping[str, Any]) -> str:
    """The points as text that may stand in a document."""
    return json.dumps(curve["series"], sort_keys=True).replace("&", "&amp;").replace("<", "&lt;")


def is_of(svg: str, curve: Mapping[str, Any]) -> bool:
    """Whether a chart was drawn from these points."""
    return f"<desc>{points_of(curve)}</desc>" in svg


def _power(x: float) -> int:
    """The power of ten that a size is."""
    return len(str(int(x))) - 1


def _size(power: float) -> str:
    return f"{10**power:,.0f}"


def page_of(curves: Mapping[str, Any]) -> str:
    """What the page says between its marks."""
    return "\n\n".join(_section(name, curves[name]) for name in TITLES if name in curves)


def _section(name: str, curve: Mapping[str, Any]) -> str:
    machine = curve["machine"]
    lines = [
        f"## {TITLES[name]}",
        "",
        f"![{TITLES[name]}](charts/{name}.svg)",
        "",
        f"{curve['against'][0].upper()}{curve['against'][1:]}.",
    ]
    lines += [
        f"Measured {curve['at'][:10]}, commit {curve['commit']}: {machine['cpu']}, {machine['cores']} cores, load"
        f" {machine['load'][0]:g}, yardstick {machine['yardstick_s']:g} s.",
        "",
    ]
    for label, points in curve["series"].items():
        lines.append(f"- {label}: {', '.join(f'{y:,.4g} at {x:,.6g}' for x, y in _thinned(points))}")
    return "\n".join(lines)


def _thinned(points: list[list[float]]) -> list[list[float]]:
    """About ten of the points, the first and the last among them."""
    step = max(1, len(points) // 10)
    return [*points[:-1:step], points[-1]]


def page_with(text: str, curves: Mapping[str, Any]) -> str:
    """The page with its measured part anew."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{page_of(curves)}\n\n{END}{rest.partition(END)[2]}"


def main() -> int:
    """Write the charts and the page."""
    curves = read(RESULTS).get("curves", {})
    CHARTS.mkdir(exist_ok=True)
    for name, curve in curves.items():
        (CHARTS / f"{name}.svg").write_text(svg_of(name, curve))
    PAGE.write_text(page_with(PAGE.read_text(), curves))
    print(f"{len(curves)} charts are drawn: {', '.join(sorted(curves))}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
