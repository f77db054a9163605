"""Writes people's edits into a source: one transaction a row, under the lock of the sync.

In: a proven session as the role of ``apply_dsn``, an `ApplyTable`, an `EditPlace`, a function that decides. Out: an
`Outcome`. Called by the puller, one thread a source. Rules (docs/design.md section 21): the session that writes holds
the sync's advisory lock itself, and every transaction looks whether it still does; the record is written in the row's
own transaction; exactly one row is touched, or none; nothing of one row waits for anybody longer than `LOCK_TIMEOUT`.
"""

import hashlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, assert_never

import psycopg
from psycopg import errors, sql

from connectors.postgres import apply_errors, apply_record, apply_table, table_pages
from connectors.postgres.apply_acts import (
    AppliedEdit,
    Committed,
    Decide,
    DeleteRow,
    EditPlace,
    InsertRow,
    KeyTaken,
    LeaveRow,
    LeftAlone,
    LockLost,
    NoteRow,
    NotPrepared,
    Outcome,
    RowInSource,
    RowRefused,
    SourceAway,
    UpdateRow,
    Values,
)
from connectors.postgres.apply_table import ApplyTable
from connectors.postgres.connections import as_source_errors
from rowtide.error_catalogue import row_errors
from rowtide.errors import RowtideError, SourceRefused
from rowtide.keys import key_values, row_key
from state import failpoints

Connection = psycopg.Connection[Any]

APPLICATION: Final = "rowtide pull"
"""The ``application_name`` of sessions that apply edits."""
LOCK_TIMEOUT: Final = "200ms"
STATEMENT_TIMEOUT: Final = "10s"
"""For how long the table's triggers may work on one row."""
IDLE_TIMEOUT: Final = "30s"
"""After which the server ends a transaction whose process stands still, and with it frees row and lock."""
IDLE_SESSION_TIMEOUT: Final = "60s"
"""The same of a session that holds a sync's lock and is not used; whoever works calls `stay` more often than that."""


def lock_number(sync: str) -> int:
    """The advisory lock of a sync: whoever holds it is the only one that applies edits of the sync."""
    return int.from_bytes(hashlib.sha256(f"rowtide pull {sync}".encode()).digest()[:8], "big", signed=True)


class _Undone(Exception):
    """The transaction is rolled back, with this outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class _Written:
    key: str
    row: Values | None
    xid: int


class ApplySession:
    """One proven session that writes; its locks are those of the connection, and end with it."""

    def __init__(self, connection: Connection, reader: Callable[[], Connection]) -> None:
        """``reader``: a proven session of the role that reads, which is asked where row security may hide a row."""
        self._connection = connection
        self._reader = reader
        self._rows: psycopg.RawCursor[Values] = psycopg.RawCursor(connection)
        table_pages.as_text(self._rows)

    @property
    def connection(self) -> Connection:
        """The session itself, for what is read and pruned of the records; never inside a transaction here."""
        return self._connection

    def hold(self, sync: str) -> bool:
        """Whether this session holds the sync's lock now; it is taken if nobody has it. Raises errors of the source."""
        with as_source_errors(f"taking the lock of sync {sync}"):
            if self._holds(sync):
                return True
            row = self._connection.execute(_HOLD, [lock_number(sync), IDLE_SESSION_TIMEOUT]).fetchone()
        return bool(row and row[0])

    def stay(self) -> None:
        """Use the session, so that the server does not end it and its locks. Raises errors of the source."""
        with as_source_errors("keeping the locks of syncs"):
            self._connection.execute("SELECT")

    def release(self, sync: str) -> None:
        """Let another process pull the sync. Raises errors of the source."""
        with as_source_errors(f"releasing the lock of sync {sync}"):
            if self._holds(sync):
                self._connection.execute("SELECT pg_advisory_unlock(%s)", [lock_number(sync)])

    def apply_row(self, table: ApplyTable, place: EditPlace, decide: Decide) -> Outcome:
        """Show ``decide`` what the source holds of the place, do what it answers in the same transaction.

        ``decide`` waits for nothing: the row is locked. What it raises ends the transaction and is raised on. After
        `SourceAway` the session is of no use any more; after `NotPrepared` the table has to be read anew.
        """
        try:
            return self._apply(table, place, decide)
        except _Undone as undone:
            return undone.outcome
        except psycopg.Error as error:
            return apply_errors.to_outcome(error, table)
        except UnicodeEncodeError:
            return apply_errors.refused("a value has a character that PostgreSQL does not hold", table)
        finally:
            self._end()

    def _apply(self, table: ApplyTable, place: EditPlace, decide: Decide) -> Outcome:
        sync = table.sync.sync
        if not self._begin(sync):
            return LockLost()
        of_row, of_item = apply_record.read_for_update(self._connection, sync, place)
        self._let_triggers_see(table, place)
        found = self._find(table, place, of_row, of_item)
        act = decide(found)
        if isinstance(act, LeaveRow):
            return LeftAlone(self._end_by(_ROLLBACK))
        if found.hidden:
            return apply_errors.refused("row security lets only the reader see this row", table)
        written = self._carry_out(table, place, act)
        failpoints.hit(failpoints.PULL_BEFORE_COMMIT)
        lsn = self._end_by(_COMMIT)
        failpoints.hit(failpoints.PULL_AFTER_COMMIT)
        return Committed(written.key, written.row, written.xid, lsn)

    # --- the transaction --------------------------------------------------------------------------------------------

    def _holds(self, sync: str) -> bool:
        row = self._connection.execute(_holds(sync)).fetchone()
        return bool(row and row[0])

    def _begin(self, sync: str) -> bool:
        """Begin in one round trip; whether the session still holds the sync's lock."""
        cursor = self._connection.execute(_BEGIN + _holds(sync))
        cursor.set_result(-1)
        row = cursor.fetchone()
        return bool(row and row[0])

    def _let_triggers_see(self, table: ApplyTable, place: EditPlace) -> None:
        """From here on names are found as the customer's functions need it; statements of ours are qualified."""
        edited_by = place.edited_by.replace("\0", "").encode(errors="replace").decode()
        self._connection.execute(_FOR_TRIGGERS, [edited_by, table.search_path])

    def _end_by(self, command: str) -> int:
        """End the transaction; the insert LSN read after that, in the same round trip."""
        cursor = self._connection.execute(command)
        cursor.set_result(-1)
        row = cursor.fetchone()
        assert row is not None, "the server has an insert LSN"
        return int(row[0])

    def _end(self) -> None:
        idle = psycopg.pq.TransactionStatus.IDLE
        if not self._connection.closed and self._connection.info.transaction_status != idle:
            with suppress(psycopg.Error):
                self._connection.execute("ROLLBACK")

    # --- reading ----------------------------------------------------------------------------------------------------

    def _find(
        self, table: ApplyTable, place: EditPlace, of_row: AppliedEdit | None, of_item: AppliedEdit | None
    ) -> RowInSource:
        if place.key is None:
            return RowInSource(of_row, of_item)
        key = key_values(place.key, len(table.sync.key_columns))
        row = self._rows.execute(apply_table.read_row(table), key).fetchone()
        # A collation or a type may take another text for the same: that is another row to us.
        if row is not None and _key_of(table, row) == place.key:
            return RowInSource(of_row, of_item, row)
        hidden = row is None and self._is_hidden(table, place.key)
        found = self._connection.execute(_READ_LSN).fetchone()
        return RowInSource(of_row, of_item, absent_at=int(found[0]) if found else None, hidden=hidden)

    def _is_hidden(self, table: ApplyTable, key: str) -> bool:
        """Whether a row that this role does not see is there for the reader."""
        active = self._connection.execute(_ROW_SECURITY, [table.oid]).fetchone()
        if not active or not active[0]:
            return False
        try:
            _, there = table_pages.read_keys(self._reader(), table.sync, table.keyset, [key])
        except RowtideError as error:
            raise _Undone(NotPrepared(error) if isinstance(error, SourceRefused) else SourceAway(error)) from error
        return key in there

    # --- writing ----------------------------------------------------------------------------------------------------

    def _carry_out(
        self, table: ApplyTable, place: EditPlace, act: NoteRow | UpdateRow | InsertRow | DeleteRow
    ) -> _Written:
        row: Values | None = None
        match act:
            case InsertRow():
                row = self._insert(table, act)
            case UpdateRow() if act.values:
                row = self._touch_one(table, place, apply_table.update_row(table, act.values), act.values.values())
            case DeleteRow():
                self._touch_one(table, place, apply_table.delete_row(table), ())
            case NoteRow() | UpdateRow():
                pass
            case _:
                assert_never(act)
        key = place.key if row is None else _key_of(table, row)
        assert key is not None, "an act on a row that is there names it"
        if place.key not in (None, key):
            raise _Undone(apply_errors.refused("a trigger of the table changes the row's key", table))
        return _Written(key, row, apply_record.write(self._connection, table.sync.sync, key, place, act.record))

    def _touch_one(
        self, table: ApplyTable, place: EditPlace, statement: sql.Composed, values: Iterable[str | None]
    ) -> Values:
        assert place.key is not None, "an act on a row that is there names it"
        key = key_values(place.key, len(table.sync.key_columns))
        rows = self._rows.execute(statement, [*values, *key]).fetchall()
        if len(rows) != 1:
            said = f"{len(rows)} rows were touched in place of one: a trigger or a policy of the table prevents it"
            raise _Undone(apply_errors.refused(said, table))
        return rows[0]

    def _insert(self, table: ApplyTable, act: InsertRow) -> Values:
        key = [act.values.get(column) for column in table.sync.key_columns]
        is_given = None not in key
        try:
            statement = apply_table.insert_row(table, act.values, unless_taken=is_given)
            rows = self._rows.execute(statement, list(act.values.values())).fetchall()
        except errors.UniqueViolation as error:
            if is_given and not error.diag.context and error.diag.constraint_name in table.key_indexes:
                raise _Undone(KeyTaken()) from error
            raise
        if not rows and is_given and self._rows.execute(apply_table.read_row(table), key).fetchone() is not None:
            raise _Undone(KeyTaken())
        if len(rows) != 1:
            said = f"{len(rows)} rows were inserted in place of one: a trigger or a policy of the table prevents it"
            raise _Undone(apply_errors.refused(said, table))
        if not act.accepts(rows[0]):
            why = row_errors.OUTSIDE_FILTER(table=table.sync.table_text)
            raise _Undone(RowRefused(why.code, why.sentence))
        return rows[0]


def _key_of(table: ApplyTable, row: Values) -> str:
    return row_key([str(value) for value in table.key_values(row)])


# A row or a record that somebody holds is no reason to wait: the entry is due again.
_BEGIN: Final = sql.SQL(f"""
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL lock_timeout = '{LOCK_TIMEOUT}';
SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}';
SET LOCAL idle_in_transaction_session_timeout = '{IDLE_TIMEOUT}';
SET LOCAL row_security = on;
SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off';
SET CONSTRAINTS ALL IMMEDIATE;
""")

_HOLD: Final = "SELECT pg_try_advisory_lock(%s), set_config('idle_session_timeout', %s, false)"
_HOLDS: Final = """
SELECT EXISTS (
    SELECT FROM pg_locks
     WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted AND objsubid = 1
       AND (classid::bigint << 32) | objid::bigint = {})
"""


def _holds(sync: str) -> sql.Composed:
    return sql.SQL(_HOLDS).format(sql.Literal(lock_number(sync)))


_FOR_TRIGGERS: Final = """
SELECT pg_catalog.set_config('rowtide.edited_by', %s, true), pg_catalog.set_config('search_path', %s, true)
"""
_ROW_SECURITY: Final = "SELECT pg_catalog.row_security_active(%s::pg_catalog.oid)"
_READ_LSN: Final = "SELECT pg_catalog.pg_current_wal_insert_lsn() OPERATOR(pg_catalog.-) '0/0'::pg_catalog.pg_lsn"
_COMMIT: Final = f"COMMIT; {_READ_LSN}"
_ROLLBACK: Final = f"ROLLBACK; {_READ_LSN}"
