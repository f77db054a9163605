"""What of a list cannot be written, by what Graph says of its columns."""

from typing import Any

import orjson
import pytest

from connectors.graph.batch import Throttled
from connectors.graph.client import Reply
from connectors.graph.list_columns import to_columns
from connectors.graph.list_schema import held_columns
from rowtide.errors import GraphRefused, GraphUnavailable
from rowtide.lists import HeldColumns
from rowtide.mapping.columns import ListColumn

KEY: dict[str, Any] = {"id": "k", "name": "RowtideKey", "text": {}, "indexed": True, "enforceUniqueValues": True}
AMOUNT: dict[str, Any] = {"id": "a", "name": "Amount", "number": {}}
WANTED = [ListColumn("Amount", "number")]


def held(*columns: dict[str, Any], known: str = "a") -> HeldColumns:
    found = to_columns(Reply(200, {}, orjson.dumps({"value": columns}), "t"), "list")
    assert isinstance(found, dict)
    return held_columns(found, WANTED, {"Amount": known})


def test_nothing_is_held_where_all_is_as_it_was_applied() -> None:
    assert not held(KEY, AMOUNT)


@pytest.mark.parametrize(
    ("columns", "known", "why"),
    [
        ([], "a", "is gone"),
        ([AMOUNT | {"readOnly": True}], "a", "cannot be written: SharePoint does not let it"),
        ([{"id": "b", "name": "Amount", "boolean": {}}], "a", "is a boolean column, and the definition says number"),
        ([{"id": "a", "name": "Amount", "geolocation": {}}], "a", "is of a kind Rowtide does not write"),
        ([AMOUNT], "of old", "is another one than was applied"),
    ],
)
def test_a_column_is_held_for_a_reason(columns: list[dict[str, Any]], known: str, why: str) -> None:
    found = held(KEY, *columns, known=known)
    assert found.fields["Amount"].startswith(why)
    assert found.key is None
    assert "rows arrive without it" in found.sentence


@pytest.mark.parametrize("change", [{"indexed": False, "enforceUniqueValues": False}, {"enforceUniqueValues": False}])
def test_a_key_that_is_not_unique_can_still_be_written(change: dict[str, bool]) -> None:
    found = held(KEY | change, AMOUNT)
    assert (found.fields, found.key) == ({}, "is not indexed with unique values")
    assert "no new items" in found.sentence


def test_a_key_that_is_gone_is_neither_written_nor_looked_for() -> None:
    found = held(AMOUNT)
    assert (dict(found.fields), found.key) == ({"RowtideKey": "is gone"}, "is gone")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, Throttled), (401, GraphUnavailable), (503, GraphUnavailable), (404, GraphRefused), (403, GraphRefused)],
)
def test_columns_that_cannot_be_read_say_nothing(status: int, kind: type[object]) -> None:
    assert isinstance(to_columns(Reply(status, {}, b"{}", "t"), "list"), kind)
