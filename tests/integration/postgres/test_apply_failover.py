"""Edits and a standby: nothing is written there, and one that is promoted lacks row and record alike."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from connectors.postgres import apply_record, apply_rights
from connectors.postgres.apply_acts import Committed, LeaveRow, SourceAway
from connectors.postgres.apply_session import ApplySession
from connectors.postgres.connections import open_unproven
from demo.postgres import Cluster
from tests.integration.postgres.pulled_table import Decides, PulledTable, place, update
from tests.integration.postgres.standby import standby_of


@pytest.mark.long
def test_row_and_record_are_lost_together(
    new_cluster: Callable[..., Cluster], reachable_path: Path, until: Callable[..., Any]
) -> None:
    primary = new_cluster(wal_level="logical")
    pulled = PulledTable.make(primary.create_database("shop"))
    pulled.run("CREATE TABLE parts (id int PRIMARY KEY, name text)", "INSERT INTO parts VALUES (1, 'bolt')")
    pulled.grant("public.parts", ["name"])
    session = pulled.session()
    sync = pulled.compiled({"name": "Title"})
    kept = session.apply_row(pulled.table(session, sync), place("1"), Decides(update(name="kept")))
    standby = standby_of(primary, reachable_path / "standby")
    lost = session.apply_row(pulled.table(session, sync), place("1"), Decides(update(name="lost")))
    assert isinstance(kept, Committed)
    assert isinstance(lost, Committed)
    primary.kill()
    pulled.leave()
    standby.start()
    try:
        dsn = make_conninfo(standby.dsn("shop"), user=pulled.puller, password="of-a-role")
        with open_unproven(dsn) as here:
            assert [one.level for one in apply_rights.checks(here, {})] == ["failure"]  # a standby
            other = ApplySession(here, lambda: here)
            assert other.hold("parts")
            table = pulled.table(other, sync)
            refused = other.apply_row(table, place("1"), Decides(update(name="never")))
            assert isinstance(refused, SourceAway)
            assert "read-only transaction" in refused.error.sentence
            with open_unproven(standby.dsn("shop")) as owner:
                owner.execute("SELECT pg_promote(true, 30)")
                until(lambda: owner.execute("SELECT NOT pg_is_in_recovery()").fetchone() == (True,), "promoted")
            decides = Decides(LeaveRow())
            other.apply_row(table, place("1"), decides)
            assert decides.found.row == ("1", "kept")
            assert decides.found.applied is not None
            assert decides.found.applied.xid == kept.xid
            assert apply_record.read_many(here, "parts", ["1"])["1"].xid < lost.xid
    finally:
        standby.kill()
