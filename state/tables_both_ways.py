"""The records that only syncs of two ways fill: inbox, list cursors, conflicts.

In: nothing. Out: one `Table` per record, in the metadata of `state.column_types`. Rule: as for `state.tables`, which
names them too; docs/design.md section 3 says what they are for.
"""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Double, Identity, Index, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from state.column_types import FALSE, NAME, NOW, TIME, ZERO, metadata

# Items of which something is to be applied to the source, as the list showed them last; nothing is judged yet.
inbox = Table(
    "inbox",
    metadata,
    Column("list_id", NAME, primary_key=True),
    Column("item_id", NAME, primary_key=True),
    Column("sync", NAME, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("etag", Text),
    Column("deleted", Boolean, nullable=False, server_default=FALSE),
    # Nobody told that it was deleted: reading the whole list did not show it.
    Column("inferred", Boolean, nullable=False, server_default=FALSE),
    # A person has let this deletion through, as it is now.
    Column("approved", Boolean, nullable=False, server_default=FALSE),
    # As Graph gave them: mapped columns and RowtideKey, by internal name.
    Column("fields", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("item_key", NAME),
    # Its list was restored: nobody can say which side changed, so that a person has to where they differ.
    Column("suspect", Boolean, nullable=False, server_default=FALSE),
    # Last changed, and made, by our own application.
    Column("by_app", Boolean, nullable=False, server_default=FALSE),
    Column("made_by_app", Boolean, nullable=False, server_default=FALSE),
    Column("editor_name", Text),
    Column("editor_email", Text),
    Column("modified_at", TIME),
    # The row key, once it is known whose the item is.
    Column("key", NAME),
    Column("state", Text, nullable=False, server_default=text("'waiting'")),
    Column("code", Text),
    Column("sentence", Text),
    Column("due_at", TIME, nullable=False, server_default=NOW),
    # Refusals of this content; how often in a row it was given back with a wait that grows.
    Column("attempts", Integer, nullable=False, server_default=ZERO),
    Column("tries", Integer, nullable=False, server_default=ZERO),
    Column("lease_token", Text),
    Column("lease_owner", Text),
    Column("lease_until", TIME),
    # The row was not there: the era then, and where the source's WAL ended after that.
    Column("absent_era", BigInteger),
    Column("absent_lsn", BigInteger),
    # Grows with every replacement: an entry goes only at the revision that was taken.
    Column("revision", BigInteger, nullable=False, server_default=text("1")),
    # The round of the list in which the item was last seen (a deleted one: was told).
    Column("round", BigInteger, nullable=False, server_default=ZERO),
    Column("seen_at", TIME, nullable=False, server_default=NOW),
    CheckConstraint("state IN ('waiting', 'parked', 'conflict')", name="state"),
    postgresql_with={"fillfactor": "80"},
)
Index("inbox_due_idx", inbox.c.sync, inbox.c.due_at, postgresql_where=text("state = 'waiting'"))
Index("inbox_aside_idx", inbox.c.sync, inbox.c.state, postgresql_where=text("state <> 'waiting'"))
Index("inbox_item_key_idx", inbox.c.item_key, postgresql_where=text("item_key IS NOT NULL"))
Index("inbox_row_idx", inbox.c.sync, inbox.c.key, postgresql_where=text("key IS NOT NULL"))
Index(
    "inbox_lease_idx",
    inbox.c.lease_owner,
    inbox.c.lease_token,
    postgresql_where=text("lease_owner IS NOT NULL"),
)

# How far the edits of a list are read: the authority, whatever Bytewax stored.
list_cursor = Table(
    "list_cursor",
    metadata,
    Column("list_id", NAME, primary_key=True),
    Column("sync", NAME, nullable=False),
    # One unbroken stream of a list's changes; grows when it was restored or made anew.
    Column("incarnation", BigInteger, nullable=False, server_default=ZERO),
    # Where the next page is read; none: from the beginning.
    Column("link", Text),
    # Rounds are counted; one has ended with its last page, which names the link of the next.
    Column("round", BigInteger, nullable=False, server_default=ZERO),
    Column("round_began_at", TIME),
    Column("round_ended_at", TIME),
    # When the last round began that has ended: what changed before is read.
    Column("read_until", TIME),
    # Whether every item is read, in two rounds, of which the second shows what moved during the first; since when.
    Column("full", Boolean, nullable=False, server_default=FALSE),
    Column("full_since", TIME),
    # Whether items that are missing then are written again; whether SharePoint has answered that the list is missing.
    Column("upload", Boolean, nullable=False, server_default=FALSE),
    Column("missing", Boolean, nullable=False, server_default=FALSE),
    # Since when it is known to have been restored to earlier: nothing is written or applied before a deep pass has read
    # it.
    Column("suspect_since", TIME),
    Column("poll_due_at", TIME, nullable=False, server_default=NOW),
    # When somebody said last that the list has changed.
    Column("hinted_at", TIME),
    Column("interval_s", Double),
    Column("changed_at", TIME),
    # Why it is not read at the moment.
    Column("code", Text),
    Column("sentence", Text),
)
Index("list_cursor_sync_idx", list_cursor.c.sync)

# Changes of both sides that did not agree, each once.
conflict = Table(
    "conflict",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("sync", NAME, nullable=False),
    Column("key", NAME),
    Column("list_id", NAME, nullable=False),
    Column("item_id", NAME, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("kind", NAME, nullable=False),
    # Per field what was agreed and what each side said: base, postgres, sharepoint.
    Column("fields", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    # When each side changed, and who edited the item; none: not known.
    Column("postgres_at", TIME),
    Column("sharepoint_at", TIME),
    Column("editor_name", Text),
    Column("policy", Text, nullable=False),
    # Whose value both sides hold since; none while it is open.
    Column("winner", Text),
    # Why the table did not take what the item said.
    Column("sentence", Text),
    Column("state", Text, nullable=False),
    # What a person chose: a side, a side by field, or values; by whom, why, when.
    Column("choice", JSONB),
    Column("chosen_by", Text),
    Column("chosen_why", Text),
    Column("chosen_at", TIME),
    Column("at", TIME, nullable=False, server_default=NOW),
    CheckConstraint("state IN ('open', 'closed')", name="state"),
)
Index(
    "conflict_once_idx",
    conflict.c.list_id,
    conflict.c.item_id,
    conflict.c.version,
    conflict.c.kind,
    text("md5(fields::text)"),
    unique=True,
)
Index("conflict_row_idx", conflict.c.sync, conflict.c.key)
Index("conflict_open_idx", conflict.c.sync, conflict.c.id, postgresql_where=text("state = 'open'"))
Index("conflict_at_idx", conflict.c.at)
