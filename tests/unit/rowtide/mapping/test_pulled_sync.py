"""A sync's way back: by what its entries are decided, which key a new item has, what a row is."""

from typing import Any

from rowtide.catalog import ListRef
from rowtide.deciding.apply import RowAbsent, RowOutside, RowThere, RowUnmapped
from rowtide.definition.model import SyncDefinition
from rowtide.errors import RowError
from rowtide.mapping.columns import SourceColumn
from rowtide.mapping.compiled_sync import compile_sync
from rowtide.mapping.pulled_sync import PulledSync

LISTS = {
    "EU": ListRef("eu-id", "site", "contoso", {"Title": "c1", "Region": "c2", "RowtideKey": "c3"}),
    "Rest": ListRef("rest-id", "site", "contoso", {"Title": "d1", "Region": "d2"}),
}
COLUMNS = (
    SourceColumn("name", "text", 25, True),
    SourceColumn("region", "text", 25, False),
    SourceColumn("size", "integer", 23, False),
)


def pulled(key: SourceColumn, **fields: Any) -> PulledSync:
    definition = SyncDefinition.model_validate(
        {
            "source": {"postgres": "erp", "table": "public.orders"},
            "target": {"graph": "contoso", "site": "contoso.sharepoint.com"},
            "lists": {"by": "region", "map": {"EU": "EU"}, "default": "Rest"},
            "where": "size IS NULL OR size > 0",
            "direction": "both",
            "conflicts": {"policy": "merge", "columns": {"region": "sharepoint_wins"}},
            "deletes": {"push": "ignore", "pull": "propagate"},
            "fields": {"name": "Title", "region": "Region", **fields},
        }
    )
    return PulledSync.of(compile_sync("orders", definition, [key, *COLUMNS]), LISTS)


NUMBERED = SourceColumn("id", "bigint", 20, True, 1, has_default=True)
GIVEN = SourceColumn("id", "bigint", 20, True, 1)


def test_policies_are_by_field_and_columns_by_list() -> None:
    rules = pulled(NUMBERED).rules
    assert (rules.policies.sync, rules.policies.fields) == ("merge", {"Region": "sharepoint_wins"})
    assert rules.columns == {"eu-id": {"Title": "c1", "Region": "c2"}, "rest-id": {"Title": "d1", "Region": "d2"}}
    assert (rules.deletes, rules.rows_deletes_leave_items) == ("propagate", True)
    assert rules.shard_columns == {"eu-id": {"region": "EU"}}


def test_a_new_items_key_is_the_tables_or_the_items() -> None:
    assert pulled(NUMBERED).rules.key_of({"Title": "a"}) is None
    assert pulled(GIVEN, id={"field": "Number", "as": "number"}).rules.key_of({"Number": 7}) == "7"
    lacking = pulled(GIVEN, id={"field": "Number", "as": "number"}).rules.key_of({"Title": "a", "Number": None})
    assert isinstance(lacking, RowError)
    assert lacking.code == "no_key"
    unfit = pulled(GIVEN, id={"field": "Number", "as": "number"}).rules.key_of({"Number": 7.5})
    assert isinstance(unfit, RowError)


def test_a_row_is_what_push_would_make_of_it() -> None:
    sync = pulled(NUMBERED)
    order = [sync.compiled.select_columns.index(name) for name in ("id", "name", "region", "size")]

    def row(*values: str | None) -> Any:
        placed = dict(zip(order, values, strict=True))
        return sync.row([placed[place] for place in range(len(order))])

    assert sync.row(None) == RowAbsent()
    assert row("1", "a", "EU", None) == RowThere("eu-id", {"Title": "a", "Region": "EU"})  # type: ignore[arg-type]
    assert row("1", "a", None, "5") == RowThere("rest-id", {"Title": "a", "Region": None})  # type: ignore[arg-type]
    assert row("1", "a", "EU", "0") == RowOutside()
    assert isinstance(row("1", "a" * 300, "EU", None), RowUnmapped)


def test_the_list_fills_in_what_a_new_item_leaves_empty() -> None:
    sync = pulled(NUMBERED)
    new = sync.new_texts({"Title": "a", "Region": None}, {"region": "EU"}, None)
    assert new.columns == {"name": "a", "region": "EU"}
    given = sync.new_texts({"Title": "a", "Region": "US"}, {"region": "EU"}, "7")
    assert given.columns == {"name": "a", "region": "US", "id": "7"}
    assert sync.texts({"Region": "US"}, {"region": "EU"}).columns == {"region": "EU"}
