"""The first dashboard: is each sync in step, how fast, how much, and what waits for a person.

In: nothing. Out: its sections. Rule: what alerts comes first, in the order in which playbooks ask.
"""

from typing import Final

from dashboards.panels import Panel, PanelRow
from dashboards.queries import SYNC, quantile, quantiles, rare, rate, standing
from rowtide.gauge import GOAL_S

_DELIVERY: Final = "rowtide_delivery_seconds"
_WITHIN: Final = f'{{sync=~"$sync", rows="live", le="{GOAL_S}"}}'
_LIVE: Final = '{sync=~"$sync", rows="live"}'
_PARKED: Final = '{sync=~"$sync", part="parked"}'

_NOW: Final = PanelRow("Now", (
    Panel("Rows out of sync", "short", [("rows", f"sum({standing('rowtide_rows_out_of_sync', 'sync')})")],
          "Keys that are known to differ. While a way is not known, there are at least so many.", "stat", width=4),
    Panel("Oldest of them", "s", [("oldest", f"max(rowtide_oldest_out_of_sync_seconds{SYNC})")],
          "For how long it has differed. Parked and held rows count here, and are no lag.", "stat", width=4),
    Panel("Push lag, the worst sync", "s", [("push", f"max(rowtide_push_lag_seconds{SYNC})")],
          "How late items are behind their rows.", "stat", ("RowtidePushLate",), 4),
    Panel("Pull lag, the worst sync", "s", [("pull", f"max(rowtide_pull_lag_seconds{SYNC})")],
          "How late rows are behind their items, of syncs of two ways.", "stat", ("RowtidePullLate",), 4),
    Panel("Ways that are not known", "short",
          [(way, f"sum(1 - {standing(f'rowtide_{way}_known', 'sync')})") for way in ("push", "pull")],
          "Syncs of which nobody knows whether rows and items differ: their other figures are the least there is.",
          "stat", ("RowtidePushUnknown", "RowtidePullUnknown"), 4),
    Panel("Looked at", "s", [("seconds ago", f"time() - max(rowtide_gauge_timestamp_seconds{SYNC})")],
          "How old these figures are. One process looks at all syncs.", "stat", ("RowtideNobodyLooks",), 4),
))  # fmt: skip

_PROMISE: Final = PanelRow("Is the promise kept", (
    Panel("Push lag", "s", [("{{sync}}", standing("rowtide_push_lag_seconds", "sync"))],
          "How late items are behind their rows. The line is the promise.", alerts=("RowtidePushLate",)),
    Panel("Pull lag", "s", [("{{sync}}", standing("rowtide_pull_lag_seconds", "sync"))],
          "How late rows are behind their items. The line is the promise.", alerts=("RowtidePullLate",)),
    Panel("Rows out of sync", "short", [("{{sync}}", standing("rowtide_rows_out_of_sync", "sync"))],
          "Keys that are known to differ."),
    Panel("Where they wait", "short",
          [("{{part}}", f"sum by (part) ({standing('rowtide_rows_out_of_sync_by_part', 'sync', 'part')})")],
          "waiting: for its item; pulling: an edit that is not applied; found: by a reconcile, not staged; parked: set"
          " aside; held: a person decides.", "stack"),
    Panel("The oldest row out of sync", "s", [("{{sync}}", standing("rowtide_oldest_out_of_sync_seconds", "sync"))],
          "For how long it has differed."),
    Panel("Is it known", "short",
          [(f"{{{{sync}}}} {way}", standing(f"rowtide_{way}_known", "sync")) for way in ("push", "pull")],
          "Whether all differences are known, by sync and way.", "states",
          ("RowtidePushUnknown", "RowtidePullUnknown"), words=("not known", "known")),
    Panel("Lists read", "s", [("{{sync}}", standing("rowtide_list_read_age_seconds", "sync"))],
          "Since when the list of the sync that was read longest ago has been read. Pull is not known when it was due"
          " twice.", alerts=("RowtidePullUnknown",)),
    Panel("Live changes within the promise", "percentunit",
          [("{{sync}}", f"{rate(f'{_DELIVERY}_bucket', 'sync', where=_WITHIN)}"
                        f" / {rate(f'{_DELIVERY}_count', 'sync', where=_LIVE)}")],
          f"The share of delivered changes that took no longer than {GOAL_S:.0f} s. A gap: nothing was delivered."),
))  # fmt: skip

_SPEED: Final = PanelRow("How fast", (
    Panel("Commit to acknowledged", "s", quantiles(_DELIVERY, "live"),
          "Commit in PostgreSQL to the write acknowledged and recorded, of changes of the stream."),
    Panel("Commit to acknowledged, p95 by sync", "s",
          [("{{sync}}", quantile(0.95, _DELIVERY, "sync", rows="live"))], "The same by sync."),
    Panel("Edit to commit", "s", quantiles("rowtide_edit_seconds"),
          "Edit of an item to its commit in PostgreSQL, of syncs of two ways."),
    Panel("Found by a reconcile to acknowledged, p95", "s",
          [("{{sync}}", quantile(0.95, _DELIVERY, "sync", rows="bulk"))],
          "First loads and repairs: they wait behind live changes on purpose."),
))  # fmt: skip

_SETTLED: Final = "rowtide_rows_delivered_total"
_KNOWN: Final = "rowtide_edits_known_total"

_MOVES: Final = PanelRow("What moves", (
    Panel("To SharePoint", "cps", [
        ("changes staged", rate("rowtide_changes_total")),
        ("rows settled", rate(_SETTLED)),
        ("requests that changed a list", rate("rowtide_list_writes_total")),
        ("rows that needed no write", rare("rowtide_rows_suppressed_total", _SETTLED)),
        ("edits of others met", rare("rowtide_foreign_edits_total", _SETTLED)),
    ], "A second, all chosen syncs together. Changes of one row that waits are merged, so rows may be fewer."),
    Panel("To PostgreSQL", "cps", [
        ("edits applied", rate("rowtide_edits_applied_total")),
        ("changes that said nothing new", rate(_KNOWN)),
        ("edits taken back", rare("rowtide_edits_reverted_total", _KNOWN)),
        ("edits applied again", rare("rowtide_edits_lost_total", _KNOWN)),
    ], "A second. What says nothing new is mostly our own writes, read again. Taken back: the table refused them."
       " Applied again: their source had lost them in a failover."),
    Panel("Rows settled by sync", "cps", [("{{sync}}", rate(_SETTLED, "sync"))], "A second."),
    Panel("Edits applied by sync", "cps", [("{{sync}}", rate("rowtide_edits_applied_total", "sync"))], "A second."),
))  # fmt: skip

_PERSON: Final = PanelRow("What waits for a person", (
    Panel("Conflicts open", "short", [("{{sync}}", standing("rowtide_conflicts_open", "sync"))],
          "`rowtide conflicts list`", alerts=("RowtideConflictsOpen",)),
    Panel("Rows and edits set aside", "short",
          [("{{sync}}", standing("rowtide_rows_out_of_sync_by_part", "sync", where=_PARKED))],
          "They cannot be carried as they are: `rowtide parked list`", alerts=("RowtideRowsParked",)),
    Panel("Holds", "short", [("{{sync}}: {{kind}}", standing("rowtide_held", "sync", "kind"))],
          "What holds a sync back: `rowtide status` says who or why. Empty while nothing does.", "states",
          ("RowtideMassDeletion", "RowtideNotCaptured")),
    Panel("Met in the meantime", "cps", [
        ("rows set aside", rare("rowtide_rows_parked_total", _SETTLED)),
        ("edits set aside", rare("rowtide_edits_parked_total", _KNOWN)),
        ("conflicts", rare("rowtide_conflicts_total", _KNOWN)),
    ], "A second, also what is over by now."),
))  # fmt: skip

SECTIONS: Final = (_NOW, _PROMISE, _SPEED, _MOVES, _PERSON)
