"""Follows what people decide: the applied definition and which syncs are paused, within a second or two.

In: the state database (LISTEN ``rowtide_control`` and a poll each second). Out: a fresh `View` handed to a callback.
Rule: a running flow obeys the applied version and never an unapplied file.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from rowtide.catalog import Catalog
from rowtide.errors import RowtideError, StateRefused
from state import database, definitions
from state.database import Link

log = structlog.get_logger()

POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class View:
    """What is in force now: the catalog of the applied definition and the state of each sync."""

    catalog: Catalog
    states: dict[str, definitions.SyncState]

    @property
    def running(self) -> frozenset[str]:
        """Syncs that may deliver."""
        return frozenset(
            sync for sync in self.catalog.syncs if sync not in self.states or self.states[sync].state == "running"
        )

    @property
    def routed(self) -> frozenset[str]:
        """Syncs whose changes capture stages; a paused sync is one of them."""
        return frozenset(
            sync
            for sync in self.catalog.syncs
            if sync not in self.states or (self.states[sync].capture_on and self.states[sync].state != "retired")
        )


def read_view(connection: database.Connection, known: Catalog | None) -> View:
    """The view as the database has it; the catalog is compiled anew only when its version is another."""
    latest = definitions.latest_version(connection)
    if latest is None:
        raise StateRefused("not_applied", "No definition has been applied yet.", "Run `rowtide apply`.")
    if known is None or known.version != latest:
        applied = definitions.read_applied(connection)
        assert applied is not None
        known = Catalog.from_applied(applied.version, applied.compiled)
    return View(known, definitions.sync_states(connection))


class Watcher:
    """Calls ``seen`` with the current view at once and whenever it was read again."""

    def __init__(self, dsn: str, first: View, seen: Callable[[View], None]) -> None:
        self._dsn = dsn
        self._link = Link(dsn, "rowtide control")
        self._view = first
        self._seen = seen
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._threads = [
            threading.Thread(target=self._poll, name="rowtide-control", daemon=True),
            threading.Thread(target=self._listen, name="rowtide-control-listen", daemon=True),
        ]

    def start(self) -> None:
        """Begin to watch."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads (they are daemons: nobody waits for a database that does not answer)."""
        self._stop.set()
        self._wake.set()

    def _poll(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                self._view = self._link.run(lambda connection: read_view(connection, self._view.catalog))
                self._seen(self._view)
            except RowtideError as error:
                log.warning("control state unread", code=error.code, problem=error.sentence)
            self._wake.wait(POLL_S)
        self._link.close()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                with database.connect(self._dsn, "rowtide listen") as connection, database.translated():
                    connection.execute("LISTEN rowtide_control")
                    while not self._stop.is_set():
                        for _ in connection.notifies(timeout=1.0, stop_after=1):
                            self._wake.set()
            except RowtideError:
                self._stop.wait(1.0)
