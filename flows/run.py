"""`rowtide run`: one process of the flow, from the first connection to its exit code.

In: the loaded definition file (for how everything is reached), roles, process id. Out: an exit code. Rule: the process
waits for whatever is missing, with a clear line on stderr; SIGTERM ends everything within two seconds with code 0, and
nothing else ends with 0; what to do is said by the applied definition, not by the file (docs/design.md section 14).
"""

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import structlog
from bytewax._bytewax import cli_main
from bytewax.recovery import RecoveryConfig

from connectors import listening, loops, signals, traces
from connectors.graph.exchanges import Told
from connectors.liveness import Liveness
from connectors.settings import Loaded, resolve_secret
from connectors.trouble import Trouble
from flows import ending, memory, recovery, sync
from flows.applied_view import read_view
from flows.compose import CAPTURE, DELIVER, compose
from flows.own_file import OwnFile
from flows.probes import Probes
from flows.process_lock import ProcessLock
from flows.state_clock import StateClock
from rowtide.errors import Retry, RowtideError, reaction_to
from state import instance, pulse, schema
from state.database import Link
from state.pulse import Pulse

log = structlog.get_logger()
T = TypeVar("T")

EPOCH = timedelta(milliseconds=500)
ROLES = frozenset({CAPTURE, DELIVER})
LOOK_S = 2.0
"""A process that waits to begin looks again at least so often."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a process starts with."""

    config: Loaded
    roles: frozenset[str]
    process_id: int
    told: Sequence[Told] = ()
    """Who hears of each batch that is sent to Graph."""

    @property
    def recovery_dir(self) -> Path:
        """A directory of its own for each process of one definition, by roles and process id."""
        directory = Path(self.config.definition.run.recovery_dir)
        if not directory.is_absolute():
            directory = self.config.path.parent / directory
        own = [] if self.roles == ROLES else sorted(self.roles)
        if self.process_id:
            own.append(str(self.process_id))
        return directory / "-".join(own) if own else directory


class EndRequest:
    """Whether somebody asked the process to end; each run of the flow has a stop flag of its own, set by it."""

    def __init__(self) -> None:
        self.made = threading.Event()
        self._stop: threading.Event | None = None

    def make(self) -> None:
        """Ask the process to end."""
        self.made.set()
        if self._stop is not None:
            self._stop.set()

    def pass_on_to(self, stop: threading.Event) -> None:
        """Have a request set ``stop`` from now on; a request that was made already sets it at once."""
        self._stop = stop
        if self.made.is_set():
            stop.set()


def run(config: Loaded, roles: frozenset[str] = ROLES, process_id: int = 0) -> int:
    """Run until SIGTERM or SIGINT (0) or until nothing can go on (1); wait while a person can mend the error."""
    # Millions of short-lived tuples pass and hardly a cycle: at Python's default pace, collection costs a tenth.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    memory.bound_arenas()
    spans = traces.begin(config.definition.run.traces, os.environ)
    start = Start(config, roles, process_id, () if spans is None else (spans.tell,))
    request = EndRequest()
    probes = Probes(process_id, roles, Liveness())
    with _signals(request), loops.as_main(Pulse("rowtide-flow")):
        # First of all: whatever the process has to wait for, it can be asked.
        listening.serve(config.definition.run.listen, probes)
        dsn = resolve_secret(config.definition.state.dsn)
        lock = ProcessLock(dsn, roles, process_id)
        store, own = recovery.Store(start.recovery_dir), OwnFile(config)
        try:
            code: int | None = None
            while code is None:
                code = _run_once(start, own, dsn, lock, store, request, probes)
            return code
        finally:
            store.close()
            lock.close()
            if spans is not None:
                spans.end()


def _run_once(
    start: Start,
    own: OwnFile,
    dsn: str,
    lock: ProcessLock,
    store: recovery.Store,
    request: EndRequest,
    probes: Probes,
) -> int | None:
    """One run of the flow: its exit code, or None when it begins anew (another store, other connections)."""
    link, wait_for = Link(dsn, "rowtide run"), StartWaits(request.made, probes)
    wait_for.done(lambda: link.run(schema.require))
    wait_for.done(lambda: link.run(instance.confirm))
    view = wait_for.done(lambda: link.run(lambda connection: read_view(connection, None, own.reach)))
    clock = wait_for.done(lambda: link.run(StateClock.read))
    link.close()
    wait_for.done(lock.hold)
    if view is None or clock is None or request.made.is_set():
        return 0
    process, parts = compose(dsn, view, own, start.roles, lock, clock, threading.Event(), start.told)
    recovery_config = wait_for.done(lambda: store.open(sync.names(parts)))
    if recovery_config is None:
        return 0
    request.pass_on_to(process.stop)
    process.start()
    probes.running(process)
    log.info(
        "running", version=view.catalog.version, roles=",".join(sorted(start.roles)), syncs=len(view.catalog.syncs)
    )
    began, error = time.monotonic(), None
    try:
        _run_engine(parts, recovery_config)
    except BaseException as raised:  # the engine raises a step's error, wrapped or as it is, and it may panic
        if not recovery.is_engine_fault(raised):
            raise
        error = raised
    finally:
        process.close()
    reasons = ending.Reasons(
        process.supplanted, request.made.is_set(), process.is_outdated(), process.clock_set_back, process.fault.error
    )
    end = ending.to_end(error, reasons, store)
    process.note_end(*ending.to_verdict(end))
    return ending.conclude(end, store, time.monotonic() - began)


def _run_engine(parts: sync.Parts, recovery_config: RecoveryConfig) -> None:
    if not parts.has_inputs:
        # Nothing is reached: an engine without inputs would end at once.
        pulse.wait(parts.stop, None)
        return
    # Alone: the processes of a cluster take pickles from whoever reaches their port.
    cli_main(  # type: ignore[no-untyped-call]
        sync.build(parts),
        workers_per_process=1,
        epoch_interval=EPOCH,
        recovery_config=recovery_config,
    )


# --- waiting and signals --------------------------------------------------------------------------------------------


class StartWaits:
    """What a process waits for before it begins; ``stop`` ends every wait."""

    def __init__(self, stop: threading.Event, probes: Probes) -> None:
        self._stop = stop
        self._probes = probes
        probes.starting()

    def done(self, act: Callable[[], T]) -> T | None:
        """The result of ``act``, tried again while somebody can mend the problem; None when asked to stop."""
        trouble = Trouble("waiting", "no longer waiting")
        while not self._stop.is_set():
            try:
                done = act()
            except RowtideError as error:
                if not isinstance(reaction_to(error), Retry):
                    raise
                self._probes.starting(error)
                pulse.wait(self._stop, min(trouble.failed(error), LOOK_S))
            else:
                trouble.succeeded()
                self._probes.starting()
                return done
        return None


@contextmanager
def _signals(request: EndRequest) -> Iterator[None]:
    """SIGTERM and SIGINT make the request; every source ends at its next call."""

    def ask(signum: signal.Signals) -> None:
        request.make()  # first: whoever cannot be told any more ends, too
        log.info("stopping", signal=signum.name)

    with signals.handled(ask):
        yield
