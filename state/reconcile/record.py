"""The record of each sync's reconcile: who wants it, how far it is, what it found.

In: requests (capture on TRUNCATE, the command line, flows.reconcile itself), and a pass's steps with what they read.
Out: `Reconcile` records; rows in the outbox (state.reconcile.backfill). Rules: a step's rows and how far it got are one
transaction, so that a pass goes on exactly where it was killed; each save is fenced by the claim's number, so that a
process which lost the pass can no longer stage what it read.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta

import orjson
import psycopg
import structlog
from psycopg import errors
from psycopg.rows import class_row

from rowtide.change import BACKFILL
from rowtide.error_catalogue import row_errors, state_errors
from rowtide.holds import CREATES, DELETES, HeldDeletes, Place
from rowtide.keys import shortened
from rowtide.log_row import LogRow
from rowtide.reconcile import Coverage
from state import channels, failpoints, holds, runs
from state.database import Connection
from state.outbox import PAIRS, SAMPLE
from state.reconcile import backfill, items
from state.reconcile.backfill import Differences, Ground, Line

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reconcile:
    """A row of table ``reconcile``.

    ``after_key``: the last key of the present phase (columns of the source's key, or one row key). ``opening_xid``:
    what was read while a transaction below it was under way is read again (``unread``, up to ``unread_until``; None:
    to the end); ``read_again``: that has been done. ``mark_lsn``: where the source's WAL stood when the
    pass began; nothing is read until the cursor is there. ``enumerates``: this pass reads the lists too; ``deep``: the
    next one is to. ``waits``: one sentence why the pass stands still.
    """

    sync: str
    state: str
    why: str
    deep: bool
    enumerates: bool
    asked: int
    serves: int
    requested_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    run_id: int | None
    claim: int
    owner: str | None
    era: int | None
    mapping_version: int | None
    mark_lsn: int | None
    phase: str | None
    after_key: list[str] | None
    opening_xid: int
    lowest_xmin: int | None
    unread: bool
    unread_until: list[str] | None
    read_again: bool
    estimate: int
    counts: Mapping[str, int]
    waits: str | None
    updated_at: datetime

    @property
    def covered(self) -> Coverage | None:
        """What the last begun pass covers; None when there was none."""
        if self.era is None or self.mapping_version is None:
            return None
        return Coverage(self.era, self.mapping_version)

    @property
    def asks_before(self) -> datetime | None:
        """The source is also asked for waiting rows that were staged before this moment; None: for all of them.

        Rows that vanished without a change of their own (a TRUNCATE, a detached partition) still wait. A second
        reading does not meet rows that vanished after the first, so then rows of this pass are asked for as well.
        """
        return None if self.read_again else self.started_at

    def counting(self, **more: int) -> "Reconcile":
        """The record with these counts added."""
        return replace(self, counts={**self.counts, **{name: self.counts.get(name, 0) + n for name, n in more.items()}})


@dataclass(frozen=True, slots=True)
class SyncStanding:
    """What decides whether a sync may be reconciled now.

    ``since_lsn`` None: capture has not noted yet from where the era's stream is whole. ``cursor_lsn``: up to where the
    slot is staged; None: the slot is not read in the era's incarnation. ``looked_at``: the shape of what the sync
    reads is on record, so that whatever is done to it from now on asks for another pass. ``held``: why it is held back.
    """

    era: int
    since_lsn: int | None
    cursor_lsn: int | None
    looked_at: bool
    held: str | None

    @property
    def captured(self) -> bool:
        """Whether nothing holds the sync, its stream is whole from a known place on, and its shape is watched."""
        stream = self.since_lsn is not None and self.cursor_lsn is not None
        return self.held is None and stream and self.looked_at


def request(conn: Connection, sync: str, why: str, *, deep: bool = False) -> None:
    """Ask for a reconcile; one under way is followed by another."""
    conn.execute(
        """
        INSERT INTO rowtide.reconcile AS r (sync, why, deep) VALUES (%s, %s, %s)
            ON CONFLICT (sync) DO UPDATE
           SET asked = r.asked + 1, why = CASE WHEN r.state = 'wanted' THEN r.why ELSE excluded.why END,
               deep = r.deep OR excluded.deep,
               state = CASE WHEN r.state = 'running' THEN 'running' ELSE 'wanted' END,
               requested_at = CASE WHEN r.state = 'wanted' THEN r.requested_at ELSE excluded.requested_at END
        """,
        [sync, why, deep],
    )
    channels.notify(conn, channels.RECONCILE)


def read_all(conn: Connection) -> dict[str, Reconcile]:
    """Every record by sync."""
    with conn.cursor(row_factory=class_row(Reconcile)) as cursor:
        return {record.sync: record for record in cursor.execute("SELECT * FROM rowtide.reconcile")}


def read(conn: Connection, sync: str) -> Reconcile | None:
    """The record of one sync."""
    with conn.cursor(row_factory=class_row(Reconcile)) as cursor:
        return cursor.execute("SELECT * FROM rowtide.reconcile WHERE sync = %s", [sync]).fetchone()


def read_standing(conn: Connection, place: Place, slot: str) -> SyncStanding:
    """The standing of a sync now."""
    values = {"sync": place.sync, "source": place.postgres, "tenant": place.graph, "slot": slot}
    with conn.cursor(row_factory=class_row(SyncStanding)) as cursor:
        found = cursor.execute(_STANDING, values).fetchone()
    assert found is not None
    return found


_STANDING = f"""
SELECT coalesce(s.era, 0) AS era, s.since_lsn, c.lsn AS cursor_lsn, s.shape IS NOT NULL AS looked_at,
       CASE WHEN s.retired THEN 'The applied definition does not name it any more.'
            ELSE (SELECT h.reason FROM rowtide.hold AS h WHERE {holds.COVERS} AND h.kind <> 'match'
                   ORDER BY h.at LIMIT 1) END AS held
  FROM (SELECT %(sync)s::text AS sync, %(slot)s::text AS slot) AS asked
  LEFT JOIN rowtide.sync AS s ON s.sync = asked.sync
  LEFT JOIN rowtide.slot_cursor AS c
         ON c.slot = asked.slot AND c.slot = s.since_slot AND c.incarnation = s.since_incarnation
"""

_LOCK_NAME = "hashtextextended('rowtide.reconcile:' || %s, 0)"


def take_up(conn: Connection, sync: str, owner: str) -> Reconcile | None:
    """The record, claimed for this connection as long as it lives; None while another process has it."""
    [(locked,)] = conn.execute(f"SELECT pg_try_advisory_lock({_LOCK_NAME})", [sync]).fetchall()
    if not locked:
        return None
    with conn.cursor(row_factory=class_row(Reconcile)) as cursor:
        statement = "UPDATE rowtide.reconcile SET claim = claim + 1, owner = %s WHERE sync = %s RETURNING *"
        record = cursor.execute(statement, [owner, sync]).fetchone()
    if record is None:
        put_down(conn, sync)
    return record


def put_down(conn: Connection, sync: str) -> None:
    """Let other processes take the record up."""
    conn.execute(f"SELECT pg_advisory_unlock({_LOCK_NAME})", [sync])


def begin(conn: Connection, record: Reconcile, coverage: Coverage, estimate: int) -> Reconcile:
    """A new pass of ``record`` from its first phase on; its run is written down. `Reconcile.opening_xid` is not set."""
    with conn.transaction():
        conn.execute("DELETE FROM rowtide.reconcile_absent WHERE sync = %s", [record.sync])
        [(asked, deep)] = conn.execute(_TAKE_REQUEST, {"sync": record.sync}).fetchall()
        enumerates = deep or (record.state == "running" and record.enumerates)
        run_id = runs.start(conn, "reconcile", record.sync, {"why": record.why, "deep": enumerates})
        if record.run_id is not None:
            _end_run(conn, record, "abandoned")
        return save(
            conn,
            replace(
                record,
                state="running",
                enumerates=enumerates,
                serves=asked,
                started_at=_now(conn),
                ended_at=None,
                run_id=run_id,
                era=coverage.era,
                mapping_version=coverage.mapping_version,
                mark_lsn=None,
                phase="mark",
                after_key=None,
                opening_xid=0,
                lowest_xmin=None,
                unread=False,
                unread_until=None,
                read_again=False,
                estimate=estimate,
                counts={},
                waits=None,
            ),
        )


# What was asked for until now is what this pass serves; who asks later asks for another one.
_TAKE_REQUEST = """
UPDATE rowtide.reconcile AS r SET deep = false
  FROM (SELECT sync, asked, deep FROM rowtide.reconcile WHERE sync = %(sync)s FOR UPDATE) AS before
 WHERE r.sync = before.sync
RETURNING before.asked, before.deep
"""

# Requests and claims write these columns; the pass writes all others.
_ASKED = {"sync", "why", "deep", "asked", "requested_at", "claim", "owner", "updated_at"}
_SAVED = tuple(
    field.name
    for field in fields(Reconcile)
    if field.name not in {"sync", "why", "deep", "asked", "requested_at", "claim", "owner", "updated_at"}
)

_SAVE = f"""
UPDATE rowtide.reconcile SET {", ".join(f"{name} = %({name})s" for name in _SAVED)}, updated_at = now()
 WHERE sync = %(sync)s AND claim = %(claim)s
RETURNING *
"""


def save(conn: Connection, record: Reconcile) -> Reconcile:
    """Record how far the pass is; `ReconcileLost` when another process has it by now."""
    values = {name: getattr(record, name) for name in _SAVED}
    values |= {"sync": record.sync, "claim": record.claim, "counts": _json(record.counts)}
    with conn.cursor(row_factory=class_row(Reconcile)) as cursor:
        saved = cursor.execute(_SAVE, values).fetchone()
    if saved is None:
        raise state_errors.RECONCILE_LOST(sync=record.sync)
    return saved


def stage_chunk(conn: Connection, record: Reconcile, ground: Ground, lines: Sequence[Line]) -> Reconcile:
    """Judge the rows, merge what differs and save ``record``, in one transaction."""
    with step(conn):
        found = _merged(conn, ground, lines)
        counted = record.counting(creates=found.creates, updates=found.updates, moves=found.moves, parked=found.parked)
        if found.staged:
            channels.notify(conn, channels.DUE, record.sync)
        saved = save(conn, counted)
    failpoints.hit(failpoints.RECONCILE_AFTER_COMMIT)
    return saved


_REFUSALS = (psycopg.DataError, psycopg.IntegrityError, errors.ProgramLimitExceeded)


def _merged(conn: Connection, ground: Ground, lines: Sequence[Line]) -> Differences:
    """Merge the rows; a row that the database refuses is singled out and parked."""
    try:
        with conn.transaction():
            return backfill.merge(conn, ground, lines)
    except _REFUSALS as error:
        refusal = error.sqlstate or type(error).__name__
    if len(lines) == 1:
        return _parked(conn, ground, backfill.key_of(lines[0]), refusal)
    middle = len(lines) // 2
    return _merged(conn, ground, lines[:middle]).plus(_merged(conn, ground, lines[middle:]))


def _parked(conn: Connection, ground: Ground, key: str, refusal: str) -> Differences:
    """Park a row that the database refuses; under a shortened key where the key is what it cannot hold."""
    hashed = LogRow(ground.sync, key)
    log.warning("row refused by state database", sync=ground.sync, key_hash=hashed, refusal=refusal)
    tries = ((key, row_errors.STATE_REFUSES_ROW), (shortened(key), row_errors.STATE_REFUSES_KEY))
    for name, entry in tries:
        said = entry(refusal=refusal)
        line = backfill.park_line(name, said.code, said.sentence)
        try:
            with conn.transaction():
                return backfill.merge(conn, ground, [line])
        except _REFUSALS as error:
            refusal = error.sqlstate or type(error).__name__
    raise state_errors.STATE_REFUSES_PARKED(refusal=refusal)


def keys_to_ask(conn: Connection, sync: str, before: datetime | None, after: str | None, limit: int) -> list[str]:
    """The next keys whose rows the source is asked for, in key order: of live pairs, and of what waits for an item.

    Rows that a reconcile staged at ``before`` or later are left out (None: they are not).
    """
    # The first of all keys is the empty one; the first behind any other goes on with the lowest character there is.
    first = "" if after is None else f"{after}\x01"
    refused = row_errors.STATE_REFUSES_KEY.code
    values = {
        "sync": sync, "before": before, "first": first, "limit": limit, "backfill": BACKFILL, "refused": refused,
    }  # fmt: skip
    return [key for (key,) in conn.execute(_KEYS_TO_ASK, values)]


# The waiting rows are looked for no farther than the page of live pairs goes: a million of them may wait. A shortened
# key is none of the source's.
_KEYS_TO_ASK = """
WITH live AS MATERIALIZED (
     SELECT key FROM rowtide.ledger
      WHERE sync = %(sync)s AND key >= %(first)s AND state = 'live' ORDER BY key LIMIT %(limit)s),
     page AS (SELECT CASE WHEN count(*) = %(limit)s THEN max(key) ELSE repeat(chr(1114111), 4) END AS last FROM live)
SELECT key FROM live
 UNION
(SELECT key FROM rowtide.outbox
  WHERE sync = %(sync)s AND key >= %(first)s AND key <= (SELECT last FROM page) AND op <> 'd'
    AND (%(before)s::timestamptz IS NULL OR priority <> %(backfill)s OR staged_at < %(before)s)
    AND NOT (state = 'parked' AND reason_code = %(refused)s AND key ~ '#[0-9a-f]{64}$')
  ORDER BY key LIMIT %(limit)s)
 ORDER BY key LIMIT %(limit)s
"""


def note_absent(conn: Connection, record: Reconcile, ground: Ground, keys: Sequence[str]) -> Reconcile:
    """Record which of ``keys`` would be deleted, and save ``record``, in one transaction."""
    with step(conn):
        if keys:
            backfill.insert_absent(conn, ground, keys)
        saved = save(conn, record)
    failpoints.hit(failpoints.RECONCILE_AFTER_COMMIT)
    return saved


def count_absent(conn: Connection, sync: str) -> tuple[HeldDeletes, int]:
    """The recorded deletions of items that nobody has approved, and how many rows have an item or wait for one."""
    [(deletes, sample, pairs)] = conn.execute(_COUNT_ABSENT, {"sync": sync, "sample": SAMPLE})
    return HeldDeletes(int(deletes), tuple(sample), None), int(pairs)


# One statement, so that deletions are never more than what they are a share of: items come and go meanwhile.
_COUNT_ABSENT = f"""
WITH absent AS MATERIALIZED (
     SELECT key FROM rowtide.reconcile_absent AS a
      WHERE a.sync = %(sync)s AND NOT a.approved
        AND EXISTS (SELECT FROM rowtide.ledger l WHERE l.sync = a.sync AND l.key = a.key AND l.state = 'live'))
SELECT (SELECT count(*) FROM absent), ARRAY(SELECT key FROM absent ORDER BY key LIMIT %(sample)s), {PAIRS}
"""


def absent_keys(conn: Connection, sync: str, limit: int) -> list[str]:
    """The first keys of the recorded deletions."""
    statement = "SELECT key FROM rowtide.reconcile_absent WHERE sync = %s ORDER BY key LIMIT %s"
    return [key for (key,) in conn.execute(statement, [sync, limit])]


def stage_deletes(
    conn: Connection, record: Reconcile, ground: Ground, asked: Sequence[str], absent: Sequence[str]
) -> Reconcile:
    """Merge deletes of the keys still ``absent``, strike off the keys that were ``asked``, in one transaction."""
    with step(conn):
        found = backfill.merge_absent(conn, ground, absent) if absent else Differences()
        strike = "DELETE FROM rowtide.reconcile_absent WHERE sync = %s AND key = ANY (%s)"
        conn.execute(strike, [record.sync, list(asked)])
        if found.staged:
            channels.notify(conn, channels.DUE, record.sync)
        saved = save(conn, record.counting(deletes=found.deletes))
    failpoints.hit(failpoints.RECONCILE_AFTER_COMMIT)
    return saved


def hold_deletes(conn: Connection, record: Reconcile, code: str, reason: str, held: HeldDeletes) -> Reconcile:
    """Hold the sync because of what the pass has found, and save ``record``: an approval lets exactly that through."""
    with step(conn):
        holds.place(conn, "sync", record.sync, DELETES, code, reason, "breaker", held)
        return save(conn, record)


def hold_missing(
    conn: Connection, record: Reconcile, code: str, reason: str, held: HeldDeletes, lag: timedelta
) -> Reconcile:
    """Hold the sync because of what its lists lack, write down which, and save ``record``."""
    with step(conn):
        items.note_missing(conn, record.sync, lag)
        holds.place(conn, "sync", record.sync, CREATES, code, reason, "breaker", held)
        return save(conn, record)


def forget_absent(conn: Connection, record: Reconcile) -> Reconcile:
    """Strike everything off and save ``record``: the source will be asked again."""
    with step(conn):
        conn.execute("DELETE FROM rowtide.reconcile_absent WHERE sync = %s", [record.sync])
        return save(conn, record)


def finish(conn: Connection, record: Reconcile) -> Reconcile:
    """End the complete pass: it is done, or wanted again when another was asked for meanwhile."""
    with conn.transaction():
        _end_run(conn, record, "done")
        conn.execute("DELETE FROM rowtide.reconcile_absent WHERE sync = %s", [record.sync])
        locked = "SELECT asked FROM rowtide.reconcile WHERE sync = %s FOR UPDATE"
        [(asked,)] = conn.execute(locked, [record.sync]).fetchall()
        state = "done" if asked == record.serves else "wanted"
        failpoints.hit(failpoints.RECONCILE_BEFORE_FINISH)
        ended = replace(record, state=state, phase="done", ended_at=_now(conn), run_id=None, waits=None, unread=False)
        return save(conn, ended)


@contextmanager
def step(conn: Connection) -> Iterator[None]:
    """The transaction of a pass's step: its rows, and how far it got."""
    with conn.transaction():
        # Rows and progress are one transaction and whoever claims a row commits after it, so nothing is lost by not
        # waiting for the disk: after a crash of the server the pass goes on from where the disk has it.
        conn.execute("SET LOCAL synchronous_commit = off")
        yield
        failpoints.hit(failpoints.RECONCILE_BEFORE_COMMIT)


def _end_run(conn: Connection, record: Reconcile, verdict: str) -> None:
    if record.run_id is not None:
        mark = None if record.mark_lsn is None or record.era is None else {"era": record.era, "lsn": record.mark_lsn}
        runs.finish(conn, record.run_id, verdict, record.counts, None if mark is None else {record.sync: mark})


def _now(conn: Connection) -> datetime:
    [(now,)] = conn.execute("SELECT now()").fetchall()
    return now  # type: ignore[no-any-return]


def _json(value: Mapping[str, object]) -> str:
    return orjson.dumps(dict(value)).decode()
