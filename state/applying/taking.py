"""Taking entries: leases by the database's clock, and what the records know of their rows.

In: how many of which sync. Out: `Lease`s. Rules (docs/design.md section 3): the entries are locked, then the outbox
rows of their pairs, and only then is read what is known; of a pair whose outbox row is leased or uncertain no entry is
taken, nor a second one of a row; no entry of a held sync is taken.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from psycopg.rows import args_row, dict_row

from rowtide.change import BACKFILL
from rowtide.deciding.conflicts import UNKNOWN_TIMES, Choice, Times
from rowtide.deciding.inbox import InboxEntry
from rowtide.deciding.leftovers import unexplained_post
from rowtide.deciding.pulled import Pulled
from rowtide.deciding.records import LeftItem, Pair
from rowtide.deciding.taken import Applied, Taken, WaitingRow, place
from rowtide.keys import digest_named_by, key_named_by, rowtide_key
from state import channels, conflicts, failpoints, inbox, ledger
from state.database import Connection
from state.inbox import Shown
from state.pulled import from_document

BUSY_AFTER_S: Final = 1.0
"""Seconds until an entry is taken again whose row is on its way to SharePoint, or of whose row another one is taken."""


@dataclass(frozen=True, slots=True)
class TakeRequest:
    """Who takes what: at most so many due entries of a sync, leased to ``owner`` for ``lease_s``.

    ``token`` marks the leases of this request and is unique to it.
    """

    sync: str
    owner: str
    token: str
    lease_s: float
    most: int = 20


@dataclass(frozen=True, slots=True)
class Lease:
    """An entry in our hands, with what the records know of its row; `taken` makes the core's `Taken` of it.

    ``era``: the sync's. ``pair_at``: when the pair was written last; an end is recorded only while it stands so.
    """

    sync: str
    token: str
    until: datetime
    shown: Shown
    revision: int
    seen_at: datetime
    era: int
    key: str | None = None
    pair: Pair | None = None
    pair_at: datetime | None = None
    waiting: WaitingRow | None = None
    choice: Choice | None = None
    twin: bool = False
    rounds_ended: bool = True
    absent_passed: bool = False
    pulled: Pulled | None = None
    suspect: bool = False
    others_wait: frozenset[inbox.Place] = frozenset()

    def taken(self, entry: InboxEntry, applied: Applied | None, times: Times = UNKNOWN_TIMES) -> Taken:
        """The entry as the core takes it: its values canonical, with what the source has recorded of it."""
        return Taken(
            entry, self.key, self.pair, self.waiting, applied, self.token, self.choice, times, self.twin,
            self.rounds_ended, self.absent_passed, self.pulled, self.others_wait,
        )  # fmt: skip


# --- entries are taken --------------------------------------------------------------------------------------------

TAKE = f"""
SELECT {inbox.SHOWN}, i.key, i.suspect, i.revision, i.seen_at, s.era, c.lsn,
       i.absent_era, i.absent_lsn, clock_timestamp() + %(lease_s)s * interval '1 second' AS until
  FROM rowtide.sync AS s
  LEFT JOIN rowtide.slot_cursor AS c ON c.slot = s.since_slot AND c.incarnation = s.since_incarnation
 CROSS JOIN LATERAL (
       SELECT * FROM rowtide.inbox
        WHERE sync = s.sync AND state = 'waiting' AND due_at <= now() AND (lease_until IS NULL OR lease_until < now())
        ORDER BY due_at LIMIT %(most)s FOR UPDATE SKIP LOCKED) AS i
 WHERE s.sync = %(sync)s AND NOT s.retired
   AND NOT EXISTS (SELECT FROM rowtide.hold AS h WHERE (h.scope, h.object) IN (('all', ''), ('sync', s.sync)))
   AND NOT EXISTS (SELECT FROM rowtide.list_cursor AS l WHERE l.sync = s.sync AND l.suspect_since IS NOT NULL)
"""

# Whose item it is: the row that has it, else one that has left it.
OWNERS = """
SELECT n.i - 1, coalesce(own.key, past.key)
  FROM unnest(%(lists)s::text[], %(items)s::text[]) WITH ORDINALITY AS n (list_id, item_id, i)
  LEFT JOIN LATERAL (SELECT l.key FROM rowtide.ledger AS l
                      WHERE l.sync = %(sync)s AND l.list_id = n.list_id AND l.item_id = n.item_id
                        AND l.state IN ('live', 'arriving')) AS own ON true
  LEFT JOIN LATERAL (SELECT l.key FROM rowtide.ledger AS l
                      WHERE own.key IS NULL AND l.sync = %(sync)s AND l.leftovers <> '[]'::jsonb
                        AND l.leftovers @> jsonb_build_array(
                            jsonb_build_object('list_id', n.list_id, 'item_id', n.item_id)) LIMIT 1) AS past ON true
"""

# No index has the digests: only an item whose row has another item, or none yet, is looked for by them.
_DIGESTS = """
SELECT sha256(convert_to(key, 'UTF8')), key
  FROM (SELECT key FROM rowtide.ledger WHERE sync = %(sync)s
         UNION SELECT key FROM rowtide.outbox WHERE sync = %(sync)s) AS known
 WHERE sha256(convert_to(key, 'UTF8')) = ANY (%(digests)s)
"""

_LOCK_ROWS = """
SELECT key, op, coalesce(lease_until > clock_timestamp(), false) AS leased, sent <> '[]'::jsonb AS uncertain, state,
       committed_at, era, lsn, ordinal, xid, priority
  FROM rowtide.outbox WHERE sync = %s AND key = ANY (%s) ORDER BY key FOR UPDATE
"""


class OutboxRow(NamedTuple):
    """A row of the outbox, locked."""

    key: str
    op: Any
    leased: bool
    uncertain: bool
    state: str
    committed_at: datetime
    era: int
    lsn: int
    ordinal: int
    xid: int
    priority: int


def take(conn: Connection, request: TakeRequest) -> list[Lease]:
    """Lease due entries, the longest waiting first, at most one of each row.

    Those that may not be applied yet are due again in a moment; a row with an attempt that is not explained is looked
    at meanwhile, also a parked one.
    """
    with conn.transaction():
        with conn.cursor(row_factory=dict_row) as cursor:
            values = {"sync": request.sync, "lease_s": request.lease_s, "most": request.most}
            entries = cursor.execute(TAKE.encode(), values).fetchall()
        if not entries:
            return []
        shown = [Shown(**{name: entry[name] for name in Shown.__slots__}) for entry in entries]
        keys = _keys(conn, request.sync, shown, [entry["key"] for entry in entries])
        rows = lock_rows(conn, request.sync, {key for key in keys if key is not None})
        known = _Known.read(conn, request.sync, shown, sorted(key for key in {*keys} if key is not None), rows)
        leases, later, seen = [], [], set()
        for one, key, entry in zip(shown, keys, entries, strict=True):
            row = None if key is None else rows.get(key)
            busy = row is not None and (row.leased or is_uncertain(row, known.pairs.get(row.key)))
            if busy or key in seen or known.is_in_hand(key, one):
                later.append(one)
                continue
            if key is not None:
                seen.add(key)
            leases.append(_lease(request, one, key, entry, known))
        _write_leases(conn, request, leases, later)
        free = [row for row in rows.values() if not row.leased]
        _look_at(conn, request.sync, [row for row in free if is_uncertain(row, known.pairs.get(row.key))])
    failpoints.hit(failpoints.TAKE_AFTER_LEASE)
    return leases


def _keys(conn: Connection, sync: str, shown: Sequence[Shown], noted: Sequence[str | None]) -> list[str | None]:
    """Per entry the row key: as noted before, else by the item itself, else by its RowtideKey."""
    values = {"sync": sync, "lists": [one.list_id for one in shown], "items": [one.item_id for one in shown]}
    owners = dict(conn.execute(OWNERS, values).fetchall())
    keys: list[str | None] = []
    digests: dict[int, bytes] = {}
    for i, (one, before) in enumerate(zip(shown, noted, strict=True)):
        key = before or owners.get(i) or (None if one.item_key is None else key_named_by(sync, one.item_key))
        if key is None and one.item_key is not None and (digest := digest_named_by(sync, one.item_key)) is not None:
            digests[i] = digest
        keys.append(key)
    if digests:
        found = conn.execute(_DIGESTS, {"sync": sync, "digests": list(digests.values())}).fetchall()
        by_digest = {bytes(digest): key for digest, key in found}
        for i, digest in digests.items():
            keys[i] = by_digest.get(digest)
    return keys


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of rows and items of entries, read after the rows were locked."""

    pairs: Mapping[str, Pair]
    pairs_at: Mapping[str, datetime]
    pulled: Mapping[str, Pulled]
    rows: Mapping[str, OutboxRow]
    rekeyed: Mapping[str, str]
    choices: Mapping[inbox.Place, Choice]
    in_hand: frozenset[tuple[str, str, str]]
    twins: Mapping[str, frozenset[inbox.Place]]
    rounds: Mapping[str, datetime | None]
    waiting: frozenset[inbox.Place]

    @staticmethod
    def read(
        conn: Connection, sync: str, shown: Sequence[Shown], keys: Sequence[str], rows: Mapping[str, OutboxRow]
    ) -> "_Known":
        """All of it, for these items and keys."""
        at = "SELECT key, updated_at, pulled FROM rowtide.ledger WHERE sync = %s AND key = ANY (%s)"
        found = conn.execute(at, [sync, keys]).fetchall()
        pairs_at = {key: moment for key, moment, _ in found}
        pulled = {key: from_document(stored) for key, _, stored in found if stored is not None}
        in_hand = conn.execute(_IN_HAND, [sync, keys]).fetchall()
        pairs, twins = ledger.read(conn, sync, keys), _twins(conn, sync, keys)
        others = [*_left_by(pairs.values()), *(one for places in twins.values() for one in places)]
        return _Known(
            pairs, pairs_at, pulled, rows, _rekeyed(conn, sync, rows),
            conflicts.choices(conn, [(one.list_id, one.item_id) for one in shown]),
            frozenset(map(tuple, in_hand)), twins,
            dict(conn.execute(_ROUNDS, [sync]).fetchall()), _waiting_of(conn, others),
        )  # fmt: skip

    def is_in_hand(self, key: str | None, shown: Shown) -> bool:
        """Whether another entry of the row is being applied."""
        own = (shown.list_id, shown.item_id)
        return any(of == key and (list_id, item_id) != own for of, list_id, item_id in self.in_hand)

    def others_of(self, key: str, shown: Shown) -> frozenset[inbox.Place]:
        """Other items that the row has left, or that have its RowtideKey, of which an entry waits."""
        pair = self.pairs.get(key)
        found = {*_left_by([] if pair is None else [pair]), *self.twins[key]} & self.waiting
        return frozenset(found - {(shown.list_id, shown.item_id)})


_WAITING = """
SELECT i.list_id, i.item_id FROM rowtide.inbox AS i
  JOIN unnest(%s::text[], %s::text[]) AS n (list_id, item_id) USING (list_id, item_id) WHERE i.state = 'waiting'
"""


def _left_by(pairs: Collection[Pair]) -> list[inbox.Place]:
    return [place(one) for pair in pairs for one in pair.leftovers if isinstance(one, LeftItem)]


def _waiting_of(conn: Connection, items: Sequence[inbox.Place]) -> frozenset[inbox.Place]:
    """Those of which an entry waits."""
    if not items:
        return frozenset()
    found = conn.execute(_WAITING, [[one for one, _ in items], [one for _, one in items]]).fetchall()
    return frozenset(map(tuple, found))


_TWINS = "SELECT item_key, list_id, item_id FROM rowtide.inbox WHERE item_key = ANY (%s) AND NOT deleted"


def _twins(conn: Connection, sync: str, keys: Sequence[str]) -> Mapping[str, frozenset[inbox.Place]]:
    """Per row key the items of which the inbox says that they have its RowtideKey. A deletion says nothing of keys."""
    by_item_key = {rowtide_key(sync, key): key for key in keys}
    found: dict[str, set[inbox.Place]] = {key: set() for key in keys}
    for item_key, *item in conn.execute(_TWINS, [sorted(by_item_key)]).fetchall():
        found[by_item_key[item_key]].add((item[0], item[1]))
    return {key: frozenset(places) for key, places in found.items()}


_IN_HAND = """
SELECT key, list_id, item_id FROM rowtide.inbox WHERE sync = %s AND key = ANY (%s) AND lease_until > now()
"""

# When the last round of each list began, once it has ended. A list that is not applied any more is not asked.
_ROUNDS = """
SELECT c.list_id, CASE WHEN c.round_ended_at >= c.round_began_at THEN c.round_began_at END
  FROM rowtide.list_cursor AS c
  LEFT JOIN rowtide.list AS l ON l.id = c.list_id
 WHERE c.sync = %s AND coalesce(l.state, 'applied') = 'applied'
"""

_REKEYED = """
SELECT n.key, o.key
  FROM unnest(%(keys)s::text[], %(eras)s::bigint[], %(lsns)s::bigint[], %(ordinals)s::int[])
       AS n (key, era, lsn, ordinal)
  JOIN rowtide.outbox AS o
    ON o.sync = %(sync)s AND o.era = n.era AND o.lsn = n.lsn AND o.ordinal = n.ordinal AND o.key <> n.key
 WHERE o.op <> 'd'
"""


def _rekeyed(conn: Connection, sync: str, rows: Mapping[str, OutboxRow]) -> dict[str, str]:
    """Of rows whose deletion waits, the key that the same change gave the row.

    What a reconcile finds in a new era has no position of its own: there all rows stand at the era's first one.
    """
    gone = [row for row in rows.values() if row.op == "d" and row.lsn > 0]
    if not gone:
        return {}
    values = {
        "sync": sync, "keys": [row.key for row in gone], "eras": [row.era for row in gone],
        "lsns": [row.lsn for row in gone], "ordinals": [row.ordinal for row in gone],
    }  # fmt: skip
    return dict(conn.execute(_REKEYED, values).fetchall())


def is_uncertain(row: OutboxRow, pair: Pair | None) -> bool:
    """Whether an attempt of the row is not explained; a lost POST may yet show up as an item that nobody made.

    Push asks the same (`hand_over`): what it takes for explained, an entry must not wait for.
    """
    return row.uncertain or (pair is not None and unexplained_post(pair.leftovers) is not None)


def lock_rows(conn: Connection, sync: str, keys: Collection[str]) -> dict[str, OutboxRow]:
    """The outbox rows of these keys, which nobody claims until the caller's transaction ends."""
    with conn.cursor(row_factory=args_row(OutboxRow)) as cursor:
        return {row.key: row for row in cursor.execute(_LOCK_ROWS, [sync, sorted(keys)])}


def _lease(request: TakeRequest, shown: Shown, key: str | None, entry: Mapping[str, Any], known: _Known) -> Lease:
    row = None if key is None else known.rows.get(key)
    era, cursor = entry["era"], entry["lsn"]
    passed = entry["absent_era"] == era and cursor is not None and cursor >= entry["absent_lsn"]
    return Lease(
        sync=request.sync,
        token=request.token,
        until=entry["until"],
        shown=shown,
        revision=entry["revision"],
        seen_at=entry["seen_at"],
        era=era,
        key=key,
        pair=None if key is None else known.pairs.get(key),
        pair_at=None if key is None else known.pairs_at.get(key),
        waiting=_waiting(row, known),
        choice=known.choices.get((shown.list_id, shown.item_id)),
        twin=key is not None and bool(known.twins[key] - {(shown.list_id, shown.item_id)}),
        rounds_ended=all(began is not None and began > entry["seen_at"] for began in _rounds_of(shown, known)),
        absent_passed=passed,
        pulled=None if key is None else known.pulled.get(key),
        suspect=entry["suspect"],
        others_wait=frozenset() if key is None else known.others_of(key, shown),
    )


def _rounds_of(shown: Shown, known: _Known) -> Collection[datetime | None]:
    """When the last round of each list began that an item may have been moved to; its own too, by way of another."""
    return known.rounds.values() if known.rounds.keys() - {shown.list_id} else ()


def look_up(conn: Connection, lease: Lease, row: OutboxRow | None) -> Lease | None:
    """The lease with what is known now of its key, whose outbox row the caller has locked; None: another entry of the
    row is in hand.
    """
    assert lease.key is not None, "there is nothing to look up"
    known = _Known.read(conn, lease.sync, [lease.shown], [lease.key], {} if row is None else {row.key: row})
    if known.is_in_hand(lease.key, lease.shown):
        return None
    return replace(
        lease,
        pair=known.pairs.get(lease.key),
        pair_at=known.pairs_at.get(lease.key),
        waiting=_waiting(row, known),
        choice=known.choices.get((lease.shown.list_id, lease.shown.item_id)),
        pulled=known.pulled.get(lease.key),
        others_wait=known.others_of(lease.key, lease.shown),
    )


def _waiting(row: OutboxRow | None, known: _Known) -> WaitingRow | None:
    if row is None:
        return None
    return WaitingRow(row.op, False, _committed_at(row, known.pairs.get(row.key)), known.rekeyed.get(row.key))


def _committed_at(row: OutboxRow, pair: Pair | None) -> datetime | None:
    """When the row was changed last by somebody else; None: nobody can say."""
    if row.op == "r" or row.priority == BACKFILL:
        return None  # read from the table: it was noted when that was
    # The source names a transaction in 64 bits where an edit is applied, and in 32 where its changes are told.
    is_own = pair is not None and pair.as_of.xid % _XIDS == row.xid % _XIDS and pair.as_of.xid != 0
    return None if is_own else row.committed_at


_XIDS = 1 << 32


_WRITE_LEASES = """
UPDATE rowtide.inbox AS i
   SET lease_token = %(token)s, lease_owner = %(owner)s,
       lease_until = clock_timestamp() + %(lease_s)s * interval '1 second', key = coalesce(n.key, i.key)
  FROM unnest(%(lists)s::text[], %(items)s::text[], %(keys)s::text[]) AS n (list_id, item_id, key)
 WHERE (i.list_id, i.item_id) = (n.list_id, n.item_id)
"""

_LATER = f"""
UPDATE rowtide.inbox AS i
   SET due_at = clock_timestamp() + {BUSY_AFTER_S} * interval '1 second', lease_token = NULL, lease_owner = NULL,
       lease_until = NULL
  FROM unnest(%s::text[], %s::text[]) AS n (list_id, item_id)
 WHERE (i.list_id, i.item_id) = (n.list_id, n.item_id)
"""

_LOOK_AT = """
UPDATE rowtide.outbox
   SET state = 'waiting', reason_code = NULL, reason = NULL, due_at = now()
 WHERE sync = %s AND key = ANY (%s) AND state = 'parked' AND NOT hold
"""


def _write_leases(conn: Connection, request: TakeRequest, leases: Sequence[Lease], later: Sequence[Shown]) -> None:
    if leases:
        shown = [one.shown for one in leases]
        values = {
            "token": request.token, "owner": request.owner, "lease_s": request.lease_s,
            "lists": [one.list_id for one in shown], "items": [one.item_id for one in shown],
            "keys": [one.key for one in leases],
        }  # fmt: skip
        conn.execute(_WRITE_LEASES, values)
    if later:
        conn.execute(_LATER, [[one.list_id for one in later], [one.item_id for one in later]])


def _look_at(conn: Connection, sync: str, uncertain: Sequence[OutboxRow]) -> None:
    """Have parked rows with an unexplained attempt looked at: until then no edit of their items is applied."""
    keys = [row.key for row in uncertain if row.state == "parked"]
    if keys:
        conn.execute(_LOOK_AT, [sync, keys])
        channels.notify(conn, channels.DUE, sync)
