"""What others have to allow, as text: the DBA's statements and the permissions of Graph, with least privilege.

In: what a definition requires of a source or a tenant. Out: SQL lines; permissions with the requests that grant them.
Rule: two roles on the source: `rowtide_admin` makes the publication (PostgreSQL asks for the tables' owner),
`rowtide_reader` streams and reads. With REPLICATION it can read the whole database through a slot, whatever SELECT it
was granted, so its password has to be guarded like a superuser's.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

ADMIN_ROLE, READER_ROLE, STATE_ROLE = "rowtide_admin", "rowtide_reader", "rowtide_state"


def quoted(name: str) -> str:
    """``name`` as an SQL identifier, quoted only where it has to be."""
    plain = name.replace("_", "a").isalnum() and name.isascii() and name == name.lower() and not name[0].isdigit()
    return name if plain else '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """``text`` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True, slots=True)
class TableRequirements:
    """A table to be read; ``owner`` is None when the source could not be asked."""

    schema: str
    table: str
    owner: str | None = None
    row_security: bool = False

    @property
    def name(self) -> str:
        """Schema and table as SQL."""
        return f"{quoted(self.schema)}.{quoted(self.table)}"


@dataclass(frozen=True, slots=True)
class SourceRequirements:
    """What a definition requires of one source; ``database`` is None when the source could not be asked."""

    source: str
    database: str | None
    slot: str
    publication: str
    failover: bool
    tables: Sequence[TableRequirements]


def source_statements(required: SourceRequirements) -> list[str]:
    """The DBA's script for a source, in order: roles, reading, publication, slot."""
    return [
        f"-- source {required.source}; PostgreSQL 14 or newer with wal_level = logical",
        "-- (ALTER SYSTEM SET wal_level = 'logical' needs a restart)",
        "",
        "-- Roles; give each a password with \\password",
        f"CREATE ROLE {ADMIN_ROLE} LOGIN;",
        f"CREATE ROLE {READER_ROLE} LOGIN REPLICATION;",
        *_bypass(required),
        "",
        "-- Reading: first loads, reconciles and rows that the stream shows in part",
        f"GRANT CONNECT ON DATABASE {_database(required)} TO {ADMIN_ROLE}, {READER_ROLE};",
        *(
            f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {ADMIN_ROLE}, {READER_ROLE};"
            for schema in sorted({table.schema for table in required.tables})
        ),
        *(f"GRANT SELECT ON TABLE {table.name} TO {READER_ROLE};" for table in required.tables),
        "",
        "-- Publishing: PostgreSQL asks for the tables' owner",
        f"GRANT CREATE ON DATABASE {_database(required)} TO {ADMIN_ROLE};",
        *(f"GRANT {owner} TO {ADMIN_ROLE};" for owner in _owners(required)),
        "",
        "-- The publication, always before the slot",
        f"SET ROLE {ADMIN_ROLE};",
        f"CREATE PUBLICATION {quoted(required.publication)} FOR TABLE",
        "    " + ",\n    ".join(table.name for table in required.tables),
        "    WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true);",
        "RESET ROLE;",
        "",
        "-- The slot; from here on WAL is kept until Rowtide has read it: max_slot_wal_keep_size says how much at most",
        _slot(required),
    ]


def _bypass(required: SourceRequirements) -> list[str]:
    guarded = [table.name for table in required.tables if table.row_security]
    if not guarded:
        return []
    return [f"ALTER ROLE {READER_ROLE} BYPASSRLS;  -- row security is on for {', '.join(guarded)}"]


def _database(required: SourceRequirements) -> str:
    return quoted(required.database) if required.database else "<database>"


def _owners(required: SourceRequirements) -> list[str]:
    known = sorted({quoted(table.owner) for table in required.tables if table.owner})
    return known if all(table.owner for table in required.tables) else [*known, "<owner of the tables>"]


def _slot(required: SourceRequirements) -> str:
    arguments = f"{literal(required.slot)}, 'pgoutput'"
    if required.failover:
        arguments += ", failover => true"
    return f"SELECT pg_create_logical_replication_slot({arguments});"


def state_statements(database: str) -> list[str]:
    """The DBA's script for the state database."""
    return [
        "-- the state database: on the same server or, for large sources, on another one",
        f"CREATE ROLE {STATE_ROLE} LOGIN;",
        f"CREATE DATABASE {quoted(database)} OWNER {STATE_ROLE};",
        "-- then: rowtide db upgrade",
    ]


# --- Graph ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GraphRequirements:
    """What a definition requires of one tenant; without a ``provisioner`` the app itself makes lists and columns."""

    graph: str
    tenant_id: str
    client_id: str
    provisioner: str | None
    sites: Sequence[str]


@dataclass(frozen=True, slots=True)
class GraphGrant:
    """One permission: who gets it, what it is, why, and the requests that narrow it to a site."""

    graph: str
    client_id: str
    permission: str
    why: str
    requests: Sequence[str] = ()


def graph_grants(required: GraphRequirements) -> list[GraphGrant]:
    """The application permissions of Microsoft Graph, with admin consent, and the grants per site."""
    runner = GraphGrant(
        required.graph,
        required.client_id,
        "Sites.Selected",
        "read and write items of the lists of these sites",
        [
            _site_request(site, required.client_id, "manage" if required.provisioner is None else "write")
            for site in required.sites
        ],
    )
    if required.provisioner is None:
        return [runner]
    return [
        runner,
        GraphGrant(
            required.graph,
            required.provisioner,
            "Sites.Selected",
            "make lists and columns (`rowtide apply` only)",
            [_site_request(site, required.provisioner, "manage") for site in required.sites],
        ),
    ]


def _site_request(site: str, client_id: str, role: str) -> str:
    application = {"application": {"id": client_id, "displayName": "Rowtide"}}
    body = json.dumps({"roles": [role], "grantedToIdentities": [application]})
    return f"POST /sites/{{id of {site}}}/permissions {body}"
