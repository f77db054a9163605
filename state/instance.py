"""Which installation these records are of, and whether they may be older than the world: table ``instance``.

In: the server and the database on which the records are found. Out: the installation's id; where they are another's,
new eras and a deep reconcile of every sync. Rules (docs/design.md section 2): the row notes where it was written;
another system id, timeline or database, or a row that a restore has written, says that the records were restored,
copied or failed over, and nobody can tell what happened since they were current. Waiting rows are read anew then,
because their values may be as old.
"""

from dataclasses import dataclass
from typing import Final

import structlog
from psycopg.rows import class_row

from rowtide.error_catalogue import status_reasons
from rowtide.holds import REFUSED
from state import channels, cursors, holds, row_hashes
from state.database import Connection
from state.reconcile import record

log = structlog.get_logger()

RESTORED: Final = "the state database was restored, copied or failed over"


@dataclass(frozen=True, slots=True)
class Instance:
    """The row of ``instance``: the installation's id, where the row was written, and the ids it had before."""

    id: str
    system_id: str
    timeline: int
    database_oid: int
    written_xid: int
    former: list[str]


@dataclass(frozen=True, slots=True)
class _Look:
    """The server and database as they are; ``row_xid`` wrote the row that is there now (None: there is no row)."""

    system_id: str
    timeline: int
    database_oid: int
    row_xid: int | None

    def why_not_of(self, noted: Instance) -> str:
        """Why ``noted`` was written elsewhere; empty when it was written here."""
        if self.system_id != noted.system_id:
            return f"the server is {self.system_id}, no longer {noted.system_id}"
        if self.database_oid != noted.database_oid or self.row_xid != noted.written_xid:
            return "the database was made from a copy"
        if self.timeline != noted.timeline:
            return f"the server is on timeline {self.timeline}, no longer {noted.timeline}"
        return ""


# A logical restore writes the row with a transaction of its own, into whichever database.
_LOOK = """
SELECT s.system_identifier::text AS system_id,
       ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int AS timeline,
       (SELECT oid::bigint FROM pg_database WHERE datname = current_database()) AS database_oid,
       (SELECT xmin::text::bigint FROM rowtide.instance) AS row_xid
  FROM pg_control_system() AS s
"""

_NOTE = """
INSERT INTO rowtide.instance AS i (id, system_id, timeline, database_oid, written_xid)
VALUES (gen_random_uuid()::text, %(system_id)s, %(timeline)s, %(database_oid)s,
        pg_current_xact_id()::text::bigint & 4294967295)
    ON CONFLICT (one) DO UPDATE
   SET id = CASE WHEN i.system_id = excluded.system_id AND i.database_oid = excluded.database_oid
                      AND i.written_xid = %(row_xid)s THEN i.id ELSE excluded.id END,
       former = CASE WHEN i.system_id = excluded.system_id AND i.database_oid = excluded.database_oid
                          AND i.written_xid = %(row_xid)s THEN i.former ELSE i.former || i.id END,
       system_id = excluded.system_id, timeline = excluded.timeline, database_oid = excluded.database_oid,
       written_xid = excluded.written_xid
"""

_READ_ANEW = """
UPDATE rowtide.outbox
   SET op = 'r', target = NULL, fields = NULL, partial = false, approved = false, revision = revision + 1,
       lease_token = NULL, lease_owner = NULL, lease_until = NULL
 WHERE state = 'waiting'
"""


_WITH_LISTS = """
SELECT s.sync FROM rowtide.sync AS s
 WHERE NOT s.retired AND EXISTS (SELECT FROM rowtide.list AS l WHERE l.sync = s.sync AND l.state = 'applied')
 ORDER BY s.sync COLLATE "C"
"""


def read(conn: Connection) -> Instance | None:
    """The row; None before the first process or `apply` has noted it."""
    with conn.cursor(row_factory=class_row(Instance)) as cursor:
        query = "SELECT id, system_id, timeline, database_oid, written_xid, former FROM rowtide.instance"
        found = cursor.execute(query).fetchone()
    if found is not None:
        row_hashes.learn(found.id)
    return found


def require(conn: Connection) -> Instance:
    """The row, noted now if there is none."""
    while (found := read(conn)) is None:
        confirm(conn)
    return found


def confirm(conn: Connection) -> str:
    """Note where the records are; why they may be older than the world, empty when they are where they were.

    In the latter case it costs one query. Otherwise every sync begins a new era, with a deep reconcile, as soon as
    capture routes it, and the installation has another id, unless only the timeline is new.
    """
    if _why_elsewhere(conn) == "":
        return ""
    with conn.transaction():
        conn.execute("LOCK TABLE rowtide.instance IN SHARE ROW EXCLUSIVE MODE")
        why, look, noted = _why_elsewhere(conn), _look(conn), read(conn)
        if why != "":
            values = {"system_id": look.system_id, "timeline": look.timeline, "database_oid": look.database_oid}
            conn.execute(_NOTE, {**values, "row_xid": look.row_xid})
        if why:
            _suspect(conn, f"{RESTORED}: {why}")
            if noted is not None and require(conn).id != noted.id:
                _hold_lists(conn)
    if why:
        log.warning("records may be old, every sync is reconciled with its lists", why=why)
    return why or ""


def known(conn: Connection) -> str:
    """The installation's id; empty before the first note, and where the records are found elsewhere."""
    noted = read(conn)
    return noted.id if noted is not None and not _look(conn).why_not_of(noted) else ""


def _why_elsewhere(conn: Connection) -> str | None:
    """Empty: the records are where they were noted; None: nobody has noted anything yet."""
    noted = read(conn)
    return None if noted is None else _look(conn).why_not_of(noted)


def _look(conn: Connection) -> _Look:
    with conn.cursor(row_factory=class_row(_Look)) as cursor:
        found = cursor.execute(_LOOK).fetchone()
    assert found is not None
    return found


def went_back(conn: Connection, slot: str) -> None:
    """A heartbeat of the installation is newer than its records: an older copy was put in their place.

    They are suspect as after any other restore. The original cannot be at work, so the installation keeps its id.
    """
    why = f"a heartbeat of slot {slot} is newer than the records"
    with conn.transaction():
        _suspect(conn, f"{RESTORED}: {why}")
    log.warning("records may be old, every sync is reconciled with its lists", why=why)


def count_heartbeat(conn: Connection, slot: str, incarnation: int, instance: str, known: int) -> int | None:
    """The number of the next heartbeat (`cursors.count_heartbeat`), where the one before is ``known``.

    Records that do not know it are suspect.
    """
    with conn.transaction():
        found = cursors.count_heartbeat(conn, slot, incarnation, instance)
        if found is not None and found.before < known:
            went_back(conn, slot)
    return None if found is None else found.number


def suspect_all(conn: Connection, why: str) -> None:
    """Ask for a deep reconcile of every sync: what the records say of the lists may be older than the lists."""
    for (sync,) in conn.execute('SELECT sync FROM rowtide.sync WHERE NOT retired ORDER BY sync COLLATE "C"').fetchall():
        record.request(conn, sync, why, deep=True)


def _hold_lists(conn: Connection) -> None:
    """Deliver nothing: the lists carry another installation's mark, which may be at work there."""
    why = status_reasons.LISTS_UNPROVEN()
    for (sync,) in conn.execute(_WITH_LISTS).fetchall():
        holds.place(conn, "sync", sync, REFUSED, why.code, why.sentence, "deliver")


def _suspect(conn: Connection, why: str) -> None:
    """Nothing that was captured, staged or waits here is believed any more."""
    # Slot before syncs before outbox, as everywhere.
    conn.execute('SELECT FROM rowtide.slot_cursor ORDER BY slot COLLATE "C" FOR UPDATE')
    # Heartbeats that are in the WAL already say nothing new.
    conn.execute(f"UPDATE rowtide.slot_cursor SET heartbeat = greatest(heartbeat, {cursors.CLOCK_US})")
    conn.execute('SELECT FROM rowtide.sync ORDER BY sync COLLATE "C" FOR UPDATE')
    conn.execute(
        "UPDATE rowtide.sync SET since_slot = NULL, since_incarnation = NULL, since_lsn = NULL, shape = NULL"
        " WHERE since_slot IS NOT NULL"
    )
    conn.execute(_READ_ANEW)
    suspect_all(conn, why)
    channels.notify(conn, channels.CONTROL)
