"""The sentence that says why a sync is not moving."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from control.operations.diagnosis import SyncFacts, reason_of
from rowtide.holds import Hold

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
WELL = SyncFacts(NOW, capture_seen_s=0.5, deliver_seen_s=0.5, source="erp", graph="contoso", ru_per_minute=1200)

PAUSED = Hold("sync", "parts", "person", "paused", "stock taking", "ann", NOW)
STOPPED = Hold("sync", "parts", "capture", "relation_mismatch", "a column is gone", "capture", NOW)

CASES = [
    (WELL, "idle", "Nothing is waiting."),
    (replace(WELL, waiting=3, in_flight=2), "moving", "3 rows waiting, 2 in flight."),
    (replace(WELL, parked=1), "idle", "Nothing is waiting. 1 row parked: see `rowtide parked list`."),
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
    (replace(WELL, capture_seen_s=None), "not_running", "No process with the role capture runs"),
    (replace(WELL, deliver_seen_s=61.0), "not_running", "was last seen 61 s ago"),
    (replace(WELL, source_problem="no route"), "source_problem", "PostgreSQL erp: no route"),
    (replace(WELL, graph_problem="403"), "graph_problem", "Graph contoso: 403"),
    (replace(WELL, gate_until=NOW + timedelta(seconds=30)), "throttled", "go on at 2026-11-22 12:00:30 UTC"),
    (replace(WELL, gate_until=NOW - timedelta(seconds=1)), "idle", "Nothing"),
    (replace(WELL, waiting=9, quota_wait_s=0.2), "quota", "1,200 units a minute are 10.0 writes a second"),
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


def test_first_cause_wins() -> None:
    everything = replace(
        WELL,
        holds=(PAUSED,),
        capture_seen_s=None,
        source_problem="s",
        graph_problem="g",
        gate_until=NOW + timedelta(hours=1),
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
    ]
    seen = [reason_of(everything).code]
    for cure in cures:
        everything = replace(everything, **cure)
        seen.append(reason_of(everything).code)
    assert seen == [
        "paused",
        "not_running",
        "source_problem",
        "graph_problem",
        "throttled",
        "quota",
        "reconcile",
        "moving",
    ]
