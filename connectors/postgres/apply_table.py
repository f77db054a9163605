"""What has to be known of a table to write one row of it, and the statements for that.

In: a session on the source, a `CompiledSync`. Out: `ApplyTable`, composed SQL. Rules: every name and operator carries
its schema, because the statements run under the search path of the customer's triggers; values stand as the server's
own ``$1`` and have no type, so that PostgreSQL reads each as the column's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from connectors.postgres import table_pages
from connectors.postgres.connections import as_source_errors
from connectors.postgres.keyset import Keyset
from rowtide.mapping.compiled_sync import CompiledSync

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class ApplyTable:
    """A table as rows of it are written.

    ``search_path``: for its triggers. ``arbiter``: there is a unique key that ``ON CONFLICT`` can name.
    ``key_indexes``: the names of the unique indexes over exactly the key, those of partitions too.
    """

    sync: CompiledSync
    keyset: Keyset
    oid: int
    search_path: str
    arbiter: bool
    key_indexes: frozenset[str]

    def key_values(self, row: Sequence[str | None]) -> tuple[str | None, ...]:
        """Of a row as it is selected, the values of the key's columns in the sync's order."""
        places = [self.sync.select_columns.index(column) for column in self.sync.key_columns]
        return tuple(row[place] for place in places)


_KEY_INDEXES: Final = """
WITH keys AS (
    SELECT i.indexrelid, i.indimmediate
      FROM pg_index i
     WHERE i.indrelid = to_regclass(%s) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
       AND ARRAY(SELECT a.attname::text FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) AS k (attnum)
                   JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum ORDER BY 1) = %s)
SELECT to_regclass(%s)::oid::bigint, COALESCE((SELECT bool_or(indimmediate) FROM keys), false),
       ARRAY(SELECT c.relname::text FROM keys CROSS JOIN LATERAL (
                 SELECT keys.indexrelid AS oid UNION SELECT relid FROM pg_partition_tree(keys.indexrelid)) AS t
               JOIN pg_class c ON c.oid = t.oid)
"""


def read_apply_table(connection: Connection, sync: CompiledSync, search_path: Sequence[str] = ()) -> ApplyTable:
    """The table of ``sync``; ``search_path`` empty: its own schema.

    Raises SyncError ``relation_mismatch`` without table or key columns, and errors of the source.
    """
    keyset = table_pages.read_keyset(connection, sync)
    name = sql.Identifier(sync.schema, sync.table).as_string(connection)
    with as_source_errors(f"reading the keys of {sync.table_text}"):
        [(oid, arbiter, names)] = connection.execute(_KEY_INDEXES, [name, sorted(sync.key_columns), name]).fetchall()
    # What a trigger makes in the session's temporary schema must not come before the table's own.
    path = sql.SQL(", ").join(sql.Identifier(one) for one in (*(search_path or [sync.schema]), "pg_temp"))
    return ApplyTable(sync, keyset, oid, path.as_string(connection), arbiter, frozenset(names))


def read_row(table: ApplyTable) -> sql.Composed:
    """The row of a key, locked. Its values come in the order of the sync's key columns."""
    return sql.SQL("SELECT {} FROM {} AS t WHERE {} FOR UPDATE").format(
        _selected(table), table.keyset.relation, _of_key(table, 0)
    )


def update_row(table: ApplyTable, values: Mapping[str, str | None]) -> sql.Composed:
    """The update of these columns; the key's values come after theirs."""
    changes = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(column), _value(place)) for place, column in enumerate(values)
    )
    return sql.SQL("UPDATE {} AS t SET {} WHERE {} RETURNING {}").format(
        table.keyset.relation, changes, _of_key(table, len(values)), _selected(table)
    )


def insert_row(table: ApplyTable, values: Mapping[str, str | None], unless_taken: bool) -> sql.Composed:
    """The insert of a row with these columns; ``unless_taken``: it does nothing where the key is taken, if it can."""
    columns = sql.SQL(", ").join(sql.Identifier(column) for column in values)
    given = sql.SQL(", ").join(_value(place) for place in range(len(values)))
    row = (
        # A key that is generated always is ours to choose all the same: the row is that of the item.
        sql.SQL("({}) OVERRIDING SYSTEM VALUE VALUES ({})").format(columns, given)
        if values
        else sql.SQL("DEFAULT VALUES")
    )
    keys = sql.SQL(", ").join(sql.Identifier(column) for column in table.sync.key_columns)
    unless = sql.SQL(" ON CONFLICT ({}) DO NOTHING").format(keys) if unless_taken and table.arbiter else sql.SQL("")
    return sql.SQL("INSERT INTO {} AS t {}{} RETURNING {}").format(table.keyset.relation, row, unless, _selected(table))


def delete_row(table: ApplyTable) -> sql.Composed:
    """The delete of the row of a key."""
    return sql.SQL("DELETE FROM {} AS t WHERE {} RETURNING {}").format(
        table.keyset.relation, _of_key(table, 0), _selected(table)
    )


def _of_key(table: ApplyTable, before: int) -> sql.Composed:
    """The condition on the key's columns, in the sync's order; their values come after ``before`` others."""
    schemas = dict(zip(table.keyset.columns, table.keyset.schemas, strict=True))
    return sql.SQL(" AND ").join(
        sql.SQL("t.{} OPERATOR({}.=) {}").format(
            sql.Identifier(column), sql.Identifier(schemas[column]), _value(before + place)
        )
        for place, column in enumerate(table.sync.key_columns)
    )


def _selected(table: ApplyTable) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier("t", column) for column in table.sync.select_columns)


def _value(place: int) -> sql.SQL:
    return sql.SQL(f"${place + 1}")
