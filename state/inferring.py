"""What a list that was read from beginning to end does not show any more.

In: the pages of such a reading. Out: entries of the inbox for pairs whose items are missing, marked as inferred; or
rows that write those items again. Rules (docs/design.md section 22): a deletion that nobody has told may be an item
that is only hidden, so its entry says so, and whoever applies it asks for the item and for a person's approval; a pair
that has moved since the reading began, or of which something is under way, is left alone.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import structlog

from rowtide import mass_delete
from rowtide.deciding.records import Held, NoItem, version_of
from rowtide.list_changes import ChangesPage
from rowtide.polling import PolledList
from state import ledger, outbox
from state.database import Connection
from state.ledger import Stored
from state.reconcile import mends, record
from state.reconcile.mends import Mend

log = structlog.get_logger()

PURPOSE = "collect"
"""The items of a list that is read whole, in table ``seen``: which there are, and nothing of their fields."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A list that is read from its beginning since a moment. ``round``: the one that its inferred entries name.

    ``upload``: what is missing is written again.
    """

    polled: PolledList
    since: datetime
    round: int
    upload: bool

    @property
    def values(self) -> dict[str, Any]:
        """The parameters of the statements here."""
        return {
            "sync": self.polled.sync, "list_id": self.polled.list_id, "since": self.since,
            "page_round": self.round, "purpose": PURPOSE,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class MissingItems:
    """Items that were not there: ``entries`` of the inbox that say so, rows ``staged`` to write them again."""

    entries: int = 0
    staged: int = 0


NONE_MISSING = MissingItems()


def forget_seen(conn: Connection, whole: Whole) -> None:
    """What an earlier reading saw counts no more."""
    statement = "DELETE FROM rowtide.seen WHERE sync = %(sync)s AND purpose = %(purpose)s AND list_id = %(list_id)s"
    conn.execute(statement, whole.values)


_SEEN = """
INSERT INTO rowtide.seen (sync, purpose, list_id, item_id, etag, version, fields, made_by_app, by_app)
SELECT %(sync)s, %(purpose)s, %(list_id)s, item_id, etag, version, '{}', false, false
  FROM jsonb_to_recordset(%(items)s::jsonb) AS n (item_id text, etag text, version bigint)
    ON CONFLICT (sync, purpose, list_id, item_id) DO NOTHING
"""

_UNSEEN = """
DELETE FROM rowtide.seen
 WHERE sync = %(sync)s AND purpose = %(purpose)s AND list_id = %(list_id)s AND item_id = ANY (%(deleted)s)
"""


def note_seen(conn: Connection, whole: Whole, page: ChangesPage) -> None:
    """Write down which items the page shows."""
    if page.items:
        rows = [{"item_id": one.item_id, "etag": one.etag, "version": version_of(one.etag)} for one in page.items]
        conn.execute(_SEEN, whole.values | {"items": orjson.dumps(rows).decode()})
    if page.deleted:
        conn.execute(_UNSEEN, whole.values | {"deleted": list(page.deleted)})


_IS_SEEN = """EXISTS (SELECT FROM rowtide.seen AS s
           WHERE (s.sync, s.purpose, s.list_id) = (%(sync)s, %(purpose)s, %(list_id)s) AND s.item_id = {0}.item_id)"""

_MISSING = f"""
  FROM rowtide.ledger AS l
 WHERE l.list_id = %(list_id)s AND l.state = 'live' AND l.sync = %(sync)s AND l.updated_at < %(since)s
   AND NOT {_IS_SEEN.format("l")}
"""

_GONE = """deleted = true, inferred = true, approved = false, version = 0, etag = NULL, fields = '{}',
       by_app = false, editor_name = NULL, editor_email = NULL, modified_at = NULL, state = 'waiting', code = NULL,
       sentence = NULL, due_at = now(), attempts = 0, tries = 0, revision = i.revision + 1, round = %(page_round)s,
       seen_at = clock_timestamp()"""

# What is under way is answered by itself.
_INFER = f"""
INSERT INTO rowtide.inbox AS i (list_id, item_id, sync, version, deleted, inferred, key, round, seen_at)
SELECT l.list_id, l.item_id, l.sync, 0, true, true, l.key, %(page_round)s, clock_timestamp()
{_MISSING}
   AND NOT EXISTS (SELECT FROM rowtide.outbox AS o
                    WHERE o.sync = l.sync AND o.key = l.key AND (o.lease_token IS NOT NULL OR o.sent <> '[]'))
 ORDER BY l.item_id COLLATE "C"
    ON CONFLICT (list_id, item_id) DO UPDATE SET {_GONE}
 WHERE NOT i.deleted
"""

# Items that were never applied, and are gone.
_INFER_UNPAIRED = f"""
UPDATE rowtide.inbox AS i SET {_GONE}
 WHERE i.list_id = %(list_id)s AND NOT i.deleted AND i.seen_at < %(since)s AND NOT {_IS_SEEN.format("i")}
   AND NOT EXISTS (SELECT FROM rowtide.ledger AS l
                    WHERE l.list_id = i.list_id AND l.item_id = i.item_id AND l.state IN ('live', 'arriving'))
"""

_TO_UPLOAD = f"""
SELECT {ledger.COLUMNS}, l.updated_at
{_MISSING}
   AND NOT EXISTS (SELECT FROM rowtide.outbox AS o WHERE o.sync = l.sync AND o.key = l.key)
 ORDER BY l.key LIMIT %(enough)s
"""


def note_missing(conn: Connection, whole: Whole) -> MissingItems:
    """Have it acted on that these items were not there, in the caller's transaction."""
    found = _upload(conn, whole) if whole.upload else _infer(conn, whole)
    if found != NONE_MISSING:
        log.warning(
            "items are missing in a list that was read from its beginning",
            sync=whole.polled.sync,
            list_id=whole.polled.list_id,
            inferred_deletes=found.entries,
            written_again=found.staged,
        )
    forget_seen(conn, whole)
    return found


def _infer(conn: Connection, whole: Whole) -> MissingItems:
    entries = conn.execute(_INFER.encode(), whole.values).rowcount
    return MissingItems(entries=entries + conn.execute(_INFER_UNPAIRED.encode(), whole.values).rowcount)


def _upload(conn: Connection, whole: Whole) -> MissingItems:
    """The rows write their items again. So many that a person is to be asked are found by a deep reconcile, which asks.

    No item is made twice: a new one carries the row's unique key.
    """
    sync, limits = whole.polled.sync, whole.polled.limits
    [(pairs, era)] = conn.execute(
        f"SELECT {outbox.PAIRS}, coalesce((SELECT era FROM rowtide.sync WHERE sync = %(sync)s), 0)".encode(),
        whole.values,
    ).fetchall()
    enough = max(mass_delete.FEW, limits.rows) + 1  # nobody has to count further
    rows = conn.execute(_TO_UPLOAD.encode(), whole.values | {"enough": enough}).fetchall()
    if mass_delete.judge_missing(sync, len(rows), pairs, limits) is not None:
        record.request(conn, sync, "a list lacks items that are to be written to it again", deep=True)
        return NONE_MISSING
    found = []
    for *columns, updated_at in rows:
        stored = Stored(*columns)
        pair = ledger.to_pair(stored)
        assert isinstance(pair, Held), "a live pair has an item"
        found.append(Mend(stored.key, updated_at, NoItem(pair.as_of, pair.item, pair.leftovers), stage=True))
    if not found:
        return NONE_MISSING
    return MissingItems(staged=len(mends.mend(conn, sync, era, whole.polled.mapping_version, found)))
