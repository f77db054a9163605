"""The reader's cursor in a real state database."""

import contextlib
from typing import Any

import pytest

from connectors.postgres.replication.chunk_queue import SlotPosition
from connectors.postgres.replication.continuity import NewIncarnation, System
from connectors.postgres.replication.cursor_store import StateCursorStore
from rowtide.slot_owner import SlotOwner
from state import database

SYSTEM = System("7", 1, 999, 16400)
OWNER = SlotOwner("slot", "11111111-0000-4000-8000-000000000001", 999)


def test_a_new_incarnation_and_its_reconciles_are_one_transaction(state_dsn: str) -> None:
    asked: list[str] = []

    def ask(conn: database.Connection, place: SlotPosition, incarnation: NewIncarnation) -> None:
        conn.execute("CREATE TABLE public.asked (reason text)")
        asked.append(incarnation.reason)
        if len(asked) == 1:
            raise RuntimeError

    with contextlib.closing(StateCursorStore(state_dsn, "slot", "erp", ask)) as store:
        assert store.read() is None
        with pytest.raises(RuntimeError):
            store.open_incarnation(SlotPosition(1, 100), SYSTEM, NewIncarnation(1, "first_start", "why"), OWNER)
        assert store.read() is None
        store.open_incarnation(SlotPosition(1, 100), SYSTEM, NewIncarnation(1, "first_start", "why"), OWNER)
        cursor = store.read()
        assert cursor is not None
        assert (cursor.incarnation, cursor.lsn, cursor.system_id, cursor.timeline) == (1, 100, "7", 1)
        assert cursor.staged_lsn == 100


def test_the_cursor_only_rises_within_its_era(state_dsn: str) -> None:
    def ask(conn: database.Connection, place: SlotPosition, incarnation: NewIncarnation) -> None:
        """Nothing to reconcile here."""

    def place(store: StateCursorStore) -> Any:
        cursor = store.read()
        return cursor and (cursor.incarnation, cursor.lsn)

    with contextlib.closing(StateCursorStore(state_dsn, "slot", "erp", ask)) as store:
        store.open_incarnation(SlotPosition(2, 100), SYSTEM, NewIncarnation(2, "slot_ahead", "why"), OWNER)
        for incarnation, lsn, expected in [(2, 150, (2, 150)), (2, 120, (2, 150)), (1, 900, (2, 150))]:
            store.advance(incarnation, lsn, 0)
            assert place(store) == expected


def test_a_reader_over_the_state_database(source: Any, state_dsn: str, new_tap: Any, until: Any) -> None:
    incarnations: list[NewIncarnation] = []
    store = StateCursorStore(state_dsn, source.slot, "erp", lambda _, __, incarnation: incarnations.append(incarnation))
    tap = new_tap(source, store)
    source.run("INSERT INTO t VALUES (1, 'a')")
    tap.streaming()
    source.run("INSERT INTO t VALUES (2, 'b')")
    until(lambda: tap.drain() or any(row.new[0] == "2" for row in tap.rows), "the row")
    place = tap.confirm_all()
    until(lambda: source.show().confirmed_lsn >= place.lsn, "confirmed")
    with contextlib.closing(StateCursorStore(state_dsn, source.slot, "erp", lambda *_: None)) as other:
        cursor = other.read()
        assert cursor is not None
        assert cursor.lsn >= place.lsn
    tap.reader.stop(5)
    assert [incarnation.code for incarnation in incarnations] == ["first_start"]
