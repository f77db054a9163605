"""The end of the demo: one document, one page."""

from collections import Counter
from dataclasses import replace

import pytest

from demo.comparison import Difference, Verdict
from demo.live_view import Figures, PeopleFigures
from demo.options import DemoOptions
from demo.shop.workload import WorkloadTally
from demo.summary import FirstLoad, Summary, slow_load

FIGURES = Figures(
    "compared", 1.0, committed=500, changes=455, delivered=200, parked=5, writes=183, coalesced=250, suppressed=20,
    p50_ms=150.26, ru_used=400,
)  # fmt: skip
TALLY = WorkloadTally(transactions=90, rows=500, acts=Counter(place_order=90))
DIFFERENT = Verdict(10, 10, (Difference("orders", "1", "missing"), Difference("orders", "2", "duplicate")))


def summary(verdict: Verdict | None) -> Summary:
    return Summary(DemoOptions(), FIGURES, TALLY, FirstLoad(2900, 7.04), verdict)


def test_the_document_has_the_promised_keys() -> None:
    document = summary(Verdict(10, 10, ())).document()
    promised = "committed delivered differences duplicates latency_ms ru_used writes coalesced suppressed verdict"
    assert set(promised.split()) <= set(document)
    assert document["latency_ms"] == {"p50": 150.3, "p95": None, "p99": None}
    assert (document["verdict"], document["differences"], document["duplicates"]) == ("equal", 0, 0)
    assert document["first_load"] == {"writes": 2900, "seconds": 7.0}


@pytest.mark.parametrize(
    ("verdict", "word", "differences", "duplicates"),
    [(DIFFERENT, "different", 1, 1), (None, "interrupted", None, None)],
)
def test_duplicates_are_counted_apart(
    verdict: Verdict | None, word: str, differences: int | None, duplicates: int | None
) -> None:
    document = summary(verdict).document()
    assert (document["verdict"], document["differences"], document["duplicates"]) == (word, differences, duplicates)


def test_the_page_says_what_became_of_each_change() -> None:
    lines = summary(Verdict(10, 10, ())).lines()
    changes = "455 in the stream = 250 coalesced + 20 nothing to the lists + 180 written + 5 not delivered yet"
    assert f"changes     {changes}" in lines
    assert 250 + 20 + 180 + 5 == 455
    assert "writes      183 requests that changed a list (a row that moves takes two)" in lines


def test_both_directions_are_told() -> None:
    people = PeopleFigures(made=31, arrived=30, p50_s=1.25, p95_s=2.24, decided=3, waiting=1)
    waits = Difference("customers", "0", "differing", "Segment")
    told = replace(summary(Verdict(10, 10, (), (waits,))), figures=replace(FIGURES, people=people))
    assert told.document()["edits"] == {"made": 31, "arrived": 30, "p50_s": 1.2, "p95_s": 2.2}
    assert told.document()["conflicts"] == {"decided": 3, "waiting": 1}
    assert told.word == "equal"
    assert "edits       31 made by people in SharePoint, 30 in PostgreSQL: p50 1.2 s, p95 2.2 s" in told.lines()
    assert "conflicts   3 decided by policy, 1 waiting for a person" in told.lines()
    assert told.lines()[-1] == "verdict     EQUAL: 10 rows, 10 items, no duplicate; 1 of them waits for a person"


def test_the_page_names_the_first_differences() -> None:
    many = tuple(Difference("orders", str(number), "missing") for number in range(25))
    lines = summary(Verdict(30, 5, many)).lines()
    assert "verdict     DIFFERENT: 25 differences, 0 duplicates" in lines
    assert "  orders 0: missing" in lines
    assert lines[-1] == "  and 5 more"


def test_what_the_first_load_would_have_taken_with_the_quota_on() -> None:
    # 6,250 units a minute, 80 % of them, 2 a write: 41.7 writes a second.
    assert slow_load(2500, "max", 60_000, 0.8) == "with the quota of tier max on, it would have taken 60 s"
