"""What a deletion does on the other side, as a definition says it."""

from typing import Any

import pytest

from rowtide.deciding.conflicts import Mark, MarkItem
from rowtide.definition.model import SyncDefinition
from rowtide.errors import DefinitionError
from rowtide.mapping.columns import SourceColumn
from rowtide.mapping.columns_written import ColumnsWritten
from rowtide.mapping.compiled_sync import CompiledSync, compile_sync

COLUMNS = (
    SourceColumn("id", "bigint", 20, True, 1, has_default=True),
    SourceColumn("name", "text", 25, True),
    SourceColumn("open", "boolean", 16, False),
    SourceColumn("removed_at", "timestamp with time zone", 1184, False),
    SourceColumn("twice", "bigint", 20, False, generated=True),
)


def definition(**deletes: Any) -> SyncDefinition:
    return SyncDefinition.model_validate(
        {
            "source": {"postgres": "erp", "table": "public.orders"},
            "target": {"graph": "contoso", "site": "contoso.sharepoint.com"},
            "list": "Orders",
            "direction": "both",
            "deletes": deletes,
            "fields": {
                "id": {"field": "Number", "as": "number"},
                "name": "Title",
                "open": {"field": "Open", "as": "boolean"},
            },
        }
    )


def compiled(**deletes: Any) -> CompiledSync:
    return compile_sync("orders", definition(**deletes), COLUMNS)


def test_a_mark_of_an_item_is_the_value_that_push_writes() -> None:
    assert compiled(push={"mark": {"Open": False}}).deletes == MarkItem("Open", False)
    assert compiled(push={"mark": {"Title": "gone"}}).deletes == MarkItem("Title", "gone")


def test_a_mark_of_a_row_is_a_text_for_any_column_and_that_one_is_written() -> None:
    sync = compiled(pull={"mark": {"removed_at": "now"}})
    assert (sync.deletes, sync.deletes_back) == ("propagate", Mark("removed_at", "now"))
    found = ColumnsWritten().and_those_of(definition(pull={"mark": {"removed_at": "now"}}))
    assert "removed_at" in found.names
    assert not found.deletes


@pytest.mark.parametrize(
    ("deletes", "why"),
    [
        ({"push": {"mark": {"Open": "closed"}}}, "field Open does not take this value"),
        ({"push": {"mark": {"Title": "x" * 300}}}, "field Title does not take this value"),
        ({"push": {"mark": {"Number": 5}}}, "field Number is the row's key"),
        ({"pull": {"mark": {"removed": "true"}}}, "the table has no column 'removed'; did you mean 'removed_at'"),
        ({"pull": {"mark": {"id": 5}}}, "column id is part of the row's key"),
        ({"pull": {"mark": {"twice": 5}}}, "PostgreSQL computes column twice"),
    ],
)
def test_a_mark_without_a_place_is_refused(deletes: Any, why: str) -> None:
    with pytest.raises(DefinitionError, match=why):
        compiled(**deletes)


def test_whatever_is_not_ignored_is_carried() -> None:
    assert compiled(push={"mark": {"Open": False}}).carries_deletions
    assert compiled(push="propagate").carries_deletions
    assert not compiled(push="ignore").carries_deletions
