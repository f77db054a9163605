"""Makes, lists, measures and drops publications and logical slots.

In: an SQL connection to the source. Out: `Slot` values; DDL carried out, or its text. Rules (docs/facts.md section 12):
the publication exists before the slot (WAL from before its creation can never be decoded for it: an error up to
PostgreSQL 17, silent loss from 18); nothing is taken out of a publication; a slot in use is dropped only by force.
Columns of pg_replication_slots differ from 14 to 18, so a row is read as JSON, in which a column that the version lacks
is absent.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from connectors.postgres.connections import as_source_errors
from rowtide import table_name
from rowtide.backoff import Backoff
from rowtide.error_catalogue import source_errors
from rowtide.errors import SourceRefused, SourceUnavailable
from rowtide.position import lsn_from_text

PLUGIN: Final = "pgoutput"

_WAL_END = "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END"

_SLOTS = f"""
SELECT to_jsonb(s) AS slot, ({_WAL_END})::text AS wal_end, current_database() AS here
FROM pg_replication_slots s WHERE s.slot_type = 'logical'
"""

Table = tuple[str, str]
"""(schema, table)"""


@dataclass(frozen=True, slots=True)
class Slot:
    """A logical slot. ``lag_bytes``: WAL not yet confirmed; ``retained_bytes``: WAL it keeps on disk."""

    name: str
    plugin: str
    database: str
    active_pid: int | None
    confirmed_lsn: int
    restart_lsn: int | None
    wal_status: str | None
    safe_wal_size: int | None
    lag_bytes: int
    retained_bytes: int
    failover: bool
    synced: bool
    temporary: bool
    two_phase: bool
    invalidation_reason: str | None
    conflicting: bool

    @property
    def lost(self) -> bool:
        """Whether the slot can never be read again."""
        return self.wal_status == "lost" or self.invalidation_reason is not None or self.conflicting

    @property
    def why_lost(self) -> str:
        """The server's word for why the slot is lost."""
        return self.invalidation_reason or ("conflicting" if self.conflicting else "wal_removed")


def _slot(row: dict[str, Any], wal_end_text: str) -> Slot:
    wal_end = lsn_from_text(wal_end_text)
    # A slot that lost its WAL has no restart_lsn; one still being created has no confirmed LSN.
    confirmed = lsn_from_text(row.get("confirmed_flush_lsn") or "0/0")
    restart = lsn_from_text(row["restart_lsn"]) if row.get("restart_lsn") else None
    return Slot(
        name=row["slot_name"],
        plugin=row["plugin"],
        database=row["database"],
        active_pid=row.get("active_pid"),
        confirmed_lsn=confirmed,
        restart_lsn=restart,
        wal_status=row.get("wal_status"),
        safe_wal_size=row.get("safe_wal_size"),
        lag_bytes=max(0, wal_end - confirmed),
        retained_bytes=max(0, wal_end - restart) if restart is not None else 0,
        failover=bool(row.get("failover")),
        synced=bool(row.get("synced")),
        temporary=bool(row.get("temporary")),
        two_phase=bool(row.get("two_phase")),
        invalidation_reason=row.get("invalidation_reason"),
        conflicting=bool(row.get("conflicting")),
    )


def list_slots(conn: psycopg.Connection) -> list[Slot]:
    """All logical slots of the server, of every database, by name."""
    with as_source_errors("reading pg_replication_slots"):
        rows = conn.execute(_SLOTS + "ORDER BY s.slot_name").fetchall()
    return [_slot(row, wal_end) for row, wal_end, _ in rows]


def show_slot(conn: psycopg.Connection, name: str) -> Slot | None:
    """The slot, None when there is none of that name.

    The statement holds the name as a literal: a walsender connection takes no parameters.
    """
    condition = sql.SQL("AND s.slot_name = {}").format(sql.Literal(name))
    with as_source_errors("reading pg_replication_slots"):
        row = conn.execute(sql.SQL(_SLOTS) + condition).fetchone()
    return None if row is None else _slot(row[0], row[1])


def slot_lag(conn: psycopg.Connection, name: str) -> Slot | None:
    """What `status` and metrics ask of a slot: lag, retained WAL, wal_status, safe_wal_size, active pid."""
    return show_slot(conn, name)


def publication_oid(conn: psycopg.Connection, name: str) -> int | None:
    """The publication's oid; None when it does not exist. A recreated one has another."""
    query = sql.SQL("SELECT oid::text FROM pg_publication WHERE pubname = {}").format(sql.Literal(name))
    with as_source_errors("reading pg_publication"):
        row = conn.execute(query).fetchone()
    return None if row is None else int(row[0])


def publication_statements(conn: psycopg.Connection, name: str, tables: Sequence[Table]) -> list[str]:
    """The DDL that is still needed for Rowtide's publication of ``tables``; empty when none is."""
    publication = sql.Identifier(name)
    listed = sql.SQL(", ").join(sql.Identifier(*table) for table in tables)
    with as_source_errors("reading pg_publication"):
        row = conn.execute(
            "SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate, pubviaroot, puballtables "
            "FROM pg_publication WHERE pubname = %s",
            [name],
        ).fetchone()
        if row is None:
            create = sql.SQL("CREATE PUBLICATION {}").format(publication)
            if tables:
                create += sql.SQL(" FOR TABLE {}").format(listed)
            return [(create + sql.SQL(" WITH (publish_via_partition_root = true)")).as_string(conn)]
        statements = []
        all_actions, via_root, _ = row
        if not all_actions:
            statements.append(
                sql.SQL("ALTER PUBLICATION {} SET (publish = 'insert, update, delete, truncate')").format(publication)
            )
        if not via_root and any(_partitioned(conn, table) for table in tables):
            statements.append(
                sql.SQL("ALTER PUBLICATION {} SET (publish_via_partition_root = true)").format(publication)
            )
        missing = unpublished(conn, name, tables)
    if missing:
        added = sql.SQL(", ").join(sql.Identifier(*table) for table in missing)
        statements.append(sql.SQL("ALTER PUBLICATION {} ADD TABLE {}").format(publication, added))
    return [statement.as_string(conn) for statement in statements]


def unpublished(conn: psycopg.Connection, name: str, tables: Sequence[Table]) -> list[Table]:
    """Those of ``tables`` that the publication does not carry; all of them when there is none."""
    with as_source_errors("reading what the publication carries"):
        published = set(
            conn.execute(
                "SELECT schemaname::text, tablename::text FROM pg_publication_tables WHERE pubname = %s", [name]
            ).fetchall()
        )
        # A publication that carries the leaves of a partitioned table does not name the table itself.
        roots = set(
            conn.execute(
                "SELECT n.nspname::text, c.relname::text FROM pg_publication_rel r "
                "JOIN pg_publication p ON p.oid = r.prpubid JOIN pg_class c ON c.oid = r.prrelid "
                "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = %s",
                [name],
            ).fetchall()
        )
    return [table for table in tables if tuple(table) not in published | roots]


def ensure_publication(conn: psycopg.Connection, name: str, tables: Sequence[Table]) -> list[str]:
    """Make the publication carry ``tables``; the SQL that was run.

    Refuses a table without replica identity: once it is published, PostgreSQL would refuse the application's own
    UPDATEs and DELETEs on it.
    """
    for table in tables:
        _require_identity(conn, table)
    statements = publication_statements(conn, name, tables)
    for statement in statements:
        with as_source_errors(f"running {statement}"):
            conn.execute(statement)
    return statements


def slot_statement(name: str, failover: bool = False) -> str:
    """The SQL a DBA runs to create the slot (after the publication)."""
    more = sql.SQL(", false, false, true" if failover else "")
    statement = sql.SQL("SELECT pg_create_logical_replication_slot({}, {}{})")
    return statement.format(sql.Literal(name), sql.Literal(PLUGIN), more).as_string()


def ensure_slot(conn: psycopg.Connection, name: str, publication: str, failover: bool = False) -> tuple[Slot, bool]:
    """The slot, and whether it was made now. That waits for the transactions that are open at this moment."""
    if publication_oid(conn, publication) is None:
        raise publication_missing(publication)
    slot = show_slot(conn, name)
    if slot is not None:
        require_usable(conn, slot)
        return slot, False
    if failover and conn.info.server_version < 170000:
        raise source_errors.FAILOVER_SLOTS()
    with as_source_errors(f"creating the slot {name}"):
        conn.execute(slot_statement(name, failover))
    if failover:
        _log_standby_snapshot(conn)
    slot = show_slot(conn, name)
    if slot is None:
        raise source_errors.SLOT_DISAPPEARED(slot=name)
    return slot, True


def drop_slot(conn: psycopg.Connection, name: str, force: bool = False, wait_s: float = 5.0) -> bool:
    """Drop the slot; True if there was one. A slot in use is refused, or with ``force`` its reader is ended first."""
    slot = show_slot(conn, name)
    if slot is None:
        return False
    if slot.active_pid is not None:
        if not force:
            raise slot_active(conn, slot)
        with as_source_errors(f"ending the reader of the slot {name}"):
            conn.execute("SELECT pg_terminate_backend(%s)", [slot.active_pid])
    deadline, backoff = time.monotonic() + wait_s, Backoff()
    while True:
        try:
            with as_source_errors(f"dropping the slot {name}"):
                conn.execute("SELECT pg_drop_replication_slot(%s)", [name])
            return True
        except SourceUnavailable as error:
            # The ended reader lets go of the slot a moment later.
            if not force or time.monotonic() > deadline:
                raise
            time.sleep(backoff.failed(error))


def require_usable(conn: psycopg.Connection, slot: Slot) -> None:
    """SourceRefused when the slot is not one that Rowtide can read from this database."""
    with as_source_errors("reading the database's name"):
        row = conn.execute("SELECT current_database()::text").fetchone()
    here = row[0] if row else ""
    if slot.database != here:
        raise source_errors.SLOT_DATABASE(slot=slot.name, database=slot.database, here=here)
    if slot.plugin != PLUGIN:
        raise source_errors.SLOT_PLUGIN(slot=slot.name, plugin=slot.plugin, wanted=PLUGIN)
    if slot.temporary and not slot.synced:
        raise source_errors.SLOT_TEMPORARY(slot=slot.name)


def slot_active(conn: psycopg.Connection, slot: Slot) -> SourceUnavailable:
    """The error that tells who holds the slot."""
    name, host = walsender(conn, slot.active_pid or 0)
    who = f" ({name or 'unnamed'} from {host or 'this host'})" if name is not None else ""
    return source_errors.SLOT_ACTIVE(slot=slot.name, pid=slot.active_pid, who=who)


def walsender(conn: psycopg.Connection, pid: int) -> tuple[str | None, str | None]:
    """The application's name and the host that a walsender sends to; the name is None when it is gone.

    Anybody may see the name; only a member of pg_read_all_stats sees the host.
    """
    query = sql.SQL("SELECT application_name::text, client_addr::text FROM pg_stat_replication WHERE pid = {}")
    with as_source_errors("reading pg_stat_replication"):
        row = conn.execute(query.format(sql.Literal(pid))).fetchone()
    return (row[0] or "", row[1]) if row else (None, None)


def publication_missing(name: str) -> SourceRefused:
    """The error for a publication that is not there."""
    return source_errors.PUBLICATION_MISSING(publication=name)


def _partitioned(conn: psycopg.Connection, table: Table) -> bool:
    query, name = "SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass(%s)", sql.Identifier(*table)
    row = conn.execute(query, [name.as_string(conn)]).fetchone()
    return bool(row and row[0])


def _require_identity(conn: psycopg.Connection, table: Table) -> None:
    with as_source_errors(f"reading the replica identity of {table_name.to_text(*table)}"):
        row = conn.execute(
            "SELECT c.relreplident::text, EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary) "
            "FROM pg_class c WHERE c.oid = to_regclass(%s)",
            [sql.Identifier(*table).as_string(conn)],
        ).fetchone()
    if row is None:
        raise source_errors.TABLE_MISSING(table=table_name.to_text(*table))
    identity, has_primary_key = row
    if identity == "n" or (identity == "d" and not has_primary_key):
        raise source_errors.NO_REPLICA_IDENTITY(table=table_name.to_text(*table))


def _log_standby_snapshot(conn: psycopg.Connection) -> None:
    # Without it a synced slot on the standby stays temporary for up to a minute, and a failover would drop it. Only a
    # superuser may call it unless granted; without the right the heartbeats do the same, later.
    try:
        conn.execute("SELECT pg_log_standby_snapshot()")
    except psycopg.errors.InsufficientPrivilege:
        return
    except psycopg.Error as error:
        raise source_errors.STANDBY_SNAPSHOT() from error
