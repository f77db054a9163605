"""Claiming due rows: leases by the database's clock, and what the ledger knows of them.

In: how many rows of which lines. Out: `Work`s. Rules (docs/design.md section 6): of a line the rows go that have been
due the longest; a claim is no larger than a process can hold in memory; no row of a held sync is claimed, even by a
process that has not heard of the hold yet; the claim itself writes down what it may send (`sent`); ledger rows are read
in a *second* statement, because a join that waited for a row could show an older ledger.
"""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from psycopg.rows import args_row
from psycopg.types.json import Jsonb

from rowtide.change import Fields, Operation
from rowtide.deciding.one_side import RowTurn
from rowtide.deciding.records import Desired, Held, ListId, Sent, Standing, Work
from rowtide.position import Position
from rowtide.turns import Line
from state import channels, failpoints, ledger
from state.database import Connection
from state.outbox import one_side
from state.outbox.lines import READ
from state.pg_array import text_array

Lists = Mapping[str, Mapping[str, str]]
"""Sync -> list title -> list id, as the applied definition has them."""


MOST_BYTES: Final = 4 << 20
"""What the values of claimed rows take at most, as stored: each is in memory several times."""


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """Who claims what: at most so many due rows of each line, leased to ``owner`` for ``lease_s``.

    Fewer where they are wide: as many as make up ``most_bytes``, in proportion, and at least one. ``token`` marks the
    leases of this claim and is unique to it.
    """

    rows: Mapping[Line, int]
    owner: str
    token: str
    lease_s: float
    lists: Lists
    most_bytes: int = MOST_BYTES


CLAIM = """
WITH chosen AS MATERIALIZED (
    SELECT c.place, c.bytes, row_number() OVER (PARTITION BY a.line ORDER BY c.due_at)::float8 / a.rows AS turn
      FROM (SELECT * FROM unnest(%(syncs)s::text[], %(waits_for)s::text[], %(priorities)s::smallint[], %(rows)s::int[])
                          WITH ORDINALITY AS u (sync, waits_for, priority, rows, line)
             WHERE NOT EXISTS (SELECT FROM rowtide.sync x WHERE x.sync = u.sync AND x.retired)
               AND NOT EXISTS (SELECT FROM rowtide.hold h
                                WHERE (h.scope, h.object) IN (('all', ''), ('sync', u.sync))) OFFSET 0) AS a
     CROSS JOIN LATERAL (
           SELECT o.ctid AS place, o.due_at,
                  coalesce(octet_length(o.fields::text), 0) + octet_length(o.sent::text)
                  + coalesce((SELECT octet_length(l.base::text) FROM rowtide.ledger l
                               WHERE l.sync = o.sync AND l.key = o.key), 0) AS bytes
             FROM rowtide.outbox o
            WHERE o.sync = a.sync AND o.waits_for = a.waits_for AND o.priority = a.priority AND o.state = 'waiting'
              AND o.due_at <= now() AND (o.lease_until IS NULL OR o.lease_until < now())
            ORDER BY o.due_at LIMIT a.rows FOR UPDATE OF o SKIP LOCKED) AS c
), fitting AS MATERIALIZED (
    SELECT place, bytes, sum(bytes) OVER (ORDER BY turn ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
      FROM chosen
)
UPDATE rowtide.outbox o
   SET lease_token = %(token)s, lease_owner = %(owner)s,
       lease_until = clock_timestamp() + %(lease_s)s * interval '1 second',
       sent = CASE WHEN o.op = 'r' THEN o.sent ELSE
                   o.sent || jsonb_build_object('token', %(token)s::text, 'op', o.op, 'fields', o.fields,
                       'list_id', %(lists)s::jsonb -> o.sync ->> o.target, 'at', clock_timestamp()) END
 WHERE o.ctid = ANY (ARRAY(SELECT place FROM fitting WHERE coalesce(before, 0) < %(most_bytes)s))
RETURNING o.sync, o.key, o.op, o.target, %(lists)s::jsonb -> o.sync ->> o.target AS list_id, o.fields, o.partial,
          o.era, o.lsn, o.ordinal, o.xid, o.mapping_version, o.revision, o.lease_until, o.priority, o.attempts,
          o.committed_at, coalesce(o.out_since, o.committed_at) AS out_since, o.sent, o.approved, o.read_revision,
          (SELECT sum(bytes) FROM fitting WHERE coalesce(before, 0) < %(most_bytes)s)::bigint AS all_bytes,
          (SELECT count(*) FROM chosen) AS found
"""
"""Leases due rows and writes down what each may send; one that is only read from its source sends nothing.

One look-up per line goes through the index straight to its oldest due rows. Whoever has one of them locked is not
waited for. The rows are gone back to by their place, because joined by key they may cost a scan of everything; one that
has moved since the statement began is left for the next claim.
"""

LEDGER = f"""
SELECT {ledger.COLUMNS}
  FROM unnest(%s::text[], %s::text[]) AS n (sync, key)
  JOIN rowtide.ledger l ON l.sync = n.sync AND l.key = n.key
"""
"""Reads the ledger rows of two lists, syncs and keys, element by element."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim took; ``size_bytes`` of all its rows; ``is_cut``: more were there, but they would have been too
    large. ``deletes``: by sync the deletions of existing items that nobody has approved.
    """

    works: list[Work]
    size_bytes: int = 0
    is_cut: bool = False
    deletes: Mapping[str, int] = field(default_factory=dict)


def claim(conn: Connection, request: ClaimRequest) -> Claimed:
    """Lease due rows; first come those of the highest class, and of these the row that was out of sync the longest."""
    lines = list(request.rows)
    lists = {line.sync: dict(request.lists.get(line.sync, {})) for line in lines}
    parameters = {
        "syncs": text_array([line.sync for line in lines]), "waits_for": text_array([line.waits_for for line in lines]),
        "priorities": [line.priority for line in lines], "rows": list(request.rows.values()), "owner": request.owner,
        "token": request.token, "lease_s": request.lease_s, "lists": Jsonb(lists),
        "most_bytes": request.most_bytes,
    }  # fmt: skip
    # Rows that are only to be read from their source are not written by this claim.
    cursors = one_side.read_cursors(conn, sorted({line.sync for line in lines if line.waits_for != READ}))
    with conn.transaction() if cursors else nullcontext():
        # By position: naming each column of each row costs more than reading it.
        with conn.cursor(row_factory=args_row(Leased)) as cursor:
            rows = cursor.execute(CLAIM, parameters).fetchall()
        turns = one_side.judge(conn, cursors, [_locked(row, request.token) for row in rows]) if cursors else {}
        one_side.hand_back(conn, request.token, turns)
    failpoints.hit(failpoints.CLAIM_AFTER_LEASE)
    if not rows:
        return Claimed([])
    is_cut = len(rows) < rows[0].found
    rows = [row for row in rows if turns.get((row.sync, row.key), RowTurn.GO) in (RowTurn.GO, RowTurn.LOOK)]
    if not rows:
        return Claimed([], is_cut=is_cut)
    names = [text_array([row.sync for row in rows]), text_array([row.key for row in rows])]
    with conn.cursor(row_factory=args_row(ledger.Stored)) as cursor:
        pairs = {(one.sync, one.key): ledger.to_pair(one) for one in cursor.execute(LEDGER, names)}
    rows.sort(key=lambda row: (row.priority, row.out_since))
    looks = {place for place, turn in turns.items() if turn is RowTurn.LOOK}
    works = [
        Work(_desired(row, request.token), pairs.get((row.sync, row.key)), (row.sync, row.key) in looks) for row in rows
    ]
    deletes = Counter(
        row.sync
        for row, work in zip(rows, works, strict=True)
        if row.op == "d" and row.target is None and not row.approved
        if isinstance(work.pair, Held) and work.pair.standing is Standing.LIVE
    )
    return Claimed(works, rows[0].all_bytes, is_cut, deletes)


def _locked(row: "Leased", token: str) -> one_side.LockedRow:
    uncertain = any(one["token"] != token for one in row.sent)
    return one_side.LockedRow(row.sync, row.key, uncertain, row.read_revision == row.revision)


class Leased(NamedTuple):
    """A row that `CLAIM` returns, in its order."""

    sync: str
    key: str
    op: Operation
    target: str | None
    list_id: ListId | None
    fields: Fields | None
    partial: bool
    era: int
    lsn: int
    ordinal: int
    xid: int
    mapping_version: int
    revision: int
    lease_until: datetime
    priority: int
    attempts: int
    committed_at: datetime
    out_since: datetime
    sent: Sequence[Mapping[str, Any]]
    approved: bool
    read_revision: int | None
    all_bytes: int
    found: int


def _desired(row: Leased, token: str) -> Desired:
    return Desired(
        sync=row.sync,
        key=row.key,
        op=row.op,
        target=row.target,
        list_id=row.list_id,
        fields=row.fields or {},
        partial=row.partial,
        position=Position(row.era, row.lsn, row.ordinal),
        xid=row.xid,
        mapping_version=row.mapping_version,
        revision=row.revision,
        token=token,
        lease_until=row.lease_until,
        priority=row.priority,
        attempts=row.attempts,
        committed_at=row.committed_at,
        sent=tuple(_sent(one) for one in row.sent if one["token"] != token),
    )


def _sent(stored: Mapping[str, Any]) -> Sent:
    at = datetime.fromisoformat(stored["at"])
    list_id = None if stored["list_id"] is None else ListId(stored["list_id"])
    return Sent(stored["token"], stored["op"], list_id, stored["fields"] or {}, at)


VOID = "UPDATE rowtide.outbox SET lease_token = NULL, lease_owner = NULL, lease_until = NULL WHERE lease_owner = %s"
"""Gives up the leases of an owner; what its claims may have sent stays written down."""

VOID_OTHERS = """
UPDATE rowtide.outbox SET lease_token = NULL, lease_owner = NULL, lease_until = NULL
 WHERE lease_owner IS NOT NULL AND starts_with(lease_owner, %s || '/') AND lease_owner IS DISTINCT FROM %s
"""
"""The same for each life of a process but one (null: for all)."""


def new_owner(process: str) -> str:
    """Who owns the leases that the process of this name takes in this life; no other life has the same owner."""
    return f"{process}/{uuid.uuid4().hex[:12]}"


def void_leases(conn: Connection, owner: str) -> int:
    """Give up every lease of ``owner``, who sends and applies nothing any more; rows and entries are due at once."""
    entries = conn.execute(VOID.replace("outbox", "inbox"), [owner]).rowcount
    return _said(conn, conn.execute(VOID, [owner]).rowcount, entries)


def void_leases_of_others(conn: Connection, process: str, owner: str | None) -> int:
    """The same for all lives of the process of this name but that of ``owner`` (None: for all)."""
    entries = conn.execute(VOID_OTHERS.replace("outbox", "inbox"), [process, owner]).rowcount
    return _said(conn, conn.execute(VOID_OTHERS, [process, owner]).rowcount, entries)


def _said(conn: Connection, rows: int, entries: int) -> int:
    if rows:
        channels.notify(conn, channels.DUE)
    if entries:
        channels.notify(conn, channels.PULL)
    return rows + entries


TAKE_BACK = """
UPDATE rowtide.outbox o
   SET lease_token = NULL, lease_owner = NULL, lease_until = NULL,
       sent = (SELECT coalesce(jsonb_agg(e ORDER BY i), '[]'::jsonb)
                 FROM jsonb_array_elements(o.sent) WITH ORDINALITY AS t (e, i) WHERE e ->> 'token' <> o.lease_token)
 WHERE o.lease_owner = %s AND o.lease_token = ANY (%s)
"""
"""Undoes claims of an owner of which nothing was sent, and what they wrote down."""


def take_back(conn: Connection, owner: str, tokens: Sequence[str]) -> int:
    """Undo claims of ``owner`` that the database may have made although its answer never came; nothing was sent."""
    return conn.execute(TAKE_BACK, [owner, list(tokens)]).rowcount
