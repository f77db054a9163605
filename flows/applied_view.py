"""Follows what people decide: the applied definition and which syncs are paused, within a second or two.

In: the state database (news on `state.channels.CONTROL`, a poll each second), the process's own file. Out:
`CurrentView`, which answers what is in force. Rule: what to do is said by the applied version and never by an unapplied
file; how to reach anything is said by the file and never by the applied version.
"""

import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from connectors.loops import Loop
from connectors.trouble import Trouble
from flows.own_file import OwnFile
from flows.ports import Stream
from rowtide.backoff import Backoff
from rowtide.catalog import FORMAT, UNREADABLE, Catalog, why_unreadable
from rowtide.connections import Reach
from rowtide.error_catalogue import state_errors
from rowtide.errors import RowtideError
from rowtide.holds import Hold, capture_hold, covering, places
from rowtide.lists import HeldColumns
from rowtide.mapping.compiled_sync import CompiledSync
from state import channels, database, definitions, failpoints, holds, lists, pulse
from state.database import Link

log = structlog.get_logger()

POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class View:
    """What is in force now: the catalog of the applied definition, the state of each sync, what holds rows back.

    ``held``: by list id what of it cannot be written. ``latest``: the version in force; ``not_taken``: why the catalog
    is of an older one. Then changes are staged by it, and nothing is delivered or reconciled. ``reach``: how this
    process reaches the sources and tenants of the catalog, and why not all of them.
    """

    catalog: Catalog
    states: dict[str, definitions.SyncState]
    holds: tuple[Hold, ...] = ()
    held: Mapping[str, HeldColumns] = field(default_factory=dict)
    latest: int = 0
    not_taken: RowtideError | None = None
    reach: Reach = field(default_factory=Reach)

    @property
    def running(self) -> frozenset[str]:
        """Syncs that may deliver: nothing holds them, and this process reaches their source and tenant."""
        if self.not_taken is not None:
            return frozenset()
        syncs, apart = self.catalog.syncs, self.reach.apart.keys()
        free = [sync for sync in self._named if not covering(self.holds, syncs[sync])]
        return frozenset(sync for sync in free if not apart & places(syncs[sync])) if apart else frozenset(free)

    @property
    def routed(self) -> frozenset[str]:
        """Syncs whose changes capture stages; one that a person has paused is one of them."""
        return frozenset(sync for sync in self._named if capture_hold(self.holds, sync) is None)

    @property
    def _named(self) -> list[str]:
        return [sync for sync in self.catalog.syncs if sync not in self.states or not self.states[sync].retired]

    @property
    def routes(self) -> tuple[int, frozenset[tuple[str, int, str | None, int | None]]]:
        """What bindings depend on: the definition, and of each routed sync the era and the stream it is read from."""
        states = ((sync, self.states.get(sync)) for sync in self.routed)
        return self.catalog.version, frozenset(
            (sync, state.era, state.since_slot, state.since_incarnation) for sync, state in states if state is not None
        )


VERSIONS = 10
"""How many versions back a process looks for one that it understands."""


def read_view(connection: database.Connection, known: View | None, reach: Callable[[Catalog], Reach]) -> View:
    """The view as the database and the file have it; the catalog is compiled anew only for another version.

    Holds are read whatever was applied, so that a process which cannot take a version over obeys pauses all the same.
    """
    states, held = definitions.sync_states(connection), holds.read(connection)
    columns = lists.read_held(connection)
    latest = definitions.latest_version(connection)
    if latest is None:
        raise state_errors.NOT_APPLIED()
    catalog, not_taken = _catalog_of(connection, latest, known)
    return View(catalog, states, held, columns, latest, not_taken, reach(catalog))


def _catalog_of(
    connection: database.Connection, latest: int, known: View | None
) -> tuple[Catalog, RowtideError | None]:
    """The catalog to work by, and why it is not that of the version in force."""
    if known is not None and known.latest == latest:
        return known.catalog, known.not_taken
    try:
        return _compile(definitions.read_newest(connection, 1)[0]), None
    except RowtideError as error:
        catalog = known.catalog if known is not None else _older(connection)
        if catalog is None:
            raise
        return catalog, error


def _older(connection: database.Connection) -> Catalog | None:
    """The catalog of the newest version but the last that this release understands."""
    for applied in definitions.read_newest(connection, VERSIONS)[1:]:
        with suppress(RowtideError):
            return _compile(applied)
    return None


def _compile(applied: definitions.AppliedDefinition) -> Catalog:
    """The catalog of a stored definition; StateRefused when this release does not understand it."""
    if applied.needs > FORMAT:
        raise state_errors.DEFINITION_NOT_TAKEN(version=applied.version, why="it was written by a newer release")
    try:
        return Catalog.from_applied(applied.version, applied.compiled, leave_out=True)
    except UNREADABLE as error:
        raise state_errors.DEFINITION_NOT_TAKEN(version=applied.version, why=why_unreadable(error)) from error


class CurrentView:
    """The view in force. One thread replaces it and all others read it; two calls may meet two views."""

    def __init__(self, view: View, stop: threading.Event) -> None:
        """``stop`` is set when the parts that were made for ``view`` no longer fit (`outdated`)."""
        self._view = view
        self._made_for = view.reach
        self._stop = stop
        self.routing = 0
        self.outdated = False

    def take_over(self, view: View) -> None:
        """Put ``view`` in force."""
        before, self._view = self._view, view
        if view.catalog.version != before.catalog.version:
            log.info("definition taken over", version=view.catalog.version)
        if view.not_taken is not None and before.latest != view.latest:
            log.error("definition not taken", code=view.not_taken.code, problem=view.not_taken.unquoted)
        if view.routes != before.routes:
            self.routing += 1
        if not self._made_for.is_same(view.reach):
            self.outdated = True
            self._stop.set()

    @property
    def view(self) -> View:
        """Catalog and sync states, as last read."""
        return self._view

    def compiled(self, sync: str) -> CompiledSync:
        """The sync as it is compiled; KeyError for one that is not applied (any more)."""
        return self._view.catalog.syncs[sync]

    def routed(self, stream: Stream, schema: str, table: str) -> list[tuple[CompiledSync, int]]:
        """Syncs whose changes of that table are staged from that stream, with the era it is of each."""
        view, routed = self._view, self._view.routed
        found = []
        for sync in view.catalog.by_relation(schema, table):
            state = view.states.get(sync.sync)
            if sync.postgres != stream.postgres or sync.sync not in routed or state is None:
                continue
            if (state.since_slot, state.since_incarnation) == (stream.slot, stream.incarnation):
                found.append((sync, state.era))
        return found

    def deliverable(self, graphs: Collection[str]) -> dict[str, dict[str, int]]:
        """Graph -> syncs that may write to it now, with their weights."""
        view = self._view
        found: dict[str, dict[str, int]] = {name: {} for name in graphs}
        for sync in view.running:
            compiled = view.catalog.syncs[sync]
            if compiled.mode == "deliver" and compiled.graph in found:
                found[compiled.graph][sync] = compiled.weight
        return found

    def lists(self) -> dict[str, dict[str, str]]:
        """Sync -> list title -> list id."""
        found = self._view.catalog.lists
        return {sync: {title: ref.id for title, ref in titles.items()} for sync, titles in found.items()}

    def site_of(self, list_id: str) -> str | None:
        """Id of the site a list is on, None when SharePoint has the list no more.

        KeyError for a list that no sync has, nor leaves.
        """
        return self._view.catalog.site_of(list_id)


class Watcher:
    """Calls ``seen`` with the current view at once and after each further read, one view after the other."""

    def __init__(self, dsn: str, first: View, own: OwnFile, seen: Callable[[View], None]) -> None:
        self._dsn = dsn
        self._own = own
        self._link = Link(dsn, "rowtide control")
        self._view = first
        self._seen = seen
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._reading = threading.Lock()
        self._poller = Loop(failpoints.LOOP_CONTROL, self._poll, self._stop)
        self._listener = Loop(failpoints.LOOP_CONTROL_LISTEN, self._listen, self._stop)

    def start(self) -> None:
        """Begin to watch."""
        self._poller.start()
        self._listener.start()

    def stop(self) -> None:
        """End the threads (they are daemons: nobody waits for a database that does not answer)."""
        self._stop.set()
        self._wake.set()

    def refresh(self) -> None:
        """Read the view and hand it on, from any thread; an older view is never handed on after a newer one."""
        with pulse.holding(self._reading):
            self._view = self._link.run(lambda connection: read_view(connection, self._view, self._own.reach))
            self._seen(self._view)

    def _poll(self) -> None:
        trouble = Trouble("control state unread", "control state read again")
        while not self._stop.is_set():
            self._poller.turn()
            self._wake.clear()
            wait_s = POLL_S
            try:
                self.refresh()
                trouble.succeeded()
            except RowtideError as error:
                wait_s = trouble.failed(error)
            pulse.wait(self._wake, wait_s)
        self._link.close()

    def _listen(self) -> None:
        backoff = Backoff()
        while not self._stop.is_set():
            try:
                with database.connect(self._dsn, "rowtide listen") as connection, database.translated():
                    channels.listen(connection, channels.CONTROL)
                    backoff.succeeded()
                    while not self._stop.is_set():
                        self._listener.turn()
                        for _ in connection.notifies(timeout=1.0, stop_after=1):
                            self._wake.set()
            except RowtideError as error:
                pulse.wait(self._stop, backoff.failed(error))
