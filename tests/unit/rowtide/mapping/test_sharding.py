"""Which list a row belongs to, and which lists there can be."""

import pytest

from rowtide.errors import DefinitionError
from rowtide.mapping import sharding
from rowtide.mapping.columns import SourceColumn

COLUMNS = {
    "id": SourceColumn("id", "bigint", 20, True, 1),
    "region": SourceColumn("region", "text", 25, False),
    "paid": SourceColumn("paid", "boolean", 16, False),
    "at": SourceColumn("at", "timestamp with time zone", 1184, False),
}
INDEX = {name: place for place, name in enumerate(COLUMNS)}


def row(**values: str | None) -> list[str | None]:
    """A row's texts."""
    return [values.get(name) for name in COLUMNS]


def test_one_list() -> None:
    one = sharding.single("Orders")
    assert (one.titles(), one.only_title, one.columns()) == (("Orders",), "Orders", ())
    assert one.compile(COLUMNS, INDEX)(row()) == "Orders"


def test_a_list_for_each_value() -> None:
    by_region = sharding.by_expression(
        "region", {"EU": "Orders EU", "UK": "Orders EU", "US": "Orders US"}, "Rest", None
    )
    shard = by_region.compile(COLUMNS, INDEX)
    assert by_region.titles() == ("Orders EU", "Orders US", "Rest")
    assert by_region.columns() == ("region",)
    assert by_region.only_title is None
    assert [shard(row(region=value)) for value in ("UK", "US", "eu", None)] == [
        "Orders EU",
        "Orders US",
        "Rest",
        "Rest",
    ]


def test_a_value_without_a_list_has_none() -> None:
    shard = sharding.by_expression("paid", {"true": "Paid"}, None, None).compile(COLUMNS, INDEX)
    assert [shard(row(paid=value)) for value in ("t", "f", None)] == ["Paid", None, None]


def test_lists_by_hash_are_all_known_and_all_used() -> None:
    by_hash = sharding.by_expression("hash(id, 4)", None, None, "Orders {}")
    shard = by_hash.compile(COLUMNS, INDEX)
    assert by_hash.titles() == ("Orders 0", "Orders 1", "Orders 2", "Orders 3")
    assert {shard(row(id=str(number))) for number in range(100)} == set(by_hash.titles())


def test_year_needs_a_map() -> None:
    shard = sharding.by_expression("year(at)", {"2026": "Now"}, "Before", None).compile(COLUMNS, INDEX)
    assert [shard(row(at=f"{year}-01-01 00:00:00+00")) for year in (2026, 2025)] == ["Now", "Before"]
    with pytest.raises(DefinitionError, match="not available yet"):
        sharding.by_expression("year(at)", None, None, "Orders {}")


def test_titles_that_sharepoint_takes_for_one_are_refused() -> None:
    with pytest.raises(DefinitionError, match="differ only in case"):
        sharding.by_expression("region", {"a": "Orders", "b": "orders"}, None, None)


def test_a_list_that_one_value_leads_to() -> None:
    several = sharding.by_expression(
        "region", {"EU": "Europe", "UK": "Europe", "US": "America", "X": "Rest"}, "Rest", None
    )
    assert [several.only_value(title) for title in several.titles()] == [None, ("region", "US"), None]
    hashed = sharding.by_expression("hash(id, 2)", None, None, "Part {}")
    assert hashed.only_value("Part 1") is None
    assert sharding.single("Orders").only_value("Orders") is None
