"""Reads rows anew from the source when outbox and ledger do not suffice to decide them.

In: works that were just claimed. Out: works that can be decided, and the rest as outcomes. Rules: what was read is
written back and waits for the row's next claim, because a claim only sends what its own ``sent`` says; a source that
cannot be read holds back its own rows only.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from connectors.postgres import refetch
from connectors.postgres.source_sessions import SourceSessions
from connectors.trouble import Trouble
from flows.ports import RulesOf
from rowtide.catalog import Catalog
from rowtide.deciding import push
from rowtide.deciding.outcomes import Outcome, ParkRow, Release
from rowtide.deciding.records import Work
from rowtide.errors import RowtideError, SourceRefused, SourceUnavailable, UserError
from state import eras, outbox
from state.database import Link

NOT_YET_S = 0.1
"""Seconds until a row is read again whose transaction is streamed but not visible yet."""


@dataclass(slots=True)
class _Pause:
    """Until when a source is not asked again: the claiming thread has others' rows to claim meanwhile."""

    trouble: Trouble
    until: float = 0.0
    why: str = ""

    def failed(self, error: RowtideError) -> float:
        """Seconds for which its rows wait after this failure."""
        after_s = self.trouble.failed(error)
        self.why = error.sentence
        self.until = time.monotonic() + after_s
        return after_s


class Completer:
    """Used by the claiming thread, which alone uses ``sessions``."""

    def __init__(
        self,
        state_dsn: str,
        catalog: Callable[[], Catalog],
        rules_of: RulesOf,
        sessions: SourceSessions,
    ) -> None:
        self._catalog = catalog
        self._rules_of = rules_of
        self._sessions = sessions
        self._state = Link(state_dsn, "rowtide complete")
        self._pauses: dict[str, _Pause] = {}

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
        pause = self._pause_of(postgres)
        if (left_s := pause.until - time.monotonic()) > 0:
            return [Release(work, left_s, unknown=False, reason=pause.why) for work in works]
        try:
            answers = self._read(catalog, postgres, works)
        except (SourceUnavailable, SourceRefused, UserError) as error:
            after_s = pause.failed(error)
            return [Release(work, after_s, unknown=False, reason=error.sentence) for work in works]
        pause.trouble.succeeded()
        return self._take(answers)

    def _pause_of(self, postgres: str) -> _Pause:
        if postgres not in self._pauses:
            trouble = Trouble("rows wait to be read", "rows are read again", source=postgres)
            self._pauses[postgres] = _Pause(trouble)
        return self._pauses[postgres]

    def _take(self, answers: Sequence[refetch.Refetched]) -> list[Outcome]:
        back: list[Outcome] = []
        completed: list[Work] = []
        for answer in answers:
            if isinstance(answer, refetch.NotYet):
                back.append(Release(answer.work, NOT_YET_S, unknown=False))
            elif isinstance(answer, ParkRow):
                back.append(answer)
            else:
                completed.append(answer)
        self._state.run(partial(outbox.complete, works=completed))
        return back

    def _read(self, catalog: Catalog, postgres: str, works: Sequence[Work]) -> Sequence[refetch.Refetched]:
        connection = self._sessions.get(postgres)
        # The eras of the records, not of a reader: this process may read no slot, or not yet.
        syncs = {work.desired.sync for work in works}
        present = self._state.run(lambda state: eras.read(state, syncs))
        try:
            return refetch.refetch_works(connection, catalog, works, present)
        except (SourceUnavailable, SourceRefused):
            # The session was had: what failed is the reading of one table, of which the source is not accused.
            self._sessions.drop(postgres)
            raise
