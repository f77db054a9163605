"""Why one sync is paused while others go on, and what ends the continuity of a slot."""

from typing import Final

from rowtide.error_catalogue.entries import Entry, ReasonEntry
from rowtide.errors import GapError, SyncError

KEY_UNKNOWN: Final = Entry(
    SyncError,
    "key_unknown",
    "the source sent a change without its row's key",
    "set REPLICA IDENTITY FULL, then `rowtide reconcile` the sync",
)
RELATION_MISMATCH: Final = Entry(
    SyncError,
    "relation_mismatch",
    "table {table} {problem}",
    "mend the table, or the definition and `rowtide apply`; the sync goes on by itself when they fit",
)
NOT_PUBLISHED: Final = Entry(
    SyncError,
    "not_published",
    "table {table} is not published under its own name by {publication}",
    "run what `rowtide doctor` prints; the sync goes on by itself",
)
PUBLICATION_ACTIONS: Final = Entry(
    SyncError,
    "publication_actions",
    "publication {publication} leaves out {actions}",
    "run what `rowtide doctor` prints; the sync goes on by itself",
)
PUBLICATION_FILTER: Final = Entry(
    SyncError,
    "publication_filter",
    "publication {publication} has a row filter on table {table}, which hides rows from the sync",
    "take the filter out of the publication (`where` of the sync does the same); the sync goes on by itself",
)
PUBLICATION_COLUMNS: Final = Entry(
    SyncError,
    "publication_columns",
    "publication {publication} leaves out {columns} of table {table}, which the sync reads",
    "add them to the publication's column list; the sync goes on by itself",
)
NOT_COMPILED: Final = Entry(
    SyncError,
    "not_compiled",
    "the process that captures cannot compile the sync: {problem}",
    "run the release that applied the definition; the sync goes on by itself",
)
MASS_DELETE: Final = Entry(
    SyncError,
    "mass_delete",
    "{count} items of sync {sync} would be deleted, {share}its {pairs}: more than its breaker lets pass "
    "({share_limit} or {rows_limit} rows). Nothing was deleted.",
    "rowtide resume {sync} --approve-deletes",
)
MASS_MISSING: Final = Entry(
    SyncError,
    "mass_missing",
    "{count} items of sync {sync} are missing in its lists, {share}its {pairs}: more than its breaker lets be made "
    "anew ({share_limit} or {rows_limit} rows). None was made.",
    "rowtide resume {sync} --approve-creates; or restore them from SharePoint's recycle bin, then rowtide reconcile "
    "{sync}",
)
OTHER_SYSTEM: Final = Entry(
    GapError,
    "other_system",
    "The server is another one (system {now}, no longer {before}); nothing is read from it.",
    "Correct the DSN; after a migration, run `rowtide resume --accept-source NAME`.",
)
NOT_APPLIED_ON: Final = Entry(
    GapError,
    "other_system",
    "The server is another one (system {now}) than `rowtide apply` has met ({applied}); nothing is read from it.",
    "Correct the DSN; if the server is the right one, run `rowtide apply` with it.",
)
GAP: Final = Entry(
    GapError,
    "{code}",
    "{reason}; capture waits because on_gap is stop.",
    "Set on_gap: heal to go on with a new era and a reconcile of every sync.",
)

STOPS_OF_SHAPE: Final = tuple(
    entry.code
    for entry in (
        RELATION_MISMATCH,
        NOT_PUBLISHED,
        PUBLICATION_ACTIONS,
        PUBLICATION_FILTER,
        PUBLICATION_COLUMNS,
        NOT_COMPILED,
    )
)
"""Codes of stops at capture that end by themselves when the sync compiles, and table and publication fit it again."""

STOPS_OF_CHANGES: Final = (KEY_UNKNOWN.code,)
"""Codes of stops at capture that a change of the source caused: a person says by a reconcile that it is mended."""

PAUSED_BY_HAND: Final = ReasonEntry("paused", "{reason}", "`rowtide resume`")
"""The code of a sync that a person paused; the sentence is the person's own."""

FIRST_START: Final = ReasonEntry("first_start", "The slot is read for the first time")
SLOT_GONE: Final = ReasonEntry("slot_missing", "The replication slot is gone")
SLOT_LOST: Final = ReasonEntry("slot_lost", "The server invalidated the slot ({why})", "raise max_slot_wal_keep_size")
SOURCE_ACCEPTED: Final = ReasonEntry("source_accepted", "A person accepted the server as the source")
NEW_TIMELINE: Final = ReasonEntry(
    "new_timeline", "The server is on timeline {timeline}, no longer {before} (failover or restore)"
)
PUBLICATION_GAP: Final = ReasonEntry("publication_recreated", "The publication was missing for a time")
SLOT_AHEAD: Final = ReasonEntry(
    "slot_ahead",
    "The slot stands at {slot_lsn}, beyond the cursor at {cursor_lsn} "
    "(recreated, advanced, or the state database was restored)",
)
XID_BEHIND: Final = ReasonEntry(
    "xid_behind",
    "The server's next transaction is {next_xid}, not above {staged} staged before (the source was restored)",
)
HISTORY_REPLACED: Final = ReasonEntry(
    "history_replaced", "The server's WAL does not hold the transaction staged last (the source was restored)"
)
WAL_BEHIND: Final = ReasonEntry(
    "wal_behind", "The server's WAL ends at {wal_end}, below {staged} staged before (the source was restored)"
)
