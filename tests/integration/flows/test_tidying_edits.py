"""Records of edits in a source go when they are old and have arrived in the ledger, and not before."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from connectors.postgres import apply_record
from connectors.postgres.apply_acts import EditRecord
from flows import tidying
from state import database, pulled
from state.database import Connection
from state.pulled import OldEdit
from tests.integration.postgres.pulled_table import PulledTable, place

LEDGER = """
INSERT INTO rowtide.ledger (sync, key, list_id, item_id, mapping_version, era, lsn, ordinal, xid, state, pulled)
VALUES ('parts', %s, 'list-a', %s, 1, 0, 0, 0, 0, %s, %s::jsonb)
"""
INBOX = "INSERT INTO rowtide.inbox (list_id, item_id, sync, version) VALUES ('list-a', %s, 'parts', 1)"

CASES = {
    "arrived": ("live", '{"version": 1, "op": "update", "fields": []}', True),
    "deleted": ("tombstone", '{"version": 1, "op": "delete", "fields": []}', True),
    "cleared": ("live", None, True),
    "lost": ("live", '{"version": 2, "op": "update", "fields": []}', False),
    "waits": ("live", None, False),
    "gone": (None, None, True),
}


@pytest.fixture
def state(state_dsn: str) -> Iterator[Connection]:
    with closing(database.connect(state_dsn)) as connection:
        for key, (standing, edit, _) in CASES.items():
            if standing is not None:
                connection.execute(LEDGER, [key, key, standing, edit])
        connection.execute(INBOX, ["waits"])
        yield connection


@pytest.fixture
def source(database: str) -> Iterator[PulledTable]:
    made = PulledTable.make(database)
    yield made
    made.close()


def test_what_has_arrived_goes_and_what_may_be_needed_stays(state: Connection, source: PulledTable) -> None:
    writer = source.session().connection
    for key in [*CASES, "new"]:
        apply_record.write(writer, "parts", key, place(key, item_id=key), EditRecord(1, {}))
    source.run("UPDATE rowtide_pull.applied SET applied_at = now() - interval '8 days' WHERE key <> 'new'")
    assert tidying.tidy_edits(state, writer, "parts") == sum(goes for _, _, goes in CASES.values())
    left = {key for key, (_, _, goes) in CASES.items() if not goes}
    assert set(apply_record.read_many(writer, "parts", [*CASES, "new"])) == left | {"new"}
    kept = state.execute("SELECT key FROM rowtide.ledger WHERE pulled IS NOT NULL").fetchall()
    assert kept == [("lost",)]


def test_what_was_cleared_before_a_crash_goes_the_next_time(state: Connection, source: PulledTable) -> None:
    old = OldEdit("arrived", "list-a", "arrived", 1)
    assert pulled.clear(state, "parts", [old]) == {"arrived"}
    assert pulled.clear(state, "parts", [old]) == {"arrived"}
