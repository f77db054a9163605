"""Whether a source is fit to be read: the checks of `doctor`, in the order in which they explain each other.

In: a DSN and what the definition says of slot, publication and tables. Out: `Check`s with one sentence and a remedy
each; `read_columns` for `apply` and `plan`. Rules: nothing is changed (the probe's slot is temporary and goes with its
session); every check is tried, one that PostgreSQL refuses becomes a failure of its own.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psycopg

from connectors.postgres import slots
from connectors.postgres.connections import address, open_source, translated
from connectors.postgres.replication.connection import ReplicationConnection
from connectors.postgres.replication.resume_point import MIN_SERVER_VERSION
from connectors.postgres.slots import Slot, Table
from rowtide.errors import RowtideError, SourceRefused
from rowtide.mapping.columns import SourceColumn

Level = Literal["ok", "warning", "failure"]


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. ``remedy`` is empty when all is well."""

    name: str
    level: Level
    sentence: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a definition wants of a source."""

    dsn: str
    slot: str
    publication: str
    tables: Sequence[Table]
    failover: bool = False


@dataclass(frozen=True, slots=True)
class _At:
    conn: psycopg.Connection
    wanted: Wanted


def checks(wanted: Wanted) -> list[Check]:
    """All findings on the source; only the first one when it cannot be reached at all."""
    try:
        conn = open_source(wanted.dsn, "rowtide doctor")
    except RowtideError as error:
        return [Check("connection", "failure", error.sentence, error.remedy)]
    found = [Check("connection", "ok", f"PostgreSQL at {address(wanted.dsn)} answers.")]
    with contextlib.closing(conn):
        for name, check in _CHECKS:
            try:
                with translated(f"checking {name}"):
                    found.extend(check(_At(conn, wanted)))
            except RowtideError as error:
                found.append(Check(name, "failure", error.sentence, error.remedy))
    return found


def read_columns(conn: psycopg.Connection[Any], schema: str, table: str) -> list[SourceColumn]:
    """The table's columns in their order; SourceRefused when there is no such table (or no right to see into it)."""
    with translated(f"reading the columns of {schema}.{table}"):
        rows = conn.execute(_COLUMNS, {"schema": schema, "table": table}).fetchall()
    if not rows:
        raise SourceRefused("table_missing", f"The table {schema}.{table} does not exist.", "Correct `source.table`.")
    return [
        SourceColumn(name, type_name, oid, not_null, key, deferrable, kind, tuple(labels), generated, deterministic)
        for name, type_name, oid, not_null, key, deferrable, kind, labels, generated, deterministic in rows
    ]


# A domain is followed down to the type it restricts.
_COLUMNS = """
WITH RECURSIVE base AS (
  SELECT a.attnum, a.attname::text AS name, a.atttypid AS type_oid, a.attnotnull, a.attgenerated, a.attcollation,
         a.attrelid, t.typtype, t.oid AS leaf, a.atttypmod AS leaf_mod, t.typbasetype, t.typtypmod
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_type t ON t.oid = a.atttypid
  WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND c.relkind IN ('r', 'p')
    AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT b.attnum, b.name, b.type_oid, b.attnotnull OR d.typnotnull, b.attgenerated, b.attcollation,
         b.attrelid, b.typtype, t.oid, d.typtypmod, t.typbasetype, t.typtypmod
  FROM base b JOIN pg_type d ON d.oid = b.leaf JOIN pg_type t ON t.oid = d.typbasetype WHERE b.typbasetype <> 0
)
SELECT b.name, format_type(b.leaf, b.leaf_mod), b.type_oid::bigint, b.attnotnull,
       COALESCE(array_position((i.indkey::int2[])[0:i.indnkeyatts - 1], b.attnum), 0),
       COALESCE(b.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]) AND NOT i.indimmediate, false),
       b.typtype::text,
       ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = b.leaf ORDER BY e.enumsortorder),
       b.attgenerated <> '', COALESCE(l.collisdeterministic, true)
FROM base b LEFT JOIN pg_index i ON i.indrelid = b.attrelid AND i.indisprimary
LEFT JOIN pg_collation l ON l.oid = b.attcollation
WHERE b.typbasetype = 0 ORDER BY b.attnum
"""


def _one(conn: psycopg.Connection, query: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...]:
    row = conn.execute(query, parameters or None).fetchone()
    if row is None:
        raise SourceRefused("source_refused", "PostgreSQL gave no answer to a catalog query.")
    return row


def _version(at: _At) -> list[Check]:
    version = at.conn.info.server_version
    said = f"PostgreSQL {version // 10000}.{version % 10000}."
    if version < MIN_SERVER_VERSION:
        return [Check("version", "failure", f"{said} Rowtide needs 14 or newer.", "Upgrade PostgreSQL.")]
    (encoding,) = _one(at.conn, "SELECT current_setting('server_encoding')")
    if encoding == "SQL_ASCII":
        text = "The database's encoding is SQL_ASCII: bytes that are not UTF-8 would arrive as question marks."
        return [Check("version", "warning", text, "Use a database with encoding UTF8.")]
    return [Check("version", "ok", said)]


def _wal_level(at: _At) -> list[Check]:
    (level,) = _one(at.conn, "SELECT current_setting('wal_level')")
    if level == "logical":
        return [Check("wal_level", "ok", "wal_level is logical.")]
    remedy = "Set wal_level = logical and restart PostgreSQL (RDS: rds.logical_replication = 1)."
    return [Check("wal_level", "failure", f"wal_level is {level}; logical decoding needs logical.", remedy)]


def _capacity(at: _At) -> list[Check]:
    slots_used, slots_most, senders_used, senders_most, ours = _one(
        at.conn,
        "SELECT (SELECT count(*) FROM pg_replication_slots), current_setting('max_replication_slots')::int, "
        "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'), "
        "current_setting('max_wal_senders')::int, "
        "EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %s)",
        [at.wanted.slot],
    )
    said = f"{slots_used} of {slots_most} slots and {senders_used} of {senders_most} WAL senders are in use."
    if (slots_used >= slots_most and not ours) or senders_used >= senders_most:
        remedy = "Raise max_replication_slots and max_wal_senders (restart), or drop what is unused."
        return [Check("capacity", "failure", said, remedy)]
    return [Check("capacity", "ok", said)]


def _role(at: _At) -> list[Check]:
    (may,) = _one(
        at.conn,
        "SELECT rolreplication OR rolsuper OR EXISTS (SELECT FROM pg_roles r "
        "WHERE r.rolname = 'rds_replication' AND pg_has_role(r.oid, 'MEMBER')) "
        "FROM pg_roles WHERE rolname = current_user",
    )
    if may:
        return [Check("role", "ok", f"The role {at.conn.info.user} may replicate.")]
    remedy = f'ALTER ROLE "{at.conn.info.user}" REPLICATION (RDS: GRANT rds_replication).'
    return [Check("role", "failure", f"The role {at.conn.info.user} has no REPLICATION privilege.", remedy)]


def _publication(at: _At) -> list[Check]:
    name = at.wanted.publication
    if slots.publication_oid(at.conn, name) is None:
        missing = slots.publication_missing(name)
        return [Check("publication", "failure", missing.sentence, missing.remedy)]
    found = [
        Check("publication", "failure", f"The publication {name} lacks something: {statement}.", "Run `rowtide apply`.")
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
            what = "a row filter" if filtered else "a column list"
            remedy = "Remove it from the publication; use `where` and `fields` of the sync instead."
            level: Level = "failure" if filtered else "warning"
            found.append(Check("publication", level, f"The publication {name} has {what} on {table}.", remedy))
    return found or [Check("publication", "ok", f"The publication {name} carries every table.")]


_IDENTITY = """
SELECT c.relreplident::text,
  EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary),
  EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND NOT i.indimmediate),
  has_schema_privilege(c.relnamespace, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'),
  c.relrowsecurity AND NOT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user)
    AND NOT (pg_has_role(c.relowner, 'USAGE') AND NOT c.relforcerowsecurity),
  c.relpersistence::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')
"""


def _tables(at: _At) -> list[Check]:
    return [_table(at.conn, table) for table in at.wanted.tables]


def _table(conn: psycopg.Connection, table: Table) -> Check:
    name = ".".join(table)
    row = conn.execute(_IDENTITY, table).fetchone()
    if row is None:
        return Check("table", "failure", f"The table {name} does not exist.", "Correct `source.table`.")
    identity, has_key, deferrable, readable, hidden, persistence = row
    if persistence != "p":
        remedy = "ALTER TABLE ... SET LOGGED."
        return Check("table", "failure", f"The table {name} is unlogged or temporary: it is never decoded.", remedy)
    if identity == "n" or (identity == "d" and not has_key):
        remedy = "Add a primary key, or ALTER TABLE ... REPLICA IDENTITY USING INDEX (or FULL)."
        return Check("table", "failure", f"The table {name} has no replica identity.", remedy)
    if identity == "d" and deferrable:
        remedy = "ALTER TABLE ... REPLICA IDENTITY FULL, or make the primary key not deferrable."
        said = f"The primary key of {name} is deferrable, which PostgreSQL does not take as a replica identity."
        return Check("table", "failure", said, remedy)
    if not readable:
        remedy = "GRANT USAGE on its schema and SELECT on it to this role."
        return Check("table", "failure", f"The table {name} cannot be read (first load and repair need it).", remedy)
    if hidden:
        remedy = "GRANT a role with BYPASSRLS, or own the table."
        return Check("table", "failure", f"Row security hides rows of {name} from this role.", remedy)
    return Check("table", "ok", f"The table {name} can be read and its changes identified.")


def _slot(at: _At) -> list[Check]:
    slot = slots.show_slot(at.conn, at.wanted.slot)
    if slot is None:
        return [Check("slot", "warning", f"The slot {at.wanted.slot} does not exist yet.", "Run `rowtide apply`.")]
    slots.require_usable(at.conn, slot)
    if slot.lost:
        remedy = "Under on_gap: heal a running flow makes a new one and reconciles; raise max_slot_wal_keep_size."
        return [Check("slot", "failure", f"The slot {slot.name} is lost ({slot.why_lost}).", remedy)]
    found = [_retention(slot)]
    if slot.two_phase:
        remedy = "Drop it and let `rowtide apply` make it."
        found.append(Check("slot", "failure", f"The slot {slot.name} decodes two-phase commits early.", remedy))
    if at.wanted.failover and not slot.failover:
        remedy = "Run ALTER_REPLICATION_SLOT ... (FAILOVER true), or drop it and let `rowtide apply` make it."
        found.append(Check("slot", "failure", f"The slot {slot.name} is not a failover slot.", remedy))
    return found


def _retention(slot: Slot) -> Check:
    who = f"read by PID {slot.active_pid}" if slot.active_pid else "not being read"
    said = f"The slot {slot.name} is {who} and keeps {slot.retained_bytes / 2**20:.0f} MiB of WAL"
    safe = slot.safe_wal_size
    tight = safe is not None and safe < slot.retained_bytes / 3  # less than a quarter of what it may keep is left
    if slot.wal_status in ("extended", "unreserved") or tight:
        return Check("slot", "warning", f"{said} ({slot.wal_status}).", "Let a flow read it, or drop it.")
    return Check("slot", "ok", f"{said}.")


def _probe(at: _At) -> list[Check]:
    stream = ReplicationConnection.connect(at.wanted.dsn, "rowtide doctor")
    try:
        stream.identify()
    finally:
        stream.close()
    # A slot is made only after all transactions open now have ended: say so rather than wait.
    name = f"rowtide_probe_{os.getpid()}"
    with contextlib.closing(open_source(at.wanted.dsn, "rowtide doctor")) as probe:
        try:
            probe.execute("SET statement_timeout = '3s'")
            probe.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput', true)", [name])
        except psycopg.errors.QueryCanceled:
            remedy = "End long-running transactions (pg_stat_activity.xact_start) before `rowtide apply`."
            return [Check("probe", "warning", "Creating a slot has to wait for transactions that are open.", remedy)]
    return [Check("probe", "ok", "A replication connection and a temporary slot could be made.")]


def _retention_limit(at: _At) -> list[Check]:
    (limit,) = _one(at.conn, "SELECT current_setting('max_slot_wal_keep_size')")
    if limit == "-1":
        remedy = "Set max_slot_wal_keep_size to what the disk can bear; Rowtide heals a slot lost to it."
        return [
            Check("wal_limit", "warning", "WAL kept for slots has no limit: an abandoned slot fills the disk.", remedy)
        ]
    return [Check("wal_limit", "ok", f"Slots keep at most {limit} of WAL.")]


def _standby(at: _At) -> list[Check]:
    (recovering,) = _one(at.conn, "SELECT pg_is_in_recovery()")
    if not recovering:
        return []
    slot = slots.show_slot(at.conn, at.wanted.slot)
    if slot is None or not slot.synced:
        return [Check("standby", "failure", "This server is a standby.", "Name the primary in the DSN.")]
    if slot.temporary or slot.lost:
        remedy = "Let the flow run, or run SELECT pg_log_standby_snapshot() on the primary."
        return [Check("standby", "warning", "The synced slot would not survive a failover yet.", remedy)]
    return [Check("standby", "ok", "The synced slot would survive a failover.")]


def _heartbeat(at: _At) -> list[Check]:
    (may,) = _one(
        at.conn,
        "SELECT bool_and(has_function_privilege(oid, 'EXECUTE')) FROM pg_proc "
        "WHERE proname = 'pg_logical_emit_message'",
    )
    if may:
        return [Check("heartbeat", "ok", "Heartbeats can be sent.")]
    remedy = "GRANT EXECUTE ON FUNCTION pg_logical_emit_message TO this role."
    return [Check("heartbeat", "failure", "The role may not call pg_logical_emit_message.", remedy)]


_CHECKS: tuple[tuple[str, Callable[[_At], list[Check]]], ...] = (
    ("version", _version),
    ("wal_level", _wal_level),
    ("capacity", _capacity),
    ("role", _role),
    ("publication", _publication),
    ("table", _tables),
    ("slot", _slot),
    ("probe", _probe),
    ("wal_limit", _retention_limit),
    ("standby", _standby),
    ("heartbeat", _heartbeat),
)
