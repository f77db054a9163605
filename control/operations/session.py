"""What an operation opens: the state database and the sources that a definition names.

In: the path of a definition file. Out: a `Session`, by which every operation reaches the outside. Rules: whatever
cannot be opened is a RowtideError with a sentence; secrets are resolved as late as possible and never shown; every
connection is closed again when its work is done.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psycopg

from connectors import settings
from connectors.postgres import source_sessions
from connectors.postgres.server_proof import ExpectedServer
from connectors.postgres.source_sessions import Source, SourceSessions, StateRecords
from connectors.settings import Loaded
from rowtide import connections
from rowtide.actor import Actor
from rowtide.catalog import UNREADABLE, Catalog, why_unreadable
from rowtide.connections import Reach
from rowtide.definition.model import Definition, Document
from rowtide.error_catalogue import command_errors, state_errors
from rowtide.errors import StateRefused, StateUnavailable, UserError
from state import definitions, dsn, schema, slot_server
from state.database import Connection, Link
from state.slot_server import SlotServer

T = TypeVar("T")

APPLICATION = "rowtide control"
"""The ``application_name`` of connections that only read."""

_NO_RECORDS = (state_errors.STATE_DATABASE_MISSING.code, state_errors.STATE_SCHEMA_MISSING.code)

_APPLICATION_LENGTH = 63  # PostgreSQL cuts longer names off


@dataclass(frozen=True, slots=True)
class Session:
    """A definition file, and connections to what it names.

    Connections made for an act carry the actor in their ``application_name``, so that PostgreSQL's own log and
    ``pg_stat_activity`` say who acts.
    """

    loaded: Loaded

    @property
    def definition(self) -> Definition:
        """The definition of the file, which need not be the one in force."""
        return self.loaded.definition

    def reach(self, catalog: Catalog) -> Reach:
        """What of the definition in force is reached by the file, and why the rest is not."""
        return connections.compare(
            catalog.definition, catalog.tenants, catalog.strayed, self.definition, self.loaded.where
        )

    def state_dsn(self, actor: Actor | None = None) -> str:
        """The DSN of the state database."""
        text = settings.resolve_secret(self.definition.state.dsn)
        found = dsn.parse_or_none(text)  # None: whoever connects says what is wrong with it
        return text if found is None else found.as_application(_application(actor))

    def on_state(self, work: Callable[[Connection], T], actor: Actor | None = None) -> T:
        """The result of one piece of work on the state database; ``work`` may be run again (see `Link.run`)."""
        link = Link(self.state_dsn(actor))
        try:
            return link.run(work)
        finally:
            link.close()

    @contextmanager
    def source(self, name: str, admin: bool = False, actor: Actor | None = None) -> Iterator[psycopg.Connection]:
        """A connection to a source; with ``admin`` as the role that may change it (``admin_dsn``).

        It talks to the server of the slot's cursor, if there is one (SourceUnavailable ``source_differs``).
        """
        section = self.definition.postgres[name]
        with self._opened(name, (section.admin_dsn or section.dsn) if admin else section.dsn, actor) as connection:
            yield connection

    @contextmanager
    def writer(self, name: str, actor: Actor | None = None) -> Iterator[psycopg.Connection]:
        """A connection to a source as the role that writes people's edits (``apply_dsn``); as `source` otherwise."""
        section = self.definition.postgres[name]
        with self._opened(name, section.apply_dsn or section.dsn, actor) as connection:
            yield connection

    @contextmanager
    def _opened(self, name: str, secret: str, actor: Actor | None) -> Iterator[psycopg.Connection]:
        text = settings.resolve_secret(secret)
        expected = self.expected_server(name, actor)
        connection = source_sessions.open_proven(text, _application(actor), lambda: expected)
        try:
            yield connection
        finally:
            connection.close()

    def expected_server(self, name: str, actor: Actor | None = None) -> ExpectedServer | None:
        """Which server a source has to be by the records, which an act has to ask; a look does without their answer."""
        return source_sessions.server_to_set_up(self._read_server(name, actor))

    def _read_server(self, name: str, actor: Actor | None) -> SlotServer | None:
        slot = self.definition.slot(name)
        try:
            return self.on_state(lambda connection: slot_server.read(connection, slot), actor)
        except StateUnavailable:
            if actor is not None:
                raise
        except StateRefused as error:
            if actor is not None and error.code not in _NO_RECORDS:
                raise
        except UserError:  # the secret of the state database is missing, which a look at the source need not say
            if actor is not None:
                raise
        return None


def open_session(config: Path) -> Session:
    """A session on a definition file; DefinitionError with every problem that the file alone shows."""
    return Session(settings.load(config))


def _application(actor: Actor | None) -> str:
    return APPLICATION if actor is None else f"{APPLICATION} by {actor}"[:_APPLICATION_LENGTH]


@dataclass(frozen=True, slots=True)
class AppliedCatalog:
    """The definition in force, which a running flow obeys: its record, and the catalog made from it."""

    record: definitions.AppliedDefinition
    catalog: Catalog


def read_applied_definition(connection: Connection) -> AppliedCatalog | None:
    """The definition in force; None before the first `apply`; StateRefused when this release cannot read it."""
    found = definitions.read_applied(connection)
    if found is None:
        return None
    try:
        return AppliedCatalog(found, Catalog.from_applied(found.version, found.compiled, True))
    except UNREADABLE as error:
        raise state_errors.DEFINITION_STORED(version=found.version, why=why_unreadable(error)) from error


def require_applied_definition(connection: Connection) -> AppliedCatalog:
    """The definition in force; StateRefused before the first `apply`."""
    found = read_applied_definition(connection)
    if found is None:
        raise state_errors.NOT_APPLIED()
    return found


def require_schema(session: Session) -> None:
    """Raise StateRefused unless the schema of the state database fits this release."""
    findings = schema.check_version(session.state_dsn())
    if findings:
        raise state_errors.STATE_SCHEMA(finding=findings[0])


def choose_source(definition: Document, name: str | None) -> str:
    """The source that is meant: the named one, or the only one."""
    if name is None and len(definition.postgres) == 1:
        return next(iter(definition.postgres))
    if name is None or name not in definition.postgres:
        known = ", ".join(sorted(definition.postgres))
        raise command_errors.UNKNOWN_SOURCE(known=known)
    return name


def require_sync(definition: Document, sync: str) -> str:
    """The id of the sync that is meant by its name or id; UserError unless the definition has it."""
    found = definition.find_sync(sync)
    if found is None:
        raise command_errors.UNKNOWN_SYNC(sync=sync, known=", ".join(sorted(definition.syncs)))
    return found


def open_sync(session: Session, sync: str, application: str) -> tuple[Catalog, str, SourceSessions]:
    """The catalog in force, the id of the sync that is meant, and sessions that read the rows of its sources."""
    require_schema(session)
    catalog = session.on_state(require_applied_definition).catalog
    sync_id = require_sync(catalog.definition, sync)
    if sync_id in catalog.left_out:
        raise catalog.left_out[sync_id].error

    reach = session.reach(catalog)
    reach.require(catalog.syncs[sync_id].postgres, catalog.syncs[sync_id].graph)
    return catalog, sync_id, source_sessions_of(session, catalog, application)


def source_sessions_of(session: Session, catalog: Catalog, application: str) -> SourceSessions:
    """Sessions that read the rows of the sources of the definition in force, as far as the file reaches them."""
    reach = session.reach(catalog)

    def find(name: str) -> Source:
        dsn = settings.resolve_secret(reach.source(name).dsn)
        return Source(dsn, catalog.definition.slot(name), catalog.servers.get(name, ""))

    return SourceSessions(application, find, StateRecords(session.state_dsn(), application))
