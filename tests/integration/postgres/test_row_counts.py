"""Rows by list, as the source counts them."""

from collections.abc import Iterator

import psycopg
import pytest

from connectors.postgres import connections, row_counts
from rowtide.definition import model
from rowtide.errors import SourceRefused
from rowtide.mapping.columns import SourceColumn
from rowtide.mapping.compiled_sync import CompiledSync, compile_sync

COLUMNS = [
    SourceColumn("id", "bigint", 20, True, key=1),
    SourceColumn("region", "text", 25, False),
    SourceColumn("status", "text", 25, False),
]


def compiled(**more: object) -> CompiledSync:
    sync = {
        "source": {"postgres": "erp", "table": "public.orders"},
        "target": {"graph": "c", "site": "c.sharepoint.com"},
        "fields": {"region": "Title"},
        **more,
    }
    return compile_sync("orders", model.SyncDefinition.model_validate(sync), COLUMNS)


@pytest.fixture
def source(database: str) -> Iterator[psycopg.Connection]:
    connection = connections.open_unproven(database)
    connection.execute("CREATE TABLE public.orders (id bigint PRIMARY KEY, region text, status text)")
    connection.execute(
        "INSERT INTO public.orders "
        "SELECT i, (ARRAY['EU', 'US', 'JP', NULL])[1 + i % 4], (ARRAY['draft', 'new'])[1 + i % 2] "
        "FROM generate_series(1, 400) i"
    )
    connection.execute("ANALYZE public.orders")
    yield connection
    connection.close()


def test_lists_by_map_and_default(source: psycopg.Connection) -> None:
    lists = {"by": "region", "map": {"EU": "Europe", "US": "States"}, "default": "Other"}
    found = row_counts.read(source, compiled(lists=lists, where="status <> 'draft'"))
    assert (found.rows, found.unlisted, found.exact) == ({"Europe": 0, "States": 100, "Other": 100}, 0, True)


def test_rows_without_a_list_are_told(source: psycopg.Connection) -> None:
    found = row_counts.read(source, compiled(lists={"by": "region", "map": {"EU": "Europe"}}))
    assert (found.rows, found.unlisted) == ({"Europe": 100}, 300)


def test_a_hash_spreads_every_row(source: psycopg.Connection) -> None:
    found = row_counts.read(source, compiled(lists={"by": "hash(id, 8)", "name": "Orders {}"}))
    assert (len(found.rows), sum(found.rows.values())) == (8, 400)
    assert min(found.rows.values()) > 20


def test_a_long_count_becomes_an_estimate(source: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_counts, "PATIENCE_S", 1)
    source.execute("ALTER TABLE public.orders RENAME TO rows")
    source.execute("CREATE VIEW public.orders AS SELECT * FROM public.rows WHERE pg_sleep(0.01)::text = ''")
    found = row_counts.read(source, compiled(list="Orders"))
    assert found.exact is False
    assert found.rows["Orders"] > 0


def test_a_table_that_may_not_be_read(source: psycopg.Connection) -> None:
    source.execute("DROP TABLE public.orders")
    with pytest.raises(SourceRefused):
        row_counts.read(source, compiled(list="Orders"))
