"""A deep pass does not end with an item of which it could say nothing: one more turn, and in the end one more pass."""

from dataclasses import replace
from datetime import timedelta

import pytest

from flows.deep_pass import AGAIN, DeepSteps, Lists
from flows.source_table import Table
from rowtide.reconcile import MOST_TURNS, Coverage
from state.reconcile import record as reconcile
from state.reconcile.record import Reconcile
from tests.integration.reconcile.bench import Bench

SEEN = """
INSERT INTO rowtide.seen (sync, purpose, list_id, item_id, item_key, etag, version, fields, made_by_app, by_app)
VALUES ('orders', 'deep', 'list-Orders', '12', 'orders:3', 'e,1', 1, '{}', true, true)
"""
ROUND = """
INSERT INTO rowtide.enumeration (sync, purpose, list_id, mapping_version, ended, wanted, began_at)
VALUES ('orders', 'deep', 'list-Orders', 1, 2, 2, now() - %s::interval)
"""
TOMBSTONE = """
INSERT INTO rowtide.ledger (sync, key, mapping_version, era, lsn, ordinal, xid, state)
VALUES ('orders', '3', 1, 1, 100, 0, 0, 'tombstone')
"""


def judging(bench: Bench, turns: int, why: str = "asked for", adopted: int = 0) -> Reconcile:
    """The record of a deep pass at its judgement."""
    reconcile.request(bench.state, "orders", why, deep=True)
    record = reconcile.take_up(bench.state, "orders", "test")
    assert record is not None
    record = reconcile.begin(bench.state, record, Coverage(1, bench.version), 5)
    counts = {"turns": turns, "adopted": adopted}
    return reconcile.save(bench.state, replace(record, phase="judge", counts=counts))


def judge(bench: Bench, record: Reconcile) -> Reconcile:
    """The record after the only page was judged."""
    compiled = bench.catalog.syncs["orders"]
    table = Table(bench.source, compiled, lambda title: f"list-{title}")
    lists = Lists(("list-Orders",), timedelta(0))
    return DeepSteps(bench.state, table, lists).judge(record)[0]


@pytest.fixture
def an_item_left(bench: Bench) -> Bench:
    """The pair of an order lost its item while the lists were read, and another item has its key."""
    bench.state.execute(ROUND, ["10 seconds"])
    bench.state.execute(SEEN)
    bench.state.execute(TOMBSTONE)
    return bench


def test_an_item_whose_pair_moved_since_it_was_seen_asks_for_a_turn(an_item_left: Bench) -> None:
    judged = judge(an_item_left, judging(an_item_left, turns=1))
    assert (judged.phase, judged.counts["moving"]) == ("round", 1)


@pytest.mark.parametrize(
    ("why", "adopted", "asks"), [("asked for", 0, True), (AGAIN, 1, True), (AGAIN, 0, False)]
)  # fmt: skip
def test_after_the_last_turn_it_asks_for_a_pass_that_does_not_repeat_itself_for_nothing(
    an_item_left: Bench, why: str, adopted: int, asks: bool
) -> None:
    judged = judge(an_item_left, judging(an_item_left, MOST_TURNS, why, adopted))
    assert judged.phase == "done"
    assert an_item_left.record.deep is asks


def test_what_is_parked_asks_for_none(an_item_left: Bench) -> None:
    """It stays so until a person does something."""
    an_item_left.state.execute("DELETE FROM rowtide.ledger")
    sent = '[{"op": "u", "at": "2026-01-01T00:00:00Z", "list_id": "list-Orders", "item_id": null}]'
    an_item_left.streamed("3", state="parked", reason_code="graph_refused_row", sent=sent)
    judged = judge(an_item_left, judging(an_item_left, turns=1))
    assert (judged.phase, judged.counts["moving"]) == ("done", 0)
    assert not an_item_left.record.deep


def test_a_row_that_waits_to_be_deleted_takes_other_items_of_its_key_along(bench: Bench) -> None:
    """Once it is deleted nothing would say that they are there."""
    bench.state.execute(ROUND, ["10 seconds"])
    bench.state.execute(SEEN)
    bench.streamed("3")
    bench.deliver()
    bench.state.execute("UPDATE rowtide.ledger SET updated_at = now() - interval '1 minute'")
    bench.streamed("3", "d", (1, 600, 0))
    judged = judge(bench, judging(bench, turns=1))
    assert (judged.phase, judged.counts["copies"]) == ("round", 1)
    [(leftovers,)] = bench.state.execute("SELECT leftovers FROM rowtide.ledger WHERE key = '3'").fetchall()
    assert {one["item_id"] for one in leftovers} == {"12"}
    assert judge(bench, judging(bench, turns=2)).counts.get("copies") is None
