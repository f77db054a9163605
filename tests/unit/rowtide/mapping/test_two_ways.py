"""What is said of a sync before it goes both ways."""

from dataclasses import replace
from typing import Any

import pytest

from rowtide.definition.model import SyncDefinition
from rowtide.errors import DefinitionError
from rowtide.mapping import compiled_sync, two_ways
from rowtide.mapping.columns import MappedColumn, SourceColumn
from rowtide.mapping.two_ways import Findings

ID = SourceColumn("id", "bigint", 20, True, 1, has_default=True)


def found(*columns: SourceColumn, key: tuple[str, ...] = ("id",), **definition: Any) -> Findings:
    """The findings of a sync over these columns."""
    parsed = SyncDefinition.model_validate(
        {
            "source": {"postgres": "erp", "table": "public.orders"},
            "target": {"graph": "contoso", "site": "contoso.sharepoint.com"},
            **({} if "lists" in definition else {"list": "Orders"}),
            **definition,
        }
    )
    compiled = compiled_sync.compile_sync("orders", parsed, columns)
    assert compiled.key_columns == key
    assert compiled.doubts == ()
    return two_ways.findings(parsed, compiled.columns, compiled.key_columns, compiled.mapped)


def test_of_a_plain_sync_nothing_is_said() -> None:
    assert found(ID, SourceColumn("word", "text", 25, True), fields={"word": "Title"}) == Findings([], [])


@pytest.mark.parametrize(
    ("column", "fields", "problem"),
    [
        (SourceColumn("id", "bigint", 20, True, 1), {"word": "Title"}, True),
        (SourceColumn("id", "bigint", 20, True, 1), {"word": "Title", "id": "Number"}, False),
        (SourceColumn("id", "bigint", 20, True, 1, has_default=True), {"word": "Title"}, False),
    ],
)
def test_a_new_item_has_to_get_a_key(column: SourceColumn, fields: dict[str, str], problem: bool) -> None:
    said = found(column, SourceColumn("word", "text", 25, False), fields=fields)
    assert [path for path, _ in said.problems] == ([("source",)] if problem else [])
    assert all("column id is neither mapped nor filled in" in sentence for _, sentence in said.problems)


def test_a_sync_that_goes_both_ways_is_compiled_with_what_is_said_of_it() -> None:
    parsed = SyncDefinition.model_validate(
        {
            "source": {"postgres": "erp", "table": "public.orders"},
            "target": {"graph": "contoso", "site": "contoso.sharepoint.com"},
            "list": "Orders",
            "fields": {"day": {"field": "Day", "as": "dateTime"}},
        }
    ).model_copy(update={"direction": "both"})
    day = SourceColumn("day", "date", 1082, False)
    (said,) = compiled_sync.compile_sync("orders", parsed, (ID, day)).doubts
    assert said.startswith("syncs.orders: column day is a date")
    with pytest.raises(DefinitionError) as refused:
        compiled_sync.compile_sync("orders", parsed, (replace(ID, has_default=False), day))
    (problem,) = refused.value.problems
    assert problem[0] == ("syncs", "orders", "source")
    assert "nothing gives a new item a key" in problem[1]


def test_each_part_of_a_key_counts() -> None:
    parts = (SourceColumn("a", "text", 25, True, 1), SourceColumn("b", "text", 25, True, 2))
    said = found(*parts, key=("a", "b"), fields={"a": "Title"})
    assert ["column b" in sentence for _, sentence in said.problems] == [True]


def test_twelve_lookups_and_no_more() -> None:
    columns = {"id": ID, "c": SourceColumn("c", "text", 25, False)}
    parsed = SyncDefinition.model_validate(
        {
            "source": {"postgres": "erp", "table": "public.orders"},
            "target": {"graph": "contoso", "site": "contoso.sharepoint.com"},
            "list": "Orders",
            "fields": {"c": "C"},
        }
    )
    lookup = MappedColumn("c", "C", "lookup", "text")  # type: ignore[arg-type]
    for count, problems in ((12, []), (13, [("fields",)])):
        said = two_ways.findings(parsed, columns, ("id",), [lookup] * count)
        assert [path for path, _ in said.problems] == problems


@pytest.mark.parametrize(
    ("column", "field", "words"),
    [
        (SourceColumn("c", "integer", 23, True, has_default=True, identity_always=True), "C", "PostgreSQL numbers it"),
        (SourceColumn("c", "text", 25, False), {"field": "C", "overflow": "truncate"}, "only the beginning"),
        (SourceColumn("c", "date", 1082, False), {"field": "C", "as": "dateTime"}, "say format: dateOnly"),
        (SourceColumn("c", "date", 1082, False), {"field": "C", "as": "dateTime", "format": "dateOnly"}, ""),
        (
            SourceColumn("c", "timestamp with time zone", 1184, False),
            {"field": "C", "as": "dateTime", "format": "dateOnly"},
            "midnight in UTC",
        ),
    ],
)
def test_a_field_whose_edits_do_not_simply_arrive_is_named(column: SourceColumn, field: object, words: str) -> None:
    said = found(ID, column, fields={"c": field})
    assert said.problems == []
    assert len(said.notes) == bool(words)
    assert all(words in note and "C" in note for note in said.notes)


def test_fields_of_the_key_are_named() -> None:
    said = found(ID, fields={"id": "Number"})
    assert said.notes == [
        "field Number goes to SharePoint only, because it is part of the row's key; an edit of it is written back"
    ]


def test_fields_that_decide_are_named() -> None:
    columns = (ID, SourceColumn("region", "text", 25, False), SourceColumn("status", "text", 25, False))
    more: dict[str, Any] = {
        "lists": {"by": "region", "map": {"EU": "Orders EU"}, "default": "Orders"},
        "where": "status <> 'draft'",
    }
    assert found(*columns, fields={"region": "Region", "status": "Status"}, **more).notes == [
        "an edit of field Region moves the item to the list of its new value",
        "an edit of field Status that takes the row out of where takes the item out of the list",
    ]
    assert found(*columns, fields={"region": "Region"}, **more).notes[1:] == [
        "column status decides in where and no field gives it: a new item waits if its row would be outside"
    ]


def test_a_column_that_nothing_fills_is_named() -> None:
    said = found(ID, SourceColumn("owner", "text", 25, True), SourceColumn("c", "text", 25, False), fields={"c": "C"})
    assert [("column owner may not be NULL" in note) for note in said.notes] == [True]
