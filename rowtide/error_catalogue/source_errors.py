"""What can be wrong with a source PostgreSQL: no answer (retried), or a refusal that a person has to mend.

`CONNECT`-time errors have no SQLSTATE: libpq gives only words, which connectors.postgres.connections knows. Later
errors are looked up in `SQLSTATES`; errors that end a stream in `STREAM_SQLSTATES` first.
"""

from typing import Final

from rowtide.error_catalogue.entries import Entry
from rowtide.errors import Malformed, SourceRefused, SourceUnavailable

_AT: Final = "PostgreSQL at {address}: {said}."

# --- connecting -------------------------------------------------------------------------------------------------

DSN_INVALID: Final = Entry(
    SourceRefused,
    "dsn_invalid",
    "The PostgreSQL DSN cannot be read: {problem}.",
    "Write it as postgresql://user:password@host:5432/db, with @ / : ? # and % of the password as %40 %2F %3A %3F %23 "
    "and %25.",
)
WRONG_PASSWORD: Final = Entry(SourceRefused, "wrong_password", _AT, "Correct the user or password in the DSN.")
PG_HBA: Final = Entry(SourceRefused, "pg_hba", _AT, "Let this role in from this host in the server's pg_hba.conf.")
NO_SUCH_ROLE: Final = Entry(SourceRefused, "no_such_role", _AT, "Name a login role.")
NO_SUCH_DATABASE: Final = Entry(SourceRefused, "no_such_database", _AT, "Correct dbname in the DSN.")
NO_REPLICATION_PRIVILEGE: Final = Entry(
    SourceRefused,
    "no_replication_privilege",
    _AT,
    "Run ALTER ROLE ... REPLICATION for this role (on RDS: GRANT rds_replication).",
)
NO_CONNECT_PRIVILEGE: Final = Entry(SourceRefused, "no_connect_privilege", _AT, "Grant the role CONNECT.")
TLS: Final = Entry(
    SourceRefused,
    "tls",
    _AT,
    "Give the server a certificate for its host name, and name who signed it by sslrootcert in the DSN (system: those "
    "that this machine trusts); sslmode in the DSN asks for less.",
)
AUTHENTICATION: Final = Entry(
    SourceRefused,
    "authentication_method",
    _AT,
    "It asked for something else than scram-sha-256. Is it the right server? require_auth in the DSN allows more "
    "(password: it is told the password itself).",
)
TOO_MANY_CONNECTIONS: Final = Entry(
    SourceUnavailable,
    "too_many_connections",
    _AT,
    "Raise max_connections or max_wal_senders, or close other clients.",
)
SERVER_NOT_READY: Final = Entry(SourceUnavailable, "server_not_ready", _AT)
CONNECTION_REFUSED: Final = Entry(SourceUnavailable, "connection_refused", _AT, "Is the server running there?")
UNKNOWN_HOST: Final = Entry(SourceUnavailable, "unknown_host", _AT, "Correct the host in the DSN, or DNS.")
CONNECT_TIMEOUT: Final = Entry(SourceUnavailable, "connect_timeout", _AT, "Check the network and firewalls on the way.")
CONNECT_FAILED: Final = Entry(SourceUnavailable, "connect_failed", _AT)

# --- the server and its objects ---------------------------------------------------------------------------------

SERVER_VERSION: Final = Entry(
    SourceRefused,
    "server_version",
    "The server is PostgreSQL {version}; Rowtide needs 14 or newer.",
    "Upgrade PostgreSQL.",
)
WAL_LEVEL: Final = Entry(
    SourceRefused,
    "wal_level",
    "wal_level is {wal_level}; logical decoding needs logical.",
    "Set wal_level = logical and restart PostgreSQL.",
)
TABLE_MISSING: Final = Entry(
    SourceRefused, "table_missing", "The table {table} does not exist.", "Correct `source.table`."
)
SOURCE_UNFIT: Final = Entry(
    SourceRefused, "source_unfit", "{problems}", "{remedies}\nNothing was changed; then run `rowtide apply` again."
)
NOT_A_TABLE: Final = Entry(
    SourceRefused,
    "not_a_table",
    "{table} is {kind}, and PostgreSQL streams changes of tables only.",
    "Name the table behind it in `source.table`.",
)
NO_REPLICA_IDENTITY: Final = Entry(
    SourceRefused,
    "no_replica_identity",
    "The table {table} has no replica identity: published, its UPDATEs and DELETEs would fail.",
    "Add a primary key, or ALTER TABLE ... REPLICA IDENTITY USING INDEX (or FULL).",
)
ROW_SECURITY: Final = Entry(
    SourceRefused,
    "row_security",
    "row security hides rows of table {table} from this role",
    "Let the role bypass row security (ALTER ROLE ... BYPASSRLS), or own the table without FORCE.",
)
KEY_NOT_UNIQUE: Final = Entry(
    SourceRefused,
    "key_not_unique",
    "table {table} has several rows with one key ({columns})",
    "remove the duplicates and make a unique index over these columns; the pass goes on by itself",
)
PUBLICATION_MISSING: Final = Entry(
    SourceRefused,
    "publication_missing",
    "The publication {publication} does not exist; changes made without it would be lost.",
    "Run `rowtide apply`, or create it as `rowtide plan --sql` says.",
)
PUBLICATION_RECREATED: Final = Entry(
    SourceUnavailable,
    "publication_recreated",
    "The publication was recreated.",
    "Rowtide reads the slot anew by itself.",
)

SOURCE_DIFFERS: Final = Entry(
    SourceUnavailable,
    "source_differs",
    "PostgreSQL at {here} is not the server whose changes are captured (at {there}): {problem}. Nothing is read or "
    "written there.",
    "Correct the DSN that this process uses; after a migration, run `rowtide resume --accept-source NAME`. It goes on "
    "by itself.",
)

# --- the slot ---------------------------------------------------------------------------------------------------

SLOT_MISSING: Final = Entry(SourceRefused, "slot_missing", "There is no slot {slot}.", "Run `rowtide slot create`.")
SLOT_DISAPPEARED: Final = Entry(
    SourceUnavailable,
    "slot_disappeared",
    "The slot {slot} disappeared right after its creation.",
    "Who drops slots on this server? Rowtide tries again by itself.",
)
SLOT_DATABASE: Final = Entry(
    SourceRefused,
    "slot_database",
    "The slot {slot} belongs to the database {database}, not to {here}.",
    "Name another slot; slot names are one per server.",
)
SLOT_PLUGIN: Final = Entry(
    SourceRefused,
    "slot_plugin",
    "The slot {slot} uses the plugin {plugin}, not {wanted}.",
    "Drop it or name another slot.",
)
SLOT_TEMPORARY: Final = Entry(SourceRefused, "slot_temporary", "The slot {slot} is temporary.", "Name another slot.")
SLOT_ACTIVE: Final = Entry(
    SourceUnavailable,
    "slot_active",
    "The slot {slot} is in use by PID {pid}{who}.",
    "Stop the other reader; Rowtide goes on as soon as the slot is free.",
)
SLOT_CREATION: Final = Entry(
    SourceUnavailable,
    "slot_creation",
    "The slot {slot} is being created, which waits for transactions that are open now.",
    "End long-running transactions of the source.",
)
SLOT_MOVED: Final = Entry(
    SourceUnavailable,
    "slot_moved",
    "The slot {slot} was moved while it was taken over.",
    "Stop whatever else reads or advances the slot; Rowtide tries again by itself.",
)
SLOT_SHARED: Final = Entry(
    SourceRefused,
    "slot_shared",
    "The slot {slot} is read by another installation of Rowtide ({instance}), which came to it first or is reading it "
    "now; this installation no longer reads it.",
    "Stop one of the two, or give it another `slot:`; to go on here, run `rowtide resume --take-slot {source}`.",
)
SLOT_LEFT: Final = Entry(SourceRefused, SLOT_SHARED.code, "{reason}", SLOT_SHARED.remedy)
INSTANCE_CHANGED: Final = Entry(
    SourceUnavailable,
    "instance_changed",
    "The state database was restored, copied or failed over, or a person took the slot, while it was read.",
    "Rowtide reads the slot anew by itself.",
)
HISTORY_REPLACED: Final = Entry(
    SourceUnavailable,
    "history_replaced",
    "The server's WAL does not hold the transaction that was staged last (commit at {lsn}): it was restored.",
    "Rowtide reads the slot anew by itself.",
)
FAILOVER_SLOTS: Final = Entry(
    SourceRefused, "failover_slots", "Failover slots need PostgreSQL 17 or newer.", "Set failover: false."
)
STANDBY_SNAPSHOT: Final = Entry(
    SourceUnavailable, "source_failed", "pg_log_standby_snapshot failed.", "It is tried again by itself."
)

# --- the stream -------------------------------------------------------------------------------------------------

_STREAM: Final = "PostgreSQL ended the stream: {said}."

STREAM_FAILED: Final = Entry(SourceUnavailable, "stream_failed", "The server did not start streaming.")
STREAM_ENDED: Final = Entry(SourceUnavailable, "stream_ended", "The server ended the stream (it is shutting down).")
STREAM_BROKEN: Final = Entry(SourceUnavailable, "stream_broken", "The replication connection broke: {said}.")
SERVER_STOPPING: Final = Entry(SourceUnavailable, "server_stopping", "The server is shutting down.")
SLOT_IN_USE: Final = Entry(
    SourceUnavailable, "slot_active", "PostgreSQL: {said}.", "Stop the other reader of this slot."
)
STREAM_OBJECT_MISSING: Final = Entry(SourceRefused, "stream_object_missing", _STREAM, "Run `rowtide doctor`.")
STREAM_TERMINATED: Final = Entry(SourceUnavailable, "stream_terminated", _STREAM)
SLOT_UNREADABLE: Final = Entry(SourceUnavailable, "slot_unreadable", _STREAM, "Run `rowtide doctor`.")
STREAM_MALFORMED: Final = Entry(
    Malformed,
    "stream_malformed",
    "The server sent a message that cannot be read: {reason} (kind {kind}, {length} bytes).",
    "Connect straight to PostgreSQL, without a pooler or a proxy; if that does not help, report it.",
)
READER_FAILED: Final = Entry(
    SourceUnavailable, "reader_failed", "Reading the slot failed ({error}).", "please report it; see the log"
)

# --- statements -------------------------------------------------------------------------------------------------

CONNECTION_LOST: Final = Entry(
    SourceUnavailable,
    "connection_lost",
    "The connection to PostgreSQL broke while {doing}: {said}.",
    quotes=("said",),
)
SOURCE_FAILED: Final = Entry(
    SourceUnavailable, "source_failed", "PostgreSQL failed while {doing}: {said}.", quotes=("said",)
)
SOURCE_DATA: Final = Entry(
    SourceRefused,
    "source_data",
    "PostgreSQL refused a value while {doing} (SQLSTATE {sqlstate}).",
    "See the server's log.",
)
NO_PRIVILEGE: Final = Entry(
    SourceRefused,
    "no_privilege",
    "PostgreSQL refused {doing}: {said}.",
    "Grant the role that right: `rowtide plan --sql` prints the statements, `rowtide doctor` says what is missing.",
    ("said",),
)
SOURCE_REFUSED: Final = Entry(
    SourceRefused,
    "source_refused",
    "PostgreSQL refused {doing}: {said} (SQLSTATE {sqlstate}).",
    "Run `rowtide doctor`.",
    ("said",),
)
NO_ANSWER: Final = Entry(
    SourceRefused, "source_refused", "PostgreSQL gave no answer to a catalog query.", "Run `rowtide doctor`."
)

SourceEntry = Entry[SourceUnavailable] | Entry[SourceRefused]

STREAM_SQLSTATES: Final[tuple[tuple[tuple[str, ...], SourceEntry], ...]] = (
    (("55006",), SLOT_IN_USE),
    (("42704",), STREAM_OBJECT_MISSING),
    (("57P",), STREAM_TERMINATED),
    # An invalidated slot. The checks of the next connect see it and decide.
    (("55000",), SLOT_UNREADABLE),
)
"""Errors that end a stream, by the beginning of their SQLSTATE; others are in `SQLSTATES`."""

SQLSTATES: Final[tuple[tuple[tuple[str, ...], SourceEntry], ...]] = (
    # The server ends, or the connection.
    (("08", "57P"), CONNECTION_LOST),
    # Resources, operator, system, rollback, locks, an aborted transaction, internal: they pass.
    (("53", "57", "58", "40", "55P03", "55006", "25P", "XX"), SOURCE_FAILED),
    (("22",), SOURCE_DATA),  # data exceptions quote the value
    (("42501",), NO_PRIVILEGE),
    (("",), SOURCE_REFUSED),
)
"""Errors of a statement, by the beginning of their SQLSTATE; the first match decides."""

AWAY: Final = frozenset(
    entry.code
    for entry in (
        CONNECTION_LOST,
        STREAM_ENDED,
        STREAM_BROKEN,
        STREAM_TERMINATED,
        SERVER_STOPPING,
        SERVER_NOT_READY,
        CONNECTION_REFUSED,
        UNKNOWN_HOST,
        CONNECT_TIMEOUT,
        CONNECT_FAILED,
    )
)
"""What everybody meets who asks the source, and so no news of a table or a slot."""
