"""What the ledger remembers of edits that were applied to rows, beside the record in the source.

In: old records of a source. Out: which of them nobody needs any more; their counterparts in the ledger are cleared.
Rule (docs/design.md section 21): a record of the source goes after its counterpart here, never before it, because a
counterpart without a record says that the source has lost an edit.
"""

from collections.abc import Sequence
from typing import NamedTuple

from state.database import Connection


class OldEdit(NamedTuple):
    """A record in a source that is old enough to go: of which row, item and version."""

    key: str
    list_id: str
    item_id: str
    version: int


# An entry that waits may be the very edit of the record: until it is settled the ledger does not have it.
_CLEAR = """
WITH old AS (
    SELECT o.* FROM unnest(%(keys)s::text[], %(lists)s::text[], %(items)s::text[], %(versions)s::bigint[])
                    AS o (key, list_id, item_id, version)
     WHERE NOT EXISTS (SELECT FROM rowtide.inbox AS i WHERE (i.list_id, i.item_id) = (o.list_id, o.item_id))),
ours AS (
    SELECT l.key, (l.pulled ->> 'version')::bigint AS version FROM rowtide.ledger AS l
     WHERE l.sync = %(sync)s AND l.key IN (SELECT key FROM old) ORDER BY l.key FOR UPDATE),
over AS (
    SELECT old.key, ours.version FROM old LEFT JOIN ours USING (key)
     WHERE ours.version IS NULL OR ours.version = old.version),
cleared AS (
    UPDATE rowtide.ledger AS l SET pulled = NULL FROM over
     WHERE l.sync = %(sync)s AND l.key = over.key AND over.version IS NOT NULL)
SELECT key FROM over
"""


def clear(conn: Connection, sync: str, old: Sequence[OldEdit]) -> set[str]:
    """The keys of the records that may go now.

    One stays whose entry waits, and one of another version than the ledger's: a failover has lost what came after it.
    """
    values = {
        "sync": sync,
        "keys": [one.key for one in old],
        "lists": [one.list_id for one in old],
        "items": [one.item_id for one in old],
        "versions": [one.version for one in old],
    }
    with conn.transaction():
        return {key for (key,) in conn.execute(_CLEAR, values)}
