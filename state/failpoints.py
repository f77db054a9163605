"""Places where a crash must do no harm, by name; what happens there, tests alone decide.

In: the name of a place that code passes. Out: nothing. Rule (docs/design.md section 16): no setting, argument or
environment variable of a process arms a failpoint. The traps and the code that sets them are `tests/failpoints.py`,
which is part of no distribution.
"""

from typing import Protocol

EPOCH_CLOSING = "epoch.closing"
EPOCH_CLOSED = "epoch.closed"
STAGE_BEFORE_COMMIT = "stage.before_commit"
STAGE_AFTER_COMMIT = "stage.after_commit"
CONFIRM_BEFORE_CURSOR = "confirm.before_cursor"
CONFIRM_AFTER_CURSOR = "confirm.after_cursor"
OPEN_AFTER_SLOT = "open.after_slot"
OPEN_BEFORE_COMMIT = "open.before_commit"
OPEN_AFTER_COMMIT = "open.after_commit"
CLAIM_AFTER_LEASE = "claim.after_lease"
DELIVER_BEFORE_SEND = "deliver.before_send"
DELIVER_AFTER_SEND = "deliver.after_send"
DELIVER_AFTER_ANSWER = "deliver.after_answer"
SETTLE_BEFORE_COMMIT = "settle.before_commit"
SETTLE_AFTER_COMMIT = "settle.after_commit"
MOVE_BEFORE_DELETE = "move.before_delete"
RECONCILE_BEGUN = "reconcile.begun"
RECONCILE_AFTER_READ = "reconcile.after_read"
RECONCILE_BEFORE_COMMIT = "reconcile.before_commit"
RECONCILE_AFTER_COMMIT = "reconcile.after_commit"
RECONCILE_BEFORE_FINISH = "reconcile.before_finish"
RECONCILE_FINISHED = "reconcile.finished"
MATCH_AFTER_BATCH = "match.after_batch"
APPLY_STORED = "apply.stored"
TAKE_AFTER_LEASE = "take.after_lease"
ENTRY_BEFORE_COMMIT = "entry.before_commit"
ENTRY_AFTER_COMMIT = "entry.after_commit"
ENUMERATION_AFTER_PAGE = "enumeration.after_page"
ENUMERATION_BEFORE_TAKE_UP = "enumeration.before_take_up"
PULL_BEFORE_COMMIT = "pull.before_commit"
PULL_AFTER_COMMIT = "pull.after_commit"
COLLECT_BEFORE_COMMIT = "collect.before_commit"
COLLECT_AFTER_PAGE = "collect.after_page"

LOOP = "loop."
"""Before the name of a background loop: these are passed in each of its turns."""
LOOP_BEAT = f"{LOOP}beat"
LOOP_CONTROL = f"{LOOP}control"
LOOP_CONTROL_LISTEN = f"{LOOP}control-listen"
LOOP_READER = f"{LOOP}reader"
LOOP_CONFIRMER = f"{LOOP}confirmer"
LOOP_SHAPE = f"{LOOP}shape"
LOOP_RECONCILE = f"{LOOP}reconcile"
LOOP_DUE = f"{LOOP}due"
LOOP_DUE_LISTEN = f"{LOOP}due-listen"
LOOP_DELETIONS = f"{LOOP}deletions"
LOOP_REFRESH = f"{LOOP}refresh"
LOOP_ENUMERATE = f"{LOOP}enumerate"
LOOP_COLUMNS = f"{LOOP}columns"
LOOP_PULL = f"{LOOP}pull"
LOOP_PULL_LISTEN = f"{LOOP}pull-listen"
LOOP_COLLECT = f"{LOOP}collect"
LOOP_WEBHOOKS = f"{LOOP}webhooks"
LOOP_GAUGE = f"{LOOP}gauge"
LOOP_LISTEN = f"{LOOP}listen"
LOOP_GRAPH = f"{LOOP}graph"
LOOPS = frozenset(
    {LOOP_BEAT, LOOP_CONTROL, LOOP_CONTROL_LISTEN, LOOP_READER, LOOP_CONFIRMER, LOOP_SHAPE, LOOP_RECONCILE}
    | {LOOP_DUE, LOOP_DUE_LISTEN, LOOP_DELETIONS, LOOP_REFRESH, LOOP_ENUMERATE, LOOP_COLUMNS, LOOP_GRAPH}
    | {LOOP_COLLECT, LOOP_WEBHOOKS, LOOP_LISTEN, LOOP_PULL, LOOP_PULL_LISTEN, LOOP_GAUGE}
)

NAMES = frozenset(
    {
        EPOCH_CLOSING,
        EPOCH_CLOSED,
        STAGE_BEFORE_COMMIT,
        STAGE_AFTER_COMMIT,
        CONFIRM_BEFORE_CURSOR,
        CONFIRM_AFTER_CURSOR,
        OPEN_AFTER_SLOT,
        OPEN_BEFORE_COMMIT,
        OPEN_AFTER_COMMIT,
        CLAIM_AFTER_LEASE,
        DELIVER_BEFORE_SEND,
        DELIVER_AFTER_SEND,
        DELIVER_AFTER_ANSWER,
        SETTLE_BEFORE_COMMIT,
        SETTLE_AFTER_COMMIT,
        MOVE_BEFORE_DELETE,
        RECONCILE_BEGUN,
        RECONCILE_AFTER_READ,
        RECONCILE_BEFORE_COMMIT,
        RECONCILE_AFTER_COMMIT,
        RECONCILE_BEFORE_FINISH,
        RECONCILE_FINISHED,
        MATCH_AFTER_BATCH,
        APPLY_STORED,
        TAKE_AFTER_LEASE,
        ENTRY_BEFORE_COMMIT,
        ENTRY_AFTER_COMMIT,
        ENUMERATION_AFTER_PAGE,
        ENUMERATION_BEFORE_TAKE_UP,
        PULL_BEFORE_COMMIT,
        PULL_AFTER_COMMIT,
        COLLECT_BEFORE_COMMIT,
        COLLECT_AFTER_PAGE,
        *LOOPS,
    }
)


class Traps(Protocol):
    """What a test has set at some of the names."""

    def hit(self, name: str) -> None:
        """Carry out what is set at this name, if anything is."""


_of_process: Traps | None = None


def hit(name: str) -> None:
    """Pass the failpoint ``name`` of this process."""
    if _of_process is not None:
        _of_process.hit(name)
