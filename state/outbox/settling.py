"""Settling: what is known of claimed rows goes into the ledger; the rows leave the outbox or wait again.

In: `Outcome`s, `HandOver`s. Out: ledger rows, outbox rows deleted, released or parked; the figures of `state.progress`;
`SettleCounts`. Rules (docs/design.md sections 3 and 6): one transaction, outbox locked before ledger, in key order,
progress last; an outcome whose lease token is no longer the row's writes and counts nothing (the claim that has the row
now finds out by itself); a row is deleted only at the revision that was claimed; positions and versions never fall;
what a claim hands over is in the inbox in the transaction that releases its row, and the inbox is locked first.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, assert_never

import orjson

from rowtide.change import BACKFILL
from rowtide.deciding.inbox import InboxEntry
from rowtide.deciding.outcomes import HandOver, Outcome, ParkRow, Release, Settle
from rowtide.deciding.records import Pair, Work
from state import channels, failpoints, inbox, ledger, progress
from state.database import Connection
from state.pg_array import text_array

LOCK = """
SELECT n.i - 1, o.revision, o.ctid, extract(epoch FROM now())::float8
  FROM (SELECT * FROM unnest(%s::text[], %s::text[], %s::text[]) WITH ORDINALITY AS u (sync, key, token, i)
         ORDER BY sync, key OFFSET 0) n
 CROSS JOIN LATERAL (SELECT o.revision, o.ctid FROM rowtide.outbox o
                      WHERE o.sync = n.sync AND o.key = n.key AND o.lease_token = n.token FOR UPDATE) o
"""

LEDGER = """
INSERT INTO rowtide.ledger AS l (sync, key, list_id, item_id, etag, version, base, kept, mapping_version, era, lsn,
                                 ordinal, xid, state, leftovers)
SELECT sync, key, list_id, item_id, etag, version, base, kept, mapping_version, era, lsn, ordinal, xid, state, leftovers
  FROM jsonb_to_recordset(%s::jsonb) AS n (sync text, key text, list_id text, item_id text, etag text, version bigint,
       base jsonb, kept jsonb, mapping_version int, era bigint, lsn bigint, ordinal int, xid bigint, state text,
       leftovers jsonb)
 ORDER BY sync, key
    ON CONFLICT (sync, key) DO UPDATE
   SET list_id = excluded.list_id, item_id = excluded.item_id, base = excluded.base, kept = excluded.kept,
       etag = CASE WHEN {fell} AND excluded.etag IS NOT NULL THEN l.etag ELSE excluded.etag END,
       version = CASE WHEN {fell} THEN l.version ELSE excluded.version END,
       mapping_version = excluded.mapping_version, state = excluded.state, leftovers = excluded.leftovers,
       era = CASE WHEN {above} THEN l.era ELSE excluded.era END,
       lsn = CASE WHEN {above} THEN l.lsn ELSE excluded.lsn END,
       ordinal = CASE WHEN {above} THEN l.ordinal ELSE excluded.ordinal END,
       xid = CASE WHEN {above} THEN l.xid ELSE excluded.xid END,
       updated_at = now()
""".format(
    fell="(l.list_id, l.item_id) = (excluded.list_id, excluded.item_id) AND l.version > excluded.version",
    above="(l.era, l.lsn, l.ordinal) > (excluded.era, excluded.lsn, excluded.ordinal)",
)

# `LOCK` has the rows, so nobody moves them: their places are the shortest way back to them.
LEAVE = f"""
WITH gone AS (DELETE FROM rowtide.outbox WHERE ctid = ANY (%(gone)s::tid[]))
{progress.ADD}
"""

MOST_WAIT_S: Final = 300
"""Seconds that a row waits at most whose waits grow."""

# `emptied`: everything sent is explained, so what the row still waits with came after its claim. Otherwise only this
# claim's own entry goes (`own`), or nothing; of attempts that would have done the same the newest stands for all. A row
# that merged since (`newer`) keeps what it has become. A delete
# has no list before its pair is read: here it learns the one that it waits for (`list_id`).
KEEP = f"""
UPDATE rowtide.outbox o
   SET lease_token = NULL, lease_owner = NULL, lease_until = NULL,
       due_at = CASE WHEN n.after_s > 0 THEN clock_timestamp() + interval '1 second' *
                          CASE WHEN n.grows AND NOT n.newer
                               THEN least({MOST_WAIT_S}, n.after_s * 2 ^ least(o.tries, 16))
                               ELSE n.after_s END
                     ELSE least(o.due_at, clock_timestamp()) END,
       out_since = CASE WHEN NOT n.emptied THEN o.out_since
                        ELSE least((SELECT max((e ->> 'at')::timestamptz) FROM jsonb_array_elements(o.sent) AS e
                                     WHERE e ->> 'token' = o.lease_token),
                                   CASE WHEN n.newer THEN o.committed_at END) END,
       tries = CASE WHEN n.emptied THEN 0 WHEN n.grows THEN o.tries + 1 ELSE o.tries END,
       attempts = CASE WHEN n.newer THEN o.attempts WHEN n.emptied THEN 0 ELSE o.attempts + n.blame END,
       op = CASE WHEN n.reread THEN 'r' ELSE o.op END,
       target = CASE WHEN n.reread THEN NULL
                     WHEN n.list_id IS NOT NULL AND o.op = 'd' AND NOT n.newer
                     THEN coalesce((SELECT title FROM rowtide.list WHERE id = n.list_id AND sync = o.sync), o.target)
                     ELSE o.target END,
       fields = CASE WHEN n.reread THEN NULL ELSE o.fields END, partial = o.partial AND NOT n.reread,
       state = CASE WHEN n.newer THEN o.state ELSE n.state END,
       reason_code = CASE WHEN n.newer THEN o.reason_code ELSE n.reason_code END,
       reason = CASE WHEN n.newer THEN o.reason ELSE n.reason END,
       hold = CASE WHEN n.newer THEN o.hold ELSE n.hold END,
       sent = CASE WHEN n.emptied THEN '[]'::jsonb
                   WHEN n.own THEN (SELECT coalesce(jsonb_agg(e ORDER BY i), '[]'::jsonb)
                                      FROM jsonb_array_elements(o.sent) WITH ORDINALITY AS t (e, i)
                                     WHERE e ->> 'token' <> o.lease_token)
                   WHEN jsonb_array_length(o.sent) > 1 THEN
                        (SELECT coalesce(jsonb_agg(e ORDER BY i), '[]'::jsonb)
                           FROM (SELECT DISTINCT ON (e - 'token' - 'at') e, i
                                   FROM jsonb_array_elements(o.sent) WITH ORDINALITY AS t (e, i)
                                  ORDER BY e - 'token' - 'at', i DESC) AS newest)
                   ELSE o.sent END
  FROM jsonb_to_recordset(%s::jsonb) AS n (place tid, after_s float8, blame int, state text, hold boolean,
       reason_code text, reason text, emptied boolean, own boolean, newer boolean, reread boolean, grows boolean,
       list_id text)
 WHERE o.ctid = n.place
"""

_LOCK_ENTRIES = """
SELECT FROM rowtide.inbox AS i JOIN unnest(%s::text[], %s::text[]) AS n (list_id, item_id)
    ON (i.list_id, i.item_id) = (n.list_id, n.item_id)
 ORDER BY i.list_id, i.item_id FOR UPDATE OF i
"""

HELD = frozenset({"ping_pong", "manual_conflict"})
"""Codes of rows that wait for a person even when a newer value comes; such a value is still merged in."""


@dataclass(frozen=True, slots=True)
class SettleCounts:
    """What a settle did, by sync; ``stale`` counts outcomes whose lease had passed to another claim."""

    by_sync: Mapping[str, progress.Counts] = field(default_factory=dict)
    stale: int = 0


def settle(conn: Connection, outcomes: Sequence[Outcome]) -> SettleCounts:
    """Record ``outcomes`` in one transaction; they are durable and counted when it returns."""
    if not outcomes:
        return SettleCounts()
    handed = [one.entry for one in outcomes if isinstance(one, HandOver) and one.entry is not None]
    with conn.transaction():
        if handed:
            conn.execute(_LOCK_ENTRIES, [[one.list_id for one in handed], [one.item_id for one in handed]])
        owned, now_s = _lock(conn, [outcome.work for outcome in outcomes])
        if handed:
            _hand_over(conn, [outcomes[i] for i in owned])
        pairs = [_ledger_row(outcomes[i].work, pair) for i in sorted(owned) if (pair := outcomes[i].pair) is not None]
        if pairs:
            conn.execute(LEDGER, [_json(pairs)])
        gone, kept = [], []
        for i, row in owned.items():
            columns = _kept_columns(outcomes[i], row)
            if columns is None:
                gone.append(row.place)
            else:
                kept.append(columns)
        if kept:
            conn.execute(KEEP, [_json(kept)])
            waiting = {outcomes[i].work.desired.sync for i in owned}
            channels.notify(conn, channels.DUE, channels.to_payload(waiting))
        counts = _count((outcomes[i] for i in owned), now_s)
        conn.execute(LEAVE, {"gone": text_array(gone), **progress.to_parameters(counts)})
        failpoints.hit(failpoints.SETTLE_BEFORE_COMMIT)
    failpoints.hit(failpoints.SETTLE_AFTER_COMMIT)
    if any(row["leftovers"] for row in pairs):
        failpoints.hit(failpoints.MOVE_BEFORE_DELETE)
    return SettleCounts(counts, len(outcomes) - len(owned))


def _hand_over(conn: Connection, outcomes: Iterable[Outcome]) -> None:
    """Put what claims hand over into the inbox."""
    shown: dict[str, list[inbox.Shown]] = defaultdict(list)
    for outcome in outcomes:
        if isinstance(outcome, HandOver) and outcome.entry is not None:
            shown[outcome.work.desired.sync].append(_shown(outcome.entry))
    for sync in sorted(shown):
        inbox.put(conn, sync, shown[sync], told=False)


def _shown(entry: InboxEntry) -> inbox.Shown:
    editor = entry.editor
    return inbox.Shown(
        entry.list_id, entry.item_id, entry.version, entry.etag, entry.deleted, entry.fields, entry.item_key,
        entry.by_app, entry.made_by_app, None if editor is None else editor.name,
        None if editor is None else editor.email, entry.modified_at,
    )  # fmt: skip


class _Owned(NamedTuple):
    """A locked row of the outbox; its place is its ctid."""

    revision: int
    place: str


def _lock(conn: Connection, works: Sequence[Work]) -> tuple[dict[int, _Owned], float]:
    """Index -> row of those works whose lease is still theirs, now locked; and the database's time since 1970."""
    desired = [work.desired for work in works]
    texts = ([one.sync for one in desired], [one.key for one in desired], [one.token for one in desired])
    names = [text_array(one) for one in texts]
    rows = conn.execute(LOCK, names).fetchall()
    return {i: _Owned(revision, place) for i, revision, place, _ in rows}, rows[0][3] if rows else 0.0


def _kept_columns(outcome: Outcome, owned: _Owned) -> dict[str, Any] | None:
    """The row's new columns while it waits on; None when it leaves the outbox."""
    newer = owned.revision != outcome.work.desired.revision
    row: dict[str, Any] = {
        "place": owned.place, "after_s": 0.0, "blame": 0, "state": "waiting", "reason_code": None, "reason": None,
        "hold": False, "emptied": False, "own": True, "newer": newer, "reread": False, "grows": False,
        "list_id": None,
    }  # fmt: skip
    match outcome:
        case Settle(pair=pair, again=again):
            if not (newer or again or pair.leftovers):
                return None
            row |= {"emptied": True}
        case HandOver():
            row |= {"emptied": True}
        case Release(
            after_s=after_s, unknown=unknown, blame=blame, reason=reason, reread=reread, grows=grows, list_id=list_id
        ):
            # A newer value does not wait because an older one failed.
            wait_s = 0.0 if newer and blame else after_s
            row |= {
                "after_s": wait_s,
                "blame": int(blame),
                "reason": reason or None,
                "own": not unknown,
                "grows": grows,
                "list_id": list_id,
            }
            row["reread"] = reread and not newer
        case ParkRow(code=code, sentence=sentence, unknown=unknown):
            row |= {"state": "parked", "reason_code": code, "reason": sentence, "hold": code in HELD, "blame": 1}
            row["own"] = not unknown
        case _:
            assert_never(outcome)
    return row


def _count(outcomes: Iterable[Outcome], now_s: float) -> dict[str, progress.Counts]:
    """What these applied outcomes did for each sync; ``now_s``: the database's seconds since 1970."""
    by_sync: dict[str, progress.Counts] = defaultdict(progress.Counts)
    for outcome in outcomes:
        desired = outcome.work.desired
        counts = by_sync[desired.sync]
        match outcome:
            case Settle(writes=writes, again=again, foreign_edit=foreign_edit):
                counts.delivered += not again
                counts.writes += writes
                counts.suppressed += not (writes or again)
                counts.foreign_edits += foreign_edit
                if not again:
                    latencies_s = counts.bulk_latencies_s if desired.priority == BACKFILL else counts.latencies_s
                    latencies_s.append(now_s - desired.committed_at.timestamp())
            case HandOver():
                counts.foreign_edits += outcome.entry is not None
                counts.released += 1
            case Release():
                counts.released += 1
            case ParkRow():
                counts.parked += 1
            case _:
                assert_never(outcome)
    return dict(by_sync)


def _ledger_row(work: Work, pair: Pair) -> dict[str, Any]:
    return ledger.to_stored(work.desired.sync, work.desired.key, pair)


_COMPLETE = """
UPDATE rowtide.outbox o
   SET op = n.op, target = n.target, fields = n.fields, partial = false, mapping_version = n.mapping_version,
       read_revision = o.revision
  FROM jsonb_to_recordset(%s::jsonb) AS n (sync text, key text, revision bigint, op text, target text, fields json,
       mapping_version int)
 WHERE o.sync = n.sync AND o.key = n.key AND o.revision = n.revision
"""


def complete(conn: Connection, works: Sequence[Work]) -> None:
    """Write back rows that were read anew, and release them; the next claim delivers what they say now."""
    with conn.transaction():
        owned, _ = _lock(conn, works)
        desired = [works[i].desired for i in owned]
        rows = [
            {
                "sync": one.sync, "key": one.key, "revision": one.revision, "op": one.op, "target": one.target,
                "fields": one.fields if one.op == "u" else None, "mapping_version": one.mapping_version,
            }
            for one in desired
        ]  # fmt: skip
        # First of all: a row that was written is in another place.
        released = (_kept_columns(Release(works[i], 0.0, unknown=False), row) for i, row in owned.items())
        conn.execute(KEEP, [_json(list(released))])
        conn.execute(_COMPLETE, [_json(rows)])
        channels.notify(conn, channels.DUE, channels.to_payload({one.sync for one in desired}))


def _json(rows: Sequence[Mapping[str, Any] | None]) -> str:
    return orjson.dumps(rows).decode()
