"""Where syncs stand: what one look counts, how it is kept, and what minutes come to."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rowtide.gauge import Counted, Gauge, Minute, Minutes
from state import cursors, database, gauges
from state.gauges import GaugeRow

MINUTE = timedelta(minutes=1)


def now_of(records: Any) -> datetime:
    """The database's clock."""
    [(now,)] = records.conn.execute("SELECT clock_timestamp()").fetchall()
    assert isinstance(now, datetime)
    return now


def parts(records: Any, sync: str = "orders") -> tuple[int, int, int, int, int]:
    """Waiting, parked, held, pulling, found."""
    one = gauges.count(records.conn).get(sync, Counted())
    return one.waiting, one.parked, one.held, one.pulling, one.found


def set_entry(records: Any, item_id: str, assignment: str) -> None:
    """Change an entry by hand."""
    records.conn.execute(f"UPDATE rowtide.inbox SET {assignment} WHERE item_id = %s".encode(), [item_id])


def test_nothing_waits_of_an_empty_outbox(records: Any) -> None:
    assert gauges.count(records.conn) == {}


def test_rows_count_where_they_wait(records: Any, make_change: Any) -> None:
    records.stage(*[make_change(key, ordinal=n) for n, key in enumerate("abcd")])
    records.stage(make_change("a"), sync="customers")
    assert parts(records) == (4, 0, 0, 0, 0)
    records.set("b", "state = 'parked', reason_code = 'field_refused'")
    records.set("c", "state = 'parked', hold = true")
    records.claim(1)
    assert parts(records) == (2, 1, 1, 0, 0)
    assert parts(records, "customers")[0] == 1


def test_waiting_rows_are_told_by_class_and_open_conflicts_beside_them(records: Any, make_change: Any) -> None:
    records.stage(*[make_change(key, ordinal=n) for n, key in enumerate("abcd")])
    for key, priority in zip("abcd", (0, 2, 3, 3), strict=True):
        records.set(key, f"priority = {priority}")
    records.set("d", "state = 'parked'")
    conflict = """
        INSERT INTO rowtide.conflict (sync, key, list_id, item_id, version, kind, policy, state)
        VALUES ('orders', 'a', 'list', '1', 2, 'update_differing', 'manual', 'open'),
               ('orders', 'a', 'list', '1', 3, 'update_differing', 'manual', 'closed'),
               ('customers', 'a', 'list', '2', 2, 'update_differing', 'manual', 'open')
    """
    records.conn.execute(conflict)
    one = gauges.count(records.conn)["orders"]
    assert (one.by_priority, one.conflicts) == ((1, 0, 1, 1), 1)


def test_the_oldest_is_that_of_each_part(records: Any, make_change: Any, entries: Any) -> None:
    records.stage(*[make_change(key, ordinal=n) for n, key in enumerate("abc")])
    for hour, key in enumerate("abc", 1):
        records.set(key, f"committed_at = '2026-11-22 0{hour}:00+00'")
    records.set("b", "out_since = '2026-11-20 00:00+00'")
    records.set("c", "state = 'parked'")
    entries.put("7")
    set_entry(records, "7", "seen_at = '2026-11-21 00:00+00'")
    one = gauges.count(records.conn)["orders"]
    times = [one.push_since, one.aside_since, one.pull_since]
    assert [at and at.isoformat()[:13] for at in times] == ["2026-11-20T00", "2026-11-22T03", "2026-11-21T00"]
    assert one.oldest == one.push_since


def test_a_key_that_waits_both_ways_counts_once(records: Any, make_change: Any, entries: Any) -> None:
    records.stage(make_change("a"), make_change("b", ordinal=1))
    for item_id, key in (("1", "a"), ("2", "c"), ("3", None), ("4", None)):
        entries.put(item_id)
        records.conn.execute("UPDATE rowtide.inbox SET key = %s WHERE item_id = %s", [key, item_id])
    assert parts(records) == (2, 0, 0, 3, 0)
    # What a person has to decide of an item is asked before its row can go anywhere.
    set_entry(records, "1", "state = 'conflict'")
    set_entry(records, "2", "state = 'parked', code = 'column_refused'")
    set_entry(records, "3", "state = 'parked', code = 'ping_pong'")
    assert parts(records) == (1, 1, 2, 1, 0)
    records.conn.execute("DELETE FROM rowtide.outbox")
    assert parts(records) == (0, 1, 2, 1, 0)


def test_what_a_pass_has_found_counts_until_it_is_staged(records: Any, make_change: Any) -> None:
    records.conn.execute("INSERT INTO rowtide.reconcile_absent (sync, key) VALUES ('orders', 'a'), ('orders', 'b')")
    assert parts(records) == (0, 0, 0, 0, 2)
    assert gauges.count(records.conn)["orders"].oldest is None
    records.stage(make_change("a", op="d"))
    assert parts(records) == (1, 0, 0, 0, 1)


def test_an_edit_is_as_old_as_it_says_but_no_older_than_the_poll_before_the_one_that_showed_it(
    records: Any, entries: Any
) -> None:
    """Items that are read for the first time were edited years ago: they are no lag of years."""
    seen = now_of(records)
    records.conn.execute("UPDATE rowtide.list_cursor SET interval_s = 30")

    def since(modified_at: datetime | None) -> datetime | None:
        records.conn.execute("UPDATE rowtide.inbox SET modified_at = %s, seen_at = %s", [modified_at, seen])
        return gauges.count(records.conn)["orders"].pull_since

    entries.put("7")
    assert since(seen - timedelta(seconds=8)) == seen - timedelta(seconds=8)
    assert since(seen - timedelta(days=900)) == seen - timedelta(seconds=30)
    assert since(seen + timedelta(seconds=9)) == seen  # Graph's clock is ahead
    assert since(None) == seen


def test_a_heartbeat_counts_as_staged_with_the_cursor_and_never_falls(records: Any) -> None:
    assert cursors.read_heard_at(records.conn) == {}
    number = int(now_of(records).timestamp() * 1_000_000)
    [(incarnation, lsn)] = records.conn.execute("SELECT incarnation, lsn FROM rowtide.slot_cursor").fetchall()
    for at, heartbeat in ((1, number), (2, 0), (3, number - 5_000_000)):
        cursors.advance_slot(records.conn, "slot", incarnation, lsn + at, heartbeat)
        heard_at = cursors.read_heard_at(records.conn)["slot"]
        assert heard_at.timestamp() == pytest.approx(number / 1_000_000)


# --- kept ---------------------------------------------------------------------------------------------------------


def write(records: Any, at: datetime, **verdicts: Minute) -> None:
    """A look at orders and customers at that time."""
    one = Gauge(Counted(), 0.0, None, None, None, at)
    found = {"orders": one, "customers": replace(one, pull_lag_s=3.0)}
    with records.conn.transaction():
        gauges.write(records.conn, at, found, {"orders": Minute.GOOD, "customers": Minute.GOOD, **verdicts})


def test_a_look_is_kept_whole_and_forgets_syncs_that_are_gone(records: Any) -> None:
    first = now_of(records).replace(second=5)
    counted = Counted(1, 2, 3, 4, 5, first, None, first - MINUTE)
    write(records, first)
    with records.conn.transaction():
        one = Gauge(counted, 7.5, 8.5, first, first - MINUTE, first + MINUTE)
        gauges.write(records.conn, first + MINUTE, {"orders": one}, {"orders": Minute.LATE})
    assert gauges.read(records.conn) == {
        "orders": GaugeRow(
            "orders", 1, 2, 3, 4, 5, first - MINUTE, 7.5, 8.5, first, first - MINUTE, first, first + MINUTE
        )
    }
    assert gauges.read(records.conn)["orders"].rows == counted.rows


def test_minutes_are_counted_from_the_first_look_at_a_sync_and_those_without_any_are_not_known(records: Any) -> None:
    begin = now_of(records).replace(second=0, microsecond=0) - timedelta(hours=3)
    write(records, begin + timedelta(seconds=10))
    write(records, begin + timedelta(seconds=40), orders=Minute.LATE)
    write(records, begin + timedelta(seconds=50), orders=Minute.UNKNOWN)  # it was late all the same
    write(records, begin + 1 * MINUTE, orders=Minute.UNKNOWN)
    write(records, begin + 2 * MINUTE, orders=Minute.HELD)
    write(records, begin + 5 * MINUTE)  # two minutes without a look
    write(records, begin + 6 * MINUTE)  # this one has not ended
    now = begin + 6 * MINUTE + timedelta(seconds=30)
    found = gauges.read_minutes(records.conn, now, timedelta(days=1))
    assert found["orders"] == Minutes(total=6, looked=4, late=1, unknown=1, held=1)
    assert (found["orders"].good, found["orders"].not_known, found["orders"].share) == (1, 3, 0.5)
    assert found["customers"] == Minutes(total=6, looked=4)
    assert gauges.read_minutes(records.conn, now, 2 * MINUTE)["orders"] == Minutes(total=2, looked=1)
    [(rows,)] = records.conn.execute("SELECT count(*) FROM rowtide.slo_minute WHERE sync <> ''").fetchall()
    assert rows == 3, "good minutes of a sync have no row of their own"
    assert gauges.prune_minutes(records.conn, timedelta(hours=3) - 3 * MINUTE) == 6
    assert gauges.prune_minutes(records.conn, timedelta(hours=1)) == 2


def test_one_session_at_a_time_has_the_duty(records: Any) -> None:
    assert gauges.hold(records.conn)
    with database.connect(records.dsn, "tests") as other:
        assert not gauges.hold(other)
    records.conn.execute("SELECT pg_advisory_unlock_all()")
    with database.connect(records.dsn, "tests") as other:
        assert gauges.hold(other)


def test_lists_say_how_far_they_are_read(records: Any, entries: Any) -> None:
    at = now_of(records)
    records.conn.execute('UPDATE rowtide.list_cursor SET "full" = false, read_until = %s, interval_s = 5', [at])
    [one] = gauges.read_lists(records.conn)["orders"].values()
    assert (one.read_until, one.interval_s, one.whole) == (at, 5.0, False)
    for change in ('"full" = true', '"full" = false, suspect_since = now()'):
        records.conn.execute(f"UPDATE rowtide.list_cursor SET {change}".encode())
        assert gauges.read_lists(records.conn)["orders"]["list-eu"].whole
