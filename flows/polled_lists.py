"""The lists whose changes are collected: those of syncs that go both ways, paused ones too.

In: the view in force. Out: `PolledList`s of a tenant. Called by the collector in each turn. Rule (docs/design.md
section 22): a pause or a source that is away holds no list back; a list that is not applied any more is not asked.
"""

from collections.abc import Callable

from flows.applied_view import View
from rowtide.keys import ROWTIDE_KEY
from rowtide.polling import PollBounds, PolledList


def of_tenant(view: Callable[[], View], graph: str) -> list[PolledList]:
    """The lists of a tenant whose changes are to be collected now."""
    now = view()
    if now.not_taken is not None:
        return []
    found = []
    for compiled in now.catalog.syncs.values():
        state = now.states.get(compiled.sync)
        if compiled.graph != graph or not compiled.two_ways or (state is not None and state.retired):
            continue
        names = frozenset({ROWTIDE_KEY, *(one.name for one in compiled.list_columns())})
        bounds = PollBounds(compiled.poll.least.total_seconds(), compiled.poll.most.total_seconds())
        found += [
            PolledList(ref.id, ref.site_id, compiled.sync, names, bounds, compiled.version, compiled.breaker)
            for ref in now.catalog.lists_of(compiled.sync)
        ]
    return found
