"""What the verdict calls a difference."""

import pytest

from demo.comparison import Difference, FoundItem, judge
from rowtide.definition import model
from rowtide.keys import ROWTIDE_KEY, rowtide_key
from rowtide.mapping.binding import Mapped
from rowtide.mapping.columns import SourceColumn
from rowtide.mapping.compiled_sync import CompiledSync, compile_sync

COLUMNS = (
    SourceColumn("id", "bigint", 20, True, key=1),
    SourceColumn("region", "text", 25, True),
    SourceColumn("amount", "numeric(12,2)", 1700, False),
    SourceColumn("placed_at", "timestamp with time zone", 1184, False),
)


@pytest.fixture(scope="module")
def orders() -> CompiledSync:
    """A sharded sync with a row filter."""
    document = {
        "source": {"postgres": "shop", "table": "public.orders"},
        "target": {"graph": "contoso", "site": "contoso.sharepoint.com:/sites/ops"},
        "lists": {"by": "region", "map": {"EU": "Orders EU"}, "default": "Orders Other"},
        "where": "region <> 'none'",
        "fields": {
            "region": "Title",
            "amount": {"field": "Amount", "as": "number"},
            "placed_at": {"field": "PlacedAt", "as": "dateTime"},
        },
    }
    return compile_sync("orders", model.SyncDefinition.model_validate(document), COLUMNS)


def row(sync: CompiledSync, key: str, region: str = "EU", amount: str | None = "1.50") -> Mapped:
    return sync.bind(("id", "region", "amount", "placed_at")).change_of(
        (key, region, amount, "2026-01-01 00:00:00.7+00")
    )


def item(key: str | None, title: str = "Orders EU", number: str = "1", **fields: object) -> FoundItem:
    wire = {"Title": "EU", "Amount": 1.5, "PlacedAt": "2026-01-01T00:00:00Z", **fields}
    return FoundItem(title, number, key, wire if key is None else {**wire, ROWTIDE_KEY: key})


ONE = rowtide_key("orders", "1")


def judged(orders: CompiledSync, rows: list[Mapped], items: list[FoundItem]) -> list[tuple[str, str]]:
    found = judge([orders], {"orders": rows}, items)
    return [(one.kind, one.about) for one in found.differences]


def test_equal_sides_have_no_difference(orders: CompiledSync) -> None:
    verdict = judge([orders], {"orders": [row(orders, "1")]}, [item(ONE)])
    assert verdict.equal
    assert (verdict.rows, verdict.items, verdict.duplicates, verdict.others) == (1, 1, 0, 0)


def test_a_row_without_item_is_missing(orders: CompiledSync) -> None:
    assert judged(orders, [row(orders, "1")], []) == [("missing", "Orders EU")]


def test_an_item_without_row_is_extra(orders: CompiledSync) -> None:
    assert judged(orders, [], [item(ONE)]) == [("extra", "Orders EU")]


def test_an_item_of_a_row_that_the_filter_leaves_out_is_extra(orders: CompiledSync) -> None:
    assert judged(orders, [row(orders, "1", "none")], [item(ONE)]) == [("extra", "Orders EU")]
    assert judged(orders, [row(orders, "1", "none")], []) == []


def test_an_item_without_key_is_extra(orders: CompiledSync) -> None:
    assert judged(orders, [], [item(None)]) == [("extra", "Orders EU, without RowtideKey")]


def test_differing_fields_are_named(orders: CompiledSync) -> None:
    changed = item(ONE, Amount=2, PlacedAt="2026-01-01T00:00:01Z")
    assert judged(orders, [row(orders, "1")], [changed]) == [("differing", "Amount, PlacedAt")]
    assert judged(orders, [row(orders, "1", amount=None)], [item(ONE)]) == [("differing", "Amount")]


def test_an_item_in_another_list_is_in_the_wrong_one(orders: CompiledSync) -> None:
    assert judged(orders, [row(orders, "1")], [item(ONE, "Orders Other")]) == [
        ("wrong list", "Orders Other for Orders EU")
    ]


def test_a_key_with_two_items_is_a_duplicate_and_each_item_is_judged(orders: CompiledSync) -> None:
    two = [item(ONE), item(f" {ONE.upper()}", "Orders Other", "2")]
    assert judged(orders, [row(orders, "1")], two) == [
        ("duplicate", "Orders EU, Orders Other"),
        ("wrong list", "Orders Other for Orders EU"),
    ]
    verdict = judge([orders], {"orders": []}, two)
    assert (verdict.duplicates, verdict.others) == (1, 2)


def test_a_row_that_cannot_be_mapped_is_told(orders: CompiledSync) -> None:
    assert judged(orders, [row(orders, "1", amount="NaN")], []) == [("unmappable", "type_unrepresentable")]


def test_lists_of_nobody_are_left_alone(orders: CompiledSync) -> None:
    assert judged(orders, [], [item(None, "Birthdays"), item("orders:9", "Birthdays")]) == []


def test_a_difference_reads_as_a_line() -> None:
    assert str(Difference("orders", "1", "differing", "Amount")) == "orders 1: differing (Amount)"
