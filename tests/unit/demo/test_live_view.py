"""What is shown, on a terminal and elsewhere."""

import io

import pytest
from rich.console import Console

from demo.live_view import Figures, LiveView, SyncFigures, line, milliseconds, picture

FIGURES = Figures(
    "live workload", 0.4, 1234, 1255, 900, 55, 20, 0, 800, 300, 120, 340.5, 812.2, 1999.0, 1640.0, 5000.0, 3,
    {"place_order": 33}, {"orders": SyncFigures(30, 320, "30 rows waiting for [quota].")},
)  # fmt: skip


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (0.4, "0 ms"), (812.2, "812 ms"), (12_345.0, "12.3 s")])
def test_latencies_for_people(value: float | None, text: str) -> None:
    assert milliseconds(value) == text


def test_the_picture_shows_every_figure_and_takes_no_text_for_markup() -> None:
    stream = io.StringIO()
    Console(file=stream, width=100).print(picture(FIGURES))
    for text in ("1,234", "900", "55", "340 ms", "812 ms", "1,640", "5,000/min", "800", "300", "120", "place order 33"):
        assert text in stream.getvalue()
    assert "[quota]" in stream.getvalue()


def test_elsewhere_there_is_a_line_at_each_new_phase() -> None:
    stream = io.StringIO()
    with LiveView(stream, live=False) as view:
        view.show(Figures("starting"))
        view.show(Figures("starting"))
        view.show(FIGURES)
        view.note("a [note]")
    assert stream.getvalue().splitlines() == ["starting", line(FIGURES), "a [note]"]
    assert "committed=1234 delivered=900 waiting=55 p50=340 ms p95=812 ms" in line(FIGURES)
