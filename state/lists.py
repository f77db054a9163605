"""The lists that syncs have or had: table ``list``.

In: the lists that `apply` found or made for each target. Out: `KnownList`s; the lists that rows still leave. Rules
(docs/design.md section 3): a list stays known until no pair and no leftover names it; the lists of a retired sync stay
its own; what is recorded here is one transaction with the definition.
"""

from collections.abc import Collection, Mapping, Sequence

from psycopg.types.json import Jsonb

from rowtide.lists import KnownList, LeftList, ListState, known_by_id
from state.database import Connection

_READ = 'SELECT id, site_id, sync, targets, title, state, columns FROM rowtide.list ORDER BY id COLLATE "C"'

_SAVE = """
INSERT INTO rowtide.list (id, site_id, sync, targets, title, state, columns)
SELECT id, site_id, sync, ARRAY(SELECT jsonb_array_elements_text(targets)), title, state, columns
  FROM jsonb_to_recordset(%s) AS n (id text, site_id text, sync text, targets jsonb, title text, state text,
       columns jsonb)
    ON CONFLICT (id) DO UPDATE
   SET site_id = excluded.site_id, sync = excluded.sync, targets = excluded.targets, title = excluded.title,
       state = excluded.state, columns = excluded.columns
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
        KnownList(list_id, site_id, sync, tuple(targets), title, ListState(state), columns)
        for list_id, site_id, sync, targets, title, state, columns in conn.execute(_READ).fetchall()
    ]


def take_over(
    conn: Connection, lists: Sequence[KnownList], syncs: Collection[str], gone: Collection[str]
) -> Mapping[str, Sequence[LeftList]]:
    """``lists`` are those of ``syncs`` from now on; per sync the lists that its rows still leave.

    ``gone``: ids of lists that SharePoint has no more. A list that holds nothing of ours any more is forgotten.
    """
    named, before = {one.id for one in lists}, read(conn)
    _empty_columns(conn, lists, known_by_id(before))
    left = [one for one in before if one.sync in syncs and one.id not in named]
    empty = [one.id for one in left if not _holds(conn, one)]
    conn.execute("DELETE FROM rowtide.list WHERE id = ANY (%s)", [empty])
    leaving = [one for one in left if one.id not in empty]
    states = {one.id: ListState.GONE if one.id in gone else ListState.LEAVING for one in leaving}
    rows = [_row(one, one.state) for one in lists] + [_row(one, states[one.id]) for one in leaving]
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


def _row(one: KnownList, state: ListState) -> dict[str, object]:
    return {
        "id": one.id, "site_id": one.site_id, "sync": one.sync, "targets": list(one.targets), "title": one.title,
        "state": state.value, "columns": dict(one.columns),
    }  # fmt: skip
