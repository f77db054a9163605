"""The day's quota of each tenant, as the state database remembers it.

In: the budgets of a process that delivers. Out: what they spent in table ``spent``, and their day as all processes of
the app have spent it. Rule: with each beat, and once before the first row is claimed; what could not be written is
written with the next beat.
"""

from collections.abc import Iterable

from flows.graph_reads import PacedGraph
from state import spent
from state.database import Connection


class DayQuota:
    """Used by one thread at a time."""

    def __init__(self, graphs: Iterable[PacedGraph]) -> None:
        self._graphs = [one for one in graphs if not one.settings.quota_off]

    def account(self, connection: Connection) -> None:
        """Write what was spent since the last call, and read the day."""
        for graph in self._graphs:
            budget, app = graph.budget, graph.settings.app
            units = budget.unrecorded
            with connection.transaction():
                if units:
                    spent.add(connection, app, units)
                day = spent.read(connection, app)
            budget.set_day(day, recorded=units)
