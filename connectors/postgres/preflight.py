"""Whether a source can be read: the checks of `doctor`; an earlier one may explain the failure of a later one.

In: a DSN and what the definition says of slot, publication and tables. Out: `Check`s with one sentence and a remedy
each; `blockers`, what of it would stop `apply`. Rules: nothing is changed (the probe's slot is temporary
and goes with its session); every check is tried, and one that PostgreSQL refuses becomes a failure of its own.
"""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from connectors import clocks
from connectors.postgres import excess_rights, slots
from connectors.postgres.connections import address, as_source_errors
from connectors.postgres.replication.connection import ReplicationConnection
from connectors.postgres.replication.continuity import Continue, Cursor, continuity
from connectors.postgres.replication.resume_point import MIN_SERVER_VERSION
from connectors.postgres.server_proof import ExpectedServer
from connectors.postgres.slots import Slot, Table
from connectors.postgres.source_sessions import open_proven
from connectors.postgres.table_catalog import no_table, read_privileges
from rowtide import table_name
from rowtide.error_catalogue import doctor_findings as findings
from rowtide.error_catalogue import source_errors, sync_errors
from rowtide.error_catalogue.entries import Check
from rowtide.errors import RowtideError
from rowtide.mapping.source_table import ColumnsRead
from rowtide.slot_owner import reader_of
from state import dsn
from state.database import PUBLIC_IS_OPEN


@dataclass(frozen=True, slots=True)
class WantedSource:
    """What a definition needs of a source; ``cursor`` reads where capture stands (None: nothing was captured yet).

    ``expected``: the server it has to be (None: whichever answers). ``instance``: the installation that reads the slot
    (None: unknown).
    """

    dsn: str
    slot: str
    publication: str
    tables: Sequence[Table]
    failover: bool = False
    heal: bool = True
    cursor: Callable[[], Cursor | None] = lambda: None
    expected: ExpectedServer | None = None
    instance: str | None = None
    columns: Mapping[Table, ColumnsRead] = field(default_factory=dict)
    """What of a table is read; the whole table where nothing is said."""

    def open(self) -> psycopg.Connection:
        """A session on it."""
        return open_proven(self.dsn, "rowtide doctor", lambda: self.expected)


@dataclass(frozen=True, slots=True)
class _At:
    conn: psycopg.Connection
    wanted: WantedSource


def checks(wanted: WantedSource) -> list[Check]:
    """All findings on the source; only the first one when it cannot be reached at all."""
    try:
        conn = wanted.open()
    except RowtideError as error:
        return [Check.of_error("connection", error)]
    results = [findings.CONNECTION_OK(address=address(wanted.dsn))]
    with contextlib.closing(conn):
        for name, check in _CHECKS:
            try:
                with as_source_errors(f"checking {name}"):
                    results.extend(check(_At(conn, wanted)))
            except RowtideError as error:
                results.append(Check.of_error(name, error))
    return results


def blockers(wanted: WantedSource, connection: psycopg.Connection) -> list[Check]:
    """What would stop `apply` on its way, or leave nothing to begin with, each with the statement that mends it."""
    at = _At(connection, wanted)
    with as_source_errors("checking what `apply` needs"):
        making = slots.show_slot(connection, wanted.slot) is None
        needed = [check for name, check in _CHECKS if name in _NEEDED or (making and name in _NEEDED_FOR_SLOT)]
        return [found for check in needed for found in check(at) if found.level == "failure"]


def _one(conn: psycopg.Connection, query: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...]:
    row = conn.execute(query, parameters or None).fetchone()
    if row is None:
        raise source_errors.NO_ANSWER()
    return row


def transport(conn: psycopg.Connection, text: str) -> list[Check]:
    """Whether the session is encrypted and its server proven; nothing of a server on this machine.

    ``text`` is the DSN that the session was made with.
    """
    found = dsn.parse_or_none(text)
    if found is None or found.is_local:
        return []
    # libpq knows of our end; behind a pooler, pg_stat_ssl would tell of another.
    encrypted = conn.pgconn.ssl_in_use
    if encrypted and found.sslmode == dsn.VERIFIED:
        return [findings.TLS_OK(address=found.address)]
    finding = findings.TLS_UNVERIFIED if encrypted else findings.TLS_OFF
    return [finding(address=found.address, sslmode=found.sslmode)]


def _transport(at: _At) -> list[Check]:
    return transport(at.conn, at.wanted.dsn)


def _version(at: _At) -> list[Check]:
    version = at.conn.info.server_version
    said = f"{version // 10000}.{version % 10000}"
    if version < MIN_SERVER_VERSION:
        return [findings.VERSION_OLD(version=said)]
    (encoding,) = _one(at.conn, "SELECT current_setting('server_encoding')")
    if encoding == "SQL_ASCII":
        return [findings.ENCODING()]
    return [findings.VERSION_OK(version=said)]


def _wal_level(at: _At) -> list[Check]:
    (level,) = _one(at.conn, "SELECT current_setting('wal_level')")
    if level == "logical":
        return [findings.WAL_LEVEL_OK()]
    return [findings.WAL_LEVEL(wal_level=level)]


def _capacity(at: _At) -> list[Check]:
    slots_used, slots_most, senders_used, senders_most, ours = _one(
        at.conn,
        "SELECT (SELECT count(*) FROM pg_replication_slots), current_setting('max_replication_slots')::int, "
        "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'), "
        "current_setting('max_wal_senders')::int, "
        "EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %s)",
        [at.wanted.slot],
    )
    full = (slots_used >= slots_most and not ours) or senders_used >= senders_most
    finding = findings.CAPACITY if full else findings.CAPACITY_OK
    return [finding(slots=slots_used, most_slots=slots_most, senders=senders_used, most_senders=senders_most)]


def _role(at: _At) -> list[Check]:
    (may,) = _one(
        at.conn,
        "SELECT rolreplication OR rolsuper OR EXISTS (SELECT FROM pg_roles r "
        "WHERE r.rolname = 'rds_replication' AND pg_has_role(r.oid, 'MEMBER')) "
        "FROM pg_roles WHERE rolname = current_user",
    )
    name = at.conn.info.user
    return [findings.ROLE_OK(role=name) if may else findings.ROLE(role=name, quoted=_quoted(at.conn, name))]


def public_is_open(conn: psycopg.Connection) -> bool:
    """Whether everybody may create something in schema public, as on PostgreSQL 14 unless it was revoked."""
    with as_source_errors("reading the privileges on schema public"):
        row = conn.execute(PUBLIC_IS_OPEN).fetchone()
    return bool(row and row[0])


def _public(at: _At) -> list[Check]:
    if public_is_open(at.conn):
        return [findings.PUBLIC_OPEN(database=at.conn.info.dbname)]
    return [findings.PUBLIC_CLOSED()]


def _rights(at: _At) -> list[Check]:
    return [excess_rights.of_reader(at.conn, at.wanted.tables)]


def _publication(at: _At) -> list[Check]:
    name = at.wanted.publication
    if slots.publication_oid(at.conn, name) is None:
        return [Check.of_error("publication", slots.publication_missing(name))]
    problems = [
        findings.PUBLICATION_LACKS(publication=name, statement=statement)
        for statement in slots.publication_statements(at.conn, name, at.wanted.tables)
    ]
    if at.conn.info.server_version >= 150000:
        cut = at.conn.execute(
            "SELECT format('%%I.%%I', n.nspname, c.relname), r.prqual IS NOT NULL FROM pg_publication_rel r "
            "JOIN pg_publication p ON p.oid = r.prpubid JOIN pg_class c ON c.oid = r.prrelid "
            "JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE p.pubname = %s AND (r.prqual IS NOT NULL OR r.prattrs IS NOT NULL)",
            [name],
        ).fetchall()
        for table, filtered in cut:
            finding = findings.PUBLICATION_FILTER if filtered else findings.PUBLICATION_COLUMNS
            problems.append(finding(publication=name, table=table))
    return problems or [findings.PUBLICATION_OK(publication=name)]


_IDENTITY = """
SELECT c.relreplident::text,
  EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary),
  EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND NOT i.indimmediate),
  has_schema_privilege(c.relnamespace, 'USAGE'), has_table_privilege(c.oid, 'SELECT'),
  c.relrowsecurity AND NOT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user)
    AND NOT (pg_has_role(c.relowner, 'USAGE') AND NOT c.relforcerowsecurity),
  c.relpersistence::text, current_user::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')
"""


def _tables(at: _At) -> list[Check]:
    return [_table(at.conn, table, at.wanted.columns.get(table)) for table in at.wanted.tables]


def _table(conn: psycopg.Connection, table: Table, columns: ColumnsRead | None) -> Check:
    name = table_name.to_text(*table)
    row = conn.execute(_IDENTITY, table).fetchone()
    if row is None:
        return Check.of_error("table", no_table(conn, *table))
    identity, has_key, deferrable, may_enter, may_read, hidden, persistence, user = row
    if persistence != "p":
        return findings.TABLE_UNLOGGED(table=name)
    if identity == "n" or (identity == "d" and not has_key):
        return findings.TABLE_IDENTITY(table=name)
    if identity == "d" and deferrable:
        return findings.TABLE_DEFERRABLE(table=name)
    if not (may_enter and (may_read or _may_read_columns(conn, table, columns))):
        schema, relation, role = _quoted(conn, table[0]), _quoted(conn, *table), _quoted(conn, user)
        return findings.TABLE_UNREADABLE(table=name, schema=schema, relation=relation, role=role)
    if hidden:
        return findings.TABLE_HIDDEN(table=name, role=_quoted(conn, user))
    return findings.TABLE_OK(table=name)


def _may_read_columns(conn: psycopg.Connection, table: Table, needed: ColumnsRead | None) -> bool:
    """Whether all that is needed of the table was granted column by column."""
    granted = {} if needed is None else read_privileges(conn, table, needed)
    return bool(granted) and all(granted.values())


def _quoted(conn: psycopg.Connection, *name: str) -> str:
    """A name as SQL."""
    return sql.Identifier(*name).as_string(conn)


def _slot(at: _At) -> list[Check]:
    slot = slots.show_slot(at.conn, at.wanted.slot)
    if slot is None:
        return [findings.SLOT_MISSING(slot=at.wanted.slot)]
    slots.require_usable(at.conn, slot)
    if slot.lost:
        return [findings.SLOT_LOST(slot=slot.name, why=slot.why_lost)]
    found = [_retention(slot)]
    other = reader_of(slots.walsender(at.conn, slot.active_pid)[0]) if slot.active_pid is not None else None
    if other is not None and at.wanted.instance not in (None, other):
        found.append(findings.SLOT_SHARED(slot=slot.name, instance=other))
    if slot.two_phase:
        found.append(findings.SLOT_TWO_PHASE(slot=slot.name))
    if at.wanted.failover and not slot.failover:
        found.append(findings.SLOT_NO_FAILOVER(slot=slot.name))
    return found


def _retention(slot: Slot) -> Check:
    reader = f"read by PID {slot.active_pid}" if slot.active_pid else "not being read"
    kept = f"{slot.retained_bytes / 2**20:.0f}"
    safe = slot.safe_wal_size
    tight = safe is not None and safe < slot.retained_bytes / 3  # less than a quarter of what it may keep is left
    if slot.wal_status in ("extended", "unreserved") or tight:
        return findings.SLOT_TIGHT(slot=slot.name, reader=reader, mebibytes=kept, wal_status=slot.wal_status)
    return findings.SLOT_OK(slot=slot.name, reader=reader, mebibytes=kept)


def _continuity(at: _At) -> list[Check]:
    """Whether the slot goes on where capture stands, as a running process would judge it."""
    # In this order, because all three rise: the slot is confirmed after the cursor, and that follows the WAL.
    slot = slots.show_slot(at.conn, at.wanted.slot)
    cursor = at.wanted.cursor()
    oid = slots.publication_oid(at.conn, at.wanted.publication)
    if cursor is None or oid is None:
        return []  # the first start misses nothing; a missing publication is said already
    with contextlib.closing(ReplicationConnection.connect(at.wanted.dsn, "rowtide doctor")) as stream:
        system = stream.identify(oid)
    if cursor.system_id and cursor.system_id != system.system_id:
        return [Check.of_error("continuity", sync_errors.OTHER_SYSTEM(now=system.system_id, before=cursor.system_id))]
    verdict = continuity(cursor, system, slot)
    if isinstance(verdict, Continue):
        return [findings.CONTINUITY_OK(slot=at.wanted.slot)]
    return [(findings.CONTINUITY_HEALS if at.wanted.heal else findings.CONTINUITY)(reason=verdict.reason)]


def _probe(at: _At) -> list[Check]:
    stream = ReplicationConnection.connect(at.wanted.dsn, "rowtide doctor")
    try:
        stream.identify()
    finally:
        stream.close()
    # PostgreSQL makes a slot only after all transactions open now have ended: say so rather than wait.
    name = f"rowtide_probe_{os.getpid()}"
    with contextlib.closing(at.wanted.open()) as probe:
        try:
            probe.execute("SET statement_timeout = '3s'")
            probe.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput', true)", [name])
        except psycopg.errors.QueryCanceled:
            return [findings.PROBE_WAITS()]
    return [findings.PROBE_OK()]


def _retention_limit(at: _At) -> list[Check]:
    (limit,) = _one(at.conn, "SELECT current_setting('max_slot_wal_keep_size')")
    return [findings.WAL_LIMIT() if limit == "-1" else findings.WAL_LIMIT_OK(limit=limit)]


def _standby(at: _At) -> list[Check]:
    (recovering,) = _one(at.conn, "SELECT pg_is_in_recovery()")
    if not recovering:
        return []
    slot = slots.show_slot(at.conn, at.wanted.slot)
    if slot is None or not slot.synced:
        return [findings.STANDBY()]
    if slot.temporary or slot.lost:
        return [findings.STANDBY_EARLY()]
    return [findings.STANDBY_OK()]


def _heartbeat(at: _At) -> list[Check]:
    (may,) = _one(
        at.conn,
        "SELECT bool_and(has_function_privilege(oid, 'EXECUTE')) FROM pg_proc "
        "WHERE proname = 'pg_logical_emit_message'",
    )
    return [findings.HEARTBEAT_OK() if may else findings.HEARTBEAT()]


_CHECKS: tuple[tuple[str, Callable[[_At], list[Check]]], ...] = (
    ("tls", _transport),
    ("clock", lambda at: [clocks.check(at.conn)]),
    ("version", _version),
    ("wal_level", _wal_level),
    ("capacity", _capacity),
    ("role", _role),
    ("public", _public),
    ("rights", _rights),
    ("publication", _publication),
    ("table", _tables),
    ("slot", _slot),
    ("continuity", _continuity),
    ("probe", _probe),
    ("wal_limit", _retention_limit),
    ("standby", _standby),
    ("heartbeat", _heartbeat),
)

_NEEDED = frozenset({"version", "wal_level", "table"})
_NEEDED_FOR_SLOT = frozenset({"capacity", "role"})
"""The checks of whose failures `apply` would die; the second ones only while the slot is still to be made."""
