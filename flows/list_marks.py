"""Holds the syncs whose lists another installation has marked, and lets them go on when the marks are ours again.

In: the columns of lists, as a process that delivers looks at them. Out: holds of kind refused. Rule (docs/design.md
section 4): a hold goes when every list of the sync was seen without another's mark since this process began.
"""

from collections.abc import Mapping, Sequence

import structlog

from connectors.graph import list_schema
from connectors.graph.list_schema import FoundColumn
from flows.applied_view import View
from rowtide.error_catalogue import graph_errors
from rowtide.holds import REFUSED, Hold
from state import holds, instance
from state.database import Connection

log = structlog.get_logger()


def is_of_mark(hold: Hold) -> bool:
    """Whether the hold is there because another installation has marked a list."""
    return (hold.scope, hold.kind, hold.code) == ("sync", REFUSED, graph_errors.LIST_OF_OTHER_INSTANCE.code)


def held_for_marks(view: View) -> frozenset[str]:
    """The syncs that are held so: their lists are looked at all the same."""
    return frozenset(hold.object for hold in view.holds if is_of_mark(hold) and hold.object in view.catalog.syncs)


class ListMarks:
    """What the marks of the lists were when they were last looked at."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, str | None]] = {}  # list id -> our id, and the other one's

    def note(
        self, connection: Connection, view: View, sync: str, list_id: str, found: Mapping[str, FoundColumn]
    ) -> None:
        """Record the mark of a list: hold its sync, or let it go on."""
        here = instance.read(connection)
        if here is None:
            return
        other = list_schema.other_instance(found, here.id)
        self._seen[list_id] = here.id, other
        titles = {ref.id: title for title, ref in view.catalog.lists[sync].items()}
        held = sync in held_for_marks(view)
        if other is not None:
            why = graph_errors.LIST_OF_OTHER_INSTANCE(title=titles[list_id], instance=other)
            if holds.place(connection, "sync", sync, REFUSED, why.code, why.sentence, "deliver"):
                log.error("list of another installation", code=why.code, problem=why.unquoted, remedy=why.remedy)
        elif held and self._are_ours(here.id, list(titles)):
            holds.lift(connection, "sync", sync, REFUSED, [graph_errors.LIST_OF_OTHER_INSTANCE.code])
            log.info("lists are this installation's again", sync=sync)

    def _are_ours(self, here: str, lists: Sequence[str]) -> bool:
        return all(self._seen.get(list_id) == (here, None) for list_id in lists)
