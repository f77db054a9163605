"""Whether records are where they were noted: what a restore, a copy and a failover leave behind."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from demo.postgres import Cluster
from rowtide.change import BULK, Change, ChangeBatch
from state import cursors, database, instance, outbox
from state.instance import Instance
from tests.integration.streams import open_era


def instance_of(connection: Any) -> Instance:
    """The row."""
    found = instance.read(connection)
    assert found is not None
    return found


def requests(connection: Any) -> list[tuple[str, bool]]:
    """Sync and whether its lists are read, of every reconcile that is asked for."""
    query = "SELECT sync, deep FROM rowtide.reconcile ORDER BY sync"
    found: list[tuple[str, bool]] = connection.execute(query).fetchall()
    return found


def test_the_first_note_and_every_further_look_find_nothing(state_dsn: str) -> None:
    with database.connect(state_dsn) as connection:
        assert instance.confirm(connection) == ""
        first = instance_of(connection)
        connection.execute("VACUUM (FREEZE) rowtide.instance")
        assert instance.confirm(connection) == ""
        assert instance_of(connection) == first
        assert requests(connection) == []


@pytest.mark.parametrize(
    ("change", "why", "same_id"),
    [
        ("UPDATE rowtide.instance SET system_id = '7'", "the server is ", False),
        ("UPDATE rowtide.instance SET database_oid = 7", "the database was made from a copy", False),
        ("UPDATE rowtide.instance SET id = id", "the database was made from a copy", False),
        (
            "UPDATE rowtide.instance SET timeline = 7, written_xid = pg_current_xact_id()::text::bigint & 4294967295",
            "the server is on timeline 1, no longer 7",
            True,
        ),
    ],
)
def test_records_that_were_written_elsewhere_are_suspect(change: str, why: str, same_id: bool, state_dsn: str) -> None:
    changes = [Change(key, "u", "Orders", {"T": key}, False, 100, 0, 7, 0, BULK, None) for key in ("1", "2")]
    with database.connect(state_dsn) as connection:
        instance.confirm(connection)
        open_era(connection, ["orders", "without_lists"])
        connection.execute(
            "INSERT INTO rowtide.list (id, site_id, sync, targets, title, state)"
            " VALUES ('l', 's', 'orders', '{}', 'Orders', 'applied')"
        )
        outbox.stage(connection, "slot", [ChangeBatch("orders", 1, 1, changes)])
        before = instance_of(connection)
        connection.execute(change)
        assert why in instance.confirm(connection)
        assert (instance_of(connection).id == before.id) is same_id
        assert instance.confirm(connection) == ""
        assert requests(connection) == [("orders", True), ("without_lists", True)]
        assert connection.execute("SELECT since_slot FROM rowtide.sync").fetchall() == [(None,), (None,)]
        held = [] if same_id else [("orders", "refused", "list_of_other_instance")]
        assert connection.execute("SELECT object, kind, code FROM rowtide.hold").fetchall() == held
        assert instance_of(connection).former == ([] if same_id else [before.id])
        waiting = connection.execute("SELECT op, fields, revision FROM rowtide.outbox").fetchall()
        assert waiting == [("r", None, 2), ("r", None, 2)]


def test_a_database_made_from_a_copy_is_another_instance(
    pg: Cluster, state_dsn: str, new_database: Callable[[str], str]
) -> None:
    with database.connect(state_dsn) as connection:
        instance.confirm(connection)
        before = instance_of(connection)
    copy_dsn = new_database("copy")
    copy, state = (psycopg.conninfo.conninfo_to_dict(dsn)["dbname"] for dsn in (copy_dsn, state_dsn))
    with psycopg.connect(pg.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{copy}"')
        connection.execute(f'CREATE DATABASE "{copy}" TEMPLATE "{state}"')
    with database.connect(copy_dsn) as connection:
        assert "the database was made from a copy" in instance.confirm(connection)
        assert instance_of(connection).id != before.id
    with database.connect(state_dsn) as connection:
        assert instance.confirm(connection) == ""
        assert instance_of(connection) == before


def test_records_that_do_not_know_the_last_heartbeat_are_suspect_once(state_dsn: str) -> None:
    with database.connect(state_dsn) as connection:
        instance.confirm(connection)
        open_era(connection, ["orders"])
        before = instance_of(connection)
        cursors.note_owner(connection, "slot", before.id, 50)

        def count(known: int, incarnation: int = 1, of: str = before.id) -> int | None:
            return instance.count_heartbeat(connection, "slot", incarnation, of, known)

        first = count(0)
        assert first is not None
        second = count(first)
        assert second is not None
        assert second > first
        assert count(second, of="another") is count(second, incarnation=2) is None
        assert requests(connection) == []
        connection.execute("UPDATE rowtide.slot_cursor SET heartbeat = %s", [first])
        third = count(second)
        assert third is not None
        assert requests(connection) == [("orders", True)]
        connection.execute("DELETE FROM rowtide.reconcile")
        assert (count(third) or 0) > third
        assert requests(connection) == []
        assert instance_of(connection) == before
