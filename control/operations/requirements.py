"""What a definition needs of its sources and tenants, gathered for those who have to allow it.

In: a definition, connections to its sources where they can be had. Out: `SourceNeeds` and `GraphNeeds`. Rule: a source
that does not answer yields a script with placeholders, since the DBA's part usually comes before the first connection.
"""

from connectors import settings
from connectors.postgres import owners
from control.operations.grants import GraphNeeds, SourceNeeds, TableNeeds
from control.operations.session import source
from rowtide.definition.model import Definition
from rowtide.errors import RowtideError


def source_needs(definition: Definition, name: str) -> tuple[SourceNeeds, str | None]:
    """The needs of one source, and why it could not be asked (None: it was)."""
    section = definition.postgres[name]
    database, why = None, None
    tables = [TableNeeds(schema, table) for schema, table in definition.tables(name)]
    try:
        with source(definition, name, admin=True) as connection:
            database = connection.info.dbname
            tables = [
                TableNeeds(table.schema, table.table, *owners.owner_of(connection, table.schema, table.table))
                for table in tables
            ]
    except RowtideError as error:
        why = error.sentence
    return (
        SourceNeeds(name, database, definition.slot(name), definition.publication(name), section.failover, tables),
        why,
    )


def state_database(definition: Definition) -> str:
    """The name of the state database; ``rowtide`` while its DSN is not known."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        return str(conninfo_to_dict(settings.resolve_secret(definition.state.dsn)).get("dbname") or "rowtide")
    except (RowtideError, ProgrammingError):
        return "rowtide"


def graph_needs(definition: Definition, name: str) -> GraphNeeds:
    """The needs of one tenant."""
    graph = definition.graph[name]
    provisioner = graph.provisioning_credential
    sites = sorted({sync.target.site for sync in definition.syncs.values() if sync.target.graph == name})
    return GraphNeeds(
        name,
        graph.tenant_id,
        graph.client_id,
        None if provisioner is None else provisioner.client_id or graph.client_id,
        sites,
    )
