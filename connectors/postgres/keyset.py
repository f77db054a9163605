"""The order in which a table is read, and the conditions on its key that statements are composed of.

In: the key's columns with their types. Out: `Keyset`, composed SQL. Rule: values stand in statements as the server's
own ``$1``, because psycopg would look for its ``%s`` inside names too; an operator of an extension's type carries its
schema, because sessions search none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

from psycopg import sql


@dataclass(frozen=True, slots=True)
class Keyset:
    """The order in which a table is read: its key columns as the index over them has them, with their types.

    ``types`` are ``format_type`` with the modifier (``character`` alone would mean ``character(1)``); ``schemas`` are
    those of their comparison operators (an extension's type has its own); ``estimate`` is the approximate number of
    rows; ``wide`` says that there are rows of more than a block, with values out of line.
    """

    relation: sql.Identifier
    columns: tuple[str, ...]
    types: tuple[str, ...]
    schemas: tuple[str, ...]
    estimate: int
    wide: bool = False


def matching(keyset: Keyset) -> sql.Composed:
    """Rows whose key is among the given ones: one array of text per key column."""
    if len(keyset.columns) == 1 and not keyset.types[0].endswith("[]"):
        array = sql.SQL("{}[]").format(_type(keyset.types[0]))
        equal = _operator("=", keyset.schemas[0])
        column = sql.Identifier(keyset.columns[0])
        return sql.SQL("WHERE {} {} ANY (CAST($1::text[] AS {}))").format(column, equal, array)
    aliases = [sql.Identifier(f"k{place}") for place in range(len(keyset.columns))]
    arrays = sql.SQL(", ").join(sql.SQL("{}::text[]").format(_value(place)) for place in range(len(aliases)))
    conditions = [
        sql.SQL("t.{} {} CAST(asked.{} AS {})").format(
            sql.Identifier(column), _operator("=", schema), name, _type(type_name)
        )
        for column, name, type_name, schema in zip(keyset.columns, aliases, keyset.types, keyset.schemas, strict=True)
    ]
    return sql.SQL("JOIN unnest({}) AS asked ({}) ON {}").format(
        arrays, sql.SQL(", ").join(aliases), sql.SQL(" AND ").join(conditions)
    )


def bound(keyset: Keyset, sign: LiteralString, before: int) -> sql.Composed:
    """The comparison of a row's key with a given one, whose values come after ``before`` others."""
    values = [
        sql.SQL("CAST({} AS {})").format(_value(before + place), _type(type_name))
        for place, type_name in enumerate(keyset.types)
    ]
    if len(set(keyset.schemas)) == 1:
        operator = _operator(sign, keyset.schemas[0])
        return sql.SQL("({}) {} ({})").format(names(keyset.columns), operator, sql.SQL(", ").join(values))
    return _bound_by_column(keyset, sign, values)


def _bound_by_column(keyset: Keyset, sign: LiteralString, values: Sequence[sql.Composed]) -> sql.Composed:
    """`_bound` where no one name means the operators of all columns: the first column still bounds the index scan."""
    strict, wide = (">", ">=") if sign == ">" else ("<", "<=")
    *others, last = zip(keyset.columns, keyset.schemas, values, strict=True)
    found = _compared(last[0], _operator(sign, last[1]), last[2])
    for column, schema, value in reversed(others):
        at_least = _compared(column, _operator(wide, schema), value)
        beyond = _compared(column, _operator(strict, schema), value)
        found = sql.SQL("({} AND ({} OR {}))").format(at_least, beyond, found)
    return found


def _compared(column: str, operator: sql.Composable, value: sql.Composable) -> sql.Composed:
    return sql.SQL("{} {} {}").format(sql.Identifier(column), operator, value)


def _operator(name: LiteralString, schema: str) -> sql.Composable:
    """The operator as that schema has it; PostgreSQL's own go without, since nothing else is searched."""
    if schema == "pg_catalog":
        return sql.SQL(name)
    return sql.SQL("OPERATOR({}." + name + ")").format(sql.Identifier(schema))


def _value(place: int) -> sql.SQL:
    """Where the server puts in the value at ``place``."""
    return sql.SQL(f"${place + 1}")


def _type(name: str) -> sql.SQL:
    """PostgreSQL's own name of a type, quoted by itself where that is needed."""
    return sql.SQL(name)


def names(columns: Sequence[str]) -> sql.Composed:
    """The columns, as a list."""
    return sql.SQL(", ").join(sql.Identifier(column) for column in columns)
