"""How a table is written."""

import pytest

from rowtide import table_name


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("public.orders", ("public", "orders")),
        ("Sales.Orders%", ("Sales", "Orders%")),
        ('"my.schema"."we ird.%s $1"', ("my.schema", "we ird.%s $1")),
        ('public."say ""hi"""', ("public", 'say "hi"')),
        ('"a\nb".t', ("a\nb", "t")),
        (f"s.{'x' * 63}", ("s", "x" * 63)),
    ],
)
def test_what_a_table_is_called(text: str, parts: tuple[str, str]) -> None:
    assert table_name.parse(text) == parts
    assert table_name.parse(table_name.to_text(*parts)) == parts


@pytest.mark.parametrize(
    "text",
    ["orders", "a.b.c", "a. b", "a.b ", 'a."b', 'a.b"c', 'a.""', ".b", f"s.{'x' * 64}", f"s.{'ä' * 32}", "s.\x00", ""],
)
def test_what_is_no_table(text: str) -> None:
    assert table_name.parse(text) is None


def test_quotes_stand_where_they_are_needed() -> None:
    assert table_name.to_text("public", "orders") == "public.orders"
    assert table_name.to_text("my.schema", "Orders") == '"my.schema".Orders'
