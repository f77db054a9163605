"""Rows that wait under terms that are no longer in force, against a state database."""

from types import SimpleNamespace
from typing import Any, cast

from flows.due_again import DueAgain
from rowtide.lists import HeldColumns
from state import database
from state.database import Connection, Link

OUTBOX = """
INSERT INTO rowtide.outbox (sync, key, op, target, fields, mapping_version, era, lsn, ordinal, xid, priority,
                            committed_at, due_at)
SELECT sync, key, 'u', 'Lines', '{}', version, 1, 2, 0, 2, 0, now(), now() + interval '1 hour'
  FROM (VALUES ('lines', 'of the old mapping', 1), ('lines', 'of the new mapping', 2), ('others', 'another', 1))
    AS n (sync, key, version)
"""


def view(version: int, **held: HeldColumns) -> Any:
    """A view with syncs ``lines`` of this mapping, and ``others``."""
    syncs = {"lines": SimpleNamespace(version=version), "others": SimpleNamespace(version=1)}
    catalog = SimpleNamespace(syncs=syncs, lists_of=lambda sync: [SimpleNamespace(id=f"{sync}_list")])
    return cast(Any, SimpleNamespace(catalog=catalog, held=held))


def due(connection: Connection) -> list[str]:
    query = "SELECT key FROM rowtide.outbox WHERE due_at <= now() ORDER BY key"
    return [key for (key,) in connection.execute(query).fetchall()]


def test_rows_become_due_with_what_they_waited_for(state_dsn: str) -> None:
    link, views = Link(state_dsn, "test"), [view(1)]
    again = DueAgain(lambda: views[-1])
    with database.connect(state_dsn) as connection:
        connection.execute(OUTBOX)
        connection.execute("UPDATE rowtide.outbox SET mapping_version = 1")
        again.look(link, ["lines", "others"])
        assert due(connection) == []
        connection.execute("UPDATE rowtide.outbox SET mapping_version = 2 WHERE key = 'of the new mapping'")
        views.append(view(2))
        again.look(link, ["lines", "others"])
        assert due(connection) == ["of the old mapping"]
        views.append(view(2, lines_list=HeldColumns(key="is gone")))
        again.look(link, ["lines", "others"])
        assert due(connection) == ["of the new mapping", "of the old mapping"]
        # What is postponed under the terms in force waits.
        connection.execute("UPDATE rowtide.outbox SET due_at = now() + interval '1 hour'")
        views.append(view(2, lines_list=HeldColumns(key="is gone")))
        again.look(link, ["lines", "others"])
        assert due(connection) == []
    link.close()


def test_a_process_that_starts_looks_at_the_mapping_alone(state_dsn: str) -> None:
    """A row that was refused a moment ago is not asked for again because its process died."""
    link = Link(state_dsn, "test")
    with database.connect(state_dsn) as connection:
        connection.execute(OUTBOX)
        DueAgain(lambda: view(2, lines_list=HeldColumns(key="is gone"))).look(link, ["lines"])
        assert due(connection) == ["of the old mapping"]
    link.close()
