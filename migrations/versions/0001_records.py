"""The records: outbox, ledger, inbox, cursors, conflicts, definitions, lists, syncs, holds, reconciles,
runs, progress, processes.

In: an empty schema ``rowtide``. Out: the tables of `state.tables` as they were at the first release. Rule: a released
migration is never edited; a test holds the newest one equal to the metadata.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_RECORDS = """
CREATE TABLE rowtide.outbox (
    sync TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    op CHAR(1) NOT NULL,
    target TEXT,
    fields JSON,
    partial BOOLEAN DEFAULT false NOT NULL,
    mapping_version INTEGER NOT NULL,
    era BIGINT NOT NULL,
    lsn BIGINT NOT NULL,
    ordinal INTEGER NOT NULL,
    xid BIGINT NOT NULL,
    committed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    out_since TIMESTAMP WITH TIME ZONE,
    priority SMALLINT NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    waits_for TEXT COLLATE "C" NOT NULL GENERATED ALWAYS AS (
        CASE WHEN op = 'r' THEN 'read' WHEN target IS NULL THEN '' ELSE 'to ' || target END) STORED,
    state TEXT DEFAULT 'waiting' NOT NULL,
    reason_code TEXT,
    reason TEXT,
    hold BOOLEAN DEFAULT false NOT NULL,
    approved BOOLEAN DEFAULT false NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    tries INTEGER DEFAULT 0 NOT NULL,
    lease_token TEXT,
    lease_owner TEXT,
    lease_until TIMESTAMP WITH TIME ZONE,
    revision BIGINT DEFAULT 1 NOT NULL,
    sent JSONB DEFAULT '[]'::jsonb NOT NULL,
    read_revision BIGINT,
    staged_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT outbox_pkey PRIMARY KEY (sync, key),
    CONSTRAINT outbox_op_check CHECK (op IN ('u', 'd', 'r')),
    CONSTRAINT outbox_state_check CHECK (state IN ('waiting', 'parked'))
)
WITH (fillfactor = 80);
CREATE INDEX outbox_deletes_idx ON rowtide.outbox (sync) WHERE op = 'd';
CREATE INDEX outbox_due_idx ON rowtide.outbox (sync, waits_for, priority, due_at) WHERE state = 'waiting';
CREATE INDEX outbox_lease_idx ON rowtide.outbox (lease_owner, lease_token) WHERE lease_owner IS NOT NULL;
CREATE INDEX outbox_parked_idx ON rowtide.outbox (sync, key) WHERE state = 'parked';
CREATE TABLE rowtide.ledger (
    sync TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    list_id TEXT,
    item_id TEXT,
    etag TEXT,
    version BIGINT DEFAULT 0 NOT NULL,
    base JSONB DEFAULT '{}'::jsonb NOT NULL,
    kept JSONB DEFAULT '{}'::jsonb NOT NULL,
    mapping_version INTEGER NOT NULL,
    era BIGINT NOT NULL,
    lsn BIGINT NOT NULL,
    ordinal INTEGER NOT NULL,
    xid BIGINT NOT NULL,
    state TEXT NOT NULL,
    leftovers JSONB DEFAULT '[]'::jsonb NOT NULL,
    applied_era BIGINT,
    applied_lsn BIGINT,
    pulled JSONB,
    pulled_era BIGINT,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT ledger_pkey PRIMARY KEY (sync, key),
    CONSTRAINT ledger_state_check CHECK (state IN ('arriving', 'live', 'tombstone', 'ignored', 'kept'))
)
WITH (fillfactor = 90);
CREATE UNIQUE INDEX ledger_item_idx ON rowtide.ledger (list_id, item_id) WHERE state IN ('live', 'arriving');
CREATE INDEX ledger_pulled_idx ON rowtide.ledger (sync, pulled_era) WHERE pulled IS NOT NULL;
CREATE INDEX ledger_tombstone_idx ON rowtide.ledger (sync, updated_at) WHERE state = 'tombstone';
CREATE TABLE rowtide.inbox (
    list_id TEXT COLLATE "C" NOT NULL,
    item_id TEXT COLLATE "C" NOT NULL,
    sync TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    etag TEXT,
    deleted BOOLEAN DEFAULT false NOT NULL,
    inferred BOOLEAN DEFAULT false NOT NULL,
    approved BOOLEAN DEFAULT false NOT NULL,
    fields JSONB DEFAULT '{}'::jsonb NOT NULL,
    item_key TEXT COLLATE "C",
    suspect BOOLEAN DEFAULT false NOT NULL,
    by_app BOOLEAN DEFAULT false NOT NULL,
    made_by_app BOOLEAN DEFAULT false NOT NULL,
    editor_name TEXT,
    editor_email TEXT,
    modified_at TIMESTAMP WITH TIME ZONE,
    key TEXT COLLATE "C",
    state TEXT DEFAULT 'waiting' NOT NULL,
    code TEXT,
    sentence TEXT,
    due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    tries INTEGER DEFAULT 0 NOT NULL,
    lease_token TEXT,
    lease_owner TEXT,
    lease_until TIMESTAMP WITH TIME ZONE,
    absent_era BIGINT,
    absent_lsn BIGINT,
    revision BIGINT DEFAULT 1 NOT NULL,
    round BIGINT DEFAULT 0 NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT inbox_pkey PRIMARY KEY (list_id, item_id),
    CONSTRAINT inbox_state_check CHECK (state IN ('waiting', 'parked', 'conflict'))
)
WITH (fillfactor = 80);
CREATE INDEX inbox_aside_idx ON rowtide.inbox (sync, state) WHERE state <> 'waiting';
CREATE INDEX inbox_due_idx ON rowtide.inbox (sync, due_at) WHERE state = 'waiting';
CREATE INDEX inbox_item_key_idx ON rowtide.inbox (item_key) WHERE item_key IS NOT NULL;
CREATE INDEX inbox_lease_idx ON rowtide.inbox (lease_owner, lease_token) WHERE lease_owner IS NOT NULL;
CREATE INDEX inbox_row_idx ON rowtide.inbox (sync, key) WHERE key IS NOT NULL;
CREATE TABLE rowtide.list_cursor (
    list_id TEXT COLLATE "C" NOT NULL,
    sync TEXT COLLATE "C" NOT NULL,
    incarnation BIGINT DEFAULT 0 NOT NULL,
    link TEXT,
    round BIGINT DEFAULT 0 NOT NULL,
    round_began_at TIMESTAMP WITH TIME ZONE,
    round_ended_at TIMESTAMP WITH TIME ZONE,
    read_until TIMESTAMP WITH TIME ZONE,
    "full" BOOLEAN DEFAULT false NOT NULL,
    full_since TIMESTAMP WITH TIME ZONE,
    upload BOOLEAN DEFAULT false NOT NULL,
    missing BOOLEAN DEFAULT false NOT NULL,
    suspect_since TIMESTAMP WITH TIME ZONE,
    poll_due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    hinted_at TIMESTAMP WITH TIME ZONE,
    interval_s DOUBLE PRECISION,
    changed_at TIMESTAMP WITH TIME ZONE,
    code TEXT,
    sentence TEXT,
    CONSTRAINT list_cursor_pkey PRIMARY KEY (list_id)
);
CREATE INDEX list_cursor_sync_idx ON rowtide.list_cursor (sync);
CREATE TABLE rowtide.conflict (
    id BIGINT GENERATED BY DEFAULT AS IDENTITY,
    sync TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C",
    list_id TEXT COLLATE "C" NOT NULL,
    item_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    fields JSONB DEFAULT '{}'::jsonb NOT NULL,
    postgres_at TIMESTAMP WITH TIME ZONE,
    sharepoint_at TIMESTAMP WITH TIME ZONE,
    editor_name TEXT,
    policy TEXT NOT NULL,
    winner TEXT,
    sentence TEXT,
    state TEXT NOT NULL,
    choice JSONB,
    chosen_by TEXT,
    chosen_why TEXT,
    chosen_at TIMESTAMP WITH TIME ZONE,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT conflict_pkey PRIMARY KEY (id),
    CONSTRAINT conflict_state_check CHECK (state IN ('open', 'closed'))
);
CREATE INDEX conflict_at_idx ON rowtide.conflict (at);
CREATE UNIQUE INDEX conflict_once_idx ON rowtide.conflict (list_id, item_id, version, kind, md5(fields::text));
CREATE INDEX conflict_open_idx ON rowtide.conflict (sync, id) WHERE state = 'open';
CREATE INDEX conflict_row_idx ON rowtide.conflict (sync, key);
CREATE TABLE rowtide.slot_cursor (
    slot TEXT COLLATE "C" NOT NULL,
    incarnation BIGINT NOT NULL,
    lsn BIGINT NOT NULL,
    system_id TEXT NOT NULL,
    timeline INTEGER NOT NULL,
    staged_lsn BIGINT NOT NULL,
    staged_ordinal INTEGER DEFAULT -1 NOT NULL,
    staged_xid BIGINT,
    staged_committed_us BIGINT,
    publication_oid BIGINT NOT NULL,
    address TEXT DEFAULT '' NOT NULL,
    owner TEXT DEFAULT '' NOT NULL,
    owner_since_lsn BIGINT DEFAULT 0 NOT NULL,
    heartbeat BIGINT DEFAULT 0 NOT NULL,
    heartbeat_staged BIGINT DEFAULT 0 NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT slot_cursor_pkey PRIMARY KEY (slot)
);
CREATE TABLE rowtide.instance (
    one BOOLEAN DEFAULT true NOT NULL,
    id TEXT NOT NULL,
    system_id TEXT NOT NULL,
    timeline INTEGER NOT NULL,
    database_oid BIGINT NOT NULL,
    written_xid BIGINT NOT NULL,
    former TEXT[] DEFAULT '{}' NOT NULL,
    CONSTRAINT instance_pkey PRIMARY KEY (one),
    CONSTRAINT instance_one_check CHECK (one)
);
CREATE TABLE rowtide.definition (
    version INTEGER GENERATED BY DEFAULT AS IDENTITY,
    hash TEXT NOT NULL,
    compiled JSONB NOT NULL,
    needs INTEGER NOT NULL,
    based_on INTEGER,
    applied_by TEXT NOT NULL,
    applied_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT definition_pkey PRIMARY KEY (version)
);
CREATE TABLE rowtide.list (
    id TEXT COLLATE "C" NOT NULL,
    site_id TEXT NOT NULL,
    sync TEXT COLLATE "C" NOT NULL,
    targets TEXT[] NOT NULL,
    title TEXT NOT NULL,
    state TEXT NOT NULL,
    columns JSONB DEFAULT '{}'::jsonb NOT NULL,
    kinds JSONB DEFAULT '{}'::jsonb NOT NULL,
    held JSONB DEFAULT '{}'::jsonb NOT NULL,
    missing_since TIMESTAMP WITH TIME ZONE,
    CONSTRAINT list_pkey PRIMARY KEY (id),
    CONSTRAINT list_state_check CHECK (state IN ('applied', 'leaving', 'gone'))
);
CREATE TABLE rowtide.sync (
    sync TEXT COLLATE "C" NOT NULL,
    retired BOOLEAN DEFAULT false NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    era BIGINT DEFAULT 0 NOT NULL,
    since_slot TEXT COLLATE "C",
    since_incarnation BIGINT,
    since_lsn BIGINT,
    shape JSONB,
    CONSTRAINT sync_pkey PRIMARY KEY (sync)
);
CREATE TABLE rowtide.hold (
    scope TEXT COLLATE "C" NOT NULL,
    object TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    deletes JSONB,
    remedy TEXT DEFAULT '' NOT NULL,
    until TIMESTAMP WITH TIME ZONE,
    step INTEGER,
    CONSTRAINT hold_pkey PRIMARY KEY (scope, object, kind)
);
CREATE TABLE rowtide.reconcile (
    sync TEXT COLLATE "C" NOT NULL,
    state TEXT DEFAULT 'wanted' NOT NULL,
    why TEXT NOT NULL,
    deep BOOLEAN DEFAULT false NOT NULL,
    enumerates BOOLEAN DEFAULT false NOT NULL,
    asked BIGINT DEFAULT 1 NOT NULL,
    serves BIGINT DEFAULT 0 NOT NULL,
    requested_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    run_id BIGINT,
    claim BIGINT DEFAULT 0 NOT NULL,
    owner TEXT,
    era BIGINT,
    mapping_version INTEGER,
    mark_lsn BIGINT,
    phase TEXT,
    after_key TEXT[],
    opening_xid BIGINT DEFAULT 0 NOT NULL,
    lowest_xmin BIGINT,
    unread BOOLEAN DEFAULT false NOT NULL,
    unread_until TEXT[],
    read_again BOOLEAN DEFAULT false NOT NULL,
    estimate BIGINT DEFAULT 0 NOT NULL,
    counts JSONB DEFAULT '{}'::jsonb NOT NULL,
    waits TEXT,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT reconcile_pkey PRIMARY KEY (sync),
    CONSTRAINT reconcile_state_check CHECK (state IN ('wanted', 'running', 'done'))
);
CREATE TABLE rowtide.reconcile_absent (
    sync TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    approved BOOLEAN DEFAULT false NOT NULL,
    CONSTRAINT reconcile_absent_pkey PRIMARY KEY (sync, key)
);
CREATE TABLE rowtide.enumeration (
    sync TEXT COLLATE "C" NOT NULL,
    purpose TEXT COLLATE "C" NOT NULL,
    list_id TEXT COLLATE "C" NOT NULL,
    mapping_version INTEGER NOT NULL,
    ended INTEGER DEFAULT 0 NOT NULL,
    wanted INTEGER DEFAULT 1 NOT NULL,
    began_at TIMESTAMP WITH TIME ZONE,
    midway BOOLEAN DEFAULT false NOT NULL,
    link TEXT,
    pages BIGINT DEFAULT 0 NOT NULL,
    ru BIGINT DEFAULT 0 NOT NULL,
    problem TEXT,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT enumeration_pkey PRIMARY KEY (sync, purpose, list_id),
    CONSTRAINT enumeration_purpose_check CHECK (purpose IN ('deep', 'diff'))
);
CREATE TABLE rowtide.seen (
    sync TEXT COLLATE "C" NOT NULL,
    purpose TEXT COLLATE "C" NOT NULL,
    list_id TEXT COLLATE "C" NOT NULL,
    item_id TEXT COLLATE "C" NOT NULL,
    item_key TEXT COLLATE "C",
    etag TEXT NOT NULL,
    version BIGINT NOT NULL,
    fields JSONB NOT NULL,
    made_by_app BOOLEAN NOT NULL,
    by_app BOOLEAN NOT NULL,
    CONSTRAINT seen_pkey PRIMARY KEY (sync, purpose, list_id, item_id)
);
CREATE TABLE rowtide.runs (
    id BIGINT GENERATED BY DEFAULT AS IDENTITY,
    kind TEXT NOT NULL,
    sync TEXT COLLATE "C",
    incarnation UUID,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    verdict TEXT,
    turns INTEGER DEFAULT 1 NOT NULL,
    from_pos JSONB,
    to_pos JSONB,
    actor TEXT COLLATE "C" DEFAULT '' NOT NULL,
    detail JSONB DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT runs_pkey PRIMARY KEY (id)
);
CREATE INDEX runs_started_at_idx ON rowtide.runs (started_at);
CREATE INDEX runs_process_idx ON rowtide.runs (actor, id) WHERE kind = 'process';
CREATE TABLE rowtide.progress (
    sync TEXT COLLATE "C" NOT NULL,
    changes BIGINT DEFAULT 0 NOT NULL,
    delivered BIGINT DEFAULT 0 NOT NULL,
    writes BIGINT DEFAULT 0 NOT NULL,
    suppressed BIGINT DEFAULT 0 NOT NULL,
    foreign_edits BIGINT DEFAULT 0 NOT NULL,
    ru_used NUMERIC DEFAULT 0 NOT NULL,
    latency_buckets BIGINT[] DEFAULT '{}'::bigint[] NOT NULL,
    latency_before BIGINT[] DEFAULT '{}'::bigint[] NOT NULL,
    window_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT progress_pkey PRIMARY KEY (sync)
);
CREATE TABLE rowtide.sync_minute (
    minute TIMESTAMP WITH TIME ZONE NOT NULL,
    sync TEXT COLLATE "C" NOT NULL,
    incarnation UUID NOT NULL,
    n BIGINT[] NOT NULL,
    push_ms INTEGER[] NOT NULL,
    bulk_ms INTEGER[] NOT NULL,
    pull_ms INTEGER[] NOT NULL,
    CONSTRAINT sync_minute_pkey PRIMARY KEY (minute, sync, incarnation)
) WITH (fillfactor = 50);
CREATE TABLE rowtide.sync_hour (
    hour TIMESTAMP WITH TIME ZONE NOT NULL,
    sync TEXT COLLATE "C" NOT NULL,
    n BIGINT[] NOT NULL,
    push_ms INTEGER[] NOT NULL,
    bulk_ms INTEGER[] NOT NULL,
    pull_ms INTEGER[] NOT NULL,
    CONSTRAINT sync_hour_pkey PRIMARY KEY (hour, sync)
);
CREATE TABLE rowtide.gauge (
    sync TEXT COLLATE "C" NOT NULL,
    waiting BIGINT NOT NULL,
    parked BIGINT NOT NULL,
    held BIGINT NOT NULL,
    pulling BIGINT NOT NULL,
    found BIGINT NOT NULL,
    oldest TIMESTAMP WITH TIME ZONE,
    push_lag_s DOUBLE PRECISION NOT NULL,
    pull_lag_s DOUBLE PRECISION,
    push_unknown_since TIMESTAMP WITH TIME ZONE,
    pull_unknown_since TIMESTAMP WITH TIME ZONE,
    since TIMESTAMP WITH TIME ZONE NOT NULL,
    as_of TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT gauge_pkey PRIMARY KEY (sync)
);
CREATE TABLE rowtide.slo_minute (
    minute TIMESTAMP WITH TIME ZONE NOT NULL,
    sync TEXT COLLATE "C" NOT NULL,
    verdict SMALLINT NOT NULL,
    CONSTRAINT slo_minute_pkey PRIMARY KEY (minute, sync)
);
CREATE TABLE rowtide.spent (
    app TEXT COLLATE "C" NOT NULL,
    hour TIMESTAMP WITH TIME ZONE NOT NULL,
    ru NUMERIC NOT NULL,
    CONSTRAINT spent_pkey PRIMARY KEY (app, hour)
);
CREATE TABLE rowtide.process (
    process_id INTEGER NOT NULL,
    roles TEXT COLLATE "C" NOT NULL,
    pid INTEGER NOT NULL,
    host TEXT NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    format INTEGER DEFAULT 1 NOT NULL,
    health JSONB DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT process_pkey PRIMARY KEY (process_id, roles)
);
"""


def upgrade() -> None:
    """Create the records."""
    # One statement at a time, so that a failure names its statement.
    for statement in _RECORDS.split(";"):
        if statement.strip():
            op.execute(statement)
