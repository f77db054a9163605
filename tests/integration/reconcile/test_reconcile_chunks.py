"""Reads of the source: pgoutput's very text, every row once in key order, the snapshot of the read, no hidden rows."""

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from connectors.postgres import table_pages
from connectors.postgres.connections import open_unproven
from flows.source_table import Table
from rowtide.errors import SourceRefused, SourceUnavailable, SyncError
from rowtide.keys import row_key

TYPES = {
    "flag": ("boolean", "true"),
    "padded": ("character(8)", "'ab'"),
    "address": ("inet", "'10.0.0.1'"),
    "net": ("cidr", "'10.0.0.0/8'"),
    "small": ("smallint", "-3"),
    "money_": ("numeric(12,4)", "12.5000"),
    "free": ("numeric", "1e-7"),
    "single": ("real", "0.1"),
    "double_": ("double precision", "1/3.0"),
    "day": ("date", "'2026-02-03'"),
    "at": ("timestamptz", "'2026-02-03 04:05:06.789+02'"),
    "local": ("timestamp(0)", "'2026-02-03 04:05:06.789'"),
    "took": ("interval", "'1 year 2 mons 3 days 04:05:06'"),
    "bytes": ("bytea", "'\\x00ff'"),
    "doc": ("jsonb", '\'{"b": [1, null], "a": "x\\ty"}\''),
    "raw": ("json", "'{\"b\":1 }'"),
    "names": ("text[]", "ARRAY['a', NULL, 'b,c', '\"']"),
    "flags": ("boolean[]", "ARRAY[true, false, NULL]"),
    "id_": ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"),
    "kind": ("order_kind", "'big one'"),
    "limited": ("positive", "7"),
    "span": ("int4range", "'[1,5)'"),
    "bits": ("bit(3)", "'101'"),
    "xml_like": ("text", "E'tab\\t newline\\n back\\\\slash'"),
    "nothing": ("text", "NULL"),
}


def texts_of_pgoutput(data: bytes) -> tuple[str | None, ...]:
    """The values of an Insert message."""
    [count] = struct.unpack_from(">H", data, 6)
    place = 8
    values: list[str | None] = []
    for _ in range(count):
        kind, place = data[place : place + 1], place + 1
        if kind == b"n":
            values.append(None)
            continue
        [length] = struct.unpack_from(">I", data, place)
        values.append(data[place + 4 : place + 4 + length].decode())
        place += 4 + length
    return tuple(values)


def test_values_are_the_text_that_pgoutput_sends(new_bench: Callable[..., Any]) -> None:
    columns = ", ".join(f"{name} {type_name}" for name, (type_name, _) in TYPES.items())
    bench = new_bench(
        "CREATE TYPE order_kind AS ENUM ('small', 'big one'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);"
        f"CREATE TABLE orders (id bigint PRIMARY KEY, title text, {columns});"
        "CREATE PUBLICATION everything FOR TABLE orders;",
        fields={"title": "Title"},
    )
    bench.owner.execute("SELECT pg_create_logical_replication_slot('texts', 'pgoutput')")
    try:
        values = ", ".join(expression for _, expression in TYPES.values())
        bench.owner.execute(f"INSERT INTO orders VALUES (1, 'a', {values})")
        messages = bench.owner.execute(
            "SELECT data FROM pg_logical_slot_peek_binary_changes('texts', NULL, NULL, 'proto_version', '1',"
            " 'publication_names', 'everything') WHERE get_byte(data, 0) = ascii('I')"
        ).fetchall()
    finally:
        bench.owner.execute("SELECT pg_drop_replication_slot('texts')")
    streamed = dict(zip(["id", "title", *TYPES], texts_of_pgoutput(messages[0][0]), strict=True))
    compiled = replace(bench.catalog.syncs["orders"], select_columns=("id", "title", *TYPES))
    page = table_pages.read_page(bench.source, compiled, table_pages.read_keyset(bench.source, compiled), None, 10)
    read = dict(zip(compiled.select_columns, page.rows[0], strict=True))
    assert read == streamed
    assert read["flag"] == "t"
    assert read["padded"] == "ab      "


@pytest.mark.parametrize("limit", [1, 7, 50, 1000])
def test_pages_have_every_row_once_in_key_order(new_bench: Callable[..., Any], limit: int) -> None:
    bench = new_bench(
        'CREATE TABLE orders ("Group" text, day date, n numeric, title text, amount numeric, status text,'
        ' PRIMARY KEY (day, "Group", n))'
    )
    bench.owner.execute(
        "INSERT INTO orders SELECT chr(64 + i % 5), date '2026-01-01' + i % 3, i / 10.0, 'x', i, 's'"
        " FROM generate_series(1, 120) i"
    )
    compiled = bench.catalog.syncs["orders"]
    keyset = table_pages.read_keyset(bench.source, compiled)
    assert keyset.columns == ("day", "Group", "n")
    seen, after = [], None
    while True:
        page = table_pages.read_page(bench.source, compiled, keyset, after, limit)
        seen += [tuple(row[compiled.select_columns.index(name)] for name in keyset.columns) for row in page.rows]
        if page.last is None:
            break
        after = page.last
    expected = bench.owner.execute(
        'SELECT day::text, "Group", n::text FROM orders o ORDER BY o.day, o."Group", o.n'
    ).fetchall()
    assert seen == expected


def test_a_page_ends_at_a_bound(bench: Any) -> None:
    compiled = bench.catalog.syncs["orders"]
    keyset = table_pages.read_keyset(bench.source, compiled)
    page = table_pages.read_page(bench.source, compiled, keyset, ("1",), 10, ("3",))
    assert [row[0] for row in page.rows] == ["2", "3"]
    assert page.last is None


def test_a_page_of_wide_rows_is_bounded_in_bytes(bench: Any) -> None:
    compiled = bench.catalog.syncs["orders"]
    assert not table_pages.read_keyset(bench.source, compiled).wide
    bench.source.execute(
        "INSERT INTO public.orders SELECT n, repeat(md5(n::text), 31250), n, 'paid' FROM generate_series(6, 25) n"
    )
    keyset = table_pages.read_keyset(bench.source, compiled)
    assert keyset.wide
    pages: list[table_pages.Page] = []
    while not pages or pages[-1].last is not None:
        pages.append(table_pages.read_page(bench.source, compiled, keyset, pages[-1].last if pages else None, 1000))
    sizes = [sum(len(value) for row in page.rows for value in row if value) for page in pages]
    assert max(sizes) < 2 * table_pages.PAGE_BYTES
    assert len(pages) <= 4
    assert [row[0] for page in pages for row in page.rows] == [str(number) for number in range(1, 26)]
    assert bench.source.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_a_page_of_wide_rows_ends_at_its_rows_and_at_a_bound(bench: Any) -> None:
    compiled = bench.catalog.syncs["orders"]
    keyset = replace(table_pages.read_keyset(bench.source, compiled), wide=True)
    read = table_pages.read_page
    assert [row[0] for row in read(bench.source, compiled, keyset, None, 2).rows] == ["1", "2"]
    assert read(bench.source, compiled, keyset, None, 5).last == ("5",)
    assert read(bench.source, compiled, keyset, ("5",), 5).rows == []
    assert read(bench.source, compiled, keyset, ("1",), 10, ("3",)).last is None


def test_wide_rows_that_are_read_by_key_are_bounded_in_bytes(bench: Any) -> None:
    compiled = bench.catalog.syncs["orders"]
    bench.source.execute(
        "INSERT INTO public.orders SELECT n, repeat(md5(n::text), 31250), n, 'paid' FROM generate_series(6, 25) n"
    )
    keyset = table_pages.read_keyset(bench.source, compiled)
    keys = ["999", *(str(number) for number in range(25, 0, -1))]
    found = table_pages.read_rows(bench.source, compiled, keyset, keys)
    assert set(found.rows) == set(keys[1 : found.asked])
    assert sum(len(value) for row in found.rows.values() for value in row if value) < 2 * table_pages.PAGE_BYTES
    assert 5 < found.asked < 20
    assert bench.source.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_a_row_whose_table_has_wide_ones_is_looked_for_by_where(new_bench: Callable[..., Any]) -> None:
    """Every key is asked about, in as many reads as it takes."""
    bench = new_bench(where="status <> 'void'")
    bench.source.execute(
        "INSERT INTO public.orders SELECT n, repeat(md5(n::text), 31250), n, (ARRAY['void', 'paid'])[n % 2 + 1]"
        "  FROM generate_series(6, 35) n"
    )
    table = Table(bench.source, bench.catalog.syncs["orders"], lambda _: None)
    keys = [str(number) for number in range(6, 40)]
    assert len(list(table.read_rows(keys))) > 1
    assert table.absent(keys)[1] == [key for key in keys if int(key) % 2 == 0 or int(key) > 35]


def test_the_snapshot_is_that_of_the_read(bench: Any) -> None:
    compiled = bench.catalog.syncs["orders"]
    keyset = table_pages.read_keyset(bench.source, compiled)
    with psycopg.connect(bench.source_dsn) as other:
        [(xid,)] = other.execute("SELECT pg_current_xact_id()::text::bigint").fetchall()
        other.execute("UPDATE orders SET title = 'new' WHERE id = 1")
        before = table_pages.read_page(bench.source, compiled, keyset, None, 1)
        other.commit()
    after = table_pages.read_page(bench.source, compiled, keyset, None, 1)
    assert (before.snapshot.sees(xid), before.rows[0][1]) == (False, "order 1")
    assert (after.snapshot.sees(xid), after.rows[0][1]) == (True, "new")
    assert bench.source.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_rows_are_found_under_their_own_text_only(new_bench: Callable[..., Any]) -> None:
    bench = new_bench(
        "CREATE EXTENSION citext;CREATE TABLE orders (id citext PRIMARY KEY, title text, amount numeric, status text)"
    )
    bench.owner.execute("INSERT INTO orders VALUES ('Abc', 't', 1, 'x')")
    compiled = bench.catalog.syncs["orders"]
    keyset = table_pages.read_keyset(bench.source, compiled)
    found = table_pages.read_rows(bench.source, compiled, keyset, ["abc", "Abc", "none"])
    assert (list(found.rows), found.asked) == (["Abc"], 3)
    assert found.snapshot.xmin > 0


@pytest.mark.parametrize("key", ["(id, n)", "(n, id)", "(id)"], ids=["first", "second", "alone"])
@pytest.mark.parametrize("kind", ["ext.citext", "ext.word"], ids=["citext", "a domain over it"])
def test_a_key_whose_operators_are_an_extensions(new_bench: Callable[..., Any], key: str, kind: str) -> None:
    """Their schema is in no search path; compared as text, B would come before a."""
    bench = new_bench(
        "DROP SCHEMA IF EXISTS ext CASCADE; CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext;"
        "CREATE DOMAIN ext.word AS ext.citext;"
        f"CREATE TABLE orders (id {kind}, n int, title text, amount numeric, status text, PRIMARY KEY {key});"
        "INSERT INTO orders SELECT w, 1, w, 1, 'x' FROM unnest('{a,B,c,D,e}'::text[]) AS w"
    )
    compiled = bench.catalog.syncs["orders"]
    keyset = table_pages.read_keyset(bench.source, compiled)
    found, after = [], None
    while True:
        page = table_pages.read_page(bench.source, compiled, keyset, after, 2)
        found += [row[compiled.select_columns.index("title")] for row in page.rows]
        if page.last is None:
            break
        after = page.last
    assert found == ["a", "B", "c", "D", "e"]
    last = tuple({"id": "c", "n": "1"}[column] for column in keyset.columns)
    bounded = table_pages.read_page(bench.source, compiled, keyset, None, 10, last)
    assert [row[compiled.select_columns.index("title")] for row in bounded.rows] == ["a", "B", "c"]
    asked = ["a"] if key == "(id)" else [row_key(["a", "1"] if key == "(id, n)" else ["1", "a"])]
    assert list(table_pages.read_rows(bench.source, compiled, keyset, asked).rows) == asked


def test_row_security_that_would_hide_rows_is_an_error(bench: Any) -> None:
    bench.owner.execute("DROP ROLE IF EXISTS rowtide_reader")
    bench.owner.execute(
        "CREATE ROLE rowtide_reader LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA public TO rowtide_reader;"
        "GRANT SELECT ON orders TO rowtide_reader; ALTER TABLE orders ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY few ON orders USING (id < 3)"
    )
    compiled = bench.catalog.syncs["orders"]
    parts = {**psycopg.conninfo.conninfo_to_dict(bench.source_dsn), "user": "rowtide_reader", "password": "x"}
    with open_unproven(psycopg.conninfo.make_conninfo("", **parts)) as reader:
        keyset = table_pages.read_keyset(reader, compiled)
        with pytest.raises(SourceRefused) as refused:
            table_pages.read_page(reader, compiled, keyset, None, 10)
        assert refused.value.code == "row_security"
        with pytest.raises(SourceRefused):
            table_pages.read_rows(reader, compiled, keyset, ["4"])
    bench.owner.execute("DROP OWNED BY rowtide_reader; DROP ROLE rowtide_reader")


def test_a_table_that_is_gone_is_a_relation_mismatch(bench: Any) -> None:
    bench.owner.execute("DROP TABLE orders")
    with pytest.raises(SyncError) as error:
        table_pages.read_keyset(bench.source, bench.catalog.syncs["orders"])
    assert error.value.code == "relation_mismatch"


def test_a_table_that_is_being_altered_is_tried_again_later(bench: Any) -> None:
    compiled = bench.catalog.syncs["orders"]
    keyset = table_pages.read_keyset(bench.source, compiled)
    with psycopg.connect(bench.source_dsn) as other:
        other.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(SourceUnavailable):
            table_pages.read_page(bench.source, compiled, keyset, None, 10)
        other.rollback()
    assert len(table_pages.read_page(bench.source, compiled, keyset, None, 10).rows) == 5
