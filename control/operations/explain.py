"""One row of a sync explained: both values, what was agreed, the last changes each way, what waits and why.

In: a session, a sync, a row key, at most one field. Out: an `ExplainDocument`. Rules: values are in it, for whoever
asks for that row; a side that cannot be read is said to be, and what is known is shown all the same; where something
moved while it was read, everything is read again, and said to move in the end.
"""

from collections.abc import Sequence

from connectors.graph.item_look import ItemLook
from control.operations import explained_row, row_sides, status_snapshot
from control.operations.explained_row import ExplainDocument, Explained
from control.operations.row_sides import RowRead
from control.operations.session import Session, require_applied_definition, require_schema, require_sync
from rowtide import explaining
from rowtide.catalog import Catalog
from rowtide.deciding.apply import RowAbsent
from rowtide.deciding.observation import FieldMapping
from rowtide.error_catalogue import command_errors
from rowtide.explaining import EditThatWaits, OpenConflict, RowFacts, RowThatWaits, Unread
from rowtide.keys import rowtide_key
from rowtide.mapping.columns import MappedColumn
from rowtide.mapping.pulled_sync import PulledSync
from state import instance, row_records
from state.conflicts import StoredConflict
from state.row_records import RowInOutbox, RowRecords, WaitingEdit

TURNS = 3
"""So often a row is read that moves meanwhile."""


def explain(session: Session, sync: str, key: str, field: str | None = None) -> ExplainDocument:
    """The document; UserError for a sync, a field or a row that nobody knows."""
    require_schema(session)
    catalog = session.on_state(require_applied_definition).catalog
    sync_id = require_sync(catalog.definition, sync)
    if sync_id in catalog.left_out:
        raise catalog.left_out[sync_id].error
    pulled = PulledSync.of(catalog.syncs[sync_id], catalog.lists.get(sync_id, {}))
    fields = _fields(pulled, field)
    look = _RowLook(session, catalog, pulled)
    look.read(key)
    session.on_state(instance.read)
    facts = look.facts()
    if not explaining.is_known(facts):
        raise command_errors.UNKNOWN_ROW(key=key, sync=pulled.compiled.name)
    snapshot = session.on_state(lambda connection: status_snapshot.read(connection, {}))
    applied = row_sides.read_applied(session, pulled, facts.key) if pulled.compiled.two_ways else None
    explained = Explained(
        pulled, look.mapping, facts, look.records, look.item, applied, status_snapshot.facts_of(snapshot, sync_id),
        look.moving,
    )  # fmt: skip
    return explained_row.to_document(explained, fields)


def _fields(sync: PulledSync, wanted: str | None) -> Sequence[MappedColumn]:
    mapped = sync.compiled.mapped
    found = [one for one in mapped if wanted is None or wanted in (one.column, one.field)]
    if not found:
        known = ", ".join(one.column for one in mapped)
        raise command_errors.UNKNOWN_FIELD(sync=sync.compiled.name, field=wanted, known=known)
    return found


class _RowLook:
    """One row as it was read: records, row, item."""

    def __init__(self, session: Session, catalog: Catalog, sync: PulledSync) -> None:
        self.session, self.catalog, self.sync = session, catalog, sync
        self.mapping: FieldMapping = sync.backwards if sync.compiled.two_ways else sync.compiled
        self.row = RowRead("", RowAbsent())
        self.records = RowRecords(None, None, None, (), ())
        self.item = ItemLook(Unread(""))
        self.moving = False

    def read(self, key: str) -> None:
        """Read everything, again where something on record moved meanwhile."""
        self.row = RowRead(key, RowAbsent())
        for _ in range(TURNS):
            before = self._records()
            self.row = row_sides.read_row(self.session, self.catalog, self.sync, self.row.key)
            self.item = row_sides.look_at_item(
                self.session, self.catalog, self.sync, self.row.key, self.row.side, before.pair
            )
            self.records = self._records()
            self.moving = self.records != before
            if not self.moving:
                return

    def _records(self) -> RowRecords:
        sync, key = self.sync.compiled.sync, self.row.key
        return self.session.on_state(lambda connection: row_records.read(connection, sync, key))

    def facts(self) -> RowFacts:
        """What the verdict is made of."""
        compiled, row = self.sync.compiled, self.records.row
        return RowFacts(
            compiled.name, self.row.key, rowtide_key(compiled.sync, self.row.key), compiled.two_ways, self.row.side,
            self.item.seen, self.records.pair, None if row is None else _that_waits(row),
            [_edit_that_waits(one) for one in self.records.edits],
            [OpenConflict(one.id, tuple(sorted(one.fields))) for one in self.records.conflicts if _is_undecided(one)],
        )  # fmt: skip


def _that_waits(row: RowInOutbox) -> RowThatWaits:
    return RowThatWaits(row.op, row.fields, row.state == "parked", row.leased, bool(row.unanswered), row.reason)


def _edit_that_waits(one: WaitingEdit) -> EditThatWaits:
    return EditThatWaits(one.version, one.deleted, one.state == "parked", one.sentence)


def _is_undecided(one: StoredConflict) -> bool:
    return one.state == "open" and one.choice is None
