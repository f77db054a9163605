"""What holds of the mapping whatever rows, values and histories come."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import orjson
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.postgres import Cluster
from rowtide.change import Change, JsonValue, fold
from rowtide.definition.model import SyncDefinition
from rowtide.errors import RowError
from rowtide.mapping import compiled_sync
from rowtide.mapping.binding import Binding
from rowtide.mapping.columns import MappedColumn, SourceColumn
from rowtide.transaction import UNCHANGED, Relation, Row, Text

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=300)
MOMENTS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 30))  # noqa: DTZ001 - PostgreSQL's text has the zone
DECIMALS = st.decimals(-(10**20), 10**20, allow_nan=False, places=6).map(str) | st.just("NaN")


def sync_of(fields: dict[str, str], **more: object) -> SyncDefinition:
    """A sync of public.orders with these columns as these kinds."""
    return SyncDefinition.model_validate(
        {
            "source": {"postgres": "erp", "table": "public.orders"},
            "target": {"graph": "contoso", "site": "contoso.sharepoint.com"},
            "fields": {name: {"field": f"F{place}", "as": kind} for place, (name, kind) in enumerate(fields.items())},
            **({} if "lists" in more else {"list": "Orders"}),
            **more,
        }
    )


# --- the stream and a read give the same ------------------------------------------------------------------------

SHAPE: dict[str, tuple[str, str, st.SearchStrategy[Any]]] = {
    "id": ("uuid", "text", st.uuids().map(str)),
    "words": ("text", "note", TEXTS),
    "padded": ("character(5)", "text", st.text("ab ", max_size=5)),
    "yes": ("boolean", "boolean", st.booleans().map(str)),
    "yes_text": ("boolean", "choice", st.booleans().map(str)),
    "address": ("inet", "text", st.ip_addresses().map(str)),
    "whole": ("bigint", "number", st.integers(-(2**63), 2**63 - 1).map(str)),
    "amount": ("numeric", "number", DECIMALS),
    "ratio": ("double precision", "number", st.floats(allow_subnormal=False).map(str)),
    "at": ("timestamp with time zone", "dateTime", MOMENTS.map(lambda at: at.isoformat() + "+03:30")),
    "local": ("timestamp without time zone", "dateTime", MOMENTS.map(datetime.isoformat)),
    "day": ("date", "dateTime", MOMENTS.map(lambda at: at.date().isoformat())),
    "doc": ("jsonb", "note", st.sampled_from(('{"a": 1}', "[]", "null", '"x"'))),
    "tags": ("integer[]", "text", st.lists(st.integers(0, 9), max_size=3)),
}  # fmt: skip


@pytest.fixture(scope="module")
def server(pg: Cluster) -> Iterator[psycopg.Connection[Any]]:
    """A connection with pinned settings."""
    options = "-c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=postgres -c extra_float_digits=3 -c bytea_output=hex"
    with psycopg.connect(pg.create_database("mapping"), autocommit=True, options=options) as connection:
        yield connection


@settings(max_examples=150, deadline=None)
@given(st.fixed_dictionaries({name: st.none() | values for name, (_, _, values) in SHAPE.items()}), st.uuids())
def test_the_stream_and_a_read_give_the_same(server: psycopg.Connection[Any], row: dict[str, Any], key: object) -> None:
    row["id"] = str(key)
    values = ", ".join(f"%s::{type_name} AS {name}" for name, (type_name, _, _) in SHAPE.items())
    casts = ", ".join(f"{name}::text" for name in SHAPE)
    result = server.execute(
        f"SELECT {', '.join(SHAPE)}, {casts} FROM (SELECT {values}) AS t".encode(), [row[name] for name in SHAPE]
    )
    assert result.pgresult is not None
    raw = [result.pgresult.get_value(0, column) for column in range(2 * len(SHAPE))]
    texts = tuple(None if value is None else value.decode() for value in raw)
    printed, cast = texts[: len(SHAPE)], texts[len(SHAPE) :]
    columns = [SourceColumn(name, shape[0], 0, name == "id", int(name == "id")) for name, shape in SHAPE.items()]
    sync = compiled_sync.compile_sync("orders", sync_of({name: shape[1] for name, shape in SHAPE.items()}), columns)
    binding = sync.bind(list(SHAPE))
    relation = Relation(1, "public", "orders", "d", tuple(SHAPE), ("id",), (0,) * len(SHAPE))
    (change,) = binding.changes(Row(0, relation, "I", printed, None, None), 1, 2, 3, 0)
    mapped = binding.change_of(printed)
    assert mapped == binding.change_of(cast)
    assert (change.key, change.op, change.target, change.fields, change.park) == mapped
    if mapped.fields is not None:
        assert orjson.loads(orjson.dumps(mapped.fields)) == mapped.fields
        assert sync.differing(mapped.fields, mapped.fields, {}) == {}
        shown = {name: value for name, value in sync.wire_fields(mapped.fields).items() if value is not None}
        assert sync.differing(mapped.fields, sync.item_fields(shown), {}) == {}


# --- dates ------------------------------------------------------------------------------------------------------


@given(st.dates(datetime(1901, 1, 1).date(), datetime(8900, 1, 1).date()), st.integers(-10 * 4, 13 * 4))  # noqa: DTZ001
def test_a_date_survives_a_site_in_any_zone(day: Any, quarters: int) -> None:
    """SharePoint cuts what is written to the site's local date, and shows that date's local midnight in UTC."""
    zone = timezone(timedelta(minutes=15 * quarters))
    column = MappedColumn("c", "C", "dateTime", "date", format="dateOnly")
    value = column.canonical()(day.isoformat())
    written = datetime.fromisoformat(str(column.to_wire(value)))
    midnight = datetime.combine(written.astimezone(zone).date(), datetime.min.time(), zone)
    assert column.from_wire(midnight.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")) == value


# --- numbers ----------------------------------------------------------------------------------------------------


@given(DECIMALS)
def test_a_number_is_exact_or_refused(text: str) -> None:
    """What the list holds, printed to 15 digits, is the number PostgreSQL had; a number that cannot be is refused."""
    column = MappedColumn("c", "C", "number", "numeric")
    digits = text.strip("-0").replace(".", "").strip("0")
    if text == "NaN" or len(digits) > 15:
        with pytest.raises(RowError) as refused:
            column.canonical()(text)
        assert refused.value.code == "type_unrepresentable"
        assert text not in str(refused.value)
    else:
        value = column.canonical()(text)
        assert isinstance(value, int | float)
        assert Decimal(f"{value:.15g}") == Decimal(text)


# --- histories --------------------------------------------------------------------------------------------------

TABLE = ("id", "status", "region", "notes")
SYNC = sync_of(
    {"status": "choice", "notes": "note"},
    where="status <> 'draft'",
    lists={"by": "region", "map": {"EU": "Orders EU"}, "default": "Orders Other"},
)
Values = tuple[str, str | None, str | None, str | None]
ids = st.sampled_from("12345")
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("I"), ids, st.sampled_from(("draft", "open", None)), st.sampled_from(("EU", "US", None))),
        st.tuples(st.just("U"), ids, st.sampled_from(("status", "region", "notes", "nothing")), st.sampled_from("abc")),
        st.tuples(st.just("K"), ids, ids, st.none()),
        st.tuples(st.just("D"), ids, st.none(), st.none()),
    ),
    max_size=30,
)


def stream(actions: list[Any], identity: str, relation: Relation) -> tuple[list[Row], dict[str, Values]]:
    """The rows pgoutput sends for a history (``notes`` is TOASTed), and the table it leaves."""
    table: dict[str, Values] = {}
    rows: list[Row] = []
    for action, key, first, second in actions:
        before = table.get(key)
        if action == "I" and before is None:
            after: Values | None = (key, first, second, "a")
        elif action == "U" and before is not None:
            place = TABLE.index(first) if first in TABLE else None
            after = tuple(second if at == place else value for at, value in enumerate(before))  # type: ignore[assignment]
        elif action == "K" and before is not None and first not in table:
            after = (first, *before[1:])
        elif action == "D" and before is not None:
            after = None
        else:
            continue
        table.pop(key, None)
        if after is not None:
            table[after[0]] = after
        rows.append(_row(len(rows), relation, before, after, identity))
    return rows, table


def _row(ordinal: int, relation: Relation, before: Values | None, after: Values | None, identity: str) -> Row:
    new: tuple[Text, ...] | None = after
    if before is not None and after is not None and before[3] == after[3]:
        new = (*after[:3], UNCHANGED)
    old: tuple[Text, ...] | None = None
    if before is not None and identity == "f":
        old = before
    elif before is not None and (after is None or after[0] != before[0]):
        old = (before[0], None, None, None)
    op = "I" if before is None else "D" if after is None else "U"
    return Row(ordinal, relation, op, new, old, None if old is None else "O" if identity == "f" else "K")  # type: ignore[arg-type]


@given(ACTIONS, st.sampled_from("df"), st.booleans())
def test_the_last_change_of_a_key_says_what_the_table_holds(
    actions: list[Any], identity: str, deferrable: bool
) -> None:
    columns = [SourceColumn(name, "text", 25, name == "id", int(name == "id"), deferrable) for name in TABLE]
    binding = compiled_sync.compile_sync("orders", SYNC, columns).bind(TABLE)
    relation = Relation(1, "public", "orders", identity, TABLE, ("id",), (25,) * 4)
    rows, table = stream(actions, identity, relation)
    folded: dict[str, Change] = {}
    for row in rows:
        for change in binding.changes(row, 1, 2, 3, 0):
            folded[change.key] = fold(folded[change.key], change) if change.key in folded else change
    assert set(table) <= set(folded)
    for key, change in folded.items():
        _agrees(change, table.get(key), binding)


def _agrees(change: Change, values: Values | None, binding: Binding) -> None:
    """The folded change leads to what a read of the row says; a refresh is that read."""
    if change.op == "r":
        return
    if values is None:
        assert change.op == "d"
        return
    mapped = binding.change_of(values)
    assert (change.op, change.target, change.park) == (mapped.op, mapped.target, mapped.park)
    known: dict[str, JsonValue] = change.fields or {}
    assert known == {name: value for name, value in (mapped.fields or {}).items() if name in known}
    assert change.partial or known == (mapped.fields or {})
