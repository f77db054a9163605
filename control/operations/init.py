"""The first rowtide.yaml.

In: the name of a source and, when it is to be looked at, its DSN reference and tables. Out: a commented file that
`validate` takes. Rule: an existing file is never overwritten; only the reference to a DSN is written, never the DSN
itself.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from connectors import settings
from connectors.postgres import connections, preflight
from control.operations import template
from rowtide.error_catalogue import command_errors


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
    return template.Draft(source=source, slot=f"rowtide_{source}", publication=f"rowtide_{source}")


def draft_of_tables(source: str, dsn: str, tables: Sequence[str]) -> template.Draft:
    """A definition whose syncs are proposed from tables (``schema.table``) of the source at the reference ``dsn``."""
    example = draft(source)
    with connections.open_unproven(settings.resolve_secret(dsn), "rowtide init") as connection:
        syncs = []
        for table in tables:
            schema, _, name = table.rpartition(".")
            schema = schema or "public"
            columns = preflight.read_columns(connection, schema, name)
            syncs.append(template.propose(f"{schema}.{name}", columns))
    return template.Draft(
        source=source, slot=example.slot, publication=example.publication, source_dsn=dsn, syncs=syncs
    )


def write(config: Path, wanted: template.Draft) -> InitDocument:
    """Write the definition file; UserError when there is one already, or when it cannot be written."""
    require_new(config)
    try:
        with config.open("x", encoding="utf-8") as stream:
            stream.write(template.definition_text(wanted))
    except OSError as error:
        raise command_errors.CONFIG_UNWRITABLE(path=config, problem=error.strerror) from error
    return {"written": str(config), "syncs": [sync.name for sync in wanted.syncs]}
