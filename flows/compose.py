"""Builds a process from the applied definition and its own file: the only file that knows all parts.

In: who the process is, its roles, the view in force. Out: a `Process` ready to start and the parts of its flow. Rules:
parts get values and each other from here, and none asks for the process; what is not reached (`View.reach`) has no
parts; a secret is resolved where it is used and kept nowhere else; code that joins two connectors stands here, not in
one of them.
"""

import os
import socket
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from connectors import gauge_metrics, metrics, recorder
from connectors.claimer import Claimer
from connectors.clocks import MachineClock
from connectors.graph.budget import Budget
from connectors.graph.exchanges import Told
from connectors.graph.settings import GraphSettings
from connectors.graph.writer import Writer
from connectors.history import HistoryRecorder
from connectors.outbox_io import until_answered
from connectors.pace import Pace
from connectors.postgres.apply_session import APPLICATION
from connectors.postgres.replication.chunk_queue import SlotPosition
from connectors.postgres.replication.continuity import NewIncarnation
from connectors.postgres.replication.cursor_store import StateCursorStore
from connectors.postgres.replication.reader import Reader, ReaderSettings
from connectors.postgres.source_sessions import Source, SourceSessions, StateRecords
from connectors.readings import READING
from connectors.recorder import Recorder
from connectors.settings import resolve_secret
from flows import polled_lists
from flows.admission import Admission
from flows.applied_view import CurrentView, View, Watcher
from flows.collector import Collector
from flows.column_watch import ColumnWatch
from flows.day_quota import DayQuota
from flows.deletion_judge import DeletionJudge
from flows.due_again import DueAgain
from flows.enumerator import Enumerator
from flows.faults import FaultRecord
from flows.gauging import Gauger
from flows.graph_reads import PacedGraph
from flows.health import to_health
from flows.lanes import WriterLanes
from flows.own_file import OwnFile
from flows.ports import Worker
from flows.process import FatalFault, Process, Workers
from flows.process_lock import ProcessLock
from flows.process_reading import to_reading
from flows.process_run import ProcessRun
from flows.puller import Puller, PullPorts
from flows.reach_holds import ReachHolds
from flows.reconcile import SOURCE, Reconciler
from flows.refresh import Refresher
from flows.routing import EraRouter
from flows.self_fence import SelfFence
from flows.shape_watch import ShapeWatch
from flows.state_clock import StateClock
from flows.subscriber import Subscriber
from flows.sync import CaptureParts, DeliverParts, Parts
from flows.sync_acts import SyncActs
from rowtide.catalog import Catalog
from rowtide.deciding.in_flight import Rules
from rowtide.deciding.outcomes import Outcome
from rowtide.error_catalogue import sync_errors
from state import eras, instance, outbox
from state.database import Connection, Link
from state.outbox import SettleCounts, StageCounts
from state.runs import ProcessLife

CAPTURE, DELIVER = "capture", "deliver"
"""Roles: they decide which parts a process has."""


def compose(
    state_dsn: str,
    view: View,
    own: OwnFile,
    roles: frozenset[str],
    lock: ProcessLock,
    clock: StateClock,
    stop: threading.Event,
    told: Sequence[Told] = (),
) -> tuple[Process, Parts]:
    """The process, and the parts of its flow; ``told`` hear of each batch that is sent to Graph."""
    fault, applied = FatalFault(stop), CurrentView(view, stop)
    owner, fence = outbox.new_owner(lock.name), SelfFence(clock.now)
    history = HistoryRecorder(clock.now)
    both = recorder.Recorders(metrics.RECORDER, history)
    base = _Base(state_dsn, view, owner, fence, stop, fault, applied, clock, Pace(), both, told)
    acts = SyncActs(state_dsn, stop)
    soon = {name: threading.Event() for name in view.reach.sources}
    readers = {name: _reader(base, name, soon[name]) for name in soon} if CAPTURE in roles else {}
    watches = {name: _shape_watch(base, acts, name, reader, soon[name]) for name, reader in readers.items()}
    watcher = _watcher(base, acts, own, readers, ReachHolds(acts, lock.name, _opens(roles)))
    capture = _capture(base, acts, readers, watcher) if CAPTURE in roles else None
    deliver = _deliver(base) if DELIVER in roles else None
    where = {"pid": os.getpid(), "host": socket.gethostname(), "version": view.catalog.version}
    slots = [reader.slot for reader in readers.values()]
    run = ProcessRun(ProcessLife(lock.name, history.incarnation, slots, where))
    gauger = Gauger(state_dsn, lambda: applied.view, gauge_metrics.METRICS.show)
    machine = MachineClock()
    parts = Parts(
        state_dsn,
        stop,
        None if capture is None else capture.parts,
        None if deliver is None else deliver.parts,
        look=machine.look,
    )
    workers = Workers(
        beside=[watcher, gauger] if capture is None else [watcher, gauger, *watches.values(), capture.reconciler],
        deliver=[] if deliver is None else deliver.workers,
        unsettled=list if deliver is None else deliver.unsettled,
        recall=_nothing if deliver is None else deliver.faults.look,
        account=DayQuota([] if deliver is None else deliver.tenants.values()).account,
        health=partial(
            to_health,
            readers,
            watches,
            {} if deliver is None else deliver.writers,
            {} if deliver is None else deliver.budgets,
            None if deliver is None else deliver.parts.claimer,
            None if deliver is None else deliver.puller,
            None if capture is None else capture.reconciler,
            lambda: [one for part in (capture, deliver) if part is not None for one in part.sessions()],
            base.pace,
            lambda: base.applied.view,
            base.clock.now,
        ),
        record=partial(_record, base.recorder, history, parts, deliver),
        settled=partial(recorder.record_settle, base.recorder),
        keep=partial(_keep, history, run),
        end_run=run.end,
    )
    process = Process(
        state_dsn, lock, owner, fence, roles, workers, clock, machine, stop, fault, lambda: applied.outdated
    )
    return process, parts


def _watcher(base: "_Base", acts: SyncActs, own: OwnFile, readers: Mapping[str, Reader], keeper: ReachHolds) -> Watcher:
    router = EraRouter(base.applied, acts, readers)

    def take_over(found: View) -> None:
        router.take_over(found)
        keeper.follow(found)

    return Watcher(base.state_dsn, base.view, own, take_over)


def _opens(roles: frozenset[str]) -> frozenset[str]:
    """Scopes of what a process with these roles connects to; deliver reads rows anew."""
    return frozenset({"source", "tenant"} if DELIVER in roles else {"source"})


@dataclass(frozen=True, slots=True)
class _Base:
    """What every part of a process needs; ``owner`` is whose its leases are.

    The process was started with ``view``: its slots and its tenants do not change while it runs.
    """

    state_dsn: str
    view: View
    owner: str
    fence: SelfFence
    stop: threading.Event
    fault: FatalFault
    applied: CurrentView
    clock: StateClock
    pace: Pace
    recorder: Recorder
    told: Sequence[Told]

    def catalog(self) -> Catalog:
        """The catalog in force."""
        return self.applied.view.catalog

    def source(self, postgres: str) -> Source:
        """A source of the catalog in force, the secret of its DSN resolved now; UserError for one not reached."""
        view = self.applied.view
        dsn, catalog = resolve_secret(view.reach.source(postgres).dsn), view.catalog
        return Source(dsn, catalog.definition.slot(postgres), catalog.servers.get(postgres, ""))

    def apply_source(self, postgres: str) -> Source:
        """The same source as the role that applies people's edits."""
        source = self.source(postgres)
        dsn = self.applied.view.reach.source(postgres).apply_dsn
        return source if dsn is None else replace(source, dsn=resolve_secret(dsn))

    def apply_sessions(self) -> SourceSessions:
        """Sessions that apply people's edits, for one thread."""
        return SourceSessions(APPLICATION, self.apply_source, StateRecords(self.state_dsn, APPLICATION))

    def sessions(self, application: str) -> SourceSessions:
        """Sessions on the sources, for one thread."""
        return SourceSessions(application, self.source, StateRecords(self.state_dsn, application))


# --- capture --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Capture:
    """The parts of the role capture."""

    parts: CaptureParts
    reconciler: Reconciler
    sessions: Callable[[], Sequence[SourceSessions]]


def _capture(base: _Base, acts: SyncActs, readers: Mapping[str, Reader], watcher: Watcher) -> _Capture:
    refresh = partial(until_answered, base.stop, watcher.refresh, "reading what is in force")
    staged = partial(_staged, base.recorder, base.pace)
    parts = CaptureParts(readers, uuid.uuid4().hex, base.applied, refresh, acts, staged)
    sessions = base.sessions(SOURCE)
    reconciler = Reconciler(base.state_dsn, base.owner, lambda: base.applied.view, sessions, base.pace)
    return _Capture(parts, reconciler, lambda: [sessions])


def _staged(to: Recorder, pace: Pace, counts: StageCounts) -> None:
    """Record what a stage did."""
    recorder.record_stage(to, counts)
    for sync, changes in counts.new.items():
        pace.note(sync, "changes", changes)


def _shape_watch(base: _Base, acts: SyncActs, postgres: str, reader: Reader, soon: threading.Event) -> ShapeWatch:
    """The watch over what the syncs of a PostgreSQL read."""
    return ShapeWatch(postgres, base.sessions("rowtide shape"), lambda: base.applied.view, reader, acts, soon)


def _reader(base: _Base, postgres: str, look_soon: threading.Event) -> Reader:
    """The reader of a PostgreSQL's slot; a new incarnation begins a new era of each of its syncs."""
    source, definition = base.view.reach.source(postgres), base.view.catalog.definition
    settings = ReaderSettings(
        read_dsn=lambda: resolve_secret(source.dsn),
        slot=definition.slot(postgres),
        publication=definition.publication(postgres),
        source=postgres,
        applied_on=lambda: base.catalog().servers.get(postgres, ""),
        heartbeat_s=source.heartbeat.total_seconds(),
        heal=source.on_gap == "heal",
        failover=source.failover,
    )

    def open_eras(connection: Connection, place: SlotPosition, why: NewIncarnation) -> None:
        syncs = [name for name, sync in base.catalog().syncs.items() if sync.postgres == postgres]
        eras.open_eras(connection, syncs, settings.slot, place.incarnation, place.lsn, why.reason)
        if why.code == sync_errors.SLOT_AHEAD.code:
            # Most often the state database is an older copy of itself, in which nothing else shows it.
            instance.suspect_all(connection, why.reason)

    return Reader(settings, StateCursorStore(base.state_dsn, settings.slot, postgres, open_eras), look_soon.set)


# --- deliver --------------------------------------------------------------------------------------------------------


class _Decisions:
    """What planning and the writers ask: the rules of a sync, and the quota of its graph."""

    def __init__(self, base: _Base, settings: Mapping[str, GraphSettings], budgets: Mapping[str, Budget]) -> None:
        self._applied = base.applied
        self._settings = settings
        self._budgets = budgets
        self.now: Callable[[], datetime] = base.clock.now
        self._known: tuple[View, dict[str, Rules]] = (base.applied.view, {})

    def rules_of(self, sync: str) -> Rules:
        """How a sync's rows are decided."""
        # Asked several times a row, and the same until the next view. One tuple, because several threads ask.
        view, (known_view, known) = self._applied.view, self._known
        if view is not known_view:
            known = {}
            self._known = (view, known)
        if (rules := known.get(sync)) is None:
            compiled = view.catalog.syncs[sync]
            patience = self._settings[compiled.graph].patience
            rules = known[sync] = Rules(
                compiled, compiled.version, patience, compiled.deletes, two_ways=compiled.two_ways, held=view.held
            )
        return rules

    def graph_of(self, sync: str) -> str:
        """The graph a sync delivers to."""
        return self._applied.compiled(sync).graph

    def refund(self, graph: str, units: float) -> None:
        """Give back what a row did not need."""
        self._budgets[graph].refund(units)


@dataclass(frozen=True, slots=True)
class _Deliver:
    """The parts of the role deliver; ``workers`` in the order in which they begin."""

    parts: DeliverParts
    faults: FaultRecord
    tenants: Mapping[str, PacedGraph]
    budgets: Mapping[str, Budget]
    writers: Mapping[str, Writer]
    workers: Sequence[Worker]
    unsettled: Callable[[], list[Outcome]]
    sessions: Callable[[], Sequence[SourceSessions]]
    puller: Puller
    subscriber: Subscriber


def _deliver(base: _Base) -> _Deliver:
    settings = {name: GraphSettings.from_section(name, one) for name, one in base.view.reach.tenants.items()}
    budgets = {name: Budget(one) for name, one in settings.items()}
    decisions = _Decisions(base, settings, budgets)
    writers = {
        name: Writer(
            one,
            budgets[name],
            rules_of=decisions.rules_of,
            site_of=base.applied.site_of,
            now=base.clock.now,
            is_ours=base.fence.allows,
            failed=base.fault.note,
            told=base.told,
        )
        for name, one in settings.items()
    }
    lanes = WriterLanes(writers)
    tenants = {name: PacedGraph(one, budgets[name]) for name, one in settings.items()}
    enumerator = Enumerator(base.state_dsn, lambda: base.applied.view, tenants, base.pace)
    refresher = Refresher(
        base.state_dsn, base.owner, lambda: base.applied.view, lambda: base.sessions("rowtide refresh")
    )
    faults = FaultRecord(base.owner, lambda: base.applied.view, writers, refresher)
    judge = DeletionJudge(base.state_dsn, base.applied.compiled)
    claimer = _claimer(base, budgets, refresher, writers, faults, Admission(base.applied.compiled, judge))
    judge.tell(claimer.look_again)
    parts = DeliverParts(claimer, decisions, lanes, partial(_settled, claimer, base.recorder, base.pace))
    columns = ColumnWatch(
        base.state_dsn,
        lambda: base.applied.view,
        tenants,
        lambda list_id: any(list_id in writer.list_problems for writer in writers.values()),
    )
    puller = _puller(base, tenants)
    polled = partial(polled_lists.of_tenant, lambda: base.applied.view)
    collector = Collector(base.state_dsn, polled, tenants)
    subscriber = Subscriber(base.state_dsn, polled, tenants, collector.note_changed)
    workers: list[Worker] = [lanes, enumerator, columns, collector, subscriber, refresher, puller, judge, claimer]

    def sessions() -> list[SourceSessions]:
        return [*refresher.sessions(), *puller.sessions()]

    def unsettled() -> list[Outcome]:
        return [*lanes.left(), *claimer.unsent()]

    return _Deliver(parts, faults, tenants, budgets, writers, workers, unsettled, sessions, puller, subscriber)


def _puller(base: _Base, tenants: Mapping[str, PacedGraph]) -> Puller:
    ports = PullPorts(
        state_dsn=base.state_dsn,
        owner=base.owner,
        view=lambda: base.applied.view,
        tenants=tenants,
        writers=base.apply_sessions,
        readers=lambda: base.sessions("rowtide pull reads"),
        site_of=base.applied.site_of,
        now=base.clock.now,
        counted=partial(recorder.record_pulled, base.recorder),
    )
    return Puller(ports)


def _claimer(
    base: _Base,
    budgets: Mapping[str, Budget],
    refresher: Refresher,
    writers: Mapping[str, Writer],
    faults: FaultRecord,
    admission: Admission,
) -> Claimer:
    due_again = DueAgain(lambda: base.applied.view)

    def prepare(link: Link, syncs: Sequence[str]) -> None:
        due_again.look(link, syncs)
        faults.look(link)

    return Claimer(
        base.state_dsn,
        base.owner,
        budgets,
        lambda: base.applied.deliverable(budgets.keys()),
        base.applied.lists,
        lambda graph: writers[graph].list_waits,
        refresher.wake,
        prepare,
        admission,
    )


def _settled(claimer: Claimer, to: Recorder, pace: Pace, outcomes: Sequence[Outcome], counts: SettleCounts) -> None:
    """Tell the claimer which rows were settled, so that it claims new ones."""
    claimer.finished(outcome.work for outcome in outcomes)
    recorder.record_settle(to, counts)
    for sync, did in counts.by_sync.items():
        pace.note(sync, "delivered", did.delivered)


def _keep(history: HistoryRecorder, run: ProcessRun, connection: Connection) -> None:
    """Write what was done, then that the process was seen: what was done before that moment is on record."""
    history.write(connection)
    run.note(connection)


def _nothing(_link: Link) -> None:
    """A process that does not deliver waits for nothing that is on record."""


def _record(to: Recorder, history: HistoryRecorder, parts: Parts, deliver: _Deliver | None) -> None:
    """Record what was lost of the history, and show what the process reads of itself."""
    recorder.record_lost_minutes(to, history.take_lost())
    readers = {} if parts.capture is None else parts.capture.readers
    age_s = parts.epochs.age_s() if parts.has_inputs else None
    if deliver is None:
        reading = to_reading(readers, {}, {}, None, {}, age_s, None)
    else:
        claimer, faults, hooks = deliver.parts.claimer, deliver.faults.counts(), deliver.subscriber.reading()
        reading = to_reading(readers, deliver.writers, deliver.tenants, claimer, faults, age_s, hooks)
    READING.show(reading)
