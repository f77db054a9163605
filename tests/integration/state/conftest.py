"""A state database with hands: stage, claim, settle and look, in a line each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from psycopg.rows import dict_row

from rowtide.change import BULK, Change, ChangeBatch, Fields, Operation
from rowtide.deciding.records import AsOf, ETag, Held, ItemId, Leftover, ListId, Pair, PairedItem, Work
from rowtide.position import Position
from rowtide.turns import Turns
from state import database, ledger, outbox
from state.database import Connection
from state.outbox import settling
from tests.integration.state.inboxes import Inbox
from tests.integration.streams import open_era

LISTS = {"orders": {"Orders EU": "list-eu", "Orders US": "list-us"}, "customers": {"Customers": "list-c"}}
COMMITTED_US = 1_763_843_494_123_456


def change(
    key: str,
    op: Operation = "u",
    fields: Fields | None = None,
    lsn: int = 100,
    ordinal: int = 0,
    target: str | None = None,
    partial: bool = False,
    priority: int = BULK,
    park: tuple[str, str] | None = None,
) -> Change:
    """A change of ``key``; an upsert with ``fields`` goes to the list Orders EU."""
    if op == "u" and park is None:
        target, fields = target or "Orders EU", fields if fields is not None else {"Title": key}
    return Change(key, op, target, fields, partial, lsn, ordinal, 700 + lsn, COMMITTED_US, priority, park)


@dataclass
class Records:
    """The records of one test."""

    dsn: str
    conn: Connection
    claims: int = 0
    turns: Turns = field(default_factory=Turns)

    def open_era(self, era: int = 1, slot: str = "slot", syncs: Sequence[str] = tuple(LISTS)) -> None:
        """The syncs are read from the slot, which is in its incarnation of that number, in this era."""
        open_era(self.conn, syncs, era, slot)

    def stage(self, *changes: Change, era: int = 1, version: int = 1, sync: str = "orders") -> outbox.StageCounts:
        """Stage as one batch."""
        return outbox.stage(self.conn, "slot", [ChangeBatch(sync, version, era, list(changes))])

    def claim(
        self, limit: int = 100, syncs: Sequence[str] = ("orders",), owner: str = "p0", lease_s: float = 120.0
    ) -> list[Work]:
        """Survey, allot and claim under a token of its own."""
        self.claims += 1
        rows = self.turns.allot(outbox.survey(self.conn, syncs), limit, {})
        return outbox.claim(self.conn, outbox.ClaimRequest(rows, owner, f"token-{self.claims}", lease_s, LISTS)).works

    def claim_one(self) -> Work:
        """The one row that is due."""
        [work] = self.claim()
        return work

    def row(self, key: str, sync: str = "orders") -> dict[str, Any] | None:
        """The outbox row."""
        return self._one("SELECT * FROM rowtide.outbox WHERE sync = %s AND key = %s", sync, key)

    def waiting(self, key: str) -> dict[str, Any]:
        """The outbox row, which is there."""
        row = self.row(key)
        assert row is not None
        return row

    def ledger(self, key: str, sync: str = "orders") -> dict[str, Any] | None:
        """The ledger row."""
        return self._one("SELECT * FROM rowtide.ledger WHERE sync = %s AND key = %s", sync, key)

    def know(self, key: str, pair: Pair, sync: str = "orders") -> None:
        """Put a pair into the ledger as a settle would."""
        self.stage(change(key, lsn=0), sync=sync)
        self.conn.execute(settling.LEDGER, [settling._json([ledger.to_stored(sync, key, pair)])])
        self.conn.execute("DELETE FROM rowtide.outbox WHERE sync = %s AND key = %s", [sync, key])

    def set(self, key: str, assignment: str) -> None:
        """Change the outbox row by hand."""
        self.conn.execute(f"UPDATE rowtide.outbox SET {assignment} WHERE key = %s".encode(), [key])

    def fill(self, count: int, analyzed: bool = True) -> None:
        """That many waiting rows of five syncs, all classes, each with a live pair; most of s4 due later."""
        columns = "sync, key, op, target, fields, mapping_version, era, lsn, ordinal, xid, committed_at, priority"
        later = "CASE WHEN mod(i, 5) = 4 AND mod(i, 4) < 3 THEN interval '1 hour' ELSE interval '0' END"
        self.conn.execute(
            f"""
            INSERT INTO rowtide.outbox ({columns}, due_at)
            SELECT 's' || mod(i, 5), i::text, CASE WHEN mod(i, 50) = 0 THEN 'd' ELSE 'u' END, 'L',
                   jsonb_build_object('Title', md5(i::text), 'N', i), 1, 1, i, 0, i, now(), mod(i, 4),
                   now() + {later}
              FROM generate_series(1, {count}) AS i
            """.encode()
        )
        self.conn.execute(
            """
            INSERT INTO rowtide.ledger (sync, key, list_id, item_id, mapping_version, era, lsn, ordinal, xid, state)
            SELECT sync, key, sync, key, 1, 1, 0, 0, 0, 'live' FROM rowtide.outbox
            """
        )
        if analyzed:
            self.conn.execute("ANALYZE rowtide.outbox, rowtide.ledger")

    def explain(self, statement: str, parameters: Any = None) -> str:
        """The plan that a run of the statement took, with what it read."""
        rows = self.conn.execute(f"EXPLAIN (ANALYZE, BUFFERS) {statement}".encode(), parameters).fetchall()
        return "\n".join(row[0] for row in rows)

    def _one(self, query: str, *parameters: object) -> dict[str, Any] | None:
        with self.conn.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query.encode(), parameters).fetchone()


@pytest.fixture(scope="session")
def records_class() -> type[Records]:
    """The class, for a fixture with a database of its own."""
    return Records


@pytest.fixture
def records(state_dsn: str) -> Iterator[Records]:
    """Hands on a fresh state database."""
    with database.connect(state_dsn, "tests") as connection:
        records = Records(state_dsn, connection)
        records.open_era()
        yield records


@pytest.fixture
def make_change() -> Any:
    """Builds a `Change`."""
    return change


@pytest.fixture
def make_pair() -> Any:
    """Builds a live `Held` at a position; ``other`` are fields of its item, or ``xid`` and ``leftovers``."""

    def make(
        lsn: int = 100,
        ordinal: int = 0,
        era: int = 1,
        xid: int | None = None,
        leftovers: tuple[Leftover, ...] = (),
        **other: Any,
    ) -> Held:
        item = PairedItem(ListId("list-eu"), ItemId("7"), ETag('"g,1"'), {"Title": "a"}, {})
        as_of = AsOf(Position(era, lsn, ordinal), 700 + lsn if xid is None else xid, 1)
        return Held(as_of, replace(item, **other), leftovers=leftovers)

    return make


@pytest.fixture
def now() -> datetime:
    """One moment."""
    return datetime(2026, 11, 22, 20, 0, tzinfo=UTC)


@pytest.fixture
def entries(records: Records) -> Inbox:
    """The inbox of sync orders, which has two ways."""
    return Inbox(records.conn).open()
