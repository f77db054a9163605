"""Begins an era of each sync when a slot of this process begins to carry it.

In: every view that is taken over, the places of the readers. Out: eras, and the LSN from which each stream is whole.
Rules: an era has its number before a change is staged in it; that LSN is noted after the view that routes the sync is
in force, so that every transaction from there on is in the stream.
"""

from collections.abc import Mapping
from typing import Protocol

from connectors.postgres.replication.chunk_queue import SlotPosition
from flows.applied_view import CurrentView, View
from flows.sync_acts import SyncActs
from rowtide.error_catalogue import sync_errors
from rowtide.holds import capture_hold

ANOTHER_SLOT = "the sync is read from another slot"
PASSED_BY = "changes passed by while the sync was not captured"


class ReadSlot(Protocol):
    """What a reader says of the slot it reads."""

    @property
    def slot(self) -> str:
        """Its name."""

    @property
    def place(self) -> SlotPosition | None:
        """Incarnation and LSN up to which everything was handed on; None before the stream has begun."""


class EraRouter:
    """Takes over each view as it is read; ``slots`` by PostgreSQL."""

    def __init__(self, applied: CurrentView, acts: SyncActs, slots: Mapping[str, ReadSlot]) -> None:
        self._applied = applied
        self._acts = acts
        self._slots = slots

    def take_over(self, view: View) -> None:
        """Obey ``view``, begin the missing eras, and note from where the streams of begun eras are whole."""
        self._applied.take_over(view)
        if self._slots:
            self._stop_left_out(view)
        for postgres, slot in self._slots.items():
            place = slot.place
            if place is not None:
                self._route(view, postgres, slot.slot, place)

    def _stop_left_out(self, view: View) -> None:
        """Stop at capture the syncs that this release cannot compile, so that `status` says why they stand still."""
        for sync, left_out in view.catalog.left_out.items():
            if capture_hold(view.holds, sync) is None:
                self._acts.stop_capture_of(sync, sync_errors.NOT_COMPILED(problem=left_out.error.sentence))

    def _route(self, view: View, postgres: str, slot: str, place: SlotPosition) -> None:
        unrouted: dict[str, list[str]] = {}
        for sync in sorted(view.routed):
            if view.catalog.syncs[sync].postgres != postgres:
                continue
            state = view.states.get(sync)
            if state is None or state.since_slot is None:
                unrouted.setdefault(PASSED_BY, []).append(sync)
            elif (state.since_slot, state.since_incarnation) != (slot, place.incarnation):
                unrouted.setdefault(ANOTHER_SLOT, []).append(sync)
            elif state.since_lsn is None:
                self._acts.note_since(sync, state.era, place.lsn)
        for why, syncs in unrouted.items():
            self._acts.route(syncs, slot, place.incarnation, why)
