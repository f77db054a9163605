"""A compiled sync: what it asks of its table, and what becomes of each kind of row message."""

from typing import Any

import pytest

from rowtide.change import BULK, Change, Fields
from rowtide.definition.model import SyncDefinition
from rowtide.errors import DefinitionError, SyncError
from rowtide.mapping import compiled_sync
from rowtide.mapping.binding import NO_LIST, Binding
from rowtide.mapping.columns import ListColumn, SourceColumn
from rowtide.transaction import UNCHANGED, Relation, Row, Text

COLUMNS = (
    SourceColumn("id", "bigint", 20, True, 1),
    SourceColumn("order_no", "text", 25, True),
    SourceColumn("status", "text", 25, False),
    SourceColumn("amount", "numeric(12,2)", 1700, False),
    SourceColumn("region", "text", 25, False),
    SourceColumn("notes", "text", 25, False),
    SourceColumn("unmapped", "bytea", 17, False),
)
NAMES = tuple(column.name for column in COLUMNS)


def definition(**more: Any) -> SyncDefinition:
    """A sync of public.orders."""
    return SyncDefinition.model_validate(
        {
            "source": {"postgres": "erp", "table": "public.orders"},
            "target": {"graph": "contoso", "site": "contoso.sharepoint.com"},
            "where": "status <> 'draft'",
            "fields": {
                "order_no": "Title",
                "amount": {"field": "Amount", "as": "number"},
                "notes": {"field": "Notes", "as": "note"},
            },
            "lists": {"by": "region", "map": {"EU": "Orders EU"}},
            **more,
        }
    )


def relation(identity: str = "d", **more: Any) -> Relation:
    """public.orders as the stream describes it."""
    keys = NAMES if identity == "f" else ("id",)
    described = {"columns": NAMES, "key_columns": keys, "type_oids": tuple(column.type_oid for column in COLUMNS)}
    return Relation(1, "public", "orders", identity, **{**described, **more})


def row(**values: Text) -> tuple[Text, ...]:
    """A whole row; what is not said is as in an order that is synced."""
    usual: dict[str, Text] = {"id": "1", "order_no": "A-1", "status": "open", "amount": "9.90", "region": "EU"}
    usual.update({"notes": "n", "unmapped": "\\x00"})
    return tuple({**usual, **values}[name] for name in NAMES)


def key_of(key: str) -> tuple[Text, ...]:
    """An old tuple that has the key only."""
    return (key, *(None for _ in NAMES[1:]))


def bound(columns: tuple[SourceColumn, ...] = COLUMNS, **more: Any) -> Binding:
    """The sync bound to its relation."""
    return compiled_sync.compile_sync("orders", definition(**more), columns).bind_relation(relation("f"))


def said(op: str, new: Any = None, old: Any = None, kind: Any = None, binding: Binding | None = None) -> list[Change]:
    """The changes of one row message."""
    message = Row(7, relation("f" if kind == "O" else "d"), op, new, old, kind)  # type: ignore[arg-type]
    return (binding or bound()).changes(message, 100, 9, 5, BULK)


FIELDS: Fields = {"Title": "A-1", "Amount": 9.9, "Notes": "n"}


def change(key: str, op: Any, target: str | None = None, fields: Any = None, **more: Any) -> Change:
    """A change at the position of `said`."""
    return Change(
        key, op, target, fields, lsn=100, ordinal=7, xid=9, committed_us=5, priority=BULK, **{"partial": False, **more}
    )


UPSERT = change("1", "u", "Orders EU", FIELDS)
NO_NOTES = {"Title": "A-1", "Amount": 9.9}


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        (("I", row()), [UPSERT]),
        (("I", row(amount=None)), [change("1", "u", "Orders EU", {**FIELDS, "Amount": None})]),
        (("I", row(status="draft")), [change("1", "d")]),
        (("I", row(status=None)), [change("1", "d")]),
        (("I", row(region="US")), [change("1", "u", park=NO_LIST)]),
        (("U", row()), [UPSERT]),
        # Unchanged TOAST: left out, read again where it decides, filled from the old row under FULL.
        (("U", row(notes=UNCHANGED)), [change("1", "u", "Orders EU", NO_NOTES, partial=True)]),
        (("U", row(unmapped=UNCHANGED)), [UPSERT]),
        (("U", row(status=UNCHANGED)), [change("1", "r")]),
        (("U", row(region=UNCHANGED)), [change("1", "r")]),
        (("U", row(notes=UNCHANGED, status=UNCHANGED), row(order_no="A-0"), "O"), [UPSERT]),
        # The old tuple has a key stored out of line although it did not change.
        (("U", row(id=UNCHANGED), key_of("1"), "K"), [UPSERT]),
        (("U", row(id="2"), key_of("1"), "K"), [change("1", "r"), UPSERT._replace(key="2")]),
        (("U", row(id="2"), row(), "O"), [change("1", "r"), UPSERT._replace(key="2")]),
        (("U", row(id="2", status="draft"), key_of("1"), "K"), [change("1", "r"), change("2", "d")]),
        (("D", None, key_of("1"), "K"), [change("1", "d")]),
        (("D", None, row(), "O"), [change("1", "d")]),
        (("T",), []),
    ],
)  # fmt: skip
def test_what_a_row_message_becomes(message: tuple[Any, ...], changes: list[Change]) -> None:
    assert said(*message) == changes


def test_a_value_that_cannot_be_carried_parks_its_row() -> None:
    (parked,) = said("I", row(order_no="x" * 300))
    assert parked.op == "u"
    assert parked.target == "Orders EU"
    assert parked.fields is None
    assert parked.park is not None
    assert parked.park[0] == "value_too_long"
    assert "xxx" not in parked.park[1]
    assert said("I", row(notes="a\x01b"))[0].park is not None
    assert said("I", row(notes="a\nb"))[0].fields == {**FIELDS, "Notes": "a\nb"}


def test_where_the_key_may_be_shared_for_a_moment_a_delete_is_a_refresh() -> None:
    columns = (SourceColumn("id", "bigint", 20, True, 1, key_deferrable=True), *COLUMNS[1:])
    assert said("D", None, key_of("1"), "K", bound(columns)) == [change("1", "r")]


def test_a_row_without_its_key_stops_the_sync() -> None:
    for new in (row(id=UNCHANGED), row(id=None)):
        with pytest.raises(SyncError) as refused:
            said("U", new)
        assert refused.value.code == "key_unknown"


def test_a_key_of_several_columns() -> None:
    columns = (COLUMNS[0], SourceColumn("order_no", "text", 25, True, 2), *COLUMNS[2:])
    sync = compiled_sync.compile_sync("orders", definition(), columns)
    assert sync.key_columns == ("id", "order_no")
    (inserted,) = sync.bind(NAMES).changes(Row(0, relation(), "I", row(order_no="a|b"), None, None), 1, 2, 3, BULK)
    assert inserted.key == "1|a\\|b"


def test_one_list_needs_no_look() -> None:
    binding = bound(lists=None, list="Orders", where=None)
    assert said("I", row(region=None, status=None), binding=binding)[0].target == "Orders"


def test_a_read_row_is_mapped_the_same() -> None:
    sync = compiled_sync.compile_sync("orders", definition(), COLUMNS)
    binding = sync.bind(sync.select_columns)
    values = dict(zip(NAMES, row(), strict=True))
    read = [values[name] for name in sync.select_columns]
    assert sync.select_columns == ("id", "order_no", "amount", "notes", "status", "region")
    assert binding.change_of(read) == ("1", "u", "Orders EU", FIELDS, None)  # type: ignore[arg-type]
    assert binding.change_of([*read[:4], "draft", "EU"]) == ("1", "d", None, None, None)  # type: ignore[list-item]
    assert binding.change_of([*read[:5], "US"]) == ("1", "u", None, None, NO_LIST)  # type: ignore[list-item]
    assert binding.change_of(["1", "x" * 300, *read[2:]]).park[0] == "value_too_long"  # type: ignore[index,list-item]


@pytest.mark.parametrize(
    ("described", "what"),
    [
        ({"columns": NAMES[:-2], "type_oids": (20, 25, 25, 1700, 25)}, "has no column notes any more"),
        ({"type_oids": (20, 25, 25, 16, 25, 25, 17)}, "has another type in column amount"),
        ({"key_columns": ("order_no",)}, "replica identity"),
    ],
)
def test_a_relation_that_no_longer_fits_stops_the_sync(described: dict[str, Any], what: str) -> None:
    with pytest.raises(SyncError) as refused:
        compiled_sync.compile_sync("orders", definition(), COLUMNS).bind_relation(relation(**described))
    assert refused.value.code == "relation_mismatch"
    assert what in refused.value.sentence


def test_a_relation_that_only_changed_elsewhere_fits() -> None:
    sync = compiled_sync.compile_sync("orders", definition(), COLUMNS)
    sync.bind_relation(relation(type_oids=(23, 1043, 25, 1700, 25, 25, 25)))
    sync.bind_relation(relation(columns=NAMES[::-1], type_oids=tuple(column.type_oid for column in COLUMNS[::-1])))


@pytest.mark.parametrize(
    ("more", "columns", "sentence"),
    [
        ({"fields": {"order_nr": "Title"}}, COLUMNS, "the table has no column 'order_nr'; did you mean 'order_no'?"),
        ({"fields": {"status": {"field": "S", "as": "number"}}}, COLUMNS, "status is text, which is no number"),
        ({"where": "state = 'x'"}, COLUMNS, "where: there is no column 'state'"),
        ({"where": "status > 'x'"}, COLUMNS, "order comparison is only for"),
        ({"lists": {"by": "amount", "map": {"1": "A"}}}, COLUMNS, "lists: amount is numeric(12,2)"),
        ({}, (), "there is no table public.orders"),
        (
            {},
            tuple(SourceColumn(one.name, one.type_name, one.type_oid, one.not_null) for one in COLUMNS),
            "no primary key",
        ),
        (
            {"source": {"postgres": "erp", "table": "public.orders", "key": ["order"]}},
            COLUMNS,
            "did you mean 'order_no'?",
        ),
        ({"source": {"postgres": "erp", "table": "public.orders", "key": ["notes"]}}, COLUMNS, "may be NULL"),
    ],
)
def test_what_the_table_does_not_carry_is_refused(more: dict[str, Any], columns: Any, sentence: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        compiled_sync.compile_sync("orders", definition(**more), columns)
    assert sentence in refused.value.sentence
    assert all(path[:2] == ("syncs", "orders") for path, _ in refused.value.problems)


def test_everything_a_table_does_not_carry_comes_together() -> None:
    with pytest.raises(DefinitionError) as refused:
        compiled_sync.compile_sync("orders", definition(where="x = 1", fields={"a": "A", "b": "B"}), COLUMNS)
    assert [path[2:] for path, _ in refused.value.problems] == [("fields", "a"), ("fields", "b"), ("where",)]


def test_list_columns_are_those_mapped() -> None:
    fields = {
        "order_no": "Title",
        "status": {"field": "Status", "as": "choice", "choices": ["open", "done"]},
        "notes": {"field": "Day", "as": "dateTime", "format": "dateOnly"},
    }
    columns = (*COLUMNS[:5], SourceColumn("notes", "date", 1082, False), COLUMNS[6])
    assert compiled_sync.compile_sync("orders", definition(fields=fields), columns).list_columns() == (
        ListColumn("Title", "text"),
        ListColumn("Status", "choice", choices=("open", "done")),
        ListColumn("Day", "dateTime", "dateOnly"),
    )


def test_an_enum_has_its_labels_for_choices() -> None:
    columns = (
        *COLUMNS[:2],
        SourceColumn("status", "mood", 99999, False, type_kind="e", enum_labels=("sad", "ok")),
        *COLUMNS[3:],
    )
    sync = compiled_sync.compile_sync(
        "orders", definition(where="status = 'ok'", fields={"status": {"field": "S", "as": "choice"}}), columns
    )
    assert sync.list_columns()[0].choices == ("sad", "ok")


def test_the_version_changes_with_the_mapping_only() -> None:
    version = compiled_sync.compile_sync("orders", definition(), COLUMNS).version
    same = definition(breaker={"rows": 3}, deletes="ignore", mode="observe")
    other_fields = definition(fields={"order_no": "Title"})
    assert compiled_sync.compile_sync("orders", same, COLUMNS).version == version
    assert compiled_sync.compile_sync("orders", other_fields, COLUMNS).version != version
    assert compiled_sync.compile_sync("orders", definition(where=None), COLUMNS).version != version
    assert 0 < version < 2**31


def test_differing_fields() -> None:
    sync = compiled_sync.compile_sync("orders", definition(), COLUMNS)
    assert sync.differing(FIELDS, FIELDS, {}) == {}
    assert sync.differing(FIELDS, {**FIELDS, "Amount": 9}, {}) == {"Amount": 9.9}
    assert sync.differing(FIELDS, {**FIELDS, "Amount": 9}, {"Amount": 9.9}) == {}
    assert sync.differing(FIELDS, {"Title": "A-1", "Amount": 9.9}, {}) == {"Notes": "n"}
    assert sync.differing({"Gone": 1}, {}, {}) == {}


def test_an_item_reads_back_as_it_was_written() -> None:
    sync = compiled_sync.compile_sync("orders", definition(), COLUMNS)
    assert sync.wire_fields({**FIELDS, "Gone": 1}) == FIELDS
    assert sync.item_fields({"Title": "A-1", "Amount": 9.9, "id": "5"}) == {**FIELDS, "Notes": None}


def test_buckets() -> None:
    assert (compiled_sync.buckets_for(16), compiled_sync.buckets_for(17)) == (64, 16)
