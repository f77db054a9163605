"""What is wanted of a sync, what is wrong with it, and the sentence that says why it is not moving."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from control.operations.activity import Rates
from control.operations.diagnosis import KnownProblem, SyncFacts, health_of, reason_of, wanted_of
from rowtide.error_catalogue import graph_errors
from rowtide.holds import Hold
from state.pulse import Silence

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
WELL = SyncFacts(
    NOW,
    "parts",
    capture_seen_s=0.5,
    deliver_seen_s=0.5,
    source="erp",
    graph="contoso",
    ru_per_minute=1200,
    reconcile_state="done",
)
MOVES = Rates(delivered=8.25)

PAUSED = Hold("sync", "parts", "person", "paused", "stock taking", "ann", NOW)
STOPPED = Hold("sync", "parts", "capture", "relation_mismatch", "a column is gone", "capture", NOW)
FAULT = Hold("sync", "parts", "fault", "graph_404", "the list is gone", "deliver", NOW)
STUCK = Silence("rowtide-control", 75.0, "PostgreSQL")
MET = KnownProblem("some_code", "it broke", "mend it")
THROTTLES = KnownProblem(graph_errors.GRAPH_THROTTLES.code, "Graph throttles the app", "nothing: it waits")
SOON = NOW + timedelta(seconds=30)

CASES = [
    (WELL, "idle", "Nothing is waiting."),
    (
        replace(WELL, waiting=3, in_flight=2, rates=MOVES),
        "moving",
        "3 rows waiting, 2 in flight; 8.2 delivered a second",
    ),
    (replace(WELL, waiting=3, oldest_s=2.0), "starting", "3 rows waiting, the oldest for 2 s."),
    (replace(WELL, waiting=3, oldest_s=61.0), "not_moving", "3 rows waiting, the oldest for 61 s, and none"),
    (replace(WELL, waiting=3, oldest_s=61.0, rates=Rates(changes=9.0)), "not_moving", "none was delivered"),
    (replace(WELL, waiting=3, oldest_s=61.0, rates=MOVES), "moving", "3 rows"),
    (replace(WELL, parked=1), "parked", "1 row parked"),
    (replace(WELL, unknown_since=NOW), "unknown", "not known since 2026-11-22 12:00:00 UTC"),
    (replace(WELL, reconcile_state=None), "first_load", "has not begun"),
    (
        replace(WELL, holds=(PAUSED,)),
        "paused",
        "Paused by ann since 2026-11-22 12:00:00 UTC: stock taking",
    ),
    (
        replace(WELL, holds=(Hold("source", "erp", "person", "paused", "migration", "bo", NOW), STOPPED)),
        "paused",
        "Paused with source erp by bo since 2026-11-22 12:00:00 UTC: migration Held too by capture: a column is gone",
    ),
    (replace(WELL, holds=(STOPPED,)), "relation_mismatch", "a column is gone"),
    (replace(WELL, holds=(FAULT,)), "graph_404", "the list is gone"),
    (replace(WELL, capture_seen_s=None), "not_running", "No process with the role capture runs"),
    (replace(WELL, deliver_seen_s=61.0), "not_running", "was last seen 61 s ago"),
    (
        replace(WELL, capture_seen_s=75.0, stuck={"capture": STUCK}),
        "loop_silent",
        "its thread rowtide-control has not gone on for 75 s; it waits for PostgreSQL",
    ),
    (replace(WELL, deliver_seen_s=75.0, stuck={"capture": STUCK}), "not_running", "was last seen 75 s ago"),
    (replace(WELL, stuck={"capture": STUCK}), "idle", "Nothing is waiting."),  # another process of the role moves
    (replace(WELL, definition_problem="newer"), "definition_not_taken", "newer"),
    (replace(WELL, state_problem=MET), "some_code", "Rows cannot be claimed: it broke"),
    (replace(WELL, source_problem=MET), "some_code", "PostgreSQL erp: it broke"),
    (replace(WELL, source_differs="elsewhere"), "source_differs", "PostgreSQL erp: elsewhere"),
    (replace(WELL, silent_since=NOW), "capture_silent", "since 2026-11-22 12:00:00 UTC"),
    (replace(WELL, unwatched=(40, "locked")), "catalog_unwatched", "since 40 s: locked"),
    (replace(WELL, graph_problem=MET), "some_code", "Graph contoso: it broke"),
    (replace(WELL, list_problem=("Parts", MET)), "some_code", "List 'Parts': it broke"),
    (
        replace(WELL, graph_problem=THROTTLES, gate_until=SOON, gate_throttled=True),
        "throttled",
        "go on at 2026-11-22 12:00:30 UTC",
    ),
    (replace(WELL, graph_problem=THROTTLES, gate_until=NOW - timedelta(seconds=1), gate_throttled=True), "idle", ""),
    (replace(WELL, gate_until=SOON), "idle", "Nothing"),
    (replace(WELL, gate_until=SOON, waiting=2), "gate_closed", "2 rows waiting; nothing is sent to graph contoso"),
    (replace(WELL, reconcile_state="running", reconcile_problem=MET), "some_code", "cannot go on: it broke"),
    (
        replace(WELL, reconcile_state="running", reconcile_problem=KnownProblem("reconcile_waits", "for the mark")),
        "reconcile_waits",
        "for the mark",
    ),
    (
        replace(WELL, reconcile_state="running", reconcile_phase="compare", reconcile_still_s=60.0, reconcile_done=5),
        "reconcile_stands",
        "(compare) has not moved for 60 s: 5 rows compared",
    ),
    (replace(WELL, reconcile_state="wanted", reconcile_still_s=60.0, others_compare=True), "reconcile", "begins"),
    (replace(WELL, waiting=2, postponed=(2, "the item is locked")), "rows_postponed", "2 rows waiting to be tried"),
    (replace(WELL, held_columns=("Parts", "column Note is gone")), "columns_held", "List 'Parts': column Note is gone"),
    (replace(WELL, observing=True, waiting=9, oldest_s=99.0), "observe", "9 rows would be written"),
    (replace(WELL, waiting=9, quota_wait_s=0.2, oldest_s=99.0), "quota", "1,200 units a minute are 10.0 writes"),
    (replace(WELL, quota_wait_s=0.2), "idle", "Nothing"),
    (
        replace(WELL, waiting=9, reconcile_state="running", reconcile_done=1200, reconcile_total=5000),
        "reconcile",
        "1,200 of about 5,000 rows compared",
    ),
]


@pytest.mark.parametrize(("facts", "code", "words"), CASES)
def test_reason(facts: SyncFacts, code: str, words: str) -> None:
    reason = reason_of(facts)
    assert reason.code == code
    assert words in reason.sentence


@pytest.mark.parametrize("facts", [facts for facts, _, _ in CASES])
def test_whatever_is_wrong_says_what_to_do_next(facts: SyncFacts) -> None:
    health = health_of(facts)
    assert health.code == "ok" or health.next


@pytest.mark.parametrize(
    ("holds", "retired", "wanted", "wrong"),
    [
        ((), False, "run", "ok"),
        ((), True, "retired", "ok"),
        ((PAUSED,), False, "paused", "ok"),
        ((STOPPED,), False, "held", "relation_mismatch"),
        ((FAULT,), False, "held", "graph_404"),
        ((PAUSED, STOPPED), False, "paused", "relation_mismatch"),
    ],
)
def test_what_is_wanted_is_apart_from_what_is_wrong(
    holds: tuple[Hold, ...], retired: bool, wanted: str, wrong: str
) -> None:
    facts = replace(WELL, holds=holds, retired=retired)
    assert (wanted_of(facts), health_of(facts).code) == (wanted, wrong)


def test_a_pause_hides_nothing_that_is_wrong() -> None:
    facts = replace(WELL, holds=(PAUSED,), capture_seen_s=None)
    assert (reason_of(facts).code, health_of(facts).code) == ("paused", "not_running")


def test_first_cause_wins() -> None:
    everything = replace(
        WELL,
        holds=(PAUSED,),
        capture_seen_s=None,
        source_problem=replace(MET, code="source"),
        graph_problem=replace(MET, code="graph"),
        gate_until=NOW + timedelta(hours=1),
        gate_throttled=True,
        waiting=5,
        quota_wait_s=1.0,
        reconcile_state="running",
    )
    cures: list[dict[str, Any]] = [
        {"holds": ()},
        {"capture_seen_s": 1.0},
        {"source_problem": None},
        {"graph_problem": None},
        {"gate_until": None},
        {"quota_wait_s": 0},
        {"reconcile_state": "done"},
        {"rates": MOVES},
    ]
    seen = [reason_of(everything).code]
    for cure in cures:
        everything = replace(everything, **cure)
        seen.append(reason_of(everything).code)
    assert seen == [
        "paused",
        "not_running",
        "source",
        "graph",
        "throttled",
        "quota",
        "reconcile",
        "starting",
        "moving",
    ]
