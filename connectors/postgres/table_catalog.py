"""What the catalog of a source says of one table: its columns, its keys, and which of it a role may read.

In: a session, schema and name. Out: `SourceColumn`s, `SourceTable`. Rule: a table that is not there, or is none, is
`SourceRefused` with the reason.
"""

from typing import Any

import psycopg
from psycopg.rows import dict_row

from connectors.postgres.connections import as_source_errors
from connectors.postgres.slots import Table
from rowtide import table_name
from rowtide.error_catalogue import source_errors
from rowtide.errors import SourceRefused
from rowtide.mapping.columns import SourceColumn
from rowtide.mapping.source_table import ColumnsRead, SourceTable


def read_columns(conn: psycopg.Connection[Any], schema: str, table: str) -> list[SourceColumn]:
    """The table's columns in their order; SourceRefused when there is no such table (or no right to see into it)."""
    with as_source_errors(f"reading the columns of {table_name.to_text(schema, table)}"):
        rows = conn.cursor(row_factory=dict_row).execute(_COLUMNS, {"schema": schema, "table": table}).fetchall()
        if not rows:
            raise no_table(conn, schema, table)
    return [SourceColumn(**{**row, "enum_labels": tuple(row["enum_labels"])}) for row in rows]


def read_table(conn: psycopg.Connection[Any], schema: str, table: str) -> SourceTable:
    """The table's columns, unique keys and whether tables inherit from it; SourceRefused when it is not there."""
    columns = read_columns(conn, schema, table)
    with as_source_errors(f"reading the indexes of {table_name.to_text(schema, table)}"):
        found = conn.execute(_KEYS, [schema, table]).fetchone()
        if found is None:
            raise no_table(conn, schema, table)
    unique, inherited = found
    return SourceTable(columns, [frozenset(names) for names in unique], inherited)


_KEYS = """
SELECT COALESCE((
         SELECT json_agg(u.names) FROM (
           SELECT array_agg(a.attname::text) AS names
             FROM pg_index i CROSS JOIN unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) AS k (attnum)
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
            WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
            GROUP BY i.indexrelid) AS u), '[]'),
       c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = c.oid)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s
"""

# A domain is followed down to the type it restricts.
_COLUMNS = """
WITH RECURSIVE base AS (
  SELECT a.attnum, a.attname::text AS name, a.atttypid AS type_oid, a.attnotnull, a.attgenerated, a.attcollation,
         a.atthasdef OR a.attidentity <> '' AS has_default, a.attidentity = 'a' AS identity_always,
         a.attrelid, t.typtype, t.oid AS leaf, a.atttypmod AS leaf_mod, t.typbasetype, t.typtypmod
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_type t ON t.oid = a.atttypid
  WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND c.relkind IN ('r', 'p')
    AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT b.attnum, b.name, b.type_oid, b.attnotnull OR d.typnotnull, b.attgenerated, b.attcollation,
         b.has_default OR d.typdefault IS NOT NULL, b.identity_always,
         b.attrelid, b.typtype, t.oid, d.typtypmod, t.typbasetype, t.typtypmod
  FROM base b JOIN pg_type d ON d.oid = b.leaf JOIN pg_type t ON t.oid = d.typbasetype WHERE b.typbasetype <> 0
)
SELECT b.name, format_type(b.leaf, b.leaf_mod) AS type_name, b.type_oid::bigint, b.attnotnull AS not_null,
       COALESCE(array_position((i.indkey::int2[])[0:i.indnkeyatts - 1], b.attnum), 0) AS key,
       COALESCE(b.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]) AND NOT i.indimmediate, false)
         AS key_deferrable,
       b.typtype::text AS type_kind,
       ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = b.leaf ORDER BY e.enumsortorder)
         AS enum_labels,
       b.attgenerated <> '' AS generated, COALESCE(l.collisdeterministic, true) AS deterministic,
       b.has_default AND b.attgenerated = '' AS has_default, b.identity_always
FROM base b LEFT JOIN pg_index i ON i.indrelid = b.attrelid AND i.indisprimary
LEFT JOIN pg_collation l ON l.oid = b.attcollation
WHERE b.typbasetype = 0 ORDER BY b.attnum
"""


_READ = """
SELECT a.attname::text, has_column_privilege(c.oid, a.attnum, 'SELECT')
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
  LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
 WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped
   AND (a.attname = ANY (%s) OR (%s AND a.attnum = ANY (i.indkey::int2[]))) ORDER BY a.attnum
"""


def read_privileges(conn: psycopg.Connection, table: Table, needed: ColumnsRead) -> dict[str, bool]:
    """The columns of a table that are needed, in its order, and whether the role of ``conn`` may read each."""
    with as_source_errors(f"reading the privileges on {table_name.to_text(*table)}"):
        found = conn.execute(_READ, [*table, sorted(needed.names), needed.with_primary_key]).fetchall()
    return {name: bool(may) for name, may in found}


_KIND = """
SELECT CASE c.relkind WHEN 'v' THEN 'a view' WHEN 'm' THEN 'a materialized view' WHEN 'f' THEN 'a foreign table'
                      WHEN 'S' THEN 'a sequence' END
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s
"""


def no_table(conn: psycopg.Connection[Any], schema: str, table: str) -> SourceRefused:
    """Why there is no such table: nothing of that name, or something else than a table."""
    row = conn.execute(_KIND, [schema, table]).fetchone()
    name = table_name.to_text(schema, table)
    if row is None or row[0] is None:
        return source_errors.TABLE_MISSING(table=name)
    return source_errors.NOT_A_TABLE(table=name, kind=row[0])
