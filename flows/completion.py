"""Reads rows anew from the source when outbox and ledger do not suffice to decide them.

In: works that were just claimed. Out: works that can be decided, and the rest as outcomes. Rule: what was read is
written back and waits for the row's next claim, because a claim only sends what its own ``sent`` says.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from connectors.postgres import refetch
from connectors.postgres.connections import open_source
from flows.ports import RulesOf
from rowtide.catalog import Catalog
from rowtide.deciding import push
from rowtide.deciding.outcomes import Outcome, ParkRow, Release
from rowtide.deciding.records import Work
from rowtide.errors import RowtideError
from state import eras, outbox
from state.database import Link

NOT_YET_S = 0.1
"""Seconds until a row is read again whose transaction is streamed but not visible yet."""


class Completer:
    """Used by the claiming thread; ``source_dsn`` is asked by the name of the PostgreSQL."""

    def __init__(
        self,
        state_dsn: str,
        catalog: Callable[[], Catalog],
        rules_of: RulesOf,
        source_dsn: Callable[[str], str],
    ) -> None:
        self._catalog = catalog
        self._rules_of = rules_of
        self._source_dsn = source_dsn
        self._state = Link(state_dsn, "rowtide complete")
        self._sources: dict[str, Any] = {}

    def __call__(self, works: list[Work]) -> tuple[list[Work], list[Outcome]]:
        """Works that can be decided, and what becomes of those that were read or cannot be read yet."""
        catalog = self._catalog()
        ready: list[Work] = []
        missing: dict[str, list[Work]] = {}
        for work in works:
            sync = catalog.syncs.get(work.desired.sync)
            if sync is not None and self._needs_source(work):
                missing.setdefault(sync.postgres, []).append(work)
            else:
                ready.append(work)
        back: list[Outcome] = []
        for postgres, of_source in sorted(missing.items()):
            back.extend(self._complete(catalog, postgres, of_source))
        return ready, back

    def _needs_source(self, work: Work) -> bool:
        try:
            return push.needs_source(work, self._rules_of(work.desired.sync))
        except KeyError:  # not applied any more: planning says so
            return False

    def _complete(self, catalog: Catalog, postgres: str, works: Sequence[Work]) -> list[Outcome]:
        """Write back what the source says now; outcomes of the rows of which it shows nothing yet."""
        back: list[Outcome] = []
        completed: list[Work] = []
        for answer in self._read(catalog, postgres, works):
            if isinstance(answer, refetch.NotYet):
                back.append(Release(answer.work, NOT_YET_S, unknown=False))
            elif isinstance(answer, ParkRow):
                back.append(answer)
            else:
                completed.append(answer)
        self._state.run(partial(outbox.complete, works=completed))
        return back

    def _read(self, catalog: Catalog, postgres: str, works: Sequence[Work]) -> Sequence[refetch.Refetched]:
        connection = self._sources.get(postgres)
        if connection is None or connection.closed:
            connection = self._sources[postgres] = open_source(self._source_dsn(postgres), "rowtide complete")
        try:
            # The eras of the records, not of a reader: this process may read no slot, or not yet.
            syncs = {work.desired.sync for work in works}
            present = self._state.run(lambda state: eras.read(state, syncs))
            return refetch.refetch_works(connection, catalog, works, present)
        except RowtideError:
            connection.close()
            raise
