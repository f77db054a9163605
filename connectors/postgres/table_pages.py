"""Reads of a source table for reconcile: pages in key order, and rows by their keys.

In: a source connection (autocommit, pinned settings), a `CompiledSync`, a cursor or row keys. Out: values exactly as
the type's output function prints them (what pgoutput sends too: ``::text`` prints booleans, blank-padded and network
types otherwise), with the snapshot they were read under. Rules: each read is one REPEATABLE READ READ ONLY transaction
whose first act is ``pg_current_snapshot()``; row security that would hide rows is an error, never fewer rows; values
stand in statements as the server's own ``$1``, because psycopg would look for its ``%s`` inside names too.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import errors, sql
from psycopg.types.string import TextLoader

from connectors.postgres import connections
from connectors.postgres.keyset import Keyset, bound, matching, names
from connectors.postgres.replication.transactions import MARK
from rowtide.error_catalogue import source_errors, sync_errors
from rowtide.errors import SourceRefused
from rowtide.keys import is_stand_in, key_values, row_key
from rowtide.mapping.compiled_sync import CompiledSync
from rowtide.snapshot import Snapshot

Connection = psycopg.Connection[Any]
Values = tuple[str | None, ...]
Cursor = tuple[str, ...]
"""The last key read: its columns' text, in the order of `Keyset.columns`."""


PAGE_BYTES = 4 << 20
"""A page of a table with wide rows ends when it is this large. Without any it is no larger than its rows' blocks."""
WIDE_ROWS = 64
"""The most rows of such a table that are read at once: nobody knows how wide the next ones are."""


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in key order under one snapshot; ``last`` None says that the table ends here."""

    snapshot: Snapshot
    rows: list[Values]
    last: Cursor | None


@dataclass(frozen=True, slots=True)
class RowsByKey:
    """Rows by their keys under one snapshot. Only the first ``asked`` keys were looked for: the others would be more
    than a page.
    """

    snapshot: Snapshot
    rows: dict[str, Values]
    asked: int


# The session has no search path, so an operator of an extension's type is not found by its name alone; what would be
# found instead (citext's values compared as text) orders otherwise than the index does. A domain has the operators of
# the type that it restricts.
_KEYSET = """
WITH RECURSIVE key AS (
    SELECT a.attname, a.atttypid, a.atttypmod, c.reltuples, a.atttypid AS leaf, c.oid AS relation
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE c.oid = to_regclass(%s) AND a.attname = ANY (%s)
     UNION ALL
    SELECT k.attname, k.atttypid, k.atttypmod, k.reltuples, t.typbasetype, k.relation
      FROM key k JOIN pg_type t ON t.oid = k.leaf WHERE t.typbasetype <> 0)
SELECT k.attname, format_type(k.atttypid, k.atttypmod), GREATEST(k.reltuples, 0)::bigint,
       COALESCE((
         SELECT n.nspname
           FROM pg_am m JOIN pg_opclass c ON c.opcmethod = m.oid AND c.opcdefault AND c.opcintype = k.leaf
           JOIN pg_amop p ON p.amopfamily = c.opcfamily AND p.amopstrategy = 3
            AND p.amoplefttype = k.leaf AND p.amoprighttype = k.leaf
           JOIN pg_operator o ON o.oid = p.amopopr JOIN pg_namespace n ON n.oid = o.oprnamespace
          WHERE m.amname = 'btree'), 'pg_catalog'),
       EXISTS (SELECT FROM pg_class r
                WHERE (r.oid = k.relation OR r.oid IN (SELECT relid FROM pg_partition_tree(k.relation)))
                  AND r.reltoastrelid <> 0 AND pg_relation_size(r.reltoastrelid) > 0)
  FROM key k JOIN pg_type t ON t.oid = k.leaf WHERE t.typbasetype = 0
"""

# The unique index over exactly the key columns gives the order in which pages can be read without sorting.
_INDEX_ORDER = """
SELECT array_agg(a.attname ORDER BY k.place)
  FROM pg_index i
  CROSS JOIN LATERAL unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k (attnum, place)
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
 WHERE i.indrelid = to_regclass(%s) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
 GROUP BY i.indexrelid, i.indisprimary
HAVING array_agg(a.attname::text ORDER BY a.attname) = %s
 ORDER BY i.indisprimary DESC, i.indexrelid
 LIMIT 1
"""


def read_keyset(connection: Connection, sync: CompiledSync) -> Keyset:
    """In which order to read the table of ``sync``; SyncError ``relation_mismatch`` without table or key columns."""
    relation = sql.Identifier(sync.schema, sync.table)
    with _translated(sync):
        name = relation.as_string(connection)
        found = connection.execute(_KEYSET, [name, list(sync.key_columns)]).fetchall()
        order = connection.execute(_INDEX_ORDER, [name, sorted(sync.key_columns)]).fetchone()
    types = {column: (type_name, schema) for column, type_name, _, schema, _ in found}
    if set(types) != set(sync.key_columns):
        problem = "or a key column of it is not there any more"
        raise sync_errors.RELATION_MISMATCH(table=sync.table_text, problem=problem)
    columns = tuple(order[0]) if order is not None else tuple(sync.key_columns)
    printed, schemas = zip(*(types[column] for column in columns), strict=True)
    return Keyset(relation, columns, printed, schemas, found[0][2], found[0][4])


def read_snapshot(connection: Connection) -> Snapshot:
    """What the source would show right now."""
    with connections.as_source_errors("reading the snapshot"):
        row = connection.execute("SELECT pg_current_snapshot()::text").fetchone()
    return Snapshot.parse(row[0] if row else "")


# Everything before the message was committed before the pass began. A standby writes no WAL, so there the replayed LSN
# is taken.
_MARK = """
SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END - '0/0'::pg_lsn,
       CASE WHEN NOT pg_is_in_recovery() THEN pg_logical_emit_message(false, %s, %s) END
"""


def write_mark(connection: Connection, content: str) -> int:
    """An LSN above everything committed so far; a message right behind it says that somebody waits for that LSN."""
    with connections.as_source_errors("writing the reconcile's mark"):
        row = connection.execute(_MARK, [MARK, content]).fetchone()
    return int(row[0]) if row else 0


def read_page(
    connection: Connection,
    sync: CompiledSync,
    keyset: Keyset,
    after: Cursor | None,
    limit: int,
    until: Cursor | None = None,
) -> Page:
    """The next ``limit`` rows after the key ``after``, up to ``until``, with values as in `select_columns`.

    ``after`` None: from the table's first row; ``until`` None: to its last. Fewer rows than ``limit`` where they are
    wide: as many as make up `PAGE_BYTES`, and at least one.
    """
    given = [(sign, key) for sign, key in ((">", after), ("<=", until)) if key is not None]
    bounds = [bound(keyset, sign, place * len(keyset.columns)) for place, (sign, _) in enumerate(given)]
    query = sql.SQL("SELECT {} FROM {}{} ORDER BY {} LIMIT {}").format(
        names(sync.select_columns),
        keyset.relation,
        sql.SQL(" WHERE ") + sql.SQL(" AND ").join(bounds) if bounds else sql.SQL(""),
        names(keyset.columns),
        sql.Literal(limit),
    )
    parameters = [*(after or ()), *(until or ())]
    with _translated(sync), _reading(connection) as snapshot:
        if keyset.wide:
            rows, is_whole = _wide_rows(connection, query, parameters, limit)
        else:
            rows, is_whole = _all_rows(connection, query, parameters)
    if is_whole and len(rows) < limit:
        return Page(snapshot, rows, None)
    places = [sync.select_columns.index(column) for column in keyset.columns]
    return Page(snapshot, rows, tuple(str(rows[-1][place]) for place in places))


def read_rows(connection: Connection, sync: CompiledSync, keyset: Keyset, keys: Sequence[str]) -> RowsByKey:
    """The rows of these keys, as far as they exist, with values as in `select_columns`.

    Of a table with wide rows only those of the first keys, as many as make up `PAGE_BYTES`, and at least one.

    A row is found only under its key's exact text. If a collation or a type treats other texts as equal, the row comes
    back under the text that it has now.
    """
    return _read_keyed(connection, sync, keyset, keys, sync.select_columns)


def read_keys(
    connection: Connection, sync: CompiledSync, keyset: Keyset, keys: Sequence[str]
) -> tuple[Snapshot, set[str]]:
    """Which of these keys exist, whatever their rows hold."""
    found = _read_keyed(connection, sync, replace(keyset, wide=False), keys, sync.key_columns)
    return found.snapshot, set(found.rows)


def _read_keyed(
    connection: Connection, sync: CompiledSync, keyset: Keyset, keys: Sequence[str], columns: Sequence[str]
) -> RowsByKey:
    # A column may have the name of one of the asked keys.
    wanted = sql.SQL(", ").join(sql.Identifier("t", column) for column in columns)
    query = sql.SQL("SELECT {} FROM {} AS t {}").format(wanted, keyset.relation, matching(keyset))
    rows: list[Values] = []
    asked, left = 0, PAGE_BYTES
    with _translated(sync), _reading(connection) as snapshot:
        while asked < len(keys) and left > 0:
            some = keys[asked : asked + _next_rows(asked, PAGE_BYTES - left, left)] if keyset.wide else keys
            own = [key for key in some if not is_stand_in(key)]  # the others are of rows that nobody knows
            got, _ = _all_rows(connection, query, [_array(texts) for texts in _by_column(sync, keyset, own)])
            rows += got
            asked += len(some)
            left -= _size_of(got) if keyset.wide else 0
    places = [list(columns).index(column) for column in sync.key_columns]
    if len(places) == 1:
        by_key = {str(row[places[0]]): row for row in rows}
    else:
        by_key = {row_key([str(row[place]) for place in places]): row for row in rows}
    return RowsByKey(snapshot, by_key, asked)


def _by_column(sync: CompiledSync, keyset: Keyset, keys: Sequence[str]) -> list[Sequence[str]]:
    """The keys' texts, one sequence per column of the keyset."""
    if len(keyset.columns) == 1:
        return [keys]
    texts = [key_values(key, len(sync.key_columns)) for key in keys]
    places = [sync.key_columns.index(column) for column in keyset.columns]
    return [[text[place] for text in texts] for place in places]


def _array(texts: Sequence[str]) -> str:
    """The literal of a text array, made by hand because a million keys pass here."""
    joined = '","'.join(texts)
    if "\\" in joined or joined.count('"') != 2 * (len(texts) - 1):
        joined = '","'.join(text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return '{"' + joined + '"}' if texts else "{}"


# All in one round trip. With row security off, a policy that would hide rows becomes an error. A table that is being
# altered is tried again later; the read does not wait for it.
_BEGIN = """
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL row_security = off;
SET LOCAL lock_timeout = '2s';
SELECT pg_current_snapshot()::text
"""


@contextmanager
def _reading(connection: Connection) -> Iterator[Snapshot]:
    """One read-only transaction, and what it sees."""
    cursor = connection.cursor()
    try:
        cursor.execute(_BEGIN)
        cursor.set_result(-1)
        row = cursor.fetchone()
        yield Snapshot.parse(row[0] if row else "")
    finally:
        if not connection.closed:
            connection.execute("ROLLBACK")


Rows = tuple[list[Values], bool]
"""Rows of a query, every value as its type's output function prints it, and whether they are all of them."""


def _all_rows(connection: Connection, query: sql.Composed, parameters: Sequence[Any]) -> Rows:
    with psycopg.RawCursor(connection) as reader:
        as_text(reader)
        return reader.execute(query, parameters).fetchall(), True


def _wide_rows(connection: Connection, query: sql.Composed, parameters: Sequence[Any], limit: int) -> Rows:
    """The first rows, read a few at a time until they make up a page."""
    rows: list[Values] = []
    with psycopg.RawServerCursor(connection, "rowtide_page") as reader:
        as_text(reader)
        reader.execute(query, parameters)
        left = PAGE_BYTES
        while left > 0 and len(rows) < limit:
            wanted = min(limit - len(rows), _next_rows(len(rows), PAGE_BYTES - left, left))
            got = reader.fetchmany(wanted)
            rows += got
            if len(got) < wanted:
                return rows, True
            left -= _size_of(got)
    return rows, len(rows) == limit


def _next_rows(count: int, size: int, left: int) -> int:
    """How many rows to read next where ``count`` made up ``size`` bytes and ``left`` are left of the page."""
    return max(1, min(count, WIDE_ROWS, left * count // max(1, size)))


def _size_of(rows: Sequence[Values]) -> int:
    return sum(len(value) for row in rows for value in row if value is not None)


def as_text(reader: psycopg.Cursor[Any]) -> None:
    """Let the cursor give every value as its type's output function prints it."""
    for info in psycopg.adapters.types:
        reader.adapters.register_loader(info.oid, TextLoader)
        reader.adapters.register_loader(info.array_oid, TextLoader)


@contextmanager
def _translated(sync: CompiledSync) -> Iterator[None]:
    try:
        with connections.as_source_errors(f"reading table {sync.table_text}"):
            yield
    except SourceRefused as error:
        if isinstance(error.__cause__, errors.InsufficientPrivilege) and "row-level security" in str(error.__cause__):
            raise source_errors.ROW_SECURITY(table=sync.table_text) from error
        raise
