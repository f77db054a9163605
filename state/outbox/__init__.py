"""The outbox: what is to be delivered, one row for each synced key.

In: changes (`stage`), looks at what waits (`survey`), claims (`claim`), outcomes (`settle`, `complete`), a person's
word about parked rows. Out: work, counts. Rule: every transaction locks outbox rows before ledger rows, in key order;
the parts are in state.outbox.staging, state.outbox.lines, state.outbox.claims and state.outbox.settling.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from rowtide.change import Fields
from rowtide.holds import HeldDeletes
from rowtide.position import Position
from state import channels
from state.database import Connection
from state.outbox.claims import MOST_BYTES as MOST_BYTES
from state.outbox.claims import Claimed as Claimed
from state.outbox.claims import ClaimRequest as ClaimRequest
from state.outbox.claims import claim as claim
from state.outbox.claims import new_owner as new_owner
from state.outbox.claims import take_back as take_back
from state.outbox.claims import void_leases as void_leases
from state.outbox.claims import void_leases_of_others as void_leases_of_others
from state.outbox.lines import READ as READ
from state.outbox.lines import REMOVAL as REMOVAL
from state.outbox.lines import survey as survey
from state.outbox.lines import title_of as title_of
from state.outbox.lines import waits_for as waits_for
from state.outbox.settling import SettleCounts as SettleCounts
from state.outbox.settling import complete as complete
from state.outbox.settling import settle as settle
from state.outbox.staging import StageCounts as StageCounts
from state.outbox.staging import stage as stage


@dataclass(frozen=True, slots=True)
class Waiting:
    """How much of one sync waits. ``in_flight`` are leased; ``oldest``: since when a row has been out of sync.

    ``postponed`` wait for another attempt, most of them because of ``why``.
    """

    sync: str
    waiting: int
    in_flight: int
    parked: int
    oldest: datetime | None
    postponed: int = 0
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Parked:
    """A row set aside, and why."""

    sync: str
    key: str
    op: str
    reason_code: str | None
    reason: str | None
    attempts: int
    lsn: int
    committed_at: datetime
    staged_at: datetime


def waiting(conn: Connection) -> dict[str, Waiting]:
    """Counts of every sync that has rows in the outbox."""
    query = """
        SELECT sync, count(*) FILTER (WHERE state = 'waiting') AS waiting,
               count(*) FILTER (WHERE state = 'waiting' AND lease_until > now()) AS in_flight,
               count(*) FILTER (WHERE state = 'parked') AS parked,
               least(min(coalesce(out_since, committed_at)) FILTER (WHERE state = 'waiting'), now()) AS oldest,
               count(*) FILTER (WHERE {later}) AS postponed,
               mode() WITHIN GROUP (ORDER BY reason) FILTER (WHERE {later}) AS why
          FROM rowtide.outbox GROUP BY sync
    """.format(later="state = 'waiting' AND reason IS NOT NULL AND due_at > now()")
    with conn.cursor(row_factory=class_row(Waiting)) as cursor:
        return {row.sync: row for row in cursor.execute(query)}


# As an expression and not as a join: one look-up by key for each row, whatever sizes the planner believes in. Those of
# an hour ago had it compare each of a hundred thousand deletions with every pair of the sync.
_IS_LIVE = "(SELECT l.state = 'live' FROM rowtide.ledger l WHERE l.sync = o.sync AND l.key = o.key)"

FEW_DELETES = 1_000
"""So many deletions of a sync are looked at before a claim of them: some milliseconds."""

FEW_WAITING_DELETES = f"""
SELECT s.sync, d.looked_at, d.waiting
  FROM unnest(%s::text[]) AS s (sync)
 CROSS JOIN LATERAL (
       SELECT count(*) AS looked_at,
              count(*) FILTER (WHERE one.state = 'waiting' AND NOT one.approved AND one.is_live) AS waiting
         FROM (SELECT o.state, o.approved, {_IS_LIVE} AS is_live
                 FROM rowtide.outbox o WHERE o.sync = s.sync AND o.op = 'd' LIMIT %s) AS one) AS d
"""


def few_waiting_deletes(conn: Connection, syncs: Collection[str]) -> dict[str, int | None]:
    """Per sync, how many deletions of existing items wait without approval; None where more wait than one looks at."""
    rows = conn.execute(FEW_WAITING_DELETES, [list(syncs), FEW_DELETES])
    return {sync: waiting if looked_at < FEW_DELETES else None for sync, looked_at, waiting in rows}


PAIRS = f"""(SELECT count(*) FROM rowtide.ledger WHERE sync = %(sync)s AND state = 'live')
     + (SELECT count(*) FROM rowtide.outbox o WHERE o.sync = %(sync)s AND o.op <> 'd' AND {_IS_LIVE} IS NOT TRUE)
"""
"""How many rows of the sync have an item or wait for one: the breaker judges deletions as a share of these."""

SAMPLE = 5
"""Of so many held deletions the keys are shown."""

_DELETES_AND_PAIRS = f"""
WITH deletes AS MATERIALIZED (
     SELECT o.key, o.era, o.lsn, o.ordinal FROM rowtide.outbox o
      WHERE o.op = 'd' AND o.state = 'waiting' AND NOT o.approved AND o.sync = %(sync)s AND {_IS_LIVE}),
     last AS (SELECT era, lsn, ordinal FROM deletes ORDER BY era DESC, lsn DESC, ordinal DESC LIMIT 1)
SELECT (SELECT count(*) FROM deletes), ARRAY(SELECT key FROM deletes ORDER BY key LIMIT %(sample)s),
       (SELECT ARRAY[era, lsn, ordinal] FROM last), {PAIRS}
"""


def count_deletes_and_pairs(conn: Connection, sync: str) -> tuple[HeldDeletes, int]:
    """Deletions of existing items that wait without approval, and the rows they are a share of, at one moment."""
    values = {"sync": sync, "sample": SAMPLE}
    [(count, sample, upto, pairs)] = conn.execute(_DELETES_AND_PAIRS, values).fetchall()
    return HeldDeletes(int(count), tuple(sample), None if upto is None else Position(*upto)), int(pairs)


_POSTPONE = """
WITH later AS MATERIALIZED (
     SELECT key FROM rowtide.outbox
      WHERE sync = %(sync)s AND op = 'd' AND state = 'waiting' AND NOT approved AND due_at <= now()
        AND EXISTS (SELECT FROM rowtide.outbox WHERE sync = %(sync)s AND op = 'd' AND state = 'waiting' AND approved)
      ORDER BY key FOR UPDATE)
UPDATE rowtide.outbox AS o SET due_at = now() + interval '1 minute' FROM later
 WHERE o.sync = %(sync)s AND o.key = later.key
"""


def go_on_with_approved(conn: Connection, sync: str) -> bool:
    """Whether approved deletions wait; if so, the others are not due for a minute, so that these go first."""
    with conn.transaction():
        conn.execute(_POSTPONE, {"sync": sync})
        query = "SELECT FROM rowtide.outbox WHERE sync = %s AND op = 'd' AND state = 'waiting' AND approved LIMIT 1"
        return conn.execute(query, [sync]).fetchone() is not None


_MAKE_DUE = """
WITH early AS MATERIALIZED (
     SELECT key FROM rowtide.outbox
      WHERE sync = %(sync)s AND state = 'waiting' AND due_at > now() AND lease_token IS NULL
        AND (%(other_than)s::int IS NULL OR mapping_version <> %(other_than)s)
      ORDER BY key FOR UPDATE)
UPDATE rowtide.outbox AS o SET due_at = now(), tries = 0 FROM early WHERE o.sync = %(sync)s AND o.key = early.key
"""


def make_due(conn: Connection, sync: str, other_than: int | None = None) -> int:
    """Make the sync's waiting rows due now, or only those of another mapping version; how many were not."""
    return conn.execute(_MAKE_DUE, {"sync": sync, "other_than": other_than}).rowcount


_PARKED = "sync, key, op, reason_code, reason, attempts, lsn, committed_at, staged_at"


def parked(conn: Connection, sync: str | None = None, limit: int = 1000) -> list[Parked]:
    """Parked rows, the longest waiting first."""
    query = f"""
        SELECT {_PARKED} FROM rowtide.outbox
         WHERE state = 'parked' AND (%(sync)s::text IS NULL OR sync = %(sync)s) ORDER BY staged_at LIMIT %(limit)s
    """
    with conn.cursor(row_factory=class_row(Parked)) as cursor:
        return cursor.execute(query, {"sync": sync, "limit": limit}).fetchall()


def parked_fields(conn: Connection, sync: str, key: str) -> tuple[str | None, Fields | None] | None:
    """List title and fields of a parked row; None when the row is not parked."""
    query = "SELECT target, fields FROM rowtide.outbox WHERE sync = %s AND key = %s AND state = 'parked'"
    row = conn.execute(query, [sync, key]).fetchone()
    return None if row is None else (row[0], row[1])


_ANEW = "op = 'r', target = NULL, fields = NULL, partial = false, revision = revision + 1"


def retry_parked(conn: Connection, sync: str, keys: Sequence[str] | None = None) -> int:
    """Have parked rows (of these keys, or all of the sync) read anew from the source and tried again at once."""
    count = conn.execute(
        f"""
        UPDATE rowtide.outbox
           SET state = 'waiting', reason_code = NULL, reason = NULL, hold = false, attempts = 0, tries = 0,
               due_at = now(), {_ANEW}
         WHERE sync = %(sync)s AND state = 'parked' AND (%(keys)s::text[] IS NULL OR key = ANY (%(keys)s))
        """,
        {"sync": sync, "keys": None if keys is None else list(keys)},
    ).rowcount
    channels.notify(conn, channels.DUE, sync)
    return count


def read_anew(conn: Connection, sync: str, keys: Sequence[str]) -> None:
    """Have these waiting rows, which the caller has locked, read from the source before anything is decided."""
    if keys:
        query = f"UPDATE rowtide.outbox SET {_ANEW} WHERE sync = %s AND key = ANY (%s) AND state = 'waiting'"
        conn.execute(query, [sync, list(keys)])


def discard_parked(conn: Connection, sync: str, keys: Sequence[str]) -> int:
    """Forget parked rows: nothing is delivered for them until their rows change again or a reconcile finds them."""
    return conn.execute(
        "DELETE FROM rowtide.outbox WHERE sync = %s AND state = 'parked' AND key = ANY (%s)", [sync, list(keys)]
    ).rowcount
