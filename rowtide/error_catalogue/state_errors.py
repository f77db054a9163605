"""What can be wrong with the state database and with what is recorded there."""

from typing import Final

from rowtide.error_catalogue.entries import Entry
from rowtide.errors import ReconcileLost, StateRefused, StateUnavailable

_UPGRADE: Final = "run `rowtide db upgrade`"

STATE_UNREACHABLE: Final = Entry(
    StateUnavailable,
    "state_unreachable",
    "the state database does not answer: {said}",
    "check that the server of state.dsn runs and can be reached; retried by itself",
)
STATE_DATABASE_MISSING: Final = Entry(
    StateRefused, "state_database_missing", "the state database is missing: {said}", _UPGRADE
)
STATE_SCHEMA_MISSING: Final = Entry(
    StateRefused, "state_schema_missing", "the state database lacks a table or column: {said}", _UPGRADE
)
STATE_SCHEMA: Final = Entry(
    StateRefused, "state_schema", "The state database does not fit: {finding}.", "Run `rowtide db upgrade`."
)
STATE_PRIVILEGE: Final = Entry(
    StateRefused,
    "state_privilege",
    "the state database refuses: {said}",
    "grant the role all privileges on schema {schema} of the state database",
)
STATE_LOGIN: Final = Entry(
    StateRefused, "state_login", "the state database refuses the login: {said}", "check state.dsn"
)
STATE_DSN_INVALID: Final = Entry(
    StateRefused,
    "state_dsn_invalid",
    "the DSN of the state database cannot be read: {problem}",
    "write it as postgresql://user:password@host:5432/db, with @ / : ? # and % of the password as %40 %2F %3A %3F %23 "
    "and %25",
)
STATE_TLS: Final = Entry(
    StateRefused,
    "state_tls",
    "the server of the state database did not prove who it is: {said}",
    "give it a certificate for its host name, and name who signed it by sslrootcert in the DSN (system: those that "
    "this machine trusts); sslmode and require_auth in the DSN ask for less",
)
STATE_REFUSED: Final = Entry(
    StateRefused, "state_refused", "the state database refuses: {said}", "see the server's log", ("said",)
)
STATE_REFUSES_PARKED: Final = Entry(
    StateRefused,
    "state_refuses_row",
    "The state database cannot hold this row ({refusal}), not even parked under a shortened key.",
    "see the state server's log",
)
NOT_APPLIED: Final = Entry(StateRefused, "not_applied", "No definition has been applied yet.", "Run `rowtide apply`.")
DEFINITION_NOT_TAKEN: Final = Entry(
    StateRefused,
    "definition_not_taken",
    "This process cannot take version {version} of the definition over: {why}. It stages changes by the version "
    "before, and delivers nothing.",
    "Run the release that applied it here, too.",
)
DEFINITION_STORED: Final = Entry(
    StateRefused,
    "definition_stored",
    "Version {version} of the definition, which is in force, cannot be read: {why}.",
    "Run the release that applied it; where nobody has, delete that row of rowtide.definition as the schema's owner.",
)
PROCESS_ID_TAKEN: Final = Entry(
    StateRefused,
    "process_id_taken",
    "Another Rowtide process with id {process_id} and these roles is running.",
    "Stop it, or give this one another --process-id.",
)
RECONCILE_LOST: Final = Entry(
    ReconcileLost,
    "reconcile_lost",
    "the reconcile of sync {sync} was taken up by another process",
    "nothing: the other process goes on with it",
)
