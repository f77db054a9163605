"""Fixtures: the databases all tests here share, and a bench for each."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from connectors.postgres.connections import open_unproven
from connectors.postgres.table_catalog import read_columns
from demo.postgres import Cluster
from rowtide.catalog import Catalog, ListRef
from rowtide.mapping.compiled_sync import compile_sync
from state import database as db
from state import schema
from tests.integration.reconcile.bench import FIELDS, ORDERS, Bench, write_definition


@pytest.fixture(scope="session")
def databases(pg: Cluster) -> tuple[str, str]:
    """One source and one state database for all tests here: to make them takes longer than any test."""
    source, state = (pg.create_database(f"reconcile_{what}") for what in ("source", "state"))
    schema.upgrade(state)
    return source, state


def empty(owner: psycopg.Connection[Any], state: psycopg.Connection[Any]) -> None:
    """Both databases as they were at first."""
    owner.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    tables = state.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'rowtide' AND tablename NOT LIKE 'alembic%'"
    )
    state.execute("TRUNCATE " + ", ".join(f"rowtide.{name}" for (name,) in tables.fetchall()))


@pytest.fixture
def new_bench(databases: tuple[str, str]) -> Iterator[Callable[..., Bench]]:
    """Makes the bench for a table and a sync's definition; the stream is open in era 1."""
    database, state_dsn = databases
    source, state = open_unproven(database, "test"), db.connect(state_dsn, "test")
    owner = psycopg.connect(database, autocommit=True, options="-c TimeZone=UTC -c DateStyle=ISO")

    def make(table: str = ORDERS, **sync: Any) -> Bench:
        empty(owner, state)
        owner.execute(table)
        definition = write_definition(
            {
                "orders": {
                    "source": {"postgres": "erp", "table": "public.orders"},
                    "target": {"graph": "contoso", "site": "contoso.sharepoint.com:/sites/ops"},
                    "fields": FIELDS,
                    **({} if "lists" in sync else {"list": "Orders"}),
                    **sync,
                }
            }
        )
        compiled = compile_sync("orders", definition.syncs["orders"], read_columns(source, "public", "orders"))
        lists = {title: ListRef(f"list-{title}", "site", "contoso") for title in compiled.titles}
        bench = Bench(
            database, state_dsn, owner, source, state, Catalog(1, definition, {"orders": compiled}, {"orders": lists})
        )
        bench.open_era(1)
        return bench

    with owner, source, state:
        yield make


@pytest.fixture
def bench(new_bench: Callable[..., Bench]) -> Bench:
    """Five orders and nothing in the state database."""
    bench = new_bench()
    bench.owner.execute("INSERT INTO orders SELECT n, 'order ' || n, n, 'paid' FROM generate_series(1, 5) n")
    return bench
