"""What `status` says of a sync: what is wrong with it and what to do next, or what it does. The first that holds.

The code ``{code}`` is that of the hold or the problem itself, whose own entry says more.
"""

from typing import Final

from rowtide.error_catalogue.entries import ReasonEntry

RETIRED: Final = ReasonEntry("retired", "The sync is no longer in the applied definition; its records are kept.")
HELD: Final = ReasonEntry("{code}", "Paused{scope} by {by} since {since}: {why}{also}", "{next}")
"""A sync that is held shows the code of its first hold."""
HELD_TOO: Final = ReasonEntry("{code}", " Held too by {by}: {why}", "`rowtide status --json` says what lifts each hold")
LIFTED_BY_RESUME: Final = ReasonEntry("lifted_by_resume", "`rowtide resume {object}`")
LIFTED_BY_APPROVAL: Final = ReasonEntry(
    "lifted_by_approval",
    "`rowtide resume {object} --approve-deletes` lets these deletions through; `rowtide reconcile {object}` has them "
    "judged anew, when the rows are there again",
)
LIFTED_BY_APPROVAL_OF_CREATES: Final = ReasonEntry(
    "lifted_by_approval_of_creates",
    "`rowtide resume {object} --approve-creates` has these items made anew; `rowtide reconcile {object}` has the lists "
    "read again, when they were restored there",
)
LIFTED_BY_RECONCILE: Final = ReasonEntry(
    "lifted_by_reconcile", "mend what the sentence says, then `rowtide reconcile {object}`"
)
LIFTED_BY_TAKING_THE_SLOT: Final = ReasonEntry(
    "lifted_by_taking_the_slot", "stop the other installation, then `rowtide resume --take-slot {object}`"
)
LIFTED_BY_TAKE_OVER: Final = ReasonEntry(
    "lifted_by_take_over",
    "`rowtide apply --take-over`, if the lists are to be this installation's; it goes by itself when their mark is its "
    "own",
)
LIFTED_BY_FILE: Final = ReasonEntry(
    "lifted_by_file",
    "mend the file that the sentence names, or `rowtide apply` with it if it is right; it goes by itself then",
)
MATCHING: Final = ReasonEntry(
    "matching",
    "Its rows and the items that its lists held before are paired by {columns} first; until then nothing is written on "
    "either side.",
)
LISTS_UNPROVEN: Final = ReasonEntry(
    "list_of_other_instance",
    "The state database was restored or copied: this is another installation now, and its lists carry the mark of the "
    "one before.",
    "`rowtide apply --take-over`, if the one before does not run any more",
)
LIFTED_BY_ITSELF: Final = ReasonEntry("lifted_by_itself", "nothing: it goes by itself when what it says is mended")

TRIED_AGAIN: Final = ReasonEntry("tried_again", "see the sentence and `rowtide doctor`; it is tried again by itself")
"""What to do about a problem that has no remedy of its own."""

# --- what is wrong ----------------------------------------------------------------------------------------------

OK: Final = ReasonEntry("ok", "Nothing is wrong.")
NOT_RUNNING: Final = ReasonEntry(
    "not_running", "No process with the role {role} runs; start one with `rowtide run`.", "`rowtide run`"
)
NOT_SEEN: Final = ReasonEntry(
    "not_running",
    "The process with the role {role} was last seen {seconds} s ago; is it still there?",
    "look at the process and its log; a supervisor should restart it",
)
LOOP_STUCK: Final = ReasonEntry(
    "loop_silent",
    "The process with the role {role} is there, but its thread {loop} has not gone on for {seconds} s; it {doing}.",
    "restart the process (a supervisor that asks /livez does); the stacks of its threads are in its log",
)
NOT_TAKEN: Final = ReasonEntry(
    "definition_not_taken", "{problem}", "run the release that applied the definition wherever `rowtide run` runs"
)
STATE_PROBLEM: Final = ReasonEntry("{code}", "Rows cannot be claimed: {problem}", "{next}")
SOURCE_PROBLEM: Final = ReasonEntry("{code}", "PostgreSQL {source}: {problem}", "{next}")
SOURCE_DIFFERS: Final = ReasonEntry(
    "source_differs",
    "PostgreSQL {source}: {problem}",
    "correct the DSN of the process whose address the sentence names first; it goes on by itself",
)
UNWATCHED: Final = ReasonEntry(
    "catalog_unwatched",
    "PostgreSQL {source}: what is done to tables and publication is not known since {seconds} s: {problem}",
    "see the sentence; it is tried again by itself",
)
CAPTURE_SILENT: Final = ReasonEntry(
    "capture_silent",
    "PostgreSQL {source}: nothing of its slot has been staged since {since}.",
    "see the log of the process with the role capture; `rowtide doctor`",
)
GRAPH_PROBLEM: Final = ReasonEntry("{code}", "Graph {graph}: {problem}", "{next}")
THROTTLED: Final = ReasonEntry(
    "throttled", "Graph {graph} throttles the app; writes go on at {until}.", "nothing: it waits"
)
GATE: Final = ReasonEntry(
    "gate_closed",
    "{rows} waiting; nothing is sent to graph {graph} until {until}, because it did not answer.",
    "nothing: it is tried again by itself",
)
LIST_PROBLEM: Final = ReasonEntry("{code}", "List '{title}': {problem}", "{next}")
TABLE_PROBLEM: Final = ReasonEntry("{code}", "Rows of its table cannot be read: {problem}", "{next}")
RECONCILE_PROBLEM: Final = ReasonEntry("{code}", "The reconcile cannot go on: {problem}", "{next}")
RECONCILE_WAITS: Final = ReasonEntry("reconcile_waits", "{waits}", "nothing: it goes on by itself")
RECONCILE_STANDS: Final = ReasonEntry(
    "reconcile_stands",
    "The reconcile ({phase}) has not moved for {seconds} s: {done}{total} rows compared.",
    "see the log of the process; `rowtide doctor`",
)
RECONCILE_HELD: Final = ReasonEntry(
    "reconcile_held", "The sync is held, so no pass goes on: {why}", "see `rowtide status`: it says what lifts the hold"
)
RECONCILE_UNCAPTURED: Final = ReasonEntry(
    "reconcile_uncaptured",
    "Nothing has captured the sync yet (slot {slot} is read by no process): start one with `rowtide run`; the pass "
    "then begins by itself.",
    "`rowtide run`",
)
RECONCILE_UNOPENED: Final = ReasonEntry(
    "reconcile_unopened",
    "The running process does not read slot {slot} for the sync yet: `rowtide status` says what it waits for; the pass "
    "then begins by itself.",
    "see `rowtide status`; when the stream is open the pass begins by itself",
)
ROWS_POSTPONED: Final = ReasonEntry(
    "rows_postponed",
    "{rows} waiting to be tried again: {why}",
    "see the sentence; each is tried again by itself",
)
COLUMNS_HELD: Final = ReasonEntry(
    "columns_held",
    "List '{title}': {problem}. `rowtide apply` makes anew what is gone; mend a column of another kind in SharePoint, "
    "or delete it there first.",
    "`rowtide apply` makes what is gone anew; mend a column of another kind in SharePoint, or delete it there first",
)
NOT_MOVING: Final = ReasonEntry(
    "not_moving",
    "{rows} waiting, the oldest for {seconds} s, and none was delivered in the last {window} s.",
    "see the log of the process with the role deliver; `rowtide doctor`",
)
PARKED: Final = ReasonEntry(
    "parked",
    "{rows} parked: set aside until they change, or somebody decides.",
    "`rowtide parked list {sync}` says why; then `rowtide parked retry` or `discard`",
)
EDITS_PROBLEM: Final = ReasonEntry("{code}", "Edits made in its lists cannot be applied: {problem}", "{next}")
EDITS_UNREAD: Final = ReasonEntry("{code}", "Edits made in its lists cannot be read: {problem}", "{next}")
EDITS_PARKED: Final = ReasonEntry(
    "edits_parked",
    "{edits} made in its lists set aside: {why}",
    "mend what the sentence says and `rowtide parked retry {sync} --all`, or edit the item again",
)
CONFLICTS_OPEN: Final = ReasonEntry(
    "conflicts_open",
    "{edits} made in its lists in conflict with the table, which a person has to settle.",
    "make item and row say the same, or change either: it is judged anew",
)
EDITS_WAIT: Final = ReasonEntry(
    "edits_wait", "{edits} made in its lists waiting to be applied, the oldest for {seconds} s{why}."
)

# --- what it does -----------------------------------------------------------------------------------------------

OBSERVE: Final = ReasonEntry(
    "observe",
    "The sync only observes (mode: observe): {rows} would be written.",
    "say `mode: deliver` and `rowtide apply` when the rows should be written",
)
QUOTA: Final = ReasonEntry(
    "quota", "{rows} waiting for quota{limit}.", "raise `licences` or `quota_share` of the graph if they are too low"
)
FIRST_LOAD: Final = ReasonEntry("first_load", "The first load has not begun; it begins by itself.")
RECONCILE_WANTED: Final = ReasonEntry("reconcile", "A reconcile is asked for and begins shortly.")
RECONCILE: Final = ReasonEntry("reconcile", "Reconcile in progress: {done}{total} rows compared, {waiting} waiting.")
MOVING: Final = ReasonEntry("moving", "{rows} waiting, {in_flight} in flight; {rate} delivered a second.")
STARTING: Final = ReasonEntry("starting", "{rows} waiting, the oldest for {seconds} s.")
UNKNOWN: Final = ReasonEntry(
    "unknown", "What is out of sync is not known since {since}; nothing is waiting of what is known."
)
IDLE: Final = ReasonEntry("idle", "Nothing is waiting.")
