"""The page of curves and its charts are of the results that stand beside them."""

from collections.abc import Mapping
from typing import Any

import pytest

from perf import charts
from perf.figures import RESULTS, read

CURVES: Mapping[str, Any] = read(RESULTS).get("curves", {})
CURVE: dict[str, Any] = {
    "axes": ["rows", "MiB"],
    "series": {"capture & more": [[1000, 80.5], [10000, 90.0]]},
    "against": "a transaction's rows",
    "at": "2026-11-30T11:00:00+00:00",
    "commit": "abc",
    "machine": {"cpu": "one", "cores": 2, "load": [8.5, 9.0], "yardstick_s": 0.09},
}


def test_the_page_says_what_was_measured() -> None:
    text = charts.PAGE.read_text(encoding="utf-8")
    assert charts.page_with(text, CURVES) == text  # `make perf-charts` renews it


@pytest.mark.parametrize("name", sorted(CURVES))
def test_each_chart_is_of_its_points(name: str) -> None:
    assert charts.is_of((charts.CHARTS / f"{name}.svg").read_text(encoding="utf-8"), CURVES[name])


def test_there_is_no_chart_of_nothing() -> None:
    assert {path.stem for path in charts.CHARTS.glob("*.svg")} == set(CURVES)


def test_a_section_names_commit_machine_and_load() -> None:
    said = charts.page_of({"memory": CURVE})
    assert "A transaction's rows." in said
    assert "commit abc: one, 2 cores, load 8.5, yardstick 0.09 s" in said
    assert "capture & more: 80.5 at 1,000, 90 at 10,000" in said


def test_the_page_is_written_between_its_marks_alone() -> None:
    text = f"before\n{charts.BEGIN}\nold\n{charts.END}\nafter\n"
    page = charts.page_with(text, {"memory": CURVE})
    assert page.startswith("before\n")
    assert page.endswith(f"{charts.END}\nafter\n")
    assert "old" not in page
    assert charts.page_with(page, {"memory": CURVE}) == page


@pytest.mark.parametrize("name", sorted(charts.TITLES))
def test_a_chart_is_drawn_alike_each_time_without_scripts(name: str) -> None:
    drawn = charts.svg_of(name, CURVE)
    assert drawn == charts.svg_of(name, CURVE)
    assert charts.is_of(drawn, CURVE)
    assert not charts.is_of(drawn, {**CURVE, "series": {}})
    assert "<script" not in drawn
    assert charts.TITLES[name] in drawn
