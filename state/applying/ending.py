"""How entries end: what was applied goes into the ledger, conflicts are noted, entries go or wait.

In: a `Lease` and the core's `PullEnd` of it. Out: ledger, conflicts, inbox and outbox as it says. Rules (docs/design.md
section 3): one transaction, inbox before outbox before ledger; an end whose lease is no longer the entry's writes
nothing, nor does one whose pair moved meanwhile (the source has recorded what was done, and the next try finds it); an
entry goes only at the revision that was taken; positions and versions never fall.
"""

from dataclasses import replace
from typing import Final, NamedTuple, assert_never

import orjson
from psycopg import errors
from psycopg.types.json import Jsonb

from rowtide.change import INTERACTIVE, Fields
from rowtide.deciding.conflicts import UNKNOWN_TIMES, ConflictRecord, Times
from rowtide.deciding.pull_steps import Drop, GoTo, HoldOpen, Later, ListRestored, ParkEntry, PullEnd, WaitForCapture
from rowtide.deciding.recorded import Recorded
from rowtide.deciding.records import ETag, Pair, PairedItem
from rowtide.deciding.whose import reserved_pair
from state import channels, conflicts, failpoints, ledger
from state.applying.taking import BUSY_AFTER_S, Lease, is_uncertain, lock_rows, look_up
from state.database import Connection
from state.outbox import settling
from state.pulled import to_document

MOST_WAIT_S: Final = 300
"""Seconds that an entry waits at most whose waits grow."""
CAPTURE_AFTER_S: Final = 1.0
"""Seconds until it is looked whether capture has passed what was read of the source, first of all."""
RESTORED_AFTER_S: Final = 60.0
"""Seconds that an entry of a list waits that was found to be restored; by then it is read anew."""

_LOCK = """
SELECT revision FROM rowtide.inbox WHERE (list_id, item_id) = (%s, %s) AND lease_token = %s FOR UPDATE
"""


class Told(NamedTuple):
    """What was written into the status field of an entry's item, and what the item is since."""

    version: int
    etag: ETag
    fields: Fields


def _lock(conn: Connection, lease: Lease) -> int | None:
    """The revision of the entry, which is locked now; None: the lease is another's."""
    shown = lease.shown
    row = conn.execute(_LOCK, [shown.list_id, shown.item_id, lease.token]).fetchone()
    return None if row is None else int(row[0])


# --- a key is reserved --------------------------------------------------------------------------------------------


def reserve(conn: Connection, lease: Lease, key: str, item: PairedItem, mapping_version: int) -> Lease | None:
    """Note ``key`` in the entry and make it an arriving pair with ``item``, unless the key has an item.

    The lease with all that is known of the key now; None while the key's outbox row is leased or uncertain, another
    entry of it is in hand, or the lease is another's. For a row that the table gives its key, this comes between the
    INSERT and the commit.
    """
    with conn.transaction():
        if _lock(conn, lease) is None:
            return None
        row = lock_rows(conn, lease.sync, [key]).get(key)
        if row is not None and row.leased:
            return None
        known = look_up(conn, replace(lease, key=key), row)
        if known is None or (row is not None and is_uncertain(row, known.pair)):
            return None
        pair = reserved_pair(known.pair, item, mapping_version)
        if pair is not None:
            _write_pair(conn, lease.sync, key, pair)
            known = look_up(conn, known, row)
        note = "UPDATE rowtide.inbox SET key = %s WHERE (list_id, item_id) = (%s, %s)"
        conn.execute(note, [key, lease.shown.list_id, lease.shown.item_id])
    return known


def _write_pair(conn: Connection, sync: str, key: str, pair: Pair) -> None:
    conn.execute(settling.LEDGER, [orjson.dumps([ledger.to_stored(sync, key, pair)]).decode()])


# --- an entry ends ------------------------------------------------------------------------------------------------


def record_end(
    conn: Connection,
    lease: Lease,
    end: PullEnd,
    absent_lsn: int | None = None,
    committed: bool = False,
    times: Times = UNKNOWN_TIMES,
    told: Told | None = None,
) -> bool:
    """Record how an entry ended, in one transaction; False: the lease is another's, or the pair moved meanwhile.

    ``absent_lsn``: for `WaitForCapture`, the source's insert LSN as read after the row was found absent.
    ``committed``: the source holds what this try, or one before it, did for the entry; then a pair that was reserved
    for it stays, also when it is parked. ``times``: when both sides were changed, for the record of conflicts.
    ``told``: an entry that is set aside is of the item as it is since.
    """
    try:
        with conn.transaction():
            done = _settle(conn, lease, end, absent_lsn, committed, times)
            if told is not None and isinstance(end, ParkEntry | HoldOpen):
                _note_told(conn, lease, told)
            failpoints.hit(failpoints.ENTRY_BEFORE_COMMIT)
    except errors.UniqueViolation:
        # The item became another row's in this moment: what was decided is decided anew.
        done = False
        with conn.transaction():
            if _lock(conn, lease) is not None:
                _wait(conn, lease, BUSY_AFTER_S, "its item is another row's", grows=True)
    failpoints.hit(failpoints.ENTRY_AFTER_COMMIT)
    return done


def _settle(
    conn: Connection, lease: Lease, end: PullEnd, absent_lsn: int | None, committed: bool, times: Times
) -> bool:
    revision = _lock(conn, lease)
    if revision is None:
        return False
    newer = revision != lease.revision
    match end:
        case Recorded():
            return _record(conn, lease, end, newer, times)
        case Drop():
            _note_conflicts(conn, lease, lease.key, (), times)
            _leave(conn, lease, lease.key, newer)
        case _ if newer:
            _wait(conn, lease, 0.0)
        case Later(_, after_s, reason, grows):
            _wait(conn, lease, after_s, reason, grows)
        case WaitForCapture():
            _wait(conn, lease, CAPTURE_AFTER_S, "what the source said is still to be captured", absent_lsn=absent_lsn)
        case GoTo(_, key):
            _wait(conn, replace(lease, key=key), 0.0)
        case ListRestored():
            _wait(conn, lease, RESTORED_AFTER_S, "its list was restored to an earlier state")
        case ParkEntry(_, code, sentence):
            if not committed:
                _release_key(conn, lease)
            _set_aside(conn, lease, "parked", code, sentence)
        case HoldOpen(_, conflict):
            _note_conflicts(conn, lease, lease.key, (conflict,), times)
            _set_aside(conn, lease, "conflict", f"{conflict.kind.name.lower()}", conflict.kind.value)
        case _:
            assert_never(end)
    return True


def _note_conflicts(
    conn: Connection, lease: Lease, key: str | None, found: tuple[ConflictRecord, ...], times: Times
) -> None:
    item = (lease.shown.list_id, lease.shown.item_id)
    conflicts.record(conn, lease.sync, key, item, found, lease.shown.editor_name, times)


# --- it was applied, or says nothing new --------------------------------------------------------------------------

# The newest apply counts: of an older era than the one on record there is none.
_APPLIED = """
UPDATE rowtide.ledger
   SET applied_era = %(era)s, applied_lsn = %(lsn)s, pulled = coalesce(%(pulled)s, pulled),
       pulled_era = CASE WHEN %(pulled)s::jsonb IS NULL THEN pulled_era ELSE %(era)s END
 WHERE sync = %(sync)s AND key = %(key)s AND %(lsn)s::bigint IS NOT NULL
   AND (applied_era IS NULL OR (applied_era, applied_lsn) <= (%(era)s, %(lsn)s::bigint))
"""

# A refresh: whatever the row is now is compared with what was agreed. A change that waits may name a part of it only. A
# new era's pass may have come before this pair was a row's: what was committed in the era before it says nothing of the
# row as it is now.
_REREAD = """
INSERT INTO rowtide.outbox AS o (sync, key, op, partial, mapping_version, era, lsn, ordinal, xid, committed_at,
                                 priority)
SELECT l.sync, l.key, 'r', false, l.mapping_version, l.era, l.lsn, l.ordinal, l.xid, now(), %(priority)s
  FROM rowtide.ledger AS l JOIN rowtide.sync AS s ON s.sync = l.sync
 WHERE l.sync = %(sync)s AND l.key = %(key)s AND (%(reread)s OR s.era > %(era)s)
    ON CONFLICT (sync, key) DO UPDATE
   SET op = 'r', target = NULL, fields = NULL, partial = false, read_revision = NULL
 WHERE %(reread)s AND o.op = 'u' AND o.partial AND o.lease_token IS NULL
"""


def _record(conn: Connection, lease: Lease, end: Recorded, newer: bool, times: Times) -> bool:
    key = end.key if end.key is not None else lease.key
    if key is not None:
        lock_rows(conn, lease.sync, [key])
        if end.pair is not None and not _stands(conn, lease, key):
            _wait(conn, lease, 0.0)
            return False
        if end.pair is not None:
            _write_pair(conn, lease.sync, key, end.pair)
        pulled = None if end.pulled is None else Jsonb(to_document(end.pulled))
        values = {"sync": lease.sync, "key": key, "era": lease.era, "lsn": end.applied_lsn, "pulled": pulled}
        conn.execute(_APPLIED, values)
        if end.reread or end.applied_lsn is not None:
            conn.execute(_REREAD, values | {"priority": INTERACTIVE, "reread": end.reread})
    _note_conflicts(conn, lease, key, end.conflicts, times)
    _leave(conn, lease, key, newer)
    return True


def _stands(conn: Connection, lease: Lease, key: str) -> bool:
    """Whether the pair is as it was when the entry was taken; nobody moves it until the transaction ends."""
    query = "SELECT updated_at FROM rowtide.ledger WHERE sync = %s AND key = %s FOR UPDATE"
    row = conn.execute(query, [lease.sync, key]).fetchone()
    return (None if row is None else row[0]) == (lease.pair_at if key == lease.key else None)


_GO = "DELETE FROM rowtide.inbox WHERE (list_id, item_id) = (%s, %s)"

# What was read of the row before is not what it is now.
_WAKE = """
UPDATE rowtide.outbox
   SET read_revision = NULL, due_at = least(due_at, now()), tries = 0,
       reason = CASE WHEN state = 'waiting' THEN NULL ELSE reason END
 WHERE sync = %s AND key = %s AND lease_token IS NULL
"""


def _leave(conn: Connection, lease: Lease, key: str | None, newer: bool) -> None:
    """The entry goes, or is due again if a newer one has taken its place; the row that waited for it goes on."""
    if newer:
        _wait(conn, lease, 0.0)
        return
    conn.execute(_GO, [lease.shown.list_id, lease.shown.item_id])
    if key is not None:
        conn.execute(_WAKE, [lease.sync, key])
        channels.notify(conn, channels.DUE, lease.sync)


# --- it waits, or is set aside ------------------------------------------------------------------------------------

_WAIT = f"""
UPDATE rowtide.inbox
   SET lease_token = NULL, lease_owner = NULL, lease_until = NULL, key = coalesce(%(key)s, key),
       due_at = CASE WHEN %(after_s)s > 0 THEN clock_timestamp() + interval '1 second' *
                          CASE WHEN %(grows)s THEN least({MOST_WAIT_S}, %(after_s)s * 2 ^ least(tries, 16))
                               ELSE %(after_s)s END
                     ELSE least(due_at, clock_timestamp()) END,
       tries = CASE WHEN %(grows)s THEN tries + 1 ELSE tries END, sentence = %(sentence)s,
       absent_era = CASE WHEN %(absent_lsn)s::bigint IS NULL THEN absent_era ELSE %(era)s END,
       absent_lsn = coalesce(%(absent_lsn)s, absent_lsn)
 WHERE (list_id, item_id) = (%(list_id)s, %(item_id)s)
"""


def _wait(
    conn: Connection,
    lease: Lease,
    after_s: float,
    sentence: str | None = None,
    grows: bool = False,
    absent_lsn: int | None = None,
) -> None:
    values = {
        "list_id": lease.shown.list_id, "item_id": lease.shown.item_id, "key": lease.key, "after_s": float(after_s),
        "sentence": sentence, "grows": grows, "absent_lsn": absent_lsn, "era": lease.era,
    }  # fmt: skip
    conn.execute(_WAIT, values)
    if after_s <= 0:
        channels.notify(conn, channels.PULL, lease.sync)


_SET_ASIDE = """
UPDATE rowtide.inbox
   SET lease_token = NULL, lease_owner = NULL, lease_until = NULL, state = %(state)s, code = %(code)s,
       sentence = %(sentence)s, attempts = attempts + 1, key = coalesce(%(key)s, key), due_at = now()
 WHERE (list_id, item_id) = (%(list_id)s, %(item_id)s)
"""


def _set_aside(conn: Connection, lease: Lease, state: str, code: str, sentence: str) -> None:
    values = {
        "list_id": lease.shown.list_id, "item_id": lease.shown.item_id, "key": lease.key, "state": state,
        "code": code, "sentence": sentence,
    }  # fmt: skip
    conn.execute(_SET_ASIDE, values)


# The list shows this version with our name; it is the person's edit all the same, and no news.
_TOLD = """
UPDATE rowtide.inbox SET version = %(version)s, etag = %(etag)s, fields = fields || %(fields)s::jsonb
 WHERE (list_id, item_id) = (%(list_id)s, %(item_id)s) AND revision = %(revision)s AND version < %(version)s
"""


def _note_told(conn: Connection, lease: Lease, told: Told) -> None:
    values = {
        "list_id": lease.shown.list_id, "item_id": lease.shown.item_id, "revision": lease.revision,
        "version": told.version, "etag": told.etag, "fields": Jsonb(told.fields),
    }  # fmt: skip
    conn.execute(_TOLD, values)


# What the key was before it was reserved: unknown, or a tombstone.
_FORGET = """
DELETE FROM rowtide.ledger
 WHERE sync = %(sync)s AND key = %(key)s AND state = 'arriving' AND (list_id, item_id) = (%(list_id)s, %(item_id)s)
   AND (era, lsn, ordinal) = (0, 0, 0) AND leftovers = '[]'::jsonb
"""
_BURY = """
UPDATE rowtide.ledger
   SET state = 'tombstone', list_id = NULL, item_id = NULL, etag = NULL, version = 0, updated_at = now()
 WHERE sync = %(sync)s AND key = %(key)s AND state = 'arriving' AND (list_id, item_id) = (%(list_id)s, %(item_id)s)
"""


def _release_key(conn: Connection, lease: Lease) -> None:
    """Take back what `reserve` wrote."""
    if lease.key is not None:
        lock_rows(conn, lease.sync, [lease.key])
        values = {
            "sync": lease.sync, "key": lease.key, "list_id": lease.shown.list_id, "item_id": lease.shown.item_id,
        }  # fmt: skip
        conn.execute(_FORGET, values)
        conn.execute(_BURY, values)
