"""Makes rows due that wait because of what is no longer in force: another mapping, or a list that could not be written.

In: the view in force, the syncs about to claim. Out: due rows. Rule (docs/design.md section 11): what `apply` or the
list's owner has mended is tried at once, and no wait is sat out that was earned under other conditions. The claiming
thread asks, so that it never claims by an older view than the one for which the rows were made due.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from flows.applied_view import View
from rowtide.lists import HeldColumns
from state import outbox
from state.database import Link


@dataclass(frozen=True, slots=True)
class _Terms:
    """What the waits of a sync's rows depend on: its mapping, and what of its lists cannot be written."""

    mapping_version: int
    held: Mapping[str, HeldColumns]


class DueAgain:
    """Asked before each claim (`look`)."""

    def __init__(self, view: Callable[[], View]) -> None:
        self._view = view
        self._seen: View | None = None
        self._known: dict[str, _Terms] = {}

    def look(self, link: Link, syncs: Sequence[str]) -> None:
        """Make the rows of these syncs due that were postponed under other terms than those in force."""
        view = self._view()
        if view is self._seen and all(sync in self._known for sync in syncs):
            return
        self._seen = view
        for sync in syncs:
            terms, known = _terms(view, sync), self._known.get(sync)
            if terms is None or terms == known:
                continue
            # At the start nobody knows what was held before: then it is the mapping alone that shows.
            every = known is not None and known.held != terms.held
            other_than = None if every else terms.mapping_version
            link.run(partial(outbox.make_due, sync=sync, other_than=other_than))
            self._known[sync] = terms


def _terms(view: View, sync: str) -> _Terms | None:
    """The terms in force; None for a sync that is not applied."""
    compiled = view.catalog.syncs.get(sync)
    if compiled is None:
        return None
    lists = (one.id for one in view.catalog.lists_of(sync))
    return _Terms(compiled.version, {id_: view.held[id_] for id_ in lists if id_ in view.held})
