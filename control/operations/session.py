"""What a command opens before it can answer: the definition, the state database, a source.

In: the path given with ``-c``. Out: the loaded definition, links and connections that are closed again. Rule: whatever
cannot be opened is a RowtideError with a sentence; secrets are resolved here, as late as possible, and are never shown.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psycopg

from connectors import settings
from connectors.postgres import connections
from connectors.settings import Loaded
from control.cli import logs
from rowtide.catalog import Catalog
from rowtide.definition.model import Definition
from rowtide.errors import StateRefused, UserError
from state import database, definitions
from state.database import Connection, Link

T = TypeVar("T")


def load(config: Path) -> Loaded:
    """The definition file, checked as far as a file can be; logs take the style it asks for."""
    loaded = settings.load(config)
    logs.set_up(loaded.definition.run.log)
    return loaded


def state_dsn(loaded: Loaded) -> str:
    """Where the state database is."""
    return settings.resolve_secret(loaded.definition.state.dsn)


def on_state(loaded: Loaded, work: Callable[[Connection], T]) -> T:
    """The result of one piece of work on the state database."""
    link = Link(state_dsn(loaded), "rowtide cli")
    try:
        return link.run(work)
    finally:
        link.close()


def require_schema(loaded: Loaded) -> None:
    """StateRefused unless the state schema fits this release."""
    findings = database.check_version(state_dsn(loaded))
    if findings:
        raise StateRefused(
            "state_schema", f"The state database does not fit: {findings[0]}.", "Run `rowtide db upgrade`."
        )


def read_applied(connection: Connection) -> tuple[definitions.Applied, Catalog] | None:
    """The applied definition and its catalog; None before the first `apply`."""
    found = definitions.read_applied(connection)
    return None if found is None else (found, Catalog.from_applied(found.version, found.compiled))


def require_applied(connection: Connection) -> tuple[definitions.Applied, Catalog]:
    """The applied definition and its catalog; StateRefused when there is none yet."""
    found = read_applied(connection)
    if found is None:
        raise StateRefused("not_applied", "No definition has been applied yet.", "Run `rowtide apply`.")
    return found


@contextmanager
def source(definition: Definition, name: str, admin: bool = False) -> Iterator[psycopg.Connection]:
    """A connection to a source; with ``admin`` as the role that may change it (``admin_dsn``)."""
    section = definition.postgres[name]
    reference = (section.admin_dsn or section.dsn) if admin else section.dsn
    connection = connections.open_source(settings.resolve_secret(reference), "rowtide cli")
    try:
        yield connection
    finally:
        connection.close()


def one_source(definition: Definition, name: str | None) -> str:
    """The source a command means: the named one, or the only one."""
    if name is None and len(definition.postgres) == 1:
        return next(iter(definition.postgres))
    if name in definition.postgres:
        return name or ""
    known = ", ".join(sorted(definition.postgres))
    raise UserError("unknown_source", f"Say which source with --source: {known}.")


def known_sync(definition: Definition, sync: str) -> str:
    """``sync``; UserError when the definition has none of that name."""
    if sync not in definition.syncs:
        raise UserError("unknown_sync", f"There is no sync {sync}: there are {', '.join(sorted(definition.syncs))}.")
    return sync
