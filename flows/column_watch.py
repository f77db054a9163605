"""Looks at the lists that a process writes to: what of their columns cannot be written, and which were restored.

In: the view in force, rows that were parked for a field or because their items are older than known. Out: held columns
of lists (`state.lists`), and a reconcile when something can be written again, or when a list was away or went back; the
lists of other installations (`flows.list_marks`). Rules (docs/design.md sections 4 and 9): a column that a person
deleted, changed or made read-only holds back nothing but itself; while RowtideKey proves nothing, its list takes no new
items.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial

import structlog

from connectors.graph import list_columns, list_schema
from connectors.graph.batch import Throttled
from flows import list_marks
from flows.applied_view import View
from flows.graph_reads import GraphReads, PacedGraph
from flows.graph_rounds import GraphRounds
from flows.list_marks import ListMarks
from rowtide.catalog import ListRef
from rowtide.error_catalogue import graph_errors, process_errors
from rowtide.errors import GraphRefused, GraphUnavailable
from rowtide.lists import HeldColumns
from rowtide.pacing import QUERY_RU
from state import failpoints, lists
from state.database import Connection
from state.reconcile import record as reconciles
from state.reconcile import restored

log = structlog.get_logger()

IDLE_S = 0.5
LOOK_S = 300.0
"""Seconds between two looks at a list that gave no reason for one."""
AT_MOST_S = 5.0
"""Seconds between two looks at a list, whatever happens to its rows."""


class ColumnWatch(GraphRounds[dict[str, int]]):
    """One thread a process; each list is looked at when it is first written to, now and then, and for a reason."""

    def __init__(
        self,
        state_dsn: str,
        view: Callable[[], View],
        graphs: Mapping[str, PacedGraph],
        troubled: Callable[[str], bool],
    ) -> None:
        """``troubled``: whether the writer has a problem with a list."""
        failed = process_errors.COLUMN_WATCH_FAILED
        super().__init__("columns", failpoints.LOOP_COLUMNS, state_dsn, graphs, failed, _look_at_rows)
        self._view = view
        self._troubled = troubled
        self._looked_at: dict[str, float] = {}
        self._refused: dict[str, int] = {}
        self._retried: dict[str, float] = {}
        self._suspect: set[str] = set()
        self._missing: set[str] = set()
        self._marks = ListMarks()

    async def _round(self, graph: str, reads: GraphReads) -> float:
        """Look at every list of the tenant that is to be looked at now."""
        view, refused = self._view(), self._on_record()
        for_marks = list_marks.held_for_marks(view)
        of_tenant = (sync for sync in view.running | for_marks if view.catalog.syncs[sync].graph == graph)
        for sync in sorted(of_tenant):
            news = refused.get(sync, 0) > self._refused.get(sync, 0)
            self._refused[sync] = refused.get(sync, 0)
            of_sync = view.catalog.lists_of(sync)
            self._suspect.update(ref.id for ref in of_sync if news or self._troubled(ref.id))
            for ref in of_sync:
                has_reason = ref.id in self._suspect | self._missing or sync in for_marks
                if self._is_due(ref.id, has_reason or bool(view.held.get(ref.id))):
                    await self._look(reads, view, sync, ref)
        return IDLE_S

    def _is_due(self, list_id: str, has_reason: bool) -> bool:
        looked = self._looked_at.get(list_id)
        return looked is None or time.monotonic() - looked >= (AT_MOST_S if has_reason else LOOK_S)

    async def _look(self, reads: GraphReads, view: View, sync: str, ref: ListRef) -> None:
        compiled = view.catalog.syncs[sync]
        if self._graphs[compiled.graph].budget.take_spare(QUERY_RU) > 0:
            return
        answer = await reads.get(compiled.graph, list_columns.link_of(ref.site_id, ref.id))
        found = list_columns.to_columns(answer, ref.id)
        if isinstance(found, Throttled):
            self._graphs[compiled.graph].budget.close_gate(found.after_s)  # for everybody; the look comes after it
            return
        if isinstance(found, GraphUnavailable):
            raise found
        self._looked_at[ref.id] = time.monotonic()
        refused = ref.id in self._suspect
        self._suspect.discard(ref.id)
        if isinstance(found, GraphRefused):
            if found.code == graph_errors.GRAPH_404.code:
                self._missing.add(ref.id)
                self._link.run(partial(restored.note_missing, list_id=ref.id))
            return  # a list that is gone has no columns to hold; the writer says what is wrong with it
        note_mark = partial(self._marks.note, view=view, sync=sync, list_id=ref.id, found=found)
        self._link.run(note_mark)
        self._missing.discard(ref.id)
        since = self._link.run(partial(restored.note_back, sync=sync, list_id=ref.id))
        if since is not None:
            log.warning("a list is back: a deep reconcile is asked for", sync=sync, list_id=ref.id, away_since=since)
        held = list_schema.held_columns(found, compiled.list_columns(), ref.columns)
        if held != view.held.get(ref.id, HeldColumns()):
            self._link.run(partial(self._note, sync=sync, list_id=ref.id, held=held))
        elif refused:
            self._try_again(sync)

    def _try_again(self, sync: str) -> None:
        """Rows were refused for a column that is as it should be by now, or known to be held: once in a while."""
        retried = self._retried.get(sync)
        if retried is None or time.monotonic() - retried >= LOOK_S:
            self._retried[sync] = time.monotonic()
            self._link.run(partial(lists.retry_refused, sync=sync))

    def _note(self, connection: Connection, sync: str, list_id: str, held: HeldColumns) -> None:
        with connection.transaction():
            before = lists.note_held(connection, sync, list_id, held)
            if before is None:
                return
            log.warning("columns of a list", sync=sync, list_id=list_id, problem=held.sentence if held else None)
            if before.is_mended_by(held):
                why = "columns of its list can be written again"
                reconciles.request(connection, sync, why, deep=before.key is not None)


def _look_at_rows(connection: Connection) -> dict[str, int]:
    """By sync how many rows are parked because Graph refused a field.

    Where items turned out to be older than what was written, a deep reconcile is asked for.
    """
    for sync in restored.ask_for_older(connection):
        log.warning("items are older than what was written: a deep reconcile is asked for", sync=sync)
    return lists.count_refused(connection)
