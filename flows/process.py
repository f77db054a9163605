"""One running process: everything its steps share, made once, started, watched and ended together.

In: the applied definition (`View`), the process's roles. Out: the ports the steps and outputs use (what is routed,
decisions, submitting, completions, counts) and a health beat each second. Rule: nothing here is remembered across a
restart; what matters is in the state database.
"""

import os
import socket
import threading
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import structlog

from connectors import metrics
from connectors.claimer import WRITE_RU, Claimer
from connectors.graph.budget import Budget
from connectors.graph.settings import GraphSettings
from connectors.graph.writer import Writer
from connectors.outbox_io import Stopped, until_answered
from connectors.postgres.replication.reader import Reader
from flows import compose
from flows.admission import Admission
from flows.applied_view import View, Watcher
from flows.list_guard import Strangers
from flows.process_lock import Identity
from flows.reconcile import Reconciler
from rowtide.catalog import Catalog
from rowtide.deciding import push
from rowtide.deciding.outcomes import Counts, Outcome, ParkRow, Release, Settle
from rowtide.deciding.progress import Progress, Rules
from rowtide.deciding.records import Work
from rowtide.definition.model import Definition
from rowtide.errors import RowtideError, SyncError
from rowtide.keys import lane_of
from rowtide.mapping.compiled_sync import CompiledSync
from state import cursors, definitions, outbox, processes, progress
from state.database import Link
from state.outbox import StageCounts
from state.reconcile import record as reconciles

log = structlog.get_logger()
T = TypeVar("T")

BEAT_S = 1.0


@dataclass(slots=True)
class Tally:
    """Counts of one sync since the last beat."""

    changes: int = 0
    delivered: int = 0
    writes: int = 0
    suppressed: int = 0
    foreign_edits: int = 0
    parked: int = 0
    ru_used: int = 0
    latencies_ms: list[float] = field(default_factory=list)


class Runtime:
    """The process. `start` before the flow, `close` after it; the properties and methods are the steps' ports."""

    def __init__(
        self,
        state_dsn: str,
        view: View,
        roles: frozenset[str],
        process_id: int,
        identity: Identity,
        stop: threading.Event,
    ) -> None:
        self.state_dsn = state_dsn
        self.roles = roles
        self.process_id = process_id
        self.run_id = uuid.uuid4().hex
        self.stop = stop
        self._view = view
        self._definition = view.catalog.definition
        self._started_at = datetime.now(UTC)
        self._clock_offset = timedelta(0)
        self._lock = threading.Lock()
        self._tallies: dict[str, Tally] = defaultdict(Tally)
        self._mailboxes: dict[str, deque[Outcome]] = defaultdict(deque)
        self._links: dict[str, Link] = {}
        self.owner = identity.name
        self.supplanted = False
        self._identity = identity
        self.readers: dict[str, Reader] = {}
        self.writers: dict[str, Writer] = {}
        self.budgets: dict[str, Budget] = {}
        self._settings: dict[str, GraphSettings] = {}
        if "capture" in roles:
            self.readers = {name: compose.reader(self, name) for name in self._definition.postgres}
        if "deliver" in roles:
            for name in self._definition.graph:
                settings = GraphSettings.from_definition(self._definition, name)
                self._settings[name] = settings
                self.budgets[name] = Budget(settings)
                self.writers[name] = Writer(
                    settings, self.budgets[name], rules_of=self.rules_of, site_of=self.site_of, now=self.now
                )
        self._strangers = Strangers(lambda: self.view, self._settings, self._charge, self._pause)
        self.admission = Admission(
            lambda sync: self.catalog.syncs[sync], lambda: self.view.states, self._strangers.known
        )
        self.claimer = Claimer(
            state_dsn,
            self.owner,
            self.budgets,
            self.deliverable,
            self.lists,
            compose.Completer(self),
            self.admission.admit,
        )
        self.reconciler: Reconciler | None = compose.reconciler(self) if "capture" in roles else None
        self._watcher = Watcher(state_dsn, view, self._seen)
        self._beating = threading.Thread(target=self._beat, name="rowtide-beat", daemon=True)

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start every thread of the process."""
        self._watcher.start()
        for writer in self.writers.values():
            writer.start()
        if "deliver" in self.roles:
            self._strangers.start()
            self.claimer.start()
        if self.reconciler is not None:
            self.reconciler.start()
        self._beating.start()

    def close(self) -> None:
        """End every thread; writes in flight get a second, what was never sent is handed back."""
        self.stop.set()
        if "deliver" in self.roles:
            self._strangers.stop()
            self.claimer.stop()
        back: list[Outcome] = []
        for writer in self.writers.values():
            back.extend(writer.stop(1.0))
        for mailbox in self._mailboxes.values():
            back.extend(mailbox)
        back.extend(self.claimer.unsent())
        self._hand_back(back)
        if self.reconciler is not None:
            self.reconciler.stop()
        self._watcher.stop()

    def _hand_back(self, outcomes: Sequence[Outcome]) -> None:
        """Give up what is left of our leases, and our place on the list of processes."""
        link = Link(self.state_dsn, "rowtide close")
        try:
            link.run(lambda connection: outbox.settle(connection, outcomes))
            link.run(lambda connection: processes.leave(connection, self.process_id, self.roles))
        except RowtideError as error:
            log.warning("leases stay until they expire", code=error.code, rows=len(outcomes))
        finally:
            link.close()

    # --- what is in force -------------------------------------------------------------------------------------------

    @property
    def catalog(self) -> Catalog:
        """The catalog of the applied definition."""
        return self._view.catalog

    @property
    def definition(self) -> Definition:
        """The definition this process was started with; its connections and slots do not change while it runs."""
        return self._definition

    @property
    def view(self) -> View:
        """Catalog and sync states, as last read."""
        return self._view

    def _seen(self, view: View) -> None:
        changed = view.catalog.version != self._view.catalog.version
        self._view = view
        if changed:
            log.info("definition taken over", version=view.catalog.version)
        self._note_since(view)

    def _note_since(self, view: View) -> None:
        """From here on every transaction of a newly routed sync is in the stream: say so, once."""
        for name, reader in self.readers.items():
            place = reader.place
            if place is None:
                continue
            for sync in view.routed:
                state = view.states.get(sync)
                if view.catalog.syncs[sync].postgres == name and (state is None or state.since_era is None):
                    self.on_state("since", partial(cursors.note_since, sync=sync, era=place.era, lsn=place.lsn))

    def routed(self, postgres: str, schema: str, table: str) -> list[CompiledSync]:
        """Syncs of this PostgreSQL whose changes of that table are staged."""
        routed = self._view.routed
        return [
            sync
            for sync in self._view.catalog.by_relation(schema, table)
            if sync.postgres == postgres and sync.sync in routed
        ]

    def deliverable(self) -> Mapping[str, list[str]]:
        """Graph -> syncs that may write to it now."""
        found: dict[str, list[str]] = {name: [] for name in self.budgets}
        for sync in self._view.running:
            compiled = self._view.catalog.syncs[sync]
            if compiled.mode == "deliver" and compiled.graph in found:
                found[compiled.graph].append(sync)
        return found

    def slot_of(self, postgres: str) -> str:
        """Name of the slot of a PostgreSQL."""
        return self._definition.slot(postgres)

    def _charge(self, graph: str, ru: float) -> None:
        self.budgets[graph].charge(ru)

    def _pause(self, sync: str, code: str, sentence: str) -> None:
        log.warning("sync paused", sync=sync, code=code, problem=sentence)
        self.on_state("pause", lambda c: definitions.pause(c, [sync], code, sentence, "run"))

    def graph_of(self, sync: str) -> str:
        """Name of the graph a sync delivers to."""
        return self._view.catalog.syncs[sync].graph

    def lists(self) -> dict[str, dict[str, str]]:
        """Sync -> list title -> list id."""
        found = self._view.catalog.lists
        return {sync: {title: ref.id for title, ref in titles.items()} for sync, titles in found.items()}

    def site_of(self, list_id: str) -> str:
        """Id of the site a list is on."""
        return self._view.catalog.site_of(list_id)

    def rules_of(self, sync: str) -> Rules:
        """How a sync's rows are decided."""
        compiled = self._view.catalog.syncs[sync]
        patience = self._settings[compiled.graph].patience
        return Rules(compiled, compiled.version, patience, compiled.deletes)

    def now(self) -> datetime:
        """The state database's clock, as well as we know it."""
        return datetime.now(UTC) + self._clock_offset

    # --- ports of the steps -----------------------------------------------------------------------------------------

    def stop_capture_of(self, sync: str, error: SyncError) -> None:
        """Durable: the sync's changes pass by from here on; resuming it is a reconcile."""
        log.error("sync stopped at capture", sync=sync, code=error.code, problem=error.sentence)
        self.on_state("stop", lambda c: definitions.stop_capture(c, sync, error.code, error.sentence))

    def request_reconcile(self, sync: str, why: str, not_before_xid: int | None = None) -> None:
        """Durable: the sync is reconciled soon."""
        self.on_state("request", lambda c: reconciles.request(c, sync, why, not_before_xid=not_before_xid))

    def on_state(self, what: str, act: Callable[[Any], T]) -> T:
        """Run ``act`` on this thread's own link to the state database, until it answers."""
        thread = threading.current_thread().name
        link = self._links.setdefault(thread, Link(self.state_dsn, f"rowtide {what}"))
        return until_answered(self, lambda: link.run(act), what)

    def plan(self, work: Work) -> Progress | Outcome:
        """What to do for a claimed row; a row that was decided without asking Graph gives its quota back."""
        sync = work.desired.sync
        if sync not in self._view.catalog.syncs:
            step: Progress | Outcome = Release(work, 60.0, unknown=False, reason="sync is not applied any more")
        else:
            planned = push.first(work, self.rules_of(sync), self.now())
            step = planned if isinstance(planned, Progress | Outcome) else Release(work, 0.1, unknown=False)
        if not isinstance(step, Progress):
            self.budgets[self.graph_of(sync)].refund(WRITE_RU)
        return step

    def needs_reading(self, work: Work) -> bool:
        """Whether the source has to be asked before the row can be decided."""
        if work.desired.sync not in self.catalog.syncs:
            return False
        return push.needs_source(work, self.rules_of(work.desired.sync))

    def submit(self, lane: str, begun: Sequence[Progress]) -> None:
        """Hand claims under way to the writer of the lane's graph."""
        self.writers[lane.rpartition(":")[0]].submit(begun)

    def completed(self, lane: str) -> list[Outcome]:
        """Outcomes of the lane since the last call."""
        graph = lane.rpartition(":")[0]
        with self._lock:
            for outcome in self.writers[graph].poll():
                desired = outcome.work.desired
                self._mailboxes[f"{graph}:{lane_of(desired.sync, desired.key)}"].append(outcome)
            mailbox = self._mailboxes[lane]
            done = list(mailbox)
            mailbox.clear()
        return done

    def normalized(self, changes: Mapping[str, int]) -> None:
        """Count changes of each sync as they came from the WAL."""
        with self._lock:
            for sync, count in changes.items():
                self._tallies[sync].changes += count

    def staged(self, counts: StageCounts) -> None:
        """Count what staging absorbed."""
        metrics.MERGED.inc(counts.merged)
        metrics.DROPPED.inc(counts.dropped)

    def settled(self, outcomes: Sequence[Outcome], counts: Counts) -> None:
        """Count settled rows and make room for new claims."""
        self.claimer.finished(len(outcomes))
        metrics.STALE.inc(counts.stale)
        now = self.now()
        with self._lock:
            for outcome in outcomes:
                desired = outcome.work.desired
                tally = self._tallies[desired.sync]
                if isinstance(outcome, Settle):
                    tally.delivered += not outcome.again
                    tally.writes += outcome.writes
                    tally.ru_used += WRITE_RU * outcome.writes  # looks are counted by graph, not by sync
                    tally.suppressed += not outcome.writes
                    tally.foreign_edits += outcome.foreign_edit
                    tally.latencies_ms.append((now - desired.committed_at) / timedelta(milliseconds=1))
                elif isinstance(outcome, ParkRow):
                    tally.parked += 1

    # --- health -----------------------------------------------------------------------------------------------------

    def health(self) -> dict[str, Any]:
        """What `status` shows of this process; see state.processes for the shape."""
        return compose.health(self)

    def _beat(self) -> None:
        link = Link(self.state_dsn, "rowtide beat")
        while not self.stop.wait(BEAT_S):
            with self._lock:
                tallies, self._tallies = self._tallies, defaultdict(Tally)
            try:
                link.run(partial(self._beat_once, tallies=tallies))
                self._identity.hold()
            except RowtideError as error:
                log.warning("beat missed", code=error.code, problem=error.sentence)
                if error.code == "process_id_taken":
                    # It voided our leases: what we have under way it takes for uncertain, and looks.
                    log.error("flow stopped", code=error.code, problem=error.sentence, remedy=error.remedy)
                    self.supplanted = True
                    self.stop.set()
        link.close()

    def _beat_once(self, connection: Any, tallies: Mapping[str, Tally]) -> None:
        before = time.monotonic()
        [(server,)] = connection.execute("SELECT clock_timestamp()").fetchall()
        self._clock_offset = server - datetime.now(UTC) + timedelta(seconds=(time.monotonic() - before) / 2)
        ids = (self.process_id, sorted(self.roles), os.getpid(), socket.gethostname(), self._started_at)
        processes.beat(connection, *ids, self.health())
        progress.add(connection, compose.deltas(tallies))


__all__ = ["Runtime", "Stopped"]
