"""The third dashboard: capture and its slots, the outbox, and the processes themselves.

In: nothing. Out: its sections. Rule: what endangers the source's disk comes first.
"""

from typing import Final

from dashboards.panels import Panel, PanelRow
from dashboards.queries import IS_ROWTIDE, PROCESS, SOURCE, STEP, measured, rate, standing

_SAFE: Final = "rowtide_slot_safe_wal_bytes"


def _of_source(metric: str) -> str:
    return standing(metric, "source", where=SOURCE)


def _of_process(metric: str) -> str:
    return f"{metric}{PROCESS} {IS_ROWTIDE}"


_GAPS: Final = measured("RowtideGapHealed", "rowtide_slot_incarnation", SOURCE)
_STARTS: Final = measured("RowtideCrashLoop", "process_start_time_seconds", PROCESS) + f" {IS_ROWTIDE}"

_NOW: Final = PanelRow("Now", (
    Panel("Sources", "short", [("{{source}}", _of_source("rowtide_source_connected"))],
          "Whether changes are streamed.", "stat", ("RowtideSourceAway",), 5, ("away", "streamed")),
    Panel("Newest heartbeat", "s", [("{{source}}", _of_source("rowtide_heartbeat_age_seconds"))],
          "Seconds since a heartbeat was staged with everything before it. It grows while nothing is committed only if"
          " capture stands.", "stat", width=5),
    Panel("WAL kept for the slot", "bytes", [("{{source}}", _of_source("rowtide_slot_retained_bytes"))],
          "On the source's disk.", "stat", width=5),
    Panel("WAL until the slot is lost", "bytes", [("{{source}}", f"min by (source) ({_SAFE}{SOURCE})")],
          "Nothing where the source sets no limit (max_slot_wal_keep_size).", "stat", width=5),
    Panel("Streams begun anew", "short", [("{{source}}", _GAPS)],
          "In the last hour. A reconcile mends what passed by.", "stat", ("RowtideGapHealed",), 4),
))  # fmt: skip

_CAPTURE: Final = PanelRow("Capture", (
    Panel("Age of the newest heartbeat staged", "s", [("{{source}}", _of_source("rowtide_heartbeat_age_seconds"))],
          "How late capture is. A stream at rest has young heartbeats: idle is not late."),
    Panel("Slot", "bytes", [
        ("{{source}}: not confirmed", _of_source("rowtide_slot_lag_bytes")),
        ("{{source}}: kept on disk", _of_source("rowtide_slot_retained_bytes")),
    ], "WAL that the slot has not confirmed, and what it keeps on the source's disk."),
    Panel("Is the slot safe", "bytes", [
        ("{{source}}: in four hours, as it goes", measured("RowtideWalRunsOut", _SAFE, SOURCE)),
        ("{{source}}: now", f"min by (source) ({_SAFE}{SOURCE})"),
    ], "WAL until the slot is lost, now and as the last half hour goes on. Below the line it is lost.",
          alerts=("RowtideWalRunsOut",), signed=True),
    Panel("Streams", "short", [("{{source}}", _of_source("rowtide_source_connected"))],
          "Whether changes of the source are streamed.", "states", ("RowtideSourceAway",), words=("away", "streamed")),
    Panel("Outbox by class", "short", [
        ("{{priority}}", f"sum by (priority) ({standing('rowtide_outbox_rows', 'sync', 'priority')})"),
    ], "Rows that wait, by the class in which they are served: interactive first.", "stack"),
    Panel("Outbox by sync", "short", [
        ("{{sync}}", f"sum by (sync) ({standing('rowtide_outbox_rows', 'sync', 'priority')})"),
    ], "Rows that wait, in paused syncs too.", alerts=("RowtideNoProgress",)),
    Panel("Changes by their fate", "cps", [
        ("merged into a row that waits", rate("rowtide_changes_merged_total", where=PROCESS)),
        ("dropped as replays", rate("rowtide_changes_replayed_total", where=PROCESS)),
        ("outcomes too late", rate("rowtide_outcomes_stale_total", where=PROCESS)),
    ], "A second. Replays follow each start; an outcome is too late when another claim has the row by then."),
    Panel("History lost", "short", [("{{instance}}", f"rowtide_history_minutes_lost_total{PROCESS}")],
          "Minutes of syncs dropped while the state database was away, since the process started."),
))  # fmt: skip

_PROCESSES: Final = PanelRow("Processes", (
    Panel("CPU", "percentunit", [("{{instance}}", f"rate(process_cpu_seconds_total{PROCESS}{STEP}) {IS_ROWTIDE}")],
          "Of one core. The flow's thread uses one core at most."),
    Panel("Memory", "bytes", [("{{instance}}", _of_process("process_resident_memory_bytes"))], "Resident."),
    Panel(
        "Newest epoch", "s",
        [("{{instance}}", measured("RowtideEngineStands", "rowtide_epoch_age_seconds", PROCESS))],
        "Seconds since the engine last closed an epoch, of processes that take something in.",
        alerts=("RowtideEngineStands",),
    ),
    Panel("Starts in a quarter of an hour", "short", [("{{instance}}", _STARTS)],
          "Each start reads on from the cursor.", alerts=("RowtideCrashLoop",)),
    Panel("Loops begun anew", "short", [
        ("{{instance}}: {{loop}}", measured("RowtideLoopFails", "rowtide_loop_failures_total", PROCESS)),
    ], "Background loops that met an error nobody expected, in a quarter of an hour. Empty while none did.",
          alerts=("RowtideLoopFails",)),
    Panel("Open files", "short", [
        ("{{instance}}: open", _of_process("process_open_fds")), ("{{instance}}: most", _of_process("process_max_fds")),
    ], "Files and sockets."),
    Panel("Running for", "s", [("{{instance}}", f"time() - {_of_process('process_start_time_seconds')}")],
          "Since its start."),
))  # fmt: skip

SECTIONS: Final = (_NOW, _CAPTURE, _PROCESSES)
