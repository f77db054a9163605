"""Values: what PostgreSQL prints, what the list holds, and when the two are the same."""

from typing import Any

import pytest

from rowtide.errors import RowError
from rowtide.mapping.columns import MappedColumn, SourceColumn, doubt, misfit


def mapped(kind: str, family: str = "text", **more: Any) -> MappedColumn:
    """A mapped column of a kind."""
    return MappedColumn("c", "C", kind, family, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("type_name", "family"),
    [
        ("bigint", "integer"),
        ("numeric(12,2)", "numeric"),
        ("character varying(40)", "text"),
        ("character(3)", "blank_padded"),
        ("timestamp(3) with time zone", "timestamptz"),
        ("timestamp without time zone", "timestamp"),
        ("text[]", "array"),
        ("double precision", "float8"),
        ("real", "float4"),
        ("citext", "other"),
        ("time without time zone", "other"),
        ('"char"', "other"),
        ("jsonb", "json"),
    ],
)
def test_family_of_a_type(type_name: str, family: str) -> None:
    assert SourceColumn("c", type_name, 0, False).family == family


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        (mapped("number", "integer"), "-42", -42),
        (mapped("number", "integer"), "999999999999999", 999999999999999),
        (mapped("number", "integer"), "1000000000000000000", 1e18),
        (mapped("number", "numeric"), "12.50", 12.5),
        (mapped("number", "numeric"), "0.000000000000000000125", 1.25e-19),
        (mapped("number", "numeric"), f"0.{'0' * 300}125", 1.25e-301),
        (mapped("number", "numeric"), f"-0.{'0' * 400}", 0.0),
        (mapped("number", "float8"), "0.30000000000000004", 0.30000000000000004),
        (mapped("boolean", "boolean"), "t", True),
        (mapped("boolean", "boolean"), "false", False),
        (mapped("text", "boolean"), "t", "true"),
        (mapped("text", "blank_padded"), "ab   ", "ab"),
        (mapped("text", "inet"), "10.0.0.1/32", "10.0.0.1"),
        (mapped("text", "inet"), "10.0.0.0/8", "10.0.0.0/8"),
        (mapped("text"), "ä\tb", "ä\tb"),
        (mapped("dateTime", "timestamptz"), "2026-01-01 10:00:00.999+00", "2026-01-01T10:00:00Z"),
        (mapped("dateTime", "timestamp"), "2026-01-01 10:00:00", "2026-01-01T10:00:00Z"),
        (mapped("dateTime", "date"), "2026-01-01", "2026-01-01T00:00:00Z"),
        (mapped("dateTime", "date", format="dateOnly"), "2026-01-01", "2026-01-01"),
        (mapped("dateTime", "timestamptz", format="dateOnly"), "2026-01-01 23:59:59+00", "2026-01-01"),
        (mapped("text", truncate=True), "x" * 300, "x" * 255),
        (mapped("text", truncate=True), "x" * 254 + "\U0001f600", "x" * 254),
        (mapped("text", truncate=True), "\U0001f600" * 300, "\U0001f600" * 127),
        (mapped("note"), "x" * 300, "x" * 300),
        (mapped("choice", choices=("a", "b")), "b", "b"),
    ],
)
def test_canonical_value(column: MappedColumn, text: str, value: object) -> None:
    assert column.canonical()(text) == value


@pytest.mark.parametrize(
    ("column", "text", "code"),
    [
        (mapped("number", "integer"), "9007199254740993", "type_unrepresentable"),
        (mapped("number", "numeric"), "123456789012345.67", "type_unrepresentable"),
        (mapped("number", "numeric"), "NaN", "type_unrepresentable"),
        (mapped("number", "float8"), "-Infinity", "type_unrepresentable"),
        (mapped("number", "numeric"), "1" + "0" * 400, "type_unrepresentable"),
        (mapped("number", "numeric"), f"0.{'0' * 399}1", "type_unrepresentable"),
        (mapped("number", "numeric"), f"-0.{'0' * 309}123456789", "type_unrepresentable"),
        (mapped("text"), "secret" * 50, "value_too_long"),
        (mapped("text"), "\U0001f600" * 128, "value_too_long"),
        (mapped("note"), "x" * 64000, "value_too_long"),
        (mapped("text"), "a\x01b", "type_unrepresentable"),
        (mapped("choice", choices=("a",)), "b", "type_unrepresentable"),
        *(
            (mapped("dateTime", "timestamptz", format=form), text, "type_unrepresentable")
            for form in (None, "dateOnly")
            for text in (
                "infinity",
                "-infinity",
                "1899-12-31 00:00:00+00",
                "12026-01-01 00:00:00+00",
                "2026-01-01 00:00:00+00 BC",
                "2026-01-01 00:00:00.5+00 BC",
                "2026-01-01 BC",
                "12026-01-01",
            )
        ),
    ],
)
def test_what_a_list_cannot_hold_is_refused_without_showing_it(column: MappedColumn, text: str, code: str) -> None:
    with pytest.raises(RowError) as refused:
        column.canonical()(text)
    assert refused.value.code == code
    assert text == "infinity" or text not in refused.value.sentence
    assert "column c (field C)" in refused.value.sentence


@pytest.mark.parametrize(
    ("kind", "left", "right", "same"),
    [
        ("text", None, "", True),
        ("text", None, "a", False),
        ("text", "a", "a ", False),
        ("text", "a", "A", False),
        ("note", "a\r\nb", "a\nb", True),
        ("text", "a\r\nb", "a\nb", False),
        ("number", 1, 1.0, True),
        ("number", 0.1 + 0.2, 0.3, True),
        ("number", 0.3, 0.31, False),
        ("number", 0, None, False),
        ("boolean", False, None, False),
        ("boolean", True, True, True),
        ("boolean", True, 1, False),
        ("number", 5, "5", False),
    ],
)
def test_same_to_sharepoint(kind: str, left: Any, right: Any, same: bool) -> None:
    column = mapped(kind)
    assert column.same(left, right) is same
    assert column.same(right, left) is same


@pytest.mark.parametrize(
    ("shown", "value"),
    [
        ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00Z"),
        ("2026-01-01T10:00:00.0000000Z", "2026-01-01T10:00:00Z"),
        ("2026-01-01T12:00:00+02:00", "2026-01-01T10:00:00Z"),
        ("someday", "someday"),
        (None, None),
    ],
)
def test_a_moment_as_graph_shows_it(shown: object, value: object) -> None:
    assert mapped("dateTime", "timestamptz").from_wire(shown) == value


def test_what_has_an_unexpected_shape_equals_nothing() -> None:
    column = mapped("number", "integer")
    assert column.from_wire({"Url": "x"}) == "{'Url': 'x'}"
    assert not column.same(column.from_wire("5"), 5)


@pytest.mark.parametrize(
    ("type_name", "kind", "why"),
    [
        ("text", "number", "map it as text"),
        ("uuid", "dateTime", "map it as text"),
        ("integer", "boolean", "no boolean"),
        ("bytea", "text", "leave it out"),
        ("jsonb", "choice", "map it as note"),
        ("text[]", "choice", "map it as note"),
        ("jsonb", "note", None),
        ("uuid", "text", None),
        ("integer", "choice", None),
        ("date", "dateTime", None),
        ("interval", "text", None),
        ("money", "number", "map it as text"),
    ],
)
def test_which_types_fit_which_kinds(type_name: str, kind: Any, why: str | None) -> None:
    found = misfit(SourceColumn("c", type_name, 0, False), kind)
    assert (found is None) if why is None else (found is not None and why in found)


def test_a_generated_column_is_not_published() -> None:
    assert "does not publish" in str(misfit(SourceColumn("c", "text", 25, False, generated=True), "text"))


@pytest.mark.parametrize(
    ("type_name", "doubtful"),
    [
        ("bigint", True),
        ("integer", False),
        ("numeric", True),
        ("numeric(20,2)", True),
        ("numeric(12,2)", False),
        ("double precision", True),
        ("real", False),
    ],
)
def test_numbers_that_may_not_survive_are_named(type_name: str, doubtful: bool) -> None:
    assert (doubt(SourceColumn("c", type_name, 0, False), "number") is not None) is doubtful
    assert doubt(SourceColumn("c", type_name, 0, False), "text") is None
