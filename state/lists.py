"""The lists that syncs have or had: table ``list``.

In: the lists that `apply` found or made for each target. Out: `KnownList`s; the lists that rows still leave. Rules
(docs/design.md section 3): a list stays known until no pair and no leftover names it; the lists of a retired sync stay
its own; what is recorded here is one transaction with the definition.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from psycopg.types.json import Jsonb

from rowtide.lists import NOTHING_HELD, HeldColumns, KnownList, LeftList, ListState, known_by_id
from state import channels, outbox
from state.database import Connection

REFUSED_FIELD: Final = "invalidRequest"
"""Graph's code for a field that the list does not have or take."""

_READ = 'SELECT id, site_id, sync, targets, title, state, columns, kinds FROM rowtide.list ORDER BY id COLLATE "C"'

_SAVE = """
INSERT INTO rowtide.list (id, site_id, sync, targets, title, state, columns, kinds, held)
SELECT id, site_id, sync, ARRAY(SELECT jsonb_array_elements_text(targets)), title, state, columns, kinds, held
  FROM jsonb_to_recordset(%s) AS n (id text, site_id text, sync text, targets jsonb, title text, state text,
       columns jsonb, kinds jsonb, held jsonb)
    ON CONFLICT (id) DO UPDATE
   SET site_id = excluded.site_id, sync = excluded.sync, targets = excluded.targets, title = excluded.title,
       state = excluded.state, columns = excluded.columns, kinds = excluded.kinds, held = excluded.held
"""

_NOTE_HELD = """
UPDATE rowtide.list AS l SET held = %(held)s
  FROM (SELECT id, held FROM rowtide.list WHERE id = %(id)s FOR UPDATE) AS before
 WHERE l.id = before.id AND before.held <> %(held)s
RETURNING before.held
"""

# Rows that a refused column has parked, while nobody knew of it.
_RETRY = """
SELECT key FROM rowtide.outbox WHERE sync = %s AND state = 'parked' AND NOT hold AND reason_code = %s
"""

# Nobody settles meanwhile, and what is under way settles nothing any more: its base was read before.
_NO_LEASES = (
    "LOCK TABLE rowtide.outbox IN EXCLUSIVE MODE",
    "UPDATE rowtide.outbox SET lease_token = NULL, lease_owner = NULL, lease_until = NULL"
    " WHERE sync = %(sync)s AND lease_token IS NOT NULL",
)
_EMPTIED = """
UPDATE rowtide.ledger SET base = base || %(nulls)s, kept = kept - %(names)s::text[]
 WHERE sync = %(sync)s AND list_id = %(id)s AND state <> 'tombstone'
"""

# What may still be in a list: items of pairs, items left behind, items that an attempt of unknown end may have made.
_HOLDS = """
SELECT EXISTS (SELECT FROM rowtide.ledger WHERE sync = %(sync)s AND list_id = %(id)s AND state <> 'tombstone')
    OR EXISTS (SELECT FROM rowtide.ledger WHERE sync = %(sync)s AND leftovers @> %(named)s)
    OR EXISTS (SELECT FROM rowtide.outbox WHERE sync = %(sync)s AND sent @> %(named)s)
"""


def read(conn: Connection) -> list[KnownList]:
    """Every list that is known, those of retired syncs too."""
    return [
        KnownList(list_id, site_id, sync, tuple(targets), title, ListState(state), columns, kinds)
        for list_id, site_id, sync, targets, title, state, columns, kinds in conn.execute(_READ).fetchall()
    ]


def read_held(conn: Connection) -> dict[str, HeldColumns]:
    """By list id what of it cannot be written, for those where anything is."""
    rows = conn.execute("SELECT id, held FROM rowtide.list WHERE held <> '{}' AND state = 'applied'").fetchall()
    return {list_id: _to_held(stored) for list_id, stored in rows}


def note_held(conn: Connection, sync: str, list_id: str, held: HeldColumns) -> HeldColumns | None:
    """Record what of a list cannot be written; what was on record before, None when that was the same.

    Rows that such a column has parked are tried again without it.
    """
    with conn.transaction():
        before = conn.execute(_NOTE_HELD, {"id": list_id, "held": Jsonb(_from_held(held))}).fetchone()
        if before is None:
            return None
        if held:
            retry_refused(conn, sync)
        channels.notify(conn, channels.CONTROL)
    return _to_held(before[0])


def retry_refused(conn: Connection, sync: str) -> None:
    """Have rows tried again that are parked because Graph refused a field."""
    keys = [key for (key,) in conn.execute(_RETRY, [sync, REFUSED_FIELD])]
    if keys:
        outbox.retry_parked(conn, sync, keys)


def count_refused(conn: Connection) -> dict[str, int]:
    """By sync how many rows are parked because Graph refused a field."""
    query = "SELECT sync, count(*) FROM rowtide.outbox WHERE state = 'parked' AND reason_code = %s GROUP BY sync"
    return dict(conn.execute(query, [REFUSED_FIELD]).fetchall())


def _from_held(held: HeldColumns) -> dict[str, object]:
    return {"fields": dict(held.fields), "key": held.key} if held else {}


def _to_held(stored: Mapping[str, Any]) -> HeldColumns:
    return HeldColumns(stored.get("fields", {}), stored.get("key"))


def take_over(
    conn: Connection,
    lists: Sequence[KnownList],
    syncs: Collection[str],
    gone: Collection[str],
    held: Mapping[str, HeldColumns] | None = None,
) -> Mapping[str, Sequence[LeftList]]:
    """``lists`` are those of ``syncs`` from now on; per sync the lists that its rows still leave.

    ``gone``: ids of lists that SharePoint has no more; ``held``: by list id what of it cannot be written now. A list
    that holds nothing of ours any more is forgotten.
    """
    named, before = {one.id for one in lists}, read(conn)
    _empty_columns(conn, lists, known_by_id(before))
    left = [one for one in before if one.sync in syncs and one.id not in named]
    empty = [one.id for one in left if not _holds(conn, one)]
    conn.execute("DELETE FROM rowtide.list WHERE id = ANY (%s)", [empty])
    leaving = [one for one in left if one.id not in empty]
    states = {one.id: ListState.GONE if one.id in gone else ListState.LEAVING for one in leaving}
    cannot = held or {}
    rows = [_row(one, one.state, cannot.get(one.id, NOTHING_HELD)) for one in lists]
    rows += [_row(one, states[one.id], NOTHING_HELD) for one in leaving]
    conn.execute(_SAVE, [Jsonb(rows)])
    found: dict[str, list[LeftList]] = {}
    for one in leaving:
        left_list = LeftList(one.id, one.site_id, states[one.id] is ListState.GONE)
        found.setdefault(one.sync, []).append(left_list)
    return found


def _empty_columns(conn: Connection, lists: Sequence[KnownList], before: Mapping[str, KnownList]) -> None:
    """Where a column was made anew, the pairs of its list agree on nothing in it."""
    for one in lists:
        names = one.emptied_since(before[one.id]) if one.id in before else []
        if not names:
            continue
        values = {"sync": one.sync, "id": one.id, "names": names, "nulls": Jsonb(dict.fromkeys(names))}
        for statement in (*_NO_LEASES, _EMPTIED):
            conn.execute(statement, values)


def _holds(conn: Connection, one: KnownList) -> bool:
    values = {"sync": one.sync, "id": one.id, "named": Jsonb([{"list_id": one.id}])}
    [(holds,)] = conn.execute(_HOLDS, values).fetchall()
    return bool(holds)


def _row(one: KnownList, state: ListState, held: HeldColumns) -> dict[str, object]:
    return {
        "id": one.id, "site_id": one.site_id, "sync": one.sync, "targets": list(one.targets), "title": one.title,
        "state": state.value, "columns": dict(one.columns), "kinds": dict(one.kinds), "held": _from_held(held),
    }  # fmt: skip
