"""Watches what the syncs of a source read: tables and publication, as the source's catalogs have them.

In: the view in force, the reader of the source's slot. Out: shapes on record, stops at capture, and their ends. Rules
(docs/design.md section 5): nothing is looked at while the slot is not read, so that only the sync's own server is
believed; a look waits for nothing that confirming waits for, as it has thread and connection of its own.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from connectors.loops import Loop
from connectors.outbox_io import Stopped
from connectors.postgres.shape import read_shapes
from connectors.postgres.source_sessions import SourceSessions
from connectors.trouble import Trouble
from flows.applied_view import View
from flows.ports import ShapeActs
from rowtide.error_catalogue import process_errors, sync_errors
from rowtide.errors import RowtideError, SyncError
from rowtide.holds import Hold, capture_hold
from rowtide.mapping.compiled_sync import CompiledSync
from rowtide.shape import SourceShape, why_not_carried
from state import failpoints, pulse

_TICK_S = 0.2


class SlotStream(Protocol):
    """What the watch asks of the reader."""

    @property
    def streaming(self) -> bool:
        """Whether the slot is being read, from the server it belongs to."""


class ShapeWatch:
    """One background thread a source. ``soon`` is set by whoever has met something that is worth a look at once."""

    def __init__(
        self,
        postgres: str,
        sessions: SourceSessions,
        view: Callable[[], View],
        stream: SlotStream,
        acts: ShapeActs,
        soon: threading.Event,
    ) -> None:
        self._postgres = postgres
        self._trouble = Trouble("catalog not looked at", "catalog looked at again", source=postgres)
        self._sessions = sessions
        self._view = view
        self._stream = stream
        self._acts = acts
        self._soon = soon
        self._stop = threading.Event()
        self._looked_at = 0.0
        self._watched_at = time.monotonic()
        self._thread = Loop(failpoints.LOOP_SHAPE, self._run, self._stop)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; a look under way is given up."""
        self._stop.set()
        self._sessions.cancel()
        self._thread.join(1.0)

    @property
    def problem(self) -> RowtideError | None:
        """Why the last look failed; None when it did not."""
        return self._trouble.problem

    @property
    def unwatched_s(self) -> float | None:
        """For how long nothing was looked at; None while that is no longer than three heartbeats."""
        silent_s = time.monotonic() - self._watched_at
        return silent_s if silent_s > max(3 * self._heartbeat_s, 5.0) else None

    @property
    def _heartbeat_s(self) -> float:
        source = self._view().catalog.definition.postgres.get(self._postgres)
        return source.heartbeat.total_seconds() if source is not None else 10.0

    def _run(self) -> None:
        while not pulse.wait(self._stop, _TICK_S):
            if not self._is_due():
                continue
            self._soon.clear()
            self._looked_at = time.monotonic()
            try:
                self._thread.turn()
                self._look()
                self._trouble.succeeded()
            except Stopped:
                break
            except RowtideError as error:
                self._fail(error)
            except Exception as error:
                self._thread.count(error)
                self._fail(process_errors.SHAPE_WATCH_FAILED(error=type(error).__name__), error)
        self._sessions.close()

    def _is_due(self) -> bool:
        if not self._stream.streaming:
            return False
        view = self._view()
        unseen = any(
            state is not None and state.since_slot is not None and state.shape is None
            for state in (view.states.get(sync) for sync in view.routed if self._is_ours(view, sync))
        )
        since_s = time.monotonic() - self._looked_at
        return self._soon.is_set() or since_s >= self._heartbeat_s or (unseen and self.problem is None)

    def _is_ours(self, view: View, sync: str) -> bool:
        return view.catalog.syncs[sync].postgres == self._postgres

    def _look(self) -> None:
        """One look at every sync of the source, and what follows from it."""
        view = self._view()
        syncs = [one for one in view.catalog.syncs.values() if one.postgres == self._postgres]
        publication = view.catalog.definition.publication(self._postgres)
        shapes = read_shapes(self._sessions.get(self._postgres), publication, syncs) if syncs else {}
        if self._stream.streaming:
            self._follow(view, publication, {one.sync: one for one in syncs}, shapes)
            self._watched_at = time.monotonic()

    def _follow(
        self,
        view: View,
        publication: str,
        syncs: Mapping[str, CompiledSync],
        shapes: Mapping[str, SourceShape | None],
    ) -> None:
        for name, shape in shapes.items():
            state = view.states.get(name)
            if state is None or state.retired:
                continue
            stop = capture_hold(view.holds, name)
            why = why_not_carried(syncs[name], publication, shape)
            if why is not None:
                self._stop_for(name, stop, why)
            elif stop is not None:
                if stop.code in sync_errors.STOPS_OF_SHAPE:
                    self._acts.end_stop_of(name)
            elif shape is not None:
                self._acts.note_shape(name, shape.prints)

    def _stop_for(self, sync: str, stop: Hold | None, why: SyncError) -> None:
        """Stop the sync, or say why it is stopped by now; a stop for another kind of reason stays."""
        if stop is None or (
            stop.code in sync_errors.STOPS_OF_SHAPE and (stop.code, stop.reason) != (why.code, why.sentence)
        ):
            self._acts.stop_capture_of(sync, why)

    def _fail(self, error: RowtideError, fault: Exception | None = None) -> None:
        self._trouble.note(error, fault)
        self._sessions.close()
