"""What a running process does to a sync by itself: stop its capture, pause it, ask for a reconcile.

In: a sync and a reason, from any thread. Out: rows of the state database. Rule: each act is durable when it returns,
and is tried until it is, because the change that caused it must not pass before.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import structlog

from connectors.outbox_io import until_answered
from rowtide.connections import Part
from rowtide.error_catalogue import definition_errors, sync_errors
from rowtide.errors import RowtideError, SyncError
from rowtide.holds import REFUSED
from rowtide.shape import Prints
from state import definitions, eras, holds, processes, shapes
from state.database import Connection, Link
from state.reconcile import record as reconciles

log = structlog.get_logger()
T = TypeVar("T")


class SyncActs:
    """Each calling thread has a connection of its own; `Stopped` is raised when ``stop`` is set meanwhile."""

    def __init__(self, state_dsn: str, stop: threading.Event) -> None:
        self._state_dsn = state_dsn
        self._stop = stop
        self._links = threading.local()

    def stop_capture_of(self, sync: str, error: SyncError) -> None:
        """Let the sync's changes pass by from here on; the end of the stop is a new era."""
        log.error("sync stopped at capture", sync=sync, code=error.code, problem=error.unquoted)
        self._write("stop", lambda c: definitions.stop_capture(c, sync, error.code, error.sentence))

    def end_stop_of(self, sync: str) -> None:
        """Capture the sync again, in a new era: what stopped it is mended."""
        log.info("sync captured again", sync=sync)
        self._write("end stop", lambda c: definitions.end_stop(c, sync, sync_errors.STOPS_OF_SHAPE))

    def note_shape(self, sync: str, shape: Prints) -> None:
        """Put the shape of what the sync reads on record; another one than before asks for a reconcile."""
        what = self._write("shape", lambda c: shapes.note(c, sync, shape))
        if what:
            log.warning("what the sync reads has changed, it is reconciled", sync=sync, changed=what)

    def request_reconcile(self, sync: str, why: str) -> None:
        """Have the sync reconciled soon."""
        self._write("request", lambda c: reconciles.request(c, sync, why))

    def route(self, syncs: Sequence[str], slot: str, incarnation: int, why: str) -> None:
        """Read these syncs from this slot from now on, each in a new era with a reconcile."""
        self._write("route", lambda c: eras.route(c, syncs, slot, incarnation, why))

    def note_since(self, sync: str, era: int, lsn: int) -> None:
        """Note that from ``lsn`` on every transaction of the sync is in the stream of its era."""
        self._write("since", partial(eras.note_since, sync=sync, era=era, lsn=lsn))

    def hold_apart(self, part: Part, error: RowtideError, by: str) -> None:
        """Hold everything of a source or tenant that the process ``by`` does not reach."""
        log.error("not reached", **{part[0]: part[1]}, code=error.code, problem=error.unquoted, remedy=error.remedy)
        self._write("hold", lambda c: holds.place(c, *part, REFUSED, error.code, error.sentence, by))

    def lift_apart(self, part: Part) -> None:
        """Let a source or tenant go on that is reached again."""
        log.info("reached again", **{part[0]: part[1]})
        codes = [definition_errors.CONNECTION_OTHER.code]
        self._write("lift", lambda c: holds.lift(c, *part, REFUSED, codes))

    def living(self) -> frozenset[str]:
        """Names of the processes that have beaten lately."""
        beats = self._write("processes", processes.read)
        return frozenset(processes.name_of(one.process_id, one.roles) for one in beats if one.is_alive)

    def _write(self, what: str, act: Callable[[Connection], T]) -> T:
        link = getattr(self._links, "link", None)
        if link is None:
            link = self._links.link = Link(self._state_dsn, "rowtide act")
        return until_answered(self._stop, lambda: link.run(act), what)
