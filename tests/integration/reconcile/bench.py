"""A source table, a state database and a sync between them, without a flow: streamed changes are written by hand."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from connectors.postgres.source_sessions import Source, SourceSessions
from connectors.postgres.table_catalog import read_columns
from flows import reconcile as flow
from flows.applied_view import View
from rowtide.catalog import Catalog, to_compiled
from rowtide.definition import model as definitions
from rowtide.position import Position
from state import cursors, holds
from state.definitions import apply as apply_definition
from state.definitions import latest_version, sync_states
from state.reconcile import record
from state.reconcile.record import Reconcile

SLOT = "rowtide_erp"
DEADLINE_S = 30.0
CAUGHT_UP = 1 << 62
"""A cursor beyond every mark: capture is not what these tests are about."""


def eventually(ask: Callable[[], Any], what: str) -> Any:
    """The first true answer; fails when there is none in time."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if answer := ask():
            return answer
        threading.Event().wait(0.01)
    pytest.fail(f"not within {DEADLINE_S} s: {what}")


def write_definition(syncs: dict[str, Any]) -> definitions.Definition:
    """A whole definition around some syncs."""
    return definitions.parse(
        {
            "version": 1,
            "state": {"dsn": "env:STATE"},
            "postgres": {"erp": {"dsn": "env:SOURCE"}},
            "graph": {
                "contoso": {"tenant_id": "t", "client_id": "c", "credential": {"client_secret": "env:SECRET"}},
            },
            "syncs": syncs,
        }
    )


class NoRecords:
    """Nothing is on record of any server."""

    def read(self, _slot: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing to close."""


def sessions_on(source_dsn: Callable[[], str]) -> SourceSessions:
    """Sessions on a source of whose server nothing is on record: which one it is, is not what these tests are about."""
    return SourceSessions("rowtide reconcile", lambda _name: Source(source_dsn(), SLOT), NoRecords())


@dataclass
class Bench:
    """``orders`` of the source on its way to list Orders; `streamed` plays capture, `deliver` plays Graph."""

    source_dsn: str
    state_dsn: str
    owner: psycopg.Connection[Any]
    """The session of whoever writes the table; ``source`` is one of the product's."""
    source: psycopg.Connection[Any]
    state: psycopg.Connection[Any]
    catalog: Catalog
    sync: str = "orders"
    reports: list[Reconcile] = field(default_factory=list)

    def run(self, until: str = "") -> Reconcile:
        """Ask for a reconcile and go on until it is done, stands still, or has come to the phase ``until``."""
        stop = threading.Event()

        def report(record: Reconcile) -> None:
            self.reports.append(record)
            if record.phase == until:
                stop.set()

        return flow.reconcile_here(self.state_dsn, self.catalog, self.sync, self.sessions(), "test", stop, report)

    def sessions(self) -> SourceSessions:
        """Sessions on the source."""
        return sessions_on(lambda: self.source_dsn)

    def wanted(self) -> list[str]:
        """What would be reconciled now."""
        return flow.wanted_syncs(self.state, self.view())

    def view(self) -> View:
        """What a running process would obey."""
        return View(self.catalog, sync_states(self.state), holds.read(self.state))

    def apply(self) -> None:
        """Store the definition, for processes of their own to obey."""
        columns = {self.sync: read_columns(self.source, "public", "orders")}
        compiled = to_compiled(self.catalog.definition, {}, columns, self.catalog.lists)
        apply_definition(self.state, compiled, "test", latest_version(self.state))

    def dry_run(self) -> tuple[int, Any]:
        """Rows and differences."""
        return flow.dry_run(self.state_dsn, self.catalog, self.sync, self.sessions())

    def open_era(self, era: int, since: int = 100, cursor_lsn: int = CAUGHT_UP) -> None:
        """The slot is read in a new incarnation, which begins this era of the sync; capture has caught up."""
        cursor = cursors.SlotCursor(SLOT, era, cursor_lsn, "system", 1, since, 16400)
        cursors.open_slot(self.state, cursor)
        self.state.execute(
            """
            INSERT INTO rowtide.sync AS s (sync, changed_by, era, since_slot, since_incarnation, since_lsn, shape)
            VALUES (%(sync)s, 'test', %(era)s, %(slot)s, %(era)s, %(since)s, '{}')
                ON CONFLICT (sync) DO UPDATE SET era = excluded.era, since_slot = excluded.since_slot,
                   since_incarnation = excluded.since_incarnation, since_lsn = excluded.since_lsn
            """,
            {"sync": self.sync, "era": era, "slot": SLOT, "since": since},
        )

    def streamed(
        self,
        key: str,
        op: str = "u",
        position: tuple[int, int, int] = (1, 500, 0),
        xid: int = 0,
        title: str = "streamed",
        **columns: Any,
    ) -> None:
        """A change as capture would have staged it."""
        values = {
            "sync": self.sync, "key": key, "op": op, "target": "Orders" if op == "u" else None,
            "fields": self.fields(title) if op == "u" else None, "mapping_version": self.version, "era": position[0],
            "lsn": position[1], "ordinal": position[2], "xid": xid, "priority": 0,
            "committed_at": "2026-01-01", **columns,
        }  # fmt: skip
        names = ", ".join(values)
        places = ", ".join(f"%({name})s" for name in values)
        values["fields"] = None if values["fields"] is None else psycopg.types.json.Jsonb(values["fields"])
        self.state.execute(f"INSERT INTO rowtide.outbox ({names}) VALUES ({places})", values)

    def fields(self, title: str, amount: float | None = None) -> dict[str, Any]:
        """Fields of a row of the default table."""
        return {"Title": title, "Amount": amount}

    def deliver(self) -> None:
        """Everything that waits is done: the ledger agrees."""
        with self.state.transaction():
            self.state.execute(
                """
                INSERT INTO rowtide.ledger AS l (sync, key, list_id, item_id, etag, base, mapping_version, era, lsn,
                       ordinal, xid, state)
                SELECT sync, key, 'list-' || target, key, 'e,1', coalesce(fields::jsonb, '{}'), mapping_version, era,
                       lsn, ordinal, xid, CASE op WHEN 'u' THEN 'live' ELSE 'tombstone' END
                  FROM rowtide.outbox WHERE state = 'waiting'
                    ON CONFLICT (sync, key) DO UPDATE SET list_id = excluded.list_id, base = excluded.base,
                       mapping_version = excluded.mapping_version, era = excluded.era, lsn = excluded.lsn,
                       ordinal = excluded.ordinal, xid = excluded.xid, state = excluded.state
                 WHERE (l.era, l.lsn, l.ordinal) <= (excluded.era, excluded.lsn, excluded.ordinal)
                """
            )
            self.state.execute("DELETE FROM rowtide.outbox WHERE state = 'waiting'")

    def outbox(self) -> dict[str, tuple[str, str | None, Position]]:
        """Key -> operation, title, position of what waits."""
        rows = self.state.execute(
            "SELECT key, op, fields ->> 'Title', era, lsn, ordinal FROM rowtide.outbox ORDER BY key"
        )
        return {row[0]: (row[1], row[2], Position(*row[3:])) for row in rows}

    def waiting(self, key: str, columns: str) -> tuple[Any, ...]:
        """Columns of a waiting row."""
        [row] = self.state.execute(f"SELECT {columns} FROM rowtide.outbox WHERE key = %s", [key]).fetchall()
        return tuple(row)

    @property
    def record(self) -> Reconcile:
        """The record as it stands."""
        found = record.read(self.state, self.sync)
        assert found is not None
        return found

    @property
    def version(self) -> int:
        """The mapping's version."""
        return self.catalog.syncs[self.sync].version

    def xid(self) -> int:
        """The source's next xid."""
        [(xid,)] = self.source.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchall()
        return int(xid)


ORDERS = "CREATE TABLE orders (id bigint PRIMARY KEY, title text, amount numeric(12, 2), status text)"
FIELDS = {"title": "Title", "amount": {"field": "Amount", "as": "number"}}
