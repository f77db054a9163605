"""The records of the state database as SQLAlchemy Core metadata: what each table and index is for.

In: nothing. Out: `metadata` and one `Table` per record; those that only syncs of two ways fill are in
`state.tables_both_ways`, what each sync did in `state.tables_history`. Rule: a test holds the migrations equal to these
files.
"""

from sqlalchemy import (
    ARRAY,
    CHAR,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Double,
    Identity,
    Index,
    Integer,
    Numeric,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSON, JSONB

from state.column_types import FALSE, NAME, NOW, TIME, ZERO
from state.column_types import metadata as metadata
from state.tables_both_ways import conflict as conflict
from state.tables_both_ways import inbox as inbox
from state.tables_both_ways import list_cursor as list_cursor
from state.tables_history import sync_hour as sync_hour
from state.tables_history import sync_minute as sync_minute

_WAITS_FOR = """
    CASE WHEN (op = 'r'::bpchar) THEN 'read'::text WHEN (target IS NULL) THEN ''::text ELSE ('to '::text || target) END
"""


outbox = Table(
    "outbox",
    metadata,
    Column("sync", NAME, primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("op", CHAR(1), nullable=False),
    Column("target", Text),
    # Checked text, not a tree: a million are written, and only the overlay of a partial change takes one apart.
    Column("fields", JSON),
    Column("partial", Boolean, nullable=False, server_default=FALSE),
    Column("mapping_version", Integer, nullable=False),
    Column("era", BigInteger, nullable=False),
    Column("lsn", BigInteger, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("xid", BigInteger, nullable=False),
    Column("committed_at", TIME, nullable=False),
    # When the oldest change was committed that no item shows yet; null: that is the one of `committed_at`.
    Column("out_since", TIME),
    Column("priority", SmallInteger, nullable=False),
    Column("due_at", TIME, nullable=False, server_default=NOW),
    # What the row waits for within its sync: to be read from the source, its list, or (a delete) the list it is in.
    Column("waits_for", NAME, Computed(_WAITS_FOR, persisted=True), nullable=False),
    Column("state", Text, nullable=False, server_default=text("'waiting'")),
    Column("reason_code", Text),
    Column("reason", Text),
    Column("hold", Boolean, nullable=False, server_default=FALSE),
    # A deletion that a person has let through; a newer change of the row is judged anew.
    Column("approved", Boolean, nullable=False, server_default=FALSE),
    Column("attempts", Integer, nullable=False, server_default=ZERO),
    # How often in a row it was given back with a wait that grows.
    Column("tries", Integer, nullable=False, server_default=ZERO),
    Column("lease_token", Text),
    Column("lease_owner", Text),
    Column("lease_until", TIME),
    Column("revision", BigInteger, nullable=False, server_default=text("1")),
    Column("sent", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    # The revision at which the row was last read from its source: at this one no streamed change has come since.
    Column("read_revision", BigInteger),
    Column("staged_at", TIME, nullable=False, server_default=NOW),
    CheckConstraint("op IN ('u', 'd', 'r')", name="op"),
    CheckConstraint("state IN ('waiting', 'parked')", name="state"),
    # Room on each page for the claim's own update of a row and for merges.
    postgresql_with={"fillfactor": "80"},
)
Index(
    "outbox_due_idx",
    outbox.c.sync,
    outbox.c.waits_for,
    outbox.c.priority,
    outbox.c.due_at,
    postgresql_where=text("state = 'waiting'"),
)
Index(
    "outbox_lease_idx",
    outbox.c.lease_owner,
    outbox.c.lease_token,
    postgresql_where=text("lease_owner IS NOT NULL"),
)
Index("outbox_parked_idx", outbox.c.sync, outbox.c.key, postgresql_where=text("state = 'parked'"))
Index("outbox_deletes_idx", outbox.c.sync, postgresql_where=text("op = 'd'"))

ledger = Table(
    "ledger",
    metadata,
    Column("sync", NAME, primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("list_id", Text),
    Column("item_id", Text),
    Column("etag", Text),
    Column("version", BigInteger, nullable=False, server_default=ZERO),
    Column("base", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("kept", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("mapping_version", Integer, nullable=False),
    Column("era", BigInteger, nullable=False),
    Column("lsn", BigInteger, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("xid", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("leftovers", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    # Of the last edit that was applied to the row: the era then, and where the source's WAL ended after its commit.
    Column("applied_era", BigInteger),
    Column("applied_lsn", BigInteger),
    # What it was: item, version, operation, xid, digests of what was overwritten (rowtide_pull.applied in the source is
    # its counterpart); the era in which the source was seen to have it, or what it lacks of it was applied once more.
    Column("pulled", JSONB),
    Column("pulled_era", BigInteger),
    Column("updated_at", TIME, nullable=False, server_default=NOW),
    CheckConstraint("state IN ('arriving', 'live', 'tombstone', 'ignored', 'kept')", name="state"),
    postgresql_with={"fillfactor": "90"},
)
Index(
    "ledger_item_idx",
    ledger.c.list_id,
    ledger.c.item_id,
    unique=True,
    postgresql_where=text("state IN ('live', 'arriving')"),
)
Index("ledger_tombstone_idx", ledger.c.sync, ledger.c.updated_at, postgresql_where=text("state = 'tombstone'"))
Index("ledger_pulled_idx", ledger.c.sync, ledger.c.pulled_era, postgresql_where=text("pulled IS NOT NULL"))

slot_cursor = Table(
    "slot_cursor",
    metadata,
    Column("slot", NAME, primary_key=True),
    Column("incarnation", BigInteger, nullable=False),
    Column("lsn", BigInteger, nullable=False),
    Column("system_id", Text, nullable=False),
    Column("timeline", Integer, nullable=False),
    Column("staged_lsn", BigInteger, nullable=False),
    # The row in that transaction up to which changes are staged and counted; -1: none of it.
    Column("staged_ordinal", Integer, nullable=False, server_default=text("-1")),
    # The transaction that commits at staged_lsn, so that another one there is told from it; none before the first.
    Column("staged_xid", BigInteger),
    Column("staged_committed_us", BigInteger),
    Column("publication_oid", BigInteger, nullable=False),
    # Where the server was reached last, for whoever is told that another one answers.
    Column("address", Text, nullable=False, server_default=text("''")),
    # The installation that reads the slot, where the source's WAL ended when it came to it, and its newest heartbeat.
    Column("owner", Text, nullable=False, server_default=text("''")),
    Column("owner_since_lsn", BigInteger, nullable=False, server_default=ZERO),
    Column("heartbeat", BigInteger, nullable=False, server_default=ZERO),
    # The number of the newest heartbeat of which everything committed before it is staged; 0: none yet.
    Column("heartbeat_staged", BigInteger, nullable=False, server_default=ZERO),
    Column("updated_at", TIME, nullable=False, server_default=NOW),
)

# The installation that these records are of, and where this row was written (state.instance).
instance = Table(
    "instance",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true")),
    Column("id", Text, nullable=False),
    Column("system_id", Text, nullable=False),
    Column("timeline", Integer, nullable=False),
    Column("database_oid", BigInteger, nullable=False),
    Column("written_xid", BigInteger, nullable=False),
    # Ids of the installations that the records were copied from.
    Column("former", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    CheckConstraint("one", name="one"),
)

definition = Table(
    "definition",
    metadata,
    Column("version", Integer, Identity(), primary_key=True),
    # SHA-256 of ``compiled`` in one canonical form.
    Column("hash", Text, nullable=False),
    # rowtide.catalog.to_compiled: mapping, lists and policy. Nothing in it says how something is reached.
    Column("compiled", JSONB, nullable=False),
    # The format of ``compiled`` (rowtide.catalog.FORMAT): a process that knows only older ones does not take it over.
    Column("needs", Integer, nullable=False),
    # The version in force when it was planned; none for the first.
    Column("based_on", Integer),
    Column("applied_by", Text, nullable=False),
    Column("applied_at", TIME, nullable=False, server_default=NOW),
)

# A list of a sync, also when no target names it any more; known by its id, whatever SharePoint calls it.
list_ = Table(
    "list",
    metadata,
    Column("id", NAME, primary_key=True),
    Column("site_id", Text, nullable=False),
    Column("sync", NAME, nullable=False),
    Column("targets", ARRAY(Text), nullable=False),
    Column("title", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("columns", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    # Name -> kind of each, as the definition says it.
    Column("kinds", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    # What of it cannot be written, and why (rowtide.lists.HeldColumns).
    Column("held", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    # SharePoint answers 404 for it; null: it answers.
    Column("missing_since", TIME),
    CheckConstraint("state IN ('applied', 'leaving', 'gone')", name="state"),
)

sync = Table(
    "sync",
    metadata,
    Column("sync", NAME, primary_key=True),
    # The applied definition does not name it any more; its records are kept.
    Column("retired", Boolean, nullable=False, server_default=FALSE),
    Column("changed_by", Text, nullable=False),
    Column("changed_at", TIME, nullable=False, server_default=NOW),
    # One unbroken stream of the sync, and where it began (state.eras).
    Column("era", BigInteger, nullable=False, server_default=ZERO),
    Column("since_slot", NAME),
    Column("since_incarnation", BigInteger),
    Column("since_lsn", BigInteger),
    # What the sync reads, as last looked at in this era (rowtide.shape.Prints); no pass begins before.
    Column("shape", JSONB),
)

# What holds rows back (rowtide.holds): a sync runs when no hold covers it. Kinds of a newer release hold, too.
hold = Table(
    "hold",
    metadata,
    Column("scope", NAME, primary_key=True),
    Column("object", NAME, primary_key=True),
    Column("kind", NAME, primary_key=True),
    Column("code", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", TIME, nullable=False, server_default=NOW),
    # Of kinds deletes and creates: count, sample of keys, position up to which (rowtide.holds.HeldDeletes).
    Column("deletes", JSONB),
    # Of kind fault: what to do about it, when it is tried again, after how many failures in a row.
    Column("remedy", Text, nullable=False, server_default=text("''")),
    Column("until", TIME),
    Column("step", Integer),
)

reconcile = Table(
    "reconcile",
    metadata,
    Column("sync", NAME, primary_key=True),
    Column("state", Text, nullable=False, server_default=text("'wanted'")),
    Column("why", Text, nullable=False),
    # Whether the next pass is to read the lists too; `enumerates`: whether the present or last one does.
    Column("deep", Boolean, nullable=False, server_default=FALSE),
    Column("enumerates", Boolean, nullable=False, server_default=FALSE),
    # Requests are counted: one that comes while a pass runs leads to another pass.
    Column("asked", BigInteger, nullable=False, server_default=text("1")),
    Column("serves", BigInteger, nullable=False, server_default=ZERO),
    Column("requested_at", TIME, nullable=False, server_default=NOW),
    Column("started_at", TIME),
    Column("ended_at", TIME),
    Column("run_id", BigInteger),
    # Fences off a process that goes on with a pass that another process has taken up.
    Column("claim", BigInteger, nullable=False, server_default=ZERO),
    Column("owner", Text),
    # What the pass covers (rowtide.reconcile.Coverage).
    Column("era", BigInteger),
    Column("mapping_version", Integer),
    Column("mark_lsn", BigInteger),
    Column("phase", Text),
    Column("after_key", ARRAY(Text)),
    Column("opening_xid", BigInteger, nullable=False, server_default=ZERO),
    Column("lowest_xmin", BigInteger),
    Column("unread", Boolean, nullable=False, server_default=FALSE),
    Column("unread_until", ARRAY(Text)),
    Column("read_again", Boolean, nullable=False, server_default=FALSE),
    Column("estimate", BigInteger, nullable=False, server_default=ZERO),
    Column("counts", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("waits", Text),
    Column("updated_at", TIME, nullable=False, server_default=NOW),
    CheckConstraint("state IN ('wanted', 'running', 'done')", name="state"),
)

# Keys that a running reconcile no longer found in the source; the breaker judges them before the first is staged.
reconcile_absent = Table(
    "reconcile_absent",
    metadata,
    Column("sync", NAME, primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("approved", Boolean, nullable=False, server_default=FALSE),
)

# How far the items of a list are read, for whom: a deep reconcile or a diff of its sync (state.enumeration).
enumeration = Table(
    "enumeration",
    metadata,
    Column("sync", NAME, primary_key=True),
    Column("purpose", NAME, primary_key=True),
    Column("list_id", NAME, primary_key=True),
    Column("mapping_version", Integer, nullable=False),
    # Rounds that have ended and rounds that are asked for; the first one reads every item.
    Column("ended", Integer, nullable=False, server_default=ZERO),
    Column("wanted", Integer, nullable=False, server_default=text("1")),
    # When the present or last round began; `midway`: it has not ended, and goes on at `link`.
    Column("began_at", TIME),
    Column("midway", Boolean, nullable=False, server_default=FALSE),
    Column("link", Text),
    Column("pages", BigInteger, nullable=False, server_default=ZERO),
    Column("ru", BigInteger, nullable=False, server_default=ZERO),
    Column("problem", Text),
    Column("updated_at", TIME, nullable=False, server_default=NOW),
    CheckConstraint("purpose IN ('deep', 'diff')", name="purpose"),
)

# The items of an enumeration, as they were last seen.
seen = Table(
    "seen",
    metadata,
    Column("sync", NAME, primary_key=True),
    Column("purpose", NAME, primary_key=True),
    Column("list_id", NAME, primary_key=True),
    Column("item_id", NAME, primary_key=True),
    Column("item_key", NAME),
    Column("etag", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("fields", JSONB, nullable=False),
    # Made by our own application, and last changed by it.
    Column("made_by_app", Boolean, nullable=False),
    Column("by_app", Boolean, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("sync", NAME),
    # Of a process: as what it counts in the minutes of its syncs.
    Column("incarnation", Uuid),
    Column("started_at", TIME, nullable=False, server_default=NOW),
    Column("seen_at", TIME, nullable=False, server_default=NOW),
    Column("ended_at", TIME),
    Column("verdict", Text),
    # So many short runs that ended alike are this one.
    Column("turns", Integer, nullable=False, server_default=text("1")),
    # By slot or sync how far it was, at the beginning and when it was last seen.
    Column("from_pos", JSONB),
    Column("to_pos", JSONB),
    # The name of a process; who asked for anything else.
    Column("actor", NAME, nullable=False, server_default=text("''")),
    Column("detail", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
)
Index("runs_started_at_idx", runs.c.started_at)
Index("runs_process_idx", runs.c.actor, runs.c.id, postgresql_where=text("kind = 'process'"))

progress = Table(
    "progress",
    metadata,
    Column("sync", NAME, primary_key=True),
    Column("changes", BigInteger, nullable=False, server_default=ZERO),
    Column("delivered", BigInteger, nullable=False, server_default=ZERO),
    Column("writes", BigInteger, nullable=False, server_default=ZERO),
    Column("suppressed", BigInteger, nullable=False, server_default=ZERO),
    Column("foreign_edits", BigInteger, nullable=False, server_default=ZERO),
    Column("ru_used", Numeric, nullable=False, server_default=ZERO),
    # Two halves of a sliding window: the running one and the one before it (state.progress turns them over).
    Column("latency_buckets", ARRAY(BigInteger), nullable=False, server_default=text("'{}'::bigint[]")),
    Column("latency_before", ARRAY(BigInteger), nullable=False, server_default=text("'{}'::bigint[]")),
    Column("window_at", TIME, nullable=False, server_default=NOW),
    Column("updated_at", TIME, nullable=False, server_default=NOW),
)

# Where each sync stood when it was looked at last (rowtide.gauge.Gauge), by the process that has the duty.
gauge = Table(
    "gauge",
    metadata,
    Column("sync", NAME, primary_key=True),
    # Rows out of sync, each counted once, by where they wait.
    Column("waiting", BigInteger, nullable=False),
    Column("parked", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("pulling", BigInteger, nullable=False),
    Column("found", BigInteger, nullable=False),
    Column("oldest", TIME),
    Column("push_lag_s", Double, nullable=False),
    # None: the sync has one way.
    Column("pull_lag_s", Double),
    # Since when the figures of a way are only the least; null: they are known.
    Column("push_unknown_since", TIME),
    Column("pull_unknown_since", TIME),
    # When the sync was looked at first, and last.
    Column("since", TIME, nullable=False),
    Column("as_of", TIME, nullable=False),
)

# The promise by minutes: a row of sync '' for each minute with a look; of a sync only for a minute that was not good.
slo_minute = Table(
    "slo_minute",
    metadata,
    Column("minute", TIME, primary_key=True),
    Column("sync", NAME, primary_key=True),
    # rowtide.gauge.Minute: the highest of all looks in the minute.
    Column("verdict", SmallInteger, nullable=False),
)

spent = Table(
    "spent",
    metadata,
    # Tenant and client id.
    Column("app", NAME, primary_key=True),
    Column("hour", TIME, primary_key=True),
    Column("ru", Numeric, nullable=False),
)

process = Table(
    "process",
    metadata,
    Column("process_id", Integer, primary_key=True, autoincrement=False),
    Column("roles", NAME, primary_key=True),
    Column("pid", Integer, nullable=False),
    Column("host", Text, nullable=False),
    Column("started_at", TIME, nullable=False),
    Column("seen_at", TIME, nullable=False),
    # Of the definitions that it understands.
    Column("format", Integer, nullable=False, server_default=text("1")),
    Column("health", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
)
