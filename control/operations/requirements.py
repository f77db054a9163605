"""What a definition requires of its sources and tenants, for those who have to allow it.

In: a session. Out: the DBA's script, the permissions of Microsoft Graph. Rule: a source that does not answer yields a
script with placeholders, since the DBA's part usually comes before the first connection.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

import psycopg

from connectors.postgres import apply_rights, preflight, publishing_rights, table_catalog
from connectors.postgres.apply_rights import WrittenTable
from control.operations.grants import (
    GraphGrant,
    GraphRequirements,
    SourceRequirements,
    TableRequirements,
    graph_grants,
    source_statements,
    state_statements,
)
from control.operations.session import Session
from rowtide.definition.model import Definition
from rowtide.errors import RowtideError
from rowtide.mapping.columns_written import columns_written
from rowtide.mapping.source_table import ColumnsRead, columns_read
from state import dsn


class ScriptDocument(TypedDict):
    """The DBA's script, line by line."""

    sql: list[str]


@dataclass(frozen=True, slots=True)
class Script:
    """The DBA's script; ``unreached``: per source that did not answer, why its owners are placeholders."""

    lines: Sequence[str]
    unreached: Mapping[str, str]

    def document(self) -> ScriptDocument:
        """The script as JSON."""
        return {"sql": list(self.lines)}


class GrantDocument(TypedDict):
    """One permission and the requests that narrow it to a site."""

    graph: str
    client_id: str
    permission: str
    why: str
    requests: Sequence[str]


class GrantsDocument(TypedDict):
    """The permissions that the apps of all tenants require."""

    grants: list[GrantDocument]


def script(session: Session) -> Script:
    """The statements that a DBA runs on every source and for the state database."""
    lines: list[str] = []
    unreached: dict[str, str] = {}
    for name in session.definition.postgres:
        try:
            required = _ask_source(session, name)
        except RowtideError as error:
            required, unreached[name] = _without_owners(session.definition, name), error.sentence
        lines += [*source_statements(required), ""]
    return Script([*lines, *state_statements(_state_database(session))], unreached)


def grants(session: Session) -> GrantsDocument:
    """The application permissions that an administrator of each tenant consents to."""
    required = [_of_graph(session.definition, name) for name in session.definition.graph]
    return {"grants": [_grant_document(grant) for one in required for grant in graph_grants(one)]}


def _grant_document(grant: GraphGrant) -> GrantDocument:
    return {
        "graph": grant.graph,
        "client_id": grant.client_id,
        "permission": grant.permission,
        "why": grant.why,
        "requests": grant.requests,
    }


def _ask_source(session: Session, name: str) -> SourceRequirements:
    """The requirements of one source, with the owners of its tables and the columns that are read."""
    read = columns_read(session.definition, name)
    with session.source(name, admin=True) as connection:
        tables = [_ask_table(connection, table, read[table]) for table in session.definition.tables(name)]
        public_open = preflight.public_is_open(connection)
        written = apply_rights.read_written(connection, columns_written(session.definition, name))
        required = _of_source(session.definition, name, connection.info.dbname, tables)
        return replace(required, public_open=public_open, written=written)


def _ask_table(connection: psycopg.Connection, table: tuple[str, str], needed: ColumnsRead) -> TableRequirements:
    owner = publishing_rights.owner_of(connection, *table)
    columns = tuple(table_catalog.read_privileges(connection, table, needed))
    if owner is None:
        return TableRequirements(*table)
    return TableRequirements(*table, owner.name, owner.powerful, owner.row_security, columns)


def _without_owners(definition: Definition, name: str) -> SourceRequirements:
    written = [
        WrittenTable(*table, deletes=columns.deletes) for table, columns in columns_written(definition, name).items()
    ]
    required = _of_source(definition, name, None, [TableRequirements(*table) for table in definition.tables(name)])
    return replace(required, written=written)


def _of_source(
    definition: Definition, name: str, database: str | None, tables: Sequence[TableRequirements]
) -> SourceRequirements:
    failover = definition.postgres[name].failover
    return SourceRequirements(name, database, definition.slot(name), definition.publication(name), failover, tables)


def _of_graph(definition: Definition, name: str) -> GraphRequirements:
    graph = definition.graph[name]
    provisioner = graph.provisioning_credential
    return GraphRequirements(
        name,
        graph.tenant_id,
        graph.client_id,
        None if provisioner is None else provisioner.client_id or graph.client_id,
        sorted({sync.target.site for sync in definition.syncs.values() if sync.target.graph == name}),
    )


def _state_database(session: Session) -> str:
    """The name of the state database; ``rowtide`` while its DSN is not known."""
    try:
        found = dsn.parse_or_none(session.state_dsn())
    except RowtideError:
        return "rowtide"
    return "rowtide" if found is None or found.database is None else found.database
