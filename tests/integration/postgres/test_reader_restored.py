"""A server whose volume was restored to a snapshot, met by a reader that has read beyond it."""

import dataclasses
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from demo.postgres import free_port
from rowtide.position import lsn_from_text


class Restorable:
    """A server, and a copy of its directory to which it can be set back while a reader goes on asking for it."""

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster
        self._port = cluster.port
        self._copy: Path = cluster.directory / "snapshot"

    def take_snapshot(self) -> None:
        self.cluster.stop()
        subprocess.run(["cp", "-a", str(self.cluster.data), str(self._copy)], check=True)
        self.cluster.start()

    def restore(self, until: int, *statements: str) -> None:
        """Back to the copy; ``statements`` run, and the WAL grows beyond ``until``, before the reader finds it."""
        self.cluster.stop()
        shutil.rmtree(self.cluster.data)
        subprocess.run(["cp", "-a", str(self._copy), str(self.cluster.data)], check=True)
        self.cluster.port = free_port()
        self.cluster.start()
        with psycopg.connect(self.cluster.dsn("x"), autocommit=True) as conn:
            for statement in statements:
                conn.execute(statement)
            while wal_end(conn) <= until:
                conn.execute("SELECT pg_logical_emit_message(false, 'filler', repeat('x', 50000))")
            conn.execute("SELECT pg_switch_wal()")
        self.cluster.stop()
        self.cluster.port = self._port
        self.cluster.start()


def wal_end(conn: psycopg.Connection[Any]) -> int:
    row = conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
    assert row is not None
    return lsn_from_text(row[0])


@pytest.fixture
def restorable(new_cluster: Callable[..., Any]) -> Restorable:
    return Restorable(new_cluster(wal_level="logical"))


def confirmed(tap: Any, source: Any, until: Any) -> None:
    """What was drained is confirmed, as the flow does when it is staged."""
    place = tap.confirm_all()
    until(lambda: (slot := source.show()) and slot.confirmed_lsn >= place.lsn, "confirmed", 90)


def test_transactions_below_the_cursor_are_read(
    restorable: Restorable, new_source: Any, new_tap: Any, until: Any
) -> None:
    """Only idle WAL was lost: the slot proves the rest. Reading begins at its position, not at the cursor's."""
    source = new_source(restorable.cluster.create_database("x"))
    tap = new_tap(source, heartbeat_s=0.1)
    tap.streaming()
    source.run("INSERT INTO t VALUES (1, 'a')")
    tap.rows_until(1)
    confirmed(tap, source, until)
    source.close()
    restorable.take_snapshot()
    tap.streaming()
    with psycopg.connect(source.dsn, autocommit=True) as conn:
        conn.execute("SELECT pg_logical_emit_message(false, 'filler', repeat('x', 200000))")
        end = wal_end(conn)

    def moved_on() -> bool:
        tap.drain()
        if tap.reader.place is not None:
            tap.confirm_all()
        return bool(tap.store.cursor.lsn >= end)

    until(moved_on, "the cursor moves with idle WAL", 90)
    before = tap.store.cursor
    restorable.restore(before.lsn, "INSERT INTO t VALUES (2, 'below the cursor')")
    tap.streaming()
    until(lambda: not tap.reader.confirmed or tap.reader.confirmed.lsn < before.lsn, "the slot's own position", 90)
    tap.confirm_all()  # what the stream before had reached is no news of this one
    rows = tap.rows_until(2)
    assert rows[-1].new == ("2", "below the cursor")
    assert tap.chunks[-1].lsn < before.lsn
    assert [incarnation.code for incarnation in tap.store.incarnations] == ["first_start"]
    tap.reader.stop(5)


@pytest.mark.parametrize("staged", [True, False], ids=["staged", "on its way"])
def test_another_history_is_a_new_incarnation(
    staged: bool, restorable: Restorable, new_source: Any, new_tap: Any, until: Any
) -> None:
    source = new_source(restorable.cluster.create_database("x"))
    tap = new_tap(source, heartbeat_s=0.1)
    tap.streaming()
    source.close()
    restorable.take_snapshot()
    tap.streaming()
    with psycopg.connect(source.dsn, autocommit=True) as conn:
        conn.execute("INSERT INTO t VALUES (1, 'not in the snapshot')")
        end = wal_end(conn)
    tap.rows_until(1)
    last = tap.chunks[-1].transaction
    if staged:
        tap.store.cursor = dataclasses.replace(tap.store.cursor, staged_lsn=last.lsn, staged=last)
        tap.reader.stop(5)
    restorable.restore(end, "INSERT INTO t VALUES (2, 'another history')")
    if staged:
        tap = new_tap(source, tap.store)
    until(lambda: len(tap.store.incarnations) == 2, "a new incarnation", 90)
    assert tap.store.incarnations[1].code in ("history_replaced", "xid_behind")
    tap.reader.stop(5)
