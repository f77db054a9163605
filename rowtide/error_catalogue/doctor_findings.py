"""What `doctor` looks for, with what to do about each."""

from typing import Final

from rowtide.error_catalogue.entries import FindingEntry

CONNECTION_OK: Final = FindingEntry("connection", "ok", "PostgreSQL at {address} answers.")

CLOCK_OK: Final = FindingEntry("clock", "ok", "Its clock and this machine's agree.")
CLOCK: Final = FindingEntry(
    "clock",
    "warning",
    "The clock of this machine is {seconds} s {side} its clock.",
    "Nothing that runs depends on it, but times in logs and of commits do: keep the clocks in time (NTP).",
)

TLS_OK: Final = FindingEntry(
    "tls", "ok", "The server at {address} has proven who it is, and what is sent there is encrypted."
)
TLS_OFF: Final = FindingEntry(
    "tls",
    "warning",
    "What is sent to {address} is not encrypted (sslmode={sslmode} in the DSN).",
    "Leave sslmode out of the DSN: then a server that is not on this machine has to prove itself.",
)
TLS_UNVERIFIED: Final = FindingEntry(
    "tls",
    "warning",
    "What is sent to {address} is encrypted, but nothing proves who reads it (sslmode={sslmode} in the DSN).",
    "Leave sslmode out of the DSN, and name who signed the server's certificate by sslrootcert.",
)

VERSION_OK: Final = FindingEntry("version", "ok", "PostgreSQL {version}.")
VERSION_OLD: Final = FindingEntry(
    "version", "failure", "PostgreSQL {version}. Rowtide needs 14 or newer.", "Upgrade PostgreSQL."
)
ENCODING: Final = FindingEntry(
    "version",
    "warning",
    "The database's encoding is SQL_ASCII: bytes that are not UTF-8 would arrive as question marks.",
    "Use a database with encoding UTF8.",
)

WAL_LEVEL_OK: Final = FindingEntry("wal_level", "ok", "wal_level is logical.")
WAL_LEVEL: Final = FindingEntry(
    "wal_level",
    "failure",
    "wal_level is {wal_level}; logical decoding needs logical.",
    "Set wal_level = logical and restart PostgreSQL (RDS: rds.logical_replication = 1).",
)

_CAPACITY: Final = "{slots} of {most_slots} slots and {senders} of {most_senders} WAL senders are in use."
CAPACITY_OK: Final = FindingEntry("capacity", "ok", _CAPACITY)
CAPACITY: Final = FindingEntry(
    "capacity",
    "failure",
    _CAPACITY,
    "Raise max_replication_slots and max_wal_senders (restart), or drop what is unused.",
)

ROLE_OK: Final = FindingEntry("role", "ok", "The role {role} may replicate.")
ROLE: Final = FindingEntry(
    "role",
    "failure",
    "The role {role} has no REPLICATION privilege.",
    "ALTER ROLE {quoted} REPLICATION; (RDS: GRANT rds_replication TO {quoted};)",
)

CONTINUITY_OK: Final = FindingEntry("continuity", "ok", "The slot {slot} goes on where capture stands.")
CONTINUITY_HEALS: Final = FindingEntry(
    "continuity",
    "warning",
    "{reason}: what was committed meanwhile may not be in the stream.",
    "Nothing: `rowtide run` begins a new stream and reconciles every sync of the source (on_gap: heal).",
)
CONTINUITY: Final = FindingEntry(
    "continuity",
    "failure",
    "{reason}; capture waits because on_gap is stop.",
    "Set on_gap: heal and run `rowtide apply`: a new stream begins, and every sync of the source is reconciled.",
)

PUBLIC_OPEN: Final = FindingEntry(
    "public",
    "warning",
    "Everybody may create functions and tables in schema public of the database {database}. Rowtide searches no "
    "schema and runs none of them; others may.",
    "REVOKE CREATE ON SCHEMA public FROM PUBLIC;",
)
PUBLIC_CLOSED: Final = FindingEntry("public", "ok", "Not everybody may create something in schema public.")

_OWN_ROLE: Final = "Run as a role of its own, as `rowtide plan --sql` makes it: whoever gets this password gets it all."
EXCESS_NONE: Final = FindingEntry("rights", "ok", "The role {role} may do no more than is needed.")
EXCESS: Final = FindingEntry("rights", "warning", "The role {role} may also: {rights}.", _OWN_ROLE)
EXCESS_SUPERUSER: Final = FindingEntry("rights", "warning", "The role {role} is superuser.", _OWN_ROLE)
EXCESS_OWNER: Final = FindingEntry(
    "rights",
    "warning",
    "The role {role} owns the schema of the records: who acts by it can be anybody, and may change everything.",
    "Use `rowtide_run`, `rowtide_apply` and `rowtide_view`, as `rowtide plan --sql` makes them.",
)

PUBLICATION_OK: Final = FindingEntry("publication", "ok", "The publication {publication} carries every table.")
PUBLICATION_LACKS: Final = FindingEntry(
    "publication", "failure", "The publication {publication} lacks something: {statement}.", "Run `rowtide apply`."
)
_CUT: Final = "Remove it from the publication; use `where` and `fields` of the sync instead."
PUBLICATION_FILTER: Final = FindingEntry(
    "publication", "failure", "The publication {publication} has a row filter on {table}.", _CUT
)
PUBLICATION_COLUMNS: Final = FindingEntry(
    "publication", "warning", "The publication {publication} has a column list on {table}.", _CUT
)

PUBLISH_DATABASE: Final = FindingEntry(
    "publication", "failure", "The role {role} may make no publication in the database {database}.", "{grant}"
)
PUBLISH_OWNER: Final = FindingEntry(
    "publication",
    "failure",
    "The role {role} does not own the publication {publication}, which lacks something.",
    "{grant} or name a role that does as `admin_dsn`.",
)
PUBLISH_TABLE: Final = FindingEntry(
    "publication",
    "failure",
    "The role {role} does not own {table}, as PostgreSQL asks of whoever publishes it.",
    "{grant} or name a role that does as `admin_dsn`.",
)
PUBLISH_ABOVE: Final = FindingEntry(
    "publication",
    "failure",
    "The role {role} may not publish what {owner} owns, and whoever is made a member of {owner} can become superuser.",
    "Run as {owner}, or as superuser: {statements};",
)

TABLE_OK: Final = FindingEntry("table", "ok", "The table {table} can be read and its changes identified.")
TABLE_UNLOGGED: Final = FindingEntry(
    "table",
    "failure",
    "The table {table} is unlogged or temporary: it is never decoded.",
    "ALTER TABLE ... SET LOGGED.",
)
TABLE_IDENTITY: Final = FindingEntry(
    "table",
    "failure",
    "The table {table} has no replica identity.",
    "Add a primary key, or ALTER TABLE ... REPLICA IDENTITY USING INDEX (or FULL).",
)
TABLE_DEFERRABLE: Final = FindingEntry(
    "table",
    "failure",
    "The primary key of {table} is deferrable, which PostgreSQL does not take as a replica identity.",
    "ALTER TABLE ... REPLICA IDENTITY FULL, or make the primary key not deferrable.",
)
TABLE_UNREADABLE: Final = FindingEntry(
    "table",
    "failure",
    "The table {table} cannot be read (first load and repair need it).",
    "GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON TABLE {relation} TO {role}; "
    "(or column by column, as `rowtide plan --sql` prints it)",
)
TABLE_HIDDEN: Final = FindingEntry(
    "table",
    "failure",
    "Row security hides rows of {table} from this role.",
    "ALTER ROLE {role} BYPASSRLS; or own the table.",
)

_KEPT: Final = "The slot {slot} is {reader} and keeps {mebibytes} MiB of WAL"
SLOT_OK: Final = FindingEntry("slot", "ok", f"{_KEPT}.")
SLOT_TIGHT: Final = FindingEntry("slot", "warning", f"{_KEPT} ({{wal_status}}).", "Let a flow read it, or drop it.")
SLOT_SHARED: Final = FindingEntry(
    "slot",
    "failure",
    "The slot {slot} is read by another installation of Rowtide ({instance}).",
    "Give one of the two another `slot:`, or stop the other one.",
)
SLOT_MISSING: Final = FindingEntry("slot", "warning", "The slot {slot} does not exist yet.", "Run `rowtide apply`.")
SLOT_LOST: Final = FindingEntry(
    "slot",
    "failure",
    "The slot {slot} is lost ({why}).",
    "Under on_gap: heal a running flow makes a new one and reconciles; raise max_slot_wal_keep_size.",
)
SLOT_TWO_PHASE: Final = FindingEntry(
    "slot", "failure", "The slot {slot} decodes two-phase commits early.", "Drop it and let `rowtide apply` make it."
)
SLOT_NO_FAILOVER: Final = FindingEntry(
    "slot",
    "failure",
    "The slot {slot} is not a failover slot.",
    "Run ALTER_REPLICATION_SLOT ... (FAILOVER true), or drop it and let `rowtide apply` make it.",
)

PROBE_OK: Final = FindingEntry("probe", "ok", "A replication connection and a temporary slot could be made.")
PROBE_WAITS: Final = FindingEntry(
    "probe",
    "warning",
    "Creating a slot has to wait for transactions that are open.",
    "End long-running transactions (pg_stat_activity.xact_start) before `rowtide apply`.",
)

WAL_LIMIT_OK: Final = FindingEntry("wal_limit", "ok", "Slots keep at most {limit} of WAL.")
WAL_LIMIT: Final = FindingEntry(
    "wal_limit",
    "warning",
    "WAL kept for slots has no limit: an abandoned slot fills the disk.",
    "Set max_slot_wal_keep_size to what the disk can bear; Rowtide heals a slot lost to it.",
)

STANDBY_OK: Final = FindingEntry("standby", "ok", "The synced slot would survive a failover.")
STANDBY: Final = FindingEntry("standby", "failure", "This server is a standby.", "Name the primary in the DSN.")
STANDBY_EARLY: Final = FindingEntry(
    "standby",
    "warning",
    "The synced slot would not survive a failover yet.",
    "Let the flow run, or run SELECT pg_log_standby_snapshot() on the primary.",
)

HEARTBEAT_OK: Final = FindingEntry("heartbeat", "ok", "Heartbeats can be sent.")
HEARTBEAT: Final = FindingEntry(
    "heartbeat",
    "failure",
    "The role may not call pg_logical_emit_message.",
    "GRANT EXECUTE ON FUNCTION pg_logical_emit_message TO this role.",
)

# --- release, state database, tenants ---------------------------------------------------------------------------

RELEASE_OK: Final = FindingEntry("version", "ok", "Rowtide {release} on Python {python}.")
APPLY_OK: Final = FindingEntry("edits", "ok", "The role {role} may write what people edit.")
APPLY_STANDBY: Final = FindingEntry(
    "edits",
    "failure",
    "People's edits would be written to a standby, which only reads.",
    "Name the primary in `apply_dsn`.",
)
APPLY_RECORD_MISSING: Final = FindingEntry(
    "edits",
    "failure",
    "There is no complete table rowtide_pull.applied, which remembers what was written of people's edits.",
    "Run `rowtide apply` with an `admin_dsn` that may make it, or as a superuser: {statements}",
)
APPLY_RECORD_RIGHTS: Final = FindingEntry(
    "edits", "failure", "The role {role} may not read and write rowtide_pull.applied.", "{grants}"
)
APPLY_RIGHTS: Final = FindingEntry(
    "edits", "failure", "The role {role} cannot write people's edits to {table}: it lacks {rights}.", "{grants}"
)
APPLY_GUARDED: Final = FindingEntry(
    "edits",
    "warning",
    "Row security is on for {table}: edits that its policies refuse are parked.",
    "Make policies that let the role write what people may edit.",
)
BYTEWAX_OK: Final = FindingEntry("bytewax", "ok", "Bytewax {version}.")
BYTEWAX: Final = FindingEntry(
    "bytewax",
    "failure",
    "Bytewax {version}: this release is made for {wanted}.",
    "Install the locked requirements.",
)
SCHEMA_OK: Final = FindingEntry("schema", "ok", "The state database answers and fits this release.")
SCHEMA_MISFIT: Final = FindingEntry("schema", "failure", "{finding}.")
SCHEMA_SETTING: Final = FindingEntry("schema", "warning", "{finding}.")
DEFINITION_OK: Final = FindingEntry("definition", "ok", "Version {version} is applied.")
DEFINITION_MISSING: Final = FindingEntry(
    "definition", "warning", "No definition is applied yet.", "Run `rowtide apply`."
)
DEFINITION_DIFFERS: Final = FindingEntry(
    "definition",
    "warning",
    "{path} differs from the applied version {version}, which a running flow obeys.",
    "Look at `rowtide plan`, then run `rowtide apply`.",
)
PROCESS_OK: Final = FindingEntry("process", "ok", "Running: {roles}.")
PROCESS_MISSING: Final = FindingEntry("process", "warning", "No process runs.", "Start one with `rowtide run`.")
TOKEN_OK: Final = FindingEntry("token", "ok", "The token endpoint gives tokens to app {client_id}.")
LISTS_OK: Final = FindingEntry("lists", "ok", "Every list of {site} is there with its columns.")
COLUMN_LEFT_OUT: Final = FindingEntry(
    "columns",
    "warning",
    "On {site}: {step}; rows arrive without it.",
    "Mend the column in SharePoint; or delete it there and run `rowtide apply`, which makes it anew.",
)
LISTS_MISSING: Final = FindingEntry("lists", "warning", "Missing on {site}: {step}.", "Run `rowtide apply`.")
