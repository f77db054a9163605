"""The life of one process: it starts all its parts, beats while they run, and ends them together.

In: its parts, made by `flows.compose`. Out: a beat each second with the process's health; the leases of processes that
died given up; after the end, its own given back. Rule: nothing here outlives a restart; all that has to is in the state
database.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import structlog
from psycopg.errors import LockNotAvailable

from connectors import loops
from connectors.clocks import MachineClock
from connectors.loops import Loop
from connectors.trouble import Trouble
from flows.ports import Worker
from flows.process_lock import ProcessLock
from flows.self_fence import SelfFence
from flows.state_clock import StateClock
from rowtide.deciding.outcomes import Outcome
from rowtide.error_catalogue import process_errors, state_errors
from rowtide.errors import RowtideError
from state import failpoints, instance, outbox, processes, runs
from state.database import Connection, Link
from state.outbox import SettleCounts

log = structlog.get_logger()

BEAT_S = 1.0
_PATIENCE_S = 1
"""What a beat waits for locks of others."""
OVERDUE_S = 10.0
"""A process that was confirmed no later ago may still be said to have its place."""
STEP_BACK_S = 2.0
"""A clock that is set back by less is waited for."""


class FatalFault:
    """An error after which the process must not go on; the first one counts. Any thread may `note` it."""

    def __init__(self, stop: threading.Event) -> None:
        """``stop`` ends the flow."""
        self.error: RowtideError | None = None
        self._stop = stop

    def note(self, error: RowtideError) -> None:
        """The process ends with this error and code 1."""
        self.error = self.error or error
        self._stop.set()


@dataclass(frozen=True, slots=True)
class Workers:
    """The parts with threads. ``beside`` begins first; ``deliver`` ends first, and what it leaves is handed back.

    ``account`` writes down what was spent, before ``deliver`` begins and with each beat; ``keep`` what was done, with
    each beat and at the end. ``recall``, before ``deliver`` begins, has it wait for what is on record as failing.
    ``settled`` is told what handing back did, ``end_run`` how the process ended.
    """

    beside: Sequence[Worker]
    deliver: Sequence[Worker]
    unsettled: Callable[[], list[Outcome]]
    recall: Callable[[Link], None]
    account: Callable[[Connection], None]
    health: Callable[[], Mapping[str, Any]]
    record: Callable[[], None]
    settled: Callable[[SettleCounts], None]
    keep: Callable[[Connection], None]
    end_run: Callable[[Connection, str, str | None], None]


class Process:
    """The process around one run of the flow: `start` before the flow, `close` after it; ``stop`` ends the flow."""

    def __init__(
        self,
        state_dsn: str,
        lock: ProcessLock,
        owner: str,
        fence: SelfFence,
        roles: Collection[str],
        workers: Workers,
        clock: StateClock,
        machine: MachineClock,
        stop: threading.Event,
        fault: FatalFault,
        is_outdated: Callable[[], bool] = lambda: False,
    ) -> None:
        """``owner`` holds the leases of this life, and ``fence`` says whether it does still.

        ``is_outdated``: whether the parts were made for other sources or tenants than those in force."""
        self.stop = stop
        self.is_outdated = is_outdated
        self.fault = fault
        self.supplanted = False
        self.clock_set_back = False
        self._state_dsn = state_dsn
        self._lock = lock
        self._owner = owner
        self._fence = fence
        self._others_end_s: float | None = None
        self._confirmed_s: float | None = None
        self._beat_problem: RowtideError | None = None
        self._roles = sorted(roles)
        self._workers = workers
        self._clock = clock
        self._machine = machine
        self._started_at = clock.now()
        self._beating = Loop(failpoints.LOOP_BEAT, self._beat, stop)

    def start(self) -> None:
        """Start every thread of the process."""
        with closing(Link(self._state_dsn, "rowtide start")) as link, suppress(RowtideError):  # the beat tries again
            self._confirm(link)
            link.run(self._tend)
            self._workers.recall(link)
        for worker in [*self._workers.beside, *self._workers.deliver]:
            worker.start()
        self._beating.start()

    def close(self) -> None:
        """End every thread. Writes in flight get a second; rows that were never sent are handed back."""
        self.stop.set()
        for worker in reversed(self._workers.deliver):
            _end(worker)
        self._hand_back(self._workers.unsettled())
        for worker in reversed(self._workers.beside):
            _end(worker)

    def note_end(self, verdict: str, code: str | None) -> None:
        """Write down how the process ended, once `close` is done; it is lost where that cannot be written."""
        with closing(Link(self._state_dsn, "rowtide close")) as link, suppress(RowtideError):
            link.run(lambda connection: self._workers.end_run(connection, verdict, code))

    def _hand_back(self, outcomes: Sequence[Outcome]) -> None:
        """Give up the rest of our leases, and take the process off the list."""
        link = Link(self._state_dsn, "rowtide close")
        try:
            self._workers.settled(link.run(lambda connection: outbox.settle(connection, outcomes)))
            link.run(lambda connection: outbox.void_leases(connection, self._owner))
            if not self.supplanted:  # then the other one is on the list
                link.run(lambda connection: processes.leave(connection, self._lock.process_id, self._roles))
        except RowtideError as error:
            log.warning("leases stay until they expire", code=error.code, rows=len(outcomes))
        finally:
            with suppress(RowtideError):  # what was done in the last second is not in the history then
                link.run(self._workers.keep)
            link.close()

    def _beat(self) -> None:
        trouble = Trouble("beats missed", "beats go on")
        with closing(Link(self._state_dsn, "rowtide beat")) as link:
            while not self.stop.wait(BEAT_S):
                self._beating.turn()
                self._look_at_clock()
                self._workers.record()
                try:
                    self._confirm(link)
                    link.run(self._tend)
                    trouble.succeeded()
                    self._beat_problem = None
                except RowtideError as error:
                    trouble.note(error)
                    self._beat_problem = error
                    if error.code == state_errors.PROCESS_ID_TAKEN.code:
                        # That process voids our leases: it takes what we have under way for uncertain, and looks.
                        log.error("flow stopped", code=error.code, problem=error.unquoted, remedy=error.remedy)
                        self.supplanted = True
                        self.stop.set()

    def _confirm(self, link: Link) -> None:
        """Say that the process lives; afterwards it may send for a while."""
        began_s = time.monotonic()
        link.run(self._beat_once)
        self._lock.hold()
        self._fence.confirmed(began_s)
        self._confirmed_s = began_s

    def health(self) -> dict[str, Any]:
        """What the process says of itself; from any thread (state.processes)."""
        return {**self._workers.health(), "loops": loops.health(), "oldest_tick": loops.oldest_tick()}

    def why_unready(self) -> Sequence[str]:
        """Codes of why it cannot be said that it has its place; from any thread."""
        if self.stop.is_set():
            return [process_errors.STOPPING.code]
        if (problem := self._beat_problem) is not None:
            return [problem.code]
        confirmed_s = self._confirmed_s
        if confirmed_s is None or time.monotonic() - confirmed_s > OVERDUE_S:
            return [process_errors.BEAT_OVERDUE.code]
        return []

    def _look_at_clock(self) -> None:
        """Begin anew after a step back: the engine ends no epoch before the time at which it began."""
        set_back_s = self._machine.set_back_s()
        if set_back_s > STEP_BACK_S:
            log.warning("the clock of this machine was set back", seconds=round(set_back_s, 1))
            self.clock_set_back = True
            self.stop.set()

    def _beat_once(self, connection: Connection) -> None:
        self._clock.set_by(connection)
        instance.confirm(connection)
        ids = (self._lock.process_id, self._roles, os.getpid(), socket.gethostname(), self._started_at)
        if self._others_end_s is None:  # who had this name before us sends nothing any more from then on
            silent_s = processes.silent_s(connection, self._lock.process_id, self._roles)
            self._others_end_s = time.monotonic() + (0.0 if silent_s is None else processes.DEAD_S - silent_s)
        processes.beat(connection, *ids, self.health())

    def _tend(self, connection: Connection) -> None:
        """What others may hold up for a while, such as a process that stands still in the middle of a transaction."""
        connection.execute(f"SET lock_timeout = '{_PATIENCE_S}s'")
        for act in (self._workers.account, self._workers.keep, self._void_leases_of_the_dead):
            with suppress(LockNotAvailable):  # the next beat tries again
                act(connection)

    def _void_leases_of_the_dead(self, connection: Connection) -> None:
        dead: list[tuple[str, str | None]] = [(name, None) for name in processes.find_dead(connection)]
        if self._others_end_s is not None and time.monotonic() >= self._others_end_s:
            dead.append((self._lock.name, self._owner))
        for name, but in dead:
            # What it may have sent stays written down: whoever claims these rows looks first.
            if but is None:
                runs.lose(connection, name)
            if rows := outbox.void_leases_of_others(connection, name, but):
                log.info("rows of a dead process are claimed anew", process=name, rows=rows)


def _end(worker: Worker) -> None:
    """End a part; one that cannot end keeps no other from ending."""
    try:
        worker.stop()
    except Exception as error:
        log.error("part did not end", part=type(worker).__name__, exc_info=error)
