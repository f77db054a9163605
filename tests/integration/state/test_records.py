"""The cold records: slot cursors, definitions and sync states, runs, progress."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from rowtide.deciding.records import ItemId, LeftItem, ListId, NoItem
from rowtide.position import Position
from rowtide.shape import Prints
from state import channels, cursors, database, definitions, eras, holds, ledger, outbox, progress, runs, shapes
from state.cursors import SlotCursor
from state.progress import Counts
from state.reconcile import record


def compiled(*syncs: str) -> dict[str, Any]:
    return {"definition": {"syncs": {sync: {} for sync in syncs}}}


def test_a_slot_cursor_never_falls_within_an_era(records: Any) -> None:
    conn = records.conn
    conn.execute("DELETE FROM rowtide.slot_cursor")
    assert cursors.read_slot(conn, "slot") is None
    first = SlotCursor("slot", 1, 100, "7001", 1, 100, 16400)
    assert cursors.open_slot(conn, first)
    assert cursors.read_slot(conn, "slot") == first
    for incarnation, lsn in [(1, 200), (1, 150), (2, 900), (0, 950)]:
        cursors.advance_slot(conn, "slot", incarnation, lsn)
    found = cursors.read_slot(conn, "slot")
    assert found is not None
    assert (found.incarnation, found.lsn, found.staged_lsn) == (1, 200, 100)
    assert cursors.open_slot(conn, SlotCursor("slot", 2, 40, "7002", 3, 40, 16401))
    assert not cursors.open_slot(conn, SlotCursor("slot", 2, 10, "7003", 4, 10, 16402))
    assert cursors.read_slots(conn) == {"slot": SlotCursor("slot", 2, 40, "7002", 3, 40, 16401)}


def era_of(records: Any, sync: str = "orders") -> tuple[Any, ...]:
    state = definitions.sync_states(records.conn)[sync]
    return state.era, state.since_slot, state.since_incarnation, state.since_lsn


def asked(records: Any, sync: str = "orders") -> str | None:
    found = record.read(records.conn, sync)
    return None if found is None else found.why


def test_an_era_is_opened_with_its_reconcile_and_noted_once(records: Any) -> None:
    conn = records.conn
    conn.execute("DELETE FROM rowtide.sync")
    definitions.apply(conn, compiled("orders"), "me", definitions.latest_version(conn))
    [(seconds,)] = conn.execute("SELECT floor(extract(epoch FROM now()))::bigint").fetchall()
    assert eras.route(conn, ["orders"], "slot", 7, "why") == []  # the slot is in another incarnation by now
    assert (era_of(records), asked(records)) == ((0, None, None, None), None)
    assert eras.route(conn, ["orders"], "slot", 1, "why") == ["orders"]
    first = era_of(records)
    assert first[0] >= seconds
    assert (first[1:], asked(records)) == (("slot", 1, None), "first load")
    eras.note_since(conn, "orders", first[0] - 1, 40)
    eras.note_since(conn, "orders", first[0], 100)
    eras.note_since(conn, "orders", first[0], 50)
    assert era_of(records)[3] == 100
    conn.execute("UPDATE rowtide.reconcile SET state = 'done'")
    assert eras.open_eras(conn, ["orders"], "slot", 2, 70, "the slot is gone") == ["orders"]
    second = era_of(records)
    assert second[0] > first[0]
    assert (second[1:], asked(records)) == (("slot", 2, 70), "the slot is gone")


def test_a_sync_that_capture_passes_by_has_no_new_era_until_it_is_resumed(records: Any) -> None:
    conn = records.conn
    definitions.stop_capture(conn, "orders", "relation_mismatch", "It does not fit.")
    assert era_of(records) == (1, None, None, None)
    assert eras.route(conn, ["orders"], "slot", 1, "why") == []
    assert definitions.end_stop(conn, "orders")
    assert eras.route(conn, ["orders"], "slot", 1, "changes passed by") == ["orders"]
    assert era_of(records)[0] > 1
    definitions.apply(conn, compiled("customers"), "me", definitions.latest_version(conn))
    retired = era_of(records)
    assert retired[1:] == (None, None, None)
    assert eras.route(conn, ["orders"], "slot", 1, "why") == []
    definitions.apply(conn, compiled("orders", "customers"), "me", definitions.latest_version(conn))
    assert eras.route(conn, ["orders"], "slot", 1, "why") == ["orders"]
    assert era_of(records)[0] > retired[0]


def test_apply_stores_versions_and_retires_what_is_gone(records: Any) -> None:
    conn = records.conn
    assert definitions.read_applied(conn) is None
    assert definitions.latest_version(conn) is None
    first = definitions.apply(conn, compiled("orders", "customers"), "me", definitions.latest_version(conn))
    second = definitions.apply(conn, compiled("orders"), "you", definitions.latest_version(conn))
    assert first is not None
    assert second is not None
    assert first < second == definitions.latest_version(conn)
    assert definitions.apply(conn, compiled("orders"), "late", first) is None
    assert definitions.latest_version(conn) == second
    applied = definitions.read_applied(conn)
    assert applied is not None
    assert (applied.compiled, applied.applied_by) == (compiled("orders"), "you")
    states = {name: state.retired for name, state in definitions.sync_states(conn).items()}
    assert states == {"orders": False, "customers": True}


def kinds(conn: Any, sync: str = "orders") -> dict[str, str]:
    """Kind -> code of what holds a sync."""
    return {hold.kind: hold.code for hold in holds.read(conn) if hold.object == sync}


def test_a_hold_and_its_end_are_announced(records: Any) -> None:
    with database.connect(records.dsn) as listener:
        channels.listen(listener, channels.CONTROL)
        assert holds.place(records.conn, "sync", "orders", "person", "paused", "By hand.", "me")
        assert list(listener.notifies(timeout=10, stop_after=1))
        assert not holds.place(records.conn, "sync", "orders", "person", "paused", "By another.", "you")
        [hold] = holds.read(records.conn)
        assert (hold.reason, hold.actor) == ("By hand.", "me")
        assert holds.lift(records.conn, "sync", "orders", "person") == hold
        assert list(listener.notifies(timeout=10, stop_after=1))
    assert holds.lift(records.conn, "sync", "orders", "person") is None


def test_holds_of_different_kinds_stand_beside_each_other(records: Any) -> None:
    conn = records.conn
    definitions.apply(conn, compiled("orders", "customers"), "me", definitions.latest_version(conn))
    holds.place(conn, "sync", "orders", "person", "paused", "By hand.", "me")
    definitions.stop_capture(conn, "orders", "not_published", "It is not published.")
    definitions.stop_capture(conn, "customers", "key_unknown", "A row came without its key.")
    assert kinds(conn) == {"person": "paused", "capture": "not_published"}
    codes = ["not_published"]
    assert [definitions.end_stop(conn, sync, codes) for sync in ("orders", "customers")] == [True, False]
    assert (kinds(conn), kinds(conn, "customers")) == ({"person": "paused"}, {"capture": "key_unknown"})
    definitions.stop_capture(conn, "customers", "not_published", "It is not published.")
    assert definitions.end_stop(conn, "customers", codes)
    definitions.apply(conn, compiled("customers"), "me", definitions.latest_version(conn))
    assert kinds(conn) == {}  # retired


def test_an_approval_lets_through_what_the_hold_names_and_nothing_else(records: Any, make_change: Any) -> None:
    """What was deleted since waits for another approval; so does a row that was held, came back and went again."""
    conn = records.conn
    for key in "123456":
        records.stage(make_change(key, lsn=10))
    conn.execute(
        "INSERT INTO rowtide.ledger (sync, key, list_id, item_id, etag, mapping_version, era, lsn, ordinal, xid, state)"
        " SELECT sync, key, 'l', key, 'e,1', 1, era, lsn, ordinal, xid, 'live' FROM rowtide.outbox"
    )
    conn.execute("DELETE FROM rowtide.outbox")
    for key in "1234":
        records.stage(make_change(key, op="d", lsn=20))
    held, pairs = outbox.count_deletes_and_pairs(conn, "orders")
    assert (held.count, held.sample, held.upto, pairs) == (4, ("1", "2", "3", "4"), Position(1, 20, 0), 6)
    holds.place(conn, "sync", "orders", "deletes", "mass_delete", "Too many.", "breaker", held)
    records.stage(make_change("5", op="d", lsn=30))
    assert holds.approve(conn, "orders") == held
    assert outbox.count_deletes_and_pairs(conn, "orders")[0].sample == ("5",)
    records.stage(make_change("1", lsn=40))
    records.stage(make_change("1", op="d", lsn=50))
    assert outbox.few_waiting_deletes(conn, ["orders"]) == {"orders": 2}
    assert holds.approve(conn, "orders") is None


def test_another_shape_asks_for_a_reconcile_and_the_first_of_an_era_for_none(records: Any) -> None:
    conn = records.conn
    records.open_era()
    assert eras.open_eras(conn, ["orders"], "slot", 2, 70, "the slot is gone") == ["orders"]

    def requests() -> int:
        [(count,)] = conn.execute("SELECT asked FROM rowtide.reconcile WHERE sync = 'orders'").fetchall()
        return int(count)

    before, first = requests(), Prints("p", "t", "x", "c", "y")
    assert definitions.sync_states(conn)["orders"].shape is None
    assert shapes.note(conn, "orders", first) == ""
    assert shapes.note(conn, "orders", first) == ""
    assert requests() == before
    assert shapes.note(conn, "orders", replace(first, table="t2", types="y2")) == "table, types"
    assert requests() == before + 1


def test_runs_begin_and_end_once(records: Any) -> None:
    conn = records.conn
    first = runs.start(conn, "reconcile", "orders", {"rows": 5})
    second = runs.start(conn, "apply")
    runs.finish(conn, first, "done", {"staged": 2})
    runs.finish(conn, first, "failed", {})
    found = conn.execute(
        "SELECT id, kind, sync, verdict, detail, ended_at IS NOT NULL FROM rowtide.runs ORDER BY id"
    ).fetchall()
    assert found == [
        (first, "reconcile", "orders", "done", {"rows": 5, "staged": 2}, True),
        (second, "apply", None, None, {}, False),
    ]


def test_progress_adds_up_and_forgets_old_latencies(records: Any) -> None:
    conn = records.conn
    progress.add(conn, {"orders": Counts(delivered=2, writes=2, latencies_s=[0.1, 0.2])})
    late = Counts(delivered=1, suppressed=1, latencies_s=[0.4])
    progress.add(conn, {"orders": late, "customers": Counts(released=1), "invoices": Counts(delivered=1)})
    total = progress.read(conn)["orders"]
    assert (total.changes, total.delivered, total.suppressed, total.ru_used) == (0, 3, 1, 4)
    assert sum(total.latency) == 3
    middle = total.percentile_ms(0.5)
    assert middle is not None
    assert 150 < middle < 250
    for _ in range(2):
        conn.execute("UPDATE rowtide.progress SET window_at = now() - interval '1 hour'")
        progress.add(conn, {"orders": Counts(delivered=1, latencies_s=[0.05])})
    assert sum(progress.read(conn)["orders"].latency) == 2
    assert set(progress.read(conn)) == {"orders", "invoices"}
    assert progress.read(conn)["invoices"].percentile_ms(0.5) is None


def test_tombstones_go_when_nothing_can_bring_them_back(records: Any, make_pair: Any) -> None:
    left = (LeftItem(ListId("l"), ItemId("8")),)

    def know_dead(key: str, **other: Any) -> None:
        pair = make_pair(**other)
        records.know(key, NoItem(pair.as_of, None, pair.leftovers))

    know_dead("gone", lsn=100)
    know_dead("replayed", lsn=200)
    know_dead("unseen", lsn=100, xid=900)
    know_dead("item left", lsn=100, leftovers=left)
    records.know("live", make_pair(lsn=100))
    know_dead("old era", lsn=900, era=0)

    def prune(days: int) -> int:
        return ledger.prune_tombstones(records.conn, "orders", 1, 200, 850, timedelta(days=days))

    assert prune(7) == 0
    records.conn.execute("UPDATE rowtide.ledger SET updated_at = now() - interval '8 days'")
    assert prune(7) == 2
    kept = {row[0] for row in records.conn.execute("SELECT key FROM rowtide.ledger")}
    assert kept == {"replayed", "unseen", "item left", "live"}
