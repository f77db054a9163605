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


Places = dict[tuple[str | None, str | None], int]
"""Rows by the title of the list where they were and of the one where they belong now; None: in no list."""


def read(connection: psycopg.Connection, sync: CompiledSync) -> RowCounts:
    """The count, exact where it takes no longer than `PATIENCE_S`."""
    try:
        return _counted(connection, sync)
    except psycopg.errors.QueryCanceled:
        return estimate(connection, sync)


def read_places(connection: psycopg.Connection, old: CompiledSync, new: CompiledSync) -> Places | None:
    """How many rows another definition of a sync moves; None where PostgreSQL cannot tell so soon."""
    by_old, by_new = _by(connection, old), _by(connection, new)
    if by_old is None or by_new is None:
        return None
    in_old, in_new = _condition(old), _condition(new)
    query = sql.SQL("SELECT {}, {}::text, {}, {}::text, count(*) FROM {} WHERE {} OR {} GROUP BY 1, 2, 3, 4").format(
        in_old, by_old, in_new, by_new, sql.Identifier(new.schema, new.table), in_old, in_new
    )
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL statement_timeout = '{PATIENCE_S}s'")
            found = connection.execute(query).fetchall()
    except (psycopg.errors.QueryCanceled, psycopg.ProgrammingError):
        return None  # what decided before may not be there any more
    except psycopg.Error as error:
        with as_source_errors(f"counting the rows of {new.table_text}"):
            raise error
    places: Places = {}
    for was_in, old_value, is_in, new_value, count in found:
        place = (_title(old, old_value) if was_in else None, _title(new, new_value) if is_in else None)
        places[place] = places.get(place, 0) + count
    return places


def _title(sync: CompiledSync, value: str | None) -> str | None:
    """The title of the list for a value of the sync's expression; None when it has none."""
    return sync.sharding.default if value is None else sync.sharding.map.get(value, sync.sharding.default)


def _by(connection: psycopg.Connection, sync: CompiledSync) -> sql.Composable | None:
    """The value that decides on the list, as SQL; None where the server cannot compute it."""
    by = sync.sharding.by
    if isinstance(by, Call) and by.function == "hash" and connection.info.server_version < _CRC32_SINCE:
        return None
    return sql.SQL("NULL" if by is None else syntax.to_sql(by))


def _condition(sync: CompiledSync) -> sql.Composable:
    """Whether a row is the sync's, as SQL."""
    return sql.SQL("TRUE" if sync.where is None else f"(({syntax.to_sql(sync.where)}) IS TRUE)")


def _table(sync: CompiledSync) -> sql.Composed:
    return sql.SQL("FROM {} WHERE {}").format(sql.Identifier(sync.schema, sync.table), _condition(sync))


def _counted(connection: psycopg.Connection, sync: CompiledSync) -> RowCounts:
    by = _by(connection, sync)
    query = sql.SQL("SELECT {}::text, count(*) {} GROUP BY 1").format(by or sql.SQL("NULL"), _table(sync))
    with connection.transaction():
        connection.execute(f"SET LOCAL statement_timeout = '{PATIENCE_S}s'")
        try:
            counts_by_value = connection.execute(query).fetchall()
        except psycopg.errors.QueryCanceled:
            raise
        except psycopg.Error as error:
            with as_source_errors(f"counting the rows of {sync.table_text}"):
                raise error
    if by is None:
        return _spread(sync, sum(int(count) for _, count in counts_by_value), exact=True)
    rows = dict.fromkeys(sync.titles, 0)
    unlisted = 0
    for value, count in counts_by_value:
        title = _title(sync, value)
        if title is None:
            unlisted += count
        else:
            rows[title] += count
    return RowCounts(rows, unlisted, exact=True)


def estimate(connection: psycopg.Connection, sync: CompiledSync) -> RowCounts:
    """The planner's estimate, spread evenly, which spares a large source a read of the whole table."""
    with as_source_errors(f"estimating the rows of {sync.table_text}"):
        plan = connection.execute(sql.SQL("EXPLAIN (FORMAT JSON) SELECT 1 {}").format(_table(sync))).fetchone()
    found = plan[0] if plan else []
    tree = json.loads(found) if isinstance(found, str) else found
    return _spread(sync, int(tree[0]["Plan"]["Plan Rows"]), exact=False)


def _spread(sync: CompiledSync, count: int, exact: bool) -> RowCounts:
    share, rest = divmod(count, len(sync.titles))
    return RowCounts({title: share + (place < rest) for place, title in enumerate(sync.titles)}, 0, exact)
