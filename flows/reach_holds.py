"""Holds the sources and tenants that this process does not reach, and lets them go on when it does.

In: every view that is taken over. Out: holds of kind refused, which `status` shows. Rules: the process keeps to its own
file whatever is on record; a hold is lifted by the process that placed it, or by any that reaches the part when that
process does not live any more, so that two files of which one is old do not lift and place it in turns.
"""

from collections.abc import Collection

from flows.applied_view import View
from flows.sync_acts import SyncActs
from rowtide.connections import Part
from rowtide.error_catalogue import definition_errors
from rowtide.holds import REFUSED, Hold


class ReachHolds:
    """The holds that follow from the file of one process."""

    def __init__(self, acts: SyncActs, name: str, opens: Collection[str]) -> None:
        """``name``: the process's own; ``opens``: the scopes of what it connects to."""
        self._acts = acts
        self._name = name
        self._opens = opens

    def follow(self, view: View) -> None:
        """Place the holds that are missing, lift those that are over."""
        apart = {part: error for part, error in view.reach.apart.items() if part[0] in self._opens}
        placed: dict[Part, Hold] = {part: hold for hold in view.holds if (part := _part_of(hold)) is not None}
        for part, error in apart.items():
            hold = placed.get(part)
            if hold is None or (hold.actor == self._name and hold.reason != error.sentence):
                self._acts.hold_apart(part, error, self._name)
        over = {part: hold for part, hold in placed.items() if part not in apart and part[0] in self._opens}
        others = [part for part, hold in over.items() if hold.actor != self._name]
        living = self._acts.living() if others else frozenset()
        for part, hold in over.items():
            if hold.actor == self._name or hold.actor not in living:
                self._acts.lift_apart(part)


def _part_of(hold: Hold) -> Part | None:
    """What a hold of this module is on; None for every other hold."""
    if (hold.kind, hold.code) != (REFUSED, definition_errors.CONNECTION_OTHER.code):
        return None
    match hold.scope:
        case "source" | "tenant" as scope:
            return scope, hold.object
        case _:
            return None
