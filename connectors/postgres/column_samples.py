"""What the values of a table's columns look like, for `init` to propose a kind by.

In: an SQL connection to the source, a table, names of columns. Out: a `ColumnSample` by column. Rule: it burdens
nobody: the first `ROWS` rows within `PATIENCE_S`; a table that cannot be read so soon, or not by this role, has no
samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import errors, sql

from connectors.postgres.connections import as_source_errors
from rowtide import table_name

ROWS = 10_000
PATIENCE_S = 5
MOST_COLUMNS = 300
"""PostgreSQL answers with at most 1,664 values, and each column asks for five."""


@dataclass(frozen=True, slots=True)
class ColumnSample:
    """Of the values seen that are not NULL: how many, the length of the longest text, the most significant digits.

    ``lines``: one has a line break. ``odd``: one has more in it than digits, a point and a minus sign.
    """

    values: int
    longest: int
    digits: int
    lines: bool = False
    odd: bool = False


_LOOK = sql.SQL(
    r"count({0}), coalesce(max(length({0}::text)), 0), "
    r"coalesce(max(length(btrim(replace(ltrim({0}::text, '-'), '.', ''), '0'))), 0), "
    r"coalesce(bool_or({0}::text ~ E'[\n\r]'), false), coalesce(bool_or({0}::text ~ '[^0-9.-]'), false)"
)
_EACH = 5


def read(connection: psycopg.Connection, schema: str, table: str, columns: Sequence[str]) -> dict[str, ColumnSample]:
    """The samples of these columns."""
    looked = list(columns)[:MOST_COLUMNS]
    if not looked:
        return {}
    query = statement(schema, table, looked)
    with as_source_errors(f"looking at the rows of {table_name.to_text(schema, table)}"):
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL statement_timeout = '{PATIENCE_S}s'")
                found = connection.execute(query).fetchone() or ()
        except (errors.QueryCanceled, errors.InsufficientPrivilege):
            return {}
    values = [found[at : at + _EACH] for at in range(0, len(found), _EACH)]
    return {name: ColumnSample(*of_column) for name, of_column in zip(looked, values, strict=True)}


def statement(schema: str, table: str, columns: Sequence[str]) -> sql.Composed:
    """The query over the first rows; it is run without parameters, so a percent sign in a name is one."""
    looks = sql.SQL(", ").join(_LOOK.format(sql.Identifier("s", name)) for name in columns)
    return sql.SQL("SELECT {} FROM (SELECT * FROM {} LIMIT {}) AS s").format(
        looks, sql.Identifier(schema, table), sql.Literal(ROWS)
    )
