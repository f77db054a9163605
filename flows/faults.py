"""Keeps on record what fails, so that a process which starts goes on waiting where the last one ended.

In: what a process knows of its tenants, their lists and the tables that it reads. Out: holds of kind fault
(`state.faults`), and what other processes and people have written there. Rules (docs/design.md section 6): a fault is
written down when it begins, when a trial fails and when it ends, never for a single row; what is gone from the record
is forgotten here, and a wait that was ended there ends here; the first look is made before anything is asked of a
tenant or a table, every other one by the claiming thread, before it claims.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final, Protocol, assert_never, get_args

from flows.applied_view import View
from rowtide.holds import FAULT, FaultHold, FaultScope
from state import faults
from state.database import Link

READ_S: Final = 1.0
"""While anything fails, the record is read so often."""

Place = tuple[FaultScope, str]


class Keeper(Protocol):
    """A part of the process that knows of faults; the claiming thread calls it."""

    @property
    def faults(self) -> Sequence[FaultHold]:
        """What fails."""

    def heed(self, fault: FaultHold) -> None:
        """Wait as the record says, unless the fault is known here."""

    def hasten(self, fault: FaultHold) -> None:
        """Wait no longer than the record says, if the fault is known here and has not failed again since."""

    def forget(self, fault: FaultHold) -> None:
        """It is no fault any more: another process was answered, or nothing waits for it."""


class FaultRecord:
    """`look` is for one thread at a time; `counts` is for any."""

    def __init__(
        self,
        owner: str,
        view: Callable[[], View],
        writers: Mapping[str, Keeper],
        tables: Keeper,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``writers``: by tenant, of it and its lists; ``tables``: of the tables that rows are read from."""
        self._owner = owner
        self._view = view
        self._writers = writers
        self._tables = tables
        self._clock = clock
        self._noted: dict[Place, FaultHold] = {}
        self._read_at: float | None = None

    def look(self, link: Link) -> None:
        """Write down what has changed since the last look, and obey what is on record, the first time before all."""
        now = self._clock()
        if self._read_at is None:
            self._clear(link)
            self._obey(link)
            self._read_at = now
            return
        known = self._known()
        if known or self._noted:
            self._note(link, known)
        if now >= self._read_at + READ_S and (known or self._noted or self._is_any_on_record()):
            self._obey(link)
            self._read_at = now

    def counts(self) -> dict[str, int]:
        """How many faults of each scope this process knows."""
        found = Counter(scope for scope, _ in self._known())
        return {scope: found[scope] for scope in get_args(FaultScope)}

    def _known(self) -> dict[Place, FaultHold]:
        return {one.place: one for keeper in (*self._writers.values(), self._tables) for one in keeper.faults}

    def _is_any_on_record(self) -> bool:
        return any(hold.kind == FAULT for hold in self._view().holds)

    def _note(self, link: Link, known: Mapping[Place, FaultHold]) -> None:
        lists = self._graph_of_lists()
        now = {place: one for place, one in known.items() if self._keeper_of(one, lists) is not None}
        noted = {place: (one.code, one.failures) for place, one in self._noted.items()}
        news = [one for place, one in now.items() if noted.get(place) != (one.code, one.failures)]
        over = noted.keys() - now.keys()
        if news or over:
            link.run(partial(faults.note, actor=self._owner, faults=news, over=over))
            self._noted = now

    def _clear(self, link: Link) -> None:
        """Take away what is on record of things that nobody has any more."""
        lists = self._graph_of_lists()
        unknown = [one.place for one in link.run(faults.read) if not self._is_applied(one, lists)]
        if unknown:
            link.run(partial(faults.note, actor=self._owner, faults=[], over=unknown))

    def _obey(self, link: Link) -> None:
        """Do as the record says.

        What was known here and is so no more ended a moment ago: the record will say so, and nothing begins anew.
        """
        link.run(faults.forget_idle)
        found = {one.place: one for one in link.run(faults.read)}
        lists = self._graph_of_lists()
        for place, one in found.items():
            if (keeper := self._keeper_of(one, lists)) is None:
                continue
            if place in self._noted:
                keeper.hasten(one)
            else:
                keeper.heed(one)
                self._noted[place] = one
        for place in self._noted.keys() - found.keys():
            one = self._noted.pop(place)
            if (keeper := self._keeper_of(one, lists)) is not None:
                keeper.forget(one)

    def _keeper_of(self, fault: FaultHold, lists: Mapping[str, str]) -> Keeper | None:
        """The part of this process that the fault concerns."""
        match fault.scope:
            case "list":
                return self._writers.get(lists.get(fault.object, ""))
            case "table":
                sync = self._view().catalog.syncs.get(fault.object)
                return self._tables if sync is not None and sync.graph in self._writers else None
            case "tenant":
                return self._writers.get(fault.object)
            case _:
                assert_never(fault.scope)

    def _is_applied(self, fault: FaultHold, lists: Mapping[str, str]) -> bool:
        catalog = self._view().catalog
        known: dict[FaultScope, Collection[str]] = {
            "list": lists.keys(),
            "table": catalog.everything.keys(),
            "tenant": catalog.definition.graph.keys(),
        }
        return fault.object in known[fault.scope]

    def _graph_of_lists(self) -> dict[str, str]:
        catalog = self._view().catalog
        return {ref.id: sync.graph for sync in catalog.syncs.values() for ref in catalog.lists_of(sync.sync)}
