"""Faults of a running process: those that one of its threads survives, and those of its recovery store that end it."""

from typing import Final

from rowtide.error_catalogue.entries import Entry
from rowtide.errors import RowtideError, Unavailable, UserError

_REPORT: Final = "please report it; see the log"

CLAIMING_FAILED: Final = Entry(RowtideError, "claiming_failed", "Claiming rows failed ({error}).", _REPORT)
CONFIRMER_FAILED: Final = Entry(RowtideError, "confirmer_failed", "Confirming the slot failed ({error}).", _REPORT)
RECONCILE_FAILED: Final = Entry(RowtideError, "reconcile_failed", "the reconcile met an unexpected {error}", _REPORT)
ENUMERATION_FAILED: Final = Entry(
    RowtideError, "enumeration_failed", "Reading the items of lists failed ({error}).", _REPORT
)
COLUMN_WATCH_FAILED: Final = Entry(
    RowtideError, "column_watch_failed", "Looking at the columns of lists failed ({error}).", _REPORT
)
COLLECTING_FAILED: Final = Entry(
    RowtideError, "collecting_failed", "Reading the changes of lists failed ({error}).", _REPORT
)
SUBSCRIBING_FAILED: Final = Entry(
    RowtideError, "subscribing_failed", "Seeing to the webhooks of lists failed ({error}).", _REPORT
)
REFRESH_FAILED: Final = Entry(RowtideError, "refresh_failed", "Reading rows from the source failed ({error}).", _REPORT)
PULL_FAILED: Final = Entry(RowtideError, "pull_failed", "Applying edits to the source failed ({error}).", _REPORT)
SHAPE_WATCH_FAILED: Final = Entry(
    RowtideError, "shape_watch_failed", "Looking at the source's catalog failed ({error}).", _REPORT
)
FAULT_ON_RECORD: Final = Entry(RowtideError, "{code}", "{sentence}", "{remedy}", ("sentence",))
"""What fails as another process has written it down: its code, its sentence and its remedy."""

LOOP_FAILED: Final = Entry(
    RowtideError, "loop_failed", "The thread {loop} met an unexpected {error} and began anew.", _REPORT
)
LOOP_SILENT: Final = Entry(
    RowtideError,
    "loop_silent",
    "The thread {loop} has not gone on for {seconds} s; it {doing}.",
    "Restart the process (a supervisor that asks /livez does); please report it with the stacks that its log holds.",
)
NOT_STARTED: Final = Entry(
    Unavailable, "not_started", "The process has not begun to work yet.", "Nothing: what it waits for is in its log."
)
STOPPING: Final = Entry(Unavailable, "stopping", "The process ends or begins anew.", "Nothing.")
BEAT_OVERDUE: Final = Entry(
    Unavailable,
    "beat_overdue",
    "The state database has not confirmed for a while that the process still has its place.",
    "See whether the state database answers; the process goes on by itself when it does.",
)
WRITER_FAILED: Final = Entry(
    RowtideError,
    "writer_failed",
    "The writer of graph '{graph}' met an unexpected {error}: nobody knows what became of the rows it had.",
    f"The process has ended; the next one looks at these rows before it writes. {_REPORT.capitalize()}.",
)

# --- traces ------------------------------------------------------------------------------------------------------

TRACES_UNAVAILABLE: Final = Entry(
    UserError,
    "traces_unavailable",
    "Traces cannot be sent: {why}.",
    "Install rowtide[tracing] (its locks: requirements/tracing.txt), and set the OTEL_ variables as docs/logs.md says; "
    "to do without traces: `run: {{traces: off}}`.",
)
TRACES_NOT_SENT: Final = Entry(
    Unavailable,
    "traces_not_sent",
    "The collector does not take traces; those of this time are lost.",
    "See whether what OTEL_EXPORTER_OTLP_ENDPOINT names runs and can be reached; nothing else waits for it.",
)

# --- the recovery store -----------------------------------------------------------------------------------------

_ELSEWHERE: Final = "or name another directory in run.recovery_dir; what is in it may be thrown away at any time"
RECOVERY_DIR_UNUSABLE: Final = Entry(
    UserError,
    "recovery_dir_unusable",
    "The recovery directory {directory} cannot be used: {reason}.",
    f"Make it a directory that can be written and has room, {_ELSEWHERE}.",
)
RECOVERY_DIR_IN_USE: Final = Entry(
    Unavailable,
    "recovery_dir_in_use",
    "Another process uses the recovery directory {directory}.",
    f"Stop that process, {_ELSEWHERE}.",
)
RECOVERY_STORE_FAILED: Final = Entry(
    RowtideError,
    "recovery_store_failed",
    "The recovery store in {directory} cannot be written: {reason}.",
    f"See whether that disk is full, {_ELSEWHERE}.",
)
ENDED_UNASKED: Final = Entry(RowtideError, "ended_unasked", "The flow ended although nobody asked it to.", _REPORT)
