"""How a process is put together from an applied definition: readers, graph settings, completion, health.

In: a `Runtime` and its definition. Out: parts ready to start. Rule: secrets are resolved where they are used and kept
nowhere else; what crosses two connectors meets here, not in one of them.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from connectors.postgres import refetch
from connectors.postgres.connections import open_source
from connectors.postgres.replication.continuity import NewEra
from connectors.postgres.replication.cursor_store import StateCursorStore
from connectors.postgres.replication.reader import Reader, ReaderSettings
from connectors.settings import resolve_secret
from flows.reconcile import Reconciler
from rowtide.deciding.outcomes import Outcome, ParkRow, Release
from rowtide.deciding.records import Work
from rowtide.errors import RowtideError
from state import cursors, outbox, progress
from state.database import Connection, Link
from state.reconcile import record as reconciles

if TYPE_CHECKING:
    from flows.process import Runtime, Tally

NOT_YET_S = 0.1
"""A row whose transaction is streamed but not visible yet is read again this soon."""


def reader(runtime: "Runtime", postgres: str) -> Reader:
    """The reader of a PostgreSQL's slot."""
    definition = runtime.definition
    source = definition.postgres[postgres]
    settings = ReaderSettings(
        read_dsn=lambda: resolve_secret(source.dsn),
        slot=definition.slot(postgres),
        publication=definition.publication(postgres),
        heartbeat_s=source.heartbeat.total_seconds(),
        heal=source.on_gap == "heal",
        failover=source.failover,
    )

    def ask_for_reconciles(connection: Connection, era: NewEra) -> None:
        for name, sync in runtime.catalog.syncs.items():
            if sync.postgres == postgres:
                reconciles.request(connection, name, era.reason)

    return Reader(settings, StateCursorStore(runtime.state_dsn, settings.slot, ask_for_reconciles))


def reconciler(runtime: "Runtime") -> Reconciler:
    """The thread that reconciles this process's syncs."""
    sources = runtime.definition.postgres
    return Reconciler(
        runtime.state_dsn, runtime.owner, lambda: runtime.view, lambda name: resolve_secret(sources[name].dsn)
    )


class Completer:
    """Rows that cannot be decided from outbox and ledger are read anew, written back and left for the next claim.

    A claim is only ever sent for what its own ``sent`` entry says; that is why a completed row is claimed again.
    """

    def __init__(self, runtime: "Runtime") -> None:
        self._runtime = runtime
        self._state = Link(runtime.state_dsn, "rowtide complete")
        self._sources: dict[str, Any] = {}

    def __call__(self, works: list[Work]) -> tuple[list[Work], list[Outcome]]:
        """Works that can be delivered, and releases for those whose transaction is not visible yet."""
        ready = [work for work in works if not self._runtime.needs_reading(work)]
        missing = [work for work in works if self._runtime.needs_reading(work)]
        if not missing:
            return ready, []
        back: list[Outcome] = []
        catalog = self._runtime.catalog
        for postgres in sorted({catalog.syncs[work.desired.sync].postgres for work in missing}):
            of_source = [work for work in missing if catalog.syncs[work.desired.sync].postgres == postgres]
            completed: list[Work] = []
            for answer in self._read(postgres, of_source):
                if isinstance(answer, refetch.NotYet):
                    back.append(Release(answer.work, NOT_YET_S, unknown=False))
                elif isinstance(answer, ParkRow):
                    back.append(answer)
                else:
                    completed.append(answer)
            self._state.run(partial(outbox.complete, works=completed))
        return ready, back

    def _read(self, postgres: str, works: Sequence[Work]) -> Sequence[refetch.Answer]:
        connection = self._sources.get(postgres)
        if connection is None or connection.closed:
            dsn = resolve_secret(self._runtime.definition.postgres[postgres].dsn)
            connection = self._sources[postgres] = open_source(dsn, "rowtide complete")
        try:
            # The records' era, not a reader's: this process may read no slot, or not have begun to.
            slot = self._runtime.slot_of(postgres)
            cursor = self._state.run(lambda state: cursors.read_slot(state, slot))
            return refetch.read_anew(connection, self._runtime.catalog, works, cursor.era if cursor is not None else 0)
        except RowtideError:
            connection.close()
            raise


def deltas(tallies: Mapping[str, "Tally"]) -> list[progress.Delta]:
    """The counts of a second as `state.progress` adds them up."""
    return [
        progress.Delta(
            sync,
            changes=tally.changes,
            delivered=tally.delivered,
            writes=tally.writes,
            suppressed=tally.suppressed,
            foreign_edits=tally.foreign_edits,
            ru_used=tally.ru_used,
            latencies_ms=tuple(tally.latencies_ms),
        )
        for sync, tally in tallies.items()
    ]


def health(runtime: "Runtime") -> dict[str, Any]:
    """What `status` shows of this process; the shape is state.processes'."""
    sources = {
        reader.settings.slot: {
            "problem": _problem(reader.trouble),
            "era": reader.era,
            "lsn": reader.place.lsn if reader.place is not None else 0,
            "connected": reader.streaming,
        }
        for reader in runtime.readers.values()
    }
    graphs = {}
    for name, writer in runtime.writers.items():
        gate_s = runtime.budgets[name].gate_s()
        gate_until = (datetime.now(UTC) + timedelta(seconds=gate_s)).isoformat() if gate_s else None
        graphs[name] = {
            "problem": {"code": "graph", "sentence": writer.problem} if writer.problem else None,
            "lists": dict(writer.list_problems),
            "gate_until": gate_until,
            "quota_wait_s": round(runtime.budgets[name].quota_wait_s(), 3),
            "ru_used": writer.counters.ru_used,
            "requests": writer.counters.requests,
            "throttled": writer.counters.throttled,
        }
    return {
        "source": sources,
        "graph": graphs,
        "reconcile": runtime.reconciler.health() if runtime.reconciler is not None else {},
        "due": {"in_flight": runtime.claimer.in_flight, "problem": _problem(runtime.claimer.problem)},
    }


def _problem(error: RowtideError | None) -> dict[str, str] | None:
    return None if error is None else {"code": error.code, "sentence": error.sentence}
