"""How many rows of a table go to each list, so that a person sees the size of a first load.

In: an SQL connection to the source, a compiled sync. Out: rows by list title, exact or estimated. Rule: it
burdens nobody: after `PATIENCE_S` the planner's estimate replaces an exact count; PostgreSQL itself judges the
definition's row filter and lists.
"""

import json
from dataclasses import dataclass

import psycopg
from psycopg import sql

from connectors.postgres.connections import as_source_errors
from rowtide.expressions import syntax
from rowtide.expressions.syntax import Call
from rowtide.mapping.compiled_sync import CompiledSync

PATIENCE_S = 5
_CRC32_SINCE = 180000
"""The first server version that can compute ``hash()`` itself."""


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Rows by list title; ``unlisted`` rows have a value that no list is for."""

    rows: dict[str, int]
    unlisted: int
    exact: bool


def read(connection: psycopg.Connection, sync: CompiledSync) -> RowCounts:
    """The count, exact where it takes no longer than `PATIENCE_S`."""
    try:
        return _counted(connection, sync)
    except psycopg.errors.QueryCanceled:
        return _estimated(connection, sync)


def _table(sync: CompiledSync) -> sql.Composed:
    where = sql.SQL("TRUE") if sync.where is None else sql.SQL(syntax.to_sql(sync.where))
    return sql.SQL("FROM {} WHERE {}").format(sql.Identifier(sync.schema, sync.table), where)


def _counted(connection: psycopg.Connection, sync: CompiledSync) -> RowCounts:
    by = sync.sharding.by
    spread = isinstance(by, Call) and by.function == "hash" and connection.info.server_version < _CRC32_SINCE
    shown = "NULL" if by is None or spread else syntax.to_sql(by)
    query = sql.SQL("SELECT {}::text, count(*) {} GROUP BY 1").format(sql.SQL(shown), _table(sync))
    with connection.transaction():
        connection.execute(f"SET LOCAL statement_timeout = '{PATIENCE_S}s'")
        try:
            counts_by_value = connection.execute(query).fetchall()
        except psycopg.errors.QueryCanceled:
            raise
        except psycopg.Error as error:
            with as_source_errors(f"counting the rows of {sync.schema}.{sync.table}"):
                raise error
    if spread:
        return _spread(sync, sum(int(count) for _, count in counts_by_value), exact=True)
    rows = dict.fromkeys(sync.titles, 0)
    unlisted = 0
    for value, count in counts_by_value:
        title = sync.sharding.map.get(value, sync.sharding.default) if value is not None else sync.sharding.default
        if title is None:
            unlisted += count
        else:
            rows[title] += count
    return RowCounts(rows, unlisted, exact=True)


def _estimated(connection: psycopg.Connection, sync: CompiledSync) -> RowCounts:
    """The planner's estimate, spread evenly, which spares a large source a read of the whole table."""
    with as_source_errors(f"estimating the rows of {sync.schema}.{sync.table}"):
        plan = connection.execute(sql.SQL("EXPLAIN (FORMAT JSON) SELECT 1 {}").format(_table(sync))).fetchone()
    found = plan[0] if plan else []
    tree = json.loads(found) if isinstance(found, str) else found
    return _spread(sync, int(tree[0]["Plan"]["Plan Rows"]), exact=False)


def _spread(sync: CompiledSync, count: int, exact: bool) -> RowCounts:
    share, rest = divmod(count, len(sync.titles))
    return RowCounts({title: share + (place < rest) for place, title in enumerate(sync.titles)}, 0, exact)
