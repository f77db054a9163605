"""The first rowtide.yaml.

In: the name of a source and, when it is to be looked at, its DSN reference and tables. Out: a commented file that
`validate` takes. Rule: an existing file is never overwritten; only the reference to a DSN is written, never the DSN
itself.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import psycopg

from connectors import settings
from connectors.postgres import column_samples, connections, table_catalog
from control.operations import template
from rowtide import table_name
from rowtide.definition.kinds import NAME
from rowtide.error_catalogue import command_errors
from rowtide.mapping.columns import SourceColumn


class InitDocument(TypedDict):
    """The file that was written, and its syncs."""

    written: str
    syncs: list[str]


def require_new(config: Path) -> None:
    """Raise UserError when there is a file of that name already."""
    if config.exists():
        raise command_errors.CONFIG_EXISTS(path=config)


def draft(source: str) -> template.Draft:
    """A definition with an example sync."""
    if not re.fullmatch(NAME, source):
        raise command_errors.INIT_NAME()
    on_server = f"rowtide_{source.replace('-', '_')}"
    return template.Draft(source=source, slot=on_server, publication=on_server)


def draft_of_tables(source: str, dsn: str, tables: Sequence[str], config: Path) -> template.Draft:
    """A definition whose syncs are proposed from tables (``schema.table``) of the source at the reference ``dsn``.

    ``config``: the file that it is written to, from which a relative path in ``dsn`` goes out.
    """
    example = draft(source)
    wanted = [_parsed(table) for table in tables]
    reference = settings.beside(config, dsn)
    with connections.open_unproven(settings.resolve_secret(reference), "rowtide init") as connection:
        syncs = [_propose(connection, schema, table) for schema, table in dict.fromkeys(wanted)]
    return template.Draft(
        source=source,
        slot=example.slot,
        publication=example.publication,
        source_dsn=dsn,
        syncs=template.name_apart(syncs),
    )


def _parsed(table: str) -> tuple[str, str]:
    """Schema and table; a table alone is one of the schema public."""
    found = table_name.parse(table) or table_name.parse(f"public.{table}")
    if found is None:
        raise command_errors.INIT_TABLE_NAME(table=table)
    return found


def _propose(connection: psycopg.Connection, schema: str, table: str) -> template.SyncDraft:
    """The sync for a table; UserError where no definition of it would be valid."""
    name = table_name.to_text(schema, table)
    found = table_catalog.read_table(connection, schema, table)
    key = template.key_of(found)
    if found.inherited:
        raise command_errors.INIT_TABLE(table=name, problem="other tables inherit from it; name each of those")
    if key is None:
        problem = "it has no primary key, and no unique index, of columns that are NOT NULL and not generated"
        raise command_errors.INIT_TABLE(table=name, problem=problem)
    samples = column_samples.read(connection, schema, table, [one.name for one in found.columns if _is_open(one)])
    sync = template.propose(name, found.columns, samples, key)
    if all(field.why_not for field in sync.fields):
        raise command_errors.INIT_TABLE(table=name, problem="no column of it can be carried")
    return sync


def _is_open(column: SourceColumn) -> bool:
    """Whether the column's type leaves open which kind holds its values."""
    return column.family in ("integer", "numeric", "text", "blank_padded", "array", "other") and not column.generated


def write(config: Path, wanted: template.Draft) -> InitDocument:
    """Write the definition file; UserError when there is one already, or when it cannot be written."""
    require_new(config)
    try:
        with config.open("x", encoding="utf-8") as stream:
            stream.write(template.definition_text(wanted))
    except OSError as error:
        raise command_errors.CONFIG_UNWRITABLE(path=config, problem=error.strerror) from error
    return {"written": str(config), "syncs": [sync.name for sync in wanted.syncs]}
