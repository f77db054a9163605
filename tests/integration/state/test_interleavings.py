"""Interleavings of stage and settle on the real records; `docs/interleavings.md` lists all of the design."""

import threading
from pathlib import Path
from typing import Any

import pytest

from rowtide.deciding.outcomes import Release, Settle
from rowtide.deciding.records import Work
from state import database, failpoints, outbox
from state.outbox import StageCounts
from tests.failpoints import Failpoints


def settled(work: Work, make_pair: Any) -> Settle:
    """The outcome of a successful write of what ``work`` wants."""
    desired = work.desired
    position = desired.position
    pair = make_pair(position.lsn, position.ordinal, position.era, base=desired.fields, item_id=f"item-{desired.key}")
    return Settle(work, pair, 1)


def test_a_settle_meets_a_newer_revision_of_the_same_transaction(
    records: Any, make_change: Any, make_pair: Any
) -> None:
    """A huge transaction comes in pieces: the row's second change has the position's LSN, and another ordinal."""
    records.stage(make_change("1", fields={"A": 1}, ordinal=3))
    work = records.claim_one()
    assert records.stage(make_change("1", fields={"A": 2}, ordinal=9)) == StageCounts(1, 1, 0)
    outbox.settle(records.conn, [settled(work, make_pair)])
    assert (records.ledger("1")["ordinal"], records.ledger("1")["base"]) == (3, {"A": 1})
    again = records.claim_one()
    assert (again.desired.fields, again.desired.position.ordinal, again.desired.sent) == ({"A": 2}, 9, ())
    outbox.settle(records.conn, [settled(again, make_pair)])
    assert (records.ledger("1")["ordinal"], records.row("1")) == (9, None)
    assert records.stage(make_change("1", fields={"A": 1}, ordinal=3)).dropped == 1


@pytest.mark.parametrize("applied", [True, False], ids=["settled", "released"])
def test_a_settle_waits_for_a_row_that_is_being_merged(
    applied: bool, records: Any, make_change: Any, make_pair: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The row stands elsewhere in the table when the settle gets it."""
    records.stage(make_change("1", fields={"A": 1}), make_change("2"))
    works = {work.desired.key: work for work in records.claim()}
    ends = {key: settled(work, make_pair) if applied else Release(work, 0.0, False) for key, work in works.items()}
    held = tmp_path / "held"
    held.touch()
    point = Failpoints(f"stage.before_commit=pause:{held}")
    monkeypatch.setattr(failpoints, "_of_process", point)
    with database.connect(records.dsn) as other, database.connect(records.dsn) as watcher:
        staging = threading.Thread(target=lambda: records.stage(make_change("1", fields={"A": 2}, lsn=200)))
        settling = threading.Thread(target=lambda: outbox.settle(other, list(ends.values())))
        state = "SELECT state, wait_event_type FROM pg_stat_activity WHERE pid = %s"
        staging.start()
        while not point.passed("stage.before_commit"):
            assert staging.is_alive()
        settling.start()
        while watcher.execute(state, [other.info.backend_pid]).fetchone() != ("active", "Lock"):
            assert settling.is_alive()
        held.unlink()
        staging.join(20)
        settling.join(20)
    row = records.waiting("1")
    assert (row["fields"], row["revision"], row["lease_token"], row["sent"]) == ({"A": 2}, 2, None, [])
    assert (records.row("2") is None) == applied


@pytest.mark.parametrize("replayed", [100, 50], ids=["the same state", "an older state"])
def test_a_replay_beside_a_settle(
    replayed: int, records: Any, make_change: Any, make_pair: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The settle has deleted the row and not committed when the same WAL is staged again."""
    records.stage(make_change("1", fields={"A": 1}))
    work = records.claim_one()
    held = tmp_path / "held"
    held.touch()
    point = Failpoints(f"settle.before_commit=pause:{held}")
    monkeypatch.setattr(failpoints, "_of_process", point)
    with database.connect(records.dsn) as other, database.connect(records.dsn) as watcher:
        settling = threading.Thread(target=lambda: outbox.settle(other, [settled(work, make_pair)]))
        staging = threading.Thread(target=lambda: records.stage(make_change("1", fields={"A": 0}, lsn=replayed)))
        state = "SELECT state, wait_event_type FROM pg_stat_activity WHERE pid = %s"
        settling.start()
        while not point.passed("settle.before_commit"):
            assert settling.is_alive()
        staging.start()
        while staging.is_alive() and watcher.execute(state, [records.conn.info.backend_pid]).fetchone() != (
            "active",
            "Lock",
        ):
            continue
        held.unlink()
        settling.join(20)
        staging.join(20)
    assert (records.ledger("1")["lsn"], records.ledger("1")["base"]) == (100, {"A": 1})
    left = records.row("1")
    # What the replay may leave is at or below the ledger's position: `decide` drops an older one and writes nothing.
    assert left is None or (left["era"], left["lsn"]) <= (1, 100)
