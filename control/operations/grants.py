"""What others have to allow, as text: the DBA's statements and the permissions of Graph, with least privilege.

In: what a definition requires of a source or a tenant. Out: SQL lines; permissions with the requests that grant them.
Rules: the roles on a source: `rowtide_admin` makes the publication (PostgreSQL asks for the tables' owner),
`rowtide_reader` streams and reads, `rowtide_writer` writes people's edits where syncs go both ways. With REPLICATION
the reader can read the whole database through a slot, whatever SELECT it was granted, so its password has to be guarded
like a superuser's. Nobody is made a member of a role that can become superuser: whoever owns such a table makes the
publication.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

from psycopg import sql

from connectors.postgres import apply_record
from connectors.postgres.apply_rights import WrittenTable, table_grants
from rowtide import table_name
from state import roles

ADMIN, READER, WRITER = (sql.Identifier(name) for name in ("rowtide_admin", "rowtide_reader", "rowtide_writer"))
"""The roles that the script makes on a source."""


def composed(statement: LiteralString, *parts: sql.Composable) -> str:
    """The statement with ``parts`` in its ``{}``: names and texts are quoted by psycopg alone."""
    return sql.SQL(statement).format(*parts).as_string()


@dataclass(frozen=True, slots=True)
class TableRequirements:
    """A table to be read; ``owner`` is None when the source could not be asked.

    ``powerful_owner``: its members can become superuser. ``columns``: those that are read, as far as they are known.
    """

    schema: str
    table: str
    owner: str | None = None
    powerful_owner: bool = False
    row_security: bool = False
    columns: Sequence[str] = ()

    @property
    def name(self) -> sql.Identifier:
        """Schema and table as SQL."""
        return sql.Identifier(self.schema, self.table)


@dataclass(frozen=True, slots=True)
class SourceRequirements:
    """What a definition requires of one source; ``database`` is None when the source could not be asked."""

    source: str
    database: str | None
    slot: str
    publication: str
    failover: bool
    tables: Sequence[TableRequirements]
    written: Sequence[WrittenTable] = ()
    """The tables of syncs that go both ways."""
    public_open: bool = True
    """Whether everybody may create functions in schema public; so it is taken to be while nobody could ask."""


def source_statements(required: SourceRequirements) -> list[str]:
    """The DBA's script for a source, in order: roles, reading, publication, slot, what may be taken back."""
    return [
        f"-- source {required.source}; PostgreSQL 14 or newer with wal_level = logical",
        "-- (ALTER SYSTEM SET wal_level = 'logical' needs a restart)",
        "",
        "-- Roles; give each a password with \\password",
        composed("CREATE ROLE {} LOGIN;", ADMIN),
        composed("CREATE ROLE {} LOGIN REPLICATION;", READER),
        *([composed("CREATE ROLE {} LOGIN;", WRITER)] if required.written else []),
        *_bypass(required),
        *(_CLOSE_PUBLIC if required.public_open else ()),
        "",
        *_reading(required),
        *_writing(required),
        "",
        *(_publishing_above(required) if _above(required) else _publishing(required)),
        "",
        "-- The slot; from here on WAL is kept until Rowtide has read it: max_slot_wal_keep_size says how much at most",
        _slot(required),
        *([] if _above(required) else ["", *_afterwards(required)]),
    ]


def _reading(required: SourceRequirements) -> list[str]:
    return [
        "-- Reading: first loads, reconciles and rows that the stream shows in part",
        composed("GRANT CONNECT ON DATABASE {} TO {}, {};", _database(required), ADMIN, READER),
        *(
            composed("GRANT USAGE ON SCHEMA {} TO {}, {};", sql.Identifier(schema), ADMIN, READER)
            for schema in sorted({table.schema for table in required.tables})
        ),
        *(line for table in required.tables for line in _reading_table(table)),
    ]


def _reading_table(table: TableRequirements) -> list[str]:
    whole = composed("GRANT SELECT ON TABLE {} TO {};", table.name, READER)
    if not table.columns:
        return [whole]
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    only = composed("GRANT SELECT ({}) ON TABLE {} TO {};", columns, table.name, READER)
    return [whole, *_commented(f"or, in its place, what the definition reads of it: {only}")]


def _writing(required: SourceRequirements) -> list[str]:
    """Where syncs go both ways: the rights of the role of ``apply_dsn``, and the table that remembers its edits."""
    if not required.written:
        return []
    granted = [line for table in required.written for line in table_grants(table, WRITER)]
    return [
        "",
        "-- Writing what people edit: for the role of apply_dsn. Triggers of the tables run as this role, too;",
        "-- grant it what they need",
        composed("GRANT CONNECT ON DATABASE {} TO {};", _database(required), WRITER),
        *dict.fromkeys(granted),
        "-- What was written of which edit, in each row's own transaction; `rowtide apply` makes it, too",
        *(f"{statement};" for statement in apply_record.DDL),
        *(f"{grant};" for grant in apply_record.grants(WRITER)),
    ]


def _commented(text: str) -> list[str]:
    """The text as a comment; each of its lines, since a name may hold a line break."""
    return [f"-- {line}" for line in text.splitlines()]


def _publishing(required: SourceRequirements) -> list[str]:
    unknown = not all(table.owner for table in required.tables)
    return [
        "-- Publishing: PostgreSQL asks for the tables' owner",
        *(["-- (an owner that is a superuser is granted to nobody: it makes the publication itself)"] * unknown),
        composed("GRANT CREATE ON DATABASE {} TO {};", _database(required), ADMIN),
        *(composed("GRANT {} TO {};", owner, ADMIN) for owner in _owners(required)),
        "",
        "-- The publication, always before the slot",
        composed("SET ROLE {};", ADMIN),
        *_publication(required),
        "RESET ROLE;",
    ]


def _above(required: SourceRequirements) -> list[str]:
    """The owners whose members can become superuser."""
    return sorted({table.owner for table in required.tables if table.owner and table.powerful_owner})


def _publishing_above(required: SourceRequirements) -> list[str]:
    owners = composed(", ".join(["{}"] * len(_above(required))), *map(sql.Identifier, _above(required)))
    return [
        "-- The publication, always before the slot. PostgreSQL asks for the tables' owner, and members of",
        *_commented(f"{owners} can become superuser: so a superuser makes it, and nobody becomes a member."),
        "-- When a table is added, `rowtide plan` prints what has to be run",
        *_publication(required),
    ]


def _publication(required: SourceRequirements) -> list[str]:
    return [
        composed("CREATE PUBLICATION {} FOR TABLE", sql.Identifier(required.publication)),
        "    " + ",\n    ".join(table.name.as_string() for table in required.tables),
        "    WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true);",
    ]


def _afterwards(required: SourceRequirements) -> list[str]:
    """What is needed again only when tables are added."""
    revokes = [
        *(composed("REVOKE {} FROM {};", owner, ADMIN) for owner in _owners(required)),
        composed("REVOKE CREATE ON DATABASE {} FROM {};", _database(required), ADMIN),
    ]
    return [
        "-- After `rowtide apply` this may be taken back; it is needed again when a table is added",
        *(line for revoke in revokes for line in _commented(revoke)),
    ]


_CLOSE_PUBLIC = (
    "",
    "-- Whoever may create functions in schema public can make others run them (PostgreSQL 14 lets everybody).",
    "-- Grant it to the applications that need it",
    "REVOKE CREATE ON SCHEMA public FROM PUBLIC;",
)


def _bypass(required: SourceRequirements) -> list[str]:
    guarded = [table_name.to_text(table.schema, table.table) for table in required.tables if table.row_security]
    if not guarded:
        return []
    # A comment ends where its line does, and a name may hold a line break.
    names = " ".join(", ".join(guarded).split())
    return [f"-- row security is on for {names}", composed("ALTER ROLE {} BYPASSRLS;", READER)]


def _database(required: SourceRequirements) -> sql.Composable:
    return sql.Identifier(required.database) if required.database else sql.SQL("<database>")


def _owners(required: SourceRequirements) -> list[sql.Composable]:
    known = sorted({table.owner for table in required.tables if table.owner})
    unknown = [] if all(table.owner for table in required.tables) else [sql.SQL("<owner of the tables>")]
    return [*(sql.Identifier(owner) for owner in known), *unknown]


def _slot(required: SourceRequirements) -> str:
    more = sql.SQL(", failover => true" if required.failover else "")
    return composed("SELECT pg_create_logical_replication_slot({}, 'pgoutput'{});", sql.Literal(required.slot), more)


def state_statements(database: str) -> list[str]:
    """The DBA's script for the state database."""
    here, owner = sql.Identifier(database), sql.Identifier(roles.OWNER)
    others = [sql.Identifier(name) for name in roles.ROLES if name != roles.OWNER]
    return [
        "-- the state database: on the same server or, for large sources, on another one",
        f"-- {roles.OWNER}: for `rowtide db upgrade`; {roles.RUN}: for `rowtide run`; {roles.VIEW}: only to look;",
        f"-- {roles.APPLY}: for the commands of operators, the only one that puts a definition into force",
        *(composed("CREATE ROLE {} LOGIN;", sql.Identifier(name)) for name in roles.ROLES),
        composed("CREATE DATABASE {} OWNER {};", here, owner),
        "-- Nobody else has business there",
        composed("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC;", here),
        *(composed("GRANT CONNECT ON DATABASE {} TO {};", here, role) for role in others),
        *(
            composed("GRANT TEMPORARY ON DATABASE {} TO {};", here, sql.Identifier(name))
            for name in (roles.RUN, roles.APPLY)
        ),
        composed("\\connect {}", here),
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC;",
        f"-- then: rowtide db upgrade, as {roles.OWNER}; it grants each role what is its own",
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
