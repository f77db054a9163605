"""The document of one row explained, from what was read of it.

In: an `Explained`: records, both sides, how the sync stands. Out: an `ExplainDocument`. Called by
control.operations.explain. Rule: nothing is read here; what is not known is None.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict, assert_never

from connectors.graph.item_look import ItemLook
from connectors.postgres.apply_acts import AppliedEdit
from control.operations import diagnosis, log_rows, pause
from control.operations.diagnosis import SyncFacts
from control.operations.status import SaidDocument, said_document
from rowtide import explaining
from rowtide.change import JsonValue
from rowtide.deciding.apply import RowAbsent, RowOutside, RowThere, RowUnmapped
from rowtide.deciding.observation import FieldMapping
from rowtide.deciding.records import version_of
from rowtide.deciding.sides import FieldChange
from rowtide.error_catalogue import row_verdicts
from rowtide.explaining import ItemThere, RowFacts, RowSide, Unread
from rowtide.log_row import LogRow
from rowtide.mapping.columns import MappedColumn
from rowtide.mapping.pulled_sync import PulledSync
from rowtide.position import lsn_to_text
from state.row_records import RowInOutbox, RowRecords, WaitingEdit

SETTLED = frozenset(
    one.code
    for one in (
        row_verdicts.IN_SYNC,
        row_verdicts.BOTH_GONE,
        row_verdicts.OUTSIDE,
        row_verdicts.ITEM_STAYS,
        row_verdicts.ROW_STAYS,
    )
)
"""Verdicts after which nothing is to come."""

_STATES: Mapping[FieldChange, str] = {
    FieldChange.NONE: "same",
    FieldChange.SAME: "same",
    FieldChange.ROW: "postgres_ahead",
    FieldChange.ITEM: "sharepoint_ahead",
    FieldChange.DIFFERING: "both_changed",
}


class RowDocument(TypedDict):
    """PostgreSQL's side: there, absent, outside (of ``where``), unmapped or unread. ``list``: where the row belongs."""

    state: str
    list: str | None
    problem: str | None


class ItemDocument(TypedDict):
    """SharePoint's side: there, absent or unread. ``request_id``: under which Microsoft finds the look at it."""

    state: str
    list: str | None
    list_id: str | None
    item_id: str | None
    version: int | None
    rowtide_key: str | None
    edited_by: str | None
    edited_at: datetime | None
    request_id: str | None
    problem: str | None


class ExplainedField(TypedDict):
    """A field on both sides, and what was agreed (``kept``: as SharePoint keeps it, where that is otherwise).

    ``state``: same, postgres_ahead, sharepoint_ahead, both_changed, or unknown. ``rule``: who wins.
    """

    column: str
    field: str
    kind: str
    postgres: JsonValue
    sharepoint: JsonValue
    agreed: JsonValue
    kept: JsonValue
    state: str
    rule: str


class ToSharePoint(TypedDict):
    """The last change of the row that is settled: its commit, and the version of the item as last known.

    ``lsn`` None: a reconcile found it, not the stream. ``xid`` None: the row was written by an edit since.
    """

    era: int
    lsn: str | None
    xid: int | None
    item_version: int
    at: datetime


class ToPostgres(TypedDict):
    """The last edit of the item that was applied to the row; ``wal_after``: where the WAL ended after its commit.

    ``xid`` None: the source's record of it could not be read, or is gone (it is kept for a week at least).
    """

    item_version: int | None
    operation: str | None
    fields: list[str]
    era: int | None
    wal_after: str | None
    xid: int | None
    problem: str | None


class WaitDocument(TypedDict):
    """Something that waits, or keeps it waiting: a row, an edit, a conflict, a hold, the gate of the tenant."""

    what: str
    state: str
    code: str | None
    sentence: str | None
    since: datetime | None
    due: datetime | None
    next: str


class SyncStands(TypedDict):
    """How the sync as a whole stands, as `rowtide status` says it."""

    wanted: str
    activity: str
    health: SaidDocument


class ExplainDocument(TypedDict):
    """Everything about one row. ``moving``: something changed whenever it was read. ``pair``: the ledger's word.

    ``key_hash``: how log lines name it.
    """

    sync: str
    key: str
    key_hash: str
    table: str
    two_ways: bool
    verdict: SaidDocument
    settled: bool
    moving: bool
    row: RowDocument
    item: ItemDocument
    pair: str | None
    fields: list[ExplainedField]
    to_sharepoint: ToSharePoint | None
    to_postgres: ToPostgres | None
    waits: list[WaitDocument]
    stands: SyncStands


@dataclass(frozen=True, slots=True)
class Explained:
    """Everything that was read of one row. ``applied``: the source's own record of the last edit of it."""

    sync: PulledSync
    mapping: FieldMapping
    facts: RowFacts
    records: RowRecords
    look: ItemLook
    applied: AppliedEdit | Unread | None
    stands: SyncFacts
    moving: bool


def to_document(one: Explained, fields: Sequence[MappedColumn]) -> ExplainDocument:
    """The document, with these fields."""
    compiled, facts, last = one.sync.compiled, one.facts, one.records.last
    found = explaining.changes(facts, one.mapping)
    verdict = explaining.verdict_of(facts, found, one.mapping)
    return {
        "sync": compiled.name,
        "key": facts.key,
        "key_hash": log_rows.key_hash(LogRow(compiled.sync, facts.key)),
        "table": compiled.table_text,
        "two_ways": compiled.two_ways,
        "verdict": said_document(verdict),
        "settled": verdict.code in SETTLED and not one.moving,
        "moving": one.moving,
        "row": _row(one.sync, facts.row),
        "item": _item(one.sync, one.look),
        "pair": None if last is None else last.state,
        "fields": [_field(one.sync, facts, field, found) for field in fields],
        "to_sharepoint": _to_sharepoint(one),
        "to_postgres": _to_postgres(one),
        "waits": [*_waits(one.records), *_held(one.stands)],
        "stands": {
            "wanted": diagnosis.wanted_of(one.stands),
            "activity": diagnosis.activity_now(one.stands),
            "health": said_document(diagnosis.health_of(one.stands)),
        },
    }


def _row(sync: PulledSync, side: RowSide) -> RowDocument:
    titles = {list_id: title for title, list_id in sync.lists.items()}
    match side:
        case RowThere(list_id, _):
            return {"state": "there", "list": None if list_id is None else titles.get(list_id), "problem": None}
        case RowOutside():
            return {"state": "outside", "list": None, "problem": None}
        case RowAbsent():
            return {"state": "absent", "list": None, "problem": None}
        case RowUnmapped(_, why):
            return {"state": "unmapped", "list": None, "problem": why}
        case Unread(why):
            return {"state": "unread", "list": None, "problem": why}
        case _:
            assert_never(side)


def _item(sync: PulledSync, look: ItemLook) -> ItemDocument:
    titles = {list_id: title for title, list_id in sync.lists.items()}
    found = look.seen.item if isinstance(look.seen, ItemThere) else None
    unread = isinstance(look.seen, Unread)
    return {
        "state": "there" if found is not None else "unread" if unread else "absent",
        "list": None if look.list_id is None else titles.get(look.list_id),
        "list_id": look.list_id,
        "item_id": None if found is None else found.item_id,
        "version": None if found is None else version_of(found.etag),
        "rowtide_key": None if found is None else found.row_key,
        "edited_by": look.editor,
        "edited_at": look.modified_at,
        "request_id": look.request_id,
        "problem": look.seen.why if isinstance(look.seen, Unread) else None,
    }


def _field(sync: PulledSync, facts: RowFacts, one: MappedColumn, found: Mapping[str, FieldChange]) -> ExplainedField:
    name, base = one.field, explaining.base_of(facts.pair)
    row = facts.row.fields if isinstance(facts.row, RowThere) else {}
    item = facts.item.item.fields if isinstance(facts.item, ItemThere) else {}
    return {
        "column": one.column,
        "field": name,
        "kind": one.kind,
        "postgres": row.get(name),
        "sharepoint": item.get(name),
        "agreed": base.agreed.get(name),
        "kept": base.kept.get(name),
        "state": _STATES[found[name]] if name in found else "unknown",
        "rule": _rule(sync, name),
    }


def _rule(sync: PulledSync, field: str) -> str:
    """Who wins the field where both sides changed it; or why an edit of it does not stay."""
    if not sync.compiled.two_ways:
        return "postgres_wins (the sync only pushes)"
    why = sync.backwards.push_only.get(field)
    return sync.rules.policies.of_field(field) if why is None else f"goes one way: {why.value}"


# --- the last change each way ---------------------------------------------------------------------------------------


def _to_sharepoint(one: Explained) -> ToSharePoint | None:
    last = one.records.last
    if last is None:
        return None
    by_edit = isinstance(one.applied, AppliedEdit) and one.applied.xid == last.xid
    return {
        "era": last.era,
        "lsn": lsn_to_text(last.lsn) if last.lsn else None,
        "xid": None if by_edit or not last.xid else last.xid,
        "item_version": last.version,
        "at": last.updated_at,
    }


def _to_postgres(one: Explained) -> ToPostgres | None:
    last = one.records.last
    noted = None if last is None else last.pulled
    edit = one.applied if isinstance(one.applied, AppliedEdit) else None
    if noted is None and edit is None and (last is None or last.applied_lsn is None):
        return None
    return {
        "item_version": edit.version if edit is not None else None if noted is None else noted.version,
        "operation": None if noted is None else noted.op,
        "fields": [] if noted is None else sorted(noted.written),
        "era": None if last is None else last.applied_era,
        "wal_after": None if last is None or last.applied_lsn is None else lsn_to_text(last.applied_lsn),
        "xid": None if edit is None else edit.xid,
        "problem": one.applied.why if isinstance(one.applied, Unread) else None,
    }


# --- what waits, and why --------------------------------------------------------------------------------------------


def _waits(records: RowRecords) -> Iterator[WaitDocument]:
    if records.row is not None:
        yield _row_waits(records.row)
    yield from map(_edit_waits, records.edits)
    for one in records.conflicts:
        chosen = "" if one.choice is None else f"; decided by {one.chosen_by}: {one.chosen_why}"
        if one.state == "open":
            yield {
                "what": "conflict", "state": one.state, "code": one.kind,
                "sentence": f"conflict {one.id} under {one.policy}{chosen}", "since": one.at, "due": None,
                "next": f"`rowtide conflicts show {one.id}`",
            }  # fmt: skip


def _row_waits(row: RowInOutbox) -> WaitDocument:
    state = "in_flight" if row.leased else row.state
    at = f"commit {lsn_to_text(row.lsn)}" if row.lsn else "a reconcile"
    attempts = f", {row.unanswered} attempts without an answer" if row.unanswered else ""
    said = f"{_OPERATIONS[row.op]} from {at}, transaction {row.xid}{attempts}"
    held = "; held back until a person lets it through" if row.hold else ""
    return {
        "what": "row", "state": state, "code": row.reason_code,
        "sentence": f"{said}{held}" + (f": {row.reason}" if row.reason else ""),
        "since": row.committed_at, "due": row.due_at, "next": "",
    }  # fmt: skip


_OPERATIONS = {"u": "a change", "d": "a deletion", "r": "a reading of the row"}


def _edit_waits(one: WaitingEdit) -> WaitDocument:
    what = "the deletion" if one.deleted else f"version {one.version}"
    by = f" by {one.editor_name}" if one.editor_name else ""
    return {
        "what": "edit", "state": "in_flight" if one.leased else one.state, "code": one.code,
        "sentence": f"{what} of item {one.item_id}{by}" + (f": {one.sentence}" if one.sentence else ""),
        "since": one.seen_at, "due": one.due_at, "next": "",
    }  # fmt: skip


def _held(facts: SyncFacts) -> Iterator[WaitDocument]:
    for hold in facts.holds:
        yield {
            "what": "hold", "state": hold.kind, "code": hold.code, "sentence": f"{hold.reason} ({hold.actor})",
            "since": hold.at, "due": None, "next": pause.what_lifts(hold),
        }  # fmt: skip
    if facts.gate_until is not None and facts.gate_until > facts.now:
        said = row_verdicts.GATE_CLOSED(graph=facts.graph)
        yield {
            "what": "gate", "state": "closed", "code": said.code, "sentence": said.sentence, "since": None,
            "due": facts.gate_until, "next": said.next,
        }  # fmt: skip
