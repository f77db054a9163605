"""Keeps on record which lists fail, so that a process which starts goes on waiting where the last one ended.

In: what each tenant's writer knows of its lists. Out: holds of kind fault (`state.list_faults`); at the start the
writers are told of those on record. Rules (docs/design.md section 6): a fault is written down when it begins, when a
trial fails and when it ends, never for a single row; the claiming thread does it, before it claims.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Protocol

from flows.applied_view import View
from rowtide.holds import ListFault
from state import list_faults
from state.database import Link


class ListWriter(Protocol):
    """The part of a tenant's writer that knows of its lists."""

    @property
    def list_faults(self) -> Sequence[ListFault]:
        """The lists that fail."""

    def restore_lists(self, faults: Sequence[ListFault]) -> None:
        """Wait for these lists as the process before did; called before the first row is submitted."""


class ListFaults:
    """Of the claiming thread (`look`)."""

    def __init__(self, owner: str, view: Callable[[], View], writers: Mapping[str, ListWriter]) -> None:
        self._owner = owner
        self._view = view
        self._writers = writers
        self._noted: dict[str, int] | None = None  # list id -> failures in a row

    def look(self, link: Link, _syncs: Collection[str]) -> None:
        """Write down what has changed since the last look; the first one tells the writers what is on record."""
        if self._noted is None:
            self._noted = self._restore(link)
            return
        if not self._noted and not any(writer.list_faults for writer in self._writers.values()):
            return
        applied = self._graph_of_lists()
        now = {one.list_id: one for writer in self._writers.values() for one in writer.list_faults}
        faults = {list_id: one for list_id, one in now.items() if list_id in applied}
        news = [one for one in faults.values() if self._noted.get(one.list_id) != one.failures]
        over = self._noted.keys() - faults.keys()
        if news or over:
            link.run(partial(list_faults.note, actor=self._owner, faults=news, over=over))
            self._noted = {list_id: one.failures for list_id, one in faults.items()}

    def _restore(self, link: Link) -> dict[str, int]:
        """What is on record of lists of the tenants of this process; that of lists nobody has any more goes."""
        found, graphs = link.run(list_faults.read), self._graph_of_lists()
        if unknown := {one.list_id for one in found} - graphs.keys():
            link.run(partial(list_faults.note, actor=self._owner, faults=[], over=unknown))
        for graph, writer in self._writers.items():
            writer.restore_lists([one for one in found if graphs.get(one.list_id) == graph])
        return {one.list_id: one.failures for one in found if graphs.get(one.list_id) in self._writers}

    def _graph_of_lists(self) -> dict[str, str]:
        catalog = self._view().catalog
        return {ref.id: sync.graph for sync in catalog.syncs.values() for ref in catalog.lists_of(sync.sync)}
