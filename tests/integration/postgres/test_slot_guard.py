"""Two installations on one slot: one of them stops, and the other one reads on."""

import contextlib
import dataclasses
from typing import Any

import psycopg
import pytest

from connectors.postgres.replication.slot_guard import Installation

OTHER = Installation("99999999-0000-4000-8000-000000000009")


@pytest.fixture
def other_store(tap: Any) -> Any:
    """The records of another installation."""
    return type(tap.store)(here=OTHER)


def stops(until: Any, left: Any, read_by: Any) -> Any:
    """The problem of the reader that leaves the slot, while the flow of the other one goes on."""

    def left_it() -> Any:
        read_by.drain()
        if (place := read_by.reader.place) is not None:
            read_by.reader.confirm(place)
        problem = left.reader.problem
        return problem if problem is not None and problem.code == "slot_shared" else None

    return until(left_it, "the slot is left")


def say(source: Any, text: str) -> None:
    """A heartbeat of somebody."""
    source.run(f"SELECT pg_logical_emit_message(false, 'rowtide.heartbeat', '{text}')")


def test_the_one_that_comes_later_stops_for_good(
    source: Any, tap: Any, other_store: Any, new_tap: Any, until: Any
) -> None:
    later = new_tap(source, other_store)
    problem = stops(until, later, tap)
    assert tap.store.here.id in problem.sentence
    assert other_store.here.stop is problem
    source.run("INSERT INTO t VALUES (1, 'a')")
    tap.rows_until(1)
    tap.reader.stop(5)
    until(lambda: source.show().active_pid is None, "the slot is free")
    assert later.rows == []
    assert not later.reader.streaming
    other_store.here = OTHER  # a person takes the slot for it
    later.streaming()


def test_the_one_that_came_later_lets_go_of_the_slot(
    source: Any, tap: Any, other_store: Any, new_tap: Any, until: Any
) -> None:
    tap.reader.stop(5)
    later = new_tap(source, other_store)
    later.streaming()
    source.run("INSERT INTO t VALUES (1, 'a')")
    later.rows_until(1)
    place = later.confirm_all()
    until(lambda: source.show().confirmed_lsn >= place.lsn, "it has consumed the row")
    first = new_tap(source, tap.store)
    assert tap.store.here.id in stops(until, later, later).sentence
    first.streaming()
    assert [one.code for one in tap.store.incarnations] == ["first_start", "slot_ahead"]
    source.run("INSERT INTO t VALUES (2, 'b')")
    first.rows_until(1)


def test_a_copy_that_reads_the_slot_keeps_it(source: Any, tap: Any, other_store: Any, new_tap: Any, until: Any) -> None:
    """Nobody can tell whether the original or its copy was started by mistake."""
    tap.reader.stop(5)
    other_store.here = dataclasses.replace(OTHER, former=(tap.store.here.id,))
    copy = new_tap(source, other_store)
    copy.streaming()
    original = new_tap(source, tap.store)
    stops(until, original, copy)
    assert copy.reader.streaming
    assert other_store.here.stop is None


def test_a_reader_that_says_nothing_is_waited_for(
    source: Any, new_tap: Any, tap: Any, other_store: Any, until: Any
) -> None:
    """A walsender of a host that died, or a reader that cannot stage: nothing shows that it lives."""
    tap.reader.stop(5)
    until(lambda: source.show().active_pid is None, "the slot is free")
    stream = psycopg.connect(
        psycopg.conninfo.make_conninfo(source.dsn, application_name=f"rowtide {tap.store.here.id} x"),
        replication="database",
        autocommit=True,
    )
    with contextlib.closing(stream):
        names = f"\"proto_version\" '1', \"publication_names\" '{source.publication}'"
        stream.execute(f'START_REPLICATION SLOT "{source.slot}" LOGICAL 0/0 ({names})')
        later = new_tap(source, other_store)
        assert tap.store.here.id in later.problem("slot_active").sentence
    later.streaming()
    assert other_store.here.stop is None


def test_heartbeats_from_before_are_history(source: Any, tap: Any, other_store: Any, new_tap: Any, until: Any) -> None:
    tap.reader.stop(5)
    former = new_tap(source, other_store)
    former.streaming()
    until(lambda: other_store.heartbeats > 3, "heartbeats")
    former.reader.stop(5)
    say(source, f"{source.slot} {OTHER.id} 1 99")
    new = new_tap(source, type(tap.store)(here=dataclasses.replace(OTHER, id=tap.store.here.id)))
    new.streaming()
    source.run("INSERT INTO t VALUES (1, 'a')")
    new.rows_until(1)
    say(source, f"another_slot {OTHER.id} 1 100")
    say(source, f"{source.slot} {OTHER.id} 18446744073709551615 101")
    say(source, "anything else")
    source.run("INSERT INTO t VALUES (2, 'b')")
    new.rows_until(2)
    assert new.reader.streaming
    say(source, f"{source.slot} {OTHER.id} 1 102")
    assert new.problem("slot_shared").sentence.startswith(f"The slot {source.slot} is read by another installation")


def test_records_that_become_another_installation_s_begin_a_session_of_its_own(
    source: Any, tap: Any, until: Any
) -> None:
    name = "SELECT application_name FROM pg_stat_replication WHERE application_name LIKE '%" + source.slot[:10] + "%'"
    assert tap.store.here.id in source.one(name)
    tap.store.here = dataclasses.replace(OTHER, former=(tap.store.here.id,))
    until(lambda: OTHER.id in (source.one(name) or ""), "a walsender of the new installation")
    tap.streaming()
    assert (tap.store.cursor.owner, len(tap.store.incarnations)) == (OTHER.id, 1)


def test_a_walsender_of_our_own_before_is_waited_for(
    source: Any, tap: Any, other_store: Any, new_tap: Any, until: Any
) -> None:
    """Its process has not noticed yet that the records became another installation's."""
    other_store.ours.append(tap.reader.walsender_pid)
    standby = new_tap(source, other_store)
    standby.problem("slot_active")
    before = source.show().confirmed_lsn
    stop_after = tap.store.heartbeats + 5

    def beaten() -> bool:
        tap.drain()
        if (place := tap.reader.place) is not None:
            tap.reader.confirm(place)
        return bool(tap.store.heartbeats >= stop_after and source.show().confirmed_lsn > before)

    until(beaten, "heartbeats, and a slot that moves")
    assert other_store.here.stop is None


@pytest.mark.parametrize("lacking", [0, 1])
def test_a_heartbeat_of_our_own_that_the_records_do_not_know_makes_them_suspect(
    lacking: int, source: Any, tap: Any, new_tap: Any, until: Any
) -> None:
    until(lambda: tap.store.heartbeats > 3, "heartbeats")
    tap.reader.stop(5)
    source.run("INSERT INTO t VALUES (1, 'a')")
    cursor = tap.store.cursor
    records = type(tap.store)(cursor=dataclasses.replace(cursor, heartbeat=cursor.heartbeat - lacking))
    again = new_tap(source, records)
    again.rows_until(1)
    heard = records.heartbeats + 3
    until(lambda: records.heartbeats > heard, "heartbeats of its own")
    source.run("INSERT INTO t VALUES (2, 'b')")
    again.rows_until(2)
    assert records.doubted == bool(lacking)


def test_records_that_do_not_know_the_stream_begin_another(source: Any, tap: Any, until: Any) -> None:
    """A failover of the state database lost the incarnation: nothing could be staged in it."""
    source.run("INSERT INTO t VALUES (1, 'a')")
    tap.rows_until(1)
    place = tap.confirm_all()
    until(lambda: source.show().confirmed_lsn >= place.lsn, "confirmed")
    tap.store.cursor = dataclasses.replace(tap.store.cursor, incarnation=0, lsn=1, staged_lsn=0)
    until(lambda: len(tap.store.incarnations) == 2, "another incarnation")
    assert tap.store.incarnations[-1].code == "slot_ahead"
