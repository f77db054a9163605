"""The shape of what each sync of a source reads: publication, table, partitions, columns, types.

In: a source connection, a publication, compiled syncs. Out: a `SourceShape` a sync, by one catalog query for all of
them. Rules (docs/design.md section 5): the query reads catalogs only, so no lock on a table holds it back; it takes
oids and ``xmin``, which tell what was changed and changed back between two looks, and which VACUUM, FREEZE and ANALYZE
leave alone.
"""

import json
from collections.abc import Iterable

import psycopg
from psycopg.rows import dict_row

from connectors.postgres.connections import as_source_errors
from rowtide.mapping.compiled_sync import CompiledSync
from rowtide.shape import Prints, ShapeColumn, SourceShape
from rowtide.transaction import Relation


def read_shapes(
    conn: psycopg.Connection, publication: str, syncs: Iterable[CompiledSync]
) -> dict[str, SourceShape | None]:
    """The shape of each sync, None where its table is not there; nothing at all where the publication is not there."""
    wanted = [
        {"sync": one.sync, "schema": one.schema, "name": one.table, "columns": one.select_columns} for one in syncs
    ]
    query = _SHAPES.format(**_PARTS_15 if conn.info.server_version >= 150000 else _PARTS_14)
    values = {"wanted": json.dumps(wanted), "publication": publication}
    with as_source_errors("looking at the tables' shape"), conn.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SET statement_timeout = '10s'")
        rows = cursor.execute(query, values).fetchall()
    return {row.pop("sync"): _shape(row) if row["oid"] is not None else None for row in rows}


def _shape(row: dict[str, object]) -> SourceShape:
    prints = Prints(
        publication=str(row.pop("publication")),
        table=str(row.pop("table")),
        partitions=str(row.pop("partitions")),
        columns=str(row.pop("columns")),
        types=str(row.pop("types")),
    )
    columns = tuple(ShapeColumn(**column) for column in row.pop("read") or ())  # type: ignore[attr-defined]
    relation = Relation(
        oid=int(str(row.pop("oid"))),
        schema=str(row.pop("schema")),
        table=str(row.pop("name")),
        identity=str(row.pop("identity")),
        columns=tuple(column.name for column in columns if column.published),
        key_columns=tuple(column.name for column in columns if column.published and column.identifies),
        type_oids=tuple(column.type_oid for column in columns if column.published),
    )
    return SourceShape(relation=relation, listed=columns, prints=prints, **row)  # type: ignore[arg-type]


# PostgreSQL 15 has row filters, column lists and whole schemas in publications.
_PARTS_14 = {"cut": "false AS filtered, NULL::int2[] AS listed", "by_schema": ""}
_PARTS_15 = {
    "cut": "r.prqual IS NOT NULL AS filtered, r.prattrs::int2[] AS listed",
    "by_schema": """
     UNION ALL
    SELECT f.sync, f.own, true, s.oid, s.xmin, false, NULL
      FROM family f JOIN pg_class c ON c.oid = f.oid
      CROSS JOIN publication p JOIN pg_publication_namespace s ON s.pnpubid = p.oid AND s.pnnspid = c.relnamespace
    """,
}

# One row a sync. `family`: the table and what it is a partition of. `entry`: what of the publication names one of
# these. `tree`: what is below the table. `read`: the columns that the sync reads. `kind`: their types, down through
# domains, arrays and composites. A row type is changed by each RENAME and SET SCHEMA of its table, and by no GRANT.
_SHAPES = """
WITH RECURSIVE
wanted AS (
    SELECT * FROM jsonb_to_recordset(%(wanted)s::jsonb) AS w (sync text, schema text, name text, columns text[])),
publication AS (
    SELECT p.*, p.xmin AS stamp, to_jsonb(p) ->> 'pubgencols' = 's' AS generated
      FROM pg_publication p WHERE p.pubname = %(publication)s),
here AS (
    SELECT w.sync, w.columns, c.*, n.xmin AS schema_stamp, t.xmin AS row_type_stamp
      FROM wanted w
      JOIN pg_namespace n ON n.nspname = w.schema
      JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name AND c.relkind IN ('r', 'p')
      JOIN pg_type t ON t.oid = c.reltype),
family AS (
    SELECT h.sync, h.oid, true AS own FROM here h
     UNION ALL
    SELECT h.sync, a.relid, false FROM here h CROSS JOIN pg_partition_ancestors(h.oid) AS a (relid)
     WHERE a.relid <> h.oid),
entry AS (
    SELECT f.sync, f.own, false AS by_schema, r.oid, r.xmin AS stamp, {cut}
      FROM family f CROSS JOIN publication p JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = f.oid
    {by_schema}),
tree AS (
    SELECT h.sync, i.inhrelid AS oid, i.xmin AS stamp, i.inhdetachpending AS leaving
      FROM here h JOIN pg_inherits i ON i.inhparent = h.oid
     UNION ALL
    SELECT t.sync, i.inhrelid, i.xmin, i.inhdetachpending FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid),
carried AS (
    SELECT h.sync,
           p.puballtables OR EXISTS (SELECT FROM entry e WHERE e.sync = h.sync AND e.own) AS itself,
           h.relispartition AND p.puballtables
               OR EXISTS (SELECT FROM entry e WHERE e.sync = h.sync AND NOT e.own) AS by_ancestor,
           p.puballtables OR EXISTS (SELECT FROM entry e WHERE e.sync = h.sync AND e.own AND e.by_schema) AS uncut
      FROM here h CROSS JOIN publication p),
cut AS (
    SELECT e.sync, e.filtered, e.listed FROM entry e JOIN carried k ON k.sync = e.sync AND NOT k.uncut
     WHERE e.own AND NOT e.by_schema),
identity AS (
    SELECT h.sync, h.relreplident = 'f' AS whole, i.indkey::int2[] AS attnums
      FROM here h LEFT JOIN pg_index i ON i.indrelid = h.oid AND i.indisvalid
       AND CASE h.relreplident WHEN 'd' THEN i.indisprimary AND i.indimmediate
                               WHEN 'i' THEN i.indisreplident ELSE false END),
read AS (
    SELECT h.sync, a.attnum, a.attname, a.atttypid, a.atttypmod, a.xmin AS stamp,
           (a.attgenerated = '' OR p.generated AND a.attgenerated = 's')
               AND (c.listed IS NULL OR a.attnum = ANY (c.listed)) AS published,
           c.listed IS NULL OR a.attnum = ANY (c.listed) AS in_list,
           COALESCE(d.whole OR a.attnum = ANY (d.attnums), false) AS identifies
      FROM here h CROSS JOIN publication p
      JOIN pg_attribute a ON a.attrelid = h.oid AND a.attname = ANY (h.columns) AND a.attnum > 0
      LEFT JOIN cut c ON c.sync = h.sync
      LEFT JOIN identity d ON d.sync = h.sync),
kind AS (
    SELECT r.sync, r.atttypid AS oid FROM read r
     UNION
    SELECT k.sync, inner_type.oid
      FROM kind k JOIN pg_type t ON t.oid = k.oid
      CROSS JOIN LATERAL (
           SELECT t.typbasetype AS oid UNION SELECT t.typelem
            UNION SELECT a.atttypid FROM pg_attribute a
                   WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) AS inner_type
     WHERE inner_type.oid <> 0)
SELECT w.sync, h.oid::bigint AS oid, w.schema, w.name, h.relreplident::text AS identity,
       h.relpersistence = 'p' AS logged,
       h.relkind = 'r' AND EXISTS (SELECT FROM tree t WHERE t.sync = w.sync) AS inherited,
       (SELECT min(c.relname::text) FROM tree t JOIN pg_class c ON c.oid = t.oid
         WHERE t.sync = w.sync AND h.relkind = 'p' AND (c.relkind = 'f' OR c.relpersistence <> 'p')) AS unlogged_leaf,
       CASE WHEN p.pubviaroot THEN k.itself AND NOT k.by_ancestor
            ELSE h.relkind = 'r' AND (k.itself OR k.by_ancestor) END AS carried,
       COALESCE((SELECT c.filtered FROM cut c WHERE c.sync = w.sync), false) AS filtered,
       concat_ws(', ', CASE WHEN NOT p.pubinsert THEN 'insert' END, CASE WHEN NOT p.pubupdate THEN 'update' END,
                 CASE WHEN NOT p.pubdelete THEN 'delete' END, CASE WHEN NOT p.pubtruncate THEN 'truncate' END)
           AS unpublished,
       (SELECT json_agg(json_build_object('name', r.attname, 'type_oid', r.atttypid::bigint, 'published', r.published,
                                          'in_list', r.in_list, 'identifies', r.identifies) ORDER BY r.attnum)
          FROM read r WHERE r.sync = w.sync) AS read,
       md5(concat_ws(' ', p.oid, p.stamp,
           (SELECT string_agg(concat_ws(' ', e.oid, e.stamp), ',' ORDER BY e.oid) FROM entry e WHERE e.sync = w.sync)))
           AS publication,
       md5(concat_ws(' ', h.oid, h.relnamespace, h.schema_stamp, h.relname, h.row_type_stamp, h.relkind,
                     h.relpersistence, h.relreplident, h.relfilenode)) AS "table",
       md5(concat_ws(';',
           (SELECT string_agg(concat_ws(' ', t.oid, t.stamp, t.leaving, c.relnamespace, c.relname, c.relkind,
                                        c.relpersistence, c.relreplident, c.relfilenode), ',' ORDER BY t.oid)
              FROM tree t LEFT JOIN pg_class c ON c.oid = t.oid WHERE t.sync = w.sync),
           (SELECT string_agg(concat_ws(' ', f.oid, i.inhparent, i.xmin), ',' ORDER BY f.oid, i.inhparent)
              FROM family f JOIN pg_inherits i ON i.inhrelid = f.oid WHERE f.sync = w.sync))) AS partitions,
       md5((SELECT string_agg(concat_ws(' ', r.attnum, r.attname, r.atttypid, r.atttypmod, r.stamp), ','
                              ORDER BY r.attnum) FROM read r WHERE r.sync = w.sync)) AS columns,
       md5(concat_ws(';',
           (SELECT string_agg(concat_ws(' ', e.oid, e.xmin, e.enumlabel, e.enumsortorder), ',' ORDER BY e.oid)
              FROM kind k JOIN pg_enum e ON e.enumtypid = k.oid WHERE k.sync = w.sync),
           (SELECT string_agg(concat_ws(' ', a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, a.xmin), ','
                              ORDER BY a.attrelid, a.attnum)
              FROM kind k JOIN pg_type t ON t.oid = k.oid JOIN pg_attribute a ON a.attrelid = t.typrelid
             WHERE k.sync = w.sync))) AS types
  FROM wanted w CROSS JOIN publication p
  LEFT JOIN here h ON h.sync = w.sync
  LEFT JOIN carried k ON k.sync = w.sync
"""
