"""A table that edits are applied to, under roles that may do no more than `plan --sql` would grant them."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from connectors.postgres import apply_record, table_catalog
from connectors.postgres.apply_acts import Act, EditPlace, EditRecord, InsertRow, RowInSource, UpdateRow
from connectors.postgres.apply_session import ApplySession
from connectors.postgres.apply_table import ApplyTable, read_apply_table
from connectors.postgres.connections import open_unproven
from rowtide import table_name
from rowtide.definition import model
from rowtide.mapping.compiled_sync import CompiledSync, compile_sync

_numbers = itertools.count(1)
RECORD = EditRecord(7, {"Title": "as the item has it"})
GONE = EditRecord(9, None)


@dataclass
class PulledTable:
    """A source and the roles on it; ``owner`` owns the tables, ``puller`` applies, ``reader`` sees every row."""

    dsn: str
    owner: psycopg.Connection
    puller: str
    reader: str
    sessions: list[ApplySession] = field(default_factory=list)
    opened: list[psycopg.Connection] = field(default_factory=list)

    @classmethod
    def make(cls, dsn: str) -> "PulledTable":
        owner = psycopg.connect(dsn, autocommit=True)
        number = f"{owner.info.backend_pid}_{next(_numbers)}"
        made = cls(dsn, owner, f"puller_{number}", f"reader_{number}")
        for role in (made.puller, made.reader):
            made.run(f"CREATE ROLE {role} LOGIN PASSWORD 'of-a-role'")
        made.run(f"ALTER ROLE {made.reader} BYPASSRLS")
        apply_record.ensure(owner)
        for statement in apply_record.grants(sql.Identifier(made.puller)):
            made.run(statement)
        return made

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.owner.execute(statement)

    def one(self, query: str) -> Any:
        row = self.owner.execute(query).fetchone()
        return row[0] if row else None

    def grant(self, table: str, columns: Sequence[str], key: Sequence[str] = ("id",)) -> None:
        """What a two-way sync of these columns needs, and nothing else."""
        listed, keyed = ", ".join(columns), ", ".join([*key, *columns])
        self.run(
            f"GRANT USAGE ON SCHEMA {table.partition('.')[0]} TO {self.puller}, {self.reader}",
            f"GRANT SELECT ({keyed}), INSERT ({keyed}), UPDATE ({listed}), DELETE ON {table} TO {self.puller}",
            f"GRANT SELECT ({keyed}) ON {table} TO {self.reader}",
        )

    def compiled(self, fields: Mapping[str, str], table: str = "public.parts", **more: object) -> CompiledSync:
        definition = {
            "source": {"postgres": "erp", "table": table},
            "target": {"graph": "c", "site": "c.sharepoint.com"},
            "list": "Parts",
            "fields": dict(fields),
            **more,
        }
        columns = table_catalog.read_columns(self.owner, *(table_name.parse(table) or ("", "")))
        return compile_sync("parts", model.SyncDefinition.model_validate(definition), columns)

    def connect(self, role: str) -> psycopg.Connection:
        self.opened.append(open_unproven(make_conninfo(self.dsn, user=role, password="of-a-role"), "test"))
        return self.opened[-1]

    def session(self, hold: str = "parts") -> ApplySession:
        """A session of the puller that holds the lock."""
        session = ApplySession(self.connect(self.puller), lambda: self.connect(self.reader))
        assert session.hold(hold)
        return session

    def table(self, session: ApplySession, sync: CompiledSync, search_path: Sequence[str] = ()) -> ApplyTable:
        return read_apply_table(session.connection, sync, search_path)

    def leave(self) -> None:
        """Close every session, of a server that is not there any more."""
        for connection in (*self.opened, self.owner):
            connection.close()

    def close(self) -> None:
        for connection in self.opened:
            connection.close()
        self.run(
            *(f"DROP OWNED BY {role}" for role in (self.puller, self.reader)),
            *(f"DROP ROLE {role}" for role in (self.puller, self.reader)),
        )
        self.owner.close()


class Decides:
    """A decision made beforehand, which remembers what it was shown."""

    def __init__(self, act: Act) -> None:
        self.act = act
        self.found = RowInSource()

    def __call__(self, found: RowInSource) -> Act:
        self.found = found
        return self.act


def place(key: str | None, item_id: str = "1", edited_by: str = "") -> EditPlace:
    return EditPlace(key, "list-a", item_id, edited_by)


def update(record: EditRecord = RECORD, **values: str | None) -> UpdateRow:
    return UpdateRow(values, record)


def insert(record: EditRecord = RECORD, **values: str | None) -> InsertRow:
    return InsertRow(values, record)
