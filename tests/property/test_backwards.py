"""The way back undoes the way there: on a real server, by way of what the simulated list keeps."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import psycopg
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from psycopg import sql

from connectors.postgres.connections import PINNED
from connectors.postgres.table_catalog import read_columns
from demo.postgres import Cluster
from graphsim.lists import values as list_values
from graphsim.lists.columns import ColumnDefinition, make_column
from graphsim.lists.values import ValueRules
from graphsim.switches import Switches
from rowtide.definition.model import SyncDefinition
from rowtide.mapping import compiled_sync
from rowtide.mapping.backwards import Backwards
from rowtide.mapping.binding import Binding
from rowtide.mapping.columns import ListColumn
from rowtide.mapping.compiled_sync import CompiledSync

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40)
MOMENTS = st.datetimes(datetime(1901, 1, 1), datetime(8899, 12, 30))  # noqa: DTZ001 - PostgreSQL's text has the zone
FLOATS = st.floats(-1e300, 1e300, allow_subnormal=False)
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text('ab\\"ü', max_size=3), st.lists, max_leaves=3)
# Hawaii was half an hour further west until 1947: too far for ten in the morning to be the same day everywhere.
DAYS = st.dates(datetime(1950, 1, 1).date(), datetime(8899, 12, 30).date())  # noqa: DTZ001
SINGLES = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False).map(lambda value: value + 0.0)
FAR_MOMENTS = st.sampled_from(("infinity", "0044-03-15 12:00:00.5 BC", "2026-01-31 1:2:3.1239"))
FAR_DAYS = st.sampled_from(("-infinity", "12026-01-31", "0044-03-15 BC"))

SHAPE: dict[str, tuple[str, str, st.SearchStrategy[Any], bool]] = {
    # column: type, kind, values, whether nothing at all is lost on the way
    "words": ("text", "note", TEXTS, False),
    "line": ("varchar(12)", "text", st.text("ab c\u00a0", max_size=12), False),
    "padded": ("character(5)", "text", st.text("ab ", max_size=5), False),
    "label": ("mood", "choice", st.sampled_from(("sad", "so so")), True),
    "label_text": ("mood", "text", st.sampled_from(("sad", "so so")), True),
    "code": ("short_code", "text", st.text("xyz", min_size=1, max_size=4), True),
    "yes": ("boolean", "boolean", st.booleans(), True),
    "yes_text": ("boolean", "choice", st.booleans(), True),
    "small": ("smallint", "number", st.integers(-(2**15), 2**15 - 1), True),
    "whole": ("bigint", "number", st.integers(-(10**15) + 1, 10**15 - 1), True),
    "whole_text": ("bigint", "text", st.integers(-(2**63), 2**63 - 1), True),
    "amount": ("numeric(12,2)", "number", st.decimals(-(10**10) + 1, 10**10 - 1, places=2), True),
    "coarse": ("numeric(5,-2)", "number", st.integers(-(10**5) + 1, 10**5 - 1).map(lambda n: n * 100), True),
    "exact": ("numeric", "text", st.decimals(-(10**30), 10**30, allow_nan=False) | st.just("NaN"), True),
    "ratio": ("double precision", "number", FLOATS, False),
    "ratio_text": ("double precision", "text", st.floats(), True),
    "single": ("real", "number", SINGLES, True),
    "single_text": ("real", "text", st.floats(width=32), True),
    "at": ("timestamptz", "dateTime", MOMENTS.map(lambda at: at.isoformat() + "+03:30"), False),
    "local": ("timestamp", "dateTime", MOMENTS.map(datetime.isoformat), False),
    "at_text": ("timestamptz", "text", MOMENTS.map(lambda at: at.isoformat() + "-05:00"), True),
    "local_text": ("timestamp(3)", "text", FAR_MOMENTS, True),
    "day": ("date", "dateOnly", DAYS, True),
    "day_text": ("date", "text", st.dates().map(str) | FAR_DAYS, True),
    "day_long": ("date", "dateTime", MOMENTS.map(lambda at: at.date().isoformat()), True),
    "name": ("uuid", "text", st.uuids(), True),
    "address": ("inet", "text", st.ip_addresses() | st.just("10.1.2.3/8") | st.just("::/0"), True),
    "doc": ("jsonb", "note", JSON.map(json.dumps), True),
    "tags": ("integer[]", "text", st.lists(st.integers(0, 9), max_size=3), True),
    "span": ("interval", "text", st.timedeltas(), True),
}  # fmt: skip
ZONES = ("UTC", "Europe/Berlin", "America/Los_Angeles", "Pacific/Honolulu", "Pacific/Auckland", "Asia/Kolkata")


class Table:
    """The table on the server, its sync and the way back."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        connection.execute("CREATE TYPE mood AS ENUM ('sad', 'so so')")
        connection.execute("CREATE DOMAIN short_code AS varchar(4)")
        columns = ", ".join(f"{name} {shape[0]}" for name, shape in SHAPE.items())
        connection.execute(
            f"CREATE TABLE wide (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, {columns})".encode()
        )
        fields = {
            name: {"field": name.capitalize(), "as": "dateTime", "format": "dateOnly"}
            if kind == "dateOnly"
            else {"field": name.capitalize(), "as": kind}
            for name, (_, kind, _, _) in SHAPE.items()
        }
        definition = SyncDefinition.model_validate(
            {
                "source": {"postgres": "erp", "table": "public.wide"},
                "target": {"graph": "contoso", "site": "contoso.sharepoint.com"},
                "list": "Wide",
                "fields": fields,
            }
        )
        self.sync: CompiledSync = compiled_sync.compile_sync(
            "wide", definition, read_columns(connection, "public", "wide")
        )
        self.binding: Binding = self.sync.bind(("id", *SHAPE))
        self.backwards = Backwards(self.sync)

    def insert(self, row: Mapping[str, Any]) -> tuple[str | None, ...]:
        """Makes a row of what is given; its columns as the server prints them. Every value is sent as text."""
        names = sql.SQL(", ").join(map(sql.Identifier, row))
        places = sql.SQL(", ").join(sql.Placeholder() * len(row))
        statement = sql.SQL("INSERT INTO wide ({}) VALUES ({}) RETURNING *").format(names, places)
        result = self.connection.execute(statement, list(row.values()))
        assert result.pgresult is not None
        raw = [result.pgresult.get_value(0, column) for column in range(len(SHAPE) + 1)]
        return tuple(None if value is None else value.decode() for value in raw)

    def lists_columns(self, text_type: str) -> dict[str, ColumnDefinition]:
        """The list's columns as they are provisioned; notes may have been made rich text by hand."""
        return {one.name: make_column(one.name, _facet(one, text_type)) for one in self.sync.list_columns()}


def _facet(column: ListColumn, text_type: str) -> dict[str, Any]:
    facets: dict[str, tuple[str, dict[str, Any]]] = {
        "text": ("text", {}),
        "note": ("text", {"allowMultipleLines": True, "textType": text_type}),
        "number": ("number", {}),
        "boolean": ("boolean", {}),
        "dateTime": ("dateTime", {"format": column.format or "dateTime"}),
        "choice": ("choice", {"choices": list(column.choices), "allowTextEntry": not column.choices}),
    }
    name, value = facets[column.kind]
    return {"name": column.name, name: value}


@pytest.fixture(scope="module")
def table(pg: Cluster) -> Iterator[Table]:
    """The table, on a connection with pinned settings."""
    options = " ".join(f"-c {name}={value}" for name, value in PINNED.items())
    with psycopg.connect(pg.create_database("backwards"), autocommit=True, options=options) as connection:
        yield Table(connection)


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return "{" + ",".join(map(str, value)) + "}"
    return None if value is None else str(value)


@settings(max_examples=150, deadline=None)
@given(
    st.fixed_dictionaries({name: st.none() | shape[2] for name, shape in SHAPE.items()}),
    st.sampled_from(ZONES),
    st.booleans(),
    st.sampled_from(("plain", "richText")),
)
def test_what_push_wrote_is_no_edit_and_would_be_the_same_row(
    table: Table, row: dict[str, Any], zone: str, trims: bool, text_type: str
) -> None:
    printed = table.insert({name: _text(value) for name, value in row.items()})
    mapped = table.binding.change_of(printed)
    assume(mapped.fields is not None)
    assert mapped.fields is not None
    switches = Switches(site_time_zone=zone, trim_text=trims, line_breaks="keep")
    rules = ValueRules(switches, lambda _column, _number: True)
    given_fields = {name: value for name, value in table.sync.wire_fields(mapped.fields).items() if value is not None}
    kept = list_values.to_changes(table.lists_columns(text_type), given_fields, rules)
    shown = json.loads(json.dumps({name: value for name, value in kept.items() if value is not None}))
    back = table.backwards.canonical(shown)
    if text_type == "richText" and (table.backwards.same("Words", back["Words"], mapped.fields["Words"]) is False):
        # Words that are markup to rich text: there the item's own value is learnt from the answer to the write.
        event("markup")
        back["Words"] = mapped.fields["Words"]
    if text_type == "richText":
        back["Doc"] = mapped.fields["Doc"]
    assert table.backwards.differing(back, mapped.fields, {}) == {}
    again = table.backwards.to_row(back)
    assert again.refused == ()
    after = table.insert(again.columns)
    remapped = table.binding.change_of(after)
    assert remapped.fields is not None
    assert table.backwards.differing(remapped.fields, mapped.fields, {}) == {}
    exact = [place for place, (*_, lossless) in enumerate(SHAPE.values(), 1) if lossless]
    assert [after[place] for place in exact] == [printed[place] for place in exact]


# --- what people type ---------------------------------------------------------------------------------------------

DIGITS = st.text("0123456789.eE+- ", max_size=14)
TYPED = (
    DIGITS
    | st.from_regex(r"\A[+-]?[0-9]{1,25}(\.[0-9]{1,10})?(e-?[0-9]{1,3})?\Z")
    | st.from_regex(r"\A[0-9]{4}-[01][0-9]-[0-3][0-9]([T ][0-2][0-9]:[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?)?\Z")
    | st.from_regex(r"\A2026-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9] ?(Z|[+-][01][0-9](:?[0-5][0-9])?)\Z")
    | st.sampled_from(("infinity", "-Infinity", "NaN", "today", "now", "31.01.2026", "true", "Yes", "on", "10.1"))
    | st.sampled_from(("sad", "so so", "Sad", "xyz", "2001:DB8::1", "::ffff:1.2.3.4", "10.0.0.1/32"))
    | st.uuids().map(lambda one: str(one).upper())
    | st.uuids().map(lambda one: one.hex)
    | st.ip_addresses().map(lambda one: f"{one}/24")
    | JSON.map(json.dumps)
    | st.text("ab {}[]\",:\u00a0\u2003", max_size=14)
)  # fmt: skip
JUDGED = [name for name, (type_name, *_) in SHAPE.items() if type_name not in ("interval", "integer[]")]
# A float is printed with a digit more where the shortest text lies just between two of them.
REPRINTED = ("doc", "ratio", "ratio_text", "single", "single_text")


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_what_is_taken_is_valid_and_nothing_of_it_changes(table: Table, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(JUDGED))
    kind = SHAPE[name][1]
    typed: st.SearchStrategy[Any] = {
        "number": st.integers() | FLOATS | st.integers(-(10**6), 10**6).map(lambda n: n / 100),
        "boolean": st.booleans(),
        "dateTime": MOMENTS.map(lambda at: at.replace(microsecond=0).isoformat() + "Z"),
        "dateOnly": MOMENTS.map(lambda at: at.date().isoformat() + "T00:00:00Z"),
    }.get(kind, TYPED)
    fields = table.backwards.canonical({name.capitalize(): data.draw(typed)})
    found = table.backwards.to_row({name.capitalize(): fields[name.capitalize()]})
    if found.refused:
        event(f"{kind} refused")
        return
    event(f"{kind} taken")
    (text,) = found.columns.values()
    after = table.insert(found.columns)
    shown = after[1 + list(SHAPE).index(name)]
    if name == "padded" and shown is not None:
        shown = shown.rstrip(" ")
    if SHAPE[name][0] == "boolean" and shown is not None:
        shown = {"t": "true", "f": "false"}[shown]
    if name not in REPRINTED:
        assert shown == text
    remapped = table.binding.change_of(after)
    assert remapped.fields is not None
    if name != "doc":
        assert table.backwards.same(name.capitalize(), remapped.fields[name.capitalize()], fields[name.capitalize()])


@pytest.mark.parametrize(
    "typed",
    [
        "::", "::2", "::1:2", "::102:304/120", "::ffff:0:0", "::FFFF:1.2.3.4", "0:0:0:0:0:FFFE:1:1", "1::2:0:0:0:3",
        "::/0", "1:0:2:3:4:5:6:7", "10.0.0.1/32", "10.0.0.1/8",
    ],
)  # fmt: skip
def test_an_address_is_told_as_the_server_prints_it(table: Table, typed: str) -> None:
    found = table.backwards.to_row({"Address": typed})
    assert table.insert(found.columns)[1 + list(SHAPE).index("address")] == found.columns["address"]
