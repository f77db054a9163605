"""The capturing steps: rows of the WAL become changes of items, and changes of one row become one.

In: chunks of transactions, in stream order. Out: change batches keyed by sync and bucket. Rules: IO only through
a port; no exception for a row that can be parked; nothing blocks, except when a sync has to be stopped before its
change passes by.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bytewax.operators import StatefulBatchLogic

from flows.ports import CaptureActs, InForce, Stream
from rowtide.change import BULK, INTERACTIVE, Change, ChangeBatch, fold
from rowtide.errors import SyncError
from rowtide.keys import bucket_of
from rowtide.mapping.binding import Binding
from rowtide.mapping.compiled_sync import CompiledSync
from rowtide.position import Position
from rowtide.transaction import Chunk, Relation

KeyedBatch = tuple[str, ChangeBatch]


class Normalize:
    """Makes the mapped changes of all routed syncs, one batch for each bucket and transaction chunk."""

    def __init__(
        self, postgres: str, slot: str, in_force: InForce, refresh: Callable[[], None], acts: CaptureActs
    ) -> None:
        """``refresh`` reads the applied definition anew and returns when it is in force."""
        self._stream = Stream(postgres, slot, 0)
        self._in_force = in_force
        self._refresh = refresh
        self._acts = acts
        self._routing = -1
        self._bound: dict[Relation, list[tuple[CompiledSync, Binding, int]]] = {}

    def __call__(self, chunks: Sequence[Chunk]) -> Iterable[KeyedBatch]:
        """Called once in each activation with everything the WAL input handed on."""
        batches: list[KeyedBatch] = []
        for chunk in chunks:
            if chunk.incarnation != self._stream.incarnation:
                # Its eras were recorded before anything of it was handed on; without them its changes would pass by.
                self._refresh()
                self._stream, self._routing = self._stream._replace(incarnation=chunk.incarnation), -1
            if self._in_force.routing != self._routing:
                self._routing = self._in_force.routing
                self._bound = {}
            batches.extend(self._batches(chunk))
        return batches

    def _batches(self, chunk: Chunk) -> list[KeyedBatch]:
        # The loop of the hot path: one look-up a run of rows of one relation, one append a change.
        lsn, xid, committed_us = chunk.lsn, chunk.xid, chunk.committed_us
        priority = BULK if chunk.large else INTERACTIVE
        by_bucket: dict[tuple[str, int], list[Change]] = defaultdict(list)
        versions: dict[str, tuple[int, int]] = {}
        relation: Relation | None = None
        bound: list[tuple[CompiledSync, Binding, int]] = []
        for row in chunk.rows:
            if row.relation is not relation:
                relation = row.relation
                bound = self._bind(relation)
                versions.update({sync.sync: (sync.version, era) for sync, _, era in bound})
            for compiled, binding, _ in bound:
                if row.op == "T":
                    self._acts.request_reconcile(compiled.sync, f"{row.relation.table} was truncated")
                    continue
                try:
                    changes = binding.changes(row, lsn, xid, committed_us, priority)
                except SyncError as error:  # a row without its key
                    self._acts.stop_capture_of(compiled.sync, error)
                    bound = self._bound[relation] = [one for one in bound if one[0] is not compiled]
                    continue
                for change in changes:
                    by_bucket[compiled.sync, bucket_of(change.key, compiled.buckets)].append(change)
        return [
            (f"{sync}:{bucket}", ChangeBatch(sync, *versions[sync], changes))
            for (sync, bucket), changes in by_bucket.items()
        ]

    def _bind(self, relation: Relation) -> list[tuple[CompiledSync, Binding, int]]:
        bound = self._bound.get(relation)
        if bound is None:
            bound = self._bound[relation] = []
            for sync, era in self._in_force.routed(self._stream, relation.schema, relation.table):
                try:
                    bound.append((sync, sync.bind_relation(relation), era))
                except SyncError as error:
                    # Durable before the change passes by: a crash in between meets the same relation again.
                    self._acts.stop_capture_of(sync.sync, error)
        return bound


class Merge(StatefulBatchLogic[ChangeBatch, ChangeBatch, Any]):
    """Folds the changes of one bucket; its whole state is the highest position it has handed on in this run."""

    def __init__(self, run: str, resume: tuple[str, Position] | None) -> None:
        self._run = run
        self._mark = resume[1] if resume is not None and resume[0] == run else Position(0, 0, -1)

    def on_batch(self, values: list[ChangeBatch]) -> tuple[list[ChangeBatch], bool]:
        """One change for each row, without replays at or below the mark; batches of another mapping stay apart."""
        folded: dict[tuple[int, int], tuple[dict[str, Change], list[tuple[int, int]]]] = {}
        # The mark stands in plain names: making and comparing a tuple for each change costs half of this loop.
        mark_era, mark_lsn, mark_ordinal = self._mark
        for batch in values:
            rows, overtaken = folded.setdefault((batch.era, batch.mapping_version), ({}, []))
            era = batch.era
            for change in batch.changes:
                lsn, ordinal = change.lsn, change.ordinal
                if era == mark_era and (lsn < mark_lsn or (lsn == mark_lsn and ordinal < mark_ordinal)):
                    continue
                mark_era, mark_lsn, mark_ordinal = era, lsn, ordinal
                key = change.key
                older = rows.get(key)
                if older is None:
                    rows[key] = change
                else:
                    overtaken.append((older.lsn, older.ordinal))
                    rows[key] = fold(older, change)
        self._mark = Position(mark_era, mark_lsn, mark_ordinal)
        sync = values[0].sync
        return [
            ChangeBatch(sync, version, era, list(rows.values()), overtaken)
            for (era, version), (rows, overtaken) in folded.items()
            if rows
        ], False

    def snapshot(self) -> tuple[str, Position]:
        """The mark, with the run to which it belongs."""
        return self._run, self._mark
