"""What people type, as values of rows; what cannot be one, with the reason; what is the same."""

from typing import Any

import pytest

from rowtide.definition.model import SyncDefinition
from rowtide.errors import RowError
from rowtide.mapping import compiled_sync
from rowtide.mapping.backwards import Backwards, RefusedEdit
from rowtide.mapping.columns import SourceColumn
from rowtide.mapping.two_ways import PushOnly

ENUM = {"type_kind": "e", "enum_labels": ("sad", "ok")}


def backwards_of(*columns: SourceColumn, **fields: Any) -> Backwards:
    """The way back of a sync with these columns beside its key; ``fields`` by column."""
    definition = SyncDefinition.model_validate(
        {
            "source": {"postgres": "erp", "table": "public.orders"},
            "target": {"graph": "contoso", "site": "contoso.sharepoint.com"},
            "list": "Orders",
            "fields": fields,
        }
    )
    key = () if any(one.key for one in columns) else (SourceColumn("id", "bigint", 20, True, 1),)
    return Backwards(compiled_sync.compile_sync("orders", definition, [*key, *columns]))


def backwards(kind: str, type_name: str, *, not_null: bool = False, more: Any = None, **field: Any) -> Backwards:
    """The way back of a sync with one field F of this kind, over a column c of this type."""
    column = SourceColumn("c", type_name, 0, not_null, **(more or {}))
    return backwards_of(column, c={"field": "F", "as": kind, **field})


def texts(kind: str, type_name: str, value: object, **more: Any) -> object:
    """What the column gets for a raw value; the reason in words when it gets none."""
    one = backwards(kind, type_name, **more)
    found = one.to_row(one.canonical({} if value is None else {"F": value}))
    if found.refused:
        assert found.columns == {}
        (refusal,) = found.refused
        assert (refusal.field, refusal.column, refusal.code) == ("F", "c", "type_unrepresentable")
        return refusal
    return found.columns["c"]


@pytest.mark.parametrize(
    ("kind", "type_name", "value", "text"),
    [
        ("text", "text", "  word ", "word"),
        ("text", "text", None, None),
        ("text", "text", "", None),
        ("text", "text", "   ", None),
        ("note", "text", " a\r\nb\rc ", " a\nb\nc "),
        ("note", "text", '<div class="ExternalClass1"><p>a</p><p>b</p></div>', "a\nb"),
        ("text", "character varying(4)", "four", "four"),
        ("text", "character varying(2)", "\U0001f600\U0001f600", "\U0001f600\U0001f600"),
        ("text", "character(3)", "ab", "ab"),
        ("text", "bpchar", "ab", "ab"),
        ("text", "name", "x" * 63, "x" * 63),
        ("text", "public.citext", "Word", "Word"),
        ("text", "interval", "1 day", "1 day"),
        ("text", '"char"', "a", "a"),
        ("text", "boolean", "Yes", "true"),
        ("text", "boolean", "f", "false"),
        ("text", "bigint", "9223372036854775807", "9223372036854775807"),
        ("text", "bigint", " +007 ", "7"),
        ("text", "bigint", "1e3", "1000"),
        ("text", "numeric", "12345678901234567890.123456789", "12345678901234567890.123456789"),
        ("text", "numeric", "007.50", "7.50"),
        ("text", "numeric", "nan", "NaN"),
        ("text", "numeric", "Infinity", "Infinity"),
        ("text", "numeric(6,2)", "-1234.5", "-1234.50"),
        ("text", "numeric(3,-2)", "12300", "12300"),
        ("text", "numeric(2,4)", "0.0012", "0.0012"),
        ("text", "double precision", "1e300", "1e+300"),
        ("text", "double precision", "100000000000000", "100000000000000"),
        ("text", "double precision", "1000000000000000", "1e+15"),
        ("text", "double precision", "0.00001", "1e-05"),
        ("text", "double precision", "-inf", "-Infinity"),
        ("text", "real", "1234567", "1.234567e+06"),
        ("text", "real", "0.1", "0.1"),
        ("text", "date", "2026-02-28", "2026-02-28"),
        ("text", "date", "-INFINITY", "-infinity"),
        ("text", "date", "0044-03-15 BC", "0044-03-15 BC"),
        ("text", "date", "12026-03-15", "12026-03-15"),
        ("text", "timestamp without time zone", "2026-01-31", "2026-01-31 00:00:00"),
        ("text", "timestamp without time zone", "2026-01-31T14:30", "2026-01-31 14:30:00"),
        ("text", "timestamp without time zone", "2026-01-31 14:30:01.500", "2026-01-31 14:30:01.5"),
        ("text", "timestamp(1) without time zone", "2026-01-31 14:30:01.500", "2026-01-31 14:30:01.5"),
        ("text", "timestamp with time zone", "2026-01-31 14:30", "2026-01-31 14:30:00+00"),
        ("text", "timestamp with time zone", "2026-01-31 14:30:00Z", "2026-01-31 14:30:00+00"),
        ("text", "timestamp with time zone", "2026-01-31 00:30:00 +05:30", "2026-01-30 19:00:00+00"),
        ("text", "timestamp with time zone", "2026-01-31 14:30:00-08", "2026-01-31 22:30:00+00"),
        ("text", "timestamp with time zone", "0044-03-15 12:00:00+00 BC", "0044-03-15 12:00:00+00 BC"),
        ("text", "uuid", "A0EEBC999C0B4EF8BB6D6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("text", "uuid", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("text", "inet", "10.0.0.1/32", "10.0.0.1"),
        ("text", "inet", "10.0.0.1/8", "10.0.0.1/8"),
        ("text", "inet", "2001:DB8::0", "2001:db8::"),
        ("text", "inet", "::FFFF:102:304", "::ffff:1.2.3.4"),
        ("text", "inet", "::102:304/120", "::1.2.3.4/120"),
        ("text", "inet", "::2", "::2"),
        ("note", "jsonb", ' {"a": [1e999, null]} ', '{"a": [1e999, null]}'),
        ("text", "integer[]", "{1,2}", "{1,2}"),
        ("number", "integer", 12, "12"),
        ("number", "integer", 12.0, "12"),
        ("number", "smallint", -32768, "-32768"),
        ("number", "bigint", 1e15, "1000000000000000"),
        ("number", "numeric", 0.1 + 0.2, "0.3"),
        ("number", "numeric", -0.0, "0"),
        ("number", "numeric", 1.25e-19, "0.000000000000000000125"),
        ("number", "numeric(12,2)", 12.5, "12.50"),
        ("number", "numeric(5)", 99999.0, "99999"),
        ("number", "real", 0.123456789, "0.12345679"),
        ("number", "double precision", 1e300, "1e+300"),
        ("number", "double precision", 0, "0"),
        ("number", "numeric(12,2)", None, None),
        ("boolean", "boolean", True, "true"),
        ("boolean", "boolean", False, "false"),
        ("boolean", "boolean", None, None),
        ("dateTime", "timestamp with time zone", "2026-01-31T14:30:00Z", "2026-01-31 14:30:00+00"),
        ("dateTime", "timestamp with time zone", "2026-01-31T14:30:00.1234567-08:00", "2026-01-31 22:30:00+00"),
        ("dateTime", "timestamp without time zone", "2026-01-31T14:30:00Z", "2026-01-31 14:30:00"),
        ("dateTime", "date", "2026-01-31T14:30:00Z", "2026-01-31"),
        ("choice", "text", "any word", "any word"),
        ("choice", "text", None, None),
    ],
)  # fmt: skip
def test_a_typed_value_becomes_the_columns_text(kind: str, type_name: str, value: object, text: str | None) -> None:
    assert texts(kind, type_name, value) == text


@pytest.mark.parametrize(
    ("shown", "day"),
    [
        ("2026-01-31T00:00:00Z", "2026-01-31"),  # UTC
        ("2026-01-30T23:00:00Z", "2026-01-31"),  # Berlin in winter
        ("2026-07-30T22:00:00Z", "2026-07-31"),  # Berlin in summer
        ("2026-01-31T08:00:00Z", "2026-01-31"),  # Los Angeles
        ("2026-01-31T10:00:00Z", "2026-01-31"),  # Honolulu
        ("2026-01-30T11:00:00Z", "2026-01-31"),  # Auckland in summer
        ("2026-01-30T18:30:00Z", "2026-01-31"),  # Kolkata
    ],
)
def test_a_day_is_the_sites(shown: str, day: str) -> None:
    assert texts("dateTime", "date", shown, format="dateOnly") == day
    assert texts("dateTime", "timestamp without time zone", shown, format="dateOnly") == f"{day} 00:00:00"
    assert texts("dateTime", "timestamp with time zone", shown, format="dateOnly") == f"{day} 00:00:00+00"


@pytest.mark.parametrize(
    ("kind", "type_name", "value", "words"),
    [
        ("text", "character varying(3)", "four", "longer than the 3 characters"),
        ("text", "character(3)", "four", "longer than the 3 characters"),
        ("text", "name", "ä" * 32, "longer than 63 bytes"),
        ("text", "money", "12,50", "locale"),
        ("text", '"char"', "ab", "one byte"),
        ("text", "text", "half \ud83d", "no text"),
        ("text", "text", True, "no text"),
        ("text", "text", ["a", "b"], "no text"),
        ("text", "text", {"Url": "https://example.com"}, "no text"),
        ("text", "text", "a\x01b", "control characters"),
        ("note", "text", '<div class="ExternalClass1"><b>a</b></div>', "formatting"),
        ("text", "boolean", "maybe", "neither true nor false"),
        ("text", "bigint", "9223372036854775808", "larger than"),
        ("text", "bigint", "-9223372036854775809", "larger than"),
        ("text", "bigint", "1e999999", "larger than"),
        ("text", "bigint", "1.5", "whole numbers"),
        ("text", "bigint", "NaN", "no number"),
        ("text", "numeric", "12,5", "no number"),
        ("text", "numeric", "1_000", "no number"),
        ("text", "numeric", "0x1F", "no number"),
        ("text", "numeric", "1e200000", "larger than"),
        ("text", "numeric", "1e-20000", "larger than"),
        ("text", "numeric(6,2)", "12.345", "2 digits after the point"),
        ("text", "numeric(6,2)", "12345", "larger than"),
        ("text", "numeric(6,2)", "Infinity", "no number"),
        ("text", "numeric(3,-2)", "12345", "multiples of 100"),
        ("text", "double precision", "1e400", "larger than"),
        ("text", "double precision", "1e-400", "nearer to 0"),
        ("text", "real", "1e39", "larger than"),
        ("text", "real", "1e-60", "nearer to 0"),
        ("text", "date", "31.01.2026", "no date"),
        ("text", "date", "01/02/2026", "no date"),
        ("text", "date", "2026-02-29", "no date"),
        ("text", "date", "2026-01-31 14:30", "no date"),
        ("text", "date", "12026-01-31 14:30:00", "no date"),
        ("text", "date", "today", "no date"),
        ("text", "timestamp without time zone", "2026-01-31 14:30+02", "no time zone"),
        ("text", "timestamp without time zone", "2026-01-31 25:30", "no date and time"),
        ("text", "timestamp without time zone", "12026-01-31", "no date and time"),
        ("text", "timestamp without time zone", "2026-01-31 10:00.5", "no date and time"),
        ("text", "timestamp(0) without time zone", "2026-01-31 14:30:00.5", "0 digits of a second"),
        ("text", "timestamp with time zone", "0001-01-01 00:00+14", "no date and time"),
        ("text", "timestamp with time zone", "now", "no date and time"),
        ("text", "uuid", "a0eebc99", "no UUID"),
        ("text", "uuid", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "no UUID"),
        ("text", "inet", "10.0.0.0/255.0.0.0", "no network address"),
        ("text", "inet", "fe80::1%eth0", "no network address"),
        ("text", "inet", "here", "no network address"),
        ("note", "jsonb", "{a: 1}", "no JSON"),
        ("note", "json", "NaN", "no JSON"),
        ("note", "json", "[" * 20_000, "no JSON"),
        ("text", "integer[]", "1, 2", "no array"),
        ("number", "integer", 1.5, "whole numbers"),
        ("number", "integer", 2**31, "larger than"),
        ("number", "smallint", 32768, "larger than"),
        ("number", "numeric(12,2)", 12.345, "2 digits after the point"),
        ("number", "numeric(4,2)", 100, "larger than"),
        ("number", "numeric", 1e-310, "close to 0"),
        ("number", "real", 1e39, "larger than"),
        ("number", "integer", True, "no number"),
        ("number", "integer", "12", "no number"),
        ("number", "numeric", 10**400, "no number"),
        ("boolean", "boolean", "yes", "neither yes nor no"),
        ("boolean", "boolean", 1, "neither yes nor no"),
        ("dateTime", "date", "soon", "no date"),
        ("dateTime", "timestamp with time zone", 5, "no date"),
    ],
)  # fmt: skip
def test_what_the_column_cannot_hold_is_refused(kind: str, type_name: str, value: object, words: str) -> None:
    refusal = texts(kind, type_name, value)
    assert isinstance(refusal, RefusedEdit)
    assert words in refusal.sentence
    assert "column c" in refusal.sentence
    if isinstance(value, str) and len(value) > 4:
        assert value not in refusal.sentence


def test_a_choice_has_to_be_one_of_the_enum_and_of_the_definition() -> None:
    assert texts("choice", "mood", "ok", more=ENUM) == "ok"
    assert texts("text", "mood", " ok ", more=ENUM) == "ok"
    for kind, value in (("choice", "OK"), ("text", "glad")):
        refused = texts(kind, "mood", value, more=ENUM)
        assert isinstance(refused, RefusedEdit)
        assert "no value of PostgreSQL's enum mood" in refused.sentence
    assert texts("choice", "text", "a", choices=["a", "b"]) == "a"
    refused = texts("choice", "text", "c", choices=["a", "b"])
    assert isinstance(refused, RefusedEdit)
    assert "none of the choices" in refused.sentence


@pytest.mark.parametrize(
    ("kind", "type_name", "text"),
    [
        ("text", "text", ""),
        ("note", "character varying(10)", ""),
        ("text", "character(3)", ""),
        ("text", "citext", ""),
        ("choice", "text", ""),
        ("text", "uuid", None),
        ("note", "jsonb", None),
        ("choice", "mood", None),
        ("number", "integer", None),
        ("boolean", "boolean", None),
        ("dateTime", "date", None),
    ],
)
def test_an_emptied_field_is_empty_text_where_null_may_not_be(kind: str, type_name: str, text: str | None) -> None:
    more = ENUM if type_name == "mood" else None
    for shown in (None, ""):
        found = texts(kind, type_name, shown, not_null=True, more=more)
        if text is None:
            assert isinstance(found, RefusedEdit)
            assert "empty" in found.sentence
        else:
            assert found == text


# --- what is the same ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "type_name", "left", "right", "same"),
    [
        ("text", "text", "word ", "word", True),
        ("text", "text", "", None, True),
        ("text", "text", "  ", None, True),
        ("text", "text", "Word", "word", False),
        ("note", "text", "word ", "word", False),
        ("note", "text", "a\r\nb", "a\nb", True),
        ("note", "text", '<div class="ExternalClass9">a&#58; b</div>', "a: b", True),
        ("text", "uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", True),
        ("text", "numeric(6,2)", "1.5", "1.50", True),
        ("text", "numeric(6,2)", "1.5", "1.51", False),
        ("text", "boolean", "Yes", "true", True),
        ("number", "double precision", 0.30000000000000004, 0.3, True),
        ("number", "double precision", 0.3, 0.31, False),
        ("number", "real", 0.123456789, 0.12345679, True),
        ("number", "numeric(12,2)", 12.345, 12.34, False),
        ("dateTime", "date", "2026-01-31T14:30:00Z", "2026-01-31T00:00:00Z", True),
        ("dateTime", "date", "2026-01-31T14:30:00Z", "2026-02-01T00:00:00Z", False),
        ("dateTime", "timestamp with time zone", "2026-01-31T14:30:00Z", "2026-01-31T14:30:01Z", False),
        ("boolean", "boolean", False, None, False),
    ],
)  # fmt: skip
def test_same_is_what_becomes_the_same_row(kind: str, type_name: str, left: Any, right: Any, same: bool) -> None:
    one = backwards(kind, type_name)
    assert one.same("F", left, right) is same
    assert one.same("F", right, left) is same
    edited = one.differing({"F": left}, {"F": right}, {})
    assert edited == ({} if same else {"F": left})


def test_an_edit_is_what_differs_from_the_base_and_from_what_sharepoint_keeps() -> None:
    one = backwards("text", "text")
    assert one.differing({"F": "new"}, {"F": "old"}, {}) == {"F": "new"}
    assert one.differing({"F": "cut"}, {"F": "cut off"}, {"F": "cut"}) == {}
    assert one.differing({"F": "new"}, {}, {}) == {"F": "new"}
    assert one.differing({"Other": "new"}, {}, {}) == {}


def test_canonical_is_what_push_sends() -> None:
    one = backwards_of(
        SourceColumn("note", "text", 25, False),
        SourceColumn("code", "character(5)", 1042, False),
        SourceColumn("day", "date", 1082, False),
        SourceColumn("amount", "numeric(6,2)", 1700, False),
        note={"field": "Note", "as": "note"},
        code="Code",
        day={"field": "Day", "as": "dateTime", "format": "dateOnly"},
        amount={"field": "Amount", "as": "number"},
    )
    raw = {
        "Note": '<div class="ExternalClass1">a<br>b</div>', "Code": "ab ", "Day": "2026-01-30T23:00:00Z",
        "Amount": 12.345, "Foreign": 1,
    }  # fmt: skip
    fields = one.canonical(raw)
    assert fields == {"Note": "a\nb", "Code": "ab", "Day": "2026-01-31", "Amount": 12.345}
    assert one.item_fields(raw) == fields
    assert one.canonical(raw, held={"Note", "Amount"}) == {"Code": "ab", "Day": "2026-01-31"}
    assert one.canonical({}) == {"Note": None, "Code": None, "Day": None, "Amount": None}
    assert one.wire_fields(fields)["Day"] == "2026-01-31T10:00:00Z"
    found = one.to_row({**fields, "Foreign": 1})
    assert found.columns == {"note": "a\nb", "code": "ab", "day": "2026-01-31"}
    assert [refusal.field for refusal in found.refused] == ["Amount"]


# --- what travels one way -----------------------------------------------------------------------------------------


def one_way() -> Backwards:
    """A sync with every reason why an edit does not go to the row."""
    return backwards_of(
        SourceColumn("id", "bigint", 20, True, 1, has_default=True),
        SourceColumn("number", "integer", 23, True, has_default=True, identity_always=True),
        SourceColumn("long", "text", 25, False),
        SourceColumn("status", "text", 25, True, has_default=True),
        SourceColumn("amount", "integer", 23, True),
        SourceColumn("price", "money", 790, False),
        id={"field": "Number", "as": "number"},
        number={"field": "Serial", "as": "number"},
        long={"field": "Long", "overflow": "truncate"},
        status="Status",
        amount={"field": "Amount", "as": "number"},
        price="Price",
    )


def test_push_only_fields_have_a_reason() -> None:
    assert one_way().push_only == {
        "Number": PushOnly.KEY,
        "Serial": PushOnly.IDENTITY,
        "Long": PushOnly.TRUNCATED,
        "Price": PushOnly.LOCALE,
    }


def test_a_new_row_gets_the_key_and_leaves_defaults_to_postgresql() -> None:
    one = one_way()
    found = one.to_new_row(one.canonical({"Number": 7, "Amount": 3}))
    assert (found.columns, found.refused) == ({"id": "7", "long": None, "amount": "3", "price": None}, ())
    found = one.to_new_row(one.canonical({"Status": "open"}))
    assert found.columns == {"status": "open", "long": None, "price": None}
    assert [(refusal.field, refusal.code) for refusal in found.refused] == [("Amount", "type_unrepresentable")]


# --- keys of new rows ---------------------------------------------------------------------------------------------


WORD = SourceColumn("a", "text", 25, True, 1)


def keyed(*columns: SourceColumn) -> Backwards:
    """A sync whose key columns are these, each mapped to the field of its name."""
    fields: dict[str, Any] = {column.name: column.name.upper() for column in columns}
    return backwards_of(*columns, SourceColumn("more", "text", 25, False), **fields, more="More")


@pytest.mark.parametrize(
    ("columns", "fields", "key"),
    [
        ([WORD], {"A": "x"}, "x"),
        ([WORD, SourceColumn("b", "integer", 23, True, 2)], {"A": "x|y", "B": "07"}, "x\\|y|7"),
        ([SourceColumn("a", "character(3)", 1042, True, 1)], {"A": "x"}, "x  "),
        ([SourceColumn("a", "boolean", 16, True, 1)], {"A": "yes"}, "t"),
        ([SourceColumn("a", "bigint", 20, True, 1, has_default=True)], {"A": "7"}, "7"),
        ([SourceColumn("a", "bigint", 20, True, 1, has_default=True)], {"A": None}, None),
        ([SourceColumn("a", "bigint", 20, True, 1, has_default=True)], {}, None),
        ([WORD, SourceColumn("b", "uuid", 2950, True, 2, has_default=True)], {"A": "x"}, None),
    ],
)  # fmt: skip
def test_a_new_row_has_the_key_that_its_fields_name(
    columns: list[SourceColumn], fields: dict[str, Any], key: str | None
) -> None:
    assert keyed(*columns).key_of(fields) == key


@pytest.mark.parametrize(
    ("columns", "fields", "words"),
    [
        ([WORD], {"A": "  "}, "needs it as its key"),
        ([WORD], {}, "needs it as its key"),
        ([SourceColumn("a", "bigint", 20, True, 1)], {"A": "seven"}, "no number"),
        (
            [SourceColumn("a", "uuid", 2950, True, 1, has_default=True), SourceColumn("b", "text", 25, True, 2)],
            {"A": None, "B": None},
            "needs it as its key",
        ),
    ],
)
def test_a_new_row_without_a_key_is_refused(columns: list[SourceColumn], fields: dict[str, Any], words: str) -> None:
    refused = keyed(*columns).key_of(fields)
    assert isinstance(refused, RowError)
    assert refused.code == "type_unrepresentable"
    assert words in refused.sentence


def test_a_key_that_is_not_mapped_is_postgresqls() -> None:
    assert backwards("text", "text").key_of({"F": "x"}) is None
