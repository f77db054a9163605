"""What `status` says of a sync: that it moves, or why it does not. The first reason that holds is shown."""

from typing import Final

from rowtide.error_catalogue.entries import ReasonEntry

RETIRED: Final = ReasonEntry("retired", "The sync is no longer in the applied definition; its records are kept.")
HELD: Final = ReasonEntry(
    "{code}", "Paused{scope} by {by} since {since}: {why}{also}", "`rowtide status --json` says what lifts each hold"
)
"""A sync that is held shows the code of its first hold."""
HELD_TOO: Final = ReasonEntry("{code}", " Held too by {by}: {why}", "`rowtide status --json` says what lifts each hold")
LIFTED_BY_RESUME: Final = ReasonEntry("lifted_by_resume", "`rowtide resume {object}`")
LIFTED_BY_APPROVAL: Final = ReasonEntry(
    "lifted_by_approval",
    "`rowtide resume {object} --approve-deletes` lets these deletions through; `rowtide reconcile {object}` has them "
    "judged anew, when the rows are there again",
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
LISTS_UNPROVEN: Final = ReasonEntry(
    "list_of_other_instance",
    "The state database was restored or copied: this is another installation now, and its lists carry the mark of the "
    "one before.",
    "`rowtide apply --take-over`, if the one before does not run any more",
)
LIFTED_BY_ITSELF: Final = ReasonEntry("lifted_by_itself", "nothing: it goes by itself when what it says is mended")
NOT_RUNNING: Final = ReasonEntry(
    "not_running", "No process with the role {role} runs; start one with `rowtide run`.", "`rowtide run`"
)
NOT_SEEN: Final = ReasonEntry(
    "not_running",
    "The process with the role {role} was last seen {seconds} s ago; is it still there?",
    "look at the process and its log; a supervisor should restart it",
)
NOT_TAKEN: Final = ReasonEntry(
    "definition_not_taken", "{problem}", "run the release that applied the definition wherever `rowtide run` runs"
)
STATE_PROBLEM: Final = ReasonEntry("state_problem", "{problem}", "see the sentence")
SOURCE_PROBLEM: Final = ReasonEntry("source_problem", "PostgreSQL {source}: {problem}", "`rowtide doctor`")
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
GRAPH_PROBLEM: Final = ReasonEntry("graph_problem", "Graph {graph}: {problem}", "`rowtide doctor`")
OBSERVE: Final = ReasonEntry(
    "observe",
    "The sync only observes (mode: observe): {rows} would be written.",
    "say `mode: deliver` and `rowtide apply` when the rows should be written",
)
THROTTLED: Final = ReasonEntry(
    "throttled", "Graph {graph} throttles the app; writes go on at {until}.", "nothing: it waits"
)
RECONCILE_PROBLEM: Final = ReasonEntry(
    "reconcile_problem", "The reconcile cannot go on: {problem}", "see the sentence; it is tried again by itself"
)
RECONCILE_WAITS: Final = ReasonEntry("waits", "{waits}", "nothing: it goes on by itself")
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
QUOTA: Final = ReasonEntry(
    "quota", "{rows} waiting for quota{limit}.", "raise `licences` or `share` of the graph if they are too low"
)
COLUMNS_HELD: Final = ReasonEntry(
    "columns_held",
    "List '{title}': {problem}.",
    "`rowtide apply` makes what is missing anew; give a column of another kind another name, or mend it in SharePoint",
)
RECONCILE_WANTED: Final = ReasonEntry("reconcile", "A reconcile is asked for and begins shortly.")
RECONCILE: Final = ReasonEntry("reconcile", "Reconcile in progress: {done}{total} rows compared, {waiting} waiting.")
IDLE: Final = ReasonEntry("idle", "Nothing is waiting.{parked}")
MOVING: Final = ReasonEntry("moving", "{rows} waiting, {in_flight} in flight.")
